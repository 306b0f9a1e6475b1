//! The committed schemas are the generated ones, and they judge as the parsers do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use cloud_code_task_schema::{SchemaKind, schema};
use serde_json::{Value, json};

fn path(kind: SchemaKind) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas").join(kind.file_name())
}

#[test]
fn the_committed_schemas_are_the_generated_ones() {
    for kind in SchemaKind::ALL {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema(kind)).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::create_dir_all(path(kind).parent().unwrap()).unwrap();
            fs::write(path(kind), &text).unwrap();
        }
        let committed = fs::read_to_string(path(kind)).unwrap_or_default();
        assert_eq!(committed, text, "{kind:?} is old: UPDATE_SCHEMAS=1 cargo test -p cloud-code-task-schema");
    }
}

fn accepts(kind: SchemaKind, document: &Value) -> bool {
    let schema = schema(kind);
    jsonschema::validator_for(&schema).unwrap().is_valid(document)
}

fn task() -> Value {
    json!({"id": "T1", "status": "assigned", "title": "t", "description": "d", "branch": "cloud-code/x", "base": "main"})
}

fn tasking(task: &Value) -> Value {
    json!({"version": 1, "generation": 1, "updated_at": "2026-11-20T10:00:00Z", "workspace": "w", "cli": "codex",
           "tasks": [task]})
}

#[test]
fn what_the_contract_refuses_the_schema_refuses() {
    assert!(accepts(SchemaKind::Tasking, &tasking(&task())));
    for (key, value) in [
        ("id", json!("../x")),
        ("branch", json!("-x")),
        ("status", json!("done")),
        ("verify_rounds", json!(11)),
        ("limits", json!({"timeout": "soon"})),
        ("limits", json!({"timout": "1h"})),
        ("titel", json!("t")),
    ] {
        let mut bad = task();
        bad[key] = value;
        assert!(!accepts(SchemaKind::Tasking, &tasking(&bad)), "{bad:#}");
    }
    let mut other = tasking(&task());
    other["version"] = json!(2);
    assert!(!accepts(SchemaKind::Tasking, &other));
}

#[test]
fn reports_may_hold_keys_of_newer_agents_and_events_only_known_types() {
    let agent =
        json!({"version": "1", "instance": "i", "cli": "codex", "started_at": "2026-11-20T10:00:00Z"});
    let report = json!({"version": 1, "observed_generation": 0, "updated_at": "2026-11-20T10:00:00Z",
        "heartbeat_at": "2026-11-20T10:00:00Z", "agent": agent, "status": "idle", "from_the_future": true});
    assert!(accepts(SchemaKind::Reporting, &report));
    let event = |kind: &str| json!({"seq": 1, "at": "2026-11-20T10:00:00Z", "type": kind, "text": "x"});
    assert!(accepts(SchemaKind::Event, &event("message")));
    assert!(!accepts(SchemaKind::Event, &event("made_up")));
}
