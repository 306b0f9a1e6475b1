//! Comments, answers in threads, reactions and labels, each written so that a repeated call changes nothing.

use std::sync::PoisonError;

use cloud_code_model::{Actor, Place};
use http::Method;
use serde_json::json;

use crate::body;
use crate::error::ForgeError;
use crate::facts::{CommentFacts, CommentHandle, LabelSpec, LineComment};
use crate::marker::Marker;
use crate::port::{Forge as _, Priority};

use super::path::segment;
use super::repository::{Repository, SETTLE, is_uncertain};
use super::wire;

/// Times a comment is written when the answer got lost and it then is not there.
const WRITE_TRIES: u32 = 2;
/// What GitHub takes as a label's description.
const MAX_LABEL_TEXT: usize = 100;

/// Something of ours that was found by its marker.
struct Found {
    handle: CommentHandle,
    body: String,
}

impl Repository {
    pub(super) async fn put_reaction(&self, number: u64, place: &Place) -> Result<(), ForgeError> {
        let rest = match place {
            Place::Issue => format!("/issues/{number}/reactions"),
            Place::Comment { id } => format!("/issues/comments/{id}/reactions"),
            Place::ReviewComment { id, .. } => format!("/pulls/comments/{id}/reactions"),
            Place::Review { .. } | Place::Check { .. } => return Ok(()),
        };
        let eyes = json!({"content": "eyes"});
        match self.send(Method::POST, &rest, Some(&eyes), Priority::Reaction).await {
            // GitHub keeps one reaction of a kind per account, so this write alone may be repeated blindly.
            Err(error) if is_uncertain(&error) => {
                self.send(Method::POST, &rest, Some(&eyes), Priority::Reaction).await
            }
            other => other,
        }?;
        Ok(())
    }

    pub(super) async fn put_conversation_comment(
        &self,
        number: u64,
        marker: &Marker,
        known: Option<u64>,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        if let Some(id) = known {
            match self.edit(&format!("/issues/comments/{id}"), body, priority).await {
                // Somebody deleted it.
                Err(ForgeError::NotFound { .. } | ForgeError::Gone { .. }) => {}
                other => return other,
            }
        }
        let mut tries = 0;
        loop {
            if let Some(found) = self.find_comment(number, marker).await? {
                if found.body == body {
                    return Ok(found.handle);
                }
                return self.edit(&format!("/issues/comments/{}", found.handle.id), body, priority).await;
            }
            let rest = format!("/issues/{number}/comments");
            match self.create(&rest, body, priority).await {
                Err(error) if is_uncertain(&error) && tries < WRITE_TRIES => {
                    tries += 1;
                    tracing::debug!(number, %error, "looking whether the comment was written");
                    tokio::time::sleep(SETTLE).await;
                }
                other => return other,
            }
        }
    }

    pub(super) async fn put_thread_reply(
        &self,
        pull: u64,
        thread: u64,
        marker: &Marker,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError> {
        let mut tries = 0;
        loop {
            if let Some(found) = self.find_reply(pull, thread, marker).await? {
                if found.body == body {
                    return Ok(found.handle);
                }
                return self.edit(&format!("/pulls/comments/{}", found.handle.id), body, priority).await;
            }
            let rest = format!("/pulls/{pull}/comments/{thread}/replies");
            match self.create(&rest, body, priority).await {
                Err(error) if is_uncertain(&error) && tries < WRITE_TRIES => {
                    tries += 1;
                    tracing::debug!(number = pull, %error, "looking whether the answer was written");
                    tokio::time::sleep(SETTLE).await;
                }
                other => return other,
            }
        }
    }

    async fn create(&self, rest: &str, body: &str, priority: Priority) -> Result<CommentHandle, ForgeError> {
        let answer = self.send(Method::POST, rest, Some(&json!({"body": body})), priority).await?;
        Ok(answer.json::<wire::Written>()?.into())
    }

    async fn edit(&self, rest: &str, body: &str, priority: Priority) -> Result<CommentHandle, ForgeError> {
        let answer = self.send(Method::PATCH, rest, Some(&json!({"body": body})), priority).await?;
        Ok(answer.json::<wire::Written>()?.into())
    }

    async fn find_comment(&self, number: u64, marker: &Marker) -> Result<Option<Found>, ForgeError> {
        let identity = self.identity().await?;
        let comments = self.comments(number, None).await?;
        let ours =
            |comment: &CommentFacts| Self::is_ours(&identity, comment.author.as_ref(), comment.via_app);
        let found = comments.into_iter().find(|comment| ours(comment) && marker.is_in(&comment.body));
        Ok(found
            .map(|found| Found { handle: CommentHandle { id: found.id, url: found.url }, body: found.body }))
    }

    async fn find_reply(&self, pull: u64, thread: u64, marker: &Marker) -> Result<Option<Found>, ForgeError> {
        let identity = self.identity().await?;
        let comments = self.review_comments(pull).await?;
        let ours = |comment: &LineComment| {
            let author: Option<&Actor> = comment.author.as_ref();
            comment.in_reply_to == Some(thread) && Self::is_ours(&identity, author, None)
        };
        let found = comments.into_iter().find(|comment| ours(comment) && marker.is_in(&comment.body));
        Ok(found
            .map(|found| Found { handle: CommentHandle { id: found.id, url: found.url }, body: found.body }))
    }

    pub(super) async fn put_label_of(
        &self,
        number: u64,
        family: &[LabelSpec],
        wanted: Option<&str>,
        priority: Priority,
    ) -> Result<(), ForgeError> {
        let present: Vec<wire::Label> = self.all(&format!("/issues/{number}/labels")).await?;
        // GitHub's label names differ in case only to the eye.
        let is_wanted = |name: &str| wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(name));
        if let Some(wanted) = wanted
            && !present.iter().any(|label| is_wanted(&label.name))
        {
            if let Some(spec) = family.iter().find(|spec| is_wanted(&spec.name)) {
                self.ensure_label(spec, priority).await?;
            }
            // The new one first: a crash in between leaves two, which the next call mends, and never none.
            let labels = json!({"labels": [wanted]});
            self.send(Method::POST, &format!("/issues/{number}/labels"), Some(&labels), priority).await?;
        }
        for label in present {
            let is_family = family.iter().any(|spec| spec.name.eq_ignore_ascii_case(&label.name));
            if !is_family || is_wanted(&label.name) {
                continue;
            }
            let rest = format!("/issues/{number}/labels/{}", segment(&label.name));
            match self.send(Method::DELETE, &rest, None, priority).await {
                // Somebody was faster.
                Ok(_) | Err(ForgeError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn ensure_label(&self, spec: &LabelSpec, priority: Priority) -> Result<(), ForgeError> {
        if self.labels.lock().unwrap_or_else(PoisonError::into_inner).contains(&spec.name) {
            return Ok(());
        }
        let known: Option<wire::Label> = self.find(&format!("/labels/{}", segment(&spec.name))).await?;
        if known.is_none() {
            let text = body::line(&spec.description, MAX_LABEL_TEXT, &self.client.scrubber);
            let label = json!({"name": spec.name, "color": spec.color, "description": text});
            match self.send(Method::POST, "/labels", Some(&label), priority).await {
                // Two of us made it at once, or a lost answer was a yes: setting it shows.
                Ok(_) => {}
                Err(ForgeError::Invalid { message }) if message.contains("already_exists") => {}
                Err(error) if is_uncertain(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).insert(spec.name.clone());
        Ok(())
    }
}
