//! A Docker engine of the suite's own, which can be stopped and started under a story without harm to anybody else's.
//!
//! It has no network: agents whose coding CLI is a shell script need none, and so it touches no rule of the machine's.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::stage::top;

/// A shell, git, and Alpine's C library; the Dockerfile is that of the suite of images.
pub(crate) const IMAGE: &str = "cloud-code-test/images-small:latest";
/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Engine {
    dir: tempfile::TempDir,
    daemon: Mutex<Option<Child>>,
}

impl Engine {
    /// Starts one and gives it the image.
    pub(crate) fn new() -> Self {
        assert!(
            Command::new("id").arg("-u").output().unwrap().stdout == b"0\n",
            "this suite starts a Docker engine of its own: run it as root"
        );
        build();
        let dir = tempfile::Builder::new().prefix("cloud-code-engine-").tempdir().unwrap();
        let engine = Self { dir, daemon: Mutex::default() };
        engine.starts_again();
        let mut save = Command::new("docker").args(["save", IMAGE]).stdout(Stdio::piped()).spawn().unwrap();
        let loaded = engine.docker(&["load"]).stdin(save.stdout.take().unwrap()).output().unwrap();
        assert!(save.wait().unwrap().success() && loaded.status.success(), "{loaded:?}");
        engine
    }

    /// As `docker.host` takes it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.path().display())
    }

    fn docker(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_CONTEXT").args(["--host", &self.host()]).args(args);
        command
    }

    /// The end of what runs in it, as `systemctl restart docker` does it.
    pub(crate) fn stops(&self) {
        let Some(mut daemon) = self.daemon.lock().unwrap().take() else { return };
        let pid = daemon.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        daemon.wait().unwrap();
    }

    pub(crate) fn starts_again(&self) {
        let at = |name: &str| self.dir.path().join(name);
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        // Without a bridge a daemon removes the one that is there: it gets a network of its own, where there is none.
        let mut daemon = Command::new("unshare");
        daemon.args(["--net", "dockerd"]);
        daemon.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        daemon.arg("--pidfile").arg(at("pid")).args(["--host", &self.host()]);
        daemon.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]);
        daemon.args(["--shutdown-timeout=10"]);
        let daemon = daemon.stdout(Stdio::null()).stderr(log).spawn();
        let mut daemon = daemon.expect("these stories start `dockerd`: `sudo apt-get install docker.io`");
        let end = Instant::now() + PATIENCE;
        while !self.docker(&["info"]).output().unwrap().status.success() {
            let log = || fs::read_to_string(at("log")).unwrap_or_default();
            assert!(daemon.try_wait().unwrap().is_none(), "dockerd ended:\n{}", log());
            assert!(Instant::now() < end, "dockerd does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        *self.daemon.lock().unwrap() = Some(daemon);
    }

    /// The containers of an installation, of one issue or of all.
    pub(crate) fn containers(&self, instance: &str, issue: Option<u64>) -> Vec<String> {
        let instance = format!("label=cloud-code.instance={instance}");
        let issue = issue.map(|issue| format!("label=cloud-code.issue={issue}"));
        let mut command = self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &instance]);
        command.args(issue.iter().flat_map(|issue| ["--filter", issue.as_str()]));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Makes a container with these labels, which never runs; its id.
    pub(crate) fn makes(&self, labels: &[String]) -> String {
        let mut command = self.docker(&["create", "--network", "none"]);
        command.args(labels.iter().flat_map(|label| ["--label", label.as_str()]));
        let output = command.args([IMAGE, "sh"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether there is such a container.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.docker(&["container", "inspect", container]).output().unwrap().status.success()
    }

    pub(crate) fn removes(&self, container: &str) {
        let output = self.docker(&["rm", "--force", "--volumes", container]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.lock().unwrap().take() {
            let _ = Command::new("kill").args(["-TERM", &daemon.id().to_string()]).status();
            let _ = daemon.wait();
        }
        // What it leaves mounted keeps its folder from being removed.
        let here = self.dir.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for place in
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|at| at.starts_with(&here))
        {
            let _ = Command::new("umount").args(["--lazy", place]).status();
        }
    }
}

/// Builds the image with the engine of the machine, which has it in its cache after `make images` and the suite of images.
fn build() {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let mut built = BUILT.lock().unwrap();
    if *built {
        return;
    }
    let file = top().join("orchestrator/cli/tests/images/Dockerfile");
    let mut command = Command::new("docker");
    command.args(["build", "--quiet", "--target", "small", "--tag", IMAGE]);
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        if std::env::var_os(proxy).is_some() {
            command.args(["--build-arg", proxy]);
        }
    }
    let output = command.arg("-").stdin(File::open(file).unwrap()).output().unwrap();
    assert!(
        output.status.success(),
        "the image cannot be built: run `make images`\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    *built = true;
}
