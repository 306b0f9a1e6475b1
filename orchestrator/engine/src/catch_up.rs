//! How a branch stands to its base, which moves on while an agent works.
//!
//! Before its first push a branch is put on the newer base, because nobody has seen its commits yet. After that people
//! may have built on it, so it is rewritten only where it conflicts, and then by the agent, who knows what was meant.

use cloud_code_forge::Forge;
use cloud_code_model::{Ask, Intent, Issue, Note, Place, RepositoryName, TaskRecord, Thread};
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{CommitId, RebaseError, Rebased, Source};

use crate::forges::credential;
use crate::git::{Repo, commit};
use crate::host_git::GitMirror;
use crate::words::code;
use crate::{Engine, EngineError, blocking};

/// Most conflicting files that are named. A CLI sees the rest when it begins.
const MAX_SHOWN: usize = 100;

/// How a branch stands to its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds all of the base, or the base is gone.
    Current {
        /// The base's newest commit.
        tip: Option<String>,
    },
    /// The base has more, and both go together.
    Behind,
    /// Its commits were put on the base's newest commit. The mirror's branch has moved; nothing else has.
    Rebased {
        /// The base's newest commit.
        tip: String,
        /// The branch's newest commit.
        head: String,
    },
    /// The base holds all of its changes already.
    Empty,
    /// They do not go together.
    Conflict(Conflict),
}

/// What does not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The base's newest commit.
    pub(crate) tip: String,
    /// The files.
    pub(crate) paths: Vec<String>,
}

/// Whether people can have seen the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was never pushed.
    NotYet,
    /// It was.
    Pushed,
}

impl Engine {
    /// Looks at the base as it is now, and puts a branch on it that nobody has seen.
    pub(crate) async fn catch_up(
        &self,
        forge: &dyn Forge,
        repo: &Repo,
        source: &Source,
        issue: &Issue,
        head: &str,
        seen: Seen,
    ) -> Result<Standing, EngineError> {
        let lent = credential(forge).await?;
        let (repo, source, issue, head) = (repo.clone(), source.clone(), issue.clone(), commit(head)?);
        blocking(move || {
            let mirror = repo.mirror()?;
            mirror.fetch(&source, &issue.base, Some(&lent))?;
            let Some(tip) = mirror.base(&issue.base)? else { return Ok(Standing::Current { tip: None }) };
            if !mirror.is_behind(&head, &tip)? {
                return Ok(Standing::Current { tip: Some(tip.to_string()) });
            }
            // After a kill it may have been pushed without our noting it.
            let is_unseen = seen == Seen::NotYet && mirror.base(&issue.branch)?.is_none();
            if is_unseen && let Some(standing) = put_on(mirror.as_ref(), &issue, &head, &tip)? {
                return Ok(standing);
            }
            standing(mirror.as_ref(), &head, &tip)
        })
        .await
    }

    /// How the published work of an issue conflicts with its base as it is now, if a task is to be started of it. None is
    /// when somebody else has pushed to the branch, who then has it in hand, and when it is left to a person, who is told.
    pub(crate) async fn conflict(
        &self,
        repository: &RepositoryName,
        issue: &Issue,
        head: &str,
    ) -> Result<Option<Conflict>, EngineError> {
        let forge = self.forge(repository).await?;
        let known = forge.repository().await?;
        let repo = self.repo(&issue.project, &known.clone_url)?;
        let source = Source::parse(&known.clone_url)?;
        let found = self.catch_up(forge.as_ref(), &repo, &source, issue, head, Seen::Pushed).await?;
        let branch = issue.branch.clone();
        let published = blocking(move || repo.tip(&branch)).await?;
        let conflict = match found {
            Standing::Conflict(conflict) if published.as_deref() == Some(head) => conflict,
            _ => return Ok(None),
        };
        let tasks = self.store.tasks_of(&issue.project, &issue.key).await?;
        if let Some(thread) = self.store.thread_of_issue(&issue.project, &issue.key).await?
            && let Some(last) = tasks.last()
            && self.leave_to_a_person(&thread, issue, last, head).await?
        {
            return Ok(None);
        }
        Ok(Some(conflict))
    }

    /// Hands a conflict over: to the CLI, or to a person when the CLI has tried and left it.
    pub(crate) async fn hand_over_conflict(
        &self,
        thread: &Thread,
        issue: &Issue,
        last: &TaskRecord,
        head: &str,
        conflict: &Conflict,
    ) -> Result<(), EngineError> {
        let Some(requester) = thread.facts.requester.clone() else { return Ok(()) };
        if self.leave_to_a_person(thread, issue, last, head).await? {
            return Ok(());
        }
        let intent = conflict_intent(thread, issue, requester, head, &conflict.tip, self.clock.now());
        self.store.put_intent(&thread.project, &intent, self.clock.now()).await?;
        Ok(())
    }

    /// Tells a person of a conflict that is not tried again by itself, once for each task, and says whether it is so: the
    /// CLI has left it, or it had its rounds.
    async fn leave_to_a_person(
        &self,
        thread: &Thread,
        issue: &Issue,
        last: &TaskRecord,
        head: &str,
    ) -> Result<bool, EngineError> {
        let is_left = match last.task.intent.as_deref().and_then(tried_base) {
            Some(base) => {
                let repo = self.repo(&issue.project, &last.task.plan.repo)?;
                let (head, base) = (commit(head)?, commit(base)?);
                blocking(move || Ok(repo.mirror()?.is_behind(&head, &base)?)).await?
            }
            None => false,
        };
        let tasks = self.store.tasks_of(&issue.project, &issue.key).await?;
        let (had, most) = (rounds(&tasks), last.task.plan.publish.conflict_rounds);
        let words = match is_left {
            true => left_words(last, &issue.base),
            false if had >= most as usize => spent_words(had, &issue.base),
            false => return Ok(false),
        };
        let Some(requester) = &thread.facts.requester else { return Ok(true) };
        let note = Note {
            project: thread.project.clone(),
            key: left_key(last),
            number: thread.published.pull.as_ref().map_or(thread.number, |pull| pull.number),
            place: Place::Issue,
            body: format!("@{} {words}", requester.login),
            created_at: self.clock.now(),
        };
        self.store.put_note(&note).await?;
        Ok(true)
    }
}

/// How many tasks conflicts started since a person asked for something.
fn rounds(tasks: &[TaskRecord]) -> usize {
    let by_itself = |task: &&TaskRecord| {
        let key = task.task.intent.as_deref().unwrap_or_default();
        key.starts_with(CONFLICT) || key.starts_with(CHECKS)
    };
    let is_of_conflict =
        |task: &&TaskRecord| task.task.intent.as_deref().is_some_and(|key| key.starts_with(CONFLICT));
    tasks.iter().rev().take_while(by_itself).filter(is_of_conflict).count()
}

/// The request that nobody made: to bring the work and its base together.
pub(crate) fn conflict_intent(
    thread: &Thread,
    issue: &Issue,
    requester: cloud_code_model::Actor,
    head: &str,
    tip: &str,
    at: jiff::Timestamp,
) -> Intent {
    Intent {
        key: format!("{CONFLICT}{}-{tip}", thread.number),
        number: thread.number,
        subject: thread.facts.subject,
        actor: requester,
        at,
        // A place that takes no reaction: nobody spoke.
        place: Place::Check { head_sha: head.to_owned() },
        ask: Ask::BaseConflict { base: issue.base.clone(), base_sha: tip.to_owned() },
        head_sha: None,
    }
}

/// What the key of such a request begins with.
const CONFLICT: &str = "conflict-";
/// The same of the other requests that nobody makes.
const CHECKS: &str = "checks-";

/// The commit that a task was to bring its work together with, by the key of its request.
fn tried_base(key: &str) -> Option<&str> {
    Some(key.strip_prefix(CONFLICT)?.rsplit_once('-')?.1)
}

/// What the CLI is told.
pub(crate) fn conflict_words(base: &BranchName, conflict: &Conflict) -> String {
    let files: Vec<String> =
        conflict.paths.iter().take(MAX_SHOWN).map(|path| format!("- {}", code(path, 300))).collect();
    format!(
        "Resolve the conflicts with {base}\n\nThe base branch `{base}` has moved on, and this work conflicts with it in:\n\n{}\n\n\
         Bring the two together: either put the work on top of the base (`git rebase {tip}`) or merge the base \
         (`git merge {tip}`). The commit {tip} is the newest one of `{base}` and is in this repository; nothing needs to \
         be fetched, and nothing is to be pushed. Resolve every conflict so that what the base changed and what this \
         work changed both hold, and commit the result.",
        files.join("\n"),
        tip = conflict.tip
    )
}

/// What a person is told once after a task that left its conflict.
pub(crate) fn left_words(task: &TaskRecord, base: &BranchName) -> String {
    format!(
        "this pull request conflicts with `{base}` still, after **{}** was told to bring the two together. It is not \
         tried again by itself: somebody should resolve it, or say how.",
        task.cli()
    )
}

/// What a person is told once when conflicts had their rounds.
fn spent_words(rounds: usize, base: &BranchName) -> String {
    let after = match rounds {
        0 => String::new(),
        1 => " again, after 1 round by itself".to_owned(),
        more => format!(" again, after {more} rounds by itself"),
    };
    format!(
        "this pull request conflicts with `{base}`{after}. It is not tried by itself any more: somebody should resolve it, or \
         say how."
    )
}

/// The key of that note.
pub(crate) fn left_key(task: &TaskRecord) -> String {
    format!("conflict-left-{}", task.task.id)
}

/// Puts a branch that nobody has seen on its base's newest commit; `None` if that takes an agent, or is not worth it.
fn put_on(
    mirror: &dyn GitMirror,
    issue: &Issue,
    head: &CommitId,
    tip: &CommitId,
) -> Result<Option<Standing>, EngineError> {
    let new = match mirror.rebase(&commit(&issue.base_sha)?, head, tip) {
        Ok(Rebased::Clean { head }) => head,
        Ok(Rebased::UpToDate | Rebased::Conflict { .. }) => return Ok(None),
        Err(
            RebaseError::HoldsMerge { .. }
            | RebaseError::TooManyCommits { .. }
            | RebaseError::TooLarge { .. }
            | RebaseError::NotDescended { .. },
        ) => return Ok(None),
        Err(error @ (RebaseError::Objects { .. } | RebaseError::Store { .. } | RebaseError::Mirror(_))) => {
            return Err(error.into());
        }
    };
    if new == *tip {
        return Ok(Some(Standing::Empty));
    }
    // Where an earlier try left it. Only this task's driver moves it.
    let found = mirror.branch(&issue.branch)?;
    mirror.move_branch(&issue.branch, &new, found.as_ref())?;
    Ok(Some(Standing::Rebased { tip: tip.to_string(), head: new.to_string() }))
}

fn standing(mirror: &dyn GitMirror, head: &CommitId, tip: &CommitId) -> Result<Standing, EngineError> {
    let paths = match mirror.conflicts_with(head, tip) {
        Ok(paths) => paths,
        // Too large to compare: the forge will say what it thinks of it.
        Err(RebaseError::TooLarge { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    Ok(match paths.is_empty() {
        true => Standing::Behind,
        false => Standing::Conflict(Conflict { tip: tip.to_string(), paths }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_conflict_names_its_base() {
        assert_eq!(tried_base("conflict-42-4e18bcb7"), Some("4e18bcb7"));
        assert_eq!(tried_base("comment-42"), None);
        assert_eq!(tried_base("conflict-"), None);
    }

    #[test]
    fn rounds_are_counted_since_a_person_asked() {
        let tasks = |keys: &[Option<&str>]| -> Vec<TaskRecord> {
            let of = |(index, key): (usize, &Option<&str>)| {
                let mut task = crate::words::tests::record(&format!("T{index}"), "codex");
                task.task.intent = key.map(str::to_owned);
                task
            };
            keys.iter().enumerate().map(of).collect()
        };
        let count = |keys: &[Option<&str>]| rounds(&tasks(keys));
        assert_eq!(count(&[Some("comment-1")]), 0);
        assert_eq!(
            count(&[Some("comment-1"), Some("conflict-4-a"), Some("checks-b"), Some("conflict-4-c")]),
            2
        );
        assert_eq!(count(&[Some("conflict-4-a"), Some("comment-2"), Some("conflict-4-c")]), 1);
        assert_eq!(count(&[Some("conflict-4-a"), None]), 0);
    }
}
