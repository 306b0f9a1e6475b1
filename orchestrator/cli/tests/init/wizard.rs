//! The questions that a person answers at a terminal. `script` of util-linux is the terminal.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::{House, SHOP, mode};

/// How long a question may take to appear. A loaded machine is slow; a hang still ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program at a terminal, and what it has shown since somebody last looked.
struct Terminal {
    child: std::process::Child,
    shows: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn with(house: &House, args: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_cloud-code");
        let line = format!("{program} --home {} {args}", house.home().display());
        let mut child = Command::new("script")
            .args(["-qfec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("TERM", "xterm")
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (tell, shows) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut part) {
                if tell.send(part[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, shows, seen: String::new() }
    }

    /// Waits for a question and types an answer.
    #[track_caller]
    fn answers(&mut self, question: &str, keys: &str) {
        let at = self.shows(question);
        self.seen.drain(..at);
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until it shows this; where that ends.
    #[track_caller]
    fn shows(&mut self, what: &str) -> usize {
        loop {
            if let Some(at) = self.seen.find(what) {
                return at + what.len();
            }
            match self.shows.recv_timeout(PATIENCE) {
                Ok(part) => self.seen.push_str(&String::from_utf8_lossy(&part)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{what:?} was not shown:\n{}", self.seen)
                }
            }
        }
    }

    #[track_caller]
    fn ends_well(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.seen);
    }
}

const DOWN: &str = "\x1b[B";

#[test]
fn a_person_sets_up_a_token_by_answering_questions() {
    let house = House::new();
    let token = house.github.token("alice");
    let mut terminal = Terminal::with(&house, &format!("init --github-url {}", house.github.web_url()));
    terminal.answers("a fine-grained personal access token", &format!("{DOWN}\r"));
    terminal.answers("The token", &format!("{token}\r"));
    terminal.answers("Address by which GitHub reaches this machine", "\r");
    terminal.answers("Repositories to work in", &format!("{SHOP}\r"));
    terminal.answers("The coding CLI that works there", "\r");
    terminal.shows("cloud-code serve");
    assert!(!terminal.seen.contains(&token), "what is typed is not shown: {}", terminal.seen);
    terminal.ends_well();

    assert_eq!(house.read("secrets/github-token"), token);
    assert_eq!(mode(&house.path("secrets/github-token")), 0o600);
    assert!(house.read("cloud-code.yaml").contains("intake: polling"));
    assert!(house.read("projects/shop.yaml").contains("cli: claude-code"));
    house.holds();
}
