//! Why a forge did not do what it was asked, one variant per decision of the caller.

use cloud_code_model::RepositoryName;
use jiff::Timestamp;

/// Whether a request that failed may have been carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It never got there, or only read.
    None,
    /// The answer was lost. Look before asking again.
    Unknown,
}

/// Why a call failed. The texts hold no secret: what a forge says goes through the scrubber first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// The token or the App's key is wrong, expired or revoked. A person has to mend it.
    #[error("the forge refuses our credentials: {message}")]
    Auth {
        /// What the forge said.
        message: String,
    },
    /// We are known and may not. Asking again does not help; granting the permission does.
    #[error("the forge does not permit this: {message}{}", .permission.as_ref().map(|p| format!(" (it needs `{p}`)")).unwrap_or_default())]
    Forbidden {
        /// What the forge said.
        message: String,
        /// The permission it names, as `issues=write`.
        permission: Option<String>,
    },
    /// The repository as a whole is out of our reach: the App was taken away, the access withdrawn, or the name given to
    /// another repository. A person may give it back, so what was begun waits. One missing issue is
    /// [`ForgeError::NotFound`].
    #[error("we have no access to {what}")]
    NoAccess {
        /// Which repository.
        what: String,
    },
    /// It does not exist, or we may not know that it does: a forge does not tell these apart.
    #[error("{what} does not exist, or we have no access to it")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// It was there and is no more, or the feature is switched off in this repository.
    #[error("{what} is gone: {message}")]
    Gone {
        /// What was asked for.
        what: String,
        /// What the forge said.
        message: String,
    },
    /// The repository is archived: it can be read and not be changed.
    #[error("the repository is archived and cannot be changed")]
    Archived,
    /// The repository has another name now. The next call goes there.
    #[error("the repository is now called `{to}`")]
    Moved {
        /// Its name today.
        to: RepositoryName,
    },
    /// The conversation is locked for us.
    #[error("the conversation is locked")]
    Locked,
    /// A limit of the forge. Nothing was sent, or it was refused before it had an effect.
    #[error("the forge's limit is reached until {until:.0}")]
    Limited {
        /// Earliest time worth another try.
        until: Timestamp,
    },
    /// A text is longer than the forge takes, or a file is larger than we read.
    #[error("{what} is too long")]
    TooLong {
        /// Which text or file.
        what: String,
    },
    /// The forge understood the request and finds it wrong.
    #[error("the forge refuses the request: {message}")]
    Invalid {
        /// What the forge said.
        message: String,
    },
    /// The branch has nothing that its base lacks. Not a failure: there is nothing to publish.
    #[error("there are no commits between the branches")]
    NothingToMerge,
    /// No answer, or the forge's own failure (5xx).
    #[error("the forge cannot be reached: {message}")]
    Unreachable {
        /// What was seen.
        message: String,
        /// Whether it may have happened.
        effect: Effect,
    },
    /// An answer we do not understand. A defect of ours, or a forge that speaks another dialect.
    #[error("the forge answered in a way we do not understand: {message}")]
    Unexpected {
        /// What was seen.
        message: String,
    },
}

impl ForgeError {
    /// Whether the same call can succeed later without anybody doing anything.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Limited { .. } | Self::Unreachable { .. } | Self::Moved { .. })
    }

    /// Whether the same call can succeed later without the request being made anew: by itself, or because a person
    /// mended our credentials or gave the access back. What fails so is kept and tried again.
    pub const fn can_pass(&self) -> bool {
        self.is_transient() || matches!(self, Self::Auth { .. } | Self::NoAccess { .. })
    }
}
