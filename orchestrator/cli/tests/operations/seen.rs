//! What a whole run leaves to see: figures, and parts that are ready or not.

use cloud_code_store::Store as _;
use serde_json::Value;

use crate::cast;
use crate::http::get;
use crate::stage::{Setup, Stage};

fn figures(stage: &Stage) -> String {
    let answer = get(&stage.addresses().1, "/metrics", "*/*");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    answer.body
}

/// The value of a series, by the beginning of its line.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("{series} is missing in:\n{text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn a_run_leaves_its_figures_and_nothing_that_names_it() {
    let stage = cast::stage_with(Setup {
        project: "retries: {attempts: 3, first_wait: 1s, longest_wait: 2s}",
        ..Setup::default()
    });
    let issue = stage.is_asked("Counting is broken. BUSY-ONCE");
    stage.becomes(issue, "in-review");
    // The row is moved a moment before the figure is.
    let ended = r#"cloud_code_tasks_ended_total{project="shop",status="done"}"#;
    let text = stage.wait_for("the end to be counted", || {
        let text = figures(&stage);
        text.contains(ended).then_some(text)
    });
    // The figure says of the attempt what its row says.
    let task = stage.tasks().remove(0).task.id;
    let attempts = stage.stored(|store| async move { store.attempts(&task).await.unwrap() });
    let result = attempts[0].result.as_deref().unwrap();
    let failed = format!(r#"cloud_code_attempts_total{{cli="scribe",result="{result}"}}"#);
    for (series, expected) in [
        (ended, 1.0),
        (r#"cloud_code_task_duration_seconds_count{status="done"}"#, 1.0),
        (r#"cloud_code_task_phase_duration_seconds_count{phase="running"}"#, 2.0),
        (r#"cloud_code_task_phase_duration_seconds_count{phase="backing_off"}"#, 1.0),
        (failed.as_str(), 1.0),
        (r#"cloud_code_attempts_total{cli="scribe",result="completed"}"#, 1.0),
        (r#"cloud_code_container_starts_total{runtime="local",result="ok"}"#, 2.0),
        (r#"cloud_code_deliveries_total{outcome="refused_signature"}"#, 0.0),
        ("cloud_code_queue_depth", 0.0),
        ("cloud_code_store_up", 1.0),
        (r#"cloud_code_forge_credentials_ok{account="installation-"#, 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series} in:\n{text}");
    }
    assert!(value(&text, r#"cloud_code_deliveries_total{outcome="stored"}"#) >= 2.0);
    assert!(value(&text, r#"cloud_code_forge_quota_remaining{account="installation-"#) > 0.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(value(&text, "process_open_fds") > 3.0);
    for name in ["receive", "requests", "drivers", "talk", "react", "bases", "sweep"] {
        assert!(value(&text, &format!("cloud_code_loop_age_seconds{{loop=\"{name}\"}}")) < 60.0);
    }
    // What was used is what the row says, however often it was told.
    let row = stage.tasks().remove(0).usage;
    let sum = |name: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    let cost = row.cost_usd.unwrap().as_f64();
    assert!((sum("cloud_code_cost_usd_total{") - cost).abs() < 1e-9, "{cost} in:\n{text}");
    let tokens: f64 = text
        .lines()
        .filter(|line| line.starts_with("cloud_code_tokens_total{") && line.contains(r#"kind="output""#))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(tokens, row.output_tokens.unwrap() as f64);
    for secret in ["Count once more", stage.tasks()[0].task.id.as_str(), "issue-"] {
        assert!(!text.contains(secret), "{secret:?} stands in:\n{text}");
    }
    stage.holds();
}

#[test]
fn figures_stand_on_a_door_of_their_own() {
    let stage = Stage::new();
    let (door, metrics) = stage.addresses();
    assert_eq!(get(&door, "/metrics", "*/*").status, 404);
    assert_eq!(get(&metrics, "/webhooks/github", "*/*").status, 404);
    assert_eq!(get(&metrics, "/metrics", "*/*").status, 200);
}

#[test]
fn a_full_disk_is_named_by_readyz_and_healthz_stays() {
    let mut stage = Stage::new();
    let ready = |stage: &Stage| get(&stage.addresses().0, "/readyz", "application/json");
    let answer = ready(&stage);
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &said["ready"]), (200, &Value::Bool(true)), "{said}");
    let names: Vec<&str> =
        said["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["intake", "store", "disk", "forge", "loops"]);
    stage.stops();
    stage.rewrite("cloud-code.yaml", |text| format!("queue: {{min_free_disk: 900000TiB}}\n{text}"));
    stage.serves();
    let answer = ready(&stage);
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.status, 503, "{said}");
    let why = said["parts"][2]["why"].as_str().unwrap();
    assert!(why.contains("MiB are free, and") && !why.contains('/'), "{why}");
    assert_eq!(get(&stage.addresses().0, "/healthz", "*/*").status, 200);
}
