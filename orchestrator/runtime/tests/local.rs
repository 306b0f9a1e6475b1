//! The local adapter with `/bin/sh` as the agent.

#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking, helpers included")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cloud_code_model::InstanceId;
use cloud_code_runtime::{
    ContainerExit, ContainerId, ContainerSpec, ContainerState, Labels, LocalRuntime, LocalSettings,
    NetworkMode, Runtime, RuntimeError, RuntimeKind, Secrets, Stdin,
};
use secrecy::SecretString;

use support::{code, in_time, labels, new_instance, sh, until};

/// One installation in a folder of its own; whatever still runs of it at the end is ended.
struct Installation {
    instance: InstanceId,
    folder: tempfile::TempDir,
    runtime: LocalRuntime,
}

impl Installation {
    fn new() -> Self {
        let (instance, folder) = (new_instance(), tempfile::tempdir().unwrap());
        let runtime =
            LocalRuntime::new(LocalSettings::new(instance.clone(), folder.path().join("state"))).unwrap();
        Self { instance, folder, runtime }
    }

    /// The same installation as a restarted orchestrator sees it.
    fn restarted(&self) -> LocalRuntime {
        LocalRuntime::new(LocalSettings::new(self.instance.clone(), self.state())).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok().filter(|text| text.ends_with('\n'))
    }

    fn spec(&self, script: &str) -> ContainerSpec {
        let script = format!("cd {}; {script}", self.folder.path().display());
        let mut spec = ContainerSpec::new("agent-1", "", labels(&self.instance), sh(&script));
        spec.network = NetworkMode::Host;
        spec
    }

    async fn started(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.runtime.create(spec).await.unwrap();
        self.runtime.start(&id, &Secrets::none()).await.unwrap();
        id
    }

    /// The pids a script wrote into a file, one a line, when there are `count` of them.
    async fn pids(&self, name: &str, count: usize) -> Vec<i32> {
        until("the pids", || async {
            let pids: Vec<i32> = self.read(name)?.lines().map(|line| line.parse().unwrap()).collect();
            (pids.len() == count).then_some(pids)
        })
        .await
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let mark = format!("CLOUD_CODE_LOCAL_CONTAINER={}", self.state().display());
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environ).split('\0').any(|line| line.starts_with(&mark)) {
                let _ = Command::new("kill").arg("-9").arg(entry.file_name()).output();
            }
        }
    }
}

fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn all_gone(pids: &[i32]) {
    until("the end of every process", || async { (!pids.iter().any(|pid| alive(*pid))).then_some(()) }).await;
}

#[tokio::test]
async fn it_says_that_it_is_no_sandbox() {
    let here = Installation::new();
    let info = here.runtime.check().await.unwrap();
    assert_eq!(info.kind, RuntimeKind::Local);
    assert!(info.warnings.iter().any(|text| text.contains("no sandbox")), "{info:?}");
    assert_eq!(here.runtime.image("anything").await.unwrap(), None);
}

#[tokio::test]
async fn exit_codes_signals_and_output_arrive() {
    let here = Installation::new();
    for (script, wanted) in [("echo out; echo err >&2; exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let id = here.started(&here.spec(script)).await;
        let exit = in_time("the end", here.runtime.wait(&id)).await.unwrap();
        assert_eq!(code(&exit), Some(wanted));
        // An orchestrator that comes later reads the same from the record.
        assert_eq!(in_time("the late wait", here.restarted().wait(&id)).await.unwrap(), exit);
        if wanted == 0 {
            assert_eq!(here.runtime.output_tail(&id, 4096).await.unwrap(), "out\nerr\n");
            assert_eq!(here.runtime.output_tail(&id, 4).await.unwrap(), "err\n");
        }
        here.runtime.remove(&id).await.unwrap();
        assert_eq!(here.runtime.facts(&id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn secrets_come_through_stdin_and_nowhere_else() {
    let here = Installation::new();
    let mut spec = here.spec("cat > got; echo >> got; exec sleep 1000");
    spec.stdin = Stdin::Secrets;
    let id = here.runtime.create(&spec).await.unwrap();
    let secrets: Secrets = [("KEY", SecretString::from("s3cr3t"))].into_iter().collect();
    here.runtime.start(&id, &secrets).await.unwrap();
    let got = until("the document", || async { here.read("got") }).await;
    assert_eq!(got, "{\"env\":{\"KEY\":\"s3cr3t\"}}\n");
    for entry in fs::read_dir(here.state().join("agent-1")).unwrap() {
        let path = entry.unwrap().path();
        assert!(!fs::read_to_string(&path).unwrap().contains("s3cr3t"), "{}", path.display());
    }
    here.restarted().start(&id, &secrets).await.unwrap();
    here.runtime.kill(&id).await.unwrap();
    let mut spec = here.spec("exit 0");
    spec.name = "agent-2".to_owned();
    let id = here.runtime.create(&spec).await.unwrap();
    assert!(matches!(here.runtime.start(&id, &secrets).await, Err(RuntimeError::Refused { .. })));
}

#[tokio::test]
async fn an_agent_that_does_not_read_or_ends_at_once_does_not_block_the_start() {
    let here = Installation::new();
    let overhead = "{\"env\":{\"KEY\":\"\"}}".len();
    let value = "x".repeat(cloud_code_runtime::MAX_SECRETS_BYTES - overhead);
    let secrets: Secrets = [("KEY", SecretString::from(value))].into_iter().collect();
    for (name, script) in [("silent", "exec sleep 1000"), ("short", "exit 0")] {
        let mut spec = here.spec(script);
        (spec.name, spec.stdin) = (name.to_owned(), Stdin::Secrets);
        let id = here.runtime.create(&spec).await.unwrap();
        in_time("the start", here.runtime.start(&id, &secrets)).await.unwrap();
    }
}

#[tokio::test]
async fn the_agent_gets_a_short_environment() {
    let here = Installation::new();
    let mut spec = here.spec("env > got; echo end >> got");
    spec.env = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    here.started(&spec).await;
    let got =
        until("the environment", || async { here.read("got").filter(|text| text.ends_with("end\n")) }).await;
    assert!(got.contains("GREETING=hello\n") && got.contains("PATH="), "{got}");
    // Cargo sets many variables for a test; none of them may arrive.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !got.contains("CARGO"), "{got}");
}

#[tokio::test]
async fn an_agent_outlives_its_orchestrator_and_is_found_again() {
    let here = Installation::new();
    let spec = here.spec("echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done; exit 6");
    let id = {
        let first = here.restarted();
        let id = first.create(&spec).await.unwrap();
        first.start(&id, &Secrets::none()).await.unwrap();
        id
    };
    let agent = here.pids("pid", 1).await[0];
    let second = here.restarted();
    let found = second.find(&Labels::of_instance(here.instance.clone())).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].id, &found[0].labels, &found[0].state),
        (&id, &spec.labels, &ContainerState::Running)
    );
    assert!(found[0].started_at.is_some());
    assert!(second.usage(&id).await.unwrap().is_some_and(|usage| usage.memory_bytes > 0));
    // It leads a session of its own: a terminal's end does not reach it.
    let stat = fs::read_to_string(format!("/proc/{agent}/stat")).unwrap();
    assert_eq!(stat.rsplit_once(") ").unwrap().1.split(' ').nth(3), Some(agent.to_string().as_str()));
    // Starting or creating it again makes no second one.
    assert_eq!(second.create(&spec).await.unwrap(), id);
    second.start(&id, &Secrets::none()).await.unwrap();
    fs::write(here.file("go"), "").unwrap();
    assert_eq!(code(&in_time("the end", second.wait(&id)).await.unwrap()), Some(6));
    assert_eq!(here.pids("pid", 1).await, [agent]);
}

#[tokio::test]
async fn an_end_that_nobody_saw_has_no_code() {
    let here = Installation::new();
    // Started by another process, which goes away: a shell plays the orchestrator that was killed.
    let spec = here.spec("exec sleep 1000");
    let id = here.started(&spec).await;
    let record = here.state().join("agent-1/container.json");
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let (pid, stat) = (child.id(), fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap());
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    let process = &mut json["phase"]["started"]["process"];
    let agent = process["pid"].as_i64().unwrap();
    (process["pid"], process["started_ticks"]) = (pid.into(), ticks.parse::<u64>().unwrap().into());
    fs::write(&record, json.to_string()).unwrap();
    assert!(here.restarted().facts(&id).await.unwrap().unwrap().state.is_running());
    child.kill().unwrap();
    child.wait().unwrap();
    let exit = in_time("the end", here.restarted().wait(&id)).await.unwrap();
    assert!(matches!(exit, ContainerExit::Exited(ref exit) if exit.code.is_none()), "{exit:?}");
    // The real one still carries the mark, so the removal ends it all the same.
    here.restarted().remove(&id).await.unwrap();
    all_gone(&[i32::try_from(agent).unwrap()]).await;
}

#[tokio::test]
async fn a_start_cut_short_by_a_crash_is_found_by_its_mark() {
    let here = Installation::new();
    let id = here.started(&here.spec("echo $$ > pid; exec sleep 1000")).await;
    let agent = here.pids("pid", 1).await[0];
    let record = here.state().join("agent-1/container.json");
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    json["phase"] = "starting".into();
    fs::write(&record, json.to_string()).unwrap();
    let second = here.restarted();
    assert!(second.facts(&id).await.unwrap().unwrap().state.is_running());
    second.start(&id, &Secrets::none()).await.unwrap();
    assert_eq!(here.pids("pid", 1).await, [agent], "no second agent was started");
    second.kill(&id).await.unwrap();
    all_gone(&[agent]).await;
}

/// A tree as CLIs make it: tools in sessions of their own, some orphaned, one deaf to TERM.
const FAMILY: &str = "echo $$ >> pids
    setsid sh -c 'echo $$ >> pids; trap \"\" TERM HUP; setsid sh -c \"echo \\$\\$ >> pids; exec sleep 1000\" & while :; do sleep 1; done' &
    (setsid sh -c 'echo $$ >> pids; exec sleep 1000' &)
    (env -i /usr/bin/setsid /bin/sh -c 'echo $$ >> pids; exec /bin/sleep 1000' &)";

#[tokio::test]
async fn stop_and_kill_end_grandchildren_in_sessions_of_their_own() {
    for end_by_kill in [true, false] {
        let here = Installation::new();
        let id =
            here.started(&here.spec(&format!("{FAMILY}\n trap '' TERM; while :; do sleep 1; done"))).await;
        let pids = here.pids("pids", 5).await;
        assert!(pids.iter().all(|pid| alive(*pid)));
        let began = Instant::now();
        if end_by_kill {
            in_time("the kill", here.restarted().kill(&id)).await.unwrap();
        } else {
            in_time("the stop", here.restarted().stop(&id, Duration::from_millis(300))).await.unwrap();
            assert!(began.elapsed() >= Duration::from_millis(300), "the grace was given");
        }
        all_gone(&pids).await;
        assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(137));
    }
}

#[tokio::test]
async fn a_polite_agent_is_not_waited_for_longer_than_it_takes() {
    let here = Installation::new();
    let id =
        here.started(&here.spec("trap 'exit 5' TERM; echo $$ > pid; while :; do sleep 0.02; done")).await;
    here.pids("pid", 1).await;
    let began = Instant::now();
    in_time("the stop", here.runtime.stop(&id, Duration::from_secs(100))).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(5));
    here.runtime.stop(&id, Duration::ZERO).await.unwrap();
    here.runtime.remove(&id).await.unwrap();
    here.runtime.remove(&id).await.unwrap();
}

#[tokio::test]
async fn nothing_outlives_an_agent_that_ends_by_itself() {
    let here = Installation::new();
    // All but the one that threw its environment away: of that one the README says that it is out of reach.
    let family = FAMILY.lines().filter(|line| !line.contains("env -i")).collect::<Vec<_>>().join("\n");
    let id =
        here.started(&here.spec(&format!("{family}\n while [ ! -e go ]; do sleep 0.02; done; exit 0"))).await;
    let pids = here.pids("pids", 4).await;
    fs::write(here.file("go"), "").unwrap();
    assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(0));
    assert!(!pids.iter().any(|pid| alive(*pid)), "the end is told after the sweep");
}

#[tokio::test]
async fn it_starts_again_after_its_end() {
    let here = Installation::new();
    let spec = here.spec("echo x >> runs; exit $(wc -l < runs)");
    let id = here.runtime.create(&spec).await.unwrap();
    for wanted in [1, 2] {
        here.runtime.start(&id, &Secrets::none()).await.unwrap();
        assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(wanted));
    }
}

#[tokio::test]
async fn names_are_taken_checked_and_never_leave_the_folder() {
    let here = Installation::new();
    let spec = here.spec("exit 0");
    let (left, right) = (here.restarted(), here.restarted());
    let both = tokio::join!(left.create(&spec), right.create(&spec));
    assert_eq!(both.0.unwrap(), both.1.unwrap());
    let mut other = spec.clone();
    other.labels.attempt = Some(2);
    assert!(matches!(here.runtime.create(&other).await, Err(RuntimeError::NameTaken { .. })));
    for name in ["", ".", "..", "a/b", "../state", ".hidden", "a"] {
        other.name = name.to_owned();
        assert!(matches!(here.runtime.create(&other).await, Err(RuntimeError::Refused { .. })), "{name}");
        let id = ContainerId::new(name);
        assert_eq!(here.runtime.facts(&id).await.unwrap(), None, "{name}");
        here.runtime.remove(&id).await.unwrap();
    }
    assert!(here.state().exists());
}

#[tokio::test]
async fn a_container_of_another_installation_is_never_touched() {
    let here = Installation::new();
    let id = here.started(&here.spec("exec sleep 1000")).await;
    let stranger = LocalRuntime::new(LocalSettings::new(new_instance(), here.state())).unwrap();
    for refused in
        [stranger.kill(&id).await, stranger.remove(&id).await, stranger.stop(&id, Duration::ZERO).await]
    {
        assert!(matches!(refused, Err(RuntimeError::NotOurs { .. })), "{refused:?}");
    }
    assert!(matches!(stranger.create(&here.spec("exit 0")).await, Err(RuntimeError::NotOurs { .. })));
    let theirs = stranger.find(&Labels::of_instance(here.instance.clone())).await;
    assert!(matches!(theirs, Err(RuntimeError::NotOurs { .. })));
    assert!(here.runtime.facts(&id).await.unwrap().unwrap().state.is_running());
}

#[tokio::test]
async fn a_program_that_is_not_there_and_a_broken_record_say_so() {
    let here = Installation::new();
    let mut spec = here.spec("");
    spec.command = vec!["/nowhere/agent".to_owned()];
    let id = here.runtime.create(&spec).await.unwrap();
    let failed = here.runtime.start(&id, &Secrets::none()).await.unwrap_err();
    assert_eq!(failed.to_string(), "cannot start `/nowhere/agent`");
    assert_eq!(here.runtime.facts(&id).await.unwrap().unwrap().state, ContainerState::Created);
    fs::write(here.state().join("agent-1/container.json"), "[]").unwrap();
    let broken = here.runtime.facts(&id).await.unwrap_err();
    assert!(matches!(broken, RuntimeError::StateCorrupt { .. }), "{broken}");
}

#[tokio::test]
async fn a_record_that_a_power_cut_took_is_no_container_unless_something_of_it_runs() {
    let here = Installation::new();
    let record = here.state().join("agent-1/container.json");
    for torn in ["", "\0\0\0", "{\n  \"name\": \"age"] {
        let id = here.runtime.create(&here.spec("echo $$ >pid; exec sleep 1000")).await.unwrap();
        fs::write(&record, torn).unwrap();
        assert_eq!(here.runtime.facts(&id).await.unwrap(), None, "{torn:?}");
        assert_eq!(here.runtime.find(&Labels::of_instance(here.instance.clone())).await.unwrap(), vec![]);
        // Its name is free again, in this process and after a start.
        let id = here.runtime.create(&here.spec("exec sleep 1000")).await.unwrap();
        assert_eq!(here.runtime.facts(&id).await.unwrap().unwrap().state, ContainerState::Created);
        fs::write(&record, torn).unwrap();
        drop(here.restarted());
        assert!(!record.parent().unwrap().exists(), "{torn:?}");
    }
    let id = here.started(&here.spec("exec sleep 1000")).await;
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "").unwrap();
    let broken = here.runtime.facts(&id).await.unwrap_err();
    assert!(matches!(broken, RuntimeError::StateCorrupt { .. }), "{broken}");
    drop(here.restarted());
    fs::write(&record, whole).unwrap();
    assert!(here.runtime.facts(&id).await.unwrap().unwrap().state.is_running());
}
