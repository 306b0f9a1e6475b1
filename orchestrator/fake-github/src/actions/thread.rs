//! Issues, their comments and reactions.

use serde_json::{Value, json};

use crate::call::Actor;
use crate::state::{Comment, IssueEvent, Reaction, Subject, Thread, World};

/// The longest body GitHub takes, in characters.
pub(crate) const MAX_BODY: usize = 65_536;

/// The webhook actions that are events of an issue's page too.
const LISTED: [&str; 6] = ["labeled", "unlabeled", "assigned", "unassigned", "closed", "reopened"];

impl World {
    pub(crate) fn open_issue(
        &mut self,
        repo: u64,
        actor: Actor,
        title: &str,
        body: Option<&str>,
    ) -> Option<u64> {
        let number = self.new_thread(repo, actor, title, body)?;
        self.post_issue("opened", repo, number, actor, json!({}));
        Some(number)
    }

    /// A thread without an event: a pull request tells its own.
    pub(super) fn new_thread(
        &mut self,
        repo: u64,
        actor: Actor,
        title: &str,
        body: Option<&str>,
    ) -> Option<u64> {
        let (id, now) = (self.id(), self.now());
        let repo = self.repo_mut(repo)?;
        let number = repo.take_number();
        repo.threads.push(Thread {
            id,
            number,
            title: title.to_owned(),
            body: body.map(str::to_owned),
            author: Some(actor.user),
            app: actor.app,
            open: true,
            state_reason: None,
            labels: Vec::new(),
            assignees: Vec::new(),
            locked: false,
            edits: 0,
            created_at: now,
            updated_at: now,
            closed_at: None,
            closed_by: None,
            edited: None,
            renamed: None,
            pull: None,
        });
        Some(number)
    }

    pub(crate) fn thread(&self, repo: u64, number: u64) -> Option<&Thread> {
        self.repo(repo)?.thread(number)
    }

    /// Changes a thread and its time; `None` when it is not there.
    pub(crate) fn change_thread<R>(
        &mut self,
        repo: u64,
        number: u64,
        change: impl FnOnce(&mut Thread) -> R,
    ) -> Option<R> {
        let now = self.now();
        let thread = self.repo_mut(repo)?.thread_mut(number)?;
        thread.updated_at = now;
        Some(change(thread))
    }

    /// An `issues` event, or the `pull_request` event that a pull request has instead.
    pub(crate) fn post_issue(&mut self, action: &str, repo: u64, number: u64, actor: Actor, mut more: Value) {
        self.keep_event(action, repo, number, actor, &more);
        let Some(known) = self.repo(repo) else { return };
        let Some(thread) = known.thread(number) else { return };
        let event = match &thread.pull {
            Some(pull) => {
                more["number"] = json!(number);
                more["pull_request"] = self.pull_json(known, thread, pull);
                "pull_request"
            }
            None => {
                more["issue"] = self.issue_json(known, thread);
                "issues"
            }
        };
        self.post(event, action, repo, actor, more);
    }

    fn keep_event(&mut self, action: &str, repo: u64, number: u64, actor: Actor, more: &Value) {
        if !LISTED.contains(&action) {
            return;
        }
        let (id, at) = (self.id(), self.now());
        let (kind, more) = (action.to_owned(), more.clone());
        let Some(known) = self.repo_mut(repo) else { return };
        known.events.push(IssueEvent { id, number, kind, user: actor.user, app: actor.app, more, at });
    }

    pub(crate) fn edit_thread(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        title: Option<&str>,
        body: Option<&str>,
    ) -> Option<()> {
        let by = (self.now(), actor.user);
        let changes = self.change_thread(repo, number, |thread| {
            let mut changes = json!({});
            if let Some(title) = title.filter(|title| *title != thread.title) {
                changes["title"] = json!({"from": thread.title});
                title.clone_into(&mut thread.title);
                thread.renamed = Some(by);
            }
            if let Some(body) = body.filter(|body| Some(*body) != thread.body.as_deref()) {
                changes["body"] = json!({"from": thread.body.clone().unwrap_or_default()});
                thread.body = Some(body.to_owned());
                thread.edited = Some(by);
            }
            if changes != json!({}) {
                thread.edits += 1;
            }
            changes
        })?;
        if changes != json!({}) {
            self.post_issue("edited", repo, number, actor, json!({"changes": changes}));
        }
        Some(())
    }

    /// Closes or reopens; nothing happens to a thread that is so already.
    pub(crate) fn set_open(
        &mut self,
        repo: u64,
        number: u64,
        actor: Actor,
        open: bool,
        reason: Option<&str>,
    ) -> Option<()> {
        let now = self.now();
        let changed = self.change_thread(repo, number, |thread| {
            if thread.open == open {
                return false;
            }
            thread.open = open;
            thread.closed_at = (!open).then_some(now);
            thread.closed_by = (!open).then_some(actor.user);
            if thread.pull.is_none() {
                let default = if open { "reopened" } else { "completed" };
                thread.state_reason = Some(reason.unwrap_or(default).to_owned());
            }
            true
        })?;
        if changed {
            self.post_issue(if open { "reopened" } else { "closed" }, repo, number, actor, json!({}));
        }
        Some(())
    }

    pub(crate) fn add_comment(&mut self, repo: u64, number: u64, actor: Actor, body: &str) -> Option<u64> {
        let (id, now) = (self.id(), self.now());
        self.change_thread(repo, number, |_| ())?;
        self.repo_mut(repo)?.comments.push(Comment {
            id,
            number,
            author: Some(actor.user),
            app: actor.app,
            body: body.to_owned(),
            edits: 0,
            edited: None,
            created_at: now,
            updated_at: now,
        });
        self.post_comment("created", repo, id, actor, json!({}));
        Some(id)
    }

    pub(crate) fn edit_comment(&mut self, repo: u64, id: u64, actor: Actor, body: &str) -> Option<()> {
        let now = self.now();
        let comment = self.repo_mut(repo)?.comments.iter_mut().find(|comment| comment.id == id)?;
        let from = std::mem::replace(&mut comment.body, body.to_owned());
        comment.edits += 1;
        comment.edited = Some((now, actor.user));
        comment.updated_at = now;
        self.post_comment("edited", repo, id, actor, json!({"changes": {"body": {"from": from}}}));
        Some(())
    }

    pub(crate) fn delete_comment(&mut self, repo: u64, id: u64, actor: Actor) -> Option<()> {
        self.repo(repo)?.comment(id)?;
        self.post_comment("deleted", repo, id, actor, json!({}));
        self.repo_mut(repo)?.comments.retain(|comment| comment.id != id);
        Some(())
    }

    fn post_comment(&mut self, action: &str, repo: u64, id: u64, actor: Actor, mut more: Value) {
        let Some(known) = self.repo(repo) else { return };
        let Some(comment) = known.comment(id) else { return };
        let Some(thread) = known.thread(comment.number) else { return };
        more["issue"] = self.issue_json(known, thread);
        more["comment"] = self.comment_json(known, comment);
        self.post("issue_comment", action, repo, actor, more);
    }

    /// Adds a reaction; says whether it is new. There are no webhooks for reactions.
    pub(crate) fn react(
        &mut self,
        repo: u64,
        subject: Subject,
        user: u64,
        content: &str,
    ) -> Option<(Reaction, bool)> {
        let (id, now) = (self.id(), self.now());
        let repo = self.repo_mut(repo)?;
        let same = |reaction: &&Reaction| {
            reaction.subject == subject && reaction.user == user && reaction.content == content
        };
        if let Some(there) = repo.reactions.iter().find(same) {
            return Some((there.clone(), false));
        }
        let reaction = Reaction { id, subject, user, content: content.to_owned(), created_at: now };
        repo.reactions.push(reaction.clone());
        Some((reaction, true))
    }
}
