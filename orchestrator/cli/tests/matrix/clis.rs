//! The CLIs and what each of them lacks. A lack stands here with the words of docs/CLIS.md.

/// One CLI and how it is reached.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) name: &'static str,
    /// The variable of its key.
    pub(crate) key: &'static str,
    /// The model to ask for, where its default is of another provider.
    pub(crate) model: Option<&'static str>,
    /// Situation and what it does not do there.
    pub(crate) lacks: &'static [(&'static str, &'static str)],
}

const fn cli(name: &'static str, key: &'static str) -> Cli {
    Cli { name, key, model: None, lacks: &[] }
}

const NO_WAIT: &str =
    "the failure is `rate_limited`, but the CLI does not tell how long the provider said to wait";

/// Every CLI with an image.
pub(crate) const CLIS: [Cli; 9] = [
    cli("claude-code", "ANTHROPIC_API_KEY"),
    Cli {
        lacks: &[
            ("429", NO_WAIT),
            ("budget", "names no money and no model; tokens, turns and session are there"),
        ],
        ..cli("codex", "CODEX_API_KEY")
    },
    cli("gemini", "GEMINI_API_KEY"),
    cli("qwen-code", "OPENAI_API_KEY"),
    cli("opencode", "ANTHROPIC_API_KEY"),
    cli("aider", "ANTHROPIC_API_KEY"),
    cli("goose", "ANTHROPIC_API_KEY"),
    Cli { model: Some("gpt-5"), ..cli("copilot", "COPILOT_PROVIDER_API_KEY") },
    cli("cline", "OPENAI_API_KEY"),
];
