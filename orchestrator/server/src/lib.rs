#![doc = include_str!("../README.md")]

mod access;
mod budget;
mod health;
mod intake;
mod metrics;
mod quiet;
mod serve;
mod setup;
mod webhook;

pub use health::{Keys, Loops, Part};
pub use intake::{Intake, IntakeError, IntakeWriter};
pub use metrics::{MetricsSetup, free_bytes, metrics_router};
pub use serve::{ServeError, router, serve, serve_routes};
pub use setup::{Limits, ServerSetup};
pub use webhook::WEBHOOK_PATH;
