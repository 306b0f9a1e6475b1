//! Reviews and comments on lines.

use serde_json::json;

use crate::call::Actor;
use crate::state::{Review, ReviewComment, World};

impl World {
    /// Submits a review; `state` in REST's words (`APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`).
    pub(crate) fn add_review(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        state: &str,
        body: Option<&str>,
    ) -> Option<u64> {
        let id = self.new_review(repo, number, actor, state, body)?;
        self.post_review("submitted", repo, number, id, actor, json!({}))?;
        Some(id)
    }

    fn post_review(
        &mut self,
        action: &str,
        repo: u64,
        number: u64,
        id: u64,
        actor: Actor,
        mut more: serde_json::Value,
    ) -> Option<()> {
        let known = self.repo(repo)?;
        let thread = known.thread(number)?;
        let pull = thread.pull.as_ref()?;
        let found = known.reviews.iter().find(|review| review.id == id)?;
        let mut review = self.review_json(known, found);
        review["state"] = json!(found.state.to_lowercase());
        review["body"] = json!(found.body);
        more["review"] = review;
        more["pull_request"] = self.simple_pull_json(known, thread, pull);
        self.post("pull_request_review", action, repo, actor, more);
        Some(())
    }

    fn new_review(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        state: &str,
        body: Option<&str>,
    ) -> Option<u64> {
        let (id, now) = (self.id(), self.now());
        let commit_id = self.thread(repo, number)?.pull.as_ref()?.head_sha.clone();
        self.change_thread(repo, number, |_| ())?;
        self.repo_mut(repo)?.reviews.push(Review {
            id,
            number,
            author: Some(actor.user),
            body: body.map(str::to_owned),
            state: state.to_owned(),
            commit_id,
            submitted_at: now,
            edited: None,
        });
        Some(id)
    }

    /// A comment on a line of a pull request. Alone it makes a review of its own, as on GitHub.
    pub(crate) fn add_review_comment(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        on: (&str, u64),
        body: &str,
        in_reply_to: Option<u64>,
    ) -> Option<u64> {
        let review = self.new_review(repo, number, actor, "COMMENTED", None)?;
        let id = self.keep_review_comment(repo, number, actor, on, body, in_reply_to, review)?;
        self.post_review_comment("created", repo, id, actor, json!({}));
        Some(id)
    }

    /// A review and its comments on lines, submitted together; the review's id and theirs. GitHub tells the comments first.
    pub(crate) fn add_whole_review(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        state: &str,
        body: &str,
        comments: &[(&str, u64, &str)],
    ) -> Option<u64> {
        let review = self.new_review(repo, number, actor, state, Some(body))?;
        for (path, line, said) in comments {
            let id = self.keep_review_comment(repo, number, actor, (path, *line), said, None, review)?;
            self.post_review_comment("created", repo, id, actor, json!({}));
        }
        self.post_review("submitted", repo, number, review, actor, json!({}))?;
        Some(review)
    }

    /// Changes what a review says as a whole.
    pub(crate) fn edit_review(&mut self, repo: u64, id: u64, actor: Actor, body: &str) -> Option<()> {
        let now = self.now();
        let review = self.repo_mut(repo)?.reviews.iter_mut().find(|review| review.id == id)?;
        let from = review.body.replace(body.to_owned()).unwrap_or_default();
        review.edited = Some((now, actor.user));
        let number = review.number;
        self.post_review("edited", repo, number, id, actor, json!({"changes": {"body": {"from": from}}}))
    }

    /// Takes a review out of the count.
    pub(crate) fn dismiss_review(&mut self, repo: u64, id: u64, actor: Actor) -> Option<()> {
        let review = self.repo_mut(repo)?.reviews.iter_mut().find(|review| review.id == id)?;
        "DISMISSED".clone_into(&mut review.state);
        let number = review.number;
        self.post_review("dismissed", repo, number, id, actor, json!({}))
    }

    #[expect(clippy::too_many_arguments, reason = "what a comment on a line is made of")]
    fn keep_review_comment(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        on: (&str, u64),
        body: &str,
        in_reply_to: Option<u64>,
        review: u64,
    ) -> Option<u64> {
        let (id, now) = (self.id(), self.now());
        let commit_id = self.thread(repo, number)?.pull.as_ref()?.head_sha.clone();
        let (path, line) = on;
        let known = self.repo_mut(repo)?;
        let first = in_reply_to.and_then(|id| known.review_comments.iter().find(|comment| comment.id == id));
        // A reply to a reply belongs to the first comment of its thread.
        let in_reply_to = first.map(|comment| comment.in_reply_to.unwrap_or(comment.id));
        known.review_comments.push(ReviewComment {
            id,
            number,
            review,
            author: Some(actor.user),
            body: body.to_owned(),
            path: path.to_owned(),
            line,
            diff_hunk: format!("@@ -{line},1 +{line},1 @@"),
            commit_id,
            in_reply_to,
            edits: 0,
            edited: None,
            created_at: now,
            updated_at: now,
        });
        Some(id)
    }

    pub(crate) fn edit_review_comment(&mut self, repo: u64, id: u64, actor: Actor, body: &str) -> Option<()> {
        let now = self.now();
        let comment = self.repo_mut(repo)?.review_comments.iter_mut().find(|comment| comment.id == id)?;
        let from = std::mem::replace(&mut comment.body, body.to_owned());
        comment.edits += 1;
        comment.edited = Some((now, actor.user));
        comment.updated_at = now;
        self.post_review_comment("edited", repo, id, actor, json!({"changes": {"body": {"from": from}}}));
        Some(())
    }

    fn post_review_comment(
        &mut self,
        action: &str,
        repo: u64,
        id: u64,
        actor: Actor,
        mut more: serde_json::Value,
    ) {
        let Some(known) = self.repo(repo) else { return };
        let Some(comment) = known.review_comments.iter().find(|comment| comment.id == id) else { return };
        let Some(thread) = known.thread(comment.number) else { return };
        let Some(pull) = &thread.pull else { return };
        more["comment"] = self.review_comment_json(known, comment);
        more["pull_request"] = self.simple_pull_json(known, thread, pull);
        self.post("pull_request_review_comment", action, repo, actor, more);
    }
}
