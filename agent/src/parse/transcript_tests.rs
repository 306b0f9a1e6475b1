//! Recorded runs of the real CLIs through the parsers: what they mean, and how they end.

use std::fmt::Write as _;
use std::path::Path;

use cloud_code_task_schema::{ExitReport, Limits, Usage};
use proptest::prelude::*;

use super::*;
use crate::usage::UsageMeter;
use crate::verdict::{Evidence, MemoryKill, RunEnd, judge};

/// Exit codes of the recorded runs that did not exit as their answer suggests.
const EXITS: [(&str, i32); 3] = [("claude/x_sigint", 0), ("claude/x_sigterm", 143), ("codex/x_sigterm", 143)];

fn lines(case: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/transcripts/{case}.jsonl"));
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn format_of(case: &str) -> OutputFormat {
    if case.starts_with("claude") { OutputFormat::ClaudeStreamJson } else { OutputFormat::CodexJsonl }
}

fn shown(usage: &Usage) -> String {
    let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let cost = usage.cost_usd.map_or_else(|| "-".to_owned(), |cost| format!("{:.5}", cost.as_f64()));
    format!(
        "in {} out {} read {} write {} turns {} usd {cost}",
        number(usage.input_tokens),
        number(usage.output_tokens),
        number(usage.cache_read_tokens),
        number(usage.cache_write_tokens),
        number(usage.turns.map(u64::from))
    )
}

fn event_line(kind: &EventKind) -> String {
    let value = serde_json::to_value(kind).unwrap();
    let name = value["type"].as_str().unwrap();
    let text = ["text", "message", "summary", "output", "path"]
        .iter()
        .find_map(|key| value[*key].as_str())
        .unwrap_or("");
    let extra = ["tool", "change"].iter().find_map(|key| value[*key].as_str()).unwrap_or("");
    let error = if value["is_error"].as_bool() == Some(true) { " (error)" } else { "" };
    format!("{name} {extra}{error} {}", one_line(text)).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything a case means, as a person would read it.
fn story(case: &str) -> String {
    let (mut parser, _) = Parser::new(format_of(case));
    let mut meter = UsageMeter::new(&Usage::default());
    let mut text = String::new();
    for line in lines(case) {
        for signal in parser.read(&line) {
            let told = match signal {
                Signal::Event(kind) => event_line(&kind),
                Signal::Step(_) => continue,
                Signal::Session(session) => format!("session {session}"),
                Signal::Model(model) => format!("model {model}"),
                Signal::CliVersion(version) => format!("version {version}"),
                Signal::Usage(reading) => {
                    let is_total = matches!(reading, UsageReading::SessionTotal(_));
                    meter.read(reading);
                    if !is_total {
                        continue;
                    }
                    format!("usage {}", shown(&meter.total()))
                }
                Signal::Refused(failure) => format!("refused: {}", failure.kind),
            };
            let _ = writeln!(text, "{told}");
        }
    }
    meter.process_ended();
    let _ = writeln!(text, "= {}, settled {:?}", shown(&meter.total()), parser.settled());
    let _ = writeln!(text, "= {}", end(case, &parser));
    text
}

fn end(case: &str, parser: &Parser) -> String {
    let answer = parser.answer();
    let by_answer = i32::from(!matches!(answer, Some(Answer::Done { .. })));
    let code = EXITS.iter().find(|(name, _)| *name == case).map_or(by_answer, |(_, code)| *code);
    let trouble = parser.trouble();
    let evidence = Evidence {
        limits: &Limits::default(),
        stopped: None,
        memory: MemoryKill::None,
        exit: ExitReport { code: Some(code), signal: None },
        answer: answer.as_ref(),
        ends_with_an_answer: parser.ends_with_an_answer(),
        trouble: trouble.as_ref(),
        complaint: "",
    };
    match judge(&evidence) {
        RunEnd::Well => format!("well: {}", one_line(&parser.last_words().unwrap_or_default())),
        RunEnd::Badly(_, failure) => format!("{}: {}", failure.kind, one_line(&failure.message)),
        RunEnd::Cancelled | RunEnd::Interrupted => unreachable!(),
    }
}

fn stories(folder: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(folder);
    let mut cases: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} transcripts", cases.len());
    cases.iter().map(|case| format!("## {case}\n{}\n", story(&format!("{folder}/{case}")))).collect()
}

#[test]
fn claude_transcripts() {
    insta::assert_snapshot!(stories("claude"));
}

#[test]
fn codex_transcripts() {
    insta::assert_snapshot!(stories("codex"));
}

#[test]
fn a_result_while_a_command_runs_in_the_background_is_not_the_end() {
    let (mut parser, _) = Parser::new(OutputFormat::ClaudeStreamJson);
    let mut seen = vec![parser.settled()];
    for line in lines("claude/x_bg") {
        parser.read(&line);
        if seen.last() != Some(&parser.settled()) {
            seen.push(parser.settled());
        }
    }
    assert_eq!(seen, [Settled::No, Settled::WithBackgroundWork, Settled::Yes, Settled::No, Settled::Yes]);
}

#[test]
fn a_resumed_thread_of_codex_pays_only_its_own_share() {
    let (first, second) = ("one".parse().unwrap(), "two".parse().unwrap());
    let read = |case: &str, meter: &mut UsageMeter| {
        let (mut parser, _) = Parser::new(OutputFormat::CodexJsonl);
        for signal in lines(case).iter().flat_map(|line| parser.read(line)) {
            if let Signal::Usage(reading) = signal {
                meter.read(reading);
            }
        }
        meter.total()
    };
    let mut earlier = crate::recovery::bare_report(cloud_code_task_schema::TaskReportStatus::Completed, 1);
    earlier.session_id = Some("thread".to_owned());
    earlier.usage = read("codex/good", &mut UsageMeter::new(&Usage::default()));
    let mut meter = UsageMeter::new(&Usage::default());
    meter.resume("thread", &second, [(&first, &earlier)].into_iter());
    let usage = read("codex/resumed", &mut meter);
    assert_eq!(
        (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens),
        (Some(3200), Some(20_000), Some(170))
    );
}

fn json_like() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("system"),
        Just("assistant"),
        Just("user"),
        Just("result"),
        Just("init"),
        Just("api_retry"),
        Just("error"),
        Just("item.started"),
        Just("item.completed"),
        Just("turn.failed"),
        Just("turn.completed"),
        Just("rate_limit_event"),
        Just("text"),
        Just("tool_use"),
        Just("tool_result"),
        Just("file_change"),
        Just("command_execution"),
        Just("rejected")
    ];
    let key = prop_oneof![
        Just("type"),
        Just("subtype"),
        Just("message"),
        Just("content"),
        Just("item"),
        Just("usage"),
        Just("modelUsage"),
        Just("error"),
        Just("errors"),
        Just("tasks"),
        Just("changes"),
        Just("tool_use_result"),
        Just("rate_limit_info"),
        Just("resetsAt"),
        Just("status"),
        Just("num_turns"),
        Just("total_cost_usd"),
        Just("error_status"),
        Just("is_error"),
        Just("text"),
        Just("input"),
        Just("session_id"),
        Just("filePath"),
        Just("structuredPatch"),
        Just("id")
    ];
    let leaf = prop_oneof![
        word.prop_map(|word| format!("\"{word}\"")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e300..1e300).prop_map(|number: f64| format!("{number:e}")),
        Just("null".to_owned()),
        Just("true".to_owned()),
        "[a-zé€ ]{0,12}".prop_map(|text| format!("\"{text}\""))
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec((key.clone(), inner.clone()), 0..6).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")))
        ]
    })
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_panic(any_text in proptest::collection::vec(".{0,80}", 0..6), json in proptest::collection::vec(json_like(), 0..12)) {
        for format in [OutputFormat::ClaudeStreamJson, OutputFormat::CodexJsonl, OutputFormat::Text] {
            let (mut parser, _) = Parser::new(format);
            let mut meter = UsageMeter::new(&Usage::default());
            for line in any_text.iter().chain(&json) {
                for signal in parser.read(line) {
                    if let Signal::Usage(reading) = signal {
                        meter.read(reading);
                        meter.total();
                    }
                }
            }
            let _ = (parser.answer(), parser.trouble(), parser.last_words(), parser.settled());
        }
    }
}
