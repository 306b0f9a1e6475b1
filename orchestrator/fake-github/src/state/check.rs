use jiff::Timestamp;
use serde_json::Value;

/// A check run; only Apps make them.
#[derive(Debug, Clone)]
pub(crate) struct CheckRun {
    pub(crate) id: u64,
    pub(crate) suite: u64,
    pub(crate) app: u64,
    pub(crate) head_sha: String,
    pub(crate) name: String,
    pub(crate) external_id: String,
    pub(crate) details_url: Option<String>,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) updates: u32,
}

/// A note on lines, as the App sent it.
#[derive(Debug, Clone)]
pub(crate) struct Annotation(pub(crate) Value);

/// The check runs of one App on one commit.
#[derive(Debug, Clone)]
pub(crate) struct CheckSuite {
    pub(crate) id: u64,
    pub(crate) app: u64,
    pub(crate) head_sha: String,
    pub(crate) head_branch: Option<String>,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A commit status, which a token without an App can set too.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) id: u64,
    pub(crate) sha: String,
    pub(crate) state: String,
    pub(crate) context: String,
    pub(crate) description: Option<String>,
    pub(crate) target_url: Option<String>,
    pub(crate) creator: u64,
    pub(crate) created_at: Timestamp,
}
