use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use super::{CheckRun, CheckSuite, Comment, Reaction, Review, ReviewComment, Status, Thread, World};

/// What a person may do in a repository, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing; a private repository does not exist for them.
    None,
    /// Reads and comments.
    Read,
    /// Sorts issues.
    Triage,
    /// Pushes.
    Write,
    /// Manages without the dangerous parts.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    /// GitHub's `role_name`.
    pub(crate) fn role_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// GitHub's older `permission`, which knows four words: maintain is write there, triage is read.
    pub(crate) fn permission(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) color: String,
    pub(crate) description: Option<String>,
}

/// A webhook of one repository, for deployments with a token instead of an App.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) id: u64,
    pub(crate) url: String,
    pub(crate) secret: Option<String>,
    pub(crate) content_type: String,
    pub(crate) events: Vec<String>,
    pub(crate) active: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What was done to an issue or pull request besides talking, as its page lists it.
#[derive(Debug, Clone)]
pub(crate) struct IssueEvent {
    pub(crate) id: u64,
    pub(crate) number: u64,
    /// `labeled`, `assigned`, `closed`, …
    pub(crate) kind: String,
    pub(crate) user: u64,
    pub(crate) app: Option<u64>,
    /// The label or the assignee, as webhooks show it.
    pub(crate) more: Value,
    pub(crate) at: Timestamp,
}

/// What a repository wants before a pull request is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRules {
    /// Approving reviews of people who may push.
    pub approvals: usize,
    /// Names of checks that must have passed.
    pub checks: Vec<String>,
    /// Only by the merge queue.
    pub queue: bool,
    /// The ways that are allowed: `merge`, `squash`, `rebase`.
    pub methods: Vec<String>,
}

impl Default for MergeRules {
    /// None but that there is no conflict; every way is allowed.
    fn default() -> Self {
        let methods = ["merge", "squash", "rebase"].map(str::to_owned).to_vec();
        Self { approvals: 0, checks: Vec::new(), queue: false, methods }
    }
}

/// A repository and all that hangs on it.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) owner: u64,
    pub(crate) name: String,
    /// Full names it had before; they answer 301.
    pub(crate) former_names: Vec<String>,
    pub(crate) default_branch: String,
    pub(crate) private: bool,
    pub(crate) archived: bool,
    /// Draft pull requests cost money in private repositories; with this set they are refused.
    pub(crate) refuses_drafts: bool,
    pub(crate) fork_of: Option<u64>,
    pub(crate) git_dir: PathBuf,
    pub(crate) collaborators: BTreeMap<u64, Role>,
    pub(crate) protected: BTreeSet<String>,
    pub(crate) merge_rules: MergeRules,
    pub(crate) labels: Vec<Label>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) events: Vec<IssueEvent>,
    pub(crate) reviews: Vec<Review>,
    pub(crate) review_comments: Vec<ReviewComment>,
    pub(crate) reactions: Vec<Reaction>,
    pub(crate) check_runs: Vec<CheckRun>,
    pub(crate) check_suites: Vec<CheckSuite>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) job_logs: BTreeMap<u64, String>,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) created_at: Timestamp,
    pub(crate) pushed_at: Timestamp,
    next_number: u64,
}

impl Repo {
    pub(crate) fn new(id: u64, owner: u64, name: &str, git_dir: PathBuf, now: Timestamp) -> Self {
        Self {
            id,
            owner,
            name: name.to_owned(),
            former_names: Vec::new(),
            default_branch: "main".to_owned(),
            private: false,
            archived: false,
            refuses_drafts: false,
            fork_of: None,
            git_dir,
            collaborators: BTreeMap::new(),
            protected: BTreeSet::new(),
            merge_rules: MergeRules::default(),
            labels: Vec::new(),
            threads: Vec::new(),
            comments: Vec::new(),
            events: Vec::new(),
            reviews: Vec::new(),
            review_comments: Vec::new(),
            reactions: Vec::new(),
            check_runs: Vec::new(),
            check_suites: Vec::new(),
            statuses: Vec::new(),
            job_logs: BTreeMap::new(),
            hooks: Vec::new(),
            created_at: now,
            pushed_at: now,
            next_number: 1,
        }
    }

    /// The number of the next issue or pull request: they share one row of numbers.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Leaves a gap, so that a story can speak of issue 42.
    pub(crate) fn continue_numbers_at(&mut self, number: u64) {
        self.next_number = self.next_number.max(number);
    }

    /// What a person may. Everybody reads a public repository; its owner may all.
    pub(crate) fn role(&self, user: u64) -> Role {
        let floor = if self.private { Role::None } else { Role::Read };
        let granted = self.collaborators.get(&user).copied().unwrap_or(Role::None);
        let owned = if self.owner == user { Role::Admin } else { Role::None };
        floor.max(granted).max(owned)
    }

    pub(crate) fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn thread(&self, number: u64) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.number == number)
    }

    pub(crate) fn thread_mut(&mut self, number: u64) -> Option<&mut Thread> {
        self.threads.iter_mut().find(|thread| thread.number == number)
    }

    pub(crate) fn comment(&self, id: u64) -> Option<&Comment> {
        self.comments.iter().find(|comment| comment.id == id)
    }
}

impl World {
    pub(crate) fn repo(&self, id: u64) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.id == id)
    }

    pub(crate) fn repo_mut(&mut self, id: u64) -> Option<&mut Repo> {
        self.repos.iter_mut().find(|repo| repo.id == id)
    }

    pub(crate) fn full_name(&self, repo: &Repo) -> String {
        format!("{}/{}", self.login(Some(repo.owner)), repo.name)
    }

    pub(crate) fn repo_named(&self, full_name: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| self.full_name(repo).eq_ignore_ascii_case(full_name))
    }

    /// The repository that had this name once.
    pub(crate) fn repo_once_named(&self, full_name: &str) -> Option<&Repo> {
        self.repos
            .iter()
            .find(|repo| repo.former_names.iter().any(|name| name.eq_ignore_ascii_case(full_name)))
    }

    /// Labels come into being when an issue gets one that the repository lacks.
    pub(crate) fn ensure_label(&mut self, repo: u64, name: &str) -> String {
        let id = self.id();
        let Some(repo) = self.repo_mut(repo) else { return name.to_owned() };
        if let Some(label) = repo.label(name) {
            return label.name.clone();
        }
        repo.labels.push(Label { id, name: name.to_owned(), color: "ededed".to_owned(), description: None });
        name.to_owned()
    }
}
