//! The CLIs and what each of them lacks. A lack stands here with the words of docs/CLIS.md.

/// One CLI and how it is reached.
#[derive(Debug)]
pub(crate) struct Cli {
    pub(crate) name: &'static str,
    /// The variable of its key.
    pub(crate) key: &'static str,
    /// The model to ask for, where its default is of another provider.
    pub(crate) model: Option<&'static str>,
    /// Whether it offers the model a shell.
    pub(crate) runs_commands: bool,
    /// Situation and what it does not do there.
    pub(crate) lacks: &'static [(&'static str, &'static str)],
}

const fn cli(name: &'static str, key: &'static str) -> Cli {
    Cli { name, key, model: None, runs_commands: true, lacks: &[] }
}

const NO_WAIT: &str =
    "the failure is `rate_limited`, but the CLI does not tell how long the provider said to wait";
const NO_MONEY: &str = "names no money; tokens, turns, model and session are there";
const NO_MONEY_NO_MODEL: &str = "names no money and no model; tokens, turns and session are there";

/// Every CLI with an image.
pub(crate) const CLIS: [Cli; 9] = [
    cli("claude-code", "ANTHROPIC_API_KEY"),
    Cli { lacks: &[("429", NO_WAIT), ("budget", NO_MONEY_NO_MODEL)], ..cli("codex", "CODEX_API_KEY") },
    Cli { lacks: &[("429", NO_WAIT), ("budget", NO_MONEY)], ..cli("gemini", "GEMINI_API_KEY") },
    Cli {
        lacks: &[
            ("429", NO_WAIT),
            (
                "cut",
                "takes the half answer for a whole one and says it is done; the task ends as `no_changes`",
            ),
            ("budget", NO_MONEY),
        ],
        ..cli("qwen-code", "OPENAI_API_KEY")
    },
    Cli {
        lacks: &[("budget", "names no model; tokens, turns, money and session are there")],
        ..cli("opencode", "ANTHROPIC_API_KEY")
    },
    Cli {
        runs_commands: false,
        lacks: &[
            (
                "commit",
                "offers the model no commands, and its own commits are switched off; the agent commits",
            ),
            ("429", NO_WAIT),
            (
                "hang",
                "ends as `idle`; it writes its files at the end of a run, so there is nothing to keep before",
            ),
            ("oom", "runs no commands that could take memory"),
        ],
        ..cli("aider", "ANTHROPIC_API_KEY")
    },
    Cli { lacks: &[("429", NO_WAIT), ("budget", NO_MONEY_NO_MODEL)], ..cli("goose", "ANTHROPIC_API_KEY") },
    Cli {
        model: Some("gpt-5"),
        lacks: &[
            ("429", NO_WAIT),
            ("budget", "names no tokens and no money; turns, model and session are there"),
        ],
        ..cli("copilot", "COPILOT_PROVIDER_API_KEY")
    },
    Cli {
        lacks: &[
            (
                "resume",
                "cannot take up a session without a person; a packet of what was said and done stands in",
            ),
            ("429", NO_WAIT),
        ],
        ..cli("cline", "OPENAI_API_KEY")
    },
];
