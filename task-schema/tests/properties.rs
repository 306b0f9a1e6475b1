//! What holds for every document, not only for the ones that somebody thought of.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use cloud_code_task_schema::{
    AgentInfo, AgentStatus, Assignment, BranchName, ChangeKind, CliManifest, CliName, CommitReport,
    CommitSettings, CommitStyle, Conversation, CostSource, Event, EventKind, ExitReport, Failure,
    FailureKind, FileChange, Handoff, HumanDuration, Limits, Mode, OutputFormat, Priority, Progress,
    PromptChannel, Reporting, SchemaKind, Task, TaskContext, TaskId, TaskReport, TaskReportStatus, Tasking,
    Usage, Usd, VerifyReport, parse_event, parse_manifest, parse_reporting, parse_strict, parse_tasking,
    schema, schema_of, to_yaml,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Words that other YAML readers take for something else, and texts that end lines in odd ways.
const HARD_WORDS: [&str; 39] = [
    "",
    " ",
    "~",
    "null",
    "true",
    "No",
    "on",
    "y",
    "5",
    "007",
    "+1",
    "-1",
    "1.",
    ".5",
    "4e18",
    "0x1F",
    "0o7",
    ".inf",
    ".nan",
    "1_000",
    "1:30",
    "2026-11-20",
    "- a",
    "a: b",
    "a #b",
    "#",
    "'",
    "\"",
    "\\",
    "*a",
    "&a",
    "!a",
    "---",
    "...",
    "=",
    "<<",
    "a\u{2028}  b",
    "\u{2029}",
    "a\n\u{85}b",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z ]{0,20}",
        2 => select(HARD_WORDS.as_slice()).prop_map(str::to_owned),
        2 => "[ -~]{0,20}",
        2 => "[ a\n\t\r:#'\"|>\\\\{}\\[\\],&*!%@`-]{0,24}",
        2 => any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn is_shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!-~][ -~]{0,30}",
        select(HARD_WORDS.as_slice())
            .prop_filter("one line", |word| !word.trim().is_empty() && word.chars().all(is_shown))
            .prop_map(str::to_owned),
        any::<String>()
            .prop_map(|text| { format!("x{}", text.chars().filter(|c| is_shown(*c)).collect::<String>()) }),
    ]
}

fn identity() -> impl Strategy<Value = CommitSettings> {
    let text = || line().prop_map(|text| format!("x{}", text.replace(['<', '>'], "")));
    let style = select(vec![CommitStyle::Plain, CommitStyle::Conventional]);
    let co_authors = vec("[a-zA-Z][a-z ]{0,8} <[a-z]{1,8}@x>", 0..2);
    (text(), text(), style, co_authors).prop_map(|(author_name, author_email, style, co_authors)| {
        CommitSettings { author_name, author_email, style, co_authors }
    })
}

fn relative() -> impl Strategy<Value = String> {
    vec("[a-zA-Z0-9._ -]{1,8}", 1..4)
        .prop_map(|parts| parts.join("/"))
        .prop_filter("no way out", |path| path.split('/').all(|part| part != ".."))
}

fn duration() -> impl Strategy<Value = HumanDuration> {
    prop_oneof![
        (1..=2_592_000u64).prop_map(HumanDuration::from_secs),
        (1..=2_592_000_000u64).prop_map(|millis| HumanDuration::from_duration(Duration::from_millis(millis))),
    ]
}

fn task_id() -> impl Strategy<Value = TaskId> {
    prop_oneof!["[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", "[0-9]{1,5}", "[0-9]e[0-9]"]
        .prop_map(|text| text.parse().unwrap())
}

fn cli_name() -> impl Strategy<Value = CliName> {
    "[a-z0-9][a-z0-9-]{0,31}".prop_map(|text| text.parse().unwrap())
}

fn branch_text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-zA-Z0-9._/@{}-]{1,12}",
        1 => "[a-z0-9]{1,4}(/[a-z0-9._-]{1,6}){0,3}",
        1 => "[ -~]{1,6}",
        1 => select(vec!["HEAD", "@", "a..b", "a.lock", "a/.b", "a.lock/b", "-a", "a//b", "/a", "a/", "a.", "@{u}", "a@{b",
                         "a@b", "refs/heads/a", "a b", "é", "a\u{7f}", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "@a",
                         "a/HEAD", "head", "a/@", "{", "a{b}", "日本/é"]).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| text.chars().take(8).collect()),
    ]
}

fn branch() -> impl Strategy<Value = BranchName> {
    branch_text().prop_filter_map("a branch", |text| text.parse().ok())
}

fn usd() -> impl Strategy<Value = Usd> {
    prop_oneof![(0.0..1_000_000.0f64), Just(0.0), Just(5.0), Just(1e-6)]
        .prop_map(|amount| Usd::new(amount).unwrap())
}

prop_compose! {
    fn handoff()(from in option::of(cli_name()), (goal, plan) in (option::of(text()), option::of(text())),
                 (done, failed, open) in (vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3)),
                 (failed_checks, questions) in (vec(text(), 0..3), vec(text(), 0..3)),
                 diff_stat in option::of(text())) -> Handoff {
        Handoff { from, goal, plan, done, failed, open, failed_checks, questions, diff_stat }
    }
}

prop_compose! {
    fn limits()(timeout in duration(), idle_timeout in duration(), start_timeout in duration(), verify_timeout in duration(),
                cost in option::of(usd()), max_turns in option::of(1..=10_000u32)) -> Limits {
        let max_cost_usd = cost.filter(|cost| cost.as_f64() > 0.0);
        Limits { timeout, idle_timeout, start_timeout, verify_timeout, max_cost_usd, max_turns }
    }
}

prop_compose! {
    fn task()(
        (id, status, attempt, title, mode) in (task_id(), select(vec![Assignment::Assigned, Assignment::Cancelled]),
                                               1..=9u32, line(), select(vec![Mode::Edit, Mode::Plan, Mode::Review])),
        (description, acceptance_criteria) in (text(), vec(text(), 0..3)),
        (related_files, notes, handoff) in (vec(relative(), 0..3), option::of(text()), option::of(handoff())),
        (requested_by, priority) in (option::of(text()),
            select(vec![Priority::Critical, Priority::High, Priority::Medium, Priority::Low])),
        (branch, base, model, limits) in (branch(), branch(), option::of("[a-z][a-z0-9._/-]{0,12}"), limits()),
        (verify, verify_rounds, commit) in (vec(line(), 0..3), 0..=10u32, identity()),
    ) -> Task {
        let context = TaskContext { related_files, notes };
        Task { id, status, attempt, title, mode, description, acceptance_criteria, context, continues: None, handoff, requested_by,
               priority, branch, base, model, limits, verify, verify_rounds, commit }
    }
}

fn time() -> impl Strategy<Value = jiff::Timestamp> {
    (0..4_000_000_000i64, 0..1_000_000_000i32).prop_map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap())
}

prop_compose! {
    fn tasking()(generation in 1..u64::MAX, updated_at in time(), workspace in line(), cli in cli_name(),
                 mut tasks in vec(task(), 0..4), continues in any::<bool>()) -> Tasking {
        for index in 0..tasks.len() {
            let id: TaskId = format!("{index}.{}", tasks[index].id).parse().unwrap();
            tasks[index].id = id;
            if continues && index > 0 {
                tasks[index].continues = Some(tasks[index - 1].id.clone());
            }
        }
        Tasking { version: 1, generation, updated_at, workspace, cli, tasks }
    }
}

fn failure() -> impl Strategy<Value = Failure> {
    let kinds =
        select(vec![FailureKind::Auth, FailureKind::RateLimited, FailureKind::Oom, FailureKind::Internal]);
    (kinds, text(), option::of(duration()), option::of(time()))
        .prop_map(|(kind, message, retry_after, resets_at)| Failure { kind, message, retry_after, resets_at })
}

prop_compose! {
    fn usage()(input_tokens in option::of(any::<u64>()), output_tokens in option::of(any::<u64>()),
               cache_read_tokens in option::of(any::<u64>()), cache_write_tokens in option::of(any::<u64>()),
               turns in option::of(any::<u32>()), cost_usd in option::of(usd()),
               cost_source in select(vec![CostSource::Reported, CostSource::Estimated, CostSource::Unknown])) -> Usage {
        Usage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, turns, cost_usd, cost_source }
    }
}

fn exit() -> impl Strategy<Value = ExitReport> {
    (option::of(any::<i32>()), option::of(any::<i32>()))
        .prop_map(|(code, signal)| ExitReport { code, signal })
}

fn change() -> impl Strategy<Value = ChangeKind> {
    select(vec![ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted, ChangeKind::Renamed])
}

fn status() -> impl Strategy<Value = TaskReportStatus> {
    select(vec![
        TaskReportStatus::Received,
        TaskReportStatus::InProgress,
        TaskReportStatus::Blocked,
        TaskReportStatus::Completed,
        TaskReportStatus::TimedOut,
    ])
}

prop_compose! {
    fn task_report()(
        (status, attempt, started_at, finished_at) in (status(), 1..u32::MAX, option::of(time()), option::of(time())),
        (current_step, session_id, model, usage) in (option::of(text()), option::of(text()), option::of(text()), usage()),
        (cli, base) in (option::of(any::<u8>()), option::of(text())),
        conversation in select(vec![Conversation::New, Conversation::Resumed, Conversation::Packet]),
        (exit, failure, summary, commit_message) in
            (option::of(exit()), option::of(failure()), option::of(text()), option::of(text())),
        (commits, head) in (vec((text(), text()), 0..2), option::of(text())),
        files in vec((text(), change(), option::of(any::<u64>()), option::of(any::<u64>())), 0..2),
        verify in vec((text(), option::of(any::<i32>()), duration(), any::<u32>(), text()), 0..2),
        (questions, progress) in (vec(text(), 0..2), vec((time(), text()), 0..2)),
    ) -> TaskReport {
        let commits = commits.into_iter().map(|(sha, message)| CommitReport { sha, message }).collect();
        let file = |(path, change, lines_added, lines_removed)| FileChange { path, change, lines_added, lines_removed };
        let ran = |(command, exit_code, duration, round, output_tail)|
            VerifyReport { command, exit_code, duration, round, output_tail };
        let files_modified = files.into_iter().map(file).collect();
        let verify = verify.into_iter().map(ran).collect();
        let progress = progress.into_iter().map(|(at, message)| Progress { at, message }).collect();
        let cli = cli.and_then(|number| format!("cli-{number}").parse().ok());
        TaskReport { status, attempt, cli, base, started_at, finished_at, current_step, session_id, conversation, model, usage, exit, failure,
                     summary, commit_message, commits, head, files_modified, verify, questions, progress }
    }
}

prop_compose! {
    fn reporting()(
        (observed_generation, updated_at, heartbeat_at) in (any::<u64>(), time(), time()),
        (version, instance, cli, cli_version, started_at) in (text(), text(), cli_name(), option::of(text()), time()),
        status in select(vec![AgentStatus::Idle, AgentStatus::Working, AgentStatus::Stopping, AgentStatus::Error]),
        failure in option::of(failure()),
        tasks in btree_map(task_id(), task_report(), 0..3),
    ) -> Reporting {
        let agent = AgentInfo { version, instance, cli, cli_version, started_at };
        Reporting { version: 1, observed_generation, updated_at, heartbeat_at, agent, status, failure, tasks }
    }
}

fn arguments() -> impl Strategy<Value = Vec<String>> {
    vec(text().prop_map(|text| text.replace(['{', '}'], "")), 0..3)
}

/// Arguments of which one has the placeholder; the others have none.
fn arguments_with(placeholder: &'static str) -> impl Strategy<Value = Vec<String>> {
    (any::<bool>(), arguments()).prop_map(move |(any, mut arguments)| {
        if !any {
            return Vec::new();
        }
        arguments.push(format!("x{placeholder}y"));
        arguments
    })
}

fn variable() -> impl Strategy<Value = String> {
    "[A-Za-z_][A-Za-z0-9_]{0,8}"
}

prop_compose! {
    fn manifest()(
        (name, program, more) in (cli_name(), "[a-z]{1,8}", arguments()),
        prompt in select(vec![PromptChannel::Stdin, PromptChannel::Argument, PromptChannel::File]),
        (edit, plan, tail) in (arguments(), option::of(arguments()), arguments()),
        (model, resume, max_turns, base_url) in (arguments_with("{model}"), option::of(arguments_with("{session_id}")),
                                                 arguments_with("{max_turns}"), arguments_with("{base_url}")),
        (session, max_cost) in (arguments_with("{session_id}"), arguments_with("{max_cost_usd}")),
        default_model in option::of("[a-z]{1,8}"),
        (home_defaults, never_commit) in (btree_map(relative(), text(), 0..3), vec("[.a-z*/]{1,8}", 0..3)),
        output in select(vec![OutputFormat::ClaudeStreamJson, OutputFormat::CodexJsonl, OutputFormat::Text]),
        version in vec("[a-z-]{1,8}", 0..3),
        (env, credentials) in (btree_map(variable(), text(), 0..3), vec(variable(), 0..3)),
        (home_files, base_url_env) in (vec(relative(), 0..3), option::of(variable())),
    ) -> CliManifest {
        let command = std::iter::once(program).chain(more).collect();
        CliManifest { name, command, prompt, edit, plan, model, default_model, resume, session, max_turns, max_cost, base_url, tail,
                      output, version, env, home_defaults, never_commit,
                      credentials, home_files, base_url_env }
    }
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        (text(), text()).prop_map(|(version, instance)| EventKind::AgentStarted { version, instance }),
        text().prop_map(|title| EventKind::TaskReceived { title }),
        (vec(text(), 0..3), any::<i32>()).prop_map(|(command, pid)| EventKind::CliStarted { command, pid }),
        text().prop_map(|text| EventKind::Message { text }),
        text().prop_map(|text| EventKind::Thinking { text }),
        (text(), option::of(text()), text()).prop_map(|(tool, id, summary)| EventKind::ToolUse {
            tool,
            id,
            summary
        }),
        (option::of(text()), any::<bool>(), text())
            .prop_map(|(id, is_error, output)| EventKind::ToolResult { id, is_error, output }),
        (text(), change()).prop_map(|(path, change)| EventKind::FileChanged { path, change }),
        usage().prop_map(|usage| EventKind::Usage { usage }),
        (text(), option::of(any::<i32>()), any::<u32>())
            .prop_map(|(command, exit_code, round)| EventKind::Verify { command, exit_code, round }),
        text().prop_map(|text| EventKind::Question { text }),
        text().prop_map(|message| EventKind::Warning { message }),
        exit().prop_map(|exit| EventKind::CliExited { exit }),
        (text(), text()).prop_map(|(sha, message)| EventKind::Committed { sha, message }),
        (status(), option::of(failure()))
            .prop_map(|(status, failure)| EventKind::TaskEnded { status, failure }),
        (any::<u64>(), text())
            .prop_map(|(dropped_bytes, what)| EventKind::LogTruncated { dropped_bytes, what }),
    ]
}

prop_compose! {
    fn event()(seq in 1..u64::MAX, at in time(), task in option::of(task_id()), attempt in option::of(1..u32::MAX),
               kind in kind(), raw in option::of(text())) -> Event {
        Event { seq, at, task, attempt, kind, raw }
    }
}

/// Texts that are almost documents.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let part = select(vec![
        "version: 1\n",
        "tasks:\n",
        "  - id: a\n",
        "- ",
        "  ",
        "\t",
        "a: ",
        "? ",
        ": ",
        "b",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&x ",
        "*x",
        "!!str ",
        "!t ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "\\x",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\u{feff}",
        "\0",
        "\u{85}",
        "\r",
        "é",
        "~",
        "1e5",
        "<<: ",
        "generation: 1\n",
        "limits: {timeout: 1h}\n",
        "status: idle\n",
        "name: x\n",
        "command: [x]\n",
        "@",
        "`",
    ]);
    prop_oneof![vec(part, 0..40).prop_map(|parts| parts.concat()), any::<String>()]
}

/// A good document with a piece cut out of it, doubled, or replaced.
fn broken_tasking() -> impl Strategy<Value = String> {
    (tasking(), any::<prop::sample::Index>(), 0..40usize, nearly_yaml(), any::<bool>()).prop_map(
        |(good, at, len, new, keep)| {
            let text: Vec<char> = to_yaml(&good).unwrap().chars().collect();
            let from = at.index(text.len());
            let to = (from + len).min(text.len());
            let rest = if keep { from } else { to };
            text[..from].iter().copied().chain(new.chars()).chain(text[rest..].iter().copied()).collect()
        },
    )
}

fn failed(why: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(why.to_string())
}

static VALIDATORS: LazyLock<Vec<(SchemaKind, jsonschema::Validator)>> = LazyLock::new(|| {
    SchemaKind::ALL.map(|kind| (kind, jsonschema::validator_for(&schema(kind)).unwrap())).into()
});

fn accepts(kind: SchemaKind, document: &Value) -> Result<(), TestCaseError> {
    let (_, validator) = VALIDATORS.iter().find(|(of, _)| *of == kind).unwrap();
    validator.validate(document).map_err(|error| failed(format!("{error}\nin {document:#}")))
}

/// A good document of which one value became another.
fn mutated_tasking() -> impl Strategy<Value = Value> {
    let odd = select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(11),
        json!(10_000),
        json!(10_001),
        json!(1e300),
        json!(""),
        json!("a"),
        json!("1h"),
        json!("1h1"),
        json!("edit"),
        json!("a..b"),
        json!("é"),
        json!("-a"),
        json!([]),
        json!(["a"]),
        json!([1]),
        json!({}),
        json!({"a": 1}),
        json!("2026-11-20T10:00:00Z"),
        json!("2026-11-20"),
    ]);
    (tasking(), any::<prop::sample::Index>(), odd).prop_map(|(good, at, odd)| {
        let mut document = serde_json::to_value(&good).unwrap();
        let mut pointers = Vec::new();
        collect_pointers(&document, "", &mut pointers);
        *document.pointer_mut(&pointers[at.index(pointers.len())]).unwrap() = odd;
        document
    })
}

fn collect_pointers(value: &Value, here: &str, pointers: &mut Vec<String>) {
    pointers.push(here.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            collect_pointers(
                value,
                &format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")),
                pointers,
            );
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
            collect_pointers(value, &format!("{here}/{index}"), pointers);
        }),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_tasking_survives_the_file(value in tasking()) {
        let text = to_yaml(&value).unwrap();
        prop_assert_eq!(parse_tasking("t", &text).map_err(|e| failed(format!("{e}\n{text}")))?, value);
    }

    #[test]
    fn a_report_survives_the_file(value in reporting()) {
        let text = to_yaml(&value).unwrap();
        prop_assert_eq!(parse_reporting("r", &text).map_err(|e| failed(format!("{e}\n{text}")))?, value);
    }

    #[test]
    fn a_manifest_survives_the_file(value in manifest()) {
        let text = to_yaml(&value).unwrap();
        prop_assert_eq!(parse_manifest("c", &text).map_err(|e| failed(format!("{e}\n{text}")))?, value);
    }

    #[test]
    fn an_event_survives_its_line(value in event()) {
        let line = serde_json::to_string(&value).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(parse_event("e", 1, &line).map_err(|e| failed(format!("{e}\n{line}")))?, value);
    }

    /// JSON is YAML: the same document in either notation is the same value.
    #[test]
    fn a_tasking_may_be_written_as_json(value in tasking()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(parse_tasking("t", &text).map_err(|e| failed(format!("{e}\n{text}")))?, value);
    }

    #[test]
    fn what_is_written_the_schema_accepts(t in tasking(), r in reporting(), c in manifest(), e in event()) {
        accepts(SchemaKind::Tasking, &serde_json::to_value(&t).unwrap())?;
        accepts(SchemaKind::Reporting, &serde_json::to_value(&r).unwrap())?;
        accepts(SchemaKind::Cli, &serde_json::to_value(&c).unwrap())?;
        accepts(SchemaKind::Event, &serde_json::to_value(&e).unwrap())?;
    }

    /// An editor with the schema never marks what the agent takes. Read as plain values, as an editor reads it.
    #[test]
    fn whatever_the_parser_accepts_the_schema_accepts(text in broken_tasking()) {
        if parse_tasking("t", &text).is_ok() {
            let plain: Value = parse_strict("t", &text).map_err(failed)?;
            accepts(SchemaKind::Tasking, &plain)?;
        }
    }

    #[test]
    fn whatever_value_the_parser_accepts_the_schema_accepts(document in mutated_tasking()) {
        if parse_tasking("t", &document.to_string()).is_ok() {
            accepts(SchemaKind::Tasking, &document)?;
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in nearly_yaml(), broken in broken_tasking()) {
        for text in [text, broken] {
            let results = [
                parse_tasking("f", &text).err(),
                parse_reporting("f", &text).err(),
                parse_manifest("f", &text).err(),
                parse_event("f", 1, &text).err(),
                parse_strict::<BTreeMap<String, Value>>("f", &text).err(),
            ];
            for problems in results.into_iter().flatten() {
                prop_assert!(!problems.0.is_empty());
                for problem in problems.0 {
                    prop_assert!(problem.line > 0 && problem.column > 0, "{problem:?}");
                    prop_assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
                }
            }
        }
    }

    #[test]
    fn a_duration_is_written_as_it_is_read(value in duration()) {
        prop_assert_eq!(value.to_string().parse::<HumanDuration>(), Ok(value));
    }

    #[test]
    fn sums_of_units_are_durations(hours in 0..700u64, minutes in 0..99u64, seconds in 1..99u64) {
        let text = format!("{hours}h{minutes}m{seconds}s");
        let value: HumanDuration = text.parse().unwrap();
        prop_assert_eq!(value.as_duration(), Duration::from_secs(hours * 3600 + minutes * 60 + seconds));
        prop_assert!(accepts_duration(&text));
    }

    #[test]
    fn whatever_is_a_duration_fits_its_pattern(text in "[0-9]{0,3}(ms|s|m|h|d|x)?[0-9]{0,3}(ms|s|m)?") {
        if text.parse::<HumanDuration>().is_ok() {
            prop_assert!(accepts_duration(&text), "{text}");
        }
    }

    #[test]
    fn whatever_is_a_branch_fits_its_pattern(name in branch()) {
        prop_assert!(BRANCH.is_valid(&json!(name.as_str())), "{name:?}");
    }
}

static BRANCH: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema_of::<BranchName>("branch")).unwrap());
static DURATION: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema_of::<HumanDuration>("duration")).unwrap());

fn accepts_duration(text: &str) -> bool {
    DURATION.is_valid(&json!(text))
}

proptest! {
    // Each case starts a process.
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn branch_names_are_judged_as_git_judges_them(name in branch_text()) {
        prop_assume!(!name.contains('\0'));
        let git = Command::new("git")
            .args(["check-ref-format", "--branch", &name])
            .env("GIT_DIR", "/nonexistent")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("git runs")
            .success();
        // Git takes `@` for a branch, and for HEAD wherever a revision stands: refused here.
        let expected = git && name != "@";
        prop_assert_eq!(name.parse::<BranchName>().is_ok(), expected, "{:?}", name);
    }
}
