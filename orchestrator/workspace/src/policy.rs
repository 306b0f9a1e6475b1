//! What a new commit may hold. Every commit is checked, not only the last: all of them are pushed.
//!
//! An entry counts as new if no parent has the same object at the same path, so what the user's own repository
//! holds already (submodules, links, odd names) is never a refusal.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fmt;

use git2::{Commit, ObjectType, Odb, Oid, Repository, Tree, TreeWalkMode, TreeWalkResult};
use secrecy::SecretString;

use crate::ident::CommitId;
use crate::names::{self, BadLink, BadName};
use crate::secrets::{Scanner, SecretKind};

/// Whether agents may change what makes a forge run something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CiChanges {
    /// They may not: such a file runs with the project's secrets before anyone has reviewed it. The default.
    Refused,
    /// They may, as the project's settings say.
    Allowed,
}

/// Limits on an import.
#[derive(Debug, Clone, Copy)]
pub struct ImportPolicy<'a> {
    /// Largest new file, in bytes.
    pub max_file_bytes: u64,
    /// Most new commits.
    pub max_commits: usize,
    /// Most new or changed entries, summed over all new commits.
    pub max_changes: usize,
    /// Most bytes in the quarantine, and in the pack made from it.
    pub max_total_bytes: u64,
    /// CI configuration.
    pub ci_changes: CiChanges,
    /// Values that may never be published, such as tokens the run was given. Those below 8 bytes are not looked for.
    pub forbidden: &'a [SecretString],
    /// Whether the forms of well-known tokens are refused too. A project may have files that only look like them.
    pub secret_patterns: bool,
}

impl Default for ImportPolicy<'_> {
    fn default() -> Self {
        Self {
            // GitHub warns from 50 MiB and refuses from 100; a source file never comes near.
            max_file_bytes: 50 << 20,
            // One task makes a handful; thousands mean a loop, and cost a reviewer more than they give.
            max_commits: 1000,
            // Vendoring a large library stays below; a tree that nests itself (a "git bomb") does not.
            max_changes: 100_000,
            // Twenty times the largest file: room for a repack inside, far below a full disk.
            max_total_bytes: 1 << 30,
            ci_changes: CiChanges::Refused,
            forbidden: &[],
            secret_patterns: true,
        }
    }
}

/// A commit that may not come in, and why. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("commit {commit} is refused: {}{reason}", shown_path(path))]
pub struct Refusal {
    /// The commit.
    pub commit: CommitId,
    /// The path in it, with odd bytes escaped; empty if the commit as a whole is refused. If a secret stands in the
    /// name itself, the folder it is in.
    pub path: String,
    /// Why.
    pub reason: RefusalReason,
}

fn shown_path(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{path}` ") }
}

/// Why a commit may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// A submodule pointer: it makes the next clone fetch what the agent names.
    Gitlink,
    /// A name that git, or a file system, takes for something else.
    Name(BadName),
    /// A symbolic link that leaves the repository.
    Link(BadLink),
    /// A mode that git does not write.
    Mode(i32),
    /// A file above the cap.
    FileTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The cap.
        cap: u64,
    },
    /// A commit or folder object that is larger than any real one.
    ObjectTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The cap.
        cap: u64,
    },
    /// CI configuration was changed.
    Ci,
    /// More new commits than the cap.
    TooManyCommits {
        /// The cap.
        cap: usize,
    },
    /// More changes than the cap.
    TooManyChanges {
        /// The cap.
        cap: usize,
    },
    /// More bytes in new files, unpacked, than are looked at.
    TooMuchContent {
        /// The cap.
        cap: u64,
    },
    /// Folders nested deeper than any real ones.
    TooDeep,
    /// A secret in a file, or in where a link leads.
    Secret(SecretKind),
    /// A secret in the name of a file or folder.
    SecretInName(SecretKind),
    /// A secret in the commit's message, or in what it says of its author.
    SecretInMessage(SecretKind),
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gitlink => f.write_str("is a submodule pointer"),
            Self::Name(BadName::NotAName) => f.write_str("is not a file name"),
            Self::Name(BadName::GitFolder) => f.write_str("can be taken for the `.git` folder"),
            Self::Name(BadName::ControlFolder) => f.write_str("belongs to cloud-code's control files"),
            Self::Link(BadLink::Absolute) => f.write_str("is a link to an absolute path"),
            Self::Link(BadLink::Escapes) => f.write_str("is a link that leaves the repository"),
            Self::Link(BadLink::Winding) => f.write_str("is a link that goes up after going down"),
            Self::Link(BadLink::IntoGitFolder) => f.write_str("is a link into the `.git` folder"),
            Self::Link(BadLink::Malformed) => f.write_str("is a link that no system can follow"),
            Self::Mode(mode) => write!(f, "has the mode {mode:o}"),
            Self::FileTooLarge { size, cap } => write!(f, "has {size} bytes; the project allows {cap}"),
            Self::ObjectTooLarge { size, cap } => {
                write!(f, "is an object of {size} bytes; at most {cap} are read")
            }
            Self::Ci => f.write_str("is CI configuration, which agents may not change in this project"),
            Self::TooManyCommits { cap } => write!(f, "more than {cap} new commits"),
            Self::TooManyChanges { cap } => write!(f, "more than {cap} changes in new commits"),
            Self::TooMuchContent { cap } => {
                write!(f, "brings the new files above {cap} bytes, the most that are looked at")
            }
            Self::Secret(kind) => write!(f, "holds {kind}"),
            Self::SecretInName(kind) => write!(f, "holds {kind} in the name of a file"),
            Self::SecretInMessage(kind) => write!(f, "its message or author holds {kind}"),
            Self::TooDeep => write!(f, "lies more than {MAX_DEPTH} folders deep"),
        }
    }
}

/// Why the check itself could not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Git(#[from] git2::Error),
}

/// Deepest folder looked into. PATH_MAX allows 2,048 one-letter folders; real trees stay below 40.
const MAX_DEPTH: usize = 200;
/// Largest commit or folder object read, in bytes. A folder of 200,000 files has about 10 MiB.
const MAX_META_BYTES: u64 = 16 << 20;

/// Objects that came out of the quarantine, against the mirror's, which passed these checks before.
pub(crate) struct Check<'a> {
    /// Holds the new objects, with the mirror's as alternates.
    pub(crate) repository: &'a Repository,
    pub(crate) odb: &'a Odb<'a>,
    /// The mirror's objects alone.
    pub(crate) known: &'a Odb<'a>,
    pub(crate) policy: &'a ImportPolicy<'a>,
    /// Commits whose files are not new, whatever they hold: where the work began, and the branch it is based on.
    published: Vec<Oid>,
    /// All files of those, read when a secret is found in one.
    published_files: OnceCell<HashSet<Oid>>,
    scanner: Scanner,
    /// Files without a secret that is new. One object may stand at any number of places.
    clean: HashSet<Oid>,
    scanned: u64,
    changes: usize,
}

impl<'a> Check<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        odb: &'a Odb<'a>,
        known: &'a Odb<'a>,
        policy: &'a ImportPolicy<'a>,
        published: Vec<Oid>,
    ) -> Self {
        let scanner = Scanner::new(policy.forbidden, policy.secret_patterns);
        let published_files = OnceCell::new();
        Self {
            repository,
            odb,
            known,
            policy,
            published,
            published_files,
            scanner,
            clean: HashSet::new(),
            scanned: 0,
            changes: 0,
        }
    }

    /// Checks every commit that `head` brings and the mirror lacks. Returns how many there are.
    pub(crate) fn new_commits(&mut self, head: Oid) -> Result<usize, CheckError> {
        let mut seen = HashSet::new();
        let mut stack = vec![head];
        while let Some(oid) = stack.pop() {
            if self.known.exists(oid) || !seen.insert(oid) {
                continue;
            }
            if seen.len() > self.policy.max_commits {
                let reason = RefusalReason::TooManyCommits { cap: self.policy.max_commits };
                return Err(refusal(head, &[], reason).into());
            }
            self.guard_size(oid, oid, &[], MAX_META_BYTES)?;
            let raw = self.odb.read(oid)?;
            if let Some((kind, _)) = self.scanner.find(raw.data()).next() {
                return Err(refusal(oid, &[], RefusalReason::SecretInMessage(kind)).into());
            }
            let commit = self.repository.find_commit(oid)?;
            stack.extend(commit.parent_ids());
            self.one_commit(&commit)?;
        }
        Ok(seen.len())
    }

    fn one_commit(&mut self, commit: &Commit<'_>) -> Result<(), CheckError> {
        let mut parents = Vec::new();
        for parent in commit.parents() {
            parents.push(self.tree(commit.id(), parent.tree_id(), &[])?);
        }
        let tree = self.tree(commit.id(), commit.tree_id(), &[])?;
        self.one_tree(commit.id(), &tree, &parents, &mut Vec::new(), 0)
    }

    fn tree(&self, commit: Oid, oid: Oid, path: &[u8]) -> Result<Tree<'a>, CheckError> {
        self.guard_size(commit, oid, path, MAX_META_BYTES)?;
        Ok(self.repository.find_tree(oid)?)
    }

    fn one_tree(
        &mut self,
        commit: Oid,
        tree: &Tree<'_>,
        parents: &[Tree<'_>],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), CheckError> {
        if depth > MAX_DEPTH {
            return Err(refusal(commit, path, RefusalReason::TooDeep).into());
        }
        for entry in tree {
            let name = entry.name_bytes();
            let same = |parent: &Tree<'_>| {
                parent
                    .get_name_bytes(name)
                    .is_some_and(|old| old.id() == entry.id() && old.filemode_raw() == entry.filemode_raw())
            };
            if parents.iter().any(same) {
                continue;
            }
            self.changes += 1;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            self.one_entry(commit, &entry, parents, path, depth)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn one_entry(
        &mut self,
        commit: Oid,
        entry: &git2::TreeEntry<'_>,
        parents: &[Tree<'_>],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), CheckError> {
        // First of all, for every refusal shows the path.
        if let Some((kind, place)) = self.scanner.find(path).next() {
            let folder = path.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
            let shown = if place.start >= folder { &path[..folder] } else { &[] };
            return Err(refusal(commit, shown, RefusalReason::SecretInName(kind)).into());
        }
        let refuse = |reason| Err(refusal(commit, path, reason).into());
        if self.changes > self.policy.max_changes {
            return refuse(RefusalReason::TooManyChanges { cap: self.policy.max_changes });
        }
        if let Err(bad) = names::check_name(entry.name_bytes(), depth == 0) {
            return refuse(RefusalReason::Name(bad));
        }
        let mode = entry.filemode_raw();
        if mode == FOLDER {
            let tree = self.tree(commit, entry.id(), path)?;
            let mut below = Vec::new();
            for parent in parents {
                let Some(old) = parent.get_name_bytes(entry.name_bytes()) else { continue };
                if old.kind() == Some(ObjectType::Tree) {
                    below.push(self.tree(commit, old.id(), path)?);
                }
            }
            return self.one_tree(commit, &tree, &below, path, depth + 1);
        }
        if self.policy.ci_changes == CiChanges::Refused && names::is_ci(path) {
            return refuse(RefusalReason::Ci);
        }
        match mode {
            GITLINK => refuse(RefusalReason::Gitlink),
            PLAIN | EXECUTABLE => {
                self.guard_file(commit, entry.id(), path)?;
                self.no_secret(commit, entry, parents, path)
            }
            LINK => {
                let (size, _) = self.odb.read_header(entry.id())?;
                if size > names::MAX_LINK {
                    return refuse(RefusalReason::Link(BadLink::Malformed));
                }
                match names::check_link(self.odb.read(entry.id())?.data(), depth) {
                    Ok(()) => self.no_secret(commit, entry, parents, path),
                    Err(bad) => refuse(RefusalReason::Link(bad)),
                }
            }
            other => refuse(RefusalReason::Mode(other)),
        }
    }

    /// Refuses a file with a secret in it that is new: in no parent's file of that name, and in no such file of a
    /// published commit, maybe under another name.
    fn no_secret(
        &mut self,
        commit: Oid,
        entry: &git2::TreeEntry<'_>,
        parents: &[Tree<'_>],
        path: &[u8],
    ) -> Result<(), CheckError> {
        if self.clean.contains(&entry.id()) {
            return Ok(());
        }
        // A small pack can unfold to any size: a thousand commits, each with a large file of zeros.
        self.scanned = self.scanned.saturating_add(self.odb.read_header(entry.id())?.0 as u64);
        if self.scanned > MAX_SCANNED {
            return Err(refusal(commit, path, RefusalReason::TooMuchContent { cap: MAX_SCANNED }).into());
        }
        let blob = self.odb.read(entry.id())?;
        let mut found = self.scanner.find(blob.data()).peekable();
        if found.peek().is_none() || self.is_published(entry.id())? {
            self.clean.insert(entry.id());
            return Ok(());
        }
        let mut before = Vec::new();
        for old in parents.iter().filter_map(|parent| parent.get_name_bytes(entry.name_bytes())) {
            let is_small = self.odb.read_header(old.id())?.0 as u64 <= self.policy.max_file_bytes;
            if old.kind() == Some(ObjectType::Blob) && is_small {
                before.push(self.odb.read(old.id())?);
            }
        }
        let old_places: HashSet<&[u8]> = before
            .iter()
            .flat_map(|old| self.scanner.find(old.data()).map(|(_, place)| &old.data()[place]))
            .collect();
        match found.find(|(_, place)| !old_places.contains(&blob.data()[place.clone()])) {
            Some((kind, _)) => Err(refusal(commit, path, RefusalReason::Secret(kind)).into()),
            None => Ok(()),
        }
    }

    fn is_published(&self, blob: Oid) -> Result<bool, git2::Error> {
        if let Some(files) = self.published_files.get() {
            return Ok(files.contains(&blob));
        }
        let mut files = HashSet::new();
        for commit in &self.published {
            let tree = self.repository.find_commit(*commit)?.tree()?;
            tree.walk(TreeWalkMode::PreOrder, |_, entry| {
                files.insert(entry.id());
                TreeWalkResult::Ok
            })?;
        }
        Ok(self.published_files.get_or_init(|| files).contains(&blob))
    }

    fn guard_file(&self, commit: Oid, oid: Oid, path: &[u8]) -> Result<(), CheckError> {
        let (size, _) = self.odb.read_header(oid)?;
        let (size, cap) = (size as u64, self.policy.max_file_bytes);
        if size > cap {
            return Err(refusal(commit, path, RefusalReason::FileTooLarge { size, cap }).into());
        }
        Ok(())
    }

    /// Looks at an object's declared size before it is unpacked into memory.
    fn guard_size(&self, commit: Oid, oid: Oid, path: &[u8], cap: u64) -> Result<(), CheckError> {
        let (size, _) = self.odb.read_header(oid)?;
        if size as u64 > cap {
            return Err(
                refusal(commit, path, RefusalReason::ObjectTooLarge { size: size as u64, cap }).into()
            );
        }
        Ok(())
    }

    /// Checks that `head` leaves CI configuration as one of `allowed` has it, place by place. The check of single
    /// commits does not see a deletion, nor a merge of some old branch that changes these files.
    pub(crate) fn ci_untouched(&self, head: Oid, allowed: &[Oid]) -> Result<(), CheckError> {
        if self.policy.ci_changes == CiChanges::Allowed {
            return Ok(());
        }
        for place in names::CI_PLACES {
            let at = |commit: Oid| -> Result<Option<(Oid, i32)>, CheckError> {
                let tree = self.repository.find_commit(commit)?.tree()?;
                let entry = tree.get_path(place.trim_end_matches('/').as_ref());
                Ok(entry.ok().map(|entry| (entry.id(), entry.filemode_raw())))
            };
            let found = at(head)?;
            let mut same = false;
            for commit in allowed {
                same = same || at(*commit)? == found;
            }
            if !same {
                return Err(refusal(head, place.as_bytes(), RefusalReason::Ci).into());
            }
        }
        Ok(())
    }
}

/// Most bytes looked at for secrets in one import: four times what its pack may hold, some seconds of work.
const MAX_SCANNED: u64 = 4 << 30;

/// Modes that git writes into trees.
const FOLDER: i32 = 0o040_000;
const PLAIN: i32 = 0o100_644;
const EXECUTABLE: i32 = 0o100_755;
const LINK: i32 = 0o120_000;
const GITLINK: i32 = 0o160_000;

fn refusal(commit: Oid, path: &[u8], reason: RefusalReason) -> Refusal {
    Refusal {
        commit: CommitId::from_oid(commit),
        path: String::from_utf8_lossy(path).escape_debug().to_string(),
        reason,
    }
}
