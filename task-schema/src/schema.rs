//! The JSON Schemas of the contract's files, generated from the types, so that the two can never differ.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{CliManifest, Event, Reporting, Tasking};

/// A file of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// `tasking.yaml`
    Tasking,
    /// `reporting.yaml`
    Reporting,
    /// One line of `events.jsonl`
    Event,
    /// `cli.yaml`
    Cli,
}

impl SchemaKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tasking, Self::Reporting, Self::Event, Self::Cli];

    /// The name of the published schema.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Tasking => "tasking.v1.schema.json",
            Self::Reporting => "reporting.v1.schema.json",
            Self::Event => "event.v1.schema.json",
            Self::Cli => "cli.v1.schema.json",
        }
    }

    /// What names the schema wherever the file lies.
    const fn id(self) -> &'static str {
        match self {
            Self::Tasking => "urn:cloud-code:schema:tasking:1",
            Self::Reporting => "urn:cloud-code:schema:reporting:1",
            Self::Event => "urn:cloud-code:schema:event:1",
            Self::Cli => "urn:cloud-code:schema:cli:1",
        }
    }
}

/// The schema of a file of the contract, JSON Schema draft 2020-12.
pub fn schema(kind: SchemaKind) -> Value {
    let mut schema = match kind {
        SchemaKind::Tasking => schema_of::<Tasking>("tasking.yaml"),
        SchemaKind::Reporting => schema_of::<Reporting>("reporting.yaml"),
        SchemaKind::Event => schema_of::<Event>("a line of events.jsonl"),
        SchemaKind::Cli => schema_of::<CliManifest>("cli.yaml"),
    };
    if let Some(map) = schema.as_object_mut() {
        map.insert("$id".to_owned(), Value::String(kind.id().to_owned()));
    }
    sorted(schema)
}

/// The schema of any type that is read by [`crate::parse_strict`], with a title for editors.
pub fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), Value::String(title.to_owned()));
    sorted(schema.to_value())
}

/// The same document with its keys in order: what is printed and committed must not depend on how serde_json was built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
