//! A history and a control directory of one's own.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_code_history::{
    AttemptFile, Caps, CliFacts, CommitFacts, Content, ControlFiles, Ending, ExitFacts, History, Key, Mask,
    Material, Outcome,
};
use cloud_code_model::RuntimeKind;
use cloud_code_task_schema::{Conversation, Mode, Usage};
use jiff::Timestamp;

/// A value that must be found nowhere.
pub(crate) const SECRET: &str = "correct-horse-battery";

/// Knows one secret.
pub(crate) struct OneSecret;

impl Mask for OneSecret {
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match text.contains(SECRET) {
            true => Cow::Owned(text.replace(SECRET, "[secret removed]")),
            false => Cow::Borrowed(text),
        }
    }
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

pub(crate) const ROOMY: Caps =
    Caps { max_size: 1 << 30, max_age: Duration::from_secs(30 * 86_400), max_attempt_size: 1 << 20 };

pub(crate) struct House {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) history: History,
}

impl House {
    pub(crate) fn new(caps: Caps) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), caps)
    }

    /// In memory, where there is a file system for that: thousands of attempts are then not a test of the disk's syncs.
    pub(crate) fn in_memory(caps: Caps) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::in_folder(dir.unwrap(), caps)
    }

    fn in_folder(dir: tempfile::TempDir, caps: Caps) -> Self {
        let history = History::new(dir.path().join("history"), caps);
        let house = Self { dir, history };
        fs::create_dir_all(house.control().join("logs")).unwrap();
        house
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// Writes a file of the control directory.
    pub(crate) fn has(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.control().join(name), content).unwrap();
    }

    /// Writes an attempt and leaves it beside its place.
    pub(crate) fn writes(&self, about: AttemptFile, after: Content) -> Outcome {
        let last_counted = about.attempt;
        let material = Material {
            about,
            control: &ControlFiles::new(self.control()),
            last_counted,
            manifest: Content::Nothing,
            before: Content::Nothing,
            after,
            mask: &OneSecret,
        };
        self.history.write(material).unwrap()
    }

    pub(crate) fn keeps(&self, about: AttemptFile, after: Content) {
        if let Outcome::Written(draft) = self.writes(about, after) {
            self.history.place(draft).unwrap();
        }
    }

    /// A file of an attempt that is kept.
    pub(crate) fn file(&self, key: &Key, name: &str) -> Option<String> {
        let mut bytes = Vec::new();
        let kept = self.history.attempt(key).unwrap().unwrap();
        let found = kept.archive().copy(name, &mut bytes).unwrap();
        found.then(|| String::from_utf8(bytes).unwrap())
    }
}

pub(crate) fn key(issue: &str, task: &str, attempt: u32) -> Key {
    Key {
        project: "shop".parse().unwrap(),
        issue: issue.parse().unwrap(),
        task: task.parse().unwrap(),
        attempt,
    }
}

pub(crate) fn about(key: &Key, now: Timestamp) -> AttemptFile {
    AttemptFile {
        version: AttemptFile::VERSION,
        project: key.project.clone(),
        issue: key.issue.clone(),
        task: key.task.clone(),
        attempt: key.attempt,
        title: "Fix the login".to_owned(),
        mode: Mode::Edit,
        requested_by: Some("alice".to_owned()),
        started_at: Some(now - Duration::from_secs(60)),
        finished_at: now,
        kept_at: now,
        ending: Ending { status: "completed".to_owned(), failure: None, stopped: None },
        exit: ExitFacts::default(),
        cli: CliFacts {
            name: "codex".parse().unwrap(),
            version: Some("0.169.0".to_owned()),
            model: None,
            agent: None,
            runtime: RuntimeKind::Local,
            image: None,
            image_digest: None,
            container: None,
            session: None,
            conversation: Conversation::New,
        },
        usage: Usage::default(),
        verify: Vec::new(),
        commits: CommitFacts {
            branch: "cloud-code/login".parse().unwrap(),
            base: "4e18bcb7".to_owned(),
            before: None,
            after: None,
        },
        env: vec!["LANG".to_owned()],
        secrets: vec!["OPENAI_API_KEY".to_owned()],
        files: Vec::new(),
        missing: Vec::new(),
    }
}

/// Bytes of disk below a folder, as its file system counts them.
pub(crate) fn disk_use(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::symlink_metadata(path).unwrap();
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    own + fs::read_dir(path).unwrap().map(|entry| disk_use(&entry.unwrap().path())).sum::<u64>()
}
