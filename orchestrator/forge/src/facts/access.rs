//! Repositories, and who may do what in them.

use cloud_code_model::{Actor, RepositoryName};
use jiff::Timestamp;
use secrecy::SecretString;

/// Who we are on the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotIdentity {
    /// The account that our comments carry.
    pub actor: Actor,
    /// The App, if we are one and not a person's token.
    pub app_id: Option<u64>,
    /// What people write after `@` to speak to us: an App's short name, not its account's `name[bot]`.
    pub mention: String,
}

/// How far a permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Not at all.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// The forge does not tell; trying shows it.
    Unknown,
}

impl Access {
    /// By the forge's word for it; without one, not at all.
    pub(crate) fn of(word: Option<&str>) -> Self {
        match word {
            Some("write" | "admin") => Self::Write,
            Some("read") => Self::Read,
            Some(_) => Self::Unknown,
            None => Self::None,
        }
    }

    /// The word for it, as people know it from the forge's pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is known to be less than what is needed.
    pub const fn falls_short_of(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Unknown | Self::Write, _) | (Self::Read, Self::Read | Self::None | Self::Unknown) => false,
            (Self::None, Self::None | Self::Unknown) => false,
            (Self::None, Self::Read | Self::Write) | (Self::Read, Self::Write) => true,
        }
    }
}

/// What we may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// Code: fetch and push.
    pub contents: Access,
    /// Issues, comments, labels.
    pub issues: Access,
    /// Pull requests.
    pub pull_requests: Access,
    /// Check runs.
    pub checks: Access,
    /// Commit statuses.
    pub statuses: Access,
    /// Files of the forge's own CI. Meant to be missing.
    pub workflows: Access,
}

impl Grants {
    /// By the forge's name of the permission. Whoever sees a repository may read its metadata.
    pub fn of(&self, permission: &str) -> Access {
        match permission {
            "metadata" => Access::Read,
            "contents" => self.contents,
            "issues" => self.issues,
            "pull_requests" => self.pull_requests,
            "checks" => self.checks,
            "statuses" => self.statuses,
            "workflows" => self.workflows,
            _ => Access::Unknown,
        }
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// The forge's number for it. Names change hands; this does not.
    pub id: u64,
    /// Its name today.
    pub name: RepositoryName,
    /// Where work starts from by default.
    pub default_branch: String,
    /// Where git finds it.
    pub clone_url: String,
    /// Where people find it.
    pub web_url: String,
    /// Whether it is read-only for good.
    pub archived: bool,
    /// Whether only some may see it.
    pub private: bool,
    /// Whether it is a fork of another.
    pub fork: bool,
    /// What we may do in it.
    pub grants: Grants,
}

/// What an account may do, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing, or not known.
    None,
    /// Read; in a public repository everybody may.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

/// An account's permission in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionFact {
    /// Whom the forge answered about; missing if it knows nobody of that name.
    pub user_id: Option<u64>,
    /// The highest of all grants.
    pub permission: Permission,
    /// The finer role (`maintain`, `triage`, or a custom one), for people.
    pub role_name: Option<String>,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchFacts {
    /// Its newest commit.
    pub sha: String,
    /// Whether rules protect it.
    pub protected: bool,
}

/// What git needs to log in.
#[derive(Debug, Clone)]
pub struct GitCredential {
    /// The user's name.
    pub username: String,
    /// The password.
    pub secret: SecretString,
    /// When it stops working; missing for a person's token, which says nothing about it.
    pub expires_at: Option<Timestamp>,
}
