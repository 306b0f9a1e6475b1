//! Several tasks of one issue: a conversation that goes on, a question and its answer, and what is refused.

use std::fs;
use std::process::Command;

use cloud_code_task_schema::{
    Conversation, Reporting, TaskReportStatus, Tasking, parse_reporting, parse_tasking,
};
use serde_json::Value;

use crate::support::{Ended, House, MODEL_URL, Model, git, wait_for};

const CLAUDE: (&str, &str, &str) = ("claude-code", "ANTHROPIC_API_KEY", "sk-ant-story-secret-5");
const CODEX: (&str, &str, &str) = ("codex", "CODEX_API_KEY", "sk-codex-story-secret-5");

pub(crate) fn with_key(house: &House, key: (&str, &str), args: &[&str]) -> Ended {
    let mut command: Command = house.command(args);
    Ended::of(&command.env(key.0, key.1).output().unwrap())
}

pub(crate) fn files(house: &House, issue: &str) -> (Tasking, Reporting) {
    let control = house.control(issue);
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    (
        parse_tasking("tasking.yaml", &read("tasking.yaml")).unwrap(),
        parse_reporting("reporting.yaml", &read("reporting.yaml")).unwrap(),
    )
}

fn started(house: &House, model: &Model, cli: (&str, &str, &str), text: &str) -> Ended {
    let (repo, network) = (house.repo().display().to_string(), model.network());
    let args = ["run", "--repo", &repo, "--cli", cli.0, "--network", &network, "--base-url", MODEL_URL, text];
    with_key(house, (cli.1, cli.2), &args)
}

/// A follow-up in a container of its own, long after the first one is gone.
fn a_follow_up_resumes_the_session(cli: (&str, &str, &str)) {
    let house = House::new();
    let model = Model::start("conversation.yaml");
    started(&house, &model, cli, "Write files [talk]").expect(0);
    assert_eq!(house.containers(), Vec::<String>::new(), "the container is still there");
    let ended =
        with_key(&house, (cli.1, cli.2), &["continue", "write-files-talk", "And the second"]).expect(0);
    assert!(ended.out.contains("I wrote second.txt as well."), "{}", ended.out);

    let branch = "cloud-code/write-files-talk";
    let show = |file: &str| git(&house.repo(), ["show", &format!("{branch}:{file}")]);
    assert_eq!((show("first.txt"), show("second.txt")), ("one\n".to_owned(), "two\n".to_owned()));
    let branches = git(&house.repo(), ["branch", "--list", "--format=%(refname:short)", "cloud-code/*"]);
    assert_eq!(branches, format!("{branch}\n"), "a second branch was made");

    let (tasking, reporting) = files(&house, "write-files-talk");
    let ids: Vec<_> = tasking.tasks.iter().map(|task| task.id.clone()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(tasking.tasks[1].continues.as_ref(), Some(&ids[0]));
    assert_eq!(tasking.generation, 2, "the file was not written on");
    let (first, second) = (&reporting.tasks[&ids[0]], &reporting.tasks[&ids[1]]);
    assert_eq!(second.conversation, Conversation::Resumed);
    assert!(first.session_id.is_some() && first.head != second.head);
    let status = house.run(["status"]).expect(0).out;
    assert!(status.contains("the CLI's own session goes on"), "{status}");
}

#[test]
fn the_real_claude_code_goes_on_in_its_session_after_its_container_is_gone() {
    a_follow_up_resumes_the_session(CLAUDE);
}

#[test]
fn the_real_codex_goes_on_in_its_session_after_its_container_is_gone() {
    a_follow_up_resumes_the_session(CODEX);
}

#[test]
fn a_question_ends_a_task_and_its_answer_is_the_next_one() {
    let house = House::new();
    let model = Model::start("conversation.yaml");
    let ended = started(&house, &model, CLAUDE, "Paint it [ask]").expect(4);
    assert_eq!(ended.out.matches("Shall it be blue or green?").count(), 1, "{}", ended.out);
    assert!(ended.out.contains("question Shall it be blue or green?"), "{}", ended.out);
    assert!(ended.out.contains("next     cloud-code continue paint-it-ask \"your answer\""), "{}", ended.out);
    let status = house.run(["status"]).expect(0).out;
    assert!(status.contains("question Shall it be blue or green?"), "{status}");
    assert_eq!(git(&house.repo(), ["branch", "--list", "cloud-code/*"]), "");

    let key = (CLAUDE.1, CLAUDE.2);
    with_key(&house, key, &["answer", "paint-it-ask", "Green, please"]).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/paint-it-ask:colour.txt"]), "green\n");
}

#[test]
fn a_plan_is_followed_by_its_doing_in_the_same_worktree() {
    let house = House::new();
    let model = Model::start("conversation.yaml");
    let (repo, network) = (house.repo().display().to_string(), model.network());
    let key = (CLAUDE.1, CLAUDE.2);
    let args = [
        "run",
        "--repo",
        &repo,
        "--mode",
        "plan",
        "--network",
        &network,
        "--base-url",
        MODEL_URL,
        "Plan it [ask]",
    ];
    let ended = with_key(&house, key, &args).expect(0);
    assert!(ended.out.contains("Shall it be blue or green?"), "the plan is not shown: {}", ended.out);
    with_key(&house, key, &["continue", "plan-it-ask", "Do it, in green"]).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/plan-it-ask:colour.txt"]), "green\n");
}

#[test]
fn work_that_failed_is_continued_and_handed_over_as_one_branch() {
    let house = House::new();
    house.more_settings("defaults: {retries: {attempts: 1}}\n");
    house.run(house.shell_task("cat > prompt.txt; echo half > half.txt; exit 7", "Half way")).expect(3);
    assert_eq!(git(&house.repo(), ["branch", "--list", "cloud-code/*"]), "");
    let args = ["continue", "half-way", "--command", "sh -euc 'cat half.txt > whole.txt'", "Now whole"];
    house.run(args).expect(0);
    let branch = "cloud-code/half-way";
    assert_eq!(git(&house.repo(), ["show", &format!("{branch}:whole.txt")]), "half\n");
    assert_eq!(git(&house.repo(), ["log", "--oneline", &format!("main..{branch}")]).lines().count(), 2);

    let (tasking, reporting) = files(&house, "half-way");
    assert_eq!(reporting.tasks[&tasking.tasks[1].id].conversation, Conversation::Packet);
    let status = house.run(["status"]).expect(0).out;
    assert!(status.contains("was told in short what was said and done"), "{status}");

    // And a third, on a branch that is delivered already.
    house.run(["continue", "half-way", "--command", "sh -euc 'echo more > more.txt'", "More"]).expect(0);
    assert_eq!(git(&house.repo(), ["show", &format!("{branch}:more.txt")]), "more\n");
    assert_eq!(house.run(["status", "--json"]).expect(0).json()[0]["tasks"].as_array().unwrap().len(), 3);
}

#[test]
fn what_an_agent_left_open_is_not_taken_up_by_the_next_task() {
    let house = House::new();
    house.more_settings("defaults: {retries: {attempts: 1}}\n");
    let running = house.start(house.shell_task("echo one >> runs.txt; sleep 600", "Die"));
    let runs = house.issue("die").join("tree/runs.txt");
    wait_for("the program's first file", || runs.exists().then_some(()));
    crate::support::done(Command::new("docker").args(["rm", "--force", &house.containers()[0]]));
    running.end().expect(3);
    house.run(["continue", "die", "--command", "sh -euc 'echo two >> runs.txt'", "Again"]).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/die:runs.txt"]), "one\ntwo\n");
    let (tasking, reporting) = files(&house, "die");
    let ends: Vec<_> = tasking.tasks.iter().map(|task| reporting.tasks[&task.id].status).collect();
    assert_eq!(ends, [TaskReportStatus::Cancelled, TaskReportStatus::Completed]);
}

#[test]
fn a_follow_up_that_cannot_be_is_refused_with_a_way_out() {
    let house = House::new();
    let refused = |args: &[&str], says: &[&str]| {
        let ended = house.run(args).expect(1);
        for text in says {
            assert!(ended.err.contains(text), "{args:?}: `{text}` is not in: {}", ended.err);
        }
    };
    refused(&["continue", "nothing", "Go on"], &["there is no issue `nothing`", "cloud-code list"]);
    let running = house.start(house.shell_task("echo half > half.txt; sleep 600", "Take long"));
    let half = house.issue("take-long").join("tree/half.txt");
    wait_for("the program's first file", || half.exists().then_some(()));
    refused(&["continue", "take-logn", "Go on"], &["did you mean `repo-", "#take-long`?"]);
    refused(&["continue", "take-long", "Go on"], &["#take-long is still running", "cloud-code cancel"]);
    refused(&["handoff", "take-long", "--to", "codx"], &["there is no CLI `codx`, did you mean `codex`?"]);
    refused(
        &["handoff", "take-long", "--to", "command"],
        &["command works on repo-", "cloud-code continue take-long"],
    );
    running.signal("INT");
    running.end().expect(5);

    // Stopped by a person is no reason to refuse: it is what one does to tell it something else.
    house.run(["continue", "take-long", "--command", "sh -euc 'echo all > all.txt'", "Quicker"]).expect(0);
    refused(&["handoff", "take-long", "--to", "codex"], &["`codex` has no credentials", "CODEX_API_KEY"]);
    refused(&["continue", "take-long", ""], &["the task is empty"]);
    house.run(["clean", "take-long"]).expect(0);
    refused(&["continue", "take-long", "Go on"], &["was cleaned", "--base cloud-code/take-long"]);
}

#[test]
fn a_branch_that_a_person_changed_is_told_before_work_is_paid_for() {
    let house = House::new();
    house.run(house.shell_task("echo one > one.txt", "Say one")).expect(0);
    let (repo, branch) = (house.repo(), "cloud-code/say-one");
    let next = ["continue", "say-one", "--command", "sh -euc 'echo two > two.txt'", "Say two"];
    let refused = |says: [&str; 2]| {
        let ended = house.run(next).expect(1);
        assert!(says.iter().all(|text| ended.err.contains(text)), "{}", ended.err);
    };
    git(&repo, ["switch", "--quiet", branch]);
    refused(["is checked out in", "switch that worktree to another branch first"]);
    // Reading does not move it.
    house.run(["continue", "say-one", "--mode", "plan", "--command", "sh -c 'echo fine'", "Look"]).expect(0);

    git(&repo, ["commit", "--quiet", "--allow-empty", "--message", "Mine"]);
    git(&repo, ["switch", "--quiet", "main"]);
    refused(["has moved since", "keep what is there under another name"]);
    git(&repo, ["branch", "--quiet", "--move", branch, "mine"]);
    refused(["has been removed since", "put it back: git branch cloud-code/say-one"]);
    git(&repo, ["branch", branch, "mine~1"]);
    house.run(next).expect(0);
    assert_eq!(git(&repo, ["show", &format!("{branch}:two.txt")]), "two\n");
}

#[test]
fn a_hand_off_there_and_back_tells_each_cli_what_was_done() {
    let house = House::new();
    let model = Model::start("conversation.yaml");
    let issue = "write-three-files-hand-off";
    started(&house, &model, CLAUDE, "Write three files [hand-off]\n\nOne after the other.").expect(0);
    let ended =
        with_key(&house, (CODEX.1, CODEX.2), &["handoff", issue, "--to", "codex", "--base-url", MODEL_URL])
            .expect(0);
    assert!(ended.err.contains("taken over from claude-code"), "{}", ended.err);
    assert!(ended.err.contains("- Write three files [hand-off]"), "{}", ended.err);
    let back = ["handoff", issue, "--to", "claude-code", "--base-url", MODEL_URL, "And now the third"];
    let ended = with_key(&house, (CLAUDE.1, CLAUDE.2), &back).expect(0);
    assert!(ended.out.contains("I wrote third.txt, all three are there."), "{}", ended.out);
    let branch = format!("cloud-code/{issue}");
    let listed = git(&house.repo(), ["ls-tree", "--name-only", &branch]);
    assert_eq!(listed, "README.md\nfirst.txt\nsecond.txt\nsrc\nthird.txt\n");
    assert_eq!(git(&house.repo(), ["log", "--oneline", &format!("main..{branch}")]).lines().count(), 3);

    // Each CLI was told the goal and the diff so far; the scenario of each request is chosen by lines of its prompt.
    let asked = |scenario: &str| -> Vec<Value> {
        model.requests().into_iter().filter(|request| request["scenario"] == scenario).collect()
    };
    for (scenario, api) in [("first", "anthropic"), ("second", "openai_responses"), ("third", "anthropic")] {
        let requests = asked(scenario);
        assert!(!requests.is_empty(), "{scenario} was never asked for: {:#?}", model.requests());
        assert!(requests.iter().all(|r| r["api"] == api), "{scenario}: {requests:#?}");
    }
    let prompt = asked("second")[0]["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.contains("Write three files [hand-off]"), "the goal is not in the prompt: {prompt}");

    let (tasking, _) = files(&house, issue);
    assert_eq!(tasking.cli.as_str(), "claude-code");
    assert_eq!(tasking.tasks[2].description, "And now the third");
    assert!(tasking.tasks.iter().all(|task| task.continues.is_none()));
    let packet = tasking.tasks[2].handoff.as_ref().unwrap();
    assert_eq!(packet.from.as_ref().unwrap().as_str(), "codex");
    assert_eq!(packet.goal.as_deref(), Some("Write three files [hand-off]\n\nOne after the other."));
    assert!(packet.done[0].contains("I wrote first.txt and leave the second"), "{:?}", packet.done);
    assert!(packet.done.iter().any(|item| item.starts_with("commit ")), "{:?}", packet.done);
    let stat = packet.diff_stat.as_deref().unwrap();
    assert!(stat.contains("2 files changed, +2 -0"), "{stat}");
    let status = house.run(["status", issue]).expect(0).out;
    assert!(status.contains("packet   taken over from codex"), "{status}");
}

#[test]
fn work_that_was_delivered_is_not_replaced_when_the_worktree_is_lost() {
    let house = House::new();
    house.run(house.shell_task("echo one > one.txt", "Say one")).expect(0);
    let before = git(&house.repo(), ["rev-parse", "cloud-code/say-one"]);
    fs::rename(house.issue("say-one"), house.path().join("lost")).unwrap();
    let again = ["continue", "say-one", "--command", "sh -euc 'echo two > two.txt'", "Say two"];
    let ended = house.run(again).expect(1);
    assert!(ended.err.contains("--base cloud-code/say-one"), "{}", ended.err);
    assert_eq!(git(&house.repo(), ["rev-parse", "cloud-code/say-one"]), before);
}

#[test]
fn work_that_could_not_be_committed_is_not_cleaned_away() {
    let house = House::new();
    let nested = "echo mine > mine.txt; git init -q nested";
    house.run(house.shell_task(nested, "Nest it")).expect(3);
    let ended = house.run(["clean", "nest-it"]).expect(1);
    assert!(ended.err.contains("work that stands nowhere else"), "{}", ended.err);
    assert!(house.issue("nest-it").join("tree/mine.txt").exists());
    house.run(["clean", "nest-it", "--force"]).expect(0);
}
