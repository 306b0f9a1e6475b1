//! Recorded runs of the real CLIs through the parsers: what they mean, and how they end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{ExitReport, Limits, Usage};

use super::*;
use crate::usage::UsageMeter;
use crate::verdict::{Disk, Evidence, MemoryKill, RunEnd, judge};

/// A format, and the folder of its recorded runs.
const FORMATS: [(OutputFormat, &str); 9] = [
    (OutputFormat::ClaudeStreamJson, "claude"),
    (OutputFormat::CodexJsonl, "codex"),
    (OutputFormat::GeminiStreamJson, "gemini"),
    (OutputFormat::OpencodeJson, "opencode"),
    (OutputFormat::QwenStreamJson, "qwen"),
    (OutputFormat::CopilotJson, "copilot"),
    (OutputFormat::ClineJson, "cline"),
    (OutputFormat::GooseStreamJson, "goose"),
    (OutputFormat::AiderText, "aider"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// One recorded run.
struct Run {
    format: OutputFormat,
    case: String,
    out: Vec<String>,
    err: Vec<String>,
    /// Its exit code, or minus the signal that ended it.
    exit: i32,
}

fn run(cli: &str, case: &str) -> Run {
    let (format, _) = FORMATS.into_iter().find(|(_, folder)| *folder == cli).unwrap();
    let ending = if format == OutputFormat::AiderText { "txt" } else { "jsonl" };
    let lines = |ending: &str| {
        let text = std::fs::read_to_string(folder().join(format!("{cli}/{case}.{ending}")));
        text.map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let exits = std::fs::read_to_string(folder().join("exits.tsv")).unwrap();
    let row = exits.lines().find_map(|line| line.strip_prefix(&format!("{cli}\t{case}\t")));
    let exit = row.unwrap_or_else(|| panic!("exits.tsv has no {cli}/{case}")).parse().unwrap();
    // A run that wrote nothing to standard error has no such file.
    let err = lines("stderr.txt").unwrap_or_default();
    Run { format, case: case.to_owned(), out: lines(ending).unwrap(), err, exit }
}

fn runs(cli: &str) -> Vec<Run> {
    let names = std::fs::read_dir(folder().join(cli)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut cases: Vec<String> = names
        .map(|name| name.into_string().unwrap())
        .filter(|name| !name.ends_with(".stderr.txt"))
        .map(|name| name.split('.').next().unwrap().to_owned())
        .collect();
    cases.sort();
    assert!(cases.len() >= 15, "only {} transcripts of {cli}", cases.len());
    cases.iter().map(|case| run(cli, case)).collect()
}

fn lines(case: &str) -> Vec<String> {
    let (cli, case) = case.split_once('/').unwrap();
    run(cli, case).out
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

fn told(signal: Signal, meter: &mut UsageMeter) -> Option<String> {
    Some(match signal {
        Signal::Event(kind) => event_line(&kind),
        Signal::Step(_) => return None,
        Signal::Session(session) => format!("session {session}"),
        Signal::Model(model) => format!("model {model}"),
        Signal::CliVersion(version) => format!("version {version}"),
        Signal::Usage(reading) => {
            let is_total = matches!(reading, UsageReading::SessionTotal(_));
            meter.read(reading);
            if !is_total {
                return None;
            }
            format!("usage {}", shown(&meter.total()))
        }
        Signal::Refused(failure) => format!("refused: {}", failure.kind),
    })
}

/// Everything a case means, as a person would read it.
fn story(run: &Run) -> String {
    let mut parser = Parser::new(run.format);
    let mut meter = UsageMeter::new(&Usage::default());
    let mut text = String::new();
    for line in &run.err {
        for told in parser.read_stderr(line).into_iter().filter_map(|signal| told(signal, &mut meter)) {
            let _ = writeln!(text, "(stderr) {told}");
        }
    }
    for line in &run.out {
        for told in parser.read(line).into_iter().filter_map(|signal| told(signal, &mut meter)) {
            let _ = writeln!(text, "{told}");
        }
    }
    meter.process_ended();
    let turns = parser.turns().unwrap();
    let _ = writeln!(text, "= {}, {turns} counted, settled {:?}", shown(&meter.total()), parser.settled());
    let _ = writeln!(text, "= {}", end(run, &parser));
    text
}

fn failure_line(failure: &Failure) -> String {
    let wait = failure.retry_after.map(|wait| format!(" (after {wait})")).unwrap_or_default();
    let reset = failure.resets_at.map(|at| format!(" (at {at})")).unwrap_or_default();
    format!("{}{wait}{reset}: {}", failure.kind, one_line(&failure.message))
}

fn end(run: &Run, parser: &Parser) -> String {
    let answer = parser.answer();
    let (trouble, complaint) = (parser.trouble(), run.err.last().cloned().unwrap_or_default());
    let exit = match run.exit {
        code @ 0.. => ExitReport { code: Some(code), signal: None },
        signal => ExitReport { code: None, signal: Some(-signal) },
    };
    if exit.signal == Some(nix::libc::SIGKILL) && answer.is_none() {
        let trouble = trouble.as_ref().map_or_else(|| "no trouble".to_owned(), failure_line);
        return format!("killed while at it, with {trouble}");
    }
    let of_exit = exit.code.filter(|code| *code != 0).and_then(|code| parser.of_exit(code));
    let evidence = Evidence {
        limits: &Limits::default(),
        stopped: None,
        memory: MemoryKill::None,
        exit,
        answer: answer.as_ref(),
        ends_with_an_answer: parser.ends_with_an_answer(),
        trouble: trouble.as_ref(),
        complaint: &complaint,
        of_exit: of_exit.as_ref(),
        disk: Disk::HasRoom,
    };
    match judge(&evidence) {
        RunEnd::Well => format!("well: {}", one_line(&parser.last_words().unwrap_or_default())),
        RunEnd::Badly(_, failure) => failure_line(&failure),
        RunEnd::Cancelled | RunEnd::Interrupted => unreachable!(),
    }
}

fn stories(cli: &str) -> String {
    runs(cli).iter().map(|run| format!("## {} (exit {})\n{}\n", run.case, run.exit, story(run))).collect()
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
fn gemini_transcripts() {
    insta::assert_snapshot!(stories("gemini"));
}

#[test]
fn opencode_transcripts() {
    insta::assert_snapshot!(stories("opencode"));
}

#[test]
fn qwen_transcripts() {
    insta::assert_snapshot!(stories("qwen"));
}

#[test]
fn copilot_transcripts() {
    insta::assert_snapshot!(stories("copilot"));
}

#[test]
fn cline_transcripts() {
    insta::assert_snapshot!(stories("cline"));
}

#[test]
fn goose_transcripts() {
    insta::assert_snapshot!(stories("goose"));
}

#[test]
fn aider_transcripts() {
    insta::assert_snapshot!(stories("aider"));
}

/// The two streams are read by whichever has bytes first.
#[test]
fn the_order_of_the_two_streams_does_not_change_the_end() {
    for (format, cli) in FORMATS {
        for run in runs(cli) {
            let [first, second] = [true, false].map(|errors_first| {
                let mut parser = Parser::new(format);
                if errors_first {
                    run.err.iter().for_each(|line| drop(parser.read_stderr(line)));
                }
                run.out.iter().for_each(|line| drop(parser.read(line)));
                if !errors_first {
                    run.err.iter().for_each(|line| drop(parser.read_stderr(line)));
                }
                end(&run, &parser)
            });
            assert_eq!(first, second, "{cli}/{}", run.case);
        }
    }
}

#[test]
fn a_result_while_a_command_runs_in_the_background_is_not_the_end() {
    let mut parser = Parser::new(OutputFormat::ClaudeStreamJson);
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
        let mut parser = Parser::new(OutputFormat::CodexJsonl);
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
