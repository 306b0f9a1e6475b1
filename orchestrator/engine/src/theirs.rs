//! What others pushed to a branch of ours: a reviewer's own commit, the forge's "Update branch", a program that formats.
//!
//! Their commits stay. Work begins on top of them, and what was done meanwhile is put on top of them. A branch whose
//! history was rewritten is left to people: which of the two histories counts is not ours to say.

use cloud_code_model::{Issue, ProjectPlan, reads_only};
use cloud_code_task_schema::{BranchName, Mode};
use cloud_code_workspace::{CommitId, RebaseError, Rebased, Source};

use crate::forges::credential;
use crate::git::commit;
use crate::host_git::GitMirror;
use crate::{Engine, EngineError, blocking};

/// How a remark begins that names somebody else's commit.
pub(crate) const THEIRS: &str = "Somebody else pushed";

/// What the branch at the source means for work that is about to begin.
#[derive(Debug, PartialEq, Eq)]
enum Before {
    /// It holds nothing that ours lacks.
    Nothing,
    /// Work begins at `start`, which holds `tip`.
    OnTop { tip: CommitId, start: CommitId },
    /// Work of ours that was never pushed does not go together with `tip`.
    Apart { tip: CommitId },
    /// Somebody rewrote its history.
    Rewritten { tip: CommitId, pushed: CommitId },
}

/// What the branch at the source means for work that is about to be pushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The work is there already.
    There,
    /// It may be pushed if the branch stands here still; none if it does not exist. Anything else is refused.
    Expected {
        /// Where the branch must stand.
        old: Option<CommitId>,
        /// Somebody else's newest commit that the work holds.
        theirs: Option<CommitId>,
    },
    /// The work was put on top of somebody else's commits. The mirror's branch has moved; nothing else has.
    PutOn {
        /// Their newest commit.
        tip: CommitId,
        /// The work's newest commit.
        head: CommitId,
    },
}

impl Engine {
    /// Lets the next task begin on top of what others pushed to the issue's branch. Returns what the task is told of it.
    pub(crate) async fn take_in(
        &self,
        issue: &mut Issue,
        plan: &ProjectPlan,
        mode: Mode,
    ) -> Result<Option<String>, EngineError> {
        let Some(repository) = plan.publish.github.as_ref().filter(|_| !reads_only(mode)) else {
            return Ok(None);
        };
        let repo = self.repo(&issue.project, &plan.repo)?;
        let (here, branch) = (repo.clone(), issue.branch.clone());
        if blocking(move || Ok(here.mirror()?.pushed(&branch)?)).await?.is_none() {
            return Ok(None);
        }
        let forge = self.forge(repository).await?;
        let source = Source::parse(&forge.repository().await?.clone_url)?;
        let lent = credential(forge.as_ref()).await?;
        let (branch, base) = (issue.branch.clone(), issue.base.clone());
        let found = blocking(move || {
            let mirror = repo.mirror()?;
            mirror.fetch(&source, &base, Some(&lent))?;
            before(mirror.as_ref(), &branch)
        })
        .await?;
        let (tip, start) = match found {
            Before::Nothing => return Ok(None),
            Before::Rewritten { tip, pushed } => {
                return Err(EngineError::BranchRewritten {
                    branch: issue.branch.clone(),
                    found: tip.to_string(),
                    pushed: pushed.to_string(),
                });
            }
            Before::Apart { tip } => return Ok(Some(apart_words(&issue.branch, &tip))),
            Before::OnTop { tip, start } => (tip, start),
        };
        // The worktree is made anew there, and what was not taken of it would be lost.
        if self.unimported(issue).await?.is_some() {
            return Ok(Some(apart_words(&issue.branch, &tip)));
        }
        self.store.move_base(&issue.project, &issue.key, &issue.base_sha, Some(start.as_str())).await?;
        issue.start_sha = Some(start.to_string());
        Ok(Some(format!(
            "Since your last work somebody else pushed to the branch `{}`, which stands on {tip} now. Their commits are part \
             of this worktree: look at them (`git log`), build on them, and do not undo them unless you are told to.",
            issue.branch
        )))
    }
}

fn apart_words(branch: &BranchName, tip: &CommitId) -> String {
    format!(
        "Since your last work somebody else pushed to the branch `{branch}`, which stands on {tip} now. Their commits are not \
         part of this worktree. Bring them in before anything else: `git merge {tip}`. The commit is in this repository; \
         nothing needs to be fetched, and nothing is to be pushed. Resolve every conflict so that what they changed and \
         what this work changed both hold, and commit the result."
    )
}

fn before(mirror: &dyn GitMirror, branch: &BranchName) -> Result<Before, EngineError> {
    let (Some(pushed), Some(tip)) = (mirror.pushed(branch)?, mirror.base(branch)?) else {
        return Ok(Before::Nothing);
    };
    // Also one that was put back to an earlier commit of ours: what was taken away is not to come again.
    if !holds(mirror, &tip, &pushed)? {
        return Ok(Before::Rewritten { tip, pushed });
    }
    let ours = mirror.branch(branch)?.unwrap_or_else(|| pushed.clone());
    if tip == pushed || holds(mirror, &ours, &tip)? {
        return Ok(Before::Nothing);
    }
    if holds(mirror, &tip, &ours)? {
        return Ok(Before::OnTop { start: tip.clone(), tip });
    }
    Ok(match on_top(mirror, &pushed, &ours, &tip)? {
        Some(start) => Before::OnTop { tip, start },
        None => Before::Apart { tip },
    })
}

/// Where a push of `head` may go, by the branch as it stood at the last fetch. Puts the work on top of somebody else's
/// commits if that goes by itself.
pub(crate) fn target(mirror: &dyn GitMirror, branch: &BranchName, head: &str) -> Result<Target, EngineError> {
    let head = commit(head)?;
    let pushed = mirror.pushed(branch)?;
    let expected = |old, theirs| Ok(Target::Expected { old, theirs });
    // A branch that somebody deleted holds nothing that could be lost.
    let Some(tip) = mirror.base(branch)? else { return expected(None, None) };
    if tip == head {
        return Ok(Target::There);
    }
    let Some(pushed) = pushed else { return expected(None, None) };
    if tip == pushed {
        return expected(Some(pushed), None);
    }
    if !holds(mirror, &tip, &pushed)? {
        return expected(Some(pushed), None);
    }
    if holds(mirror, &head, &tip)? {
        return expected(Some(tip.clone()), Some(tip));
    }
    if let Some(new) = on_top(mirror, &pushed, &head, &tip)? {
        let found = mirror.branch(branch)?;
        mirror.move_branch(branch, &new, found.as_ref())?;
        return Ok(Target::PutOn { tip, head: new });
    }
    expected(Some(pushed), None)
}

/// The commits of `pushed..ours` on top of `tip`; `None` if that takes a hand.
fn on_top(
    mirror: &dyn GitMirror,
    pushed: &CommitId,
    ours: &CommitId,
    tip: &CommitId,
) -> Result<Option<CommitId>, EngineError> {
    match mirror.rebase(pushed, ours, tip) {
        Ok(Rebased::Clean { head }) => Ok(Some(head)),
        Ok(Rebased::UpToDate) => Ok(Some(ours.clone())),
        Ok(Rebased::Conflict { .. })
        | Err(
            RebaseError::HoldsMerge { .. }
            | RebaseError::TooManyCommits { .. }
            | RebaseError::TooLarge { .. }
            | RebaseError::NotDescended { .. },
        ) => Ok(None),
        Err(error @ (RebaseError::Objects { .. } | RebaseError::Store { .. } | RebaseError::Mirror(_))) => {
            Err(error.into())
        }
    }
}

fn holds(mirror: &dyn GitMirror, head: &CommitId, ancestor: &CommitId) -> Result<bool, EngineError> {
    Ok(!mirror.is_behind(head, ancestor)?)
}
