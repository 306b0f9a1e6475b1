//! Whether a silent CLI still does something: processor time of everything the agent started, and changed files.
//!
//! A build of half an hour prints nothing and works; a provider that never answers leaves everything still. Silence
//! alone cannot tell them apart.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Part of one processor that counts as work: more than timers and a spinner take, far less than a compiler.
const WORKING_SHARE: f64 = 0.05;
/// Most files looked at for a change. A tree with more is judged by the processor alone.
const MAX_ENTRIES: usize = 50_000;
/// Between two looks at the processor: the silence allowed, in so many parts.
const LOOKS_PER_LIMIT: u32 = 8;
/// But never more often than this: a look costs a read of all of `/proc`.
const MIN_PAUSE: Duration = Duration::from_millis(250);

/// Watches one process tree and one worktree.
#[derive(Debug)]
pub(crate) struct Activity {
    workspace: PathBuf,
    /// Folders of the agent in it, and git's own: they change without the CLI.
    apart: Vec<PathBuf>,
    pause: Duration,
    /// Whose descendants count.
    root: u32,
    looked_at: Instant,
    /// What was used until then, once measured.
    ticks: Option<u64>,
}

impl Activity {
    /// Starts now. `limit` is the silence allowed.
    /// `own` are folders of the agent in the worktree, from its top.
    pub(crate) fn watch(workspace: &Path, own: &[String], limit: Duration) -> Self {
        let names = own.iter().map(String::as_str).chain([".git"]);
        let apart = names.map(|name| workspace.join(name)).collect();
        let pause = (limit / LOOKS_PER_LIMIT).max(MIN_PAUSE);
        let root = std::process::id();
        Self { workspace: workspace.to_owned(), apart, pause, root, looked_at: Instant::now(), ticks: None }
    }

    /// When to look at the processor again.
    pub(crate) fn next_look(&self) -> Instant {
        self.looked_at + self.pause
    }

    /// Something was printed: what was used until now proves nothing more.
    pub(crate) fn note_output(&mut self) {
        self.looked_at = Instant::now();
        self.ticks = None;
    }

    /// Whether the processor was used since the last look.
    pub(crate) fn used_the_processor(&mut self) -> bool {
        let (now, ticks) = (Instant::now(), cpu_ticks(self.root));
        let passed = now.duration_since(self.looked_at);
        self.looked_at = now;
        // The first look after an output only takes the measure.
        let Some(before) = self.ticks.replace(ticks) else { return false };
        let used = Duration::from_millis(ticks.saturating_sub(before).saturating_mul(MILLIS_PER_TICK));
        used >= passed.mul_f64(WORKING_SHARE)
    }

    /// When the youngest change in the worktree happened, if that is at most `within` ago.
    pub(crate) fn last_change(&self, within: Duration) -> Option<Instant> {
        let now = SystemTime::now();
        let age = youngest(&self.workspace, &self.apart, now)?;
        (age <= within).then(|| Instant::now().checked_sub(age)).flatten()
    }
}

/// What Linux reports processor time in, on every architecture that this agent is built for.
const MILLIS_PER_TICK: u64 = 10;

/// Processor time of all descendants, those included that have ended.
fn cpu_ticks(root: u32) -> u64 {
    let ended = stat_fields(root).map_or(0, |[_, _, user, system]| user.saturating_add(system));
    let descendants = crate::sweep::family(root).into_iter();
    descendants.filter_map(stat_fields).flatten().fold(ended, u64::saturating_add)
}

/// utime, stime, cutime, cstime of `/proc/<pid>/stat`.
fn stat_fields(pid: u32) -> Option<[u64; 4]> {
    /// Their place behind the name in brackets: proc_pid_stat(5) counts from 1, with the state third.
    const FIRST: usize = 14 - 3;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(FIRST);
    let mut next = || fields.next()?.parse().ok();
    Some([next()?, next()?, next()?, next()?])
}

/// Age of the youngest file or folder; links are not followed.
fn youngest(root: &Path, apart: &[PathBuf], now: SystemTime) -> Option<Duration> {
    let mut folders = vec![root.to_owned()];
    let mut best: Option<Duration> = None;
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MAX_ENTRIES {
                return best;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if apart.contains(&entry.path()) {
                continue;
            }
            // A file from the future says nothing of when it was changed.
            let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
            best = [best, age].into_iter().flatten().min();
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_below_any_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        for path in [dir.path().join("a"), deep.clone()] {
            std::fs::File::open(path).unwrap().set_modified(old).unwrap();
        }
        let activity = Activity::watch(dir.path(), &["own".to_owned()], Duration::from_secs(60));
        assert_eq!(activity.last_change(Duration::from_secs(60)), None);
        for (folder, ahead) in [("own", 0), (".git", 0), ("a", 3600)] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            let file = std::fs::File::create(dir.path().join(folder).join("later")).unwrap();
            file.set_modified(SystemTime::now() + Duration::from_secs(ahead)).unwrap();
        }
        std::fs::File::open(dir.path().join("a")).unwrap().set_modified(old).unwrap();
        assert_eq!(activity.last_change(Duration::from_secs(60)), None);
        let file = deep.join("file");
        std::fs::write(&file, "x").unwrap();
        std::fs::File::open(&deep).unwrap().set_modified(old).unwrap();
        assert!(activity.last_change(Duration::from_secs(60)).is_some());
    }

    #[test]
    fn work_of_a_child_is_seen_and_sleep_is_not() {
        let works = |script: &str| {
            let script = format!("{script} & echo; wait");
            let mut command = std::process::Command::new("sh");
            let mut parent =
                command.args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
            // Its line says that the child runs.
            std::io::Read::read(parent.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
            let mut activity = Activity::watch(Path::new("/nonexistent"), &[], Duration::from_secs(1));
            activity.root = parent.id();
            activity.used_the_processor();
            std::thread::sleep(Duration::from_millis(600));
            let works = activity.used_the_processor();
            for pid in crate::sweep::family(parent.id()) {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
            parent.wait().unwrap();
            works
        };
        assert!(works("while :; do :; done"));
        assert!(!works("sleep 5"));
    }
}
