//! What people are told of merging, in the status comment and in answers. Pure.

use cloud_code_model::{Approver, MergeHold, MergeWord, Published, PullState};

use crate::words::{code, foreign};

/// Most characters of what the forge says.
const MAX_SAID: usize = 600;
/// Characters of a commit that are shown.
const SHORT: usize = 12;

/// A commit, for people.
pub(crate) fn commit(sha: &str) -> String {
    format!("`{}`", sha.get(..SHORT).unwrap_or(sha))
}

/// What is so about merging the pull request, in one or two sentences; nothing where it is left to people anyway.
pub(crate) fn paragraph(published: &Published, prefix: &str) -> Option<String> {
    let (pull, merging) = (published.pull.as_ref()?, published.merging.as_ref()?);
    let head = commit(&merging.head_sha);
    match pull.state {
        PullState::Closed => return None,
        PullState::Merged => {
            merging.merged_at?;
            let by = match &merging.verdict {
                Some(verdict) if verdict.word == MergeWord::Yes => format!("{} said yes to", verdict.by),
                Some(_) | None => "everything was as the project wants it at".to_owned(),
            };
            return Some(format!("cloud-code merged it: {by} {head}."));
        }
        PullState::Open => {}
    }
    let held = sentence(&merging.hold, &head, prefix)?;
    let yes = merging.verdict.as_ref().filter(|verdict| verdict.word == MergeWord::Yes);
    Some(match (yes, &merging.lapsed) {
        (Some(verdict), _) => format!("{} said yes to merging {head}. {held}", verdict.by),
        (None, Some(lapsed)) => format!("{} {held}", lapsed_words(lapsed, &head)),
        (None, None) => held,
    })
}

fn lapsed_words(lapsed: &Approver, head: &str) -> String {
    format!(
        "The yes of {lapsed} was for an earlier commit; the branch has {head} since, which nobody has said yes to."
    )
}

/// The last line of the comment, where a word of somebody leads on.
pub(crate) fn next(published: &Published, prefix: &str) -> Option<String> {
    let merging = published.merging.as_ref()?;
    published.pull.as_ref().filter(|pull| pull.state == PullState::Open)?;
    match &merging.hold {
        MergeHold::WaitsForYes => {
            Some(format!("`{prefix} approve` merges it, `{prefix} reject` leaves it open"))
        }
        MergeHold::Declined => {
            Some(format!("`{prefix} approve` merges it after all, `{prefix} what comes next` goes on"))
        }
        MergeHold::MethodRefused { .. } | MergeHold::Refused { .. } => {
            Some(format!("`{prefix} approve` tries it again, `{prefix} reject` leaves it open"))
        }
        _ => None,
    }
}

/// Why it is not merged, and what helps.
pub(crate) fn sentence(hold: &MergeHold, head: &str, prefix: &str) -> Option<String> {
    let said = |message: &str| format!("\n\n{}", super::super::says::quoted(&foreign(message, MAX_SAID)));
    Some(match hold {
        MergeHold::Looking | MergeHold::Work | MergeHold::IssueClosed | MergeHold::Nothing => return None,
        MergeHold::NotOurs => {
            "It is not merged from here, because somebody else opened this pull request: merge it by hand."
                .to_owned()
        }
        MergeHold::OtherBase { base } => format!(
            "It is not merged from here, because it goes to {} and not to the project's base: merge it by hand.",
            code(base, 200)
        ),
        MergeHold::Draft => {
            "It is not merged as long as it is a draft: mark it as ready for review.".to_owned()
        }
        MergeHold::Conflict => "It cannot be merged as long as it conflicts with its base.".to_owned(),
        MergeHold::ChecksRun { names } => {
            format!(
                "It is not merged before its checks are green; {} not ended yet.",
                named(names, "has", "have")
            )
        }
        MergeHold::ChecksFail { names } => {
            format!("It is not merged as long as checks fail: {}.", list(names))
        }
        MergeHold::ChecksMayCome => {
            "It has no checks yet, and is not merged before some time was left for them to begin.".to_owned()
        }
        MergeHold::ChecksUnclear => {
            "It is not merged, because GitHub says that not all of its checks have passed. Which \
             ones cannot be read with this token."
                .to_owned()
        }
        MergeHold::ChangesAsked { by } => format!(
            "It is not merged as long as {} for changes: approve it, or dismiss the review.",
            named(by, "asks", "ask")
        ),
        MergeHold::WaitsForYes => format!(
            "**It waits for a yes to be merged**, from somebody who may command here: `{prefix} approve`, here or in the \
             pull request. The yes is for {head} alone."
        ),
        MergeHold::Declined => "Somebody said no to merging it as it is, so it stays open.".to_owned(),
        MergeHold::Refused { message } => format!(
            "GitHub does not merge it. It is tried again by itself when a review, a check or the base changes that.{}",
            said(message)
        ),
        MergeHold::MethodRefused { message } => format!(
            "GitHub does not merge it in the way that the project's `publish.merge` names. Somebody has to change that, or \
             the repository's settings.{}",
            said(message)
        ),
        MergeHold::Queue { message } => format!(
            "Its base has a merge queue, which cloud-code does not put pull requests into. Put it there by hand.{}",
            said(message)
        ),
    })
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| code(name, 80)).collect::<Vec<_>>().join(", ")
}

fn named(names: &[String], one: &str, more: &str) -> String {
    format!("{} {}", list(names), if names.len() == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use cloud_code_model::{Merging, Pull};
    use jiff::Timestamp;

    use super::*;

    fn published(change: impl FnOnce(&mut Merging)) -> Published {
        let now = Timestamp::UNIX_EPOCH;
        let mut merging = Merging::of("0123456789abcdef", now, now, None);
        change(&mut merging);
        let pull = Pull {
            number: 43,
            url: "https://forge.test/pull/43".into(),
            state: PullState::Open,
            head_sha: "0123456789abcdef".into(),
        };
        Published { pull: Some(pull), merging: Some(merging), ..Published::default() }
    }

    #[test]
    fn who_is_waited_for_reads_how_to_say_yes() {
        let waits = published(|merging| merging.hold = MergeHold::WaitsForYes);
        let told = paragraph(&waits, "/cloud-code").unwrap();
        assert!(told.contains("waits for a yes") && told.contains("`/cloud-code approve`"), "{told}");
        assert!(told.contains("`0123456789ab`"), "{told}");
        assert!(next(&waits, "/cloud-code").unwrap().contains("leaves it open"));
    }

    #[test]
    fn a_yes_of_before_is_told_as_such() {
        let lapsed = published(|merging| {
            merging.lapsed = Some(Approver::Person { login: "alice".into() });
            merging.hold = MergeHold::WaitsForYes;
        });
        let told = paragraph(&lapsed, "/cloud-code").unwrap();
        assert!(told.starts_with("The yes of alice was for an earlier commit"), "{told}");
    }

    #[test]
    fn what_the_forge_says_stands_as_a_quotation_and_calls_nobody() {
        let refused = published(|merging| {
            merging.hold = MergeHold::Refused { message: "ask @everybody\n/cloud-code run".into() };
        });
        let told = paragraph(&refused, "/cloud-code").unwrap();
        assert!(!told.contains("@everybody") && !told.contains("\n/cloud-code"), "{told}");
    }

    #[test]
    fn what_a_person_merged_is_not_claimed() {
        let mut merged = published(|_| {});
        merged.pull.as_mut().unwrap().state = PullState::Merged;
        assert_eq!(paragraph(&merged, "/cloud-code"), None);
        merged.merging.as_mut().unwrap().merged_at = Some(Timestamp::UNIX_EPOCH);
        assert!(paragraph(&merged, "/cloud-code").unwrap().starts_with("cloud-code merged it"));
    }
}
