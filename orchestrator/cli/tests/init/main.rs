//! `cloud-code init` and the GitHub part of `doctor`, the built program against a small GitHub over HTTP.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod app;
mod doctor;
mod door;
mod examples;
mod token;
mod wizard;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cloud_code_fake_github::{FakeGithub, RepoSeed, Role};
use serde_json::{Value, json};

/// The repository of every story; alice administers it.
const SHOP: &str = "acme/shop";

/// A home folder and a GitHub of its own.
struct House {
    dir: tempfile::TempDir,
    github: FakeGithub,
}

impl House {
    fn new() -> Self {
        let github = FakeGithub::start_blocking();
        let shop = RepoSeed::new(SHOP).of_organization().collaborator("alice", Role::Admin);
        github.repo(shop.label("ready-for-agent"));
        Self { dir: tempfile::tempdir().unwrap(), github }
    }

    /// How often that was asked.
    fn count(&self, method: &str, path: &str) -> usize {
        let requests = self.github.requests();
        requests.iter().filter(|asked| asked.method == method && asked.path == path).count()
    }

    /// What must hold in the end: GitHub was asked as its description says.
    #[track_caller]
    fn holds(&self) {
        assert_eq!(self.github.violations(), Vec::<String>::new());
    }

    /// The number of the App in the settings.
    fn app_id(&self) -> u64 {
        let settings: Value = serde_yaml::from_str(&self.read("cloud-code.yaml")).unwrap();
        settings["github"]["app"]["id"].as_u64().unwrap()
    }

    /// Makes the App, as a person with a browser would. `changed` is what the person changes on GitHub's page.
    #[track_caller]
    fn makes_an_app(&self, args: &[&str], changed: impl FnOnce(&mut Value)) -> String {
        let waiting = Waiting::start(self.init(args));
        let (_, mut manifest, state) = app::form(&browse(&waiting.page).1);
        manifest["fake_owner"] = json!("acme");
        changed(&mut manifest);
        let code = self.github.manifest_code(&manifest);
        let (status, told) = browse(&format!("{}callback?code={code}&state={state}", waiting.page));
        assert_eq!(status, 200, "{told}");
        let (ended, text) = waiting.end();
        assert!(ended, "{text}");
        format!("{told}{text}")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-code"));
        command.arg("--home").arg(self.home()).args(args).stdin(Stdio::null());
        command
    }

    fn init(&self, args: &[&str]) -> Command {
        let mut command =
            self.command(&["init", "--non-interactive", "--github-url", &self.github.web_url()]);
        command.args(args);
        command
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What a program said, after it did what it should.
fn said(output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}

/// What a program said that should fail.
fn refused(output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{text}");
    text
}

/// A running `init` with the address that it printed.
struct Waiting {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    page: String,
}

impl Waiting {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut waiting = Self { child, out, page: String::new() };
        let mut line = String::new();
        while waiting.out.read_line(&mut line).unwrap() > 0 {
            if let Some(page) = line.trim().strip_prefix("Open this address in a browser: ") {
                waiting.page = page.to_owned();
                return waiting;
            }
            line.clear();
        }
        let (_, told) = waiting.end();
        unreachable!("init ended before it waited: {told}");
    }

    /// Everything else that it says, and whether it succeeded.
    fn end(mut self) -> (bool, String) {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().success(), text)
    }
}

/// A request as a browser makes it: status and body.
fn browse(url: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, text)
}
