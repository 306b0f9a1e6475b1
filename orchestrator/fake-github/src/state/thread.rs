use jiff::Timestamp;

/// An issue or a pull request: GitHub gives both one row of numbers, and a pull request is an issue too.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    /// `None` when the account is gone.
    pub(crate) author: Option<u64>,
    pub(crate) app: Option<u64>,
    pub(crate) open: bool,
    pub(crate) state_reason: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) assignees: Vec<u64>,
    pub(crate) locked: bool,
    pub(crate) edits: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) closed_by: Option<u64>,
    /// The last change of the text, and who made it.
    pub(crate) edited: Option<(Timestamp, u64)>,
    /// The last change of the title, and who made it.
    pub(crate) renamed: Option<(Timestamp, u64)>,
    pub(crate) pull: Option<Pull>,
}

/// What a pull request has beyond an issue.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) id: u64,
    /// `None` when the fork is gone.
    pub(crate) head_repo: Option<u64>,
    /// Whose branch, kept when the fork is gone.
    pub(crate) head_owner: u64,
    pub(crate) head_ref: String,
    pub(crate) head_sha: String,
    pub(crate) base_ref: String,
    pub(crate) base_sha: String,
    pub(crate) draft: bool,
    pub(crate) maintainer_can_modify: bool,
    pub(crate) merged_at: Option<Timestamp>,
    pub(crate) merged_by: Option<u64>,
    pub(crate) merge_commit_sha: Option<String>,
    pub(crate) reviewers: Vec<u64>,
    /// What a test says of it; without it git decides.
    pub(crate) mergeable: Option<bool>,
}

/// A comment in the conversation of an issue or pull request.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) author: Option<u64>,
    pub(crate) app: Option<u64>,
    pub(crate) body: String,
    pub(crate) edits: u32,
    pub(crate) edited: Option<(Timestamp, u64)>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A submitted review.
#[derive(Debug, Clone)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) author: Option<u64>,
    pub(crate) body: Option<String>,
    /// Upper case in REST, lower case in webhooks.
    pub(crate) state: String,
    pub(crate) commit_id: String,
    pub(crate) submitted_at: Timestamp,
    pub(crate) edited: Option<(Timestamp, u64)>,
}

/// A comment on a line.
#[derive(Debug, Clone)]
pub(crate) struct ReviewComment {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) review: u64,
    pub(crate) author: Option<u64>,
    pub(crate) body: String,
    pub(crate) path: String,
    pub(crate) line: u64,
    pub(crate) diff_hunk: String,
    pub(crate) commit_id: String,
    pub(crate) in_reply_to: Option<u64>,
    pub(crate) edits: u32,
    pub(crate) edited: Option<(Timestamp, u64)>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What a reaction is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Thread(u64),
    Comment(u64),
    ReviewComment(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) id: u64,
    pub(crate) subject: Subject,
    pub(crate) user: u64,
    pub(crate) content: String,
    pub(crate) created_at: Timestamp,
}
