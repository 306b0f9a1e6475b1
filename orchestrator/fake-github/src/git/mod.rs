//! Real git: bare repositories, smart HTTP by `git http-backend`, and what a server refuses.

pub(crate) mod http;
mod refuse;
mod report;
mod repository;

pub(crate) use repository::{Change, Commit, FileChange, Git, Joined};
