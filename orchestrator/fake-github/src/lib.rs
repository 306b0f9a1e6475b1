#![doc = include_str!("../README.md")]
// The objects of GitHub are wide, and json! recurses once a member.
#![recursion_limit = "512"]

mod actions;
mod answer;
mod auth;
mod call;
mod fake;
mod faults;
mod git;
mod graphql;
mod hold;
mod journal;
mod openapi;
mod person;
mod rates;
mod render;
mod rest;
mod router;
mod seed;
mod server;
mod shared;
mod state;
mod tls;
mod transcript;
mod view;
mod webhooks;

pub use fake::{FakeGithub, StartError};
pub use faults::Fault;
pub use hold::{Held, When};
pub use journal::Request;
pub use openapi::{Missing, third_party};
pub use person::Person;
pub use seed::{AppSeed, RepoSeed};
pub use state::{MergeRules, Role};
pub use view::{CheckView, CommentView, PullView, ReviewCommentView, StatusView};
pub use webhooks::{Delivery, Fate, Target};
