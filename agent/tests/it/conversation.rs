//! What a CLI is told, and which conversation goes on.

use cloud_code_task_schema::{Conversation, FailureKind, TaskReportStatus};

use crate::house::{House, task, transcript};

/// Names its session and answers; each call's arguments and prompt are noted.
const CLAUDE: &str = r#"
    echo "$@" >> $NOTES/calls; cat > $NOTES/prompt.$(wc -l < $NOTES/calls)
    say() { echo '{"type":"system","subtype":"init","session_id":"s-1"}'; echo "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"$1\",\"session_id\":\"s-1\"}"; }
"#;
const KEYS: &str = "output: claude-stream-json\nresume: ['--resume={session_id}']\n";

fn claude(script: &str) -> House {
    House::with_manifest(&format!("{CLAUDE}{script}"), KEYS)
}

#[test]
fn the_answer_to_a_question_continues_the_conversation() {
    let house = claude(
        "case \"$*\" in *resume*) echo x > file; say Done;; *) say 'Which file shall I change?';; esac",
    );
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let asked = house.report("one");
    assert_eq!((asked.status, asked.conversation), (TaskReportStatus::Blocked, Conversation::New));
    assert_eq!(asked.questions, ["Which file shall I change?"]);
    house.assign(2, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    let report = house.report("two");
    assert_eq!((report.status, report.conversation), (TaskReportStatus::Completed, Conversation::Resumed));
    assert_eq!(house.note("calls").unwrap(), "\n--resume=s-1\n");
    let prompt = house.note("prompt.2").unwrap();
    assert!(prompt.starts_with("Your work here goes on.") && prompt.contains("Do two"), "{prompt}");
    assert_eq!(house.read("control/logs/two.1.prompt.md").matches("Do two").count(), 1);
    assert_eq!(report.base, asked.head, "the second task began where the first one ended");
    assert_eq!(report.cli.unwrap().as_str(), "command");
}

#[test]
fn a_session_that_cannot_be_resumed_is_told_in_short() {
    // The CLI forgot it.
    let house = claude(
        "case \"$*\" in *resume*) echo 'no such session' >&2; exit 1;; esac; date +%N > file; say 'Say hello first.'",
    );
    house.assign(1, &[task("one", "")]);
    house.run_once();
    house.assign(2, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    let report = house.report("two");
    assert_eq!((report.status, report.conversation), (TaskReportStatus::Completed, Conversation::Packet));
    assert!(house.has_warning("could not resume its session (the CLI exited with code 1: no such session)"));
    let prompt = house.note("prompt.3").unwrap();
    assert!(prompt.contains("## Earlier: Title of one") && prompt.contains("Say hello first."), "{prompt}");
    assert!(prompt.contains("Do one") && prompt.contains("Do two"), "{prompt}");
    let log = house.read("control/logs/two.1.prompt.md");
    assert!(log.contains("turn 1: follow-up") && log.contains("turn 2: packet"), "{log}");

    // The CLI never could.
    let house =
        House::with_manifest(&format!("{CLAUDE} date +%N > file; say Done"), "output: claude-stream-json\n");
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    assert_eq!(house.report("two").conversation, Conversation::Packet);
    assert!(house.has_warning("this CLI cannot resume a session; the prompt tells what was said and done"));

    // It is another CLI's.
    let house = claude("date +%N > file; say Done");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let other = house.read("control/reporting.yaml").replace("    cli: command", "    cli: codex");
    house.write("control/reporting.yaml", &other);
    house.assign(2, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    assert_eq!(house.report("two").conversation, Conversation::Packet);
    assert!(house.has_warning("the earlier session is one of codex"));
    assert_eq!(house.note("calls").unwrap(), "\n\n");
}

#[test]
fn a_conversation_that_grew_too_long_begins_anew() {
    let too_long = format!("cat {}; exit 1", transcript("claude/context.jsonl").display());
    let house = claude(&format!("case \"$*\" in *resume*) {too_long};; esac; date +%N > file; say Done"));
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    let report = house.report("two");
    assert_eq!(
        (report.status, report.conversation),
        (TaskReportStatus::Completed, Conversation::Packet),
        "{:?}",
        report.failure
    );
    assert_eq!(house.starts(), 3);
}

#[test]
fn a_refused_key_is_no_reason_to_begin_anew() {
    let refused = format!("cat {}; exit 1", transcript("claude/key401.jsonl").display());
    let house = claude(&format!("case \"$*\" in *resume*) {refused};; esac; date +%N > file; say Done"));
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    assert_eq!(house.report("two").failure.unwrap().kind, FailureKind::Auth);
    assert_eq!(house.starts(), 2);
}

#[test]
fn a_session_gets_a_name_where_the_cli_tells_none() {
    let keys = "session: [--name, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let house = House::with_manifest("echo \"$@\" >> $NOTES/calls; date +%N > file; echo All is done.", keys);
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    let id = house.report("one").session_id.unwrap();
    assert_eq!(house.note("calls").unwrap(), format!("--name {id}\n--resume {id}\n"));
    assert_eq!(house.report("two").session_id, Some(id));
}

#[test]
fn a_hand_off_is_read_before_the_task() {
    let house = claude("echo x > file; say Done");
    house.assign(
        1,
        &[task(
            "one",
            "handoff: {from: codex, goal: Reject it, failed_checks: [make test], diff_stat: ' a | 1 +'}",
        )],
    );
    house.run_once();
    let prompt = house.note("prompt.1").unwrap();
    assert!(prompt.contains("codex, worked on this before you") && prompt.contains(" a | 1 +"), "{prompt}");
    assert!(prompt.contains("- make test") && prompt.contains("Do one"), "{prompt}");
}

#[test]
fn a_project_brings_its_own_prompts() {
    let house = claude("echo x > file; say Done");
    std::fs::create_dir(house.path("control/prompts")).unwrap();
    house.write("control/prompts/task.md", "Please: {{ task.description }}\n");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    assert_eq!(house.note("prompt.1").unwrap(), "Please: Do one\n");
    house.write("control/prompts/task.md", "Please: {{ task.descripton }}\n");
    house.assign(2, &[task("one", ""), task("two", "")]);
    house.run_once();
    let failure = house.report("two").failure.unwrap();
    assert_eq!(failure.kind, FailureKind::InvalidTasking);
    assert_eq!(failure.message, "prompts/task.md: undefined value (line 1)");
    assert_eq!(house.starts(), 1);
}

#[test]
fn the_prompt_is_kept_without_secrets() {
    let mut house = claude("echo x > file; say Done");
    house.env = vec![("MY_KEY".to_owned(), "secret-value-1".to_owned())];
    let cli = house.read("control/cli.yaml");
    house.write("control/cli.yaml", &format!("{cli}credentials: [MY_KEY]\n"));
    house.assign(1, &[task("one", "context: {notes: the key is secret-value-1}")]);
    house.run_once();
    let log = house.read("control/logs/one.1.prompt.md");
    assert!(log.starts_with("<!-- turn 1: task, ") && log.contains("the key is ***"), "{log}");
}

#[test]
fn checks_after_a_lost_session_come_with_the_task() {
    let house = claude("case \"$*\" in *resume*) exit 1;; esac; date +%N > work; say Done");
    house.assign(1, &[task("one", "verify: ['[ $(wc -l < $HOME/../notes/calls) -gt 2 ]']")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!(
        (report.status, report.conversation),
        (TaskReportStatus::Completed, Conversation::New),
        "{:?}",
        report.failure
    );
    let prompt = house.note("prompt.3").unwrap();
    assert!(prompt.contains("Do one") && prompt.contains("The checks failed after your change"), "{prompt}");
}

#[test]
fn a_packet_stays_one_through_the_rounds() {
    let manifest = "session: [--new, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let script = "echo \"$@\" >> $NOTES/calls; date +%N > file; echo All is done.";
    let house = House::with_manifest(script, manifest);
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let report = house.read("control/reporting.yaml").replace("    cli: command", "    cli: codex");
    house.write("control/reporting.yaml", &report);
    house.assign(
        2,
        &[
            task("one", ""),
            task("two", "continues: one, verify: ['[ $(wc -l < $HOME/../notes/calls) -gt 2 ]']"),
        ],
    );
    house.run_once();
    let report = house.report("two");
    assert_eq!((report.status, report.conversation), (TaskReportStatus::Completed, Conversation::Packet));
    assert_eq!(house.note("calls").unwrap().matches("--resume").count(), 1);
}

#[test]
fn a_follow_up_that_worked_and_failed_is_not_paid_for_twice() {
    let manifest = "session: [--new, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let house = House::with_manifest(
        "date +%N > file; echo All is done.; case \"$*\" in *resume*) exit 3;; esac",
        manifest,
    );
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    assert_eq!(house.report("two").failure.unwrap().kind, FailureKind::Crashed);
    assert_eq!(house.starts(), 2);
}

#[test]
fn the_session_is_known_after_an_attempt_that_only_ended_the_task() {
    let house = claude(
        "say Half > /dev/null; echo '{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s-1\"}'; touch $NOTES/ready; sleep 600",
    );
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("ready");
    house.wait_report("the session", |reporting| {
        reporting.tasks.values().any(|report| report.session_id.is_some())
    });
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    house.assign(2, &[task("one", "status: cancelled")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.session_id.as_deref()), (TaskReportStatus::Cancelled, Some("s-1")));
}
