//! The Docker adapter against a real engine. Needs the engine and one image; says how to get them when they miss.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking, helpers included"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cloud_code_model::InstanceId;
use cloud_code_runtime::{
    AGENT_CAPABILITIES, AGENT_PATH, BuildFile, CONTROL_DIR_TARGET, Capability, ContainerExit, ContainerId,
    ContainerSpec, ContainerState, DockerRuntime, DockerSettings, ImageBuild, Labels, Limits, Mount,
    NetworkMode, RootFilesystem, Runtime, RuntimeError, RuntimeKind, Secrets, Stdin, control_mounts,
};
use secrecy::SecretString;

use support::{code, in_time, labels, new_instance, sh, until};

const IMAGE: &str = "debian:bookworm-slim";

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output();
    let output = output.expect("these tests need Docker: `sudo apt-get install docker.io`, then start it");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}\nthese tests need a running engine and `docker pull {IMAGE}`",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// One installation, whose containers and images are removed at the end whatever happened.
struct Installation {
    instance: InstanceId,
    runtime: DockerRuntime,
}

impl Installation {
    fn new() -> Self {
        docker(&["image", "inspect", IMAGE]);
        let instance = new_instance();
        Self { runtime: DockerRuntime::new(DockerSettings::from_environment(instance.clone())), instance }
    }

    /// The same installation as a restarted orchestrator sees it.
    fn restarted(&self) -> DockerRuntime {
        DockerRuntime::new(DockerSettings::from_environment(self.instance.clone()))
    }

    fn spec(&self, script: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(
            format!("cc-{}-{}", self.instance, script.len()),
            IMAGE,
            labels(&self.instance),
            sh(script),
        );
        spec.network = NetworkMode::None;
        spec
    }

    /// Runs to the end; the exit and what was printed.
    async fn run(&self, spec: &ContainerSpec) -> (ContainerExit, String) {
        in_time("a whole run", async {
            let id = self.runtime.create(spec).await.unwrap();
            self.runtime.start(&id, &Secrets::none()).await.unwrap();
            let exit = self.runtime.wait(&id).await.unwrap();
            let output = self.runtime.output_tail(&id, 65536).await.unwrap();
            self.runtime.remove(&id).await.unwrap();
            (exit, output)
        })
        .await
    }

    fn count(&self) -> usize {
        let filter = format!("label=cloud-code.instance={}", self.instance);
        docker(&["ps", "-aq", "--filter", &filter]).lines().count()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let filter = format!("label=cloud-code.instance={}", self.instance);
        for (list, remove) in [(["ps", "-aq"], ["rm", "-f"]), (["images", "-q"], ["rmi", "-f"])] {
            let found = Command::new("docker").args(list).args(["--filter", &filter]).output();
            let found =
                found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for id in found.lines() {
                let _ = Command::new("docker").args(remove).arg(id).output();
            }
        }
    }
}

fn secret(name: &str, value: &str) -> Secrets {
    [(name, SecretString::from(value))].into_iter().collect()
}

#[tokio::test]
async fn check_names_the_engine() {
    let here = Installation::new();
    let info = here.runtime.check().await.unwrap();
    assert_eq!(info.kind, RuntimeKind::Docker);
    assert_eq!(info.version, docker(&["version", "--format", "{{.Server.Version}}"]));
    assert!(info.runtime_classes.iter().any(|name| name == "runc"), "{info:?}");
    assert!(
        info.storage.is_some() && info.cgroup_version.is_some() && info.api_version.is_some(),
        "{info:?}"
    );
}

#[tokio::test]
async fn image_facts_are_those_of_the_engine_and_a_missing_one_is_none() {
    let here = Installation::new();
    let facts = here.runtime.image(IMAGE).await.unwrap().unwrap();
    assert_eq!(facts.id.as_str(), docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]));
    assert!(facts.size_bytes > 1_000_000 && facts.created_at.is_some(), "{facts:?}");
    assert_eq!(here.runtime.image("cloud-code-none:none").await.unwrap(), None);
}

#[tokio::test]
async fn exit_codes_and_output_arrive() {
    let here = Installation::new();
    for wanted in [0, 7, 255] {
        let (exit, output) = here.run(&here.spec(&format!("echo out; echo err >&2; exit {wanted}"))).await;
        assert_eq!(code(&exit), Some(wanted));
        assert!(
            matches!(exit, ContainerExit::Exited(ref exit) if !exit.oom_killed && exit.finished_at.is_some())
        );
        assert!(output.contains("out\n") && output.contains("err\n"), "{output:?}");
    }
    assert_eq!(here.count(), 0);
}

#[tokio::test]
async fn wait_answers_before_during_and_after_a_life() {
    let here = Installation::new();
    let id = here.runtime.create(&here.spec("read -r line </dev/null; exit 3")).await.unwrap();
    let early = here.restarted();
    let mut waiting = std::pin::pin!(early.wait(&id));
    let unstarted = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
    assert!(unstarted.is_err(), "a container that never ran has not ended: {unstarted:?}");
    here.runtime.start(&id, &Secrets::none()).await.unwrap();
    assert_eq!(code(&in_time("the early wait", waiting).await.unwrap()), Some(3));
    assert_eq!(code(&in_time("the late wait", here.runtime.wait(&id)).await.unwrap()), Some(3));
    here.runtime.remove(&id).await.unwrap();
    assert_eq!(
        in_time("the wait for nothing", here.restarted().wait(&id)).await.unwrap(),
        ContainerExit::Gone
    );
}

#[tokio::test]
async fn facts_follow_the_life_of_a_container() {
    let here = Installation::new();
    let spec = here.spec("exec sleep 1000");
    let id = here.runtime.create(&spec).await.unwrap();
    let facts = here.runtime.facts(&id).await.unwrap().unwrap();
    assert_eq!(
        (&facts.name, &facts.labels, &facts.state),
        (&spec.name, &spec.labels, &ContainerState::Created)
    );
    assert_eq!(facts.started_at, None);
    here.runtime.start(&id, &Secrets::none()).await.unwrap();
    let facts = here.runtime.facts(&id).await.unwrap().unwrap();
    assert!(facts.state.is_running() && facts.started_at.is_some(), "{facts:?}");
    let usage = until("a usage figure", || async { here.runtime.usage(&id).await.unwrap() }).await;
    assert!(usage.memory_bytes > 0 && usage.pids >= 1, "{usage:?}");
    here.runtime.kill(&id).await.unwrap();
    assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(137));
    assert!(here.runtime.facts(&id).await.unwrap().unwrap().state.is_ended());
    assert_eq!(here.runtime.usage(&id).await.unwrap(), None);
}

#[tokio::test]
async fn create_is_idempotent_by_name_and_labels() {
    let here = Installation::new();
    let spec = here.spec("exit 0");
    let first = here.runtime.create(&spec).await.unwrap();
    assert_eq!(here.runtime.create(&spec).await.unwrap(), first);
    assert_eq!(here.restarted().create(&spec).await.unwrap(), first);
    let (left, right) = (here.restarted(), here.restarted());
    let both = tokio::join!(left.create(&spec), right.create(&spec));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (first.clone(), first));
    let mut other = spec.clone();
    other.labels.attempt = Some(2);
    let refused = here.runtime.create(&other).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::NameTaken { .. }), "{refused}");
    assert_eq!(here.count(), 1);
}

#[tokio::test]
async fn a_container_of_another_installation_is_never_touched() {
    let (ours, theirs) = (Installation::new(), Installation::new());
    let spec = theirs.spec("exec sleep 1000");
    let id = theirs.runtime.create(&spec).await.unwrap();
    theirs.runtime.start(&id, &Secrets::none()).await.unwrap();
    let by_name = ContainerId::new(spec.name.clone());
    for id in [&id, &by_name] {
        assert!(matches!(ours.runtime.facts(id).await, Err(RuntimeError::NotOurs { .. })));
        assert!(matches!(ours.runtime.stop(id, Duration::ZERO).await, Err(RuntimeError::NotOurs { .. })));
        assert!(matches!(ours.runtime.kill(id).await, Err(RuntimeError::NotOurs { .. })));
        assert!(matches!(ours.runtime.remove(id).await, Err(RuntimeError::NotOurs { .. })));
        assert!(matches!(ours.runtime.output_tail(id, 10).await, Err(RuntimeError::NotOurs { .. })));
    }
    let mut same_name = ours.spec("exit 0");
    same_name.name = spec.name.clone();
    assert!(matches!(ours.runtime.create(&same_name).await, Err(RuntimeError::NameTaken { .. })));
    assert!(matches!(ours.runtime.create(&spec).await, Err(RuntimeError::NotOurs { .. })));
    assert!(theirs.runtime.facts(&id).await.unwrap().unwrap().state.is_running());
}

#[tokio::test]
async fn find_sees_only_its_instance_and_the_labels_asked_for() {
    let (ours, theirs) = (Installation::new(), Installation::new());
    let mut ids = Vec::new();
    for issue in ["41", "42"] {
        let mut spec = ours.spec("exit 0");
        spec.name = format!("{}-{issue}", spec.name);
        spec.labels.issue = Some(issue.parse().unwrap());
        ids.push(ours.runtime.create(&spec).await.unwrap());
    }
    theirs.runtime.create(&theirs.spec("exit 0")).await.unwrap();
    let restarted = ours.restarted();
    let all = restarted.find(&Labels::of_instance(ours.instance.clone())).await.unwrap();
    assert_eq!(all.iter().map(|facts| facts.id.clone()).collect::<Vec<_>>(), ids);
    let of_issue = Labels::of_issue(ours.instance.clone(), "shop".parse().unwrap(), "42".parse().unwrap());
    let found = restarted.find(&of_issue).await.unwrap();
    assert_eq!(found.iter().map(|facts| facts.id.clone()).collect::<Vec<_>>(), ids[1..]);
    let foreign = restarted.find(&Labels::of_instance(theirs.instance.clone())).await;
    assert!(matches!(foreign, Err(RuntimeError::NotOurs { .. })));
}

#[tokio::test]
async fn stop_asks_first_and_kills_after_the_grace() {
    let here = Installation::new();
    let polite = here.spec("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    let mut stubborn = here.spec("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    stubborn.name.push('s');
    for (spec, wanted) in [(polite, 5), (stubborn, 137)] {
        let id = here.runtime.create(&spec).await.unwrap();
        here.runtime.start(&id, &Secrets::none()).await.unwrap();
        let ready =
            || async { here.runtime.output_tail(&id, 100).await.unwrap().contains("ready").then_some(()) };
        until("the trap", ready).await;
        let grace = if wanted == 5 { Duration::from_secs(60) } else { Duration::from_secs(1) };
        let began = Instant::now();
        in_time("the stop", here.runtime.stop(&id, grace)).await.unwrap();
        assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(wanted));
        assert!(wanted == 137 || began.elapsed() < grace, "a polite agent is not waited for");
        // Again, on one that has ended: still success.
        here.runtime.stop(&id, grace).await.unwrap();
        here.runtime.kill(&id).await.unwrap();
    }
}

#[tokio::test]
async fn everything_may_be_asked_twice_and_of_nothing() {
    let here = Installation::new();
    let id = here.runtime.create(&here.spec("exec sleep 1000")).await.unwrap();
    here.runtime.start(&id, &Secrets::none()).await.unwrap();
    here.runtime.start(&id, &Secrets::none()).await.unwrap();
    let (left, right) = (here.restarted(), here.restarted());
    let both = tokio::join!(left.remove(&id), right.remove(&id));
    both.0.unwrap();
    both.1.unwrap();
    here.runtime.remove(&id).await.unwrap();
    here.runtime.stop(&id, Duration::ZERO).await.unwrap();
    here.runtime.kill(&id).await.unwrap();
    assert_eq!(here.runtime.facts(&id).await.unwrap(), None);
    assert_eq!(here.runtime.output_tail(&id, 10).await.unwrap(), "");
    assert!(matches!(here.runtime.start(&id, &Secrets::none()).await, Err(RuntimeError::Gone { .. })));
}

/// The engine loses the news of some OOM kills (see `Exit::oom_killed`), so it is given more than one chance; that
/// all of these are lost is beyond belief.
const OOM_CHANCES: usize = 10;

#[tokio::test]
async fn memory_limit_ends_as_an_oom_kill() {
    let here = Installation::new();
    let eat = "perl -e 'my $x = \"a\" x (256*1024*1024); print \"survived\"'";
    // The agent itself is killed; then only its child, and the agent lives on to end in its own way.
    for (script, wanted) in [(format!("exec {eat}"), 137), (format!("{eat}; exit 4"), 4)] {
        let mut spec = here.spec(&script);
        spec.limits = Limits { memory_bytes: Some(32 * 1024 * 1024), ..Limits::default() };
        let mut reported = false;
        for _ in 0..OOM_CHANCES {
            let (exit, output) = here.run(&spec).await;
            assert!(!output.contains("survived"), "the limit holds");
            let ContainerExit::Exited(exit) = exit else { panic!("gone") };
            assert_eq!((exit.code, exit.was_killed()), (Some(wanted), wanted == 137));
            reported = exit.oom_killed;
            if reported {
                break;
            }
        }
        assert!(reported, "no kill of {OOM_CHANCES} was reported");
    }
    let (exit, _) = here.run(&here.spec("exit 137")).await;
    assert!(matches!(exit, ContainerExit::Exited(ref exit) if !exit.oom_killed), "{exit:?}");
}

#[tokio::test]
async fn pids_cpus_and_shm_are_limited() {
    let here = Installation::new();
    let mut spec = here.spec(
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 60 & done; echo forked all",
    );
    spec.limits = Limits { pids: Some(10), ..Limits::default() };
    let (exit, output) = here.run(&spec).await;
    assert!(!output.contains("forked all") && code(&exit) != Some(0), "{exit:?} {output}");
    let mut spec = here.spec("df -B1 --output=size /dev/shm | tail -n 1; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null");
    spec.limits = Limits { shm_bytes: Some(8 * 1024 * 1024), milli_cpus: Some(500), ..Limits::default() };
    let (_, output) = here.run(&spec).await;
    assert!(output.contains("8388608") && output.contains("50000"), "{output}");
}

#[tokio::test]
async fn what_the_agent_prints_is_capped() {
    let here = Installation::new();
    let mut spec = here.spec("i=0; while [ $i -lt 20000 ]; do echo \"line $i of a long story that fills the log\"; i=$((i+1)); done");
    spec.limits = Limits { log_bytes: Some(64 * 1024), ..Limits::default() };
    let id = here.runtime.create(&spec).await.unwrap();
    here.runtime.start(&id, &Secrets::none()).await.unwrap();
    in_time("the end", here.runtime.wait(&id)).await.unwrap();
    let kept = docker(&["logs", id.as_str()]);
    assert!(kept.len() < 128 * 1024 && kept.contains("line 19999 "), "{} bytes are kept", kept.len());
    let tail = here.runtime.output_tail(&id, 200).await.unwrap();
    assert!(
        tail.len() <= 200 && tail.trim_end().ends_with("line 19999 of a long story that fills the log"),
        "{tail}"
    );
}

/// Bits of a capability set as /proc shows it.
fn bits(capabilities: &[Capability]) -> u64 {
    let number = |capability: &Capability| match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::FileOwner => 3,
        Capability::Kill => 5,
        Capability::SetGid => 6,
        Capability::SetUid => 7,
        Capability::NetBindService => 10,
    };
    capabilities.iter().map(|capability| 1 << number(capability)).sum()
}

fn status_field(output: &str, field: &str) -> Vec<u64> {
    let lines = output.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    lines.map(|value| u64::from_str_radix(value.trim(), 16).unwrap()).collect()
}

const AS_USER: &str = "setpriv --reuid=1000 --regid=1000 --clear-groups";

#[tokio::test]
async fn capabilities_are_the_named_ones_and_a_user_inside_has_none() {
    let here = Installation::new();
    let show = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status";
    let (_, output) = here.run(&here.spec(&format!("{show}; {AS_USER} sh -c \"{show}\""))).await;
    let agent = bits(AGENT_CAPABILITIES);
    assert_eq!(status_field(&output, "CapEff"), [agent, 0], "{output}");
    assert_eq!(status_field(&output, "CapPrm"), [agent, 0], "{output}");
    assert_eq!(status_field(&output, "CapBnd"), [agent, agent], "{output}");
    assert_eq!(status_field(&output, "CapAmb"), [0, 0], "{output}");
    assert_eq!(status_field(&output, "NoNewPrivs"), [1, 1], "{output}");
}

#[tokio::test]
async fn a_setuid_binary_gives_nothing() {
    let here = Installation::new();
    let script =
        format!("cp /usr/bin/id /usr/bin/rid && chmod 4755 /usr/bin/rid && {AS_USER} /usr/bin/rid -u");
    let (exit, output) = here.run(&here.spec(&script)).await;
    assert_eq!((code(&exit), output.trim()), (Some(0), "1000"));
    // The same without our settings gives root: the test can fail.
    assert_eq!(docker(&["run", "--rm", "--network", "none", IMAGE, "sh", "-c", &script]), "0");
}

/// A control directory as a user's orchestrator makes it: owned by another uid, closed to all others.
struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("control")).unwrap();
        fs::write(root.path().join("control/tasking.yaml"), "version: 1\n").unwrap();
        fs::copy("/bin/true", root.path().join("agent")).unwrap();
        fs::set_permissions(root.path().join("agent"), fs::Permissions::from_mode(0o755)).unwrap();
        for path in [root.path().join("control"), root.path().join("control/tasking.yaml")] {
            std::os::unix::fs::chown(path, Some(1000), Some(1000)).expect("this test must run as root");
        }
        fs::set_permissions(root.path().join("control"), fs::Permissions::from_mode(0o700)).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn mounted(&self, mut spec: ContainerSpec) -> ContainerSpec {
        let (parent, mounts) = control_mounts(self.path("control"), self.path("agent"));
        spec.tmpfs.push(parent);
        spec.mounts.extend(mounts);
        spec
    }
}

#[tokio::test]
async fn only_root_passes_the_door_to_the_control_directory() {
    let here = Installation::new();
    let workspace = Workspace::new();
    let script = format!(
        "set -e
         {AGENT_PATH}
         stat -c 'door %a %u:%g' /cloud-code
         cat {CONTROL_DIR_TARGET}/tasking.yaml
         echo report > {CONTROL_DIR_TARGET}/reporting.yaml
         try() {{ {AS_USER} sh -c \"$1\" 2>/dev/null && echo \"OPEN $1\" || echo closed; }}
         try 'ls /cloud-code'
         try 'cat {CONTROL_DIR_TARGET}/tasking.yaml'
         try 'echo x > {CONTROL_DIR_TARGET}/reporting.yaml'
         try 'ls {CONTROL_DIR_TARGET}'
         try '{AGENT_PATH}'
         try 'cat /proc/1/root/{CONTROL_DIR_TARGET}/tasking.yaml'
         try 'ls /proc/1/fd'
         try 'umount /cloud-code'
         try 'mount -t tmpfs none /mnt'
         try 'unshare -Ur true'
         try 'kill -9 1'
         echo x > {AGENT_PATH} && echo OPEN agent || echo closed"
    );
    let (exit, output) = here.run(&workspace.mounted(here.spec(&script))).await;
    assert!(output.contains("door 700 0:0\nversion: 1\n"), "{output}");
    assert_eq!(output.lines().filter(|line| *line == "closed").count(), 12, "{exit:?}\n{output}");
    assert!(!output.contains("OPEN"), "{output}");
    assert_eq!(fs::read_to_string(workspace.path("control/reporting.yaml")).unwrap(), "report\n");
    assert_eq!(fs::metadata(workspace.path("control")).unwrap().uid(), 1000);
}

/// What the agent does as root, and that each of its capabilities is needed for one part of it.
#[tokio::test]
async fn each_capability_of_the_agent_is_needed() {
    let here = Installation::new();
    let script = format!(
        "id -u >/dev/null
         (: > {CONTROL_DIR_TARGET}/probe) 2>/dev/null && printf dac,
         setpriv --reuid=1000 true 2>/dev/null && printf setuid,
         setpriv --regid=1000 --clear-groups true 2>/dev/null && printf setgid,
         {AS_USER} sleep 1000 2>/dev/null & child=$!
         until [ \"$(stat -c %u /proc/$child)\" = 1000 ] && grep -q sleep /proc/$child/comm; do [ -e /proc/$child ] || break; done 2>/dev/null
         kill -9 $child 2>/dev/null && printf kill,
         echo"
    );
    let all = ["dac,", "setuid,", "setgid,", "kill,"];
    let need = [Capability::DacOverride, Capability::SetUid, Capability::SetGid, Capability::Kill];
    let workspace = Workspace::new();
    let (_, output) = here.run(&workspace.mounted(here.spec(&script))).await;
    assert_eq!(output.trim(), all.concat());
    for (name, without) in all.into_iter().zip(need) {
        let mut spec = workspace.mounted(here.spec(&script));
        spec.capabilities.retain(|capability| *capability != without);
        let (_, output) = here.run(&spec).await;
        assert!(!output.contains(name), "without {without:?} it still could: {output}");
    }
    let mut declared: Vec<_> = AGENT_CAPABILITIES.to_vec();
    declared.sort();
    let mut needed = need.to_vec();
    needed.sort();
    assert_eq!(declared, needed);
}

#[tokio::test]
async fn secrets_reach_stdin_and_nothing_else() {
    let here = Installation::new();
    let value = format!("s3cr3t-{}", here.instance);
    let mut spec = here.spec("cat > /tmp/got; wc -c < /tmp/got; md5sum /tmp/got; cat /proc/1/environ | tr '\\0' '\\n'; echo ready; exec sleep 1000");
    spec.stdin = Stdin::Secrets;
    let id = here.runtime.create(&spec).await.unwrap();
    in_time("the start", here.runtime.start(&id, &secret("KEY", &value))).await.unwrap();
    until("the end of stdin", || async {
        here.runtime.output_tail(&id, 4096).await.unwrap().contains("ready").then_some(())
    })
    .await;
    assert_eq!(
        docker(&["exec", id.as_str(), "cat", "/tmp/got"]),
        format!("{{\"env\":{{\"KEY\":\"{value}\"}}}}")
    );
    for shown in
        [docker(&["inspect", id.as_str()]), docker(&["logs", id.as_str()]), docker(&["top", id.as_str()])]
    {
        assert!(!shown.contains(&value), "{shown}");
    }
    // A second start of a running one hands over nothing, and is success.
    here.runtime.start(&id, &secret("KEY", "again")).await.unwrap();
    here.restarted().start(&id, &secret("KEY", "again")).await.unwrap();
    assert!(docker(&["exec", id.as_str(), "cat", "/tmp/got"]).contains(&value));
    // After its end it is started anew and reads anew.
    here.runtime.kill(&id).await.unwrap();
    in_time("the end", here.runtime.wait(&id)).await.unwrap();
    in_time("the second start", here.restarted().start(&id, &secret("KEY", "second"))).await.unwrap();
    let second =
        || async { docker(&["exec", id.as_str(), "cat", "/tmp/got"]).contains("\"second\"").then_some(()) };
    until("the second document", second).await;
}

/// What an orchestrator leaves that is killed between attaching and starting.
fn attach_and_vanish(id: &ContainerId) {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(support::DEADLINE)).unwrap();
    let head = "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n";
    write!(stream, "POST /containers/{id}/attach?stdin=1&stream=1 HTTP/1.1\r\n{head}").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[tokio::test]
async fn a_hand_over_cut_short_by_a_crash_never_starts_an_agent_without_its_secrets() {
    let here = Installation::new();
    let mut spec = here.spec("cat; echo; echo end");
    spec.stdin = Stdin::Secrets;
    let id = here.runtime.create(&spec).await.unwrap();
    attach_and_vanish(&id);
    // What would happen: it starts, and its agent reads nothing.
    docker(&["start", id.as_str()]);
    in_time("the end", here.runtime.wait(&id)).await.unwrap();
    assert_eq!(here.runtime.output_tail(&id, 4096).await.unwrap(), "\nend\n");
    here.runtime.remove(&id).await.unwrap();
    // So it is refused, and the next orchestrator's create makes a new one.
    let id = here.runtime.create(&spec).await.unwrap();
    attach_and_vanish(&id);
    let later = here.restarted();
    let refused = later.start(&id, &secret("KEY", "value")).await;
    assert!(matches!(refused, Err(RuntimeError::StdinSpent { .. })), "{refused:?}");
    let anew = later.create(&spec).await.unwrap();
    assert_ne!(anew, id);
    assert_eq!(later.create(&spec).await.unwrap(), anew, "its own is not replaced");
    in_time("the start", later.start(&anew, &secret("KEY", "value"))).await.unwrap();
    in_time("the end", later.wait(&anew)).await.unwrap();
    assert_eq!(later.output_tail(&anew, 4096).await.unwrap(), "{\"env\":{\"KEY\":\"value\"}}\nend\n");
    assert_eq!(here.count(), 1);
}

#[tokio::test]
async fn an_agent_that_wants_secrets_sees_the_end_of_stdin_even_without_any() {
    let here = Installation::new();
    let mut spec = here.spec("cat; echo; echo end");
    spec.stdin = Stdin::Secrets;
    assert_eq!(here.run(&spec).await.1, "{\"env\":{}}\nend\n");
    spec.stdin = Stdin::Closed;
    assert_eq!(here.run(&spec).await.1, "\nend\n");
    let id = here.runtime.create(&spec).await.unwrap();
    assert!(matches!(here.runtime.start(&id, &secret("A", "b")).await, Err(RuntimeError::Refused { .. })));
}

#[tokio::test]
async fn the_largest_document_passes_to_an_agent_that_does_not_read_and_a_larger_one_is_refused() {
    let here = Installation::new();
    let overhead = "{\"env\":{\"KEY\":\"\"}}".len();
    let fits = "x".repeat(cloud_code_runtime::MAX_SECRETS_BYTES - overhead);
    let mut spec = here.spec("exec sleep 1000");
    spec.stdin = Stdin::Secrets;
    let id = here.runtime.create(&spec).await.unwrap();
    in_time("the hand-over", here.runtime.start(&id, &secret("KEY", &fits))).await.unwrap();
    spec.name.push('2');
    let id = here.runtime.create(&spec).await.unwrap();
    let refused = here.runtime.start(&id, &secret("KEY", &format!("{fits}x"))).await;
    assert!(matches!(refused, Err(RuntimeError::SecretsTooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_agent_that_ends_at_once_does_not_fail_the_hand_over() {
    let here = Installation::new();
    for round in 0..5 {
        let mut spec = here.spec("exit 9");
        spec.stdin = Stdin::Secrets;
        spec.name = format!("{}-{round}", spec.name);
        let id = here.runtime.create(&spec).await.unwrap();
        in_time("the start", here.runtime.start(&id, &secret("KEY", "value"))).await.unwrap();
        assert_eq!(code(&in_time("the end", here.runtime.wait(&id)).await.unwrap()), Some(9));
    }
}

#[tokio::test]
async fn a_shared_network_of_a_container_without_one_has_loopback_only() {
    let here = Installation::new();
    let holder = here.runtime.create(&here.spec("exec sleep 1000")).await.unwrap();
    here.runtime.start(&holder, &Secrets::none()).await.unwrap();
    let mut spec = here.spec("ls /sys/class/net; readlink /proc/self/ns/net");
    spec.network = NetworkMode::Container(holder.to_string());
    let (_, output) = here.run(&spec).await;
    let theirs = docker(&["exec", holder.as_str(), "readlink", "/proc/self/ns/net"]);
    assert_eq!(output, format!("lo\n{theirs}\n"));
    let mut gone = here.spec("exit 0; #");
    gone.network = NetworkMode::Container("cloud-code-no-such-container".to_owned());
    let refused = match here.runtime.create(&gone).await {
        Ok(id) => here.runtime.start(&id, &Secrets::none()).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(
        !matches!(refused, RuntimeError::ImageMissing { .. } | RuntimeError::EngineUnreachable { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn root_filesystem_env_directory_and_hosts_are_as_asked() {
    let here = Installation::new();
    let mut spec = here.spec("pwd; echo \"$GREETING\"; grep forge.test /etc/hosts; touch /x 2>/dev/null && echo writable || echo read-only; cat /proc/1/comm");
    spec.root_filesystem = RootFilesystem::ReadOnly;
    // The door is made also where nothing can be written.
    let workspace = Workspace::new();
    spec = workspace.mounted(spec);
    spec.working_dir = Some("/var".into());
    spec.env = BTreeMap::from([("GREETING".to_owned(), "hello $HOME".to_owned())]);
    spec.network = NetworkMode::Bridge;
    spec.extra_hosts = vec!["forge.test:192.0.2.7".to_owned()];
    let (_, output) = here.run(&spec).await;
    assert_eq!(output, "/var\nhello $HOME\n192.0.2.7\tforge.test\nread-only\nsh\n");
}

#[tokio::test]
async fn a_missing_mount_source_is_refused_and_not_made() {
    let here = Installation::new();
    let mut spec = here.spec("exit 0");
    let missing = Path::new("/cloud-code-test-missing/source");
    spec.mounts.push(Mount::read_only(missing, "/mnt/a"));
    let refused = here.runtime.create(&spec).await.unwrap_err();
    assert!(
        matches!(refused, RuntimeError::Refused { .. }) && refused.to_string().contains("missing"),
        "{refused}"
    );
    assert!(!missing.exists());
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_the_start_and_leaves_the_container_to_remove() {
    let here = Installation::new();
    let mut spec = here.spec("exit 0");
    spec.command = vec!["/cloud-code/bin/none".to_owned()];
    let id = here.runtime.create(&spec).await.unwrap();
    let failed = here.runtime.start(&id, &Secrets::none()).await.unwrap_err();
    assert!(matches!(failed, RuntimeError::Refused { .. } | RuntimeError::EngineFault { .. }), "{failed}");
    assert!(failed.to_string().contains("/cloud-code/bin/none"), "{failed}");
    here.runtime.remove(&id).await.unwrap();
    assert_eq!(here.count(), 0);
}

#[tokio::test]
async fn a_missing_image_says_how_to_make_it() {
    let here = Installation::new();
    let mut spec = here.spec("exit 0");
    spec.image = "cloud-code-none:none".to_owned();
    spec.labels.cli = Some("claude-code".parse().unwrap());
    let error = here.runtime.create(&spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image `cloud-code-none:none` is not on this machine\n  hint: run `cloud-code images build claude-code`"
    );
}

#[tokio::test]
async fn an_engine_out_of_reach_says_what_to_do() {
    let at = |host: String| DockerRuntime::new(DockerSettings { instance: new_instance(), host: Some(host) });
    let folder = tempfile::tempdir().unwrap();
    let missing =
        at(format!("unix://{}", folder.path().join("none.sock").display())).check().await.unwrap_err();
    assert!(matches!(missing, RuntimeError::EngineUnreachable { .. }), "{missing:?}");
    assert!(missing.to_string().contains("apt-get install docker.io"), "{missing}");
    // A socket that nobody listens at any more, as a stopped engine leaves it.
    let stale = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let stopped = at(stale.display().to_string()).check().await.unwrap_err();
    assert!(matches!(stopped, RuntimeError::EngineUnreachable { .. }), "{stopped:?}");
    let remote = at("tcp://192.0.2.1:2375".to_owned()).check().await.unwrap_err();
    assert!(matches!(remote, RuntimeError::EngineAddress { .. }), "{remote:?}");
}

fn build(here: &Installation, dockerfile: &str) -> ImageBuild {
    ImageBuild {
        tags: vec![format!("cc-{}:1", here.instance), format!("cc-{}:latest", here.instance)],
        files: vec![
            BuildFile { path: "Dockerfile".into(), content: dockerfile.into(), mode: 0o644 },
            BuildFile {
                path: "bin/hello".into(),
                content: b"#!/bin/sh\necho hello $1\n".to_vec(),
                mode: 0o755,
            },
        ],
        labels: BTreeMap::from([
            ("cloud-code.instance".to_owned(), here.instance.to_string()),
            ("cloud-code.cli".to_owned(), "command".to_owned()),
            ("cloud-code.cli-version".to_owned(), "1.2.3".to_owned()),
        ]),
        ..ImageBuild::default()
    }
}

#[tokio::test]
async fn an_image_is_built_with_arguments_and_progress_listed_and_removed() {
    let here = Installation::new();
    let dockerfile =
        format!("FROM {IMAGE}\nARG WHO\nCOPY bin/hello /usr/bin/hello\nRUN hello $WHO > /greeting\n");
    let mut wanted = build(&here, &dockerfile);
    wanted.args = BTreeMap::from([("WHO".to_owned(), "world".to_owned())]);
    wanted.network = Some("none".to_owned());
    let mut lines = Vec::new();
    let id = in_time("the build", here.runtime.build_image(wanted, |line| lines.push(line))).await.unwrap();
    assert!(
        lines.iter().any(|line| (line.step, line.total) == (4, 7) && line.line.contains("RUN hello")),
        "{lines:?}"
    );
    let mut spec = here.spec("cat /greeting");
    spec.image = format!("cc-{}:1", here.instance);
    assert_eq!(here.run(&spec).await.1, "hello world\n");
    let selector = BTreeMap::from([
        ("cloud-code.instance".to_owned(), here.instance.to_string()),
        ("cloud-code.cli".to_owned(), String::new()),
    ]);
    let listed = here.runtime.list_images(&selector).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0].id, listed[0].cli(), listed[0].cli_version()),
        (&id, Some("command"), Some("1.2.3"))
    );
    assert_eq!(listed[0].tags.len(), 2);
    let container = here.runtime.create(&spec).await.unwrap();
    let last = format!("cc-{}:latest", here.instance);
    here.runtime.remove_image(&last).await.unwrap();
    let used = here.runtime.remove_image(&spec.image).await.unwrap_err();
    assert!(matches!(used, RuntimeError::ImageInUse { .. }), "{used}");
    here.runtime.remove(&container).await.unwrap();
    here.runtime.remove_image(&spec.image).await.unwrap();
    here.runtime.remove_image(&spec.image).await.unwrap();
    assert_eq!(here.runtime.image(&spec.image).await.unwrap(), None);
}

#[tokio::test]
async fn a_failing_build_shows_its_last_lines_and_leaves_nothing() {
    let here = Installation::new();
    let wanted = build(&here, &format!("FROM {IMAGE}\nRUN echo before-the-fall; exit 3\n"));
    let error = in_time("the build", here.runtime.build_image(wanted, |_| {})).await.unwrap_err();
    assert!(matches!(error, RuntimeError::BuildFailed { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("before-the-fall") && text.contains("code: 3"), "{text}");
    let wanted = build(&here, "FORM nothing\n");
    let error = in_time("the build", here.runtime.build_image(wanted, |_| {})).await.unwrap_err();
    assert!(error.to_string().contains("FORM"), "{error}");
}

#[tokio::test]
async fn a_dropped_build_stops_in_the_engine() {
    let here = Installation::new();
    // Odd seconds as a mark: the builder's own containers carry no label of ours.
    let mark = format!("sleep 1000.{}", std::process::id());
    let wanted = build(&here, &format!("FROM {IMAGE}\nRUN {mark}\n"));
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let running = || docker(&["ps", "--no-trunc", "--format", "{{.Command}}"]).contains(&mark);
    let building = here.runtime.build_image(wanted, |line| {
        if line.line.contains("Running in")
            && let Some(begun) = begun.take()
        {
            begun.send(()).unwrap();
        }
    });
    tokio::select! {
        ended = building => panic!("the build ended: {ended:?}"),
        begun = in_time("the step", has_begun) => begun.unwrap(),
    }
    until("the end of the step", || async { (!running()).then_some(()) }).await;
}

#[tokio::test]
async fn a_folder_is_a_context_too() {
    let here = Installation::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("Dockerfile.test"),
        format!("FROM {IMAGE}\nCOPY note bin/hello /\nCMD [\"cat\", \"/note\"]\n"),
    )
    .unwrap();
    fs::write(folder.path().join("note"), "from the folder\n").unwrap();
    let mut wanted = build(&here, "");
    wanted.folder = Some(folder.path().to_owned());
    wanted.dockerfile = "Dockerfile.test".to_owned();
    in_time("the build", here.runtime.build_image(wanted, |_| {})).await.unwrap();
    let mut spec = here.spec("cat /note; /hello you");
    spec.image = format!("cc-{}:1", here.instance);
    assert_eq!(here.run(&spec).await.1, "from the folder\nhello you\n");
}

#[tokio::test]
async fn a_pull_that_cannot_work_is_typed() {
    let here = Installation::new();
    // Nothing listens at port 1 of loopback.
    let error = in_time("the pull", here.runtime.pull_image("127.0.0.1:1/none:1", |_| {})).await.unwrap_err();
    assert!(matches!(error, RuntimeError::PullFailed { .. }), "{error:?}");
}
