//! How work is published: what the pull request says, and what stands in its way.

use std::process::Stdio;

use cloud_code_fake_github::{Fault, PullView, RepoSeed, Role};

use crate::stage::{SHOP, Setup, Stage};

const BRANCH: &str = "cloud-code/issue-42";

fn only_pull(stage: &Stage) -> PullView {
    let mut pulls = stage.github.pull_requests(SHOP);
    assert_eq!(pulls.len(), 1, "{pulls:#?}");
    pulls.remove(0)
}

#[test]
fn a_pull_request_is_a_draft_where_the_project_says_so() {
    let stage = Stage::with(Setup {
        project: "publish: {draft: true, reviewers: [rita, nobody]}",
        ..Setup::default()
    });
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    let pull = only_pull(&stage);
    assert!(pull.draft);
    assert_eq!(pull.reviewers, ["rita"]);
    assert!(stage.status(issue).contains("Not asked to review: nobody"), "{}", stage.status(issue));
    stage.holds();
}

#[test]
fn an_issue_can_say_whether_its_pull_request_is_a_draft() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code config draft true");
    stage.says(issue, "draft");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    assert!(only_pull(&stage).draft);
    stage.holds();
}

#[test]
fn where_there_are_no_drafts_a_plain_pull_request_is_opened_and_said() {
    let mut stage = Stage::set(Setup { project: "publish: {draft: true}", ..Setup::default() });
    stage.github.repo(RepoSeed::new("acme/till").refuses_drafts().collaborator("alice", Role::Write));
    let settings = std::fs::read_to_string(stage.home().join("projects/shop.yaml")).unwrap();
    stage.write("projects/shop.yaml", &settings.replace("github: acme/shop", "github: acme/till"));
    stage.serves();
    let alice = stage.user("alice");
    let issue = alice.opens_issue("acme/till", "Count once more", "Counting is broken.");
    alice.comments_on("acme/till", issue, "/cloud-code run");
    let pull = stage.wait_for("the pull request", || stage.github.pull_requests("acme/till").pop());
    assert!(!pull.draft);
    stage.wait_for("the remark", || {
        let comments = stage.github.comments("acme/till", issue);
        comments.iter().any(|c| c.body.contains("Drafts are not available in this repository")).then_some(())
    });
    stage.holds();
}

#[test]
fn a_template_is_honoured_and_what_people_write_around_our_part_stays() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    alice.pushes(SHOP, "main", ".github/pull_request_template.md", "## Risk\n\n- [ ] Looked at\n");
    let issue =
        stage.is_asked("Counting is broken.\n\n## Acceptance Criteria\n\n- The count grows\n- It is fast\n");
    stage.becomes(issue, "in-review");
    let pull = only_pull(&stage);
    assert!(pull.body.starts_with("## Risk\n\n- [ ] Looked at\n"), "{}", pull.body);
    assert!(
        pull.body.contains("- [x] The count grows") && pull.body.contains("- [ ] It is fast"),
        "{}",
        pull.body
    );
    assert!(
        pull.body.contains("No verify command is set") && pull.body.contains("### Cost"),
        "{}",
        pull.body
    );

    let edited = pull.body.replace("- [ ] Looked at", "- [x] Looked at") + "\n\nA word of my own.";
    alice.edits_issue(SHOP, pull.number, &edited);
    alice.comments_on(SHOP, pull.number, "/cloud-code and once more");
    stage.holds_file(BRANCH, "count.txt", "2\n");
    stage.tells(issue, "Earlier tasks (1)");
    let body = stage.wait_for("the new section", || {
        Some(only_pull(&stage).body).filter(|body| body.contains("| 2 | command | done |"))
    });
    assert!(body.starts_with("## Risk\n\n- [x] Looked at\n") && body.contains("A word of my own."), "{body}");
    assert_eq!(body.matches("### Cost").count(), 1, "{body}");
    assert_eq!(stage.github.commits(SHOP, BRANCH).len(), 2);
    stage.becomes(issue, "in-review");
    stage.holds();
}

#[test]
fn an_issue_is_closed_only_by_a_merge_into_the_default_branch() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    alice.pushes(SHOP, "release", "count.txt", "10\n");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run --base release");
    stage.becomes(issue, "in-review");
    let pull = only_pull(&stage);
    assert_eq!(pull.base, "release");
    assert!(pull.body.contains("Part of #42") && !pull.body.contains("Fixes #42"), "{}", pull.body);
    assert_eq!(stage.github.file(SHOP, BRANCH, "count.txt").as_deref(), Some("11\n"));
    stage.holds();
}

#[test]
fn where_nothing_changed_nothing_is_opened_and_it_is_said() {
    let stage = Stage::new();
    let issue = stage.is_asked("NO-CHANGE");
    let status = stage.tells(issue, "no file differs");
    assert!(status.contains("`no_changes`"), "{status}");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    assert_eq!(stage.github.pull_requests(SHOP), []);
    stage.holds();
}

#[test]
fn work_that_the_base_got_meanwhile_opens_nothing_and_it_is_said() {
    let stage = Stage::new();
    let issue = stage.is_asked("WAIT-FOR-GO");
    stage.hears(1);
    stage.user("alice").pushes(SHOP, "main", "count.txt", "1\n");
    stage.go();
    stage.tells(issue, "Its base has all of it, so there is no pull request");
    stage.becomes(issue, "done");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    assert_eq!(stage.github.pull_requests(SHOP), []);
    stage.holds();
}

/// Refused, told, mended, and published without another word to the CLI.
fn is_published_after(stage: &Stage, issue: u64, mend: impl FnOnce()) {
    stage.becomes(issue, "failed");
    let status = stage.status(issue);
    assert!(status.contains("`publish_refused`") && status.contains("/cloud-code retry"), "{status}");
    assert_eq!(stage.github.pull_requests(SHOP), []);
    mend();
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code retry");
    stage.becomes(issue, "in-review");
    assert_eq!(only_pull(stage).head, format!("acme:{BRANCH}"));
    assert_eq!(stage.prompts().len(), 1);
    stage.holds();
}

#[test]
fn a_protected_branch_is_told_and_published_after_a_retry() {
    let stage = Stage::new();
    stage.github.protect(SHOP, BRANCH, true);
    let issue = stage.is_asked("Counting is broken.");
    let status = stage.tells(issue, "protects the branch `cloud-code/issue-42`");
    assert!(status.contains("GH006") && status.contains("set another `branch_prefix`"), "{status}");
    is_published_after(&stage, issue, || stage.github.protect(SHOP, BRANCH, false));
}

#[test]
fn an_archived_repository_is_told_when_it_can_be_and_published_after_a_retry() {
    let stage = Stage::new();
    let issue = stage.is_asked("WAIT-FOR-GO");
    stage.hears(1);
    stage.tells(issue, "works on");
    stage.github.archive(SHOP, true);
    stage.go();
    stage.wait_for("the task to fail", || stage.log().contains("status=failed").then_some(()));
    stage.github.archive(SHOP, false);
    stage.tells(issue, "archived");
    is_published_after(&stage, issue, || {});
}

#[test]
fn a_commit_that_a_person_pushed_is_what_the_next_task_builds_on() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    alice.pushes(SHOP, BRANCH, "count.txt", "10\n");
    let theirs = alice.pushes(SHOP, BRANCH, ".github/workflows/ci.yml", "on: push\n");
    alice.comments_on(SHOP, issue, "/cloud-code and once more");
    let prompt = stage.hears(2);
    let part = format!("somebody else pushed to the branch `{BRANCH}`, which stands on {theirs} now");
    assert!(prompt.contains(&part), "{part:?} is missing in:\n{prompt}");
    stage.holds_file(BRANCH, "count.txt", "11\n");
    assert!(stage.is_part_of(&theirs, BRANCH));
    let remark = format!("Somebody else pushed `{}` to the branch. It stays", &theirs[..12]);
    stage.tells(issue, &remark);
    stage.rests(issue, "in-review", 2);

    // The next one says nothing of it any more, and nobody's commit is lost.
    alice.comments_on(SHOP, issue, "/cloud-code and again");
    stage.holds_file(BRANCH, "count.txt", "12\n");
    let status = stage.rests(issue, "in-review", 3);
    assert!(!status.contains("Somebody else pushed"), "{status}");
    assert!(stage.is_part_of(&theirs, BRANCH));
    assert!(!stage.prompts()[2].contains("somebody else pushed to the branch"), "{}", stage.prompts()[2]);
    assert_eq!(only_pull(&stage).head_sha, stage.github.branch(SHOP, BRANCH).unwrap());
    stage.holds();
}

#[test]
fn work_is_put_on_top_of_what_a_person_pushes_meanwhile() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    alice.comments_on(SHOP, issue, "/cloud-code and once more WAIT-FOR-GO");
    stage.hears(2);
    let theirs = alice.pushes(SHOP, BRANCH, "mine.txt", "by hand\n");
    stage.go();
    stage.holds_file(BRANCH, "count.txt", "2\n");
    assert!(stage.is_part_of(&theirs, BRANCH));
    let status = stage.tells(issue, "the work was put on top of it after it was verified");
    assert!(status.contains(&format!("Somebody else pushed `{}`", &theirs[..12])), "{status}");
    stage.rests(issue, "in-review", 2);

    alice.comments_on(SHOP, issue, "/cloud-code and again");
    stage.holds_file(BRANCH, "count.txt", "3\n");
    assert!(stage.is_part_of(&theirs, BRANCH));
    stage.rests(issue, "in-review", 3);
    stage.holds();
}

#[test]
fn what_conflicts_with_a_persons_commit_is_refused_and_the_next_task_brings_both_together() {
    let stage = Stage::new();
    stage.teaches(
        "Bring them in before anything else",
        r#"
tip=$(printf '%s' "$prompt" | sed -n 's/.*`git merge \([0-9a-f]*\)`.*/\1/p')
git -c user.name=cli -c user.email=cli@localhost merge --quiet -X ours -m 'Bring both together' "$tip" >&2 || exit 1
echo 'Both hold.'; exit 0"#,
    );
    let alice = stage.user("alice");
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    alice.comments_on(SHOP, issue, "/cloud-code and once more WAIT-FOR-GO");
    stage.hears(2);
    let theirs = alice.pushes(SHOP, BRANCH, "count.txt", "70\n");
    stage.go();
    let status = stage.tells(issue, "is not where it was expected");
    assert!(status.contains("`publish_refused`") && status.contains(&theirs), "{status}");
    assert!(status.contains("nothing of theirs is overwritten"), "{status}");
    stage.becomes(issue, "failed");
    assert_eq!(stage.github.branch(SHOP, BRANCH), Some(theirs.clone()));

    alice.comments_on(SHOP, issue, "/cloud-code bring both together");
    stage.holds_file(BRANCH, "count.txt", "2\n");
    assert!(stage.is_part_of(&theirs, BRANCH));
    stage.rests(issue, "in-review", 3);
    stage.holds();
}

#[test]
fn a_branch_whose_history_was_rewritten_is_left_alone() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    let ours = stage.github.branch(SHOP, BRANCH).unwrap();
    let theirs = stage.git(&["rev-parse", &format!("{BRANCH}~1")]);
    stage.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &theirs]);
    alice.comments_on(SHOP, issue, "/cloud-code and once more");
    let told = stage.says(issue, "was rewritten");
    assert!(
        told.contains(&theirs[..12]) && told.contains(&ours) && told.contains("Nothing of it is overwritten"),
        "{told}"
    );
    assert_eq!((stage.prompts().len(), stage.github.branch(SHOP, BRANCH)), (1, Some(theirs)));

    // Put back, work goes on.
    stage.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &ours]);
    alice.comments_on(SHOP, issue, "/cloud-code and once more");
    stage.holds_file(BRANCH, "count.txt", "2\n");
    stage.holds();
}

#[test]
fn work_that_was_pushed_before_its_task_failed_is_known_to_the_next_one() {
    let stage = Stage::new();
    let issue = stage.is_asked("WAIT-FOR-GO");
    stage.hears(1);
    stage.github.fault("POST", "/repos/acme/shop/pulls", Fault::Status(403));
    stage.go();
    stage.becomes(issue, "failed");
    assert_eq!(stage.github.file(SHOP, BRANCH, "count.txt").as_deref(), Some("1\n"));
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code and once more");
    stage.holds_file(BRANCH, "count.txt", "2\n");
    stage.rests(issue, "in-review", 2);
    stage.holds();
}

#[test]
fn a_change_of_workflows_is_refused_before_it_is_pushed() {
    let stage = Stage::new();
    let issue = stage.is_asked("WORKFLOW-CHANGE");
    let status = stage.tells(issue, ".github/workflows/ci.yml");
    assert!(status.contains("`rejected`"), "{status}");
    stage.becomes(issue, "failed");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn a_change_of_workflows_that_github_refuses_is_told() {
    let stage = Stage::with(Setup { project: "import: {allow_workflow_changes: true}", ..Setup::default() });
    let issue = stage.is_asked("WORKFLOW-CHANGE");
    let status = stage.tells(issue, "does not let this token change workflow files");
    assert!(status.contains("`publish_refused`") && status.contains("`workflows`"), "{status}");
    stage.becomes(issue, "failed");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    assert_eq!(stage.prompts().len(), 1);
    stage.holds();
}

#[test]
fn a_renamed_repository_is_followed() {
    let stage = Stage::new();
    let issue = stage.is_asked("WAIT-FOR-GO");
    stage.hears(1);
    stage.github.rename(SHOP, "store");
    stage.go();
    let pull = stage.wait_for("the pull request", || stage.github.pull_requests("acme/store").pop());
    assert_eq!(pull.head, format!("acme:{BRANCH}"));
    stage.wait_for("the label", || {
        let labels = stage.github.labels("acme/store", issue);
        labels.contains(&"cloud-code: in-review".to_owned()).then_some(())
    });
    stage.holds();
}

#[test]
fn work_waits_while_access_is_lost_and_is_published_when_it_is_back() {
    let stage = Stage::new();
    let issue = stage.is_asked("WAIT-FOR-GO");
    stage.hears(1);
    stage.tells(issue, "works on");
    stage.github.fault("GET", "/repos/acme/shop", Fault::LostAccess);
    stage.go();
    stage.wait_for("the log to say why", || {
        let log = stage.log();
        let said = log.lines().find(|line| line.contains("cannot be driven on now"))?;
        said.contains("no access to `acme/shop`").then_some(())
    });
    assert_eq!(stage.github.faults_waiting(), 0);
    stage.becomes(issue, "in-review");
    assert_eq!(only_pull(&stage).head, format!("acme:{BRANCH}"));
    assert_eq!(stage.prompts().len(), 1);
    stage.holds();
}

#[test]
fn a_branch_that_is_there_already_is_left_alone() {
    let stage = Stage::new();
    let theirs = stage.user("alice").pushes(SHOP, BRANCH, "mine.txt", "by hand\n");
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    assert_eq!(only_pull(&stage).head, format!("acme:{BRANCH}-2"));
    assert_eq!(stage.github.branch(SHOP, BRANCH), Some(theirs));
    stage.holds();
}

#[test]
fn two_issues_are_worked_on_at_one_time() {
    let stage = Stage::new();
    let first = stage.is_asked("WAIT-FOR-GO");
    let second = stage.is_asked("WAIT-FOR-GO");
    stage.hears(2);
    stage.go();
    for issue in [first, second] {
        stage.becomes(issue, "in-review");
        let branch = format!("cloud-code/issue-{issue}");
        assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("1\n"));
    }
    assert_eq!(stage.github.pull_requests(SHOP).len(), 2);
    stage.holds();
}

#[test]
fn a_task_of_the_command_line_ends_in_a_pull_request_as_well() {
    let stage = Stage::set(Setup::default());
    let mut run = stage.command(&["run", "--project", "shop", "Count once more"]);
    let output = run.stdout(Stdio::piped()).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let pull = only_pull(&stage);
    assert_eq!(
        (pull.title.as_str(), pull.head.as_str()),
        ("Count once more", "acme:cloud-code/count-once-more")
    );
    assert!(!pull.body.contains("Fixes #") && !pull.body.contains("Part of #"), "{}", pull.body);
    assert!(said.contains(&format!("/acme/shop/pull/{}", pull.number)), "{said}");
    assert_eq!(stage.github.comments(SHOP, pull.number), []);
    stage.holds();
}
