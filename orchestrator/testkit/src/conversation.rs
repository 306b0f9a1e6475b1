//! One request of a CLI in words that all APIs share. The wire modules make it; nothing else reads request JSON.

use serde::Serialize;
use serde_json::Value;

/// Which API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    OpenaiResponses,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// Gemini's `generateContent`.
    Gemini,
}

/// A request for an answer of the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelRequest {
    pub(crate) api: Api,
    pub(crate) model: String,
    /// Server-sent events, or one JSON body.
    pub(crate) stream: bool,
    /// Whether a stream counts its tokens: Chat Completions does when it is asked to, the others always.
    pub(crate) stream_usage: bool,
    /// The cap on the answer. 1 is a probe of the account, not a question.
    pub(crate) max_tokens: Option<u64>,
    /// The JSON schema that the answer is to fit, where the request demands one.
    pub(crate) schema: Option<Value>,
    pub(crate) tools: Vec<OfferedTool>,
    pub(crate) history: Vec<Entry>,
    /// The CLI's working directory, where the request says it: file tools want absolute paths.
    pub(crate) working_directory: Option<String>,
    /// The system prompt, and what the CLI says in the user's role.
    pub(crate) surroundings: Vec<String>,
}

/// A tool that the request offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedTool {
    pub(crate) name: String,
    /// Responses only: the group the tool stands in, to be repeated in the call.
    pub(crate) namespace: Option<String>,
    pub(crate) input: ToolInput,
    /// The keys of its input; none where the request does not say them.
    pub(crate) keys: Vec<String>,
    /// Those of them that a call must have.
    pub(crate) required: Vec<String>,
    /// Those of them that take a list.
    pub(crate) lists: Vec<String>,
}

impl OfferedTool {
    /// A tool that takes a JSON object, as its schema says.
    pub(crate) fn json(name: &str, schema: &Value) -> Self {
        let keys = || schema["properties"].as_object().into_iter().flatten();
        let required = array(&schema["required"]).iter().filter_map(Value::as_str).map(str::to_owned);
        let lists = keys().filter(|(_, value)| value["type"] == "array");
        Self {
            name: name.to_owned(),
            namespace: None,
            input: ToolInput::Json,
            keys: keys().map(|(key, _)| key.clone()).collect(),
            required: required.collect(),
            lists: lists.map(|(key, _)| key.clone()).collect(),
        }
    }
}

/// What a tool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToolInput {
    /// A JSON object.
    Json,
    /// Text in a grammar of the tool's own.
    Text,
}

/// One entry of the conversation so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// What a person (or the agent for them) wrote. Texts that the CLI itself adds are left out.
    User { text: String },
    /// One answer of the model, with the ids of the tool calls in it.
    Assistant { text: String, call_ids: Vec<String> },
    /// A tool's result. Its text is left out: a marker in a file's content must not choose a scenario.
    ToolResult,
}

impl ModelRequest {
    /// The newest text of a person, for the journal.
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.history.iter().rev().find_map(|entry| match entry {
            Entry::User { text } => Some(text.as_str()),
            Entry::Assistant { .. } | Entry::ToolResult => None,
        })
    }
}

/// Texts in the user's role that were written by the CLI: its surroundings, not its task. They may quote commits
/// and files, so a marker in them means nothing.
const ADDED_BY_THE_CLI: &[&str] = &[
    "<system-reminder>",
    "<environment_context>",
    "<user_instructions>",
    "<turn_aborted>",
    "<session_context>",
    "<info-msg>",
];

/// Whether a text in the user's role was written by the CLI itself.
pub(crate) fn is_added_by_the_cli(text: &str) -> bool {
    ADDED_BY_THE_CLI.iter().any(|start| text.trim_start().starts_with(start))
}

/// What a CLI puts before a prompt, in the same text.
const BEFORE_A_PROMPT: &[(&str, &str)] = &[("<current_datetime>", "</current_datetime>")];

/// A prompt without what the CLI puts before it.
pub(crate) fn prompt_alone(text: &str) -> &str {
    let after = BEFORE_A_PROMPT.iter().find_map(|(start, end)| {
        Some(text.trim_start().strip_prefix(start)?.split_once(end)?.1.trim_start())
    });
    after.unwrap_or(text)
}

/// How the CLIs say where they work: what stands before the path, and what after it.
const WORKING_DIRECTORY: &[(&str, &str)] = &[
    ("orking directory: ", "\n"),
    ("orking in the directory: ", "\n"),
    ("<cwd>", "</cwd>"),
    ("**Workspace Directories:**\n  - ", "\n"),
];

/// The working directory in the words each CLI uses for it.
pub(crate) fn working_directory(text: &str) -> Option<String> {
    WORKING_DIRECTORY.iter().find_map(|(start, end)| {
        let rest = text.split_once(start)?.1;
        let found = rest.split(end).next()?.trim();
        found.starts_with('/').then(|| found.to_owned())
    })
}

/// A list, or nothing where there is none.
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
