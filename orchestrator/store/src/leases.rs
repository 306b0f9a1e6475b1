//! Which of several orchestrators works on an issue.
//!
//! An issue is worked on under a lease: who holds it, until when, and a token that only grows. The lease is of the issue and
//! not of the task, because what a worker has of it (worktree, HOME, containers) is the issue's and lies on the worker's
//! own disk; two tasks of an issue are never open at once anyway. For the same reason an issue stays with its worker for as
//! long as that lives, also between two tasks, and moves when the worker is dead.
//!
//! Every time is a span given by the caller and counted by the database's clock: no host's clock decides who holds what.
//! A lease that lapsed may be taken, and need not be: until somebody does, its token is the newest and its holder may write.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use cloud_code_model::{InstanceId, IssueKey, ProjectName};
use cloud_code_task_schema::{Handoff, TaskId};

use crate::StoreError;

/// One start of a worker's process. Whoever makes it sees to it that no two starts have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessId(String);

impl ProcessId {
    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ProcessId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A worker, as it runs now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Member {
    /// The installation whose disk holds the workspaces. The same after a restart.
    pub worker: InstanceId,
    /// This start of it.
    pub process: ProcessId,
}

/// How long what is held is held without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// A lease. Shorter and a slow answer of the database ends a driver; longer and a frozen process keeps its issues.
    pub lease: Duration,
    /// A worker's life. Longer than a lease: a restart for an upgrade must not cost its issues their workspaces.
    pub worker: Duration,
}

/// The right to work on an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The issue's project.
    pub project: ProjectName,
    /// The issue.
    pub issue: IssueKey,
    /// Who holds it.
    pub member: Member,
    /// Grows with every claim: of two holders the one with the smaller token is the stale one.
    pub token: i64,
    /// The worker that has the issue's workspace, when it is not the holder yet. Said until [`Leases::arrived`].
    pub moved_from: Option<InstanceId>,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.project, self.issue)
    }
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the claimant's.
    Won(Lease),
    /// It belongs to another worker, which lives, or did a moment ago.
    Held {
        /// That worker.
        by: InstanceId,
    },
}

/// A lease as it stands, for whoever wants to know and for a holder that counts what it still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The lease.
    pub lease: Lease,
    /// How long it still lasts; none when it lapsed or was given back.
    pub remaining: Option<Duration>,
}

/// A worker that was ever enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its newest start.
    pub member: Member,
    /// The machine, for people: whoever looks for a container that was left there.
    pub host: String,
    /// How long it is still believed to live; none when it is dead.
    pub remaining: Option<Duration>,
}

/// Workers and leases. Each call is one transaction.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Makes a process the one that runs a worker. An earlier process of the same worker is at an end with this: it cannot
    /// claim or renew any more, and what it holds goes to whoever claims it, its token with it.
    async fn enrol(&self, member: &Member, host: &str, terms: Terms) -> Result<(), StoreError>;
    /// Says that the worker lives, and renews every lease that its process holds. Answers with these: what a driver holds and
    /// this does not name is lost.
    ///
    /// Refuses with [`StoreError::Superseded`] when another process runs the worker.
    async fn beat(&self, member: &Member, terms: Terms) -> Result<Vec<Lease>, StoreError>;
    /// Gives everything back at once, for a worker that ends with nothing of its own still running. One whose agents go on
    /// in their containers says nothing: its issues are still its own when it comes back in time.
    async fn leave(&self, member: &Member) -> Result<(), StoreError>;
    /// Every worker, by name.
    async fn workers(&self) -> Result<Vec<Worker>, StoreError>;
    /// Takes an issue: one that nobody had, one of the same worker, or one whose lease lapsed and whose worker is dead. A
    /// claim of what the process holds already gives a newer token, and the older one is stale.
    ///
    /// Refuses with [`StoreError::Superseded`] when the claimant does not run its worker, or let its own life lapse.
    async fn claim(
        &self,
        member: &Member,
        project: &ProjectName,
        issue: &IssueKey,
        terms: Terms,
    ) -> Result<Claim, StoreError>;
    /// Whether a lease is its holder's for at least that long. Asked just before what cannot be undone and knows no token:
    /// a push, a comment.
    ///
    /// Refuses with [`StoreError::LeaseLost`].
    async fn hold_on(&self, lease: &Lease, at_least: Duration) -> Result<(), StoreError>;
    /// Notes that the holder has the issue's workspace on its own disk now, and what its task is told of what was before:
    /// the conversation stayed where it was.
    async fn arrived(&self, lease: &Lease, told: Option<(&TaskId, &Handoff)>) -> Result<(), StoreError>;
    /// Gives a lease back. The issue stays with its worker; what is still written with this token is refused. Nothing when
    /// it was lost meanwhile.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
    /// Who has an issue.
    async fn standing(&self, project: &ProjectName, issue: &IssueKey)
    -> Result<Option<Standing>, StoreError>;
}
