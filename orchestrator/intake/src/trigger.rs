//! What a notice starts: an intent, a fact for the engine, or nothing.
//!
//! An intent's key names the thing on the forge that it came from. A webhook, its redelivery, a sweep and a poll find
//! the same comment, make the same key, and so start the same work once.
//!
//! What we write ourselves comes back to us. Several rules, each of which would do, keep it from starting work.

use cloud_code_model::{Actor, Ask, Command, Intent, Place, Subject};
use jiff::Timestamp;

use crate::command::{Found, Spelling, parse, without_command};
use crate::markdown::mentions;
use crate::marker::carries_marker;
use crate::notice::{Happening, Head, Notice, Said, SaidAt, Sender, SenderKind, Thing, Verdict};
use crate::rules::Rules;
use crate::visible::visible;

/// What a notice starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Somebody asks for something. Whether they may is [`authorise`](crate::authorise)'s question.
    Intent(Box<Intent>),
    /// Nobody asks, but the engine may care: a closed issue, a merged pull request, an answer to its question.
    Fact(Box<Happening>),
    /// Nothing.
    Nothing(Why),
}

/// Why nothing starts, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Of no use to us.
    #[error("{0}")]
    Ignored(String),
    /// Done by our own account.
    #[error("our own account did this")]
    OurOwn,
    /// Done through our App for somebody.
    #[error("it was done through our own App")]
    ThroughOurApp,
    /// It carries our mark.
    #[error("the text carries our marker")]
    OurMarker,
    /// Bots talk to each other without end.
    #[error("a bot that is not listed did this")]
    Bot,
    /// A deleted account.
    #[error("nobody is there any more who did this")]
    Nobody,
    /// An issue that was moved here, or a text that somebody else sends.
    #[error("who sent this did not write the text")]
    NotTheAuthor,
    /// The words that were there first are not known, nor who changed them.
    #[error("the text was changed before it was read: only a new comment starts work")]
    Changed,
    /// A setting says no, or a label is none of ours.
    #[error("it asks for nothing")]
    AsksNothing,
}

/// Who stands for checks whose sender's account is gone. No account has this id, so it may nothing.
const GHOST: u64 = 0;

/// Decides what a notice starts.
pub fn trigger(notice: &Notice, rules: &Rules) -> Trigger {
    match &notice.happening {
        Happening::Said(said) => on_said(notice, said, rules),
        Happening::Labeled { thing, label } => on_labeled(notice, thing, label, rules),
        Happening::Assigned { thing, assignee } => on_assigned(notice, thing, assignee, rules),
        Happening::ChecksCompleted { .. } => on_checks(notice, rules),
        Happening::Ignored { why } => Trigger::Nothing(Why::Ignored(why.clone())),
        fact => Trigger::Fact(Box::new(fact.clone())),
    }
}

/// Who did this, if it may start anything at all.
fn starter<'a>(notice: &'a Notice, rules: &Rules) -> Result<&'a Sender, Why> {
    let sender = notice.sender.as_ref().ok_or(Why::Nobody)?;
    if rules.bot.as_ref().is_some_and(|bot| bot.id == sender.actor.id) {
        return Err(Why::OurOwn);
    }
    if notice.via_app.is_some() && notice.via_app == rules.app_id {
        return Err(Why::ThroughOurApp);
    }
    match sender.kind {
        SenderKind::User => Ok(sender),
        SenderKind::Bot if rules.listed_bots.contains(&sender.actor.id) => Ok(sender),
        SenderKind::Bot => Err(Why::Bot),
        SenderKind::Other => Err(Why::Nobody),
    }
}

fn on_said(notice: &Notice, said: &Said, rules: &Rules) -> Trigger {
    let author = match heard(notice, said, rules) {
        Ok(author) => author,
        Err(why) => return Trigger::Nothing(why),
    };
    let Some(ask) = ask(notice, said, rules) else {
        return Trigger::Fact(Box::new(notice.happening.clone()));
    };
    // Who changed a text that is found in a listing, and what it said before, cannot be known.
    if said.changed_at.is_some() {
        return Trigger::Nothing(Why::Changed);
    }
    let (key, place) = match &said.at {
        SaidAt::Opening => (format!("opening-{}", said.number), Place::Issue),
        SaidAt::Comment { id } => (format!("comment-{id}"), Place::Comment { id: *id }),
        SaidAt::Review { id, .. } => (format!("review-{id}"), Place::Review { id: *id }),
        SaidAt::Line { id, thread, .. } => {
            (format!("line-{id}"), Place::ReviewComment { id: *id, thread: *thread })
        }
    };
    Trigger::Intent(Box::new(Intent {
        key,
        number: said.number,
        subject: said.subject,
        actor: author.clone(),
        at: said.created_at,
        place,
        ask,
        head_sha: None,
    }))
}

/// Who wrote the text, if it is listened to.
fn heard<'a>(notice: &Notice, said: &'a Said, rules: &Rules) -> Result<&'a Actor, Why> {
    if carries_marker(&said.text) {
        return Err(Why::OurMarker);
    }
    let sender = starter(notice, rules)?;
    let author = said.author.as_ref().ok_or(Why::Nobody)?;
    if author.actor.id == sender.actor.id { Ok(&author.actor) } else { Err(Why::NotTheAuthor) }
}

fn ask(notice: &Notice, said: &Said, rules: &Rules) -> Option<Ask> {
    let is_ours = said.head.as_ref().is_some_and(|head| is_our_branch(notice, head, rules));
    match parse(&said.text, rules) {
        Err(error) => {
            return Some(Ask::Mistake { message: error.to_string(), hint: error.hint(&rules.prefix) });
        }
        Ok(Some(found)) => {
            let is_review = matches!(said.at, SaidAt::Review { verdict: Verdict::ChangesRequested, .. });
            // A review's lines belong to its task. A command beside them that only says to work says nothing more.
            if is_review && is_ours && rules.on_changes_requested && only_says_to_work(&found.command) {
                let text = without_command(&said.text, rules).unwrap_or_else(|| said.text.clone());
                return Some(Ask::Changes { text: seen(&text) });
            }
            return Some(asked(found, said, is_ours));
        }
        Ok(None) => {}
    }
    let is_spoken_to = rules.on_mention && rules.handle().is_some_and(|handle| mentions(&said.text, handle));
    match &said.at {
        SaidAt::Review { verdict: Verdict::ChangesRequested, .. }
            if is_ours && rules.on_changes_requested =>
        {
            Some(Ask::Changes { text: seen(&said.text) })
        }
        SaidAt::Line { .. } if is_spoken_to && is_ours => line_ask(said, seen(&said.text)),
        SaidAt::Line { .. } => None,
        SaidAt::Opening | SaidAt::Comment { .. } | SaidAt::Review { .. } if is_spoken_to => {
            Some(Ask::Command {
                command: Command::Run {
                    cli: None,
                    model: None,
                    base: None,
                    budget: None,
                    text: seen(&said.text),
                },
            })
        }
        SaidAt::Opening | SaidAt::Comment { .. } | SaidAt::Review { .. } => None,
    }
}

/// A command without a verb on a line of our pull request is about that line.
fn asked(found: Found, said: &Said, is_ours: bool) -> Ask {
    if is_ours
        && found.verb == Spelling::Implied
        && let Command::Run { cli: None, model: None, base: None, budget: None, text } = &found.command
        && let Some(ask) = line_ask(said, text.clone())
    {
        return ask;
    }
    Ask::Command { command: found.command }
}

fn only_says_to_work(command: &Command) -> bool {
    matches!(command, Command::Run { cli: None, model: None, base: None, budget: None, .. })
}

/// Whether a comment on a line asks for nothing but work, as the review that it came with does when that asks for changes.
/// Then it is a part of that review, and one task does both.
pub fn is_part_of_review(said: &Said, ask: &Ask) -> Option<u64> {
    let SaidAt::Line { review, .. } = said.at else { return None };
    let asks_for_work = match ask {
        Ask::Line { .. } => true,
        Ask::Command { command } => only_says_to_work(command),
        Ask::Answer { .. }
        | Ask::Mistake { .. }
        | Ask::Changes { .. }
        | Ask::ChecksFailed { .. }
        | Ask::BaseConflict { .. } => false,
    };
    review.filter(|_| asks_for_work)
}

/// Whether a review that asks for changes, of this text, becomes a task with its lines in it.
pub fn takes_its_lines(text: &str, rules: &Rules) -> bool {
    rules.on_changes_requested
        && !carries_marker(text)
        && match parse(text, rules) {
            Ok(None) => true,
            Ok(Some(found)) => only_says_to_work(&found.command),
            Err(_) => false,
        }
}

/// Seconds by which the times of one thing differ: a webhook has that of the issue, a list that of the event. Higher and
/// whoever takes a label off and puts it on again is not heard; lower and one label is two requests.
const SAME_MOMENT: i64 = 5;

/// The keys that the same request may have been stored under: labels and assignments have no number that a webhook
/// tells, so their keys hold the time.
pub fn other_keys(key: &str) -> Vec<String> {
    let is_dated = key.starts_with(LABEL) || key.starts_with(ASSIGNED);
    let Some((stem, second)) = key.rsplit_once('-').filter(|_| is_dated) else { return Vec::new() };
    let Ok(second) = second.parse::<i64>() else { return Vec::new() };
    let near = (second - SAME_MOMENT..=second + SAME_MOMENT).filter(|other| *other != second);
    near.map(|other| format!("{stem}-{other}")).collect()
}

const LABEL: &str = "label-";
const ASSIGNED: &str = "assigned-";

fn line_ask(said: &Said, text: String) -> Option<Ask> {
    let SaidAt::Line { path, line, diff_hunk, .. } = &said.at else { return None };
    Some(Ask::Line { text, path: path.clone(), line: *line, diff_hunk: diff_hunk.clone() })
}

fn seen(text: &str) -> String {
    visible(text).text.trim().to_owned()
}

/// Ours is a branch with our prefix in the repository itself; anybody can name a branch of a fork so.
fn is_our_branch(notice: &Notice, head: &Head, rules: &Rules) -> bool {
    let here = notice.repository.as_ref().map(|repository| repository.id);
    head.repository.is_some() && head.repository == here && has_our_prefix(&head.branch, rules)
}

fn has_our_prefix(branch: &str, rules: &Rules) -> bool {
    !rules.branch_prefix.is_empty() && branch.starts_with(&rules.branch_prefix)
}

fn on_labeled(notice: &Notice, thing: &Thing, label: &str, rules: &Rules) -> Trigger {
    // GitHub takes labels that differ in the size of letters for the same.
    if !rules.ready_labels.iter().any(|ready| ready.to_lowercase() == label.to_lowercase()) {
        return Trigger::Nothing(Why::AsksNothing);
    }
    let key = format!("{LABEL}{}-{}-{}", thing.number, slug(label), thing.updated_at.as_second());
    run_on(notice, thing, key, rules)
}

fn on_assigned(notice: &Notice, thing: &Thing, assignee: &Actor, rules: &Rules) -> Trigger {
    let is_us = rules.bot.as_ref().is_some_and(|bot| bot.id == assignee.id);
    let by = notice.sender.as_ref().map(|sender| sender.actor.id);
    let is_for_us =
        rules.account.as_ref().is_some_and(|account| account.id == assignee.id && by != Some(account.id));
    if !(is_us || is_for_us) || !rules.on_assignment {
        return Trigger::Nothing(Why::AsksNothing);
    }
    run_on(notice, thing, format!("{ASSIGNED}{}-{}", thing.number, thing.updated_at.as_second()), rules)
}

fn run_on(notice: &Notice, thing: &Thing, key: String, rules: &Rules) -> Trigger {
    let sender = match starter(notice, rules) {
        Ok(sender) => sender,
        Err(why) => return Trigger::Nothing(why),
    };
    let run = Command::Run { cli: None, model: None, base: None, budget: None, text: String::new() };
    Trigger::Intent(Box::new(Intent {
        key,
        number: thing.number,
        subject: thing.subject,
        actor: sender.actor.clone(),
        at: thing.updated_at,
        place: Place::Issue,
        ask: Ask::Command { command: run },
        head_sha: None,
    }))
}

/// Checks are sent in the name of whoever pushed, and that is us: here the branch decides, and which App checked.
fn on_checks(notice: &Notice, rules: &Rules) -> Trigger {
    let Happening::ChecksCompleted { app_id, app, head_sha, head_branch, conclusion, pulls, completed_at } =
        &notice.happening
    else {
        return Trigger::Nothing(Why::AsksNothing);
    };
    if rules.app_id == Some(*app_id) {
        return Trigger::Nothing(Why::OurOwn);
    }
    let is_ours = head_branch.as_deref().is_some_and(|branch| has_our_prefix(branch, rules));
    // A fork's pull requests are never listed, so one that is listed has its branch here.
    let number = match pulls.iter().min() {
        Some(number) if is_ours && conclusion.is_failure() && rules.on_failing_checks => *number,
        Some(_) | None => return Trigger::Fact(Box::new(notice.happening.clone())),
    };
    Trigger::Intent(Box::new(checks_failed(notice, number, head_sha, app, *completed_at)))
}

/// One for a commit, whoever checked it: its repair looks at all of them, and makes another commit.
fn checks_failed(notice: &Notice, number: u64, head_sha: &str, app: &str, at: Timestamp) -> Intent {
    let actor = notice
        .sender
        .as_ref()
        .map_or_else(|| Actor { id: GHOST, login: "ghost".to_owned() }, |sender| sender.actor.clone());
    Intent {
        key: format!("checks-{head_sha}"),
        number,
        subject: Subject::PullRequest,
        actor,
        at,
        place: Place::Check { head_sha: head_sha.to_owned() },
        ask: Ask::ChecksFailed { names: vec![app.to_owned()] },
        head_sha: None,
    }
}

/// A label's name as it stands in a key.
fn slug(label: &str) -> String {
    let slug: String =
        label.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    slug.trim_matches('-').to_owned()
}
