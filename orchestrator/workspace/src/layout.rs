//! Where everything of one issue lives on the host.
//!
//! The worktree's admin folder lies in the issue's own folder, not in the mirror's `worktrees/`: the mirror then
//! holds no byte that an agent wrote, and no container sees another issue's index, logs or messages.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cloud_code_model::{IssueKey, ProjectName};

use crate::ident::CommitId;
use crate::mark::Mark;

/// Before the name of an issue's folder that is being removed. No issue key starts with a dot, so it cannot collide.
const DOOMED: &str = ".removing-";

/// The folders under one `$CLOUD_CODE_HOME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    home: PathBuf,
}

impl Layout {
    /// The layout under `home`. A relative path is taken from the current directory.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self { home: std::path::absolute(&home).unwrap_or(home) }
    }

    /// `$CLOUD_CODE_HOME` itself.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The bare mirror of a project: `repos/<project>.git`.
    pub fn mirror(&self, project: &ProjectName) -> PathBuf {
        self.repos().join(format!("{project}.git"))
    }

    /// What is kept of every attempt: `history/`.
    pub fn history(&self) -> PathBuf {
        self.home.join("history")
    }

    /// The issues that have a workspace, be it one on its way out; what somebody else put there is passed over. Blocks.
    pub fn issues(&self) -> BTreeSet<(ProjectName, IssueKey)> {
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let workspaces = self.workspaces();
        let mut found = BTreeSet::new();
        for project in names(&workspaces) {
            let Ok(name) = project.parse::<ProjectName>() else { continue };
            let issues = names(&workspaces.join(&project));
            let keys = issues.iter().map(|name| name.strip_prefix(DOOMED).unwrap_or(name));
            found.extend(keys.filter_map(|key| Some((name.clone(), key.parse().ok()?))));
        }
        found
    }

    /// The folders of one issue: `workspaces/<project>/<issue>/…`.
    pub fn issue(&self, project: &ProjectName, issue: &IssueKey) -> IssuePaths {
        let parent = self.workspaces().join(project.as_str());
        let root = parent.join(issue.as_str());
        IssuePaths {
            control: root.join(".cloud-code"),
            tree: root.join("tree"),
            home: root.join("home"),
            objects: root.join("objects"),
            admin: root.join("admin"),
            lock: self.home.join("locks").join(project.as_str()).join(issue.as_str()),
            name: issue.as_str().to_owned(),
            parent,
            root,
        }
    }

    fn workspaces(&self) -> PathBuf {
        self.home.join("workspaces")
    }

    pub(crate) fn repos(&self) -> PathBuf {
        self.home.join("repos")
    }

    pub(crate) fn mirror_lock(&self, project: &ProjectName) -> PathBuf {
        self.repos().join(format!("{project}.lock"))
    }
}

/// The folders of one issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuePaths {
    /// The issue's folder; only the host writes directly in it.
    pub root: PathBuf,
    /// `.cloud-code/`: the two YAML files, the event log and the raw logs. Made and mounted by the engine.
    pub control: PathBuf,
    /// The git worktree, written by the agent.
    pub tree: PathBuf,
    /// The CLI's private HOME, written by the agent.
    pub home: PathBuf,
    /// The quarantine: where objects made by the agent land.
    pub objects: PathBuf,
    /// The worktree's admin folder (HEAD, index, logs), written by the agent.
    pub admin: PathBuf,
    pub(crate) parent: PathBuf,
    pub(crate) name: String,
    pub(crate) lock: PathBuf,
}

impl IssuePaths {
    /// Whether `prepare` once ended well here. A half-made workspace is not prepared.
    pub fn is_prepared(&self) -> io::Result<bool> {
        Ok(Mark::read(self)?.is_some())
    }

    /// The commit that `prepare` made the worktree from; none where it is not prepared.
    pub fn prepared_from(&self) -> io::Result<Option<CommitId>> {
        Ok(Mark::read(self)?.and_then(|mark| mark.base.parse().ok()))
    }

    /// Written last by `prepare`: a workspace without it is half-made.
    pub(crate) fn marker(&self) -> PathBuf {
        self.root.join("prepared")
    }

    /// What git inside reads as `info/`: the list of files it shall look away from. Only the host writes it.
    pub(crate) fn info(&self) -> PathBuf {
        self.root.join("info")
    }

    /// What a removal renames the issue's folder to first.
    pub(crate) fn doomed(&self) -> PathBuf {
        self.parent.join(format!("{DOOMED}{}", self.name))
    }

    /// The ref that keeps the issue's base commit alive in the mirror. `.` is written `+`, which no key holds,
    /// because a ref may not contain `..` or end in `.lock`.
    pub(crate) fn base_ref(&self) -> String {
        format!("refs/cloud-code/base/{}", self.name.replace('.', "+"))
    }
}

/// Fixed places inside a container. Git stores none of them in the user's repository.
pub mod inside {
    /// The worktree.
    pub const WORKSPACE: &str = "/workspace";
    /// The mirror, read-only.
    pub const MIRROR: &str = "/srv/cloud-code/mirror.git";
    /// The mirror's real objects, read-only: the quarantine's alternate.
    pub const BASE_OBJECTS: &str = "/srv/cloud-code/base-objects";
    /// The quarantine, mounted over the mirror's `objects`.
    pub const OBJECTS: &str = "/srv/cloud-code/mirror.git/objects";
    /// This issue's `info/`, mounted over an empty folder that every mirror has. Read-only.
    pub const INFO: &str = "/srv/cloud-code/mirror.git/info";
    /// This issue's admin folder, mounted over an empty folder that every mirror has.
    pub const ADMIN: &str = "/srv/cloud-code/mirror.git/worktrees/workspace";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_found_and_what_is_none_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path());
        assert_eq!(layout.issues(), BTreeSet::new());
        for folder in ["shop/42", "shop/.removing-42", "shop/.removing-43", "shop/.hidden", "no project/1"] {
            fs::create_dir_all(home.path().join("workspaces").join(folder)).unwrap();
        }
        fs::write(home.path().join("workspaces/notes.txt"), "a person's").unwrap();
        let expected = ["42", "43"].map(|key| ("shop".parse().unwrap(), key.parse().unwrap()));
        assert_eq!(layout.issues(), BTreeSet::from(expected));
    }
}
