//! The forges of this installation. The engine asks for one by the repository's name; who made it, and with which
//! credentials, is the caller's.

use std::sync::Arc;

use async_trait::async_trait;
use cloud_code_forge::{Forge, ForgeError, Marker};
use cloud_code_model::{RepositoryName, fnv1a};
use cloud_code_workspace::Credential;

use crate::{Engine, EngineError};

/// Gives the forge of a repository.
#[async_trait]
pub trait Forges: Send + Sync {
    /// The forge, ready to be asked. Fails as the forge does: without access there is [`ForgeError::NoAccess`].
    async fn of(&self, repository: &RepositoryName) -> Result<Arc<dyn Forge>, ForgeError>;
}

/// An installation that has no credentials for any forge.
#[derive(Debug)]
pub struct NoForges;

#[async_trait]
impl Forges for NoForges {
    async fn of(&self, repository: &RepositoryName) -> Result<Arc<dyn Forge>, ForgeError> {
        Err(ForgeError::Auth {
            message: format!(
                "nothing is set up for {repository}\n  hint: `cloud-code init` makes a GitHub App or takes a token"
            ),
        })
    }
}

impl Engine {
    /// The forge of a repository.
    pub(crate) async fn forge(&self, repository: &RepositoryName) -> Result<Arc<dyn Forge>, EngineError> {
        Ok(self.settings.forges.of(repository).await?)
    }
}

/// What git needs, made now. Kept no longer than one git command.
pub(crate) async fn credential(forge: &dyn Forge) -> Result<Credential, ForgeError> {
    let minted = forge.git_credential().await?;
    Ok(Credential { username: minted.username, secret: minted.secret })
}

/// The marker of one text of ours: what it is, whose, and which. Keys hold what people named (labels), so what a marker
/// cannot hold is written as its code.
pub(crate) fn marker(kind: &str, instance: &str, key: &str) -> Result<Marker, ForgeError> {
    let mut safe = String::with_capacity(key.len());
    for c in key.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => safe.push(c),
            '-' if !safe.ends_with('-') => safe.push(c),
            other => safe.push_str(&format!("_{:x}_", u32::from(other))),
        }
    }
    let name = format!("{kind}:{instance}:{}", safe.trim_end_matches('-'));
    let name = match name.len() > MAX_MARKER {
        true => format!("{kind}:{instance}:{:016x}", fnv1a(key.as_bytes())),
        false => name,
    };
    Marker::new(name).map_err(|error| ForgeError::Unexpected { message: error.to_string() })
}

/// Longest name of a marker, as the forge's room takes it.
const MAX_MARKER: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_marker_of_its_own() {
        let name = |key: &str| marker("note", "abc", key).unwrap().name().to_owned();
        assert_eq!(name("comment-123"), "note:abc:comment-123");
        let keys = ["a--b", "a-b", "a b", "a_b", "a-", "a", "label-42-good first issue", &"x".repeat(300)];
        let names: std::collections::BTreeSet<String> = keys.iter().map(|key| name(key)).collect();
        assert!(names.len() >= keys.len() - 1, "{names:?}");
    }
}
