//! Reads the plain files of one folder out of a commit of the mirror: settings that a project keeps in its repository.
//! Never from a worktree, where an agent writes, and never through a link.

use git2::{ErrorCode, ObjectType};

use crate::ident::CommitId;
use crate::mirror::{Mirror, MirrorError};

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile {
    /// Its name, without the folder.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there.
    #[error("there is no folder `{folder}` in the commit {}", short(commit))]
    Missing {
        /// The folder.
        folder: String,
        /// The commit.
        commit: CommitId,
    },
    /// It leads out of the repository.
    #[error(
        "`{folder}` is not a path in the repository: use names and `/`, without `..` and without a `/` before"
    )]
    BadPath {
        /// As it was given.
        folder: String,
    },
    /// Something in it is not a plain file.
    #[error("`{folder}/{name}` is not a plain file")]
    NotAFile {
        /// The folder.
        folder: String,
        /// What is in it.
        name: String,
    },
    /// A file is too large.
    #[error("`{folder}/{name}` is larger than {} KiB", max_bytes / 1024)]
    TooLarge {
        /// The folder.
        folder: String,
        /// The file.
        name: String,
        /// The limit.
        max_bytes: u64,
    },
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// An object could not be read.
    #[error("cannot read `{folder}` in the commit {}", short(commit))]
    Objects {
        /// The folder.
        folder: String,
        /// The commit.
        commit: CommitId,
        /// git2's reason.
        #[source]
        source: git2::Error,
    },
}

fn short(commit: &CommitId) -> &str {
    commit.as_str().get(..12).unwrap_or(commit.as_str())
}

/// The files of a folder, by name. Names that begin with a dot are left out; a link or a folder in it is refused.
pub fn folder_files(
    mirror: &Mirror,
    commit: &CommitId,
    folder: &str,
    max_bytes: u64,
) -> Result<Vec<FolderFile>, FolderError> {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let clean = folder.trim_end_matches('/');
    if !clean.split('/').all(is_plain) {
        return Err(FolderError::BadPath { folder: folder.to_owned() });
    }
    let objects = |source| FolderError::Objects { folder: clean.to_owned(), commit: commit.clone(), source };
    let missing = || FolderError::Missing { folder: clean.to_owned(), commit: commit.clone() };
    let repository = mirror.open()?;
    let root =
        repository.find_commit(commit.oid().map_err(objects)?).and_then(|c| c.tree()).map_err(objects)?;
    let entry = match root.get_path(std::path::Path::new(clean)) {
        Ok(entry) => entry,
        Err(error) if error.code() == ErrorCode::NotFound => return Err(missing()),
        Err(error) => return Err(objects(error)),
    };
    if entry.kind() != Some(ObjectType::Tree) {
        return Err(missing());
    }
    let tree = repository.find_tree(entry.id()).map_err(objects)?;
    let odb = repository.odb().map_err(objects)?;
    let mut files = Vec::new();
    for entry in &tree {
        let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
        if name.starts_with('.') {
            continue;
        }
        if !matches!(entry.filemode(), PLAIN | EXECUTABLE) {
            return Err(FolderError::NotAFile { folder: clean.to_owned(), name });
        }
        let (size, _) = odb.read_header(entry.id()).map_err(objects)?;
        if size as u64 > max_bytes {
            return Err(FolderError::TooLarge { folder: clean.to_owned(), name, max_bytes });
        }
        let content = repository.find_blob(entry.id()).map_err(objects)?.content().to_vec();
        files.push(FolderFile { name, content });
    }
    Ok(files)
}

/// Git's modes of plain files.
const PLAIN: i32 = 0o100_644;
const EXECUTABLE: i32 = 0o100_755;
