//! The files a build may read, as one archive in memory: sorted, owned by root, without times, so that the same files
//! are the same context and the builder's cache holds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::RuntimeError;

/// Bytes: contexts are a Dockerfile and a few scripts. A larger one is a mistake (a wrong folder), and it would be
/// held in memory whole.
const MAX_CONTEXT_BYTES: u64 = 64 * 1024 * 1024;

/// One file of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFile {
    /// Its path in the context, relative.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Its permission bits, such as `0o755`.
    pub mode: u32,
}

enum Entry {
    Folder,
    File { content: Vec<u8>, mode: u32 },
    Link(PathBuf),
}

/// Packs `folder` (if any) and then `files`, which replace files of the same path. Blocking.
pub(super) fn pack(folder: Option<&Path>, files: &[BuildFile]) -> Result<Vec<u8>, RuntimeError> {
    let mut entries = BTreeMap::new();
    let mut size = 0;
    if let Some(folder) = folder {
        collect(folder, Path::new(""), &mut entries, &mut size)?;
    }
    for file in files {
        size += file.content.len() as u64;
        entries.insert(
            PathBuf::from(&file.path),
            Entry::File { content: file.content.clone(), mode: file.mode },
        );
    }
    let at = folder.unwrap_or(Path::new("(memory)"));
    if size > MAX_CONTEXT_BYTES {
        return Err(too_large(at));
    }
    let mut archive = Builder::new(Vec::new());
    for (path, entry) in &entries {
        append(&mut archive, path, entry).map_err(|error| unusable(&at.join(path), &error))?;
    }
    archive.into_inner().map_err(|error| unusable(at, &error))
}

fn collect(
    root: &Path,
    below: &Path,
    entries: &mut BTreeMap<PathBuf, Entry>,
    size: &mut u64,
) -> Result<(), RuntimeError> {
    let here = root.join(below);
    for found in fs::read_dir(&here).map_err(|error| unusable(&here, &error))? {
        let found = found.map_err(|error| unusable(&here, &error))?;
        let (path, inside) = (found.path(), below.join(found.file_name()));
        let failed = |error: io::Error| unusable(&path, &error);
        let meta = fs::symlink_metadata(&path).map_err(failed)?;
        if meta.is_dir() {
            collect(root, &inside, entries, size)?;
            entries.insert(inside, Entry::Folder);
        } else if meta.is_symlink() {
            entries.insert(inside, Entry::Link(fs::read_link(&path).map_err(failed)?));
        } else if meta.is_file() {
            *size += meta.len();
            if *size > MAX_CONTEXT_BYTES {
                return Err(too_large(root));
            }
            let content = fs::read(&path).map_err(failed)?;
            entries.insert(inside, Entry::File { content, mode: meta.permissions().mode() });
        }
    }
    Ok(())
}

fn append(archive: &mut Builder<Vec<u8>>, path: &Path, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            archive.append_data(&mut header, path, io::empty())
        }
        Entry::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, target)
        }
        Entry::File { content, mode } => {
            header.set_entry_type(EntryType::Regular);
            // Only "may be run" is kept of the mode: a checkout's umask must not change the image.
            header.set_mode(if mode & 0o111 == 0 { 0o644 } else { 0o755 });
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice())
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError::BuildContext { path: path.to_path_buf(), reason: error.to_string() }
}

fn too_large(path: &Path) -> RuntimeError {
    let reason = format!("it is larger than {} MiB", MAX_CONTEXT_BYTES / 1024 / 1024);
    RuntimeError::BuildContext { path: path.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(bytes: &[u8]) -> Vec<(String, u32, u64)> {
        let mut archive = tar::Archive::new(bytes);
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mode().unwrap(), header.size().unwrap())
            })
            .collect()
    }

    #[test]
    fn the_same_files_are_the_same_context_and_given_files_win() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("Dockerfile"), "FROM a").unwrap();
        fs::write(folder.path().join("bin/run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.path().join("bin/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("run.sh", folder.path().join("bin/link")).unwrap();
        let given = [BuildFile { path: "Dockerfile".into(), content: b"FROM bb".to_vec(), mode: 0o644 }];
        let first = pack(Some(folder.path()), &given).unwrap();
        assert_eq!(
            unpack(&first),
            [
                ("Dockerfile".into(), 0o644, 7),
                ("bin".into(), 0o755, 0),
                ("bin/link".into(), 0o777, 0),
                ("bin/run.sh".into(), 0o755, 10),
            ]
        );
        assert_eq!(first, pack(Some(folder.path()), &given).unwrap());
    }

    #[test]
    fn a_path_that_leaves_the_context_and_a_missing_folder_are_refused() {
        let escaping = [BuildFile { path: "../x".into(), content: Vec::new(), mode: 0o644 }];
        assert!(matches!(pack(None, &escaping), Err(RuntimeError::BuildContext { .. })));
        assert!(matches!(
            pack(Some(Path::new("/nowhere/at/all")), &[]),
            Err(RuntimeError::BuildContext { .. })
        ));
    }
}
