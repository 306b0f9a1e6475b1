//! Every file under `examples/` is what it claims to be, and so is every sample and table of PROTOCOL.md. A file nobody
//! checks is an error here, not a gap.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking, helpers included")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{
    EventItem, EventReader, FailureKind, Finding, MAX_YAML_BYTES, Reporting, Tasking, findings, parse_event,
    parse_manifest, parse_reporting, parse_tasking, read_capped, to_yaml,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What a file's name says it is.
#[derive(Debug, PartialEq)]
enum Kind {
    Tasking,
    Reporting,
    Events,
    Manifest,
    /// Checked by whoever reads it: the orchestrator's settings, prose, the demo and its sample repository.
    Elsewhere,
    Unknown,
}

fn kind(path: &str) -> Kind {
    let matches = |prefix: &str, suffix: &str| {
        path.strip_suffix(suffix)
            .is_some_and(|stem| stem == prefix || stem.starts_with(&format!("{prefix}-")))
    };
    match path {
        _ if matches("tasking", ".yaml") => Kind::Tasking,
        _ if matches("reporting", ".yaml") => Kind::Reporting,
        _ if matches("events", ".jsonl") => Kind::Events,
        _ if matches("cli", ".yaml") => Kind::Manifest,
        "README.md" | "cloud-code.yaml" | "cloud-code.service" => Kind::Elsewhere,
        _ if path.starts_with("projects/") && path.ends_with(".yaml") => Kind::Elsewhere,
        _ if path.ends_with(".sh") || path.starts_with("demo/sample/") => Kind::Elsewhere,
        _ => Kind::Unknown,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), found)
        } else {
            found.push(entry.path())
        }
    }
}

fn text(name: &str) -> String {
    read_capped(&root().join(name), MAX_YAML_BYTES).unwrap()
}

fn tasking(name: &str) -> Tasking {
    parse_tasking(name, &text(name)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn reporting(name: &str) -> Reporting {
    parse_reporting(name, &text(name)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn events(name: &str) -> Vec<EventItem> {
    let mut reader = EventReader::new(root().join(name));
    std::iter::repeat_with(|| reader.poll()).take_while(|items| !items.is_empty()).flatten().collect()
}

fn published_schema(of: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{of}.v1.schema.json"));
    serde_json::from_str(&read_capped(&path, MAX_YAML_BYTES).unwrap()).unwrap()
}

/// Every event type the schema knows, wherever it stands in it.
fn collect_types(schema: &Value, types: &mut BTreeSet<String>) {
    if let Some(name) = schema.pointer("/properties/type/const") {
        types.insert(name.as_str().unwrap().to_owned());
    }
    match schema {
        Value::Object(keys) => keys.values().for_each(|value| collect_types(value, types)),
        Value::Array(values) => values.iter().for_each(|value| collect_types(value, types)),
        _ => {}
    }
}

fn assert_valid(schema: &Value, name: &str, value: &Value) {
    let schema = jsonschema::draft202012::new(schema).unwrap();
    let problems: Vec<_> = schema.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{name}: {problems:#?}");
}

#[test]
fn every_example_is_valid_by_the_types_and_by_the_published_schema() {
    let mut paths = Vec::new();
    files_below(&root(), &mut paths);
    let names: BTreeSet<String> =
        paths.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()).collect();
    for must in ["tasking.yaml", "reporting.yaml", "reporting-failed.yaml", "events.jsonl", "README.md"] {
        assert!(names.contains(must), "examples/{must} is missing");
    }
    for name in &names {
        let yaml = || serde_yaml::from_str::<Value>(&text(name)).unwrap();
        match kind(name) {
            Kind::Tasking => {
                let value = tasking(name);
                assert_eq!(parse_tasking(name, &to_yaml(&value).unwrap()).unwrap(), value, "{name}");
                assert_valid(&published_schema("tasking"), name, &yaml());
            }
            Kind::Reporting => {
                let value = reporting(name);
                assert_eq!(parse_reporting(name, &to_yaml(&value).unwrap()).unwrap(), value, "{name}");
                assert_valid(&published_schema("reporting"), name, &yaml());
            }
            Kind::Manifest => {
                let value = parse_manifest(name, &text(name)).unwrap_or_else(|problems| panic!("{problems}"));
                assert_eq!(parse_manifest(name, &to_yaml(&value).unwrap()).unwrap(), value, "{name}");
                assert_valid(&published_schema("cli"), name, &yaml());
            }
            Kind::Events => {
                let schema = published_schema("event");
                for line in text(name).lines() {
                    assert_valid(&schema, name, &serde_json::from_str(line).unwrap());
                }
                for item in events(name) {
                    assert!(matches!(item, EventItem::Event(_)), "{name}: {item:?}");
                }
            }
            Kind::Elsewhere => {}
            Kind::Unknown => panic!("examples/{name} is checked by nobody: name it by a known pattern"),
        }
    }
}

#[test]
fn names_are_told_apart() {
    assert_eq!(kind("tasking-cancelled.yaml"), Kind::Tasking);
    assert_eq!(kind("reporting.yaml"), Kind::Reporting);
    assert_eq!(kind("cli-aider.yaml"), Kind::Manifest);
    assert_eq!(kind("projects/shop.yaml"), Kind::Elsewhere);
    for stranger in
        ["taskings.yaml", "tasking.yml", "notes.txt", "projects/shop.json", "events.json", "sub/cli.yaml"]
    {
        assert_eq!(kind(stranger), Kind::Unknown, "{stranger}");
    }
}

#[test]
fn the_examples_fit_each_other_at_their_own_time() {
    let tasking = tasking("tasking.yaml");
    for name in ["reporting.yaml", "reporting-failed.yaml"] {
        let reporting = reporting(name);
        let now: Timestamp = reporting.heartbeat_at + SignedDuration::from_secs(1);
        assert_eq!(findings(Some(&tasking), Some(&reporting), now), Vec::<Finding>::new(), "{name}");
        for id in reporting.tasks.keys() {
            assert!(tasking.tasks.iter().any(|task| task.id == *id), "{name}: {id}");
        }
    }
}

#[test]
fn the_event_log_shows_every_type_and_names_the_tasks_of_tasking() {
    let tasking = tasking("tasking.yaml");
    let mut types = BTreeSet::new();
    for item in events("events.jsonl") {
        let EventItem::Event(event) = item else { panic!("{item:?}") };
        let value = serde_json::to_value(&event).unwrap();
        types.insert(value["type"].as_str().unwrap().to_owned());
        if let Some(id) = &event.task {
            assert!(tasking.tasks.iter().any(|task| task.id == *id), "{id}");
        }
    }
    let mut known = BTreeSet::new();
    collect_types(&published_schema("event"), &mut known);
    assert_eq!(types, known);
}

fn protocol() -> String {
    read_capped(&Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md"), MAX_YAML_BYTES).unwrap()
}

/// The text from a heading of the page to the next one.
fn section(page: &str, heading: &str) -> String {
    let from =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    from.split("\n## ").next().unwrap().to_owned()
}

/// The first fenced block of a language.
fn block(text: &str, language: &str) -> String {
    let from =
        text.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no {language} in {text}")).1;
    from.split_once("```").unwrap().0.to_owned()
}

/// The first cells of a table's rows that name a key, a kind or a type, with the cell after.
fn rows(text: &str) -> Vec<(String, String)> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(name, rest)| (name.to_owned(), rest.split('|').next().unwrap().trim().to_owned())).collect()
}

#[test]
fn the_samples_of_the_protocol_page_are_valid() {
    let page = protocol();
    parse_tasking("PROTOCOL.md", &block(&section(&page, "tasking.yaml"), "yaml")).unwrap();
    parse_reporting("PROTOCOL.md", &block(&section(&page, "reporting.yaml"), "yaml")).unwrap();
    parse_manifest("PROTOCOL.md", &block(&section(&page, "cli.yaml"), "yaml")).unwrap();
    parse_event("PROTOCOL.md", 1, block(&section(&page, "events.jsonl"), "json").trim()).unwrap();
}

#[test]
fn the_protocol_page_lists_every_failure_kind_and_event_type() {
    let page = protocol();
    let told = rows(&section(&page, "Failure kinds"));
    let retry = |kind: FailureKind| if kind.retry_can_help() { "yes" } else { "no" };
    let known: Vec<_> =
        FailureKind::ALL.iter().map(|kind| (kind.as_str().to_owned(), retry(*kind).to_owned())).collect();
    assert_eq!(told, known);

    let mut known = BTreeSet::new();
    collect_types(&published_schema("event"), &mut known);
    let told: BTreeSet<_> = rows(&section(&page, "events.jsonl")).into_iter().map(|(name, _)| name).collect();
    assert!(known.is_subset(&told), "{known:?} {told:?}");
}

#[test]
fn the_protocol_page_names_every_key_of_the_schemas() {
    let page = protocol();
    for (file, of) in [("tasking.yaml", "tasking"), ("reporting.yaml", "reporting"), ("cli.yaml", "cli")] {
        let text = section(&page, file);
        let mut keys = BTreeSet::new();
        collect_keys(&published_schema(of), &mut keys);
        assert!(keys.len() > 10, "{of}: {keys:?}");
        for key in keys {
            // Alone, below another key, or above one: `cli`, `limits.timeout`.
            let forms = [format!("`{key}`"), format!(".{key}`"), format!("`{key}.")];
            assert!(
                forms.iter().any(|form| text.contains(form)),
                "PROTOCOL.md says nothing of {key} in {file}"
            );
        }
    }
}

fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        keys.extend(properties.keys().cloned());
    }
    match schema {
        Value::Object(below) => below.values().for_each(|value| collect_keys(value, keys)),
        Value::Array(below) => below.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in [here.join("PROTOCOL.md"), root().join("README.md")] {
        let text = read_capped(&page, MAX_YAML_BYTES).unwrap();
        let links: Vec<_> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
        assert!(links.len() > 5, "{}", page.display());
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            match link.strip_prefix('#') {
                Some(anchor) => {
                    let heads = text.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor_of);
                    assert!(heads.into_iter().any(|head| head == anchor), "#{anchor}");
                }
                None => assert!(page.with_file_name("").join(link).exists(), "{}: {link}", page.display()),
            }
        }
    }
}

/// A heading's anchor, as forges make it.
fn anchor_of(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}
