//! A branch that moved: the push event, and the pull requests that stand on it.

use serde_json::{Value, json};

use crate::call::Actor;
use crate::git::Git;
use crate::render::time;
use crate::state::{CheckSuite, Level, World};

const ZERO: &str = "0000000000000000000000000000000000000000";

impl World {
    /// Tells the world that a ref has moved; git has moved it already.
    pub(crate) fn branch_moved(
        &mut self,
        repo_id: u64,
        actor: Actor,
        name: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) {
        let now = self.now();
        let Some(repo) = self.repo_mut(repo_id) else { return };
        repo.pushed_at = now;
        self.post_push(repo_id, actor, name, before, after);
        let Some(branch) = name.strip_prefix("refs/heads/") else { return };
        if let Some(after) = after {
            self.follow(repo_id, actor, branch, before.unwrap_or(ZERO), after);
            self.request_suites(repo_id, actor, branch, after);
        }
    }

    /// Open pull requests of that branch get its new head; a deleted branch leaves them as they are until closed.
    fn follow(&mut self, source: u64, actor: Actor, branch: &str, before: &str, after: &str) {
        let Some(source_git) = self.repo(source).map(|repo| Git::new(&repo.git_dir)) else { return };
        let mut moved = Vec::new();
        for repo in &mut self.repos {
            let git = Git::new(&repo.git_dir);
            for thread in repo.threads.iter_mut().filter(|thread| thread.open) {
                let Some(pull) = &mut thread.pull else { continue };
                if pull.head_repo == Some(source) && pull.head_ref == branch && pull.head_sha != after {
                    git.take(&source_git, after);
                    git.set_ref(&format!("refs/pull/{}/head", thread.number), after);
                    after.clone_into(&mut pull.head_sha);
                    moved.push((repo.id, thread.number));
                }
                // GitHub keeps the base's commit of the last push to the pull request, but shows the branch's tip.
                if repo.id == source && pull.base_ref == branch {
                    after.clone_into(&mut pull.base_sha);
                }
            }
        }
        for (repo, number) in moved {
            self.change_thread(repo, number, |_| ());
            self.post_issue("synchronize", repo, number, actor, json!({"before": before, "after": after}));
        }
    }

    /// Each App that may write checks gets a suite for the new commit.
    fn request_suites(&mut self, repo: u64, actor: Actor, branch: &str, sha: &str) {
        let apps: Vec<u64> = self
            .apps
            .iter()
            .map(|app| app.id)
            .filter(|app| {
                self.installation_on(*app, repo)
                    .is_some_and(|installed| installed.permissions.get("checks") >= Some(&Level::Write))
            })
            .collect();
        for app in apps {
            let suite = self.suite_for(repo, app, sha, Some(branch));
            self.post_suite("requested", repo, actor, suite);
        }
    }

    /// The suite of an App on a commit, made when there is none.
    pub(crate) fn suite_for(&mut self, repo: u64, app: u64, sha: &str, branch: Option<&str>) -> u64 {
        let (id, now) = (self.id(), self.now());
        let Some(repo) = self.repo_mut(repo) else { return 0 };
        if let Some(there) = repo.check_suites.iter().find(|suite| suite.app == app && suite.head_sha == sha)
        {
            return there.id;
        }
        let branch = branch.map(str::to_owned).or_else(|| {
            let refs = Git::new(&repo.git_dir).refs("refs/heads");
            refs.into_iter()
                .find(|(_, tip)| tip == sha)
                .map(|(name, _)| name.trim_start_matches("refs/heads/").to_owned())
        });
        repo.check_suites.push(CheckSuite {
            id,
            app,
            head_sha: sha.to_owned(),
            head_branch: branch,
            status: "queued".to_owned(),
            conclusion: None,
            created_at: now,
            updated_at: now,
        });
        id
    }

    fn post_push(
        &mut self,
        repo_id: u64,
        actor: Actor,
        name: &str,
        before: Option<&str>,
        after: Option<&str>,
    ) {
        let Some(repo) = self.repo(repo_id) else { return };
        let git = Git::new(&repo.git_dir);
        let page = self.repo_page(repo);
        let commits: Vec<Value> = match after {
            Some(after) => {
                let base = before.map(str::to_owned).or_else(|| git.branch(&repo.default_branch));
                let list = match base.filter(|base| base != after || before.is_some()) {
                    Some(base) => git.log(&base, after),
                    None => git.commit(after).into_iter().collect(),
                };
                list.iter().map(|commit| push_commit(&git, &page, commit)).collect()
            }
            None => Vec::new(),
        };
        let head = after.and_then(|after| git.commit(after)).map(|commit| push_commit(&git, &page, &commit));
        let forced = matches!((before, after), (Some(old), Some(new)) if !git.is_ancestor(old, new));
        let login = self.login(Some(actor.user)).to_owned();
        let (old, new) = (before.unwrap_or(ZERO), after.unwrap_or(ZERO));
        let payload = json!({
            "ref": name,
            "before": old,
            "after": new,
            "created": before.is_none(),
            "deleted": after.is_none(),
            "forced": forced,
            "base_ref": null,
            "compare": format!("{page}/compare/{}...{}", &old[..12.min(old.len())], &new[..12.min(new.len())]),
            "commits": commits,
            "head_commit": head,
            "pusher": {"name": login, "email": format!("{login}@users.noreply.example")},
        });
        self.post("push", "", repo_id, actor, payload);
    }
}

fn push_commit(git: &Git, page: &str, commit: &crate::git::Commit) -> Value {
    let parent = commit.parents.first().cloned().unwrap_or_else(|| commit.sha.clone());
    let files = git.changed_files(&parent, &commit.sha);
    let of = |status: &str| -> Vec<String> {
        files.iter().filter(|file| file.status == status).map(|file| file.path.clone()).collect()
    };
    json!({
        "id": commit.sha,
        "tree_id": commit.tree,
        "distinct": true,
        "message": commit.message,
        "timestamp": time(commit.committed_at),
        "url": format!("{page}/commit/{}", commit.sha),
        "author": {"name": commit.author, "email": commit.author_email},
        "committer": {"name": commit.committer, "email": commit.committer_email},
        "added": of("added"),
        "removed": of("removed"),
        "modified": of("modified"),
    })
}
