//! Whether a pull request may be merged now, and if not, why. Pure: what is asked of the forge is asked by the caller, and
//! the same facts always lead to the same end.

use std::collections::BTreeMap;

use cloud_code_forge::{CheckFacts, Mergeable, PullFacts, Readiness, ReviewFacts, ReviewState};
use cloud_code_model::{MergeHold, MergeMethod, MergeWord, Merging, fnv1a};
use jiff::{SignedDuration, Timestamp};

/// How long a commit without any check is watched for one. Shorter, and it is merged before its checks begin: they come some
/// seconds after the push. Longer, and work in a repository without checks waits for nothing.
pub(super) const CHECKS_COME_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Most names that are told.
const MAX_NAMES: usize = 5;

/// What is so.
pub(super) struct Seen<'a> {
    pub(super) pull: &'a PullFacts,
    pub(super) checks: &'a CheckFacts,
    /// Oldest first.
    pub(super) reviews: &'a [ReviewFacts],
    /// What the store says against it, before anything else.
    pub(super) ahead: Option<MergeHold>,
    pub(super) method: MergeMethod,
    /// Whether somebody has to say yes.
    pub(super) is_gated: bool,
}

/// Why it is not merged; [`MergeHold::Nothing`] when it is to be.
pub(super) fn judge(seen: &Seen<'_>, known: &Merging, now: Timestamp) -> MergeHold {
    if let Some(ahead) = &seen.ahead {
        return ahead.clone();
    }
    if known.is_said(MergeWord::No) {
        return MergeHold::Declined;
    }
    if seen.pull.draft {
        return MergeHold::Draft;
    }
    if seen.pull.mergeable == Mergeable::Conflict {
        return MergeHold::Conflict;
    }
    if let Some(hold) = of_checks(seen, known, now) {
        return hold;
    }
    let by = ask_for_changes(seen.reviews);
    if !by.is_empty() {
        return MergeHold::ChangesAsked { by: some(&by) };
    }
    if seen.pull.mergeable == Mergeable::Unknown {
        return MergeHold::Looking;
    }
    if seen.is_gated && !known.is_said(MergeWord::Yes) {
        return MergeHold::WaitsForYes;
    }
    match &known.refused {
        Some(refused) if refused.facts == digest(seen) => refused.hold.clone(),
        Some(_) | None => MergeHold::Nothing,
    }
}

fn of_checks(seen: &Seen<'_>, known: &Merging, now: Timestamp) -> Option<MergeHold> {
    let checks = seen.checks;
    if !checks.failed.is_empty() {
        return Some(MergeHold::ChecksFail { names: some(&checks.failed) });
    }
    if !checks.running.is_empty() {
        return Some(MergeHold::ChecksRun { names: some(&checks.running) });
    }
    if !checks.is_whole && seen.pull.readiness == Readiness::Unstable {
        return Some(MergeHold::ChecksUnclear);
    }
    let is_young = now.duration_since(known.seen_at) < CHECKS_COME_WITHIN;
    (checks.passed == 0 && is_young).then_some(MergeHold::ChecksMayCome)
}

/// Whose last word on it is that it must be changed. A remark takes nothing back.
fn ask_for_changes(reviews: &[ReviewFacts]) -> Vec<String> {
    let mut last: BTreeMap<u64, (&str, ReviewState)> = BTreeMap::new();
    for review in reviews {
        if matches!(review.state, ReviewState::Commented | ReviewState::Pending) {
            continue;
        }
        // A deleted account takes nothing back any more.
        let author = review.author.as_ref().map_or((0, "ghost"), |author| (author.id, author.login.as_str()));
        last.insert(author.0, (author.1, review.state));
    }
    let asking = last.values().filter(|(_, state)| *state == ReviewState::ChangesRequested);
    asking.map(|(login, _)| (*login).to_owned()).collect()
}

/// Everything that a refusal of the forge may have had to do with: as long as it is the same, asking again cannot help.
pub(super) fn digest(seen: &Seen<'_>) -> String {
    let pull = seen.pull;
    let reviews: Vec<_> = seen.reviews.iter().map(|review| (review.id, review.state)).collect();
    let facts =
        (pull.mergeable, pull.readiness, pull.draft, &pull.base, seen.checks, reviews, seen.method.as_str());
    format!("{:016x}", fnv1a(format!("{facts:?}").as_bytes()))
}

fn some(names: &[String]) -> Vec<String> {
    names.iter().take(MAX_NAMES).cloned().collect()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
