//! A person's word on merging: the last gate.

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::PullState;
use cloud_code_model::{Approver, IntentRecord, MergeWord, Published, TaskRecord, Thread};

use super::super::merges::{is_done, merged_by_us, unfit, words};
use super::Acted;
use super::desk::Desk;
use crate::EngineError;

/// What became of a word on merging.
pub(super) enum OfMerge {
    /// It is stored; what came of it, for the log.
    Noted(String),
    /// It counts for nothing, and its author is told why.
    Answered(Acted),
    /// We merge nothing here, so it was about something else.
    Nothing,
}

impl Desk<'_> {
    /// A yes or no to merging the pull request as it stands.
    pub(super) async fn say_of_merge(
        &self,
        thread: &Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
        word: MergeWord,
    ) -> Result<OfMerge, EngineError> {
        let publish = &self.project.plan.publish;
        let (Some(_), Some(number), Some(key)) = (publish.merge, merged_by_us(thread), &thread.facts.issue)
        else {
            return Ok(OfMerge::Nothing);
        };
        let Some(issue) = self.inner.store.issue(&thread.project, key).await? else {
            return Ok(OfMerge::Nothing);
        };
        let (intent, prefix) = (&record.intent, self.prefix());
        let pull = self.forge.pull(number).await?;
        if pull.state != PullState::Open {
            return Ok(OfMerge::Nothing);
        }
        if !is_done(tasks) {
            let text = format!(
                "the work on #{number} is not done, so there is nothing to say yes or no to yet. Say it again when it is."
            );
            return self.answer(intent, text, "the work is not done").await.map(OfMerge::Answered);
        }
        if let Some(hold) = unfit(self.project, self.forge, &issue, &pull).await? {
            let why = words::sentence(&hold, "", prefix).unwrap_or_default();
            return self.answer(intent, why, "not merged from here").await.map(OfMerge::Answered);
        }
        let Some(known) = self.inner.see_head(thread, &pull).await? else { return Ok(OfMerge::Nothing) };
        let head = words::commit(&known.head_sha);
        // What was said before a commit came is about another one; and what came in the same second, nobody can tell.
        if intent.at <= known.there_by {
            let text = format!(
                "#{number} stands at {head}, which came at that moment or after it. Look at it, then say it again."
            );
            return self.answer(intent, text, "said of another commit").await.map(OfMerge::Answered);
        }
        let needs_no_yes = !publish.merge_approval && known.verdict.is_none() && known.refused.is_none();
        if word == MergeWord::Yes && needs_no_yes {
            let text = format!(
                "nothing here waits for a yes: #{number} is merged by itself when nothing is in its way. `{prefix} reject` \
                 leaves it open."
            );
            return self.answer(intent, text, "nothing to approve").await.map(OfMerge::Answered);
        }
        let by = Approver::Person { login: intent.actor.login.clone() };
        let mut counts = None;
        let mut note = |published: &mut Published| {
            let merging = published.merging.as_mut().filter(|now| now.head_sha == known.head_sha);
            counts = merging.map(|merging| merging.say(word, by.clone(), intent.at));
        };
        self.inner.store.change_published(&thread.project, thread.number, &mut note).await?;
        reach(Point::MergeSaid).await;
        match counts {
            Some(true) => {}
            Some(false) => {
                let text = format!("of {head} something else was said later, and that counts.");
                return self.answer(intent, text, "overtaken by a later word").await.map(OfMerge::Answered);
            }
            None => {
                let text =
                    format!("#{number} got another commit at that moment. Look at it, then say it again.");
                return self.answer(intent, text, "said of another commit").await.map(OfMerge::Answered);
            }
        }
        let outcome = match word {
            MergeWord::Yes => format!("{by} said yes to merging {head}"),
            MergeWord::No => format!("{by} said no to merging {head}"),
        };
        Ok(OfMerge::Noted(outcome))
    }
}
