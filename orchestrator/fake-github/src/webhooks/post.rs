use serde_json::Value;

/// Something that happened, before it is known who hears of it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) event: &'static str,
    pub(crate) action: Option<String>,
    pub(crate) repo: Option<u64>,
    pub(crate) only: Only,
    pub(crate) payload: Value,
}

/// Who hears of it, of those who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    Everybody,
    App(u64),
    Hook(u64),
}
