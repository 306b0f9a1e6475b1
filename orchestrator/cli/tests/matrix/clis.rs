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
    /// Situation, how what was seen begins, and the words of docs/CLIS.md for it.
    pub(crate) lacks: &'static [(&'static str, &'static str, &'static str)],
}

const fn cli(name: &'static str, key: &'static str) -> Cli {
    Cli { name, key, model: None, runs_commands: true, lacks: &[] }
}

const NO_WAIT: &str =
    "the failure is `rate_limited`, but the CLI does not tell how long the provider said to wait";
const NO_MONEY: &str = "names no money; tokens, turns, model and session are there";
const NO_MONEY_NO_MODEL: &str = "names no money and no model; tokens, turns and session are there";
const A_KEY: &str =
    "was tried with a key, of which the provider says no more than that it is refused: `auth`";
const ASKS_ON: &str = "asks again and again and tells nothing; the task's own clock ends it";
const ASKS_A_WHILE: &str = "asks for about a minute, then ends as `rate_limited`";
const NO_ZONE: &str = "asks for about a minute, then ends as `usage_limit`; the reset it shows has no time zone and is left out";
const KEEPS_QUIET: &str = "says nothing of it and exits well; the task ends as `no_changes`";

/// Every CLI with an image.
pub(crate) const CLIS: [Cli; 9] = [
    Cli {
        lacks: &[
            (
                "usage-limit",
                "it is told as `rate_limited`",
                "was tried with a key, of which it shows a plain `rate_limited`; with a login it tells the reset",
            ),
            ("login-expired", "it is told as `auth`", A_KEY),
        ],
        ..cli("claude-code", "ANTHROPIC_API_KEY")
    },
    Cli {
        lacks: &[
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("refused", "it is told as `no_changes`", KEEPS_QUIET),
            ("budget", "no cost, no model", NO_MONEY_NO_MODEL),
        ],
        ..cli("codex", "CODEX_API_KEY")
    },
    Cli {
        lacks: &[
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("login-expired", "it is told as `auth`", A_KEY),
            ("budget", "no cost", NO_MONEY),
        ],
        ..cli("gemini", "GEMINI_API_KEY")
    },
    Cli {
        lacks: &[
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("usage-limit", "it does not tell when the window resets", NO_ZONE),
            (
                "refused",
                "it is told as `crashed`",
                "asks five times, then ends as `crashed`: its words are those of an empty answer",
            ),
            ("budget", "no cost", NO_MONEY),
        ],
        ..cli("qwen-code", "OPENAI_API_KEY")
    },
    Cli {
        lacks: &[
            ("usage-limit", "it tries again until the task's clock ends it", ASKS_ON),
            (
                "too-long",
                "it is told as `crashed`",
                "shortens the conversation by itself and goes on; where that does not help it ends as `crashed`",
            ),
            ("budget", "no model", "names no model; tokens, turns, money and session are there"),
        ],
        ..cli("opencode", "ANTHROPIC_API_KEY")
    },
    Cli {
        runs_commands: false,
        lacks: &[
            (
                "commit",
                "the CLI ran no command",
                "offers the model no commands, and its own commits are switched off; the agent commits",
            ),
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("usage-limit", "it is told as `rate_limited`", ASKS_A_WHILE),
            ("refused", "it is told as `no_changes`", KEEPS_QUIET),
            (
                "hang",
                "nothing had been written yet",
                "ends as `idle`; it writes its files at the end of a run, so there is nothing to keep before",
            ),
            ("oom", "it runs no commands", "runs no commands that could take memory"),
        ],
        ..cli("aider", "ANTHROPIC_API_KEY")
    },
    Cli {
        lacks: &[
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("usage-limit", "it tries again until the task's clock ends it", ASKS_ON),
            (
                "too-long",
                "it is told as `no_changes`",
                "shortens the conversation by itself and goes on; the task ends as `no_changes` where nothing came of it",
            ),
            ("refused", "it is told as `no_changes`", KEEPS_QUIET),
            ("budget", "no cost, no model", NO_MONEY_NO_MODEL),
        ],
        ..cli("goose", "ANTHROPIC_API_KEY")
    },
    Cli {
        model: Some("gpt-5"),
        lacks: &[
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("usage-limit", "it is told as `rate_limited`", ASKS_A_WHILE),
            ("login-expired", "it is told as `auth`", A_KEY),
            ("refused", "it is told as `no_changes`", KEEPS_QUIET),
            (
                "budget",
                "no tokens, no cost",
                "names no tokens and no money; turns, model and session are there",
            ),
        ],
        ..cli("copilot", "COPILOT_PROVIDER_API_KEY")
    },
    Cli {
        lacks: &[
            (
                "resume",
                "a packet stands in",
                "cannot take up a session without a person; a packet of what was said and done stands in",
            ),
            ("429", "it does not tell how long to wait", NO_WAIT),
            ("usage-limit", "it does not tell when the window resets", NO_ZONE),
            (
                "refused",
                "it is told as `crashed`",
                "ends as `crashed`: its words are those of an empty answer",
            ),
            (
                "budget",
                "no cost, no session",
                "names no money and no session; tokens, turns and model are there",
            ),
        ],
        ..cli("cline", "OPENAI_API_KEY")
    },
];
