//! Workers and leases as rows.

use std::time::Duration;

use async_trait::async_trait;
use cloud_code_model::{InstanceId, IssueKey, ProjectName};
use cloud_code_task_schema::{Handoff, TaskId};

use super::sql::{Sql, sql};
use super::transaction::Tx;
use super::{Database, json, row};
use crate::StoreError;
use crate::leases::{Claim, Lease, Leases, Member, Standing, Terms, Worker};

const ENROL: &str = "INSERT INTO workers (name, process, host, started_at, expires_at) \
     VALUES ($1, $2, $3, {now}, {now} + $4) ON CONFLICT (name) DO UPDATE SET process = excluded.process, \
     host = excluded.host, started_at = excluded.started_at, expires_at = excluded.expires_at";
const LIVE_ON: &str = "UPDATE workers SET expires_at = {now} + $1 WHERE name = $2 AND process = $3";
/// What was given back has no time left, and is not renewed.
const RENEW: &str = "UPDATE leases SET expires_at = {now} + $1 WHERE worker = $2 AND process = $3 AND expires_at > 0 \
     RETURNING *";
const DIE: &str = "UPDATE workers SET expires_at = 0 WHERE name = $1 AND process = $2";
const RELEASE_ALL: &str = "UPDATE leases SET expires_at = 0, token = token + 1 WHERE worker = $1 AND process = $2 AND expires_at > 0";
/// One statement, so that of two who claim at once the second sees what the first did: the row's lock is waited for, and the
/// condition is looked at again. Whoever is not the living process of its worker inserts nothing.
const CLAIM: &str = "INSERT INTO leases (project, issue, worker, process, token, expires_at) \
     SELECT $1, $2, name, process, 1, {now} + $3 FROM workers WHERE name = $4 AND process = $5 AND expires_at > {now} \
     ON CONFLICT (project, issue) DO UPDATE SET worker = excluded.worker, process = excluded.process, \
     token = leases.token + 1, expires_at = excluded.expires_at, \
     moved_from = NULLIF(COALESCE(leases.moved_from, leases.worker), excluded.worker) \
     WHERE leases.worker = excluded.worker OR (leases.expires_at <= {now} \
     AND NOT EXISTS (SELECT 1 FROM workers AS theirs WHERE theirs.name = leases.worker AND theirs.expires_at > {now})) \
     RETURNING *";
const MINE: &str = "SELECT * FROM leases WHERE project = $1 AND issue = $2 AND token = $3";
const ARRIVED: &str = "UPDATE leases SET moved_from = NULL WHERE project = $1 AND issue = $2 AND token = $3";
const STANDING: &str =
    "SELECT *, expires_at - {now} AS remaining FROM leases WHERE project = $1 AND issue = $2";
const RUNS: &str = "SELECT name FROM workers WHERE name = $1 AND process = $2 AND expires_at > {now}";
const WORKERS: &str = "SELECT *, expires_at - {now} AS remaining FROM workers ORDER BY name";

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn of_lease(text: &'static str, lease: &Lease) -> Sql {
    sql(text).bind(lease.project.as_str()).bind(lease.issue.as_str()).bind(lease.token)
}

fn superseded(member: &Member) -> StoreError {
    StoreError::Superseded { worker: member.worker.to_string() }
}

impl Lease {
    fn lost(&self) -> StoreError {
        StoreError::LeaseLost { id: self.to_string(), token: self.token }
    }

    /// Refuses when somebody has a newer token, and lets nobody have one until the transaction ends.
    pub(super) async fn fence(&self, tx: &mut Tx) -> Result<(), StoreError> {
        match tx.is_there(of_lease(MINE, self).sharing()).await? {
            true => Ok(()),
            false => Err(self.lost()),
        }
    }
}

#[async_trait]
impl Leases for Database {
    async fn enrol(&self, member: &Member, host: &str, terms: Terms) -> Result<(), StoreError> {
        let statement = sql(ENROL)
            .bind(member.worker.as_str())
            .bind(member.process.as_str())
            .bind(host)
            .bind(milliseconds(terms.worker))
            .timed();
        self.bare().change(statement).await.map(drop)
    }

    async fn beat(&self, member: &Member, terms: Terms) -> Result<Vec<Lease>, StoreError> {
        let of = |text, span| {
            let statement = sql(text).bind(milliseconds(span));
            statement.bind(member.worker.as_str()).bind(member.process.as_str()).timed()
        };
        let mut tx = self.bare().begin().await?;
        if tx.change(of(LIVE_ON, terms.worker)).await? == 0 {
            return Err(superseded(member));
        }
        let held = tx.all(of(RENEW, terms.lease), row::lease).await?;
        tx.commit().await?;
        Ok(held)
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        let of = |text| sql(text).bind(member.worker.as_str()).bind(member.process.as_str());
        let mut tx = self.bare().begin().await?;
        tx.change(of(DIE)).await?;
        tx.change(of(RELEASE_ALL)).await?;
        tx.commit().await
    }

    async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        self.all(sql(WORKERS).timed(), row::worker).await
    }

    async fn claim(
        &self,
        member: &Member,
        project: &ProjectName,
        issue: &IssueKey,
        terms: Terms,
    ) -> Result<Claim, StoreError> {
        let statement = sql(CLAIM)
            .bind(project.as_str())
            .bind(issue.as_str())
            .bind(milliseconds(terms.lease))
            .bind(member.worker.as_str())
            .bind(member.process.as_str())
            .timed();
        let mut tx = self.bare().begin().await?;
        if let Some(lease) = tx.one(statement, row::lease).await? {
            tx.commit().await?;
            return Ok(Claim::Won(lease));
        }
        let runs = sql(RUNS).bind(member.worker.as_str()).bind(member.process.as_str()).timed();
        if !tx.is_there(runs).await? {
            return Err(superseded(member));
        }
        let statement = sql(STANDING).bind(project.as_str()).bind(issue.as_str()).timed();
        let standing = tx.one(statement, row::standing).await?;
        let by = standing.map(|standing| standing.lease.member.worker);
        by.map(|by: InstanceId| Claim::Held { by })
            .ok_or_else(|| StoreError::Missing { what: "lease", id: format!("{project}#{issue}") })
    }

    async fn hold_on(&self, lease: &Lease, at_least: Duration) -> Result<(), StoreError> {
        let standing = self.standing(&lease.project, &lease.issue).await?;
        let holds = standing.is_some_and(|standing| {
            standing.lease.token == lease.token && standing.remaining.is_some_and(|left| left >= at_least)
        });
        if holds { Ok(()) } else { Err(lease.lost()) }
    }

    async fn arrived(&self, lease: &Lease, told: Option<(&TaskId, &Handoff)>) -> Result<(), StoreError> {
        let mut tx = self.under(lease).begin().await?;
        tx.change(of_lease(ARRIVED, lease)).await?;
        if let Some((id, packet)) = told {
            let packet = json("task", id.as_str(), packet)?;
            tx.change(sql("UPDATE tasks SET handoff = $1 WHERE id = $2").bind(packet).bind(id.as_str()))
                .await?;
        }
        tx.commit().await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let statement = of_lease(
            "UPDATE leases SET expires_at = 0, token = token + 1 WHERE project = $1 AND issue = $2 AND token = $3",
            lease,
        );
        self.bare().change(statement).await.map(drop)
    }

    async fn standing(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Standing>, StoreError> {
        let statement = sql(STANDING).bind(project.as_str()).bind(issue.as_str()).timed();
        self.one(statement, row::standing).await
    }
}
