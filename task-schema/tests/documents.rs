//! What people read when a document is wrong: file, line, column, key, what it is, and what to do.

use std::collections::BTreeMap;
use std::fmt::Display;

use cloud_code_task_schema::{
    HumanDuration, MAX_YAML_BYTES, Tasking, parse_event, parse_manifest, parse_reporting, parse_strict,
    parse_tasking,
};
use serde::Deserialize;

/// The lines of a good `tasking.yaml`, up to its tasks.
const HEAD: &str = "\
version: 1
generation: 3
updated_at: 2026-11-20T10:00:00Z
workspace: acme/shop#42
cli: claude-code
tasks:
";

/// A good task, as an item of the list.
const TASK: &str = "
  - id: T1
    status: assigned
    title: Login fails
    description: Steps
    branch: cloud-code/issue-42
    base: main
";

/// A file whose first task has these lines too.
fn with(lines: &str) -> String {
    let indented: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
    format!("{HEAD}{}{}\n", TASK.trim_start_matches('\n'), indented.join("\n"))
}

fn problems<T, E: Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "the document was accepted".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

fn tasking(text: &str) -> String {
    problems(parse_tasking("tasking.yaml", text))
}

fn manifest(text: &str) -> String {
    problems(parse_manifest("cli.yaml", text))
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Settings {
    docker: Docker,
    dirs: Vec<String>,
    cpus: Option<f64>,
    pids: Option<u16>,
    quiet: bool,
    env: BTreeMap<String, String>,
    timeout: Option<HumanDuration>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Docker {
    host: Option<String>,
    image_prefix: Option<String>,
}

fn settings(text: &str) -> String {
    problems(parse_strict::<Settings>("cloud-code.yaml", text))
}

#[test]
fn the_good_document_is_good() {
    let good = parse_tasking("tasking.yaml", &with("")).unwrap();
    assert_eq!(good.tasks[0].title, "Login fails");
    assert_eq!(good.tasks[0].limits.timeout.to_string(), "1h");
}

#[test]
fn bad_syntax_names_its_place() {
    insta::assert_snapshot!(tasking("version: 1\ntasks: [a, b\nworkspace: x\n"), @r#"
        tasking.yaml:3:10: not valid YAML: illegal placement of ':' indicator
    "#);
    insta::assert_snapshot!(tasking("version: 1\ntitle: a: b\n"), @r#"
        tasking.yaml:2:9: not valid YAML: mapping values are not allowed in this context (put text with `: ` in it in quotes)
    "#);
    insta::assert_snapshot!(tasking("version: 1\ntasks:\n\t- id: T1\n"), @r#"
        tasking.yaml:3:2: not valid YAML: tabs disallowed within this context (block indentation) (indent with spaces: YAML takes no tabs there)
    "#);
    insta::assert_snapshot!(tasking("version: 1\ntitle: \"open\nx: 1\n"), @r#"
        tasking.yaml:2:8: not valid YAML: invalid indentation in quoted scalar
    "#);
    insta::assert_snapshot!(tasking("version: 1\nworkspace: *nobody\n"), @r#"
        tasking.yaml:2:12: not valid YAML: while parsing node, found unknown anchor
    "#);
    insta::assert_snapshot!(tasking("version: 1\nworkspace: a\0b\n"), @r#"
        tasking.yaml:2:13: not valid YAML: found unprintable character (the line contains the character NUL)
    "#);
    insta::assert_snapshot!(tasking("version: 1\nworkspace: `a`\n"), @r#"
        tasking.yaml:2:12: not valid YAML: unexpected character: ``' (put text that starts with this character in quotes)
    "#);
}

#[test]
fn a_file_holds_one_document_that_is_a_map() {
    insta::assert_snapshot!(tasking(""), @r#"
        tasking.yaml:1:1: the file is empty (its keys are explained in PROTOCOL.md)
    "#);
    insta::assert_snapshot!(tasking("# nothing yet\n"), @r#"
        tasking.yaml:1:1: the file is empty (its keys are explained in PROTOCOL.md)
    "#);
    insta::assert_snapshot!(tasking("- version: 1\n"), @r#"
        tasking.yaml:1:1: expected a map of keys, found a list
    "#);
    insta::assert_snapshot!(tasking("just words\n"), @r#"
        tasking.yaml:1:1: expected a map of keys, found the text `just words`
    "#);
    insta::assert_snapshot!(tasking(&format!("{}---\nversion: 1\n", with(""))), @r#"
        tasking.yaml:14:1: a second document starts here, and only one is read (remove the `---`)
    "#);
    insta::assert_snapshot!(tasking(&format!("#{}", "a".repeat(MAX_YAML_BYTES as usize))), @r#"
        tasking.yaml:1:1: the file has 1048577 bytes, more than 1048576 (shorten it)
    "#);
}

#[test]
fn the_version_comes_before_everything_else() {
    insta::assert_snapshot!(tasking("version: 2\nworkspase: x\ngeneration: many\n"), @r#"
        tasking.yaml:1:10: version: protocol version 2 is not known here (this program reads version 1; use one of the same release)
    "#);
    insta::assert_snapshot!(tasking("generation: 1\nnonsense: true\n"), @r#"
        tasking.yaml:1:1: version: the required key `version` is missing (write `version: 1`)
    "#);
    insta::assert_snapshot!(tasking("version: \"1\"\n"), @r#"
        tasking.yaml:1:10: version: `1` is not a protocol version (write `version: 1`)
    "#);
    insta::assert_snapshot!(tasking("version: [1]\n"), @r#"
        tasking.yaml:1:10: version: expected a whole number (write `version: 1`)
    "#);
    insta::assert_snapshot!(problems(parse_reporting("reporting.yaml", "version: 7\n")), @r#"
        reporting.yaml:1:10: version: protocol version 7 is not known here (this program reads version 1; use one of the same release)
    "#);
}

#[test]
fn wrong_values_are_told_all_at_once() {
    let text = "\
version: 1
generation: -1
updated_at: yesterday
workspace: 42
cli: Claude Code
tasks:
  - id: ../T1
    status: asigned
    title: Login fails
    description:
    branch: -x
    base: main
    priority: urgent
    mode: null
    limits: {timeout: soon, idle_timeout: 15, max_cost_usd: -1, max_turns: 4000000000000}
    verify: cargo test
  - just a word
";
    insta::assert_snapshot!(tasking(text), @r#"
        tasking.yaml:2:13: generation: expected a whole number from 0 to 18446744073709551615, found the number `-1`
        tasking.yaml:3:13: updated_at: failed to parse four digit integer as year: invalid digit, expected 0-9 but got y (write the time as `2026-11-20T10:00:00Z`)
        tasking.yaml:4:12: workspace: expected text, found the number `42` (put it in quotes, or add its unit, as in `15m`)
        tasking.yaml:5:6: cli: `Claude Code` is not a CLI name: use 1 to 32 lower-case letters, digits or `-`, such as `claude-code`
        tasking.yaml:7:9: tasks[0].id: `../T1` is not a task id: use 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter, digit or `_`
        tasking.yaml:8:13: tasks[0].status: `asigned` is not one of `assigned`, `cancelled` (did you mean `assigned`?)
        tasking.yaml:10:16: tasks[0].description: expected text, found nothing (give it a value, or remove the key)
        tasking.yaml:11:13: tasks[0].branch: `-x` is not a git branch name: it may not start with `-` or be `@` or `HEAD`
        tasking.yaml:13:15: tasks[0].priority: `urgent` is not one of `critical`, `high`, `medium`, `low`
        tasking.yaml:14:11: tasks[0].mode: expected a word, found nothing (give it a value, or remove the key)
        tasking.yaml:15:23: tasks[0].limits.timeout: `soon` is not a duration: write it as `90s`, `15m` or `1h`, greater than zero and at most 30 days
        tasking.yaml:15:43: tasks[0].limits.idle_timeout: expected text, found the number `15` (put it in quotes, or add its unit, as in `15m`)
        tasking.yaml:15:61: tasks[0].limits.max_cost_usd: `-1` is not an amount of USD: use a number from 0 to 1000000
        tasking.yaml:15:76: tasks[0].limits.max_turns: expected a whole number from 0 to 4294967295, found the number `4000000000000`
        tasking.yaml:16:13: tasks[0].verify: expected a list, found the text `cargo test` (write it as a list, in `[` and `]`)
        tasking.yaml:17:5: tasks[1]: expected a map of keys, found the text `just a word`
    "#);
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    let text = with("limits: {timout: 1h, max_cost: 5}\nverfy: [make]\ncontext: {files: []}\nzzz: 1");
    insta::assert_snapshot!(tasking(&text), @r#"
        tasking.yaml:13:14: tasks[0].limits.timout: unknown key `timout` (did you mean `timeout`?)
        tasking.yaml:13:26: tasks[0].limits.max_cost: unknown key `max_cost` (did you mean `max_cost_usd`?)
        tasking.yaml:14:5: tasks[0].verfy: unknown key `verfy` (did you mean `verify`?)
        tasking.yaml:15:15: tasks[0].context.files: unknown key `files` (known keys: `related_files`, `notes`)
        tasking.yaml:16:5: tasks[0].zzz: unknown key `zzz` (known keys: `id`, `status`, `attempt`, `title`, `mode`, `description`, `acceptance_criteria`, `context`, `continues`, `handoff`, `requested_by`, `priority`, `branch`, `base`, `model`, `limits`, `verify`, `verify_rounds`, `commit`)
    "#);
    insta::assert_snapshot!(tasking(&format!("{}Generation: 2\n", with(""))), @r#"
        tasking.yaml:14:1: Generation: unknown key `Generation` (did you mean `generation`?)
    "#);
}

#[test]
fn a_misspelt_required_key_is_one_problem() {
    insta::assert_snapshot!(tasking(&with("").replace("title:", "titel:")), @r#"
        tasking.yaml:9:5: tasks[0].titel: unknown key `titel` (did you mean `title`?)
    "#);
}

#[test]
fn missing_keys_are_told_all_at_once() {
    insta::assert_snapshot!(tasking("version: 1\ncli: codex\ntasks:\n  - title: x\n  - {}\n"), @r#"
        tasking.yaml:1:1: generation: the required key `generation` is missing
        tasking.yaml:1:1: updated_at: the required key `updated_at` is missing
        tasking.yaml:1:1: workspace: the required key `workspace` is missing
        tasking.yaml:4:5: tasks[0].id: the required key `id` is missing
        tasking.yaml:4:5: tasks[0].status: the required key `status` is missing
        tasking.yaml:4:5: tasks[0].description: the required key `description` is missing
        tasking.yaml:4:5: tasks[0].branch: the required key `branch` is missing
        tasking.yaml:4:5: tasks[0].base: the required key `base` is missing
        tasking.yaml:5:5: tasks[1].id: the required key `id` is missing
        tasking.yaml:5:5: tasks[1].status: the required key `status` is missing
        tasking.yaml:5:5: tasks[1].title: the required key `title` is missing
        tasking.yaml:5:5: tasks[1].description: the required key `description` is missing
        tasking.yaml:5:5: tasks[1].branch: the required key `branch` is missing
        tasking.yaml:5:5: tasks[1].base: the required key `base` is missing
    "#);
}

#[test]
fn a_key_stands_once() {
    let text = with("priority: low\npriority: high\nlimits:\n  timeout: 1h\n  timeout: 2h\nid: T2");
    insta::assert_snapshot!(tasking(&text), @r#"
        tasking.yaml:14:5: tasks[0].priority: this key stands twice (it stands first in line 13; keep one of them)
        tasking.yaml:17:7: tasks[0].limits.timeout: this key stands twice (it stands first in line 16; keep one of them)
        tasking.yaml:18:5: tasks[0].id: this key stands twice (it stands first in line 7; keep one of them)
    "#);
}

#[test]
fn text_numbers_and_nothing_are_told_apart() {
    insta::assert_snapshot!(
        settings("docker:\ndirs: a\ncpus: \"2\"\npids: 70000\nquiet: yes\nenv: {A: 1, B: true}\ntimeout: 5\n"),
        @r#"
        cloud-code.yaml:1:7: docker: expected a map of keys, found nothing (write `{}`, or remove the key)
        cloud-code.yaml:2:7: dirs: expected a list, found the text `a` (write it as a list, in `[` and `]`)
        cloud-code.yaml:3:7: cpus: expected a number, found the text `2` (remove the quotes)
        cloud-code.yaml:4:7: pids: expected a whole number from 0 to 65535, found the number `70000`
        cloud-code.yaml:5:8: quiet: expected `true` or `false`, found the text `yes` (write `true`)
        cloud-code.yaml:6:10: env.A: expected text, found the number `1` (put it in quotes, or add its unit, as in `15m`)
        cloud-code.yaml:6:16: env.B: expected text, found `true` (put it in quotes)
        cloud-code.yaml:7:10: timeout: expected text, found the number `5` (put it in quotes, or add its unit, as in `15m`)
    "#
    );
    insta::assert_snapshot!(settings("docker: {host: {}}\ndirs: [a, 1, [b]]\npids: 1.5\n"), @r#"
        cloud-code.yaml:1:16: docker.host: expected text, found a map of keys
        cloud-code.yaml:2:11: dirs[1]: expected text, found the number `1` (put it in quotes, or add its unit, as in `15m`)
        cloud-code.yaml:2:14: dirs[2]: expected text, found a list
        cloud-code.yaml:3:7: pids: expected a whole number from 0 to 65535, found the number `1.5`
    "#);
}

#[test]
fn settings_may_be_empty_and_refuse_unknown_keys() {
    for text in ["", "\n", "# all defaults\n", "---\n", "{}", "\u{feff}", "\u{feff}# bom\n"] {
        assert_eq!(parse_strict::<Settings>("s", text), Ok(Settings::default()), "{text:?}");
    }
    insta::assert_snapshot!(settings("docker: {image-prefix: x}\nquite: true\ncolour: red\n"), @r#"
        cloud-code.yaml:1:10: docker.image-prefix: unknown key `image-prefix` (did you mean `image_prefix`?)
        cloud-code.yaml:2:1: quite: unknown key `quite` (did you mean `quiet`?)
        cloud-code.yaml:3:1: colour: unknown key `colour` (known keys: `docker`, `dirs`, `cpus`, `pids`, `quiet`, `env`, `timeout`)
    "#);
    insta::assert_snapshot!(settings("docker: &d {hots: x}\n? [a, b]\n: c\n"), @r#"
        cloud-code.yaml:2:3: a key must be a word, not a list or a map (put text that starts with `{` or `[` in quotes)
    "#);
    insta::assert_snapshot!(settings("env: !secret {A: b}\n"), @r#"
        cloud-code.yaml:1:6: env: the tag `!secret` means nothing here (remove it, or put text that starts with `!` in quotes)
    "#);
}

#[test]
fn the_first_byte_order_mark_is_no_text() {
    parse_tasking("tasking.yaml", &format!("\u{feff}{}", with(""))).unwrap();
    insta::assert_snapshot!(tasking(&format!("\u{feff}{}", with("zzz: 1")).replace("version: 1", "version: 3")), @r#"
        tasking.yaml:1:10: version: protocol version 3 is not known here (this program reads version 1; use one of the same release)
    "#);
}

#[test]
fn nul_is_refused_where_it_stands() {
    insta::assert_snapshot!(tasking(&with("model: \"a\\0b\"\nverify: [\"x\\0\"]")), @r#"
        tasking.yaml:13:12: tasks[0].model: text may not contain the character NUL
        tasking.yaml:14:14: tasks[0].verify[0]: text may not contain the character NUL
    "#);
    insta::assert_snapshot!(settings("env: {\"A\\0\": b}\n"), @r#"
        cloud-code.yaml:1:7: env: a key may not contain the character NUL
    "#);
}

#[test]
fn aliases_are_allowed_and_their_growth_is_not() {
    let text = with("verify: &v [make test]\nacceptance_criteria: *v");
    let good = parse_tasking("tasking.yaml", &text).unwrap();
    assert_eq!(good.tasks[0].acceptance_criteria, ["make test"]);

    let mut bomb = String::from("version: 1\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    insta::assert_snapshot!(tasking(&bomb), @r#"
        tasking.yaml:6:50: a4[8]: aliases add more than 262144 bytes to the document (write the values out)
    "#);
    insta::assert_snapshot!(settings("dirs: &a [b, *a]\n"), @r#"
        cloud-code.yaml:1:14: dirs[1]: this alias stands inside the value that it names
    "#);
    insta::assert_snapshot!(settings(&format!("dirs: {}{}\n", "[".repeat(80), "]".repeat(80))), @r#"
        cloud-code.yaml:1:70: dirs[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]…: nested more than 64 levels deep
    "#);
}

#[test]
fn the_rules_between_keys_name_their_places() {
    let second = TASK.trim_start_matches('\n');
    let text = format!("{}{second}    continues: T3\n{second}    continues: T3\n", with("continues: T1"));
    let text = text.replacen("- id: T1", "- id: T0", 1).replace("generation: 3", "generation: 0");
    insta::assert_snapshot!(tasking(&text), @r#"
        tasking.yaml:2:13: generation: must be at least 1
        tasking.yaml:13:16: tasks[0].continues: `T1` comes later, as `tasks[1]` (name an earlier task)
        tasking.yaml:20:16: tasks[1].continues: `T3` is not in the list (name an earlier task)
        tasking.yaml:21:9: tasks[2].id: `T1` is already the id of `tasks[1]` (an id is used once and never again)
        tasking.yaml:27:16: tasks[2].continues: `T3` is not in the list (name an earlier task)
    "#);

    let three = format!(
        "{}{}    continues: T3\n{}",
        with(""),
        second.replace("T1", "T2"),
        second.replace("T1", "T3")
    );
    insta::assert_snapshot!(tasking(&three), @r#"
        tasking.yaml:20:16: tasks[1].continues: `T3` comes later, as `tasks[2]` (name an earlier task)
    "#);
}

#[test]
fn the_bounds_of_a_task_name_their_places() {
    let text = with(
        "\
verify_rounds: 11
limits:
  max_turns: 10001
verify: [make, \" \"]
context:
  related_files: [src/a.rs, /etc/passwd, a/../../b, \"\"]
commit:
  author_name: Eve <eve@example.org>
  author_email: \"a\\nb\"",
    );
    let text = text.replace("title: Login fails", "title: \"two\\nlines\"").replace("acme/shop#42", "\" \"");
    insta::assert_snapshot!(tasking(&text), @r#"
        tasking.yaml:4:12: workspace: is empty (write one line)
        tasking.yaml:9:12: tasks[0].title: has a line break or another control character (write one line)
        tasking.yaml:13:20: tasks[0].verify_rounds: must be from 0 to 10, not 11
        tasking.yaml:15:18: tasks[0].limits.max_turns: must be from 1 to 10000, not 10001 (leave it out for no limit)
        tasking.yaml:16:20: tasks[0].verify[1]: is empty (an empty command always succeeds; remove it)
        tasking.yaml:18:33: tasks[0].context.related_files[1]: `/etc/passwd` is not a relative path (write it as seen from the repository's root)
        tasking.yaml:18:46: tasks[0].context.related_files[2]: `a/../../b` leads out through `..` (write it as seen from the repository's root)
        tasking.yaml:18:57: tasks[0].context.related_files[3]: `` is not a relative path (write it as seen from the repository's root)
        tasking.yaml:20:20: tasks[0].commit.author_name: `Eve <eve@example.org>` has `<`, `>` or a line break in it (git writes an author as `name <email>`)
        tasking.yaml:21:21: tasks[0].commit.author_email: `a\nb` has `<`, `>` or a line break in it (git writes an author as `name <email>`)
    "#);
    insta::assert_snapshot!(tasking(&with("model: -x\nlimits: {max_cost_usd: 0}")), @r#"
        tasking.yaml:13:12: tasks[0].model: `-x` begins with `-` (a CLI would take it for an option)
        tasking.yaml:14:28: tasks[0].limits.max_cost_usd: must be greater than 0 (leave it out for no limit)
    "#);
    insta::assert_snapshot!(tasking(&with("limits: {max_turns: 0}\ncommit: {author_name: \"...\"}")), @r#"
        tasking.yaml:13:25: tasks[0].limits.max_turns: must be from 1 to 10000, not 0 (leave it out for no limit)
        tasking.yaml:14:27: tasks[0].commit.author_name: is empty (git makes no commit without a name and an address)
    "#);
}

#[test]
fn a_thousand_tasks_are_the_limit() {
    let list = |count: usize| {
        let task = |n: usize| TASK.trim_start_matches('\n').replace("T1", &format!("T{n}"));
        format!("{HEAD}{}", (0..count).map(task).collect::<String>())
    };
    assert_eq!(parse_tasking("t", &list(1000)).map(|good: Tasking| good.tasks.len()), Ok(1000));
    insta::assert_snapshot!(tasking(&list(1001)), @r#"
        tasking.yaml:7:3: tasks: has 1001 tasks, more than 1000 (close the issue's workspace and begin another)
    "#);
}

#[test]
fn a_manifest_is_held_to_its_rules() {
    insta::assert_snapshot!(manifest("name: x\ncommand: []\n"), @r#"
        cli.yaml:2:10: command: is empty (name the program, then its arguments)
    "#);
    let text = "\
name: my-cli
command: [\"\", \"{prompt}\"]
prompt: argv
model: [--model, \"{modle}\"]
";
    insta::assert_snapshot!(manifest(text), @r#"
        cli.yaml:3:9: prompt: `argv` is not one of `stdin`, `argument`, `file`
    "#);
    let text = "\
name: my-cli
command: [\"\", \"{prompt}\", '{\"a\": 1}', \"${HOME}\"]
model: [--model, \"{modle}\"]
plan: [\"x{model}y{session}\"]
env: {1A: x, B-C: y, OK_1: z}
credentials: [A B]
base_url_env: \"\"
home_files: [/etc/passwd, ../x, .ok/auth.json]
";
    insta::assert_snapshot!(manifest(text), @r#"
        cli.yaml:2:11: command[0]: is empty (name the program)
        cli.yaml:2:15: command[1]: unknown placeholder `{prompt}` (known are `{model}`, `{session_id}`, `{max_turns}`, `{max_cost_usd}`, `{base_url}`)
        cli.yaml:3:18: model[1]: unknown placeholder `{modle}` (did you mean `{model}`?)
        cli.yaml:4:8: plan[0]: `{model}` has no value here (it is replaced in the list `model` only)
        cli.yaml:4:8: plan[0]: unknown placeholder `{session}` (did you mean `{session_id}`?)
        cli.yaml:5:11: env.1A: `1A` is not the name of a variable (use letters, digits and `_`, not starting with a digit)
        cli.yaml:5:19: env.B-C: `B-C` is not the name of a variable (use letters, digits and `_`, not starting with a digit)
        cli.yaml:6:15: credentials[0]: `A B` is not the name of a variable (use letters, digits and `_`, not starting with a digit)
        cli.yaml:7:15: base_url_env: `` is not the name of a variable (use letters, digits and `_`, not starting with a digit)
        cli.yaml:8:14: home_files[0]: `/etc/passwd` is not a relative path (write it as seen from HOME)
        cli.yaml:8:27: home_files[1]: `../x` leads out through `..` (write it as seen from HOME)
    "#);
    insta::assert_snapshot!(manifest("name: x\ncomand: [x]\noutput: claude-stream\n"), @r#"
        cli.yaml:2:1: comand: unknown key `comand` (did you mean `command`?)
        cli.yaml:3:9: output: `claude-stream` is not one of `claude-stream-json`, `codex-jsonl`, `gemini-stream-json`, `opencode-json`, `qwen-stream-json`, `copilot-json`, `cline-json`, `goose-stream-json`, `aider-text`, `text`
    "#);
}

#[test]
fn reports_tolerate_newer_keys_and_nul_but_no_wrong_values() {
    let text = "\
version: 1
observed_generation: 3
updated_at: 2026-11-20T10:07:12Z
heartbeat_at: 2026-11-20T10:07:12Z
agent: {version: 0.1.0, instance: i, cli: codex, started_at: 2026-11-20T10:00:01Z, mood: good}
status: working
tasks:
  T1: {status: completed, attempt: 1, summary: \"a\\0b\", new_key: [1, {x: y}]}
";
    let report = parse_reporting("reporting.yaml", text).unwrap();
    assert_eq!(report.tasks.values().next().and_then(|task| task.summary.as_deref()), Some("a\u{fffd}b"));

    let text = text
        .replace("completed", "done")
        .replace("attempt: 1", "attempt: one")
        .replace("status: working", "status: workng\n'tasks ': {}")
        .replace("T1:", "\"T 1\":");
    insta::assert_snapshot!(problems(parse_reporting("reporting.yaml", &text)), @r#"
        reporting.yaml:6:9: status: `workng` is not one of `idle`, `working`, `stopping`, `error` (did you mean `working`?)
        reporting.yaml:9:3: tasks["T 1"]: `T 1` is not a task id: use 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter, digit or `_`
    "#);
}

#[test]
fn an_event_line_names_its_key() {
    let event = |text: &str| problems(parse_event("events.jsonl", 17, text));
    insta::assert_snapshot!(event(r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "message""#), @r#"
        events.jsonl:17:58: EOF while parsing an object
    "#);
    insta::assert_snapshot!(event(r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "message"}"#), @r#"
        events.jsonl:17:1: text: the required key `text` is missing
    "#);
    insta::assert_snapshot!(event(r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "message", "text": 5}"#), @r#"
        events.jsonl:17:69: text: expected a string, found the number 5
    "#);
    insta::assert_snapshot!(event(r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "coffee"}"#), @r#"
        events.jsonl:17:50: type: `coffee` is not known here: use one of `agent_started`, `task_received`, `cli_started`, `message`, `thinking`, `tool_use`, `tool_result`, `file_changed`, `usage`, `verify`, `question`, `warning`, `cli_exited`, `committed`, `task_ended`, `lo…
    "#);
    insta::assert_snapshot!(event(r#"{"seq": 1, "at": "now", "type": "message", "text": "a"}"#), @r#"
        events.jsonl:17:18: at: expected four digit year (or leading sign for six digit year), but found end of input (write the time as `2026-11-20T10:00:00Z`)
    "#);
    insta::assert_snapshot!(event(r#"{"seq": "1", "at": "2026-11-20T10:00:00Z", "type": "message", "text": "a"}"#), @r#"
        events.jsonl:17:9: seq: expected a whole number, found the text `1` (remove the quotes)
    "#);
    insta::assert_snapshot!(
        event(r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "usage", "usage": {"turns": 1, "cost_usd": -2}}"#),
        @r#"
        events.jsonl:17:93: usage.cost_usd: `-2` is not an amount of USD: use a number from 0 to 1000000
    "#
    );
    insta::assert_snapshot!(event("[]"), @r#"
        events.jsonl:17:1: expected a map of keys, found a list
    "#);
    insta::assert_snapshot!(event(""), @r#"
        events.jsonl:17:1: EOF while parsing a value
    "#);
    parse_event("e", 1, r#"{"seq": 1, "at": "2026-11-20T10:00:00Z", "type": "message", "text": "\ud83d\ude00\u0000", "x": 1}"#)
        .unwrap();
}

#[test]
fn what_a_stranger_wrote_reaches_no_terminal_unescaped() {
    let said = tasking(&with("\"\\e[2J\\u202E\": 1\nmodel: [\"\\e[31m\"]\npriority: \"\\e]0;x\\a\""));
    insta::assert_snapshot!(said, @r#"
        tasking.yaml:13:5: tasks[0]["\u{1b}[2J\u{202e}"]: unknown key `\u{1b}[2J\u{202e}` (known keys: `id`, `status`, `attempt`, `title`, `mode`, `description`, `acceptance_criteria`, `context`, `continues`, `handoff`, `requested_by`, `priority`, `branch`, `base`, `model`, `limits`, `verify`, `verify_rounds`, `commit`)
        tasking.yaml:14:12: tasks[0].model: expected text, found a list
        tasking.yaml:15:15: tasks[0].priority: `\u{1b}]0;x\u{7}` is not one of `critical`, `high`, `medium`, `low`
    "#);
    let long = tasking(&with(&format!("priority: {}", "a".repeat(5000))));
    assert!(long.len() < 400, "{long}");
    let long = tasking(&with(&format!("{}: 1", "a".repeat(900))));
    assert!(long.len() < 1000, "{long}");
}

/// NEL, LS and PS are line ends to an old reader and text to a new one: what is written must mean the same to both.
#[test]
fn odd_characters_are_written_so_that_every_reader_agrees() {
    for odd in
        ['\u{85}', '\u{2028}', '\u{2029}', '\u{7f}', '\u{9b}', '\u{feff}', '\u{ffff}', '\t', '\u{1f600}']
    {
        let text = format!("a{odd}b \u{2028} c");
        let written =
            cloud_code_task_schema::to_yaml(&std::collections::BTreeMap::from([("k", &text)])).unwrap();
        let old: std::collections::BTreeMap<String, String> = serde_yaml::from_str(&written).unwrap();
        let new: std::collections::BTreeMap<String, String> =
            cloud_code_task_schema::parse_strict("k.yaml", &written).unwrap();
        assert_eq!((old["k"].as_str(), new["k"].as_str()), (text.as_str(), text.as_str()), "{odd:?}");
    }
}
