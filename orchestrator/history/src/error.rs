use std::io;
use std::path::{Path, PathBuf};

/// Why the history could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The system refused.
    #[error("the history cannot use {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of ours does not read. Somebody changed it, or a newer version wrote it.
    #[error("{} does not read: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why, for people.
        why: String,
    },
    /// What should be written cannot be put into words; a mistake of ours.
    #[error("{} cannot be written: {why}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Adds the place to an error of the system.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, HistoryError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, HistoryError> {
        self.map_err(|source| HistoryError::Io { path: path.to_owned(), source })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, path: &Path) -> Result<T, HistoryError> {
        self.map_err(|errno| HistoryError::Io { path: path.to_owned(), source: errno.into() })
    }
}
