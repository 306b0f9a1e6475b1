//! Budgets of a task: what it used is charged while it runs, and what is used up cuts it.

use std::time::Duration;

use cloud_code_model::{
    Balance, Level, Payer, ScopeKind, Spent, StopReason, TaskRecord, TaskState, levels as of_account,
};
use cloud_code_task_schema::{CostSource, Failure, FailureKind, Usage};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::facts::{Facts, ReportFact};
use crate::{Engine, EngineError, Rows, prices};

/// How often a running task's figures are charged. An agent reports several times a second while its CLI talks; lower only
/// writes more, higher overshoots a budget by as much work.
const METER_EVERY: Duration = Duration::from_secs(1);

/// Who pays for a task at a moment.
pub(crate) fn payer(record: &TaskRecord, now: Timestamp) -> Payer {
    Payer {
        task: record.task.id.clone(),
        project: record.task.project.clone(),
        issue: record.task.issue.clone(),
        day: now.to_zoned(TimeZone::UTC).date().to_string(),
    }
}

/// How far a task is from each limit of its budgets.
pub(crate) async fn levels(
    store: &dyn Rows,
    record: &TaskRecord,
    now: Timestamp,
) -> Result<Vec<Level>, EngineError> {
    let balances = store.balances(&payer(record, now)).await?;
    Ok(of(record, &balances))
}

fn of(record: &TaskRecord, balances: &[(ScopeKind, Balance)]) -> Vec<Level> {
    let plan = &record.task.plan;
    let of_one =
        |(scope, balance): &(ScopeKind, Balance)| of_account(*scope, &plan.allowance(*scope), *balance);
    balances.iter().flat_map(of_one).collect()
}

/// What a report says was used, with a price where the CLI names none and one is known.
pub(crate) fn priced(record: &TaskRecord, facts: &ReportFact) -> Usage {
    let ReportFact::Task { report, .. } = facts else { return record.usage.clone() };
    let mut usage = report.usage.clone();
    let model = report.model.as_deref().or(record.task.plan.model.as_deref());
    if usage.cost_usd.is_none()
        && let Some(cost) = model.and_then(|model| prices::estimate(model, &usage))
    {
        usage.cost_usd = Some(cost);
        usage.cost_source = CostSource::Estimated;
    }
    usage
}

/// The budget that cut a task: what to say, and whether only the day is over.
pub(crate) struct Cut {
    pub(crate) failure: Failure,
    /// When the next day's budget begins, if no other is used up.
    pub(crate) until: Option<Timestamp>,
}

pub(crate) fn cut(budget: &[Level], now: Timestamp) -> Cut {
    let used_up: Vec<&Level> = budget.iter().filter(|level| level.is_used_up()).collect();
    let message = match used_up.iter().max_by_key(|level| level.percent) {
        Some(level) => level.to_string(),
        None => "a budget is used up".to_owned(),
    };
    let is_day = !used_up.is_empty() && used_up.iter().all(|level| level.scope == ScopeKind::Day);
    Cut {
        failure: Failure::new(FailureKind::Budget, message),
        until: is_day.then(|| midnight(now)).flatten(),
    }
}

/// The beginning of the next day in UTC.
fn midnight(now: Timestamp) -> Option<Timestamp> {
    let date = now.to_zoned(TimeZone::UTC).date().tomorrow().ok()?;
    date.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Charges what a task uses, at most so often.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    last: Option<Instant>,
    /// What was charged last: figures of which attempt.
    charged: Option<(u32, Usage)>,
    levels: Vec<Level>,
}

impl Meter {
    /// The levels of the task's budgets as they are after what it used was charged.
    pub(crate) async fn look(&mut self, engine: &Engine, facts: &Facts) -> Result<Vec<Level>, EngineError> {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= METER_EVERY);
        match &facts.record.state {
            TaskState::Running { .. } if is_due => {
                self.last = Some(Instant::now());
                let plan = &facts.record.task.plan;
                let figures = Some((facts.record.attempt, priced(&facts.record, &facts.report)));
                // Time alone is charged where there is a limit to it.
                let is_timed = ScopeKind::ALL.iter().any(|scope| plan.allowance(*scope).wall_time.is_some());
                if is_timed || figures != self.charged {
                    let spent = engine.spent(facts).await?;
                    self.levels = engine.charge(facts, spent).await?;
                    self.charged = figures;
                } else if ScopeKind::SHARED.iter().any(|scope| plan.allowance(*scope).cuts()) {
                    self.levels = levels(engine.store.as_ref(), &facts.record, engine.clock.now()).await?;
                }
            }
            TaskState::Running { .. } => {}
            // Nothing is used, but others use what they share.
            TaskState::Queued | TaskState::BackingOff { .. } | TaskState::Importing { .. } => {
                self.levels = levels(engine.store.as_ref(), &facts.record, engine.clock.now()).await?;
            }
            _ => self.levels.clear(),
        }
        Ok(self.levels.clone())
    }
}

impl Engine {
    /// What a task used in all its attempts.
    async fn spent(&self, facts: &Facts) -> Result<Spent, EngineError> {
        let now = self.clock.now();
        let attempts = self.store.attempts(&facts.record.task.id).await?;
        let ran = attempts
            .iter()
            .map(|attempt| attempt.finished_at.unwrap_or(now).duration_since(attempt.started_at));
        let wall = ran.filter_map(|ran| Duration::try_from(ran).ok()).sum();
        let count = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        Ok(Spent::of(&priced(&facts.record, &facts.report), count, wall))
    }

    async fn charge(&self, facts: &Facts, spent: Spent) -> Result<Vec<Level>, EngineError> {
        let balances = self.store.charge(&payer(&facts.record, self.clock.now()), spent).await?;
        Ok(of(&facts.record, &balances))
    }

    /// Charges all that an attempt used, when it has ended.
    pub(crate) async fn charge_all(&self, facts: &Facts) -> Result<(), EngineError> {
        let spent = self.spent(facts).await?;
        self.charge(facts, spent).await.map(drop)
    }

    /// Allows a task as much again of each budget that is used up, and returns which. `key` names what said so: one yes
    /// counts once, also when it is heard again after a kill. Nothing is allowed where nothing is used up any more.
    pub async fn grant(
        &self,
        record: &TaskRecord,
        key: &str,
        by: Option<&str>,
    ) -> Result<Vec<ScopeKind>, EngineError> {
        let now = self.clock.now();
        let levels = levels(self.store.as_ref(), record, now).await?;
        let mut scopes: Vec<ScopeKind> =
            levels.iter().filter(|level| level.is_used_up()).map(|level| level.scope).collect();
        scopes.dedup();
        if scopes.is_empty() && !is_cut(record) {
            // The CLI or the agent was the first to find its limit reached.
            scopes.push(ScopeKind::Task);
        }
        Ok(self.store.grant(&payer(record, now), &scopes, key, by, now).await?)
    }

    /// The task's own limits, with what people allowed besides.
    pub(crate) async fn raised(&self, mut record: TaskRecord) -> Result<TaskRecord, EngineError> {
        let balances = self.store.balances(&payer(&record, self.clock.now())).await?;
        let own = balances.iter().find(|(scope, _)| *scope == ScopeKind::Task);
        let portions = own.map_or(1, |(_, balance)| balance.grants.saturating_add(1));
        let plan = &mut record.task.plan;
        if let Some(limit) = plan.allowance(ScopeKind::Task).usd {
            let raised = cloud_code_task_schema::Usd::new(limit.as_f64() * f64::from(portions));
            plan.limits.max_cost_usd = Some(raised.unwrap_or(limit));
        }
        Ok(record)
    }
}

/// Whether the host told the agent to stop for a budget.
pub(crate) fn is_cut(record: &TaskRecord) -> bool {
    record.stop_reason == Some(StopReason::Budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(scope: ScopeKind, percent: u64) -> Level {
        Level { scope, what: "usd", percent, used: "$2.00".into(), limit: "$1.00".into() }
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let next = |at: &str| midnight(at.parse().unwrap()).unwrap().to_string();
        assert_eq!(next("2026-11-21T00:00:00Z"), "2026-11-22T00:00:00Z");
        assert_eq!(next("2026-12-31T23:59:59.9Z"), "2027-01-01T00:00:00Z");
        assert_eq!(next("2028-02-28T23:00:00-05:00"), "2028-03-01T00:00:00Z");
    }

    #[test]
    fn only_a_day_comes_back_by_itself() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let until = |levels: &[Level]| cut(levels, now).until;
        assert_eq!(until(&[level(ScopeKind::Day, 100), level(ScopeKind::Issue, 99)]), midnight(now));
        assert_eq!(until(&[level(ScopeKind::Day, 200), level(ScopeKind::Issue, 100)]), None);
        assert_eq!(until(&[level(ScopeKind::Task, 150)]), None);
        // The CLI kept the limit before the host saw it.
        assert_eq!(until(&[]), None);
    }
}
