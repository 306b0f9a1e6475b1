use serde_json::{Value, json};

use super::person::merge;
use super::{node_id, optional_time, time};
use crate::git::Git;
use crate::state::{Pull, Repo, Review, ReviewComment, Subject, Thread, World};

impl World {
    /// A `pull-request-simple`: what lists and reviews carry.
    pub(crate) fn simple_pull_json(&self, repo: &Repo, thread: &Thread, pull: &Pull) -> Value {
        let base = self.repo_url(repo);
        let number = thread.number;
        let url = format!("{base}/pulls/{number}");
        let issue_url = format!("{base}/issues/{number}");
        let page = format!("{}/pull/{number}", self.repo_page(repo));
        let statuses = format!("{base}/statuses/{}", pull.head_sha);
        let head_repo = pull.head_repo.and_then(|id| self.repo(id));
        json!({
            "url": url,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "html_url": page,
            "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"),
            "issue_url": issue_url,
            "number": number,
            "state": if thread.open { "open" } else { "closed" },
            "locked": thread.locked,
            "title": thread.title,
            "user": self.user_json(thread.author),
            "body": thread.body,
            "created_at": time(thread.created_at),
            "updated_at": time(thread.updated_at),
            "closed_at": optional_time(thread.closed_at),
            "merged_at": optional_time(pull.merged_at),
            "merge_commit_sha": pull.merge_commit_sha,
            "assignee": self.user_json(thread.assignees.first().copied()),
            "assignees": self.people_json(&thread.assignees),
            "requested_reviewers": self.people_json(&pull.reviewers),
            "requested_teams": [],
            "labels": self.labels_json(repo, thread),
            "milestone": null,
            "draft": pull.draft,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{base}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue_url}/comments"),
            "statuses_url": statuses,
            "head": self.side_json(pull.head_owner, &pull.head_ref, &pull.head_sha, head_repo),
            "base": self.side_json(repo.owner, &pull.base_ref, &pull.base_sha, Some(repo)),
            "_links": {
                "self": {"href": url},
                "html": {"href": page},
                "issue": {"href": issue_url},
                "comments": {"href": format!("{issue_url}/comments")},
                "review_comments": {"href": format!("{url}/comments")},
                "review_comment": {"href": format!("{base}/pulls/comments{{/number}}")},
                "commits": {"href": format!("{url}/commits")},
                "statuses": {"href": statuses},
            },
            "author_association": self.association(repo, thread.author),
            "auto_merge": null,
            "active_lock_reason": null,
        })
    }

    fn side_json(&self, owner: u64, branch: &str, sha: &str, repo: Option<&Repo>) -> Value {
        json!({
            "label": format!("{}:{branch}", self.login(Some(owner))),
            "ref": branch,
            "sha": sha,
            "user": self.user_json(Some(owner)),
            "repo": repo.map(|repo| self.repo_json(repo)),
        })
    }

    /// A whole `pull-request`: what `GET …/pulls/N` and its webhooks carry.
    pub(crate) fn pull_json(&self, repo: &Repo, thread: &Thread, pull: &Pull) -> Value {
        let git = Git::new(&repo.git_dir);
        let merged = pull.merged_at.is_some();
        let mergeable = if merged || !thread.open {
            None
        } else {
            pull.mergeable.or_else(|| git.merges_cleanly(&pull.base_ref, &pull.head_sha))
        };
        let is_blocked = crate::actions::rule_of_base_broken(repo, thread, pull).is_some();
        let is_green = |run: &&crate::state::CheckRun| {
            matches!(run.conclusion.as_deref(), Some("success" | "neutral" | "skipped"))
        };
        let mut runs = repo.check_runs.iter().filter(|run| run.head_sha == pull.head_sha);
        let state = match mergeable {
            Some(true) if pull.draft => "draft",
            Some(true) if is_blocked => "blocked",
            Some(true) if !runs.all(|run| is_green(&run)) => "unstable",
            Some(true) => "clean",
            Some(false) => "dirty",
            None => "unknown",
        };
        let files = git.changed_files(&pull.base_sha, &pull.head_sha);
        let mut object = self.simple_pull_json(repo, thread, pull);
        merge(
            &mut object,
            json!({
                "merged": merged,
                "mergeable": mergeable,
                "rebaseable": mergeable,
                "mergeable_state": state,
                "merged_by": self.user_json(pull.merged_by),
                "comments": repo.comments.iter().filter(|comment| comment.number == thread.number).count(),
                "review_comments":
                    repo.review_comments.iter().filter(|comment| comment.number == thread.number).count(),
                "maintainer_can_modify": pull.maintainer_can_modify,
                "commits": git.log(&pull.base_sha, &pull.head_sha).len(),
                "additions": files.iter().map(|file| file.additions).sum::<u64>(),
                "deletions": files.iter().map(|file| file.deletions).sum::<u64>(),
                "changed_files": files.len(),
            }),
        );
        object
    }

    /// A review. REST shouts its state, webhooks do not.
    pub(crate) fn review_json(&self, repo: &Repo, review: &Review) -> Value {
        let page = format!("{}/pull/{}#pullrequestreview-{}", self.repo_page(repo), review.number, review.id);
        let pull_url = format!("{}/pulls/{}", self.repo_url(repo), review.number);
        json!({
            "id": review.id,
            "node_id": node_id("PullRequestReview", review.id),
            "user": self.user_json(review.author),
            "body": review.body.clone().unwrap_or_default(),
            "state": review.state,
            "html_url": page,
            "pull_request_url": pull_url,
            "author_association": self.association(repo, review.author),
            "_links": {"html": {"href": page}, "pull_request": {"href": pull_url}},
            "submitted_at": time(review.submitted_at),
            "commit_id": review.commit_id,
        })
    }

    pub(crate) fn review_comment_json(&self, repo: &Repo, comment: &ReviewComment) -> Value {
        let base = self.repo_url(repo);
        let url = format!("{base}/pulls/comments/{}", comment.id);
        let page = format!("{}/pull/{}#discussion_r{}", self.repo_page(repo), comment.number, comment.id);
        let pull_url = format!("{base}/pulls/{}", comment.number);
        let mut object = json!({
            "url": url,
            "pull_request_review_id": comment.review,
            "id": comment.id,
            "node_id": node_id("PullRequestReviewComment", comment.id),
            "diff_hunk": comment.diff_hunk,
            "path": comment.path,
            "position": 1,
            "original_position": 1,
            "commit_id": comment.commit_id,
            "original_commit_id": comment.commit_id,
            "user": self.user_json(comment.author),
            "body": comment.body,
            "created_at": time(comment.created_at),
            "updated_at": time(comment.updated_at),
            "html_url": page,
            "pull_request_url": pull_url,
            "author_association": self.association(repo, comment.author),
            "_links": {"self": {"href": url}, "html": {"href": page}, "pull_request": {"href": pull_url}},
            "start_line": null,
            "original_start_line": null,
            "start_side": null,
            "line": comment.line,
            "original_line": comment.line,
            "side": "RIGHT",
            "reactions": self.reactions_json(repo, Subject::ReviewComment(comment.id), &url),
            "subject_type": "line",
        });
        if let Some(first) = comment.in_reply_to {
            merge(&mut object, json!({"in_reply_to_id": first}));
        }
        object
    }
}
