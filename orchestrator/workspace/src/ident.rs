//! The id of a commit as the rest of the house knows it, so that no git2 type leaves this room.

use std::fmt;
use std::str::FromStr;

use cloud_code_task_schema::BranchName;

/// Length of a SHA-1 object id in hexadecimal digits. SHA-256 repositories are refused at inspection.
const ID_DIGITS: usize = 40;

/// A text that is not a full object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a commit id: it must be {ID_DIGITS} hexadecimal digits in lower case")]
pub struct InvalidCommitId {
    given: String,
}

/// A full commit id: 40 lower-case hexadecimal digits. Says nothing about whether such a commit exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(String);

impl CommitId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_oid(oid: git2::Oid) -> Self {
        Self(oid.to_string())
    }

    pub(crate) fn oid(&self) -> Result<git2::Oid, git2::Error> {
        git2::Oid::from_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommitId;
    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        if text.len() == ID_DIGITS && is_lower_hex(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            let given = text.chars().take(ID_DIGITS * 2).collect::<String>();
            Err(InvalidCommitId { given: given.escape_debug().to_string() })
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// True when every byte is `0-9a-f`.
pub(crate) fn is_lower_hex(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
}

/// `refs/heads/<branch>`.
pub(crate) fn head_ref(branch: &BranchName) -> String {
    format!("refs/heads/{}", branch.as_str())
}

/// `refs/remotes/origin/<branch>`.
pub(crate) fn origin_ref(branch: &BranchName) -> String {
    format!("refs/remotes/origin/{}", branch.as_str())
}
