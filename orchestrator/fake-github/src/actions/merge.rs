//! Merging, with the rules that a repository has for it, and what follows: the issues that a pull request says it fixes.

use serde_json::json;

use crate::answer::{Refused, not_found, refused};
use crate::call::Actor;
use crate::git::{Git, Joined};
use crate::state::{Pull, Repo, Thread, World};

/// GitHub's words before the number of an issue.
const FIXES: [&str; 3] = ["Fixes #", "Closes #", "Resolves #"];

impl World {
    /// Merges a pull request as somebody whom the rules bind, or refuses with GitHub's words.
    pub(crate) fn merge_pull(
        &mut self,
        repo_id: u64,
        number: u64,
        actor: Actor,
        method: &str,
    ) -> Result<String, Refused> {
        let repo = self.repo(repo_id).ok_or_else(not_found)?;
        let thread = repo.thread(number).ok_or_else(not_found)?;
        let pull = thread.pull.as_ref().ok_or_else(not_found)?;
        if let Some(message) = rule_broken(repo, thread, pull, method) {
            return Err(refused(405, &message));
        }
        let now = self.now();
        let message = format!(
            "Merge pull request #{number} from {}/{}\n\n{}",
            self.login(Some(pull.head_owner)),
            pull.head_ref,
            thread.title
        );
        let git = Git::new(&repo.git_dir);
        let (base, head) = (pull.base_ref.clone(), pull.head_sha.clone());
        let is_default = base == repo.default_branch;
        let fixed = thread.body.as_deref().filter(|_| is_default).map(fixed).unwrap_or_default();
        let before = git.branch(&base);
        let how = Joined { method, author: self.login(Some(actor.user)), message: &message };
        let sha = git
            .merge(&base, &head, &how, now)
            .ok_or_else(|| refused(405, "Pull Request is not mergeable"))?;
        self.change_thread(repo_id, number, |thread| {
            thread.open = false;
            thread.closed_at = Some(now);
            thread.closed_by = Some(actor.user);
            if let Some(pull) = &mut thread.pull {
                pull.merged_at = Some(now);
                pull.merged_by = Some(actor.user);
                pull.merge_commit_sha = Some(sha.clone());
            }
        });
        self.post_issue("closed", repo_id, number, actor, json!({}));
        for issue in fixed {
            self.set_open(repo_id, issue, actor, false, None);
        }
        self.branch_moved(repo_id, actor, &format!("refs/heads/{base}"), before.as_deref(), Some(&sha));
        Ok(sha)
    }
}

/// The issues that a pull request ends when it is merged into the default branch.
fn fixed(body: &str) -> Vec<u64> {
    let lines = body.lines().filter_map(|line| FIXES.iter().find_map(|word| line.trim().strip_prefix(word)));
    lines.filter_map(|rest| rest.trim_end_matches('.').parse().ok()).collect()
}

/// What is not as the repository wants it, in GitHub's words.
pub(crate) fn rule_broken(repo: &Repo, thread: &Thread, pull: &Pull, method: &str) -> Option<String> {
    let rules = &repo.merge_rules;
    if !thread.open {
        return Some("Pull Request is not mergeable".to_owned());
    }
    if pull.draft {
        return Some("Pull Request is still a draft".to_owned());
    }
    if rules.queue {
        return Some(
            "Repository rule violations found\n\nChanges must be made through the merge queue\n\n".to_owned(),
        );
    }
    if !rules.methods.iter().any(|allowed| allowed == method) {
        let name = match method {
            "merge" => "Merge commits",
            "squash" => "Squash merges",
            _ => "Rebase merges",
        };
        return Some(format!("{name} are not allowed on this repository."));
    }
    rule_of_base_broken(repo, thread, pull)
}

/// The same of what the base wants alone.
pub(crate) fn rule_of_base_broken(repo: &Repo, thread: &Thread, pull: &Pull) -> Option<String> {
    let rules = &repo.merge_rules;
    if approvals(repo, thread.number) < rules.approvals {
        let reviews = if rules.approvals == 1 { "review is" } else { "reviews are" };
        return Some(format!(
            "At least {} approving {reviews} required by reviewers with write access.",
            rules.approvals
        ));
    }
    let has_passed = |wanted: &String| {
        let mut runs =
            repo.check_runs.iter().filter(|run| run.head_sha == pull.head_sha && run.name == *wanted);
        let ends = runs.next_back().and_then(|run| run.conclusion.as_deref());
        matches!(ends, Some("success" | "neutral" | "skipped"))
    };
    let missing = rules.checks.iter().find(|wanted| !has_passed(wanted))?;
    Some(format!("Required status check \"{missing}\" is expected."))
}

/// People who may push and whose last word is a yes.
fn approvals(repo: &Repo, number: u64) -> usize {
    let may = |user: &u64| repo.role(*user) >= crate::state::Role::Write;
    let mut last = std::collections::BTreeMap::new();
    for review in repo.reviews.iter().filter(|review| review.number == number && review.state != "COMMENTED")
    {
        if let Some(author) = review.author.filter(may) {
            last.insert(author, review.state.as_str());
        }
    }
    last.values().filter(|state| **state == "APPROVED").count()
}
