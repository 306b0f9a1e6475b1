//! Git repositories to measure with. They go through the `git` program, as a user's would, under no one's settings.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::lchown;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use cloud_code_workspace::Owner;

use crate::proc;

/// The branch of every repository here.
pub(crate) const BRANCH: &str = "main";
/// Folders of the large repository; each holds as many files as it takes. Real trees have some dozen files a folder.
const FILES_A_FOLDER: u32 = 50;
/// Shortest file of the large repository, in bytes.
const SHORTEST_FILE: u32 = 200;
/// Files are up to this many bytes longer. The mean, 2 KiB, is that of source trees without their assets.
const FILE_SPREAD: u32 = 3_700;
/// Knuth's multiplier: spreads consecutive numbers over all sizes.
const SPREAD_MULTIPLIER: u32 = 2_654_435_761;

/// A `git` that obeys nobody's configuration.
pub(crate) fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "bench")
            .env(format!("GIT_{role}_EMAIL"), "bench@example.invalid");
    }
    // A caller inside a hook would lead every git here into its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        command.env_remove(name);
    }
    command
}

/// A repository with one commit and a few files.
pub(crate) fn small(path: &Path) -> Result<()> {
    fs::create_dir_all(path.join("src"))?;
    fs::write(path.join("README.md"), "# A sample\n")?;
    fs::write(path.join("src/main.txt"), "hello\n")?;
    proc::run(git(path).args(["init", "--quiet", "--template=", "--initial-branch", BRANCH]))
        .context("git is needed; install it with `apt-get install git`")?;
    proc::run(git(path).args(["add", "--all"]))?;
    proc::run(git(path).args(["commit", "--quiet", "--message", "Start"]))?;
    Ok(())
}

/// A bare repository with one commit of `files` files, through `git fast-import`: seconds instead of minutes.
pub(crate) fn large(path: &Path, files: u32) -> Result<()> {
    fs::create_dir_all(path)?;
    proc::run(git(path).args(["init", "--quiet", "--bare", "--template=", "--initial-branch", BRANCH]))
        .context("git is needed; install it with `apt-get install git`")?;
    let script = path.join("import");
    write_import(&script, files).with_context(|| format!("cannot write {}", script.display()))?;
    let output = git(path).args(["fast-import", "--quiet"]).stdin(File::open(&script)?).output()?;
    anyhow::ensure!(output.status.success(), "git fast-import failed: {}", proc::last_words(&output));
    fs::remove_file(&script)?;
    Ok(())
}

fn write_import(script: &Path, files: u32) -> Result<()> {
    let mut out = BufWriter::new(File::create(script)?);
    write!(
        out,
        "commit refs/heads/{BRANCH}\ncommitter bench <bench@example.invalid> 1700000000 +0000\ndata 5\nLarge\n"
    )?;
    for number in 0..files {
        let content = content(number);
        writeln!(out, "M 100644 inline {}", path_of(number))?;
        write!(out, "data {}\n{content}\n", content.len())?;
    }
    out.flush()?;
    Ok(())
}

/// Where a file of the large repository stands. On a second level, as in sources: no folder holds all the others.
pub(crate) fn path_of(number: u32) -> String {
    let folder = number / FILES_A_FOLDER;
    format!("part{}/unit{folder}/file{number}.txt", folder / FILES_A_FOLDER)
}

/// Different in every file, so that no two share an object, and of varying length.
fn content(number: u32) -> String {
    let length = SHORTEST_FILE + number.wrapping_mul(SPREAD_MULTIPLIER) % FILE_SPREAD;
    let line = format!("line of file {number}, which says nothing that any other file says\n");
    line.repeat(length as usize / line.len() + 1)
}

/// Gives a folder and all below it to somebody.
pub(crate) fn give(path: &Path, owner: Option<Owner>) -> Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let (uid, gid) = (Some(owner.uid()), Some(owner.gid()));
    lchown(path, uid, gid).with_context(|| format!("cannot give {} away", path.display()))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), Some(owner))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_repository_has_as_many_different_files_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        large(folder.path(), 120).unwrap();
        let listed = proc::run(git(folder.path()).args(["ls-tree", "-r", BRANCH])).unwrap();
        let mut objects: Vec<&str> =
            listed.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        objects.sort_unstable();
        objects.dedup();
        assert_eq!((listed.lines().count(), objects.len()), (120, 120));
    }
}
