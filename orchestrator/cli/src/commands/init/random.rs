//! Secrets of our own making.

use anyhow::{Context as _, Result};

/// Bytes of randomness: what HMAC-SHA256 can use.
const BYTES: usize = 32;

/// A text that nobody guesses, in hex.
pub(crate) fn token() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).context("this machine gives no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
