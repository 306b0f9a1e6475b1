//! The log as a program reads it.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::stage::{SHOP, Setup, Stage, WEBHOOK_SECRET};

#[test]
fn every_line_of_a_served_run_is_json_with_the_names_of_logging_md() {
    let stage = Stage::set(Setup::default());
    stage.replaces("cloud-code.yaml", "server: {", "log: {format: json}\nserver: {");
    let path = stage.home().join("../json.log");
    let mut command = stage.command(&["serve", "-v"]);
    let mut serve = command.stderr(File::create(&path).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let read = || std::fs::read_to_string(&path).unwrap();
    let lines = || -> Vec<Value> {
        let text = read();
        // A line that is being written is not one yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        whole.lines().map(parsed).collect()
    };
    let address = stage.wait_for("the address of `serve`", || {
        assert!(serve.try_wait().unwrap().is_none(), "serve ended:\n{}", read());
        lines()
            .iter()
            .find_map(|line| Some(line["message"].as_str()?.strip_prefix("listening on http://")?.to_owned()))
    });
    stage.github.deliver_to(&format!("http://{address}/webhooks/github"), WEBHOOK_SECRET);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let pid = serve.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(serve.wait().unwrap().success(), "{}", read());

    let lines = lines();
    assert!(lines.len() > 10, "{}", read());
    for line in &lines {
        let line = line.as_object().unwrap();
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line.get(name).is_some_and(Value::is_string), "{name} is missing in {line:?}");
        }
    }
    let task = stage.tasks()[0].task.id.as_str().to_owned();
    let moves: Vec<&str> = lines
        .iter()
        .filter(|line| line["task.id"] == task.as_str() && line["message"] == "the task moved on")
        .filter_map(|line| line["status"].as_str())
        .collect();
    assert_eq!(moves, ["preparing", "running", "importing", "publishing", "done"]);
    let answered = lines.iter().find(|line| line["message"] == "request answered").expect("a request");
    assert_eq!(answered["http.status"], 202, "{answered}");
    let span = &answered["spans"][0];
    assert_eq!(span["http.path"], "/webhooks/github");
    assert!(span["request.id"].is_string() && span["delivery.guid"].is_string(), "{span}");
}

#[test]
fn a_command_that_fails_says_so_in_one_line_of_json() {
    let stage = Stage::set(Setup::default());
    let output = stage.command(&["--log-format", "json", "status", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "there is no issue `nothing`");
    assert_eq!(line["hint"], "`cloud-code list` shows them all");
}
