//! How the service is run: what it tells of itself, how it is copied and put back, how a service manager handles it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backup;
#[path = "../github/cast.rs"]
#[expect(dead_code, reason = "the stage is shared with the stories of GitHub")]
mod cast;
mod http;
mod logs;
mod seen;
#[path = "../github/small_disk.rs"]
#[expect(dead_code, reason = "the stage is shared with the stories of GitHub")]
mod small_disk;
#[path = "../github/stage.rs"]
#[expect(dead_code, reason = "the stage is shared with the stories of GitHub")]
mod stage;
mod systemd;
mod traces;
