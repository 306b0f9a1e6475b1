//! From a stored delivery to a stored request. What cannot be read is noted and left; what a forge cannot be asked about
//! now waits; nothing is acted on here.

use std::sync::Arc;

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{Forge, ForgeError, PullState, ReviewState};
use cloud_code_intake::{
    Happening, Notice, Rules, SaidAt, Trigger, is_part_of_review, other_keys, takes_its_lines, trigger,
    visible,
};
use cloud_code_model::{Ask, Intent, Place, Subject, TaskState};
use cloud_code_runtime::RuntimeError;
use cloud_code_store::{Delivery, DeliveryState};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::projects::ServedProject;
use super::requests::can_pass;
use super::{Inner, answers, facts};
use crate::EngineError;

/// How many deliveries are worked on at one time: most of the time is waiting for the forge's word on who may.
const AT_ONCE: usize = 8;
/// How many are read at one time.
const BATCH: u32 = 256;
/// How long a delivery is tried again that needs a forge which does not answer. A forge's own log goes back three days;
/// a command that is older would surprise whoever gave it.
const PATIENCE: SignedDuration = SignedDuration::from_hours(72);

/// How often is asked again after an answer that we do not understand, or that says only that something failed. A proxy's page
/// in place of an answer is gone the next time; what stays so is a defect, and asking for days mends none.
const MAX_UNEXPECTED: u32 = 5;

pub(super) async fn look(inner: Arc<Inner>) -> Result<(), EngineError> {
    // What cannot be settled now comes again with the next look; nothing behind it waits for that.
    let mut behind = 0;
    loop {
        let waiting = inner.store.next_after(behind, BATCH).await?;
        let Some(last) = waiting.last() else { return Ok(()) };
        behind = last.seq;
        let worked: Vec<Result<(), EngineError>> = stream::iter(waiting)
            .map(|delivery| settle(&inner, delivery))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        worked.into_iter().collect::<Result<(), EngineError>>()?;
    }
}

/// Works on one delivery. One of a repository that could not be asked about just now waits without being tried, so that a
/// thousand of them do not wait a thousand times for the same silence.
async fn settle(inner: &Inner, stored: Delivery) -> Result<(), EngineError> {
    let delivery = &stored.delivery;
    let now = inner.clock.now();
    let (state, note) = match cloud_code_intake::read(&delivery.event, &delivery.body) {
        Err(error) => (DeliveryState::Failed, Some(error.to_string())),
        Ok(notice) => {
            let repository = notice.repository.as_ref().map(|repository| repository.id);
            if repository.is_some_and(|id| inner.pauses.rests(&id)) {
                return Ok(());
            }
            if gives_access(&notice.happening) {
                inner.pauses.forget();
                inner.wakes.received.notify_one();
            }
            match work_on(inner, &notice).await.map_err(|error| inner.or_shortage(error)) {
                Ok(Worked::Done(note)) => (DeliveryState::Done, Some(note)),
                Ok(Worked::Nothing(why)) => (DeliveryState::Ignored, Some(why)),
                Err(error) => {
                    let age = now.duration_since(delivery.received_at);
                    let state = match lasts(&error, stored.attempts) || age > PATIENCE {
                        true => DeliveryState::Failed,
                        false => DeliveryState::Waiting,
                    };
                    if let (Some(id), false) = (repository, state.is_settled()) {
                        inner.pauses.failed(id, not_before(&error));
                    }
                    let note = error.chain();
                    // Once in the log for each reason; an outage of hours would fill it.
                    if state.is_settled() || stored.note.as_ref() != Some(&note) {
                        tracing::warn!(
                            delivery.id = %delivery.key, delivery.event = delivery.event, error = note,
                            "a delivery could not be worked on"
                        );
                    }
                    (state, Some(note))
                }
            }
        }
    };
    Ok(inner.store.settle(&delivery.key, state, note.as_deref(), now).await?)
}

/// Whether the same thing fails however often it is tried: nobody may then, and nothing begins.
pub(super) fn lasts(error: &EngineError, tries: u32) -> bool {
    match error {
        EngineError::Forge(ForgeError::Unexpected { .. })
        | EngineError::Runtime(RuntimeError::EngineFault { .. }) => tries + 1 >= MAX_UNEXPECTED,
        error => !can_pass(error),
    }
}

/// When the forge said that it may be asked again.
pub(super) fn not_before(error: &EngineError) -> Option<Timestamp> {
    match error {
        EngineError::Forge(ForgeError::Limited { until }) => Some(*until),
        _ => None,
    }
}

/// Whether what could not be asked about may be asked about now.
fn gives_access(happening: &Happening) -> bool {
    matches!(happening, Happening::Installation { .. } | Happening::InstallationRepositories { .. })
}

/// What became of a notice.
pub(super) enum Worked {
    /// Something; for the log.
    Done(String),
    /// Nothing for us, and why.
    Nothing(String),
}

/// Works on what happened, however it was learnt.
pub(super) async fn work_on(inner: &Inner, notice: &Notice) -> Result<Worked, EngineError> {
    let Some(repository) = &notice.repository else {
        return Ok(Worked::Nothing("it concerns no repository".into()));
    };
    if let Happening::Ignored { why } = &notice.happening {
        return Ok(Worked::Nothing(why.clone()));
    }
    let Some(project) = inner.projects.find(repository).await? else {
        return Ok(Worked::Nothing(format!("no project has the repository {}", repository.name)));
    };
    let forge = inner.projects.forge(&project).await?;
    inner.hear_of_merge(&project.name, &notice.happening);
    let rules = inner.projects.rules(&project, forge.as_ref()).await?;
    let (intent, why) = match trigger(notice, &rules) {
        Trigger::Intent(intent) => (Some(*intent), String::new()),
        Trigger::Fact(happening) => match *happening {
            Happening::Said(_) => {
                (answer_to_a_question(inner, &project, notice).await?, "it asks for nothing".to_owned())
            }
            happening => return facts::note(inner, &project, forge.as_ref(), &happening).await,
        },
        Trigger::Nothing(why) => (None, why.to_string()),
    };
    let Some(mut intent) = intent else { return Ok(Worked::Nothing(why)) };
    if let Some(key) = known_as(inner, &project, &intent).await? {
        return Ok(Worked::Done(format!("{key} is known")));
    }
    if !facts::concerns_us(inner, &project, &intent).await? {
        return Ok(Worked::Nothing("it is about a branch that is not ours".into()));
    }
    if let Some(denial) = denied(forge.as_ref(), &project, notice, &intent).await? {
        tracing::info!(
            project = %project.name, intent.key = intent.key, actor.id = intent.actor.id, reason = %denial,
            "a request was refused"
        );
        return Ok(Worked::Nothing(denial));
    }
    inner.pauses.passed(&repository.id);
    if let Some(review) = review_of(forge.as_ref(), &rules, notice, &intent).await? {
        return Ok(Worked::Nothing(format!("it is part of the review {review}, which asks for changes")));
    }
    if matches!(intent.ask, Ask::Changes { .. } | Ask::Line { .. })
        && let Some(answer) = after_its_end(forge.as_ref(), intent.number, &rules.prefix).await?
    {
        intent.ask = answer;
    }
    if intent.subject == Subject::PullRequest && inner.thread(&project.name, intent.number).await?.is_none() {
        intent.head_sha = Some(forge.pull(intent.number).await?.head_sha);
    }
    let key = intent.key.clone();
    reach(Point::DeliveryRead).await;
    {
        // Two ways of learning the same thing may be here at once.
        let _one_at_a_time = inner.hearing.lock().await;
        if let Some(key) = known_as(inner, &project, &intent).await? {
            return Ok(Worked::Done(format!("{key} is known")));
        }
        inner.store.put_intent(&project.name, &intent, inner.clock.now()).await?;
    }
    reach(Point::IntentStored).await;
    inner.wakes.reactions.notify_one();
    inner.wakes.requests.notify_one();
    Ok(Worked::Done(key))
}

/// The key that this request has been heard under before, by whatever way.
async fn known_as(
    inner: &Inner,
    project: &ServedProject,
    intent: &Intent,
) -> Result<Option<String>, EngineError> {
    if inner.store.intent(&project.name, &intent.key).await?.is_some() {
        return Ok(Some(intent.key.clone()));
    }
    for key in other_keys(&intent.key) {
        let known = inner.store.intent(&project.name, &key).await?;
        if known.is_some_and(|known| known.intent.actor.id == intent.actor.id) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// The review whose task holds this comment on a line already.
async fn review_of(
    forge: &dyn Forge,
    rules: &Rules,
    notice: &Notice,
    intent: &Intent,
) -> Result<Option<u64>, EngineError> {
    let Happening::Said(said) = &notice.happening else { return Ok(None) };
    let Some(id) = is_part_of_review(said, &intent.ask).filter(|_| rules.on_changes_requested) else {
        return Ok(None);
    };
    let review = match forge.review(intent.number, id).await {
        Err(ForgeError::NotFound { .. } | ForgeError::Gone { .. }) => return Ok(None),
        review => review?,
    };
    let is_whole = review.state == ReviewState::ChangesRequested
        && review.author.as_ref().map(|author| author.id) == Some(intent.actor.id)
        && takes_its_lines(&review.body, rules);
    Ok(is_whole.then_some(id))
}

/// What is said to a review of a pull request that is over: there is nothing to change any more, and new work is for a
/// person to begin.
async fn after_its_end(forge: &dyn Forge, number: u64, prefix: &str) -> Result<Option<Ask>, EngineError> {
    let (message, hint) = match forge.pull(number).await?.state {
        PullState::Open => return Ok(None),
        PullState::Merged => (
            "this pull request is merged, so a review of it changes nothing any more".to_owned(),
            format!("say in its issue what comes next, as in `{prefix} run Refuse empty passwords`"),
        ),
        PullState::Closed => (
            "this pull request is closed, so a review of it starts nothing".to_owned(),
            format!(
                "reopen it and review it again, or say in its issue what comes next with `{prefix} run …`"
            ),
        ),
    };
    Ok(Some(Ask::Mistake { message, hint: Some(hint) }))
}

/// Why the person who asks may not. Checks fail by nobody's hand: our own pull request, which somebody with access asked for,
/// vouches for them.
async fn denied(
    forge: &dyn Forge,
    project: &ServedProject,
    notice: &Notice,
    intent: &Intent,
) -> Result<Option<String>, EngineError> {
    if matches!(intent.ask, Ask::ChecksFailed { .. }) {
        return Ok(None);
    }
    match &notice.sender {
        None => Ok(Some("nobody is named as its author".to_owned())),
        Some(sender) => Ok(facts::denial(forge, project, sender).await?.map(|denial| denial.to_string())),
    }
}

/// A plain comment of who asked last answers the agent's question.
async fn answer_to_a_question(
    inner: &Inner,
    project: &ServedProject,
    notice: &Notice,
) -> Result<Option<Intent>, EngineError> {
    let Happening::Said(said) = &notice.happening else { return Ok(None) };
    let (SaidAt::Comment { id }, Some(author)) = (&said.at, &said.author) else { return Ok(None) };
    // Found in a list after it was changed: these may be anybody's words.
    if said.changed_at.is_some() {
        return Ok(None);
    }
    if cloud_code_forge::Marker::any_in(&said.text) || notice.via_app.is_some() {
        return Ok(None);
    }
    let Some(thread) = inner.thread(&project.name, said.number).await? else { return Ok(None) };
    let asked_by = thread.facts.requester.as_ref().map(|actor| actor.id);
    let Some(issue) = thread.facts.issue.as_ref().filter(|_| asked_by == Some(author.actor.id)) else {
        return Ok(None);
    };
    let tasks = inner.store.tasks_of(&project.name, issue).await?;
    let asking = tasks.last().filter(|task| matches!(task.state, TaskState::NeedsInput { .. }));
    let Some(asking) = asking else { return Ok(None) };
    // Ids of comments grow, so what is older than the question cannot answer it, whatever the clocks say.
    let question = inner.store.written_note(&project.name, &answers::question_key(&asking.task.id)).await?;
    let waits = question.is_some_and(|question| question < *id);
    let text = visible(&said.text).text;
    Ok(waits.then(|| Intent {
        key: format!("comment-{id}"),
        number: said.number,
        subject: said.subject,
        actor: author.actor.clone(),
        at: said.created_at,
        place: Place::Comment { id: *id },
        ask: Ask::Answer { text },
        head_sha: None,
    }))
}
