//! What a coding CLI can do here, read from its manifest and from what its output is known to say.

use cloud_code_task_schema::{CliManifest, OutputFormat};
use serde::Serialize;

/// What a coding CLI supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Support {
    /// Whether its session goes on in a follow-up.
    pub(crate) resume: bool,
    /// How it is kept from writing when it may only read.
    pub(crate) plan: PlanSupport,
    /// Whether it names its cost.
    pub(crate) cost: bool,
    /// How money is limited.
    pub(crate) max_cost: LimitSupport,
    /// How turns are limited.
    pub(crate) max_turns: LimitSupport,
    /// Whether it counts its tokens.
    pub(crate) tokens: bool,
}

/// How a CLI is kept from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanSupport {
    /// It has a mode of its own; in Docker the mount is read only besides.
    Own,
    /// Only by the read-only mount.
    Mount,
}

/// How a limit is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitSupport {
    /// The CLI is told and ends by itself.
    Told,
    /// The agent counts what the output says.
    Counted,
    /// Not at all: the output does not say it.
    None,
}

impl Support {
    /// Of a manifest.
    pub(crate) fn of(manifest: &CliManifest) -> Self {
        let (cost, tokens, turns) = said(manifest.output);
        let limit = |arguments: &[String], counted| match (arguments.is_empty(), counted) {
            (false, _) => LimitSupport::Told,
            (true, true) => LimitSupport::Counted,
            (true, false) => LimitSupport::None,
        };
        Self {
            resume: manifest.resume.is_some(),
            plan: if manifest.plan.is_some() { PlanSupport::Own } else { PlanSupport::Mount },
            cost,
            max_cost: limit(&manifest.max_cost, cost),
            max_turns: limit(&manifest.max_turns, turns),
            tokens,
        }
    }
}

/// What an output format says: cost, tokens, turns. Recorded runs of every CLI show it (the agent's tests hold them).
const fn said(output: OutputFormat) -> (bool, bool, bool) {
    match output {
        OutputFormat::ClaudeStreamJson
        | OutputFormat::OpencodeJson
        | OutputFormat::ClineJson
        | OutputFormat::AiderText => (true, true, true),
        OutputFormat::CodexJsonl
        | OutputFormat::GeminiStreamJson
        | OutputFormat::QwenStreamJson
        | OutputFormat::GooseStreamJson => (false, true, true),
        OutputFormat::CopilotJson => (false, false, true),
        OutputFormat::Text => (false, false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_code_task_schema::parse_manifest;

    #[test]
    fn support_follows_from_the_manifest_and_the_output() {
        let of = |text: &str| Support::of(&parse_manifest("cli.yaml", text).unwrap());
        let all = "{name: a, command: [a], plan: [--plan], resume: [--resume, '{session_id}'], \
                    max_turns: ['{max_turns}'], output: claude-stream-json}";
        assert_eq!(
            of(all),
            Support {
                resume: true,
                plan: PlanSupport::Own,
                cost: true,
                max_cost: LimitSupport::Counted,
                max_turns: LimitSupport::Told,
                tokens: true,
            }
        );
        assert_eq!(
            of("{name: a, command: [a]}"),
            Support {
                resume: false,
                plan: PlanSupport::Mount,
                cost: false,
                max_cost: LimitSupport::None,
                max_turns: LimitSupport::None,
                tokens: false,
            }
        );
    }
}
