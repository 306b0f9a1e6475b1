//! `cli.yaml`: how one coding CLI is called. A new CLI is one folder with a Dockerfile and this file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::CliName;

/// The manifest of a coding CLI. Argument lists are appended to `command` in the order of the fields below;
/// `{model}`, `{session_id}`, `{max_turns}`, `{max_cost_usd}` and `{base_url}` are replaced inside an argument, which is
/// never split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CliManifest {
    /// The folder's name.
    pub name: CliName,
    /// The program and its fixed arguments.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub command: Vec<String>,
    /// How the prompt reaches it. Default `stdin`.
    #[serde(default)]
    pub prompt: PromptChannel,
    /// Added when the task may edit.
    #[serde(default)]
    pub edit: Vec<String>,
    /// Added when the task may only read. Absent: the CLI has no read-only mode of its own; such a task runs with `edit`
    /// where the worktree is mounted read only, and is refused elsewhere.
    #[serde(default)]
    pub plan: Option<Vec<String>>,
    /// Added when a model is named.
    #[serde(default)]
    pub model: Vec<String>,
    /// Used when the task names no model, for CLIs that have no default of their own.
    #[serde(default)]
    pub default_model: Option<String>,
    /// Added when a session goes on. Absent: the CLI cannot resume.
    #[serde(default)]
    pub resume: Option<Vec<String>>,
    /// Added when a session begins, with an id that the agent makes: for CLIs that name theirs late or never.
    #[serde(default)]
    pub session: Vec<String>,
    /// Added when turns are limited.
    #[serde(default)]
    pub max_turns: Vec<String>,
    /// Added when money is limited.
    #[serde(default)]
    pub max_cost: Vec<String>,
    /// Added when the provider's address is set.
    #[serde(default)]
    pub base_url: Vec<String>,
    /// Added last, after everything above (codex: `-` for "the prompt is on stdin").
    #[serde(default)]
    pub tail: Vec<String>,
    /// The format of its output. Default `text`.
    #[serde(default)]
    pub output: OutputFormat,
    /// Prints its version.
    #[serde(default)]
    pub version: Vec<String>,
    /// Set in its environment. A value with `{base_url}` or `{model}` in it is set only when there is one.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Names of environment variables that hold credentials; any one of them is enough.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// Credential files below HOME that do as well.
    #[serde(default)]
    pub home_files: Vec<String>,
    /// Files written below HOME, with this content, when they are not there.
    #[serde(default)]
    pub home_defaults: BTreeMap<String, String>,
    /// Patterns, as in `.gitignore`, of what the CLI drops into the worktree; never committed.
    #[serde(default)]
    pub never_commit: Vec<String>,
    /// The variable that names the provider's address.
    #[serde(default)]
    pub base_url_env: Option<String>,
}

/// How the prompt reaches a CLI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PromptChannel {
    /// Written to its standard input, which is then closed.
    #[default]
    Stdin,
    /// The last argument. Linux caps one argument at 128 KiB.
    Argument,
    /// The last argument is the path of a file that holds it.
    File,
}

/// The format of a CLI's standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OutputFormat {
    /// Claude Code's stream-json.
    ClaudeStreamJson,
    /// Codex's --json.
    CodexJsonl,
    /// Gemini's stream-json.
    GeminiStreamJson,
    /// opencode's --format json.
    OpencodeJson,
    /// Qwen Code's stream-json: like Claude's, with other totals and other ends.
    QwenStreamJson,
    /// GitHub Copilot's --output-format json.
    CopilotJson,
    /// Cline's --json.
    ClineJson,
    /// goose's stream-json.
    GooseStreamJson,
    /// aider's text: tokens, cost, edits and errors stand in known lines.
    AiderText,
    /// Anything: only the exit code and the diff say how it went.
    #[default]
    Text,
}
