//! What is served is what the table says, and the table is what people read.

use std::collections::BTreeMap;
use std::time::Duration;

use cloud_code_metrics::{
    Accounts, Credentials, Ended, Instruments, Kind, MAX_MODELS, Pulses, Quota, Received, Scrape, Spent,
    TABLE, Tokens, markdown,
};

fn everything() -> String {
    let counted = Instruments::new();
    counted.received(Received::Stored);
    counted.task_ended(Ended { project: "shop", status: "done", took: Duration::from_secs(90) });
    counted.left("running", Duration::from_secs(60));
    counted.attempt_ended("codex", "rate_limited");
    let tokens = Tokens { input: 10, output: 3, cache_read: 2, cache_write: 1 };
    counted.spent(Spent { cli: "codex", model: None, cost_source: "reported", usd: 0.25, tokens });
    counted.merge("shop", true);
    counted.container_start("docker", Duration::from_millis(300), true);
    let (accounts, pulses) = (Accounts::default(), Pulses::default());
    accounts.quota("token", "core", Quota { limit: 5_000, remaining: 4_321, reset_at: 1_760_000_000 });
    accounts.credentials("token", Credentials::Taken);
    let _talk = pulses.begin("talk", Duration::from_secs(60));
    let mut scrape = Scrape::new();
    scrape.tasks("shop", "running", 2);
    scrape.backs_off("shop", "rate_limited");
    scrape.queue(1, Duration::from_secs(7));
    scrape.deliveries(0, Duration::ZERO);
    scrape.outbox(3, 4);
    scrape.store(true);
    scrape.disk(1 << 30);
    scrape.build("1.2.3");
    scrape.loops(&pulses);
    scrape.forge(&accounts);
    scrape.text(&counted)
}

#[test]
fn every_instrument_of_the_table_is_served_with_its_labels_and_nothing_else_is() {
    let text = everything();
    let mut served: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let inside = rest.split_once('}').map_or("", |(inside, _)| inside);
        let labels = inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0));
        let labels = labels.filter(|label| *label != "le").collect();
        let parts = ["_bucket", "_sum", "_count"];
        served.insert(parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name), labels);
    }
    let table: BTreeMap<&str, Vec<&str>> =
        TABLE.iter().map(|spec| (spec.name, spec.labels.to_vec())).collect();
    assert_eq!(served, table);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_keep_the_conventions_of_prometheus() {
    for spec in TABLE {
        let name = spec.name;
        assert!(name.starts_with("cloud_code_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), spec.kind == Kind::Counter, "{name}");
        if spec.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}");
        }
        assert!(!spec.help.ends_with('.'), "{name}: the library puts the full stop");
    }
}

#[test]
fn what_was_counted_stands_in_the_text() {
    let text = everything();
    for line in [
        r#"cloud_code_tasks{project="shop",status="running"} 2.0"#,
        r#"cloud_code_deliveries_total{outcome="stored"} 1"#,
        r#"cloud_code_deliveries_total{outcome="refused_signature"} 0"#,
        r#"cloud_code_cost_usd_total{cli="codex",model="default",cost_source="reported"} 0.25"#,
        r#"cloud_code_tokens_total{cli="codex",model="default",cost_source="reported",kind="input"} 10"#,
        r#"cloud_code_task_duration_seconds_bucket{le="300.0",status="done"} 1"#,
        r#"cloud_code_forge_quota_remaining{account="token",resource="core"} 4321.0"#,
        r#"cloud_code_build_info{version="1.2.3"} 1.0"#,
        "cloud_code_queue_oldest_age_seconds 7.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
}

#[test]
fn models_that_people_make_up_do_not_fill_the_memory() {
    let counted = Instruments::new();
    for number in 0..MAX_MODELS * 3 {
        let model = format!("model-{number}");
        let tokens = Tokens { input: 1, ..Tokens::default() };
        counted.spent(Spent {
            cli: "codex",
            model: Some(&model),
            cost_source: "unknown",
            usd: f64::NAN,
            tokens,
        });
    }
    let text = Scrape::new().text(&counted);
    let series = text.lines().filter(|line| line.starts_with("cloud_code_tokens_total{")).count();
    assert_eq!(series, MAX_MODELS + 1);
    assert!(text.contains(r#"model="other",cost_source="unknown",kind="input"} 200"#), "{text}");
    assert!(!text.contains("cloud_code_cost_usd_total{"), "a cost that is no number is not counted");
}

/// docs/OPERATIONS.md, between its two marks. `UPDATE_METRICS=1` rewrites it.
#[test]
fn operations_md_lists_every_instrument() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- metrics -->\n", "<!-- /metrics -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (found, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(path, format!("{before}{begin}{}{end}{after}", markdown())).unwrap();
        return;
    }
    assert_eq!(found, markdown(), "run UPDATE_METRICS=1 cargo test -p cloud-code-metrics --test table");
}
