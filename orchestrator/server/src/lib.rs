#![doc = include_str!("../README.md")]

mod access;
mod budget;
mod health;
mod intake;
mod quiet;
mod serve;
mod setup;
mod webhook;

pub use intake::{Intake, IntakeError, IntakeWriter};
pub use serve::{ServeError, router, serve};
pub use setup::{Limits, ServerSetup};
pub use webhook::WEBHOOK_PATH;
