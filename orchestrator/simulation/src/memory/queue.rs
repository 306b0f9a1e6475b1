//! Places, pauses, charges, grants and moves in memory.

use async_trait::async_trait;
use cloud_code_model::{
    Balance, IssueKey, Move, Pause, PauseScope, Payer, ProjectName, QueuePlace, ScopeKind, Spent,
};
use cloud_code_store::{Balances, HistoryStore, QueueStore, Spending, StoreError};
use cloud_code_task_schema::TaskId;
use jiff::Timestamp;

use super::{MemoryStore, Tables};

impl Tables {
    fn balances(&self, payer: &Payer) -> Balances {
        ScopeKind::ALL.map(|scope| {
            let account = payer.account(scope);
            let grants = self.grants.iter().filter(|(granted, _)| *granted == account).count();
            let spent = self.spending.get(&account).copied().unwrap_or_default();
            (scope, Balance { spent, grants: u32::try_from(grants).unwrap_or(u32::MAX) })
        })
    }
}

#[async_trait]
impl QueueStore for MemoryStore {
    async fn put_place(&self, id: &TaskId, place: &QueuePlace) -> Result<bool, StoreError> {
        self.write("put_place", |tables| {
            let found =
                tables.tasks.iter_mut().find(|record| record.task.id == *id && record.state.waits_for_turn());
            Ok(found.map(|record| record.task.queue = place.clone()).is_some())
        })
        .await
    }

    async fn pause(&self, pause: &Pause) -> Result<(), StoreError> {
        self.write("pause", |tables| {
            tables.pauses.insert(pause.scope.to_string(), pause.clone());
            Ok(())
        })
        .await
    }

    async fn unpause(&self, scope: &PauseScope) -> Result<bool, StoreError> {
        self.write("unpause", |tables| Ok(tables.pauses.remove(&scope.to_string()).is_some())).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.read("pauses", |tables| tables.pauses.values().cloned().collect()).await
    }
}

#[async_trait]
impl Spending for MemoryStore {
    async fn charge(&self, payer: &Payer, so_far: Spent) -> Result<Balances, StoreError> {
        self.write("charge", |tables| {
            let own = tables.spending.get(&payer.account(ScopeKind::Task)).copied().unwrap_or_default();
            let new = so_far.since(own);
            for scope in ScopeKind::ALL {
                let spent = tables.spending.entry(payer.account(scope)).or_default();
                *spent = spent.plus(new);
            }
            Ok(tables.balances(payer))
        })
        .await
    }

    async fn balances(&self, payer: &Payer) -> Result<Balances, StoreError> {
        self.read("balances", |tables| tables.balances(payer)).await
    }

    async fn grant(
        &self,
        payer: &Payer,
        scopes: &[ScopeKind],
        key: &str,
        _by: Option<&str>,
        _at: Timestamp,
    ) -> Result<Vec<ScopeKind>, StoreError> {
        self.write("grant", |tables| {
            let counted = tables.grants.iter().filter(|(_, counted)| counted == key);
            let counted: Vec<ScopeKind> =
                counted.filter_map(|(account, _)| Payer::scope_of(account)).collect();
            if !counted.is_empty() {
                return Ok(counted);
            }
            let granted = scopes.iter().map(|scope| (payer.account(*scope), key.to_owned()));
            tables.grants.extend(granted);
            Ok(scopes.to_vec())
        })
        .await
    }
}

#[async_trait]
impl HistoryStore for MemoryStore {
    async fn moves(&self, task: &TaskId) -> Result<Vec<Move>, StoreError> {
        self.read("moves", |tables| tables.moves.iter().filter(|made| made.task == *task).cloned().collect())
            .await
    }

    async fn moves_of_issue(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Move>, StoreError> {
        self.read("moves_of_issue", |tables| {
            let is_its = |made: &&Move| {
                tables.tasks.iter().any(|record| {
                    record.task.id == made.task
                        && record.task.project == *project
                        && record.task.issue == *issue
                })
            };
            tables.moves.iter().filter(is_its).cloned().collect()
        })
        .await
    }
}
