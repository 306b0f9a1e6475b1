//! Settings files: found, read and validated whole, before anything else happens.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_model::{GlobalSettings, ProjectName, ProjectSettings};
use cloud_code_task_schema::parse_strict;
use serde::de::DeserializeOwned;

/// The machine's settings, below the home folder.
pub(crate) const GLOBAL_FILE: &str = "cloud-code.yaml";
/// The folder of project files, below the home folder.
pub(crate) const PROJECTS_DIR: &str = "projects";
/// Where everything lives when the orchestrator is root: the CLI's user must be able to reach the worktree.
const ROOT_HOME: &str = "/var/lib/cloud-code";
/// Where everything lives for an ordinary user, below `$HOME`.
const USER_HOME: &str = ".cloud-code";

/// The home folder: as asked, else by who we are.
pub(crate) fn home(asked: Option<PathBuf>) -> Result<PathBuf> {
    let home = match asked {
        Some(home) => home,
        None if nix::unistd::geteuid().is_root() => PathBuf::from(ROOT_HOME),
        None => std::env::var_os("HOME")
            .map(|h| PathBuf::from(h).join(USER_HOME))
            .ok_or_else(|| anyhow!("HOME is not set\n  hint: pass --home DIR or set CLOUD_CODE_HOME"))?,
    };
    std::path::absolute(&home).with_context(|| format!("{} is not a usable path", home.display()))
}

/// `cloud-code.yaml`; absent means defaults.
pub(crate) fn global(home: &Path) -> Result<GlobalSettings> {
    Ok(read(&home.join(GLOBAL_FILE))?.unwrap_or_default())
}

/// `projects/<name>.yaml`; absent means `None`.
pub(crate) fn project(home: &Path, name: &ProjectName) -> Result<Option<ProjectSettings>> {
    read(&project_file(home, name))
}

/// Every project that has a file, by name.
pub(crate) fn projects(home: &Path) -> Result<Vec<ProjectName>> {
    let folder: PathBuf = home.join(PROJECTS_DIR);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(
                stem.parse().with_context(|| format!("{} is not named after a project", path.display()))?,
            );
        }
    }
    names.sort();
    Ok(names)
}

/// Where a project's file is looked for.
pub(crate) fn project_file(home: &Path, name: &ProjectName) -> PathBuf {
    home.join(PROJECTS_DIR).join(format!("{name}.yaml"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let name = path.display().to_string();
    parse_strict(&name, &text).map(Some).map_err(|problems| anyhow!("{problems}"))
}

/// `UID:GID` of the CLI's user. Root is refused: the CLI must not be able to undo its own confinement.
pub(crate) fn agent_user(text: Option<&str>) -> Result<(u32, u32)> {
    let text = text.unwrap_or(DEFAULT_AGENT_USER);
    let ids = text.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
    match ids {
        Some((0, _)) => {
            bail!("agent_user `{text}` is root, and a CLI never runs as root\n  hint: use 1000:1000")
        }
        Some(ids) => Ok(ids),
        None => bail!("agent_user `{text}` is not UID:GID\n  hint: write it as 1000:1000"),
    }
}

/// The first ordinary user of most systems: files of a worktree then belong to a person rather than to a number.
const DEFAULT_AGENT_USER: &str = "1000:1000";
