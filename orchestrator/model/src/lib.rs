#![doc = include_str!("../README.md")]

mod ids;

pub use ids::{InstanceId, InvalidName, IssueKey, ProjectName};
