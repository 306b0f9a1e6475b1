//! This process among the workers that share a store: it says that it lives, keeps its leases, and stops what it does
//! under one that it lost.
//!
//! Two clocks watch a lease. The database's says who holds it; a frozen process cannot ask it, so this host's steady clock
//! counts from the last renewal's beginning, and whatever is not renewed in time counts as lost here, whoever has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_code_model::{InstanceId, IssueKey, ProjectName};
use cloud_code_store::{Claim, Database, Leases, Member, ProcessId, StoreError, Terms};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::held::Held;

/// Renewals in the life of a lease. With fewer one lost answer costs the lease; more only asks the database.
const BEATS: u32 = 4;
/// The part of a lease that must be left for a write to a forge to begin.
const SPARE: u32 = 3;

/// What a process does in a shared store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// Takes in what the forge sends and what people ask for, and speaks to them. One at a time.
    Front,
    /// Drives tasks.
    Worker,
}

impl Role {
    pub(crate) const fn drives(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    pub(crate) const fn fronts(self) -> bool {
        matches!(self, Self::All | Self::Front)
    }
}

/// Issues that this process works on, by project and key.
type HeldIssues = BTreeMap<(ProjectName, IssueKey), Arc<Held>>;

/// A worker that shares its store with others.
pub struct Membership {
    store: Database,
    /// Nobody, where this process only watches who works.
    member: Option<Member>,
    terms: Terms,
    held: Mutex<HeldIssues>,
}

/// Whose an issue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// Nobody has worked on it yet.
    ToNobody,
    /// This worker.
    Here,
    /// Another one, which lives.
    Elsewhere,
    /// Another one, which is dead.
    ToTheDead,
}

impl Membership {
    /// Makes this process the one that runs the worker. An earlier process of it is at an end.
    pub async fn join(
        store: Database,
        worker: InstanceId,
        process: String,
        host: &str,
        terms: Terms,
    ) -> Result<Self, StoreError> {
        let member = Member { worker, process: ProcessId::from(process) };
        store.enrol(&member, host, terms).await?;
        Ok(Self { store, member: Some(member), terms, held: Mutex::default() })
    }

    /// Looks at the others' leases, and holds none.
    pub fn watching(store: Database, terms: Terms) -> Self {
        Self { store, member: None, terms, held: Mutex::default() }
    }

    pub(crate) const fn store(&self) -> &Database {
        &self.store
    }

    fn held(&self) -> MutexGuard<'_, HeldIssues> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an issue; nothing when another worker has it, or this process is at it already.
    pub(crate) async fn claim(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Arc<Held>>, StoreError> {
        let Some(member) = &self.member else { return Ok(None) };
        let key = (project.clone(), issue.clone());
        if self.held().contains_key(&key) {
            return Ok(None);
        }
        let asked_at = Instant::now();
        let Claim::Won(lease) = self.store.claim(member, project, issue, self.terms).await? else {
            return Ok(None);
        };
        let held = Arc::new(Held {
            store: self.store.clone(),
            lease,
            lost: CancellationToken::new(),
            spare: self.terms.lease / SPARE,
        });
        if asked_at.elapsed() >= self.terms.lease {
            return Ok(None);
        }
        self.held().insert(key, held.clone());
        Ok(Some(held))
    }

    /// Gives an issue back. It stays with this worker.
    pub(crate) async fn release(&self, held: &Arc<Held>) {
        self.forget(held);
        if held.lost.is_cancelled() {
            return;
        }
        if let Err(error) = self.store.release(&held.lease).await {
            // It lapses by itself.
            tracing::debug!(lease = %held.lease, error = %error, "a lease was not given back");
        }
    }

    fn forget(&self, held: &Arc<Held>) {
        let mut all = self.held();
        let key = (held.lease.project.clone(), held.lease.issue.clone());
        if all.get(&key).is_some_and(|current| Arc::ptr_eq(current, held)) {
            all.remove(&key);
        }
    }

    pub(crate) async fn belongs(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Belongs, StoreError> {
        let Some(standing) = self.store.standing(project, issue).await? else { return Ok(Belongs::ToNobody) };
        let owner = &standing.lease.member.worker;
        if self.member.as_ref().is_some_and(|member| member.worker == *owner) {
            // On its way here, it is not here yet: the dead one's workspace is what counts.
            return Ok(if standing.lease.moved_from.is_none() { Belongs::Here } else { Belongs::ToTheDead });
        }
        let workers = self.store.workers().await?;
        let lives = workers.iter().any(|known| known.member.worker == *owner && known.remaining.is_some());
        Ok(if lives || standing.remaining.is_some() { Belongs::Elsewhere } else { Belongs::ToTheDead })
    }

    /// Says that this worker lives, until `stop`. Ends with an error when another process runs the worker: everything is
    /// lost then, and nothing may be begun any more.
    pub(crate) async fn live(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let Some(member) = &self.member else {
            stop.cancelled().await;
            return Ok(());
        };
        let mut deadline = Instant::now() + self.terms.lease;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.terms.lease / BEATS) => {}
            }
            let begun_at = Instant::now();
            let before: Vec<Arc<Held>> = self.held().values().cloned().collect();
            // Whatever hangs must not keep us from noticing the end.
            let patience = deadline.max(begun_at + self.terms.lease / BEATS);
            match timeout_at(patience, self.store.beat(member, self.terms)).await {
                Ok(Ok(renewed)) => {
                    deadline = begun_at + self.terms.lease;
                    let tokens: BTreeSet<_> =
                        renewed.iter().map(|lease| (&lease.project, &lease.issue, lease.token)).collect();
                    let is_kept = |held: &Held| {
                        tokens.contains(&(&held.lease.project, &held.lease.issue, held.lease.token))
                    };
                    for held in before.iter().filter(|held| !is_kept(held)) {
                        self.lose(held, "another worker has it");
                    }
                }
                Ok(Err(error @ StoreError::Superseded { .. })) => {
                    self.lose_all("another process runs this worker");
                    return Err(error);
                }
                Ok(Err(error)) => tracing::warn!(error = %error, "the leases were not renewed"),
                Err(_) => tracing::warn!("the leases were not renewed: the database does not answer"),
            }
            if Instant::now() >= deadline {
                self.lose_all("it was not renewed in time");
            }
        }
    }

    fn lose_all(&self, why: &'static str) {
        let all: Vec<Arc<Held>> = self.held().values().cloned().collect();
        all.iter().for_each(|held| self.lose(held, why));
    }

    fn lose(&self, held: &Arc<Held>, why: &'static str) {
        // Given back meanwhile.
        if !self.held().values().any(|current| Arc::ptr_eq(current, held)) {
            return;
        }
        tracing::warn!(lease = %held.lease, why = why, "a lease was lost; what is done under it stops");
        held.lost.cancel();
        self.forget(held);
    }
}

impl Membership {
    /// The usual terms: half a minute for a lease, two minutes for a worker, in which a restart for an upgrade fits.
    pub const fn usual_terms() -> Terms {
        Terms { lease: Duration::from_secs(30), worker: Duration::from_secs(120) }
    }
}
