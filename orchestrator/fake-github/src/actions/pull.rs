//! Pull requests from opening to merging.

use serde_json::json;

use crate::answer::{Refused, custom, invalid, not_found};
use crate::call::Actor;
use crate::git::Git;
use crate::state::{Pull, Repo, World};

/// What a new pull request is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewPull<'a> {
    pub(crate) title: &'a str,
    pub(crate) body: Option<&'a str>,
    /// `branch` or `owner:branch`.
    pub(crate) head: &'a str,
    pub(crate) base: &'a str,
    pub(crate) draft: bool,
    pub(crate) maintainer_can_modify: bool,
}

impl World {
    /// Opens a pull request, or refuses with GitHub's words.
    pub(crate) fn open_pull(&mut self, repo_id: u64, actor: Actor, new: NewPull<'_>) -> Result<u64, Refused> {
        let repo = self.repo(repo_id).ok_or_else(not_found)?;
        let (owner, branch) = match new.head.split_once(':') {
            Some((owner, branch)) => (self.user_by_login(owner).map(|user| user.id), branch),
            None => (Some(repo.owner), new.head),
        };
        let bad_head = || invalid("PullRequest", "head", "invalid");
        let owner = owner.ok_or_else(bad_head)?;
        let head_repo = self.pull_source(repo, owner).ok_or_else(bad_head)?;
        let head_git = Git::new(&head_repo.git_dir);
        let git = Git::new(&repo.git_dir);
        let head_sha = head_git.branch(branch).ok_or_else(bad_head)?;
        let base_sha = git.branch(new.base).ok_or_else(|| invalid("PullRequest", "base", "invalid"))?;
        let head_label = format!("{}:{branch}", self.login(Some(owner)));
        let same = repo.threads.iter().filter(|thread| thread.open).any(|thread| {
            thread.pull.as_ref().is_some_and(|pull| {
                pull.head_owner == owner && pull.head_ref == branch && pull.base_ref == new.base
            })
        });
        if same {
            return Err(custom("PullRequest", &format!("A pull request already exists for {head_label}.")));
        }
        git.take(&head_git, &head_sha).ok_or_else(bad_head)?;
        if git.log(&base_sha, &head_sha).is_empty() {
            let shown = if owner == repo.owner { branch.to_owned() } else { head_label };
            return Err(custom("PullRequest", &format!("No commits between {} and {shown}", new.base)));
        }
        if git.merge_base(&base_sha, &head_sha).is_none() {
            let message = format!("The {branch} branch has no history in common with {}", new.base);
            return Err(custom("PullRequest", &message));
        }
        if new.draft && repo.refuses_drafts {
            return Err(Box::new(crate::answer::Answer::error(
                422,
                "Draft pull requests are not supported in this repository.",
            )));
        }
        let head_repo = head_repo.id;
        let number = self.new_thread(repo_id, actor, new.title, new.body).ok_or_else(not_found)?;
        let id = self.id();
        git.set_ref(&format!("refs/pull/{number}/head"), &head_sha);
        let pull = Pull {
            id,
            head_repo: Some(head_repo),
            head_owner: owner,
            head_ref: branch.to_owned(),
            head_sha,
            base_ref: new.base.to_owned(),
            base_sha,
            draft: new.draft,
            maintainer_can_modify: new.maintainer_can_modify,
            merged_at: None,
            merged_by: None,
            merge_commit_sha: None,
            reviewers: Vec::new(),
            mergeable: None,
        };
        self.change_thread(repo_id, number, |thread| thread.pull = Some(pull));
        self.post_issue("opened", repo_id, number, actor, json!({}));
        Ok(number)
    }

    /// The repository of this network that `owner` has: the base itself or a fork of it.
    fn pull_source<'a>(&'a self, base: &'a Repo, owner: u64) -> Option<&'a Repo> {
        if base.owner == owner {
            return Some(base);
        }
        self.repos.iter().find(|repo| {
            repo.owner == owner && (repo.fork_of == Some(base.id) || base.fork_of == Some(repo.id))
        })
    }

    /// A draft becomes a plain pull request.
    pub(crate) fn ready_pull(&mut self, repo: u64, number: u64, actor: Actor) -> Option<()> {
        self.change_thread(repo, number, |thread| {
            thread.pull.as_mut()?.draft = false;
            Some(())
        })??;
        self.post_issue("ready_for_review", repo, number, actor, json!({}));
        Some(())
    }

    pub(crate) fn request_review(&mut self, repo: u64, number: u64, actor: Actor, reviewer: u64) {
        let new = self.change_thread(repo, number, |thread| match &mut thread.pull {
            Some(pull) if !pull.reviewers.contains(&reviewer) => {
                pull.reviewers.push(reviewer);
                true
            }
            _ => false,
        });
        if new == Some(true) {
            let reviewer = self.user_json(Some(reviewer));
            self.post_issue("review_requested", repo, number, actor, json!({"requested_reviewer": reviewer}));
        }
    }
}
