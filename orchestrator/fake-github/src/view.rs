//! What a test looks at after its story.

use crate::fake::{FakeGithub, broken};
use crate::git::Git;
use crate::seed::known_repo;
use crate::state::{Repo, Subject, Thread, World};

/// A comment of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentView {
    /// Its id.
    pub id: u64,
    /// Its author's login, `ghost` when the account is gone.
    pub author: String,
    /// Its text now.
    pub body: String,
    /// How often it was edited.
    pub edits: u32,
}

/// A comment on a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewCommentView {
    /// Its id.
    pub id: u64,
    /// Its author's login.
    pub author: String,
    /// Its text now.
    pub body: String,
    /// The file.
    pub path: String,
    /// The line.
    pub line: u64,
    /// The first comment of its thread, when it is an answer.
    pub in_reply_to: Option<u64>,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullView {
    /// Its number.
    pub number: u64,
    /// Its author's login.
    pub author: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// `owner:branch`.
    pub head: String,
    /// The commit it stands at.
    pub head_sha: String,
    /// The branch it is for.
    pub base: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it is open.
    pub open: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// Who was asked for a review.
    pub reviewers: Vec<String>,
}

/// A check run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckView {
    /// Its id.
    pub id: u64,
    /// The App's slug.
    pub app: String,
    /// Its name.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// The title of its output.
    pub title: Option<String>,
    /// The summary of its output.
    pub summary: Option<String>,
    /// The client's own id.
    pub external_id: String,
    /// How often it was changed.
    pub updates: u32,
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    /// Its context.
    pub context: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// Its text.
    pub description: Option<String>,
    /// Who set it.
    pub creator: String,
}

impl FakeGithub {
    #[track_caller]
    fn look<R>(&self, repo: &str, at: impl FnOnce(&World, &Repo) -> R) -> R {
        self.shared().with(|world| {
            let id = known_repo(world, repo);
            match world.repo(id) {
                Some(repo) => at(world, repo),
                None => broken("the repository went away under the lock"),
            }
        })
    }

    /// The comments of an issue or pull request, oldest first.
    #[track_caller]
    pub fn comments(&self, repo: &str, number: u64) -> Vec<CommentView> {
        self.look(repo, |world, repo| {
            let comments = repo.comments.iter().filter(|comment| comment.number == number);
            comments
                .map(|comment| CommentView {
                    id: comment.id,
                    author: world.login(comment.author).to_owned(),
                    body: comment.body.clone(),
                    edits: comment.edits,
                })
                .collect()
        })
    }

    /// The comments on lines of a pull request, oldest first.
    #[track_caller]
    pub fn review_comments(&self, repo: &str, number: u64) -> Vec<ReviewCommentView> {
        self.look(repo, |world, repo| {
            let comments = repo.review_comments.iter().filter(|comment| comment.number == number);
            comments
                .map(|comment| ReviewCommentView {
                    id: comment.id,
                    author: world.login(comment.author).to_owned(),
                    body: comment.body.clone(),
                    path: comment.path.clone(),
                    line: comment.line,
                    in_reply_to: comment.in_reply_to,
                })
                .collect()
        })
    }

    /// All pull requests, open or not, oldest first.
    #[track_caller]
    pub fn pull_requests(&self, repo: &str) -> Vec<PullView> {
        self.look(repo, |world, repo| {
            repo.threads.iter().filter_map(|thread| pull_view(world, thread)).collect()
        })
    }

    /// The labels on an issue, in the order they came.
    #[track_caller]
    pub fn labels(&self, repo: &str, number: u64) -> Vec<String> {
        self.look(repo, |_, repo| repo.thread(number).map(|thread| thread.labels.clone()).unwrap_or_default())
    }

    /// The labels the repository knows.
    #[track_caller]
    pub fn repository_labels(&self, repo: &str) -> Vec<String> {
        self.look(repo, |_, repo| repo.labels.iter().map(|label| label.name.clone()).collect())
    }

    /// Whether an issue is open.
    #[track_caller]
    pub fn is_open(&self, repo: &str, number: u64) -> bool {
        self.look(repo, |_, repo| repo.thread(number).is_some_and(|thread| thread.open))
    }

    /// The text of an issue or pull request.
    #[track_caller]
    pub fn body(&self, repo: &str, number: u64) -> String {
        let body = |_: &World, repo: &Repo| repo.thread(number).and_then(|thread| thread.body.clone());
        self.look(repo, body).unwrap_or_default()
    }

    /// The reactions on an issue: login and content.
    #[track_caller]
    pub fn reactions(&self, repo: &str, number: u64) -> Vec<(String, String)> {
        self.reactions_on(repo, Subject::Thread(number))
    }

    /// The reactions on a comment of a conversation.
    #[track_caller]
    pub fn comment_reactions(&self, repo: &str, comment: u64) -> Vec<(String, String)> {
        self.reactions_on(repo, Subject::Comment(comment))
    }

    /// The reactions on a comment on a line.
    #[track_caller]
    pub fn review_comment_reactions(&self, repo: &str, comment: u64) -> Vec<(String, String)> {
        self.reactions_on(repo, Subject::ReviewComment(comment))
    }

    #[track_caller]
    fn reactions_on(&self, repo: &str, subject: Subject) -> Vec<(String, String)> {
        self.look(repo, |world, repo| {
            let on = repo.reactions.iter().filter(|reaction| reaction.subject == subject);
            on.map(|reaction| (world.login(Some(reaction.user)).to_owned(), reaction.content.clone()))
                .collect()
        })
    }

    /// The check runs on a commit of any repository.
    pub fn checks(&self, sha: &str) -> Vec<CheckView> {
        self.shared().with(|world| {
            let runs = world.repos.iter().flat_map(|repo| &repo.check_runs).filter(|run| run.head_sha == sha);
            runs.map(|run| CheckView {
                id: run.id,
                app: world.app(run.app).map(|app| app.slug.clone()).unwrap_or_default(),
                name: run.name.clone(),
                status: run.status.clone(),
                conclusion: run.conclusion.clone(),
                title: run.title.clone(),
                summary: run.summary.clone(),
                external_id: run.external_id.clone(),
                updates: run.updates,
            })
            .collect()
        })
    }

    /// The statuses on a commit of any repository, oldest first.
    pub fn statuses(&self, sha: &str) -> Vec<StatusView> {
        self.shared().with(|world| {
            let all = world.repos.iter().flat_map(|repo| &repo.statuses).filter(|status| status.sha == sha);
            all.map(|status| StatusView {
                context: status.context.clone(),
                state: status.state.clone(),
                description: status.description.clone(),
                creator: world.login(Some(status.creator)).to_owned(),
            })
            .collect()
        })
    }

    /// The commit of a branch; `None` when there is no such branch.
    #[track_caller]
    pub fn branch(&self, repo: &str, branch: &str) -> Option<String> {
        self.look(repo, |_, repo| Git::new(&repo.git_dir).branch(branch))
    }

    /// The names of all branches.
    #[track_caller]
    pub fn branches(&self, repo: &str) -> Vec<String> {
        self.look(repo, |_, repo| {
            let refs = Git::new(&repo.git_dir).refs("refs/heads");
            refs.into_keys().map(|name| name.trim_start_matches("refs/heads/").to_owned()).collect()
        })
    }

    /// The first lines of the messages of a branch's commits that its default branch lacks, oldest first.
    #[track_caller]
    pub fn commits(&self, repo: &str, branch: &str) -> Vec<String> {
        self.look(repo, |_, repo| {
            let git = Git::new(&repo.git_dir);
            let head = git.branch(branch).unwrap_or_else(|| broken(&format!("there is no branch {branch}")));
            let log = git.log(&format!("refs/heads/{}", repo.default_branch), &head);
            log.iter().map(|commit| commit.message.lines().next().unwrap_or_default().to_owned()).collect()
        })
    }

    /// The first lines of the messages of all of a branch's commits, oldest first.
    #[track_caller]
    pub fn history(&self, repo: &str, branch: &str) -> Vec<String> {
        self.look(repo, |_, repo| {
            let git = Git::new(&repo.git_dir);
            let head = git.branch(branch).unwrap_or_else(|| broken(&format!("there is no branch {branch}")));
            let log = git.history(&head);
            log.iter().map(|commit| commit.message.lines().next().unwrap_or_default().to_owned()).collect()
        })
    }

    /// A file's text on a branch or at a commit.
    #[track_caller]
    pub fn file(&self, repo: &str, at: &str, path: &str) -> Option<String> {
        self.look(repo, |_, repo| {
            let git = Git::new(&repo.git_dir);
            let sha = git.branch(at).or_else(|| git.resolve(at))?;
            git.file(&sha, path).map(|(_, content)| String::from_utf8_lossy(&content).into_owned())
        })
    }
}

fn pull_view(world: &World, thread: &Thread) -> Option<PullView> {
    let pull = thread.pull.as_ref()?;
    Some(PullView {
        number: thread.number,
        author: world.login(thread.author).to_owned(),
        title: thread.title.clone(),
        body: thread.body.clone().unwrap_or_default(),
        head: format!("{}:{}", world.login(Some(pull.head_owner)), pull.head_ref),
        head_sha: pull.head_sha.clone(),
        base: pull.base_ref.clone(),
        draft: pull.draft,
        open: thread.open,
        merged: pull.merged_at.is_some(),
        reviewers: pull.reviewers.iter().map(|id| world.login(Some(*id)).to_owned()).collect(),
    })
}
