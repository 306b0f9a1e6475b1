//! The program: what a container and a person see of it.
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, post};

/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-code-testkit"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn ended(mut child: Child) -> Output {
    wait_for("the program ends", || child.try_wait().expect("a child").is_some());
    child.wait_with_output().expect("its output")
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (script, port, journal) =
        (folder.path().join("s.yaml"), folder.path().join("port"), folder.path().join("j.jsonl"));
    std::fs::write(&script, "turns: [{say: hello}]").expect("a script");
    let child = program(&[
        "serve",
        "--script",
        utf8(&script),
        "--port-file",
        utf8(&port),
        "--journal",
        utf8(&journal),
    ])
    .spawn()
    .expect("it starts");
    wait_for("the port file", || port.exists());
    let port: u16 = std::fs::read_to_string(&port).expect("a port").trim().parse().expect("a number");
    let reply = post(([127, 0, 0, 1], port).into(), "/v1/messages", &json!({ "messages": [] }));
    assert_eq!(reply.json()["content"][0]["text"], "hello");
    let stopped = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(stopped.success());
    let output = ended(child);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("http://127.0.0.1:{port}\n"));
    assert_eq!(std::fs::read_to_string(&journal).expect("a journal").lines().count(), 1);
}

#[test]
fn a_bad_script_is_refused_before_anything_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let (script, port) = (folder.path().join("s.yaml"), folder.path().join("port"));
    std::fs::write(&script, "turns: [{sya: hello}]").expect("a script");
    for arguments in
        [vec!["serve", "--script", utf8(&script), "--port-file", utf8(&port)], vec!["check", utf8(&script)]]
    {
        let output = ended(program(&arguments).spawn().expect("it starts"));
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("s.yaml") && said.contains("unknown field `sya`") && said.contains("line 1"),
            "{said}"
        );
    }
    assert!(!port.exists());
}
