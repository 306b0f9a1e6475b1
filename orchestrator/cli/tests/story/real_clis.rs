//! The real claude-code and the real codex, each in its own container, on a scripted provider.

use std::fs;

use cloud_code_task_schema::{
    CostSource, Event, EventKind, SchemaKind, TaskReportStatus, parse_event, parse_reporting, parse_tasking,
    schema,
};
use serde_json::Value;

use crate::support::{House, MODEL_URL, Model, git};

/// Runs the CLI on the script that edits a heading, adds a note and commits.
fn edit_and_commit(cli: &str, key: (&str, &str)) -> (House, Model) {
    let house = House::new();
    let model = Model::start("edit-and-commit.yaml");
    let repo = house.repo().display().to_string();
    let args = ["run", "--repo", &repo, "--cli", cli, "--network", &model.network(), "--base-url", MODEL_URL];
    let mut command = house.command(args);
    command.arg("Edit the heading").env(key.0, key.1);
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\nmodel saw:\n{:#?}", model.requests());
    assert!(!said.contains(key.1), "the key was printed:\n{said}");
    (house, model)
}

fn holds_exactly_the_scripted_work(house: &House) {
    let repo = house.repo();
    let branch = "cloud-code/edit-the-heading";
    assert_eq!(git(&repo, ["log", "--format=%s", &format!("main..{branch}")]), "docs: edit the heading\n");
    assert_eq!(
        git(&repo, ["diff", "--no-color", "main", branch]),
        "diff --git a/README.md b/README.md\n\
         index 801406b..96609c6 100644\n\
         --- a/README.md\n\
         +++ b/README.md\n\
         @@ -1,3 +1,3 @@\n\
         -# Sample\n\
         +# Sample, edited\n \n A sample.\n\
         diff --git a/notes/changes.txt b/notes/changes.txt\n\
         new file mode 100644\n\
         index 0000000..e207248\n\
         --- /dev/null\n\
         +++ b/notes/changes.txt\n\
         @@ -0,0 +1 @@\n\
         +The heading was edited.\n"
    );
    assert_eq!(git(&repo, ["status", "--porcelain"]), "", "the user's own checkout was touched");
    assert_eq!(git(&repo, ["rev-parse", "--abbrev-ref", "HEAD"]), "main\n");
    assert_eq!(house.containers(), Vec::<String>::new(), "a container was left");
}

fn check_schema(kind: SchemaKind, document: &Value) {
    let schema = schema(kind);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{kind:?}: {errors:#?}\n{document:#}");
}

/// The two files and the event log, checked against the published schemas, and against each other.
fn files_fit_their_schemas(house: &House, secret: &str) -> (cloud_code_task_schema::TaskReport, Vec<Event>) {
    let control = house.control("edit-the-heading");
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    let as_json = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
    for (name, kind) in [
        ("tasking.yaml", SchemaKind::Tasking),
        ("reporting.yaml", SchemaKind::Reporting),
        ("cli.yaml", SchemaKind::Cli),
    ] {
        let text = read(name);
        check_schema(kind, &as_json(&text));
        assert!(!text.contains(secret), "{name} holds the key");
    }
    let log = read("events.jsonl");
    assert!(!log.contains(secret), "events.jsonl holds the key");
    let mut events = Vec::new();
    for (index, line) in log.lines().enumerate() {
        check_schema(SchemaKind::Event, &serde_json::from_str(line).unwrap());
        events.push(parse_event("events.jsonl", index + 1, line).unwrap());
    }
    let numbers: Vec<u64> = events.iter().map(|e| e.seq).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "the sequence has gaps");

    let tasking = parse_tasking("tasking.yaml", &read("tasking.yaml")).unwrap();
    let mut reporting = parse_reporting("reporting.yaml", &read("reporting.yaml")).unwrap();
    let task = &tasking.tasks[0];
    assert_eq!(reporting.observed_generation, tasking.generation);
    let report = reporting.tasks.remove(&task.id).unwrap();
    assert_eq!(report.status, TaskReportStatus::Completed, "{:?}", report.failure);
    let head = git(&house.repo(), ["rev-parse", "cloud-code/edit-the-heading"]);
    assert_eq!(report.head.as_deref(), Some(head.trim()));
    (report, events)
}

#[test]
fn the_real_claude_code_edits_and_commits_in_a_container() {
    let key = "sk-ant-story-secret-1";
    let (house, model) = edit_and_commit("claude-code", ("ANTHROPIC_API_KEY", key));
    holds_exactly_the_scripted_work(&house);
    let (report, events) = files_fit_their_schemas(&house, key);
    assert!(report.session_id.is_some());
    assert_eq!(report.usage.cost_source, CostSource::Reported);
    assert!(report.usage.cost_usd.is_some_and(|c| c.as_f64() > 0.0));
    assert!(report.summary.as_deref().unwrap_or_default().contains("I changed the heading"));
    assert!(events.iter().any(|e| matches!(&e.kind, EventKind::ToolUse { tool, .. } if tool == "Bash")));
    assert!(model.requests().len() >= 5, "{:#?}", model.requests());
}

#[test]
fn the_real_codex_edits_and_commits_in_a_container() {
    let key = "sk-codex-story-secret-2";
    let (house, model) = edit_and_commit("codex", ("CODEX_API_KEY", key));
    holds_exactly_the_scripted_work(&house);
    let (report, events) = files_fit_their_schemas(&house, key);
    assert!(report.session_id.is_some());
    assert_eq!(
        (report.usage.cost_usd, report.usage.cost_source),
        (None, CostSource::Unknown),
        "codex names no money"
    );
    assert!(report.usage.input_tokens.is_some_and(|t| t > 0));
    assert!(report.summary.as_deref().unwrap_or_default().contains("I changed the heading"));
    assert!(events.iter().any(|e| matches!(&e.kind, EventKind::ToolUse { .. })));
    assert!(model.requests().len() >= 5, "{:#?}", model.requests());
}

/// Runs claude-code on the scenario that the marker chooses and returns how it ended.
fn claude_fault(marker: &str, more: &[&str]) -> (i32, Value) {
    let house = House::new();
    let model = Model::start("faults.yaml");
    let repo = house.repo().display().to_string();
    let network = model.network();
    let mut args = vec![
        "run",
        "--json",
        "--repo",
        &repo,
        "--cli",
        "claude-code",
        "--network",
        &network,
        "--base-url",
        MODEL_URL,
    ];
    args.extend(more);
    let task = format!("Write done.txt {marker}");
    args.push(&task);
    let output = house.command(args).env("ANTHROPIC_API_KEY", "sk-ant-story-secret-3").output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = lines.lines().rfind(|l| l.contains("\"kind\":\"state\"")).unwrap_or_else(|| {
        panic!("no state was printed\n{lines}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    let state: Value = serde_json::from_str(last).unwrap();
    (output.status.code().unwrap(), state["state"].clone())
}

#[test]
fn a_bad_key_ends_as_an_auth_failure() {
    let (code, state) = claude_fault("[bad-key]", &[]);
    assert_eq!((code, state["failure"]["kind"].as_str()), (3, Some("auth")), "{state:#}");
}

#[test]
fn a_claim_of_success_without_a_change_is_told_as_no_changes() {
    let (code, state) = claude_fault("[no-changes]", &[]);
    assert_eq!((code, state["failure"]["kind"].as_str()), (3, Some("no_changes")), "{state:#}");
}

#[test]
fn a_provider_that_hangs_is_ended_by_the_clock_with_the_work_kept() {
    let (code, state) = claude_fault("[hang-after-work]", &["--timeout", "12s"]);
    assert_eq!((code, state["failure"]["kind"].as_str()), (3, Some("timeout")), "{state:#}");
    assert!(state["head"].is_string(), "the work was not kept: {state:#}");
}

#[test]
fn no_credentials_are_noticed_before_anything_is_made() {
    let house = House::new();
    let repo = house.repo().display().to_string();
    let ended = house.run(["run", "--repo", &repo, "--cli", "claude-code", "Fix it"]).expect(1);
    assert!(ended.err.contains("has no credentials"), "{}", ended.err);
    assert!(ended.err.contains("ANTHROPIC_API_KEY"), "{}", ended.err);
    assert!(!house.home().join("workspaces").exists());
}
