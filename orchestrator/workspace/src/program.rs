//! Runs the `git` program with nothing left to chance: explicit git-dir, no discovery, a named environment, a
//! deadline, and capped output. git2 is used wherever no transport, checkout or strict index is needed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::credential::Lent;

/// Longest time for a local git run. The largest checkout measured takes seconds; a hang must not hold a lock.
pub(crate) const LOCAL_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Longest time for a fetch or push: a first fetch of a large repository over a slow line.
pub(crate) const TRANSPORT_LIMIT: Duration = Duration::from_secs(14 * 60);
/// Cap on stdout kept in memory. Larger output is cut and the run fails, never silently shortened.
const MAX_STDOUT: u64 = 64 << 20;
/// How much of stderr is kept: its end, where git says what failed.
const STDERR_TAIL: usize = 8 << 10;
/// How long to wait for the pipes after git itself ended. A helper left behind (ssh's ControlMaster) may hold them.
const PIPE_GRACE: Duration = Duration::from_secs(1);
/// First and longest pause between two looks at a running child.
const POLL_FIRST: Duration = Duration::from_micros(500);
const POLL_LAST: Duration = Duration::from_millis(10);

/// A run of the git program that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there, or may not be run.
    #[error("cannot run `git {step}`; is git installed and on PATH?")]
    Spawn {
        /// The git command.
        step: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`git {step}` failed ({status}): {stderr}")]
    Failed {
        /// The git command.
        step: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote on stderr.
        stderr: Box<str>,
        /// What it wrote on stdout, for commands that report per item there.
        stdout: Box<[u8]>,
    },
    /// It did not end in time and was killed with all its children.
    #[error("`git {step}` was stopped after {} s without an end", limit.as_secs())]
    TimedOut {
        /// The git command.
        step: &'static str,
        /// The time it was given.
        limit: Duration,
    },
    /// It wrote more than the cap.
    #[error("`git {step}` wrote more than {MAX_STDOUT} bytes")]
    TooMuchOutput {
        /// The git command.
        step: &'static str,
    },
    /// A pipe broke or a file could not be passed.
    #[error("lost contact with `git {step}`")]
    Io {
        /// The git command.
        step: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Whose configuration a run may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Config {
    /// Nobody's: for every run on data that others wrote.
    Neutral,
    /// The user's own (credential helpers, proxies, `insteadOf`): transport only.
    User,
}

/// What git reads on stdin.
enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// Copied through a pipe, so that limits stand before the first byte is read.
    Pump(File),
    /// Given as it is and never read: keeps a lock held.
    Hold(File),
}

/// One run of git, being built.
pub(crate) struct Git {
    command: Command,
    git_dir: Option<PathBuf>,
    settings: Vec<String>,
    step: &'static str,
    args: Vec<OsString>,
    input: Input,
    output: Option<File>,
    limit: Duration,
    memory: Option<u64>,
    file_size: Option<u64>,
    lent: Option<Lent>,
}

/// Settings that no run may go without: no hook, no monitor, no maintenance in the background.
const ALWAYS: [&str; 10] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.pager=cat",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "transfer.credentialsInUrl=die",
];

/// Variables that point git at another repository. Whatever the caller's environment says, they never apply here.
const REPOSITORY_VARIABLES: [&str; 20] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
];

/// Transports that may carry data. `ext::` and other helpers would run any program a URL names.
const PROTOCOLS: &str = "file:git:http:https:ssh";

impl Git {
    /// A run that sees no configuration but the repository's own and what is given here.
    pub(crate) fn neutral(step: &'static str, git_dir: &Path) -> Self {
        let mut git = Self::new(step, Config::Neutral);
        git.git_dir = Some(absolute(git_dir));
        git
    }

    /// A run outside any repository that sees no configuration: `git init`, `git version`.
    pub(crate) fn bare(step: &'static str) -> Self {
        Self::new(step, Config::Neutral)
    }

    /// A run that carries data to or from the user's own remote, with the user's own configuration.
    pub(crate) fn transport(step: &'static str, git_dir: Option<&Path>) -> Self {
        let mut git = Self::new(step, Config::User);
        git.git_dir = git_dir.map(absolute);
        git.limit = TRANSPORT_LIMIT;
        git
    }

    fn new(step: &'static str, config: Config) -> Self {
        let mut command = Command::new("git");
        command.current_dir("/").process_group(0);
        match config {
            Config::Neutral => {
                command.env_clear();
                if let Some(path) = std::env::var_os("PATH") {
                    command.env("PATH", path);
                }
                command.envs([
                    ("HOME", "/nonexistent"),
                    ("XDG_CONFIG_HOME", "/nonexistent"),
                    ("GIT_CONFIG_NOSYSTEM", "1"),
                    ("GIT_CONFIG_SYSTEM", "/dev/null"),
                    ("GIT_CONFIG_GLOBAL", "/dev/null"),
                    ("GIT_ATTR_NOSYSTEM", "1"),
                    ("GIT_ALLOW_PROTOCOL", "none"),
                ]);
            }
            Config::User => {
                for name in REPOSITORY_VARIABLES {
                    command.env_remove(name);
                }
                command.env("GIT_ALLOW_PROTOCOL", PROTOCOLS);
                // Who names authorities in OpenSSL's way means all of this program; git's own HTTP library may not look.
                if let (Some(file), None) =
                    (std::env::var_os("SSL_CERT_FILE"), std::env::var_os("GIT_SSL_CAINFO"))
                {
                    command.env("GIT_SSL_CAINFO", file);
                }
                // Nobody sits at a terminal: a question must fail at once, not wait for the deadline.
                if std::env::var_os("SSH_ASKPASS").is_none() {
                    command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
                }
            }
        }
        command.envs([
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_EDITOR", "false"),
            ("GIT_PAGER", "cat"),
        ]);
        Self {
            command,
            git_dir: None,
            settings: ALWAYS.map(str::to_owned).to_vec(),
            step,
            args: Vec::new(),
            input: Input::Nothing,
            output: None,
            limit: LOCAL_LIMIT,
            memory: None,
            file_size: None,
            lent: None,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A setting for this run, above every file's.
    pub(crate) fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Stops the run, with all it started, after this time.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Ends a transfer over http that moves less than a byte a second for so long: a server that hangs.
    pub(crate) fn stalled_after(self, time: Duration) -> Self {
        self.setting("http.lowSpeedLimit", "1")
            .setting("http.lowSpeedTime", &time.as_secs().max(1).to_string())
    }

    /// Lets the run use a secret at one URL, and takes it out of all that the run says.
    pub(crate) fn lend(mut self, lent: Option<Lent>) -> Self {
        if let Some(lent) = &lent {
            lent.equip(&mut self.command);
        }
        self.lent = lent;
        self
    }

    /// Runs as another user. Only root may.
    pub(crate) fn owner(mut self, owner: Option<(u32, u32)>) -> Self {
        if let Some((uid, gid)) = owner {
            self.command.uid(uid).gid(gid);
        }
        self
    }

    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    pub(crate) fn pump(mut self, file: File) -> Self {
        self.input = Input::Pump(file);
        self
    }

    pub(crate) fn hold(mut self, lock: File) -> Self {
        self.input = Input::Hold(lock);
        self
    }

    pub(crate) fn output(mut self, file: File) -> Self {
        self.output = Some(file);
        self
    }

    /// Caps what the run may allocate and how large a file it may write, in bytes.
    pub(crate) fn bounded(mut self, memory: u64, file_size: u64) -> Self {
        self.memory = Some(memory);
        self.file_size = Some(file_size);
        self
    }

    /// Runs to the end and returns stdout.
    pub(crate) fn run(mut self) -> Result<Vec<u8>, GitError> {
        let step = self.step;
        let io = |source| GitError::Io { step, source };
        let to_file = self.output.is_some();
        if let Some(git_dir) = &self.git_dir {
            self.command.arg(joined("--git-dir=", git_dir));
        }
        for setting in &self.settings {
            self.command.arg("-c").arg(setting);
        }
        self.command.arg(step).args(&self.args);
        self.command.stdout(self.output.take().map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
        let feed = match std::mem::replace(&mut self.input, Input::Nothing) {
            Input::Nothing => {
                self.command.stdin(Stdio::null());
                None
            }
            Input::Hold(lock) => {
                self.command.stdin(Stdio::from(lock));
                None
            }
            Input::Bytes(bytes) => {
                self.command.stdin(Stdio::piped());
                Some(Feed::Bytes(bytes))
            }
            Input::Pump(file) => {
                self.command.stdin(Stdio::piped());
                Some(Feed::File(file))
            }
        };
        let mut child = self.command.spawn().map_err(|source| GitError::Spawn { step, source })?;
        // Dropping the command closes this side's copy of an output file or shared lock.
        drop(self.command);
        if let Err(source) = limit_child(&child, self.memory, self.file_size) {
            stop(&mut child);
            return Err(io(source));
        }
        if let (Some(feed), Some(stdin)) = (feed, child.stdin.take()) {
            thread::spawn(move || feed.write(stdin));
        }
        let stdout = child.stdout.take().map(|pipe| Gathered::start(pipe, Keep::Start(MAX_STDOUT + 1)));
        let stderr = child.stderr.take().map(|pipe| Gathered::start(pipe, Keep::Tail(STDERR_TAIL)));
        let status = match wait(&mut child, self.limit).map_err(io)? {
            Some(status) => status,
            None => return Err(GitError::TimedOut { step, limit: self.limit }),
        };
        let stdout = stdout.map(Gathered::finish).unwrap_or_default();
        let stderr = stderr.map(Gathered::finish).unwrap_or_default();
        if !to_file && stdout.len() as u64 > MAX_STDOUT {
            return Err(GitError::TooMuchOutput { step });
        }
        if status.success() {
            return Ok(stdout);
        }
        let (stderr, stdout) = match &self.lent {
            Some(lent) => (lent.scrub(&stderr, stderr.len() >= STDERR_TAIL), lent.scrub(&stdout, false)),
            None => (stderr, stdout),
        };
        let stderr = String::from_utf8_lossy(&stderr).trim().into();
        Err(GitError::Failed { step, status, stderr, stdout: stdout.into() })
    }
}

/// The installed git's version, such as `2.39.5`: for `doctor`, and to fail early with a clear reason.
pub fn git_version() -> Result<String, GitError> {
    let text = Git::bare("version").run()?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.trim().trim_start_matches("git version ").to_owned())
}

enum Feed {
    Bytes(Vec<u8>),
    File(File),
}

impl Feed {
    fn write(self, mut stdin: impl Write) {
        // A child that ends early closes the pipe; its exit status tells why, so the write error says nothing more.
        let _ = match self {
            Self::Bytes(bytes) => stdin.write_all(&bytes),
            Self::File(mut file) => io::copy(&mut file, &mut stdin).map(|_| ()),
        };
    }
}

enum Keep {
    /// The first bytes; the rest is read and dropped, so that the child never blocks.
    Start(u64),
    /// The last bytes.
    Tail(usize),
}

struct Gathered {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: thread::JoinHandle<()>,
}

impl Gathered {
    fn start(mut pipe: impl Read + Send + 'static, keep: Keep) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut kept = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match keep {
                    Keep::Start(cap) => {
                        let room = usize::try_from(cap).unwrap_or(usize::MAX).saturating_sub(kept.len());
                        kept.extend_from_slice(&buffer[..count.min(room)]);
                    }
                    Keep::Tail(cap) => {
                        kept.extend_from_slice(&buffer[..count]);
                        let surplus = kept.len().saturating_sub(cap);
                        kept.drain(..surplus);
                    }
                }
            }
        });
        Self { bytes, reader }
    }

    fn finish(self) -> Vec<u8> {
        let start = Instant::now();
        while !self.reader.is_finished() && start.elapsed() < PIPE_GRACE {
            thread::sleep(POLL_FIRST);
        }
        std::mem::take(&mut self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn limit_child(child: &Child, memory: Option<u64>, file_size: Option<u64>) -> io::Result<()> {
    for (resource, cap) in [(Resource::Data, memory), (Resource::Fsize, file_size)] {
        if let Some(cap) = cap {
            let limit = Rlimit { current: Some(cap), maximum: Some(cap) };
            rustix::process::prlimit(Some(Pid::from_child(child)), resource, limit)?;
        }
    }
    Ok(())
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = POLL_FIRST;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            stop(child);
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL_LAST);
    }
}

/// Kills git and what it started: it leads its own process group.
fn stop(child: &mut Child) {
    let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// The absolute form that git children need, as they start in `/`.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
