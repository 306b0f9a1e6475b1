use serde_json::{Value, json};

use super::{node_id, optional_time, time};
use crate::git::{Commit, Git};
use crate::state::{CheckRun, CheckSuite, Repo, Status, World};

impl World {
    pub(crate) fn check_run_json(&self, repo: &Repo, run: &CheckRun) -> Value {
        let url = format!("{}/check-runs/{}", self.repo_url(repo), run.id);
        let page = format!("{}/runs/{}", self.repo_page(repo), run.id);
        json!({
            "id": run.id,
            "node_id": node_id("CheckRun", run.id),
            "head_sha": run.head_sha,
            "external_id": run.external_id,
            "url": url,
            "html_url": page,
            "details_url": run.details_url.clone().unwrap_or(page),
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": optional_time(run.started_at),
            "completed_at": optional_time(run.completed_at),
            "output": {
                "title": run.title,
                "summary": run.summary,
                "text": run.text,
                "annotations_count": run.annotations.len(),
                "annotations_url": format!("{url}/annotations"),
            },
            "name": run.name,
            "check_suite": {"id": run.suite},
            "app": self.app_json(Some(run.app)),
            "pull_requests": self.check_pulls(repo, &run.head_sha),
        })
    }

    /// A check run as its webhook has it: with more of its suite.
    pub(crate) fn check_run_event_json(&self, repo: &Repo, run: &CheckRun) -> Value {
        let mut object = self.check_run_json(repo, run);
        if let Some(suite) = repo.check_suites.iter().find(|suite| suite.id == run.suite) {
            object["check_suite"] = self.suite_base(repo, suite);
        }
        object
    }

    fn suite_base(&self, repo: &Repo, suite: &CheckSuite) -> Value {
        json!({
            "id": suite.id,
            "node_id": node_id("CheckSuite", suite.id),
            "head_branch": suite.head_branch,
            "head_sha": suite.head_sha,
            "status": suite.status,
            "conclusion": suite.conclusion,
            "url": format!("{}/check-suites/{}", self.repo_url(repo), suite.id),
            "before": null,
            "after": suite.head_sha,
            "pull_requests": self.check_pulls(repo, &suite.head_sha),
            "app": self.app_json(Some(suite.app)),
            "created_at": time(suite.created_at),
            "updated_at": time(suite.updated_at),
        })
    }

    /// A check suite as its webhook has it.
    pub(crate) fn suite_event_json(&self, repo: &Repo, suite: &CheckSuite) -> Value {
        let mut object = self.suite_base(repo, suite);
        let runs = repo.check_runs.iter().filter(|run| run.suite == suite.id).count();
        let commit = Git::new(&repo.git_dir).commit(&suite.head_sha);
        object["latest_check_runs_count"] = json!(runs);
        object["check_runs_url"] =
            json!(format!("{}/check-suites/{}/check-runs", self.repo_url(repo), suite.id));
        object["head_commit"] = commit.map(|commit| simple_commit(&commit)).unwrap_or_default();
        object
    }

    /// A check suite as REST has it.
    pub(crate) fn suite_json(&self, repo: &Repo, suite: &CheckSuite) -> Value {
        let mut object = self.suite_event_json(repo, suite);
        object["repository"] = self.repo_json(repo);
        object
    }

    /// The open pull requests of this repository with that head. Those of forks are not told, as on GitHub.
    fn check_pulls(&self, repo: &Repo, sha: &str) -> Vec<Value> {
        let url = self.repo_url(repo);
        let side = |branch: &str, sha: &str| json!({"ref": branch, "sha": sha, "repo": {"id": repo.id, "url": url, "name": repo.name}});
        repo.threads
            .iter()
            .filter(|thread| thread.open)
            .filter_map(|thread| thread.pull.as_ref().map(|pull| (thread, pull)))
            .filter(|(_, pull)| pull.head_repo == Some(repo.id) && pull.head_sha == sha)
            .map(|(thread, pull)| {
                json!({
                    "id": pull.id,
                    "number": thread.number,
                    "url": format!("{url}/pulls/{}", thread.number),
                    "head": side(&pull.head_ref, &pull.head_sha),
                    "base": side(&pull.base_ref, &pull.base_sha),
                })
            })
            .collect()
    }

    pub(crate) fn status_json(&self, repo: &Repo, status: &Status) -> Value {
        json!({
            "url": format!("{}/statuses/{}", self.repo_url(repo), status.sha),
            "avatar_url": format!("{}/avatars/u/{}", self.web_url, status.creator),
            "id": status.id,
            "node_id": node_id("Status", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": time(status.created_at),
            "updated_at": time(status.created_at),
            "creator": self.user_json(Some(status.creator)),
        })
    }

    /// A commit as REST has it.
    pub(crate) fn commit_json(&self, repo: &Repo, commit: &Commit) -> Value {
        let base = self.repo_url(repo);
        let page = self.repo_page(repo);
        let person = |name: &str, email: &str| {
            let login = email.strip_suffix("@users.noreply.example");
            let user = login.or(Some(name)).and_then(|login| self.user_by_login(login));
            self.user_json(user.map(|user| user.id))
        };
        json!({
            "url": format!("{base}/commits/{}", commit.sha),
            "sha": commit.sha,
            "node_id": format!("C_{}", commit.sha),
            "html_url": format!("{page}/commit/{}", commit.sha),
            "comments_url": format!("{base}/commits/{}/comments", commit.sha),
            "commit": {
                "url": format!("{base}/git/commits/{}", commit.sha),
                "author": {"name": commit.author, "email": commit.author_email, "date": time(commit.authored_at)},
                "committer":
                    {"name": commit.committer, "email": commit.committer_email, "date": time(commit.committed_at)},
                "message": commit.message,
                "comment_count": 0,
                "tree": {"sha": commit.tree, "url": format!("{base}/git/trees/{}", commit.tree)},
                "verification":
                    {"verified": false, "reason": "unsigned", "payload": null, "signature": null, "verified_at": null},
            },
            "author": person(&commit.author, &commit.author_email),
            "committer": person(&commit.committer, &commit.committer_email),
            "parents": commit.parents.iter().map(|sha| json!({
                "sha": sha, "url": format!("{base}/commits/{sha}"), "html_url": format!("{page}/commit/{sha}"),
            })).collect::<Vec<_>>(),
        })
    }
}

fn simple_commit(commit: &Commit) -> Value {
    json!({
        "id": commit.sha,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": time(commit.committed_at),
        "author": {"name": commit.author, "email": commit.author_email},
        "committer": {"name": commit.committer, "email": commit.committer_email},
    })
}
