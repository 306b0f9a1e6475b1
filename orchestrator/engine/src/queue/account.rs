//! Whose limits a task shares, and who was asked to wait.

use std::collections::BTreeMap;

use cloud_code_model::{ProjectPlan, TaskRecord, TaskState};
use cloud_code_task_schema::FailureKind;
use jiff::Timestamp;

/// Tasks with the same CLI, address and keys are one customer to a provider.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account<'a> {
    cli: &'a str,
    base_url: Option<&'a str>,
    secrets: &'a [String],
}

impl<'a> Account<'a> {
    pub(super) fn of(plan: &'a ProjectPlan) -> Self {
        Self { cli: plan.cli.as_str(), base_url: plan.base_url.as_deref(), secrets: &plan.secrets }
    }
}

/// The accounts whose provider asked to wait, and until when. What one task was told holds for all of that account, so that
/// forty do not each burn an attempt to hear it. Read from the tasks themselves: no restart forgets it, and it ends by itself.
pub(super) fn limited(open: &[TaskRecord]) -> BTreeMap<Account<'_>, Timestamp> {
    let mut limited = BTreeMap::new();
    for record in open {
        if let TaskState::BackingOff { failure, until, .. } = &record.state
            && matches!(failure.kind, FailureKind::RateLimited | FailureKind::UsageLimit)
        {
            let latest = limited.entry(Account::of(&record.task.plan)).or_insert(*until);
            *latest = (*latest).max(*until);
        }
    }
    limited
}
