//! Settings of how the service is watched.

use serde::{Deserialize, Serialize};

/// What is written to standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LogSettings {
    /// How a line looks. Default `text`. `--log-format` and `CLOUD_CODE_LOG_FORMAT` override it.
    pub format: Option<LogFormat>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Where traces of tasks go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A collector that takes OTLP over HTTP: `http://localhost:4318`. Without it, and without
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, nothing is sent. The other `OTEL_…` variables count as everywhere.
    pub otlp_endpoint: Option<String>,
}
