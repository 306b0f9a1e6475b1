//! A person of a story. What they do happens at once, and is told by webhook.

use std::sync::Arc;

use crate::actions::NewPull;
use crate::answer::{Content, Refused};
use crate::call::Actor;
use crate::fake::broken;
use crate::git::{Change, Git};
use crate::seed::known_repo;
use crate::shared::Shared;
use crate::state::{Subject, World};

/// Somebody with an account. Permissions are not asked here: a story may let a stranger do what GitHub's pages would
/// not offer them.
#[derive(Debug, Clone)]
pub struct Person {
    shared: Arc<Shared>,
    id: u64,
}

impl Person {
    pub(crate) fn new(shared: Arc<Shared>, id: u64) -> Self {
        Self { shared, id }
    }

    /// The account's id, which stays when the login changes.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Gives the account another name; somebody else may take the old one.
    pub fn renames_account(&self, login: &str) {
        self.shared.with(|world| {
            for user in world.users.iter_mut().filter(|user| user.id == self.id) {
                login.clone_into(&mut user.login);
            }
        });
    }

    #[track_caller]
    fn does<R>(&self, repo: &str, what: impl FnOnce(&mut World, u64, Actor) -> Option<R>) -> R {
        let done = self.shared.with(|world| {
            let id = known_repo(world, repo);
            what(world, id, Actor { user: self.id, app: None })
        });
        done.unwrap_or_else(|| {
            broken(&format!("{repo} has no such issue, pull request, comment, branch or label"))
        })
    }

    /// Opens an issue; its number.
    #[track_caller]
    pub fn opens_issue(&self, repo: &str, title: &str, body: &str) -> u64 {
        self.does(repo, |world, repo, me| world.open_issue(repo, me, title, Some(body)))
    }

    /// Edits an issue's or a pull request's body.
    #[track_caller]
    pub fn edits_issue(&self, repo: &str, number: u64, body: &str) {
        self.does(repo, |world, repo, me| world.edit_thread(repo, number, me, None, Some(body)));
    }

    /// Gives an issue or a pull request another title.
    #[track_caller]
    pub fn retitles(&self, repo: &str, number: u64, title: &str) {
        self.does(repo, |world, repo, me| world.edit_thread(repo, number, me, Some(title), None));
    }

    /// Comments on an issue or a pull request; the comment's id.
    #[track_caller]
    pub fn comments_on(&self, repo: &str, number: u64, body: &str) -> u64 {
        self.does(repo, |world, repo, me| world.add_comment(repo, number, me, body))
    }

    /// Edits a comment.
    #[track_caller]
    pub fn edits_comment(&self, repo: &str, comment: u64, body: &str) {
        self.does(repo, |world, repo, me| world.edit_comment(repo, comment, me, body));
    }

    /// Deletes a comment.
    #[track_caller]
    pub fn deletes_comment(&self, repo: &str, comment: u64) {
        self.does(repo, |world, repo, me| world.delete_comment(repo, comment, me));
    }

    /// Reacts to a comment. GitHub tells nobody.
    #[track_caller]
    pub fn reacts_to_comment(&self, repo: &str, comment: u64, content: &str) {
        self.does(repo, |world, repo, me| world.react(repo, Subject::Comment(comment), me.user, content));
    }

    /// Puts a label on; it comes into being when the repository lacks it.
    #[track_caller]
    pub fn labels(&self, repo: &str, number: u64, label: &str) {
        self.does(repo, |world, repo, me| world.add_labels(repo, number, me, &[label.to_owned()]));
    }

    /// Takes a label off.
    #[track_caller]
    pub fn unlabels(&self, repo: &str, number: u64, label: &str) {
        self.does(repo, |world, repo, me| world.remove_label(repo, number, me, label));
    }

    /// Assigns somebody, perhaps a bot.
    #[track_caller]
    pub fn assigns(&self, repo: &str, number: u64, login: &str) {
        self.does(repo, |world, repo, me| {
            let user = world.user_by_login(login)?.id;
            world.assign(repo, number, me, user, true)
        });
    }

    /// Unassigns somebody.
    #[track_caller]
    pub fn unassigns(&self, repo: &str, number: u64, login: &str) {
        self.does(repo, |world, repo, me| {
            let user = world.user_by_login(login)?.id;
            world.assign(repo, number, me, user, false)
        });
    }

    /// Closes an issue, or a pull request without merging.
    #[track_caller]
    pub fn closes(&self, repo: &str, number: u64) {
        self.does(repo, |world, repo, me| world.set_open(repo, number, me, false, None));
    }

    /// Reopens.
    #[track_caller]
    pub fn reopens(&self, repo: &str, number: u64) {
        self.does(repo, |world, repo, me| world.set_open(repo, number, me, true, None));
    }

    /// Locks a conversation: nobody comments any more.
    #[track_caller]
    pub fn locks(&self, repo: &str, number: u64) {
        self.does(repo, |world, repo, _| world.change_thread(repo, number, |thread| thread.locked = true));
    }

    /// Commits one file to a branch and pushes it; the branch begins at the default branch when it is new. The
    /// commit's id.
    #[track_caller]
    pub fn pushes(&self, repo: &str, branch: &str, path: &str, content: &str) -> String {
        self.pushes_files(repo, branch, &[(path, content)], &format!("Change {path}"))
    }

    /// Commits files to a branch and pushes them.
    #[track_caller]
    pub fn pushes_files(&self, repo: &str, branch: &str, files: &[(&str, &str)], message: &str) -> String {
        self.does(repo, |world, id, me| {
            let known = world.repo(id)?;
            let git = Git::new(&known.git_dir);
            let before = git.branch(branch);
            let changes: Vec<Change<'_>> =
                files.iter().map(|(path, content)| Change::Write(path, content)).collect();
            let login = world.login(Some(me.user)).to_owned();
            let from = format!("refs/heads/{}", known.default_branch);
            let sha = git.commit_on(branch, Some(&from), &changes, &login, message, world.now())?;
            world.branch_moved(id, me, &format!("refs/heads/{branch}"), before.as_deref(), Some(&sha));
            Some(sha)
        })
    }

    /// Moves a branch to another commit, forwards or not.
    #[track_caller]
    pub fn force_pushes(&self, repo: &str, branch: &str, to: &str) {
        self.does(repo, |world, id, me| {
            let git = Git::new(&world.repo(id)?.git_dir);
            let before = git.branch(branch);
            let sha = git.resolve(to)?;
            git.set_ref(&format!("refs/heads/{branch}"), &sha)?;
            world.branch_moved(id, me, &format!("refs/heads/{branch}"), before.as_deref(), Some(&sha));
            Some(())
        });
    }

    /// Deletes a branch.
    #[track_caller]
    pub fn deletes_branch(&self, repo: &str, branch: &str) {
        self.does(repo, |world, id, me| {
            let git = Git::new(&world.repo(id)?.git_dir);
            let before = git.branch(branch)?;
            let name = format!("refs/heads/{branch}");
            git.delete_ref(&name)?;
            world.branch_moved(id, me, &name, Some(&before), None);
            Some(())
        });
    }

    /// Opens a pull request from a branch, or from `owner:branch` of a fork; its number.
    #[track_caller]
    pub fn opens_pull_request(&self, repo: &str, head: &str, base: &str, title: &str, body: &str) -> u64 {
        let opened = self.shared.with(|world| {
            let id = known_repo(world, repo);
            let new =
                NewPull { title, body: Some(body), head, base, draft: false, maintainer_can_modify: false };
            world.open_pull(id, Actor { user: self.id, app: None }, new)
        });
        opened.unwrap_or_else(|refusal| broken(&told(&refusal)))
    }

    /// Merges a pull request; the merge commit.
    #[track_caller]
    pub fn merges(&self, repo: &str, number: u64) -> String {
        let merged = self.shared.with(|world| {
            let id = known_repo(world, repo);
            world.merge_pull(id, number, Actor { user: self.id, app: None }, "merge")
        });
        merged.unwrap_or_else(|refusal| broken(&told(&refusal)))
    }

    /// Submits a review that asks for changes; its id.
    #[track_caller]
    pub fn requests_changes(&self, repo: &str, number: u64, body: &str) -> u64 {
        self.does(repo, |world, repo, me| world.add_review(repo, number, me, "CHANGES_REQUESTED", Some(body)))
    }

    /// Submits a review that asks for changes together with its comments on lines (file, line, words); its id.
    #[track_caller]
    pub fn requests_changes_with(
        &self,
        repo: &str,
        number: u64,
        body: &str,
        comments: &[(&str, u64, &str)],
    ) -> u64 {
        self.does(repo, |world, repo, me| {
            world.add_whole_review(repo, number, me, "CHANGES_REQUESTED", body, comments)
        })
    }

    /// Changes what a review says as a whole, perhaps somebody else's.
    #[track_caller]
    pub fn edits_review(&self, repo: &str, review: u64, body: &str) {
        self.does(repo, |world, repo, me| world.edit_review(repo, review, me, body));
    }

    /// Changes a comment on a line, perhaps somebody else's.
    #[track_caller]
    pub fn edits_review_comment(&self, repo: &str, comment: u64, body: &str) {
        self.does(repo, |world, repo, me| world.edit_review_comment(repo, comment, me, body));
    }

    /// Dismisses a review: it counts no more.
    #[track_caller]
    pub fn dismisses_review(&self, repo: &str, review: u64) {
        self.does(repo, |world, repo, me| world.dismiss_review(repo, review, me));
    }

    /// Says that a draft is ready for review.
    #[track_caller]
    pub fn readies(&self, repo: &str, number: u64) {
        self.does(repo, |world, repo, me| world.ready_pull(repo, number, me));
    }

    /// Approves; the review's id.
    #[track_caller]
    pub fn approves(&self, repo: &str, number: u64) -> u64 {
        self.does(repo, |world, repo, me| world.add_review(repo, number, me, "APPROVED", None))
    }

    /// Submits a review that only comments; its id.
    #[track_caller]
    pub fn reviews(&self, repo: &str, number: u64, body: &str) -> u64 {
        self.does(repo, |world, repo, me| world.add_review(repo, number, me, "COMMENTED", Some(body)))
    }

    /// Comments on a line of a pull request; the comment's id.
    #[track_caller]
    pub fn review_comment(&self, repo: &str, number: u64, path: &str, line: u64, body: &str) -> u64 {
        self.does(repo, |world, repo, me| {
            world.add_review_comment(repo, number, me, (path, line), body, None)
        })
    }

    /// Answers in the thread of a comment on a line; the answer's id.
    #[track_caller]
    pub fn replies_to(&self, repo: &str, number: u64, comment: u64, body: &str) -> u64 {
        self.does(repo, |world, repo, me| {
            let first = world.repo(repo)?.review_comments.iter().find(|known| known.id == comment)?;
            let (path, line) = (first.path.clone(), first.line);
            world.add_review_comment(repo, number, me, (&path, line), body, Some(comment))
        })
    }

    /// A check suite of a CI App completes on a commit, started by this person's push. The suite's id.
    ///
    /// `pending` begins it and does not end it.
    #[track_caller]
    pub fn sees_check_suite(&self, repo: &str, sha: &str, conclusion: &str) -> u64 {
        self.does(repo, |world, repo, me| {
            let owner = world.add_user("octocat", "User");
            let ci = match world.apps.iter().find(|app| app.slug == "fake-ci") {
                Some(app) => app.id,
                None => world.add_app("fake-ci", owner, std::collections::BTreeMap::new(), Vec::new()),
            };
            Git::new(&world.repo(repo)?.git_dir).commit(sha)?;
            let suite = world.suite_for(repo, ci, sha, None);
            let bot = world.app(ci)?.bot;
            let change = crate::actions::CheckRunChange {
                name: Some("test".to_owned()),
                status: Some(if conclusion == "pending" { "in_progress" } else { "completed" }.to_owned()),
                conclusion: Some(conclusion.to_owned()).filter(|conclusion| conclusion != "pending"),
                title: Some(format!("test: {conclusion}")),
                summary: Some(format!("The job ended: {conclusion}")),
                ..Default::default()
            };
            let me = Actor { user: me.user, app: Some(bot) };
            let known = &world.repo(repo)?.check_runs;
            match known.iter().find(|run| run.suite == suite && run.status != "completed").map(|run| run.id) {
                Some(running) => world.change_check_run(repo, running, me, change)?,
                // The run completes its suite, which is told with the person as sender, as on GitHub.
                None => drop(world.add_check_run(repo, me, ci, sha, change)?),
            }
            Some(suite)
        })
    }
}

/// What a refusal says.
fn told(refusal: &Refused) -> String {
    match &refusal.body {
        Content::Json(body) => body.to_string(),
        Content::None | Content::Raw(..) => format!("refused with {}", refusal.status),
    }
}
