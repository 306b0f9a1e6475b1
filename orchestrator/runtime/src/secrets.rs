//! What the agent needs and nobody else may read: provider keys, tokens. One document on stdin, because everything
//! else an engine offers (environment, argv, labels, files, swarm secrets) is shown by `inspect` or lies on a disk.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::RuntimeError;

/// Bytes: the largest secrets document. It is the capacity of a Linux pipe, so the write can never block on an agent
/// that does not read; higher would deadlock the local runtime, lower would refuse credential files of ordinary size.
pub const MAX_SECRETS_BYTES: usize = 64 * 1024;

/// Environment variables for the CLI, by name.
#[derive(Clone, Default)]
pub struct Secrets {
    env: BTreeMap<String, SecretString>,
}

impl Secrets {
    /// No secrets.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets one variable, replacing an earlier value.
    pub fn insert(&mut self, name: impl Into<String>, value: SecretString) {
        self.env.insert(name.into(), value);
    }

    /// True when there is nothing to hand over.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty()
    }

    /// The names, in order. Names may be shown; values never.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.env.keys().map(String::as_str)
    }

    /// The document as the agent reads it: `{"env": {"NAME": "value"}}`.
    pub(crate) fn document(&self) -> Result<SecretString, RuntimeError> {
        let env: Map<String, Value> = self
            .env
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(value.expose_secret().to_owned())))
            .collect();
        let document = Value::Object(Map::from_iter([("env".to_owned(), Value::Object(env))])).to_string();
        if document.len() > MAX_SECRETS_BYTES {
            return Err(RuntimeError::SecretsTooLarge { bytes: document.len(), limit: MAX_SECRETS_BYTES });
        }
        Ok(SecretString::from(document))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.env.keys().collect::<Vec<_>>()).finish()
    }
}

impl<N: Into<String>> FromIterator<(N, SecretString)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, SecretString)>>(pairs: I) -> Self {
        Self { env: pairs.into_iter().map(|(name, value)| (name.into(), value)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_agent_reads_and_debug_names_without_values() {
        let secrets: Secrets = [("KEY", SecretString::from("a\"b"))].into_iter().collect();
        assert_eq!(secrets.document().unwrap().expose_secret(), r#"{"env":{"KEY":"a\"b"}}"#);
        assert_eq!(format!("{secrets:?}"), r#"Secrets(["KEY"])"#);
        assert_eq!(Secrets::none().document().unwrap().expose_secret(), r#"{"env":{}}"#);
    }

    #[test]
    fn more_than_a_pipe_holds_is_refused() {
        let secrets: Secrets =
            [("KEY", SecretString::from("x".repeat(MAX_SECRETS_BYTES)))].into_iter().collect();
        assert!(matches!(secrets.document(), Err(RuntimeError::SecretsTooLarge { .. })));
    }
}
