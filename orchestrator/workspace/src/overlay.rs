//! Settings of CLIs that a repository carries, taken from a trusted commit when the work starts from a stranger's.
//!
//! A pull request's head may bring hooks, servers and instructions for the CLI that will read it. In the worktree such
//! files stand as in the trusted commit, and git there is told to look away. The commit's own entries stay in the index
//! with `skip-worktree`. Files that only the trusted commit has are excluded by a list that is mounted over the
//! mirror's `info/`. On the host all worktrees share that folder, so there they are entered as `intent-to-add` with
//! `skip-worktree`, which has a price: git refuses to merge, rebase or stash beside such an entry. A sparse checkout
//! was rejected: it is a setting in the configuration that all worktrees share.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{ObjectType, Oid, Repository, Tree};

use crate::ident::CommitId;
use crate::names;
use crate::program::GitError;

/// Files, or folders with all they hold, that some CLI takes settings or instructions from, at any depth. Lower case.
const NAMES: [&str; 23] = [
    ".claude",
    ".claude.json",
    ".codex",
    ".cursor",
    ".cursorrules",
    ".gemini",
    ".gitmodules",
    ".goosehints",
    ".husky",
    ".mcp.json",
    ".opencode",
    ".qwen",
    ".ripgreprc",
    ".vscode",
    "agents.md",
    "agents.override.md",
    "claude.local.md",
    "claude.md",
    "copilot-instructions.md",
    "gemini.md",
    "opencode.json",
    "opencode.jsonc",
    "qwen.md",
];
/// Starts of such names.
const PREFIXES: [&str; 3] = [".aider", ".clinerules", ".cloud-code"];
/// Most entries of a commit. A tree that nests itself would fill memory and disk; the largest real ones have half a
/// million.
const MAX_ENTRIES: usize = 1_000_000;

const FOLDER: i32 = 0o040_000;
const PLAIN: i32 = 0o100_644;
const LINK: i32 = 0o120_000;

/// A file as a commit has it: mode and object.
pub(crate) type Entry = (i32, Oid);

/// A path that stands otherwise than in the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlaid {
    pub(crate) path: Vec<u8>,
    /// As the commit has it, which is what its index says.
    pub(crate) committed: Option<Entry>,
    /// As it stands in the worktree.
    pub(crate) standing: Option<Entry>,
}

/// Why the settings could not be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverlayError {
    #[error("the commit {commit} holds more than {MAX_ENTRIES} files and folders")]
    TooManyEntries { commit: CommitId },
    #[error(transparent)]
    Git(#[from] git2::Error),
}

fn is_settings_name(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|known| known.as_bytes() == name)
        || PREFIXES.iter().any(|start| name.starts_with(start.as_bytes()))
}

/// Whether an entry is settings by its own name. A link in place of `.github` would lead to a file that no name tells.
fn is_settings(name: &[u8], mode: i32) -> bool {
    is_settings_name(name) || (mode == LINK && name.eq_ignore_ascii_case(b".github"))
}

/// What must differ in the worktree of `commit` for settings to stand as in `trusted`. In the order of paths.
pub(crate) fn overlay(
    repository: &Repository,
    commit: &CommitId,
    trusted: &CommitId,
) -> Result<Vec<Overlaid>, OverlayError> {
    let trees = Trees {
        committed: repository.find_commit(commit.oid()?)?.tree()?,
        trusted: repository.find_commit(trusted.oid()?)?.tree()?,
    };
    if trees.committed.id() == trees.trusted.id() {
        return Ok(Vec::new());
    }
    let committed = settings_of(repository, &trees.committed, commit)?;
    let mut standing = BTreeMap::new();
    for (path, entry) in settings_of(repository, &trees.trusted, trusted)? {
        trees.resolve(repository, path, entry, trusted, &mut standing)?;
    }
    let fits = |path: &Vec<u8>| committed.contains_key(path) || trees.has_room(path, &committed);
    let mut paths: Vec<&Vec<u8>> = committed.keys().chain(standing.keys()).collect();
    paths.sort();
    paths.dedup();
    let overlaid = paths.into_iter().map(|path| Overlaid {
        path: path.clone(),
        committed: committed.get(path).copied(),
        standing: standing.get(path).copied().filter(|_| fits(path)),
    });
    Ok(overlaid.filter(|one| one.committed != one.standing).collect())
}

struct Trees<'a> {
    committed: Tree<'a>,
    trusted: Tree<'a>,
}

impl Trees<'_> {
    /// Whether a file that the commit lacks can stand there: nothing of the commit is above it, or below it.
    fn has_room(&self, path: &[u8], committed: &BTreeMap<Vec<u8>, Entry>) -> bool {
        let below = [path, b"/"].concat();
        let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let is_free = |end: usize| match self.committed.get_path(bytes_path(&path[..end])) {
            Ok(entry) => entry.kind() == Some(ObjectType::Tree),
            Err(_) => true,
        };
        ends.all(is_free) && !committed.keys().any(|other| other.starts_with(&below))
    }

    /// Puts what a trusted entry stands for. A trusted link may lead to a file that is no settings by its name, and so
    /// is the commit's: then what the trusted commit has there stands in the link's place.
    fn resolve(
        &self,
        repository: &Repository,
        path: Vec<u8>,
        entry: Entry,
        trusted: &CommitId,
        into: &mut BTreeMap<Vec<u8>, Entry>,
    ) -> Result<(), OverlayError> {
        if entry.0 != LINK {
            into.insert(path, entry);
            return Ok(());
        }
        let target = repository.find_blob(entry.1)?;
        let Some(target) = joined(&path, target.content()) else { return Ok(()) };
        if target.split(|byte| *byte == b'/').any(is_settings_name) {
            into.insert(path, entry);
            return Ok(());
        }
        let at = |tree: &Tree<'_>| {
            tree.get_path(bytes_path(&target)).ok().map(|found| (found.filemode_raw(), found.id()))
        };
        match at(&self.trusted) {
            found if found.is_some() && found == at(&self.committed) => {
                into.insert(path, entry);
            }
            Some((FOLDER, tree)) => {
                let tree = repository.find_tree(tree)?;
                for (name, entry) in walk(repository, &tree, trusted, true)? {
                    if entry.0 != LINK {
                        into.insert([&path[..], b"/", &name].concat(), entry);
                    }
                }
            }
            Some((LINK, _)) | None => {}
            Some((_, blob)) => {
                into.insert(path, (PLAIN, blob));
            }
        }
        Ok(())
    }
}

/// Where a link in `path` leads, from the top; none if it leaves the repository.
fn joined(path: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if names::check_link(target, path.iter().filter(|byte| **byte == b'/').count()).is_err() {
        return None;
    }
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    (!parts.is_empty()).then(|| parts.join(&b'/'))
}

fn bytes_path(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

fn settings_of(
    repository: &Repository,
    tree: &Tree<'_>,
    commit: &CommitId,
) -> Result<BTreeMap<Vec<u8>, Entry>, OverlayError> {
    walk(repository, tree, commit, false)
}

/// The files under a tree that are settings, or all of them.
fn walk(
    repository: &Repository,
    tree: &Tree<'_>,
    commit: &CommitId,
    all: bool,
) -> Result<BTreeMap<Vec<u8>, Entry>, OverlayError> {
    let mut found = BTreeMap::new();
    let mut entries = 0;
    let mut stack = vec![(Vec::new(), tree.id(), all)];
    while let Some((path, tree, inside)) = stack.pop() {
        for entry in &repository.find_tree(tree)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(OverlayError::TooManyEntries { commit: commit.clone() });
            }
            let (name, mode) = (entry.name_bytes(), entry.filemode_raw());
            let path = if path.is_empty() { name.to_vec() } else { [&path[..], b"/", name].concat() };
            let inside = inside || is_settings(name, mode);
            if mode == FOLDER {
                stack.push((path, entry.id(), inside));
            } else if inside {
                found.insert(path, (mode, entry.id()));
            }
        }
    }
    Ok(found)
}

/// Runs git with what it reads on stdin. The caller knows the worktree, its index and its owner.
pub(crate) trait Run {
    /// Runs one command of git.
    fn git(&self, step: &'static str, args: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError>;
}

/// How git is made to look away from files that only the trusted commit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookAway {
    /// By the list of [`exclude_list`].
    Excluded,
    /// By entries in the index.
    Entered,
}

/// The list that excludes files that only the trusted commit has, one by one.
pub(crate) fn exclude_list(overlaid: &[Overlaid]) -> Vec<u8> {
    let mut list = Vec::new();
    for one in overlaid.iter().filter(|one| one.committed.is_none()) {
        list.push(b'/');
        for byte in &one.path {
            match byte {
                b'\\' | b'*' | b'?' | b'[' | b' ' => list.extend_from_slice(&[b'\\', *byte]),
                // A line cannot hold these; the mark stands for any one character.
                b'\n' | b'\r' => list.push(b'?'),
                other => list.push(*other),
            }
        }
        list.push(b'\n');
    }
    list
}

/// Checks the commit out with the overlay in place, and makes git look away from it.
pub(crate) fn check_out(
    run: &impl Run,
    commit: &CommitId,
    overlaid: &[Overlaid],
    way: LookAway,
) -> Result<(), GitError> {
    run.git("read-tree", &[commit.as_str()], Vec::new())?;
    run.git("update-index", &["-z", "--index-info"], index_info(overlaid, |one| one.standing))?;
    let tree = run.git("write-tree", &[], Vec::new())?;
    let tree = String::from_utf8_lossy(&tree).trim().to_owned();
    run.git("read-tree", &["--reset", "-u", "--no-recurse-submodules", &tree], Vec::new())?;
    run.git("update-index", &["-z", "--index-info"], index_info(overlaid, |one| one.committed))?;
    let paths = |wanted: &dyn Fn(&&Overlaid) -> bool| -> Vec<u8> {
        overlaid.iter().filter(wanted).flat_map(|one| [&one.path[..], b"\0"].concat()).collect()
    };
    let mut skipped = paths(&|one| one.committed.is_some());
    if way == LookAway::Entered {
        let only_standing = paths(&|one| one.committed.is_none());
        let args = ["--intent-to-add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"];
        if !only_standing.is_empty() {
            skipped.extend_from_slice(&only_standing);
            run.git("add", &args, only_standing)?;
        }
    }
    run.git("update-index", &["-z", "--skip-worktree", "--stdin"], skipped)?;
    Ok(())
}

/// Lines for `update-index --index-info`: removals first, so that a file may follow a folder of its name.
fn index_info(overlaid: &[Overlaid], entry: impl Fn(&Overlaid) -> Option<Entry>) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line = |mode: i32, oid: Oid, path: &[u8]| {
        lines.extend_from_slice(format!("{mode:o} {oid}\t").as_bytes());
        lines.extend_from_slice(path);
        lines.push(0);
    };
    for one in overlaid {
        line(0, Oid::ZERO_SHA1, &one.path);
    }
    for one in overlaid {
        if let Some((mode, oid)) = entry(one) {
            line(mode, oid, &one.path);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_by_name_only() {
        let cases: [(&str, &str, Option<&str>); 6] = [
            ("CLAUDE.md", "docs/a.md", Some("docs/a.md")),
            ("x/CLAUDE.md", "../docs/./a.md", Some("docs/a.md")),
            ("CLAUDE.md", "../a.md", None),
            ("CLAUDE.md", "/etc/passwd", None),
            ("x/CLAUDE.md", "..", None),
            ("x/y/.claude", "../z", Some("x/z")),
        ];
        for (path, target, expected) in cases {
            let found = joined(path.as_bytes(), target.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path} -> {target}");
        }
    }

    #[test]
    fn the_list_names_each_file_and_no_other() {
        let one = |path: &str, committed: bool| Overlaid {
            path: path.as_bytes().to_vec(),
            committed: committed.then_some((PLAIN, Oid::ZERO_SHA1)),
            standing: Some((PLAIN, Oid::ZERO_SHA1)),
        };
        let overlaid = [one("CLAUDE.md", true), one("a[1] *\n/AGENTS.md", false), one(".claude/x", false)];
        let list = String::from_utf8(exclude_list(&overlaid)).expect("text");
        assert_eq!(list, "/a\\[1]\\ \\*?/AGENTS.md\n/.claude/x\n");
    }

    #[test]
    fn names_are_known_in_any_case() {
        for name in
            ["claude.md", "CLAUDE.MD", ".Claude", ".aider.conf.yml", ".clinerules-code", ".cloud-code.yaml"]
        {
            assert!(is_settings_name(name.as_bytes()), "{name}");
        }
        for name in ["claude.txt", "agents", ".github", "src", "xclaude.md"] {
            assert!(!is_settings_name(name.as_bytes()), "{name}");
        }
        assert!(is_settings(b".GitHub", LINK) && !is_settings(b".github", FOLDER));
    }
}
