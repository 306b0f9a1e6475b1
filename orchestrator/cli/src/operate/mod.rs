//! How the service is seen and handled from outside: its log, its figures, its health.

pub(crate) mod copy;
pub(crate) mod logging;
pub(crate) mod metrics;
pub(crate) mod parts;
pub(crate) mod systemd;
pub(crate) mod telemetry;
