//! What a forge told us, in our words. The webhook's JSON ends here; what is found in a forge's
//! lists is made a notice by whoever lists.

use cloud_code_model::{Actor, RepositoryName, Subject};
use jiff::Timestamp;

/// One thing that happened, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The App's installation that was told; absent for a plain webhook and for what was polled.
    pub installation: Option<u64>,
    /// Where it happened; absent for what concerns no single repository.
    pub repository: Option<RepositoryRef>,
    /// Who did it. Absent for a deleted account.
    pub sender: Option<Sender>,
    /// The App through which it was done, when a person let one act for them.
    pub via_app: Option<u64>,
    /// What.
    pub happening: Happening,
}

/// A repository as an event names it. The id stays through renames and transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRef {
    /// GitHub's id.
    pub id: u64,
    /// Its name today.
    pub name: RepositoryName,
    /// Absent in the short form of `installation` events.
    pub default_branch: Option<String>,
    /// Read-only.
    pub archived: bool,
    /// Not public.
    pub private: bool,
    /// Made from another one.
    pub fork: bool,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// Its id and name.
    pub actor: Actor,
    /// What it is.
    pub kind: SenderKind,
}

/// What an account is. Anything that GitHub invents next is `Other`, and may nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SenderKind {
    /// A person, or a program with a person's account.
    User,
    /// An App.
    Bot,
    /// An organisation, a mannequin, something new.
    Other,
}

/// The head of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The branch. A stranger's text where the pull request is a stranger's.
    pub branch: String,
    /// The commit.
    pub sha: String,
    /// The repository of the branch; absent once a fork was deleted.
    pub repository: Option<u64>,
}

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub at: SaidAt,
    /// The number of the issue or pull request.
    pub number: u64,
    /// Which of the two.
    pub subject: Subject,
    /// Who wrote the text. Absent for a deleted account.
    pub author: Option<Sender>,
    /// Who opened the issue or pull request.
    pub opened_by: Option<Actor>,
    /// The text, raw.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When the listing that it was found in says it was changed. Webhooks of new texts carry the first wording.
    pub changed_at: Option<Timestamp>,
    /// The pull request's head. A comment on its conversation does not carry it.
    pub head: Option<Head>,
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaidAt {
    /// The first text of an issue or pull request.
    Opening,
    /// A comment under it.
    Comment {
        /// GitHub's id.
        id: u64,
    },
    /// The text of a review.
    Review {
        /// GitHub's id.
        id: u64,
        /// What it says of the change.
        verdict: Verdict,
    },
    /// A comment on a line.
    Line {
        /// GitHub's id.
        id: u64,
        /// The first comment of its thread; its own id if it is the first.
        thread: u64,
        /// The review it came with.
        review: Option<u64>,
        /// The file.
        path: String,
        /// The line in the new version, if it still has one.
        line: Option<u32>,
        /// The part of the diff it stands at.
        diff_hunk: String,
    },
}

/// What a review says of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is good.
    Approved,
    /// It must be changed.
    ChangesRequested,
    /// Neither, or something new.
    Commented,
}

/// An issue or pull request that something happened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thing {
    /// Its number.
    pub number: u64,
    /// Which of the two.
    pub subject: Subject,
    /// Who opened it.
    pub opened_by: Option<Actor>,
    /// When it was last touched, by this event's own account.
    pub updated_at: Timestamp,
}

/// How a check suite ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// All good.
    Success,
    /// A check failed.
    Failure,
    /// A check took too long.
    TimedOut,
    /// The run could not start: its configuration is wrong.
    StartupFailure,
    /// Neutral, skipped, cancelled, stale, waiting for a person, or something new: nothing to repair.
    Other,
}

impl Conclusion {
    /// Whether there is something to repair.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Failure | Self::TimedOut | Self::StartupFailure => true,
            Self::Success | Self::Other => false,
        }
    }
}

/// What happened to an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstallationChange {
    /// It was made.
    Created,
    /// It is gone, and its tokens with it.
    Deleted,
    /// Its tokens stopped working.
    Suspended,
    /// They work again.
    Unsuspended,
    /// An owner accepted permissions that were asked for later.
    NewPermissions,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// Something was written. The only one, with labels, assignments and checks, that may start work.
    Said(Said),
    /// A label was put on.
    Labeled {
        /// Where.
        thing: Thing,
        /// Its name.
        label: String,
    },
    /// A label was taken off.
    Unlabeled {
        /// Where.
        thing: Thing,
        /// Its name.
        label: String,
    },
    /// Somebody was made responsible.
    Assigned {
        /// Where.
        thing: Thing,
        /// Who.
        assignee: Actor,
    },
    /// Somebody no longer is.
    Unassigned {
        /// Where.
        thing: Thing,
        /// Who.
        assignee: Actor,
    },
    /// An issue was closed.
    IssueClosed(Thing),
    /// An issue was opened again.
    IssueReopened(Thing),
    /// An issue is gone.
    IssueDeleted(Thing),
    /// An issue moved to another repository and is gone here.
    IssueTransferred(Thing),
    /// The title or text of an issue was changed.
    IssueEdited(Thing),
    /// A comment was changed.
    CommentEdited {
        /// GitHub's id.
        id: u64,
        /// Where it stands.
        number: u64,
    },
    /// A comment is gone.
    CommentDeleted {
        /// GitHub's id.
        id: u64,
        /// Where it stood.
        number: u64,
    },
    /// A comment on a line was changed.
    LineEdited {
        /// GitHub's id.
        id: u64,
        /// Where it stands.
        number: u64,
    },
    /// A comment on a line is gone.
    LineDeleted {
        /// GitHub's id.
        id: u64,
        /// Where it stood.
        number: u64,
    },
    /// A review was changed.
    ReviewEdited {
        /// GitHub's id.
        id: u64,
        /// Where it stands.
        number: u64,
    },
    /// A review no longer counts.
    ReviewDismissed {
        /// GitHub's id.
        id: u64,
        /// Where it stands.
        number: u64,
    },
    /// A pull request ended.
    PullClosed {
        /// Which.
        thing: Thing,
        /// Whether its commits were taken.
        merged: bool,
        /// Its head at the end.
        head: Head,
        /// The commit that it became.
        merge_sha: Option<String>,
    },
    /// A pull request was opened again.
    PullReopened {
        /// Which.
        thing: Thing,
        /// Its head.
        head: Head,
    },
    /// A pull request has new commits.
    PullSynchronized {
        /// Which.
        thing: Thing,
        /// Its head now.
        head: Head,
    },
    /// A pull request is no draft any more.
    PullReadyForReview {
        /// Which.
        thing: Thing,
        /// Its head.
        head: Head,
    },
    /// The title, text or base of a pull request was changed.
    PullEdited(Thing),
    /// A program has checked a commit.
    ChecksCompleted {
        /// The App that did.
        app_id: u64,
        /// Its name, for people.
        app: String,
        /// The commit.
        head_sha: String,
        /// Its branch; absent for a fork.
        head_branch: Option<String>,
        /// How it went.
        conclusion: Conclusion,
        /// The pull requests with this head, by number. Empty for forks.
        pulls: Vec<u64>,
        /// When it was done.
        completed_at: Timestamp,
    },
    /// A branch moved.
    Pushed {
        /// The branch.
        branch: String,
        /// Its commit before; zeros for a new branch.
        before: String,
        /// Its commit now; zeros for a deleted branch.
        after: String,
        /// Commits were thrown away.
        forced: bool,
        /// The branch is gone.
        deleted: bool,
    },
    /// The repository has another name; the new one is in the notice.
    RepositoryRenamed,
    /// It can only be read.
    RepositoryArchived,
    /// It can be written again.
    RepositoryUnarchived,
    /// It has another owner; the new name is in the notice.
    RepositoryTransferred,
    /// It is gone.
    RepositoryDeleted,
    /// It is no longer public.
    RepositoryPrivatized,
    /// It is public now: what we write there is read by everybody.
    RepositoryPublicized,
    /// Something happened to the installation.
    Installation {
        /// What.
        change: InstallationChange,
        /// Whose account it is on.
        account: Option<Actor>,
        /// The repositories it covers, as far as the event lists them.
        repositories: Vec<RepositoryRef>,
    },
    /// The installation covers other repositories.
    InstallationRepositories {
        /// New ones.
        added: Vec<RepositoryRef>,
        /// Those it lost.
        removed: Vec<RepositoryRef>,
    },
    /// The webhook was set up.
    Ping,
    /// Nothing that we care about.
    Ignored {
        /// Why, for the log.
        why: String,
    },
}
