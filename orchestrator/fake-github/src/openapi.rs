//! GitHub's own description of its API, so that the fake cannot agree with our mistakes: every request is checked
//! against it, and in the fake's own tests every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fs, io};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::router::routes;

const FILE: &str = "openapi-23.0.2.json";

/// Statuses that any call can get, whether its description says so or not.
const EVERYWHERE: [u16; 8] = [301, 304, 401, 403, 404, 409, 422, 429];

/// The third-party files are not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} is not in target/third-party: run orchestrator/fake-github/fetch.sh, or set CLOUD_CODE_THIRD_PARTY to the folder that has it"
)]
pub struct Missing {
    /// The file.
    name: String,
}

/// The path of a third-party file: in the folder that `CLOUD_CODE_THIRD_PARTY` names, or in the `target/third-party`
/// of this folder or one above it.
pub fn third_party(name: &str) -> Result<PathBuf, Missing> {
    let named = std::env::var_os("CLOUD_CODE_THIRD_PARTY").map(PathBuf::from);
    let above =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("target/third-party"));
    named
        .into_iter()
        .chain(above)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing { name: name.to_owned() })
}

/// The part of the description that the fake plays.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    document: Arc<Value>,
    validators: Arc<Mutex<BTreeMap<String, Arc<Validator>>>>,
}

impl Description {
    /// Loads the description, once a process.
    pub(crate) fn load() -> Result<Self, Missing> {
        static LOADED: OnceLock<Description> = OnceLock::new();
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded.clone());
        }
        let path = third_party(FILE)?;
        let missing = |_: io::Error| Missing { name: FILE.to_owned() };
        let wanted: BTreeSet<String> =
            routes().map(|route| format!("{} {}", route.method, route.template)).collect();
        let document = match read_cut(&path, &wanted) {
            Some(document) => document,
            None => {
                let text = fs::read(&path).map_err(missing)?;
                let whole = serde_json::from_slice(&text).unwrap_or_default();
                let document = cut(&whole, &wanted);
                keep_cut(&path, &wanted, &document);
                document
            }
        };
        let loaded = Self { document: Arc::new(document), validators: Arc::default() };
        Ok(LOADED.get_or_init(|| loaded).clone())
    }

    /// Whether GitHub has an operation, played or not.
    pub(crate) fn knows(&self, method: &str, path: &str) -> bool {
        self.document["known"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|known| {
            known.split_once(' ').is_some_and(|(verb, template)| {
                verb == method && crate::router::fit(template, path).is_some()
            })
        })
    }

    /// What is wrong with a request.
    pub(crate) fn check_request(
        &self,
        operation: &str,
        query: &[(String, String)],
        body: &Value,
    ) -> Vec<String> {
        let described = &self.document["operations"][operation];
        if described.is_null() {
            return vec![format!("{operation}: not an operation of GitHub's")];
        }
        let mut wrong = self.check_query(operation, &described["query"], query);
        let schema = &described["body"];
        if body.is_null() {
            if described["body_required"] == json!(true) {
                wrong.push(format!("{operation}: the body is missing"));
            }
        } else if schema.is_null() {
            // A few clients send `{}` where nothing is asked for, which GitHub ignores.
            if *body != json!({}) {
                wrong.push(format!("{operation}: takes no body"));
            }
        } else {
            let names = self.properties(schema);
            if let (Value::Object(body), false) = (body, names.is_empty()) {
                for name in body.keys().filter(|name| !names.contains(*name)) {
                    wrong.push(format!("{operation}: the body has no property `{name}`"));
                }
            }
            wrong.extend(self.validate(&format!("{operation} body"), schema, body));
        }
        wrong
    }

    fn check_query(&self, operation: &str, known: &Value, query: &[(String, String)]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, text) in query {
            let Some(schema) = known.get(name) else {
                wrong.push(format!("{operation}: no query parameter `{name}`"));
                continue;
            };
            let value = match schema["type"].as_str() {
                Some("integer") => text.parse::<i64>().map_or(json!(text), |number| json!(number)),
                Some("boolean") => text.parse::<bool>().map_or(json!(text), |flag| json!(flag)),
                _ => json!(text),
            };
            wrong.extend(self.validate(&format!("{operation} query {name}"), schema, &value));
        }
        wrong
    }

    /// What is wrong with an answer.
    pub(crate) fn check_answer(&self, operation: &str, status: u16, body: Option<&Value>) -> Vec<String> {
        let answers = &self.document["operations"][operation]["answers"];
        let code = status.to_string();
        match (answers.get(&code), body) {
            (None, _) if EVERYWHERE.contains(&status) || status >= 500 => Vec::new(),
            (None, _) => vec![format!("{operation}: never answers {status}")],
            (Some(Value::Null), _) | (Some(_), None) => Vec::new(),
            (Some(schema), Some(body)) => self.validate(&format!("{operation} {status}"), schema, body),
        }
    }

    fn validate(&self, what: &str, schema: &Value, value: &Value) -> Vec<String> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = match validators.get(what) {
            Some(known) => Arc::clone(known),
            None => {
                let root = json!({"allOf": [schema], "components": {"schemas": self.document["schemas"]}});
                match jsonschema::draft202012::new(&root) {
                    Ok(built) => {
                        let built = Arc::new(built);
                        validators.insert(what.to_owned(), Arc::clone(&built));
                        built
                    }
                    Err(error) => return vec![format!("{what}: the schema is not usable: {error}")],
                }
            }
        };
        drop(validators);
        validator
            .iter_errors(value)
            .map(|error| {
                let said = error.to_string();
                let short: String = said.chars().take(300).collect();
                format!("{what}: at `{}`: {short}", error.instance_path())
            })
            .collect()
    }

    /// The names that a body may have, empty when the description lists none.
    fn properties(&self, schema: &Value) -> BTreeSet<String> {
        let schema = match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            Some(name) => &self.document["schemas"][name],
            None => schema,
        };
        let own = schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned();
        let others = ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|key| schema[key].as_array()).flatten();
        own.chain(others.flat_map(|other| self.properties(other))).collect()
    }
}

/// The cut is kept beside the whole, under a name that tells what it was cut to.
fn cut_path(whole: &Path, wanted: &BTreeSet<String>) -> PathBuf {
    let all = wanted.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("3\n{all}").as_bytes());
    let name: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    whole.with_file_name(format!("openapi-23.0.2.cut-{name}.json"))
}

fn read_cut(whole: &Path, wanted: &BTreeSet<String>) -> Option<Value> {
    serde_json::from_slice(&fs::read(cut_path(whole, wanted)).ok()?).ok()
}

/// Best effort: without the cut the next process only loads longer.
fn keep_cut(whole: &Path, wanted: &BTreeSet<String>, document: &Value) {
    let path = cut_path(whole, wanted);
    let Some(folder) = path.parent() else { return };
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|file| {
        fs::write(file.path(), document.to_string())?;
        Ok(file)
    });
    if let Ok(file) = written {
        drop(file.persist(path));
    }
}

fn cut(whole: &Value, wanted: &BTreeSet<String>) -> Value {
    let mut known = Vec::new();
    let mut operations = Map::new();
    for (template, item) in whole["paths"].as_object().into_iter().flatten() {
        for (verb, described) in item.as_object().into_iter().flatten() {
            let name = format!("{} {template}", verb.to_uppercase());
            if wanted.contains(&name) {
                operations.insert(name.clone(), operation(whole, item, described));
            }
            known.push(name);
        }
    }
    let mut schemas = Map::new();
    let mut open = references(&Value::Object(operations.clone()));
    while let Some(name) = open.pop_first() {
        if !schemas.contains_key(&name) {
            let schema = plain(&whole["components"]["schemas"][&name]);
            open.extend(references(&schema));
            schemas.insert(name, schema);
        }
    }
    json!({"known": known, "operations": operations, "schemas": schemas})
}

fn operation(whole: &Value, item: &Value, described: &Value) -> Value {
    let follow = |value: &Value| -> Value {
        let pointer = value["$ref"].as_str().map(|name| name.trim_start_matches('#').to_owned());
        pointer.and_then(|pointer| whole.pointer(&pointer)).unwrap_or(value).clone()
    };
    let json_schema = |content: &Value| -> Value {
        let content = content.as_object();
        let media = content.and_then(|content| {
            content
                .get("application/json")
                .or_else(|| content.iter().find(|(kind, _)| kind.contains("json")).map(|(_, media)| media))
        });
        media.map(|media| plain(&media["schema"])).unwrap_or_default()
    };
    let mut query = Map::new();
    for list in [&item["parameters"], &described["parameters"]] {
        for parameter in list.as_array().into_iter().flatten().map(follow) {
            if parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                query.insert(name, plain(&parameter["schema"]));
            }
        }
    }
    let mut answers = Map::new();
    for (status, answer) in described["responses"].as_object().into_iter().flatten() {
        answers.insert(status.clone(), json_schema(&follow(answer)["content"]));
    }
    let body = follow(&described["requestBody"]);
    json!({
        "query": query,
        "body": json_schema(&body["content"]),
        "body_required": body["required"],
        "answers": answers,
    })
}

/// An OpenAPI 3.0 schema as JSON Schema: `nullable` becomes a type, and prose goes.
fn plain(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => {
            let is_schema = !members.contains_key("nullable") || members["nullable"].is_boolean();
            let mut out: Map<String, Value> = members
                .iter()
                .filter(|(name, value)| {
                    let prose = matches!(name.as_str(), "description" | "example" | "title" | "summary");
                    !(is_schema
                        && ((prose && value.is_string()) || matches!(name.as_str(), "examples" | "x-github")))
                })
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect();
            // An example of any type may stand beside a type; a property named so is a schema, an object with a type.
            if out
                .get("example")
                .is_some_and(|example| example.get("type").is_none() && example.get("$ref").is_none())
            {
                out.remove("example");
            }
            if out.get("nullable") == Some(&json!(true)) {
                out.remove("nullable");
                return json!({"anyOf": [{"type": "null"}, out]});
            }
            out.remove_entry("nullable")
                .filter(|(_, value)| !value.is_boolean())
                .map(|(name, value)| out.insert(name, value));
            Value::Object(out)
        }
        other => other.clone(),
    }
}

fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|name| name.strip_prefix("#/components/schemas/")).map(str::to_owned);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        _ => BTreeSet::new(),
    }
}
