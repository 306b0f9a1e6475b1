//! Asks the CLI for its version, some time after work has begun: a node launcher takes up to two seconds for it.

use std::rc::Rc;
use std::time::Duration;

use cloud_code_task_schema::CommitSettings;

use crate::capture::{Keep, capture};
use crate::parse::one_line;
use crate::process::{Input, Launch};
use crate::shared::Shared;

/// How long after the start or the last end of a task the question is asked.
pub(crate) const PROBE_DELAY: Duration = Duration::from_secs(1);
/// How often it is asked when no answer comes; a sweep at a task's end may have taken it along.
pub(crate) const MAX_PROBES: u32 = 3;
/// Longest wait for an answer.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Cap of what is read.
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

/// The version, as a number if the answer holds one.
pub(crate) async fn ask(shared: Rc<Shared>) -> Option<String> {
    tokio::time::sleep(PROBE_DELAY).await;
    let env = shared.plain_env(&CommitSettings::default());
    let launch = Launch {
        argv: &shared.manifest.version,
        env: &env,
        directory: &shared.options.home,
        user: shared.user.switch_to,
        input: Input::Nothing,
    };
    let keep = Keep::Stdout(MAX_OUTPUT_BYTES);
    let captured = capture(&launch, b"", keep, TIME_LIMIT, &shared.reaper, &shared.masker).await.ok()?;
    captured.succeeded().then(|| version_in(&captured.output)).flatten()
}

/// `2.1.329 (Claude Code)` and `codex-cli 0.169.0` hold a word that begins with a digit and has a dot.
fn version_in(text: &str) -> Option<String> {
    let line = one_line(text);
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    // Copilot's ends a sentence.
    let bare = |word: &'_ str| word.trim_start_matches('v').trim_end_matches(['.', ',']).to_owned();
    let word = line.split_whitespace().map(bare).find(|word| number(&word.as_str()));
    word.or(Some(line)).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_clis_print() {
        assert_eq!(version_in("2.1.329 (Claude Code)\n").as_deref(), Some("2.1.329"));
        assert_eq!(version_in("codex-cli 0.169.0\n").as_deref(), Some("0.169.0"));
        assert_eq!(version_in("GitHub Copilot CLI 1.0.102.\n").as_deref(), Some("1.0.102"));
        assert_eq!(version_in("tool v1.2\n").as_deref(), Some("1.2"));
        assert_eq!(version_in("unreleased\n").as_deref(), Some("unreleased"));
        assert_eq!(version_in(""), None);
    }
}
