//! What may be used, and what was: money, tokens, turns, attempts and time, of a task, an issue, a project and a day.

use std::fmt;

use cloud_code_task_schema::{HumanDuration, TaskId, Usage, Usd};
use serde::{Deserialize, Serialize};

use crate::{IssueKey, ProjectName};

/// Most that may be used; no limit where a key is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct Allowance {
    /// Money, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Tokens, sent and received; those read from a cache do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Answers of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Attempts: containers that were started for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Time in which its containers ran, in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<HumanDuration>,
}

/// The budgets of a project; each key overrides the same key of a less special file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct BudgetSettings {
    /// Of one task, with all its attempts. `limits.max_cost_usd`, and what a person said for this task, go before `usd`.
    pub task: Allowance,
    /// Of one issue over its whole life: all its tasks, failed ones and hand-offs as well.
    pub issue: Allowance,
    /// Of the project over its whole life.
    pub project: Allowance,
    /// Of the project on one day in UTC.
    pub day: Allowance,
}

/// Default of `budget.issue.attempts`. An issue that took thirty containers is not being solved.
const DEFAULT_ISSUE_ATTEMPTS: u64 = 30;

impl Allowance {
    /// Whether an attempt that runs can be cut by it.
    pub const fn cuts(&self) -> bool {
        self.usd.is_some() || self.tokens.is_some() || self.turns.is_some() || self.wall_time.is_some()
    }

    fn over(self, base: Self) -> Self {
        Self {
            usd: self.usd.or(base.usd),
            tokens: self.tokens.or(base.tokens),
            turns: self.turns.or(base.turns),
            attempts: self.attempts.or(base.attempts),
            wall_time: self.wall_time.or(base.wall_time),
        }
    }
}

impl BudgetSettings {
    /// These, and what they leave out from `base`.
    pub fn over(self, base: Self) -> Self {
        Self {
            task: self.task.over(base.task),
            issue: self.issue.over(base.issue),
            project: self.project.over(base.project),
            day: self.day.over(base.day),
        }
    }

    /// In force; absent keys take their defaults.
    pub fn resolved(mut self) -> Self {
        self.issue.attempts = self.issue.attempts.or(Some(DEFAULT_ISSUE_ATTEMPTS));
        self
    }

    /// What a scope may use.
    pub const fn of(&self, scope: ScopeKind) -> &Allowance {
        match scope {
            ScopeKind::Task => &self.task,
            ScopeKind::Issue => &self.issue,
            ScopeKind::Project => &self.project,
            ScopeKind::Day => &self.day,
        }
    }
}

/// What a budget is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeKind {
    /// One task.
    Task,
    /// One issue.
    Issue,
    /// One project.
    Project,
    /// One project on one day.
    Day,
}

impl ScopeKind {
    /// Every one, narrowest first.
    pub const ALL: [Self; 4] = [Self::Task, Self::Issue, Self::Project, Self::Day];
    /// Those that several tasks draw on.
    pub const SHARED: [Self; 3] = [Self::Issue, Self::Project, Self::Day];

    /// As in `budget.task`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Issue => "issue",
            Self::Project => "project",
            Self::Day => "day",
        }
    }
}

impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whose account a task's use goes to: one key of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// The task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectName,
    /// Its issue.
    pub issue: IssueKey,
    /// The day in UTC, as `2026-11-21`.
    pub day: String,
}

impl Payer {
    /// The account of a kind, as stored.
    pub fn account(&self, scope: ScopeKind) -> String {
        match scope {
            ScopeKind::Task => format!("task:{}", self.task),
            ScopeKind::Issue => format!("issue:{}#{}", self.project, self.issue),
            ScopeKind::Project => format!("project:{}", self.project),
            ScopeKind::Day => format!("day:{}@{}", self.project, self.day),
        }
    }

    /// What an account is of, as it is stored.
    pub fn scope_of(account: &str) -> Option<ScopeKind> {
        let (kind, _) = account.split_once(':')?;
        ScopeKind::ALL.into_iter().find(|scope| scope.as_str() == kind)
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spent {
    /// Millionths of a US dollar.
    pub micro_usd: u64,
    /// Tokens, sent and received; those read from a cache do not count.
    pub tokens: u64,
    /// Answers of the model.
    pub turns: u64,
    /// Containers that were started.
    pub attempts: u64,
    /// Milliseconds in which they ran.
    pub wall_ms: u64,
}

const MICRO: f64 = 1e6;
const ATTEMPTS: &str = "attempts";

impl Spent {
    /// A task's figures so far.
    pub fn of(usage: &Usage, attempts: u32, wall: std::time::Duration) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an amount is between 0 and a million dollars"
        )]
        let micro_usd = usage.cost_usd.map_or(0, |usd| (usd.as_f64() * MICRO).round() as u64);
        let tokens = [usage.input_tokens, usage.output_tokens, usage.cache_write_tokens];
        Self {
            micro_usd,
            tokens: tokens.into_iter().flatten().fold(0, u64::saturating_add),
            turns: usage.turns.map_or(0, u64::from),
            attempts: u64::from(attempts),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What came since; figures never fall.
    pub const fn since(self, before: Self) -> Self {
        Self {
            micro_usd: self.micro_usd.saturating_sub(before.micro_usd),
            tokens: self.tokens.saturating_sub(before.tokens),
            turns: self.turns.saturating_sub(before.turns),
            attempts: self.attempts.saturating_sub(before.attempts),
            wall_ms: self.wall_ms.saturating_sub(before.wall_ms),
        }
    }

    /// Both together.
    pub const fn plus(self, more: Self) -> Self {
        Self {
            micro_usd: self.micro_usd.saturating_add(more.micro_usd),
            tokens: self.tokens.saturating_add(more.tokens),
            turns: self.turns.saturating_add(more.turns),
            attempts: self.attempts.saturating_add(more.attempts),
            wall_ms: self.wall_ms.saturating_add(more.wall_ms),
        }
    }

    /// Money, for people.
    pub fn usd(self) -> Usd {
        #[expect(clippy::cast_precision_loss, reason = "a million dollars are 2^40 millionths")]
        let amount = self.micro_usd as f64 / MICRO;
        Usd::new(amount).unwrap_or(Usd::MAX)
    }
}

/// What was used of an account, and how much more than its budget people allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// What was used.
    pub spent: Spent,
    /// How often somebody said yes to as much again.
    pub grants: u32,
}

/// How much of a budget is used, of the limit that is nearest.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Of which budget.
    pub scope: ScopeKind,
    /// Which key of it: `usd`, `tokens`, `turns`, `attempts` or `wall_time`.
    pub what: &'static str,
    /// Hundredths; 100 and more is used up.
    pub percent: u64,
    /// What was used, for people.
    pub used: String,
    /// What may be used, for people.
    pub limit: String,
}

impl Level {
    /// From which share on people are told, in hundredths.
    pub const NOTICE: u64 = 80;

    /// Whether nothing is left: no attempt begins.
    pub const fn is_used_up(&self) -> bool {
        self.percent >= 100
    }

    /// Whether a running attempt is cut: the last one that is allowed may end.
    pub fn cuts(&self) -> bool {
        self.is_used_up() && self.what != ATTEMPTS
    }

    /// Whether people are to be told.
    pub const fn is_near(&self) -> bool {
        self.percent >= Self::NOTICE
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.scope {
            ScopeKind::Task => "the task",
            ScopeKind::Issue => "the issue",
            ScopeKind::Project => "the project",
            ScopeKind::Day => "the project's day",
        };
        write!(f, "{of} has used {} of {} (budget.{}.{})", self.used, self.limit, self.scope, self.what)
    }
}

/// How far an account is from each limit of its budget; nothing where there is no limit.
pub fn levels(scope: ScopeKind, allowance: &Allowance, balance: Balance) -> Vec<Level> {
    let Balance { spent, grants } = balance;
    let portions = u64::from(grants).saturating_add(1);
    let one = |what, used: u64, limit: Option<u64>, told: &dyn Fn(u64) -> String| {
        let limit = limit?.saturating_mul(portions);
        let percent = match limit {
            0 => 100,
            limit => u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
        };
        Some(Level { scope, what, percent, used: told(used), limit: told(limit) })
    };
    let plain = |amount: u64| amount.to_string();
    let time = |ms: u64| HumanDuration::from_secs(ms / 1000).to_string();
    let micro = allowance.usd.map(|usd| Spent::of(&money(usd), 0, std::time::Duration::ZERO).micro_usd);
    let wall =
        allowance.wall_time.map(|wall| u64::try_from(wall.as_duration().as_millis()).unwrap_or(u64::MAX));
    let levels = [
        one("usd", spent.micro_usd, micro, &|micro| {
            Spent { micro_usd: micro, ..Spent::default() }.usd().to_string()
        }),
        one("tokens", spent.tokens, allowance.tokens, &plain),
        one("turns", spent.turns, allowance.turns, &plain),
        one(ATTEMPTS, spent.attempts, allowance.attempts, &plain),
        one("wall_time", spent.wall_ms, wall, &time),
    ];
    levels.into_iter().flatten().collect()
}

/// The limit that is nearest.
pub fn nearest(levels: &[Level]) -> Option<&Level> {
    levels.iter().max_by_key(|level| level.percent)
}

fn money(usd: Usd) -> Usage {
    Usage { cost_usd: Some(usd), ..Usage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: f64) -> Option<Usd> {
        Usd::new(amount).ok()
    }

    fn level(scope: ScopeKind, allowance: &Allowance, balance: Balance) -> Level {
        nearest(&levels(scope, allowance, balance)).unwrap().clone()
    }

    #[test]
    fn the_last_attempt_may_end() {
        let allowance = Allowance { attempts: Some(3), ..Allowance::default() };
        let spent = Spent { attempts: 3, ..Spent::default() };
        let found = level(ScopeKind::Issue, &allowance, Balance { spent, grants: 0 });
        assert!(found.is_used_up() && !found.cuts());
    }

    #[test]
    fn the_nearest_limit_counts() {
        let allowance = Allowance { usd: usd(2.0), tokens: Some(1000), ..Allowance::default() };
        let spent = Spent { micro_usd: 500_000, tokens: 900, ..Spent::default() };
        let found = level(ScopeKind::Issue, &allowance, Balance { spent, grants: 0 });
        assert_eq!((found.what, found.percent), ("tokens", 90));
        assert!(found.is_near() && !found.is_used_up());
        assert_eq!(found.to_string(), "the issue has used 900 of 1000 (budget.issue.tokens)");
        let found = level(ScopeKind::Issue, &allowance, Balance { spent, grants: 1 });
        assert_eq!((found.what, found.percent), ("tokens", 45));
        assert_eq!(levels(ScopeKind::Task, &Allowance::default(), Balance { spent, grants: 0 }), []);
    }

    #[test]
    fn a_limit_of_nothing_is_used_up_at_once() {
        let allowance = Allowance { usd: usd(0.0), ..Allowance::default() };
        let found = level(ScopeKind::Day, &allowance, Balance::default());
        assert!(found.is_used_up());
    }

    #[test]
    fn settings_win_key_by_key() {
        let base = BudgetSettings {
            task: Allowance { usd: usd(1.0), turns: Some(5), ..Allowance::default() },
            ..BudgetSettings::default()
        };
        let own = BudgetSettings {
            task: Allowance { usd: usd(3.0), ..Allowance::default() },
            ..BudgetSettings::default()
        };
        let both = own.over(base).resolved();
        assert_eq!((both.task.usd, both.task.turns), (usd(3.0), Some(5)));
        assert_eq!(both.issue.attempts, Some(DEFAULT_ISSUE_ATTEMPTS));
    }

    #[test]
    fn figures_never_fall() {
        let usage = Usage {
            input_tokens: Some(10),
            output_tokens: Some(5),
            cache_read_tokens: Some(1000),
            turns: Some(2),
            cost_usd: usd(0.25),
            ..Usage::default()
        };
        let spent = Spent::of(&usage, 2, std::time::Duration::from_secs(3));
        let expected = Spent { micro_usd: 250_000, tokens: 15, turns: 2, attempts: 2, wall_ms: 3000 };
        assert_eq!(spent, expected);
        assert_eq!(Spent::default().since(spent), Spent::default());
        assert_eq!(spent.since(Spent::default()).plus(Spent::default()), spent);
        assert_eq!(spent.usd().to_string(), "$0.25");
    }
}
