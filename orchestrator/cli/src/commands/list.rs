//! `list`: issues, newest first.

use std::process::ExitCode;

use anyhow::Result;
use cloud_code_store::Store;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::json;

use crate::app::App;
use crate::args::ListArgs;
use crate::ui;

/// `cloud-code list`.
pub(crate) async fn run(app: &App, args: ListArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issues = store.issues(args.project.as_ref(), args.limit).await?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["PROJECT", "ISSUE", "STATE", "CLI", "AGE", "COST", "TITLE"]);
    let now = Timestamp::now();
    for issue in &issues {
        let tasks = store.tasks_of(&issue.project, &issue.key).await?;
        let last = tasks.last();
        if args.json {
            ui::out(json!({"issue": issue, "task": last}).to_string());
            continue;
        }
        let cost: f64 = tasks.iter().filter_map(|t| t.usage.cost_usd).map(|c| c.as_f64()).sum();
        table.add_row([
            issue.project.to_string(),
            issue.key.to_string(),
            last.map(|t| t.state.status().to_string()).unwrap_or_default(),
            last.map(|t| t.cli().to_string()).unwrap_or_default(),
            ui::clock(now.duration_since(issue.created_at).as_secs()),
            if cost > 0.0 { format!("${cost:.2}") } else { String::new() },
            ui::one_line(&issue.title),
        ]);
    }
    if !args.json {
        if issues.is_empty() {
            ui::err("no issues yet\n  hint: cloud-code run --repo . \"Fix the login check\"");
        } else {
            ui::out(table.trim_fmt());
        }
    }
    Ok(ExitCode::SUCCESS)
}
