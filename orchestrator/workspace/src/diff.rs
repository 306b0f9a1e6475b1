//! What changed between two commits of the mirror, by the git program under neutral configuration: no external
//! diff, no text conversion, and no attribute, since a commit could carry one that hides its own changes.

use std::path::PathBuf;

use cloud_code_task_schema::ChangeKind;

use crate::ident::CommitId;
use crate::mirror::Mirror;
use crate::program::{Git, GitError};

/// The tree without entries. Attributes are read from it, that is: from nowhere.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path; the new one if it was renamed. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// The path before, if it was renamed.
    pub renamed_from: Option<String>,
    /// What happened to it.
    pub change: ChangeKind,
    /// Lines added and removed; none for a binary file.
    pub lines: Option<Lines>,
}

/// Lines added and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// Lines that are new.
    pub added: u64,
    /// Lines that are gone.
    pub removed: u64,
}

/// Why two commits could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// git failed.
    #[error("cannot compare {range} in {}", mirror.display())]
    Git {
        /// The two commits, as `older..newer`.
        range: String,
        /// The mirror.
        mirror: PathBuf,
        /// git's reason.
        #[source]
        source: GitError,
    },
    /// git's answer does not have the form its manual gives.
    #[error("git's list of changes between {base} and {head} cannot be read")]
    Form {
        /// The older commit.
        base: CommitId,
        /// The newer commit.
        head: CommitId,
    },
}

/// The change from `base` to `head` as a patch, as bytes: files need not be UTF-8. Untrusted text: escape it
/// before it reaches a terminal or a page.
pub fn diff(mirror: &Mirror, base: &CommitId, head: &CommitId) -> Result<Vec<u8>, DiffError> {
    run(mirror, base, head, &["--patch", "--find-renames"])
}

/// The files that differ between `base` and `head`, in git's order.
pub fn changed_files(
    mirror: &Mirror,
    base: &CommitId,
    head: &CommitId,
) -> Result<Vec<ChangedFile>, DiffError> {
    let out = run(mirror, base, head, &["--raw", "--numstat", "-z", "--find-renames"])?;
    parse(&out).ok_or_else(|| DiffError::Form { base: base.clone(), head: head.clone() })
}

fn run(mirror: &Mirror, base: &CommitId, head: &CommitId, form: &[&str]) -> Result<Vec<u8>, DiffError> {
    Git::neutral("diff-tree", mirror.path())
        .env("GIT_ATTR_SOURCE", EMPTY_TREE)
        .args([
            "-r",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--full-index",
            "--ignore-submodules=none",
        ])
        .args(form)
        .args([base.as_str(), head.as_str(), "--"])
        .run()
        .map_err(|source| DiffError::Git {
            range: format!("{base}..{head}"),
            mirror: mirror.path().to_owned(),
            source,
        })
}

/// Reads `--raw --numstat -z`: all raw records first (`:modes ids status NUL path NUL [path NUL]`), then one
/// numstat record for each of them in the same order.
fn parse(out: &[u8]) -> Option<Vec<ChangedFile>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = out.split(|b| *b == 0).filter(|field| !field.is_empty()).peekable();
    let mut files = Vec::new();
    while let Some(record) = fields.next_if(|field| field.starts_with(b":")) {
        let status = *record.rsplit(|b| *b == b' ').next()?.first()?;
        let first = text(fields.next()?);
        let (change, path, renamed_from) = match status {
            b'A' => (ChangeKind::Added, first, None),
            b'D' => (ChangeKind::Deleted, first, None),
            b'R' => (ChangeKind::Renamed, text(fields.next()?), Some(first)),
            _ => (ChangeKind::Modified, first, None),
        };
        files.push(ChangedFile { path, renamed_from, change, lines: None });
    }
    for file in &mut files {
        let record = fields.next()?;
        let mut columns = record.splitn(3, |b| *b == b'\t');
        let (added, removed) = (columns.next()?, columns.next()?);
        if columns.next()?.is_empty() {
            // A rename: both paths follow in fields of their own.
            fields.next()?;
            fields.next()?;
        }
        let number = |bytes: &[u8]| str::from_utf8(bytes).ok()?.parse().ok();
        file.lines = number(added).zip(number(removed)).map(|(added, removed)| Lines { added, removed });
    }
    Some(files)
}
