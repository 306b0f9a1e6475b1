use cloud_code_forge::{PullState, TextId};
use cloud_code_model::{Actor, Approver, MergeRefused};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn pull() -> PullFacts {
    PullFacts {
        number: 43,
        url: String::new(),
        title: String::new(),
        body: String::new(),
        author: None,
        state: PullState::Open,
        draft: false,
        head_sha: "a1".to_owned(),
        head_branch: "cloud-code/issue-42".to_owned(),
        head_repository: None,
        same_repository: true,
        base: "main".to_owned(),
        mergeable: Mergeable::Clean,
        merged_by: None,
        readiness: Readiness::Clear,
        updated_at: NOW,
    }
}

fn green() -> CheckFacts {
    CheckFacts { passed: 1, is_whole: true, ..CheckFacts::default() }
}

fn review(id: u64, author: u64, state: ReviewState) -> ReviewFacts {
    ReviewFacts {
        text_id: TextId::new(String::new()),
        id,
        body: String::new(),
        state,
        author: Some(Actor { id: author, login: format!("user-{author}") }),
        author_is_bot: false,
        submitted_at: None,
        head_sha: None,
        url: String::new(),
        comments: Vec::new(),
    }
}

/// A pull request with nothing in its way, but for what a test changes.
struct Case {
    pull: PullFacts,
    checks: CheckFacts,
    reviews: Vec<ReviewFacts>,
    ahead: Option<MergeHold>,
    known: Merging,
    is_gated: bool,
}

impl Case {
    fn new() -> Self {
        let mut known = Merging::of("a1", NOW, NOW, None);
        known.say_now(MergeWord::Yes, Approver::CommandLine, NOW);
        Self { pull: pull(), checks: green(), reviews: Vec::new(), ahead: None, known, is_gated: true }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            pull: &self.pull,
            checks: &self.checks,
            reviews: &self.reviews,
            ahead: self.ahead.clone(),
            method: MergeMethod::Merge,
            is_gated: self.is_gated,
        }
    }

    fn judged(&self) -> MergeHold {
        judge(&self.seen(), &self.known, NOW)
    }
}

fn with(change: impl FnOnce(&mut Case)) -> MergeHold {
    let mut case = Case::new();
    change(&mut case);
    case.judged()
}

#[test]
fn a_green_pull_request_with_a_yes_is_merged() {
    assert_eq!(Case::new().judged(), MergeHold::Nothing);
}

#[test]
fn without_a_yes_it_waits_unless_the_gate_is_off() {
    assert_eq!(with(|case| case.known.verdict = None), MergeHold::WaitsForYes);
    let open = with(|case| {
        case.known.verdict = None;
        case.is_gated = false;
    });
    assert_eq!(open, MergeHold::Nothing);
}

#[test]
fn a_no_holds_with_and_without_the_gate() {
    for is_gated in [true, false] {
        let declined = with(|case| {
            case.known.say_now(MergeWord::No, Approver::CommandLine, NOW);
            case.is_gated = is_gated;
        });
        assert_eq!(declined, MergeHold::Declined);
    }
}

#[test]
fn a_yes_overrides_nothing() {
    let names = || vec!["ci".to_owned()];
    assert_eq!(with(|case| case.pull.draft = true), MergeHold::Draft);
    assert_eq!(with(|case| case.pull.mergeable = Mergeable::Conflict), MergeHold::Conflict);
    assert_eq!(with(|case| case.pull.mergeable = Mergeable::Unknown), MergeHold::Looking);
    assert_eq!(with(|case| case.checks.failed = names()), MergeHold::ChecksFail { names: names() });
    assert_eq!(with(|case| case.checks.running = names()), MergeHold::ChecksRun { names: names() });
    assert_eq!(with(|case| case.ahead = Some(MergeHold::Work)), MergeHold::Work);
}

#[test]
fn checks_may_come_for_a_while_and_then_there_are_none() {
    let mut case = Case::new();
    case.checks = CheckFacts { is_whole: true, ..CheckFacts::default() };
    assert_eq!(case.judged(), MergeHold::ChecksMayCome);
    assert_eq!(judge(&case.seen(), &case.known, NOW + CHECKS_COME_WITHIN), MergeHold::Nothing);
}

#[test]
fn checks_that_cannot_be_read_are_judged_by_the_forges_word() {
    let unreadable = |readiness| {
        with(|case| {
            case.checks = CheckFacts { passed: 1, ..CheckFacts::default() };
            case.pull.readiness = readiness;
        })
    };
    assert_eq!(unreadable(Readiness::Unstable), MergeHold::ChecksUnclear);
    assert_eq!(unreadable(Readiness::Clear), MergeHold::Nothing);
}

#[test]
fn everybodys_last_word_of_review_counts() {
    use ReviewState::{Approved, ChangesRequested, Commented, Dismissed};
    let after = |states: &[ReviewState]| {
        with(|case| {
            let reviews = states.iter().zip(1..).map(|(state, id)| review(id, 7, *state));
            case.reviews = reviews.collect();
        })
    };
    let asked = MergeHold::ChangesAsked { by: vec!["user-7".to_owned()] };
    assert_eq!(after(&[ChangesRequested]), asked);
    assert_eq!(after(&[ChangesRequested, Commented]), asked);
    assert_eq!(after(&[Approved, ChangesRequested]), asked);
    assert_eq!(after(&[ChangesRequested, Approved]), MergeHold::Nothing);
    assert_eq!(after(&[Dismissed]), MergeHold::Nothing);
    let of_two = with(|case| case.reviews = vec![review(1, 7, ChangesRequested), review(2, 8, Approved)]);
    assert_eq!(of_two, asked, "nobody takes back another's word");
}

#[test]
fn a_refusal_holds_until_something_changes() {
    let mut case = Case::new();
    let hold = MergeHold::Refused { message: "1 approving review is required".to_owned() };
    case.known.refused = Some(MergeRefused { facts: digest(&case.seen()), hold: hold.clone() });
    assert_eq!(case.judged(), hold);
    case.reviews.push(review(1, 7, ReviewState::Approved));
    assert_eq!(case.judged(), MergeHold::Nothing);
}
