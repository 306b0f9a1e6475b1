use serde_json::{Value, json};

use super::person::merge;
use super::{node_id, optional_time, time};
use crate::state::{Comment, IssueEvent, Reaction, Repo, Role, Subject, Thread, World};

/// The reactions GitHub knows.
pub(crate) const CONTENTS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

impl World {
    /// What GitHub guesses about an author for no viewer in particular. Not a permission.
    pub(crate) fn association(&self, repo: &Repo, author: Option<u64>) -> &'static str {
        let Some(author) = author else { return "NONE" };
        if repo.owner == author {
            return "OWNER";
        }
        let role = repo.collaborators.get(&author).copied().unwrap_or(Role::None);
        let contributed = repo.threads.iter().any(|thread| {
            thread.author == Some(author) && thread.pull.as_ref().is_some_and(|pull| pull.merged_at.is_some())
        });
        match role {
            Role::None if contributed => "CONTRIBUTOR",
            Role::None => "NONE",
            Role::Read | Role::Triage | Role::Write | Role::Maintain | Role::Admin => "COLLABORATOR",
        }
    }

    /// An `issue`, which a pull request is too.
    pub(crate) fn issue_json(&self, repo: &Repo, thread: &Thread) -> Value {
        let base = self.repo_url(repo);
        let url = format!("{base}/issues/{}", thread.number);
        let kind = if thread.pull.is_some() { "pull" } else { "issues" };
        let page = format!("{}/{kind}/{}", self.repo_page(repo), thread.number);
        let comments = repo.comments.iter().filter(|comment| comment.number == thread.number).count();
        let mut issue = json!({
            "url": url,
            "repository_url": base,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"),
            "html_url": page,
            "id": thread.id,
            "node_id": node_id("Issue", thread.id),
            "number": thread.number,
            "title": thread.title,
            "user": self.user_json(thread.author),
            "labels": self.labels_json(repo, thread),
            "state": if thread.open { "open" } else { "closed" },
            "state_reason": thread.state_reason,
            "locked": thread.locked,
            "assignee": self.user_json(thread.assignees.first().copied()),
            "assignees": self.people_json(&thread.assignees),
            "milestone": null,
            "comments": comments,
            "created_at": time(thread.created_at),
            "updated_at": time(thread.updated_at),
            "closed_at": optional_time(thread.closed_at),
            "author_association": self.association(repo, thread.author),
            "active_lock_reason": null,
            "body": thread.body,
            "performed_via_github_app": self.app_json(thread.app),
            "reactions": self.reactions_json(repo, Subject::Thread(thread.number), &url),
        });
        if let Some(pull) = &thread.pull {
            merge(
                &mut issue,
                json!({
                    "draft": pull.draft,
                    "pull_request": {
                        "url": format!("{base}/pulls/{}", thread.number),
                        "html_url": page,
                        "diff_url": format!("{page}.diff"),
                        "patch_url": format!("{page}.patch"),
                        "merged_at": optional_time(pull.merged_at),
                    },
                }),
            );
        }
        issue
    }

    /// An issue as `GET …/issues/N` has it, with who closed it.
    pub(crate) fn full_issue_json(&self, repo: &Repo, thread: &Thread) -> Value {
        let mut issue = self.issue_json(repo, thread);
        merge(&mut issue, json!({"closed_by": self.user_json(thread.closed_by)}));
        issue
    }

    pub(crate) fn labels_json(&self, repo: &Repo, thread: &Thread) -> Vec<Value> {
        thread
            .labels
            .iter()
            .filter_map(|name| repo.label(name))
            .map(|label| self.label_json(repo, label))
            .collect()
    }

    pub(crate) fn people_json(&self, ids: &[u64]) -> Vec<Value> {
        ids.iter().map(|id| self.user_json(Some(*id))).collect()
    }

    pub(crate) fn comment_json(&self, repo: &Repo, comment: &Comment) -> Value {
        let base = self.repo_url(repo);
        let url = format!("{base}/issues/comments/{}", comment.id);
        let is_pull = repo.thread(comment.number).is_some_and(|thread| thread.pull.is_some());
        let kind = if is_pull { "pull" } else { "issues" };
        json!({
            "url": url,
            "html_url": format!("{}/{kind}/{}#issuecomment-{}", self.repo_page(repo), comment.number, comment.id),
            "issue_url": format!("{base}/issues/{}", comment.number),
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "user": self.user_json(comment.author),
            "created_at": time(comment.created_at),
            "updated_at": time(comment.updated_at),
            "author_association": self.association(repo, comment.author),
            "body": comment.body,
            "reactions": self.reactions_json(repo, Subject::Comment(comment.id), &url),
            "performed_via_github_app": self.app_json(comment.app),
        })
    }

    pub(crate) fn issue_event_json(&self, repo: &Repo, event: &IssueEvent) -> Value {
        let mut object = json!({
            "id": event.id,
            "node_id": node_id("IssueEvent", event.id),
            "url": format!("{}/issues/events/{}", self.repo_url(repo), event.id),
            "actor": self.user_json(Some(event.user)),
            "event": event.kind,
            "commit_id": null,
            "commit_url": null,
            "created_at": time(event.at),
            "performed_via_github_app": self.app_json(event.app),
        });
        if let Some(label) = event.more.get("label") {
            object["label"] = json!({"name": label["name"], "color": label["color"]});
        }
        if let Some(assignee) = event.more.get("assignee") {
            object["assignee"] = assignee.clone();
            object["assigner"] = self.user_json(Some(event.user));
        }
        object
    }

    pub(crate) fn reaction_json(&self, reaction: &Reaction) -> Value {
        json!({
            "id": reaction.id,
            "node_id": node_id("Reaction", reaction.id),
            "user": self.user_json(Some(reaction.user)),
            "content": reaction.content,
            "created_at": time(reaction.created_at),
        })
    }

    /// The counts of an object's reactions.
    pub(crate) fn reactions_json(&self, repo: &Repo, subject: Subject, url: &str) -> Value {
        let on: Vec<&Reaction> =
            repo.reactions.iter().filter(|reaction| reaction.subject == subject).collect();
        let mut counts = json!({"url": format!("{url}/reactions"), "total_count": on.len()});
        for content in CONTENTS {
            counts[content] = json!(on.iter().filter(|reaction| reaction.content == content).count());
        }
        counts
    }
}
