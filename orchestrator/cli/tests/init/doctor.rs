//! The GitHub part of `doctor`.
