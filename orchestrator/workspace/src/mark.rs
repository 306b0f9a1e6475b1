//! The mark of a prepared workspace, written last: one without it is half-made.
//!
//! Nothing of a fresh worktree is synced, neither by git nor by us: that is dozens of waits for the disk before an agent may
//! start. A kill cannot harm it, but after a power cut files may be empty under a mark that is whole. So the mark names the
//! boot it was made in until [`settle`] has seen everything on the disk; named another boot than this one, it counts for
//! nothing, and the worktree is made anew. What an agent did in those first moments is lost with it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::fsops;
use crate::ident::CommitId;
use crate::layout::IssuePaths;
use crate::lock::{Held, LOCK_WAIT, LockError};

/// First word of the file. Another version's workspace is made anew only by a person.
const VERSION: &str = "cloud-code-workspace-1";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The commit the worktree was made from; what stands there in the file of another version.
    pub(crate) base: String,
    /// Who owns the tree.
    pub(crate) owner: String,
    /// The commit whose settings stand in it, where that is not the base.
    pub(crate) settings: Option<CommitId>,
    /// The boot it was made in; none once the disk has it.
    pub(crate) boot: Option<String>,
}

impl Mark {
    /// The mark of a workspace. None where nothing is prepared, or a power cut may have taken of what was.
    pub(crate) fn read(paths: &IssuePaths) -> io::Result<Option<Self>> {
        let bytes = match fs::read(paths.marker()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(mark) = Self::parse(&String::from_utf8_lossy(&bytes)) else { return Ok(None) };
        let counts = mark.boot.is_none() || mark.boot == boot_id()?;
        Ok(counts.then_some(mark))
    }

    /// None for a file whose text did not reach the disk whole: without its end it may lack the boot, and must not count.
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.strip_suffix('\n')?.split_whitespace().collect();
        let after = |prefix: &str| words.iter().find_map(|word| word.strip_prefix(prefix));
        Some(Self {
            base: (*words.get(1).or(words.first())?).to_owned(),
            owner: words.get(2).copied().unwrap_or_default().to_owned(),
            settings: after("settings:").and_then(|id| id.parse().ok()),
            boot: after("boot:").map(str::to_owned),
        })
    }

    fn text(&self) -> String {
        let settings = self.settings.as_ref().map(|id| format!(" settings:{id}")).unwrap_or_default();
        let boot = self.boot.as_ref().map(|id| format!(" boot:{id}")).unwrap_or_default();
        format!("{VERSION} {} {}{settings}{boot}\n", self.base, self.owner)
    }

    /// Marks what was just made. A system that does not tell its boots waits for the disk here.
    pub(crate) fn write_fresh(mut self, paths: &IssuePaths) -> io::Result<()> {
        self.boot = boot_id()?;
        if self.boot.is_none() {
            fsops::sync_file_system(&paths.root)?;
        }
        self.write(paths)
    }

    /// Replaces the mark of a workspace that stays: the new one is on the disk before the old one goes.
    pub(crate) fn write(&self, paths: &IssuePaths) -> io::Result<()> {
        let sync = if self.boot.is_some() { fsops::Sync::Later } else { fsops::Sync::Now };
        fsops::write_whole(&paths.marker(), self.text().as_bytes(), None, sync)
    }
}

/// Why workspaces could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Another process works on an issue.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk did not take it.
    #[error("cannot make sure that the disk has what was prepared")]
    Io(#[from] io::Error),
}

/// Waits until the disk has what `prepare` made of these workspaces, all of one file system, and notes it: from now on they
/// outlive a power cut. Those that are settled, or gone, are left as they are. For a thread that may wait: what others write
/// to that disk is waited for as well.
pub fn settle(workspaces: &[IssuePaths]) -> Result<(), SettleError> {
    // What is wrong with one does not keep the others from being settled.
    let mut noted = Ok(());
    let mut fresh = Vec::new();
    for paths in workspaces {
        match unsettled(paths) {
            Ok(Some((mark, seen))) => fresh.push((paths, mark, seen)),
            Ok(None) => {}
            Err(error) => noted = noted.and(Err(error.into())),
        }
    }
    let Some((first, _, _)) = fresh.first() else { return noted };
    fsops::sync_file_system(&first.parent)?;
    for (paths, mark, seen) in fresh {
        noted = noted.and(note_settled(paths, mark, seen));
    }
    noted
}

fn unsettled(paths: &IssuePaths) -> io::Result<Option<(Mark, Option<Identity>)>> {
    match Mark::read(paths)?.filter(|mark| mark.boot.is_some()) {
        Some(mark) => Ok(Some((mark, identity(paths)?))),
        None => Ok(None),
    }
}

/// The mark's file at one moment; tells one writing of it from another.
type Identity = (u64, i64, i64);

fn note_settled(paths: &IssuePaths, mark: Mark, seen: Option<Identity>) -> Result<(), SettleError> {
    let _held = Held::take(&paths.lock, LOCK_WAIT)?;
    // One that was made anew meanwhile is a matter of the next time.
    if seen.is_some() && identity(paths)? == seen {
        Mark { boot: None, ..mark }.write(paths)?;
    }
    Ok(())
}

fn identity(paths: &IssuePaths) -> io::Result<Option<Identity>> {
    match fs::symlink_metadata(paths.marker()) {
        Ok(meta) => Ok(Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// None where the kernel does not say.
fn boot_id() -> io::Result<Option<String>> {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use cloud_code_model::{IssueKey, ProjectName};

    use super::*;
    use crate::layout::Layout;

    fn workspace(home: &std::path::Path, key: &str) -> IssuePaths {
        let paths = Layout::new(home)
            .issue(&"shop".parse::<ProjectName>().unwrap(), &key.parse::<IssueKey>().unwrap());
        fs::create_dir_all(&paths.root).unwrap();
        paths
    }

    fn mark() -> Mark {
        Mark { base: "b".repeat(40), owner: "self".to_owned(), settings: None, boot: None }
    }

    #[test]
    fn a_fresh_mark_counts_in_its_boot_alone_until_it_is_settled() {
        let home = tempfile::tempdir().unwrap();
        let (paths, other) = (workspace(home.path(), "1"), workspace(home.path(), "2"));
        for paths in [&paths, &other] {
            mark().write_fresh(paths).unwrap();
            assert!(Mark::read(paths).unwrap().unwrap().boot.is_some());
        }
        let earlier = fs::read_to_string(other.marker())
            .unwrap()
            .replace(&boot_id().unwrap().unwrap(), "of-another-boot");
        fs::write(other.marker(), earlier).unwrap();
        assert_eq!(Mark::read(&other).unwrap(), None);
        let gone = workspace(home.path(), "3");
        settle(&[paths.clone(), other.clone(), gone.clone()]).unwrap();
        assert_eq!(Mark::read(&paths).unwrap(), Some(mark()));
        assert_eq!((Mark::read(&other).unwrap(), Mark::read(&gone).unwrap()), (None, None));
        assert!(!gone.marker().exists());
    }

    #[test]
    fn a_mark_that_cannot_be_read_keeps_no_other_from_being_settled() {
        let home = tempfile::tempdir().unwrap();
        let (broken, whole) = (workspace(home.path(), "1"), workspace(home.path(), "2"));
        fs::create_dir(broken.marker()).unwrap();
        mark().write_fresh(&whole).unwrap();
        assert!(settle(&[broken.clone(), whole.clone()]).is_err());
        assert_eq!(Mark::read(&whole).unwrap(), Some(mark()));
        assert!(settle(&[broken]).is_err());
    }

    #[test]
    fn a_text_that_never_reached_the_disk_is_no_mark() {
        let home = tempfile::tempdir().unwrap();
        let paths = workspace(home.path(), "1");
        let cut = format!("{VERSION} {} self", mark().base);
        for torn in ["", "\0\0\0\0", &cut] {
            fs::write(paths.marker(), torn).unwrap();
            assert_eq!(Mark::read(&paths).unwrap(), None, "{torn:?}");
        }
        fs::write(paths.marker(), "another words\n").unwrap();
        assert_eq!(Mark::read(&paths).unwrap().unwrap().base, "words");
    }

    #[test]
    fn what_is_said_is_read_again() {
        for settings in [None, Some("c".repeat(40).parse().unwrap())] {
            let said =
                Mark { settings, owner: "10001:10001".to_owned(), boot: Some("x".to_owned()), ..mark() };
            assert_eq!(Mark::parse(&said.text()), Some(said));
        }
    }
}
