use super::*;

/// A tool as its schema describes it: a key with `[]` takes a list, one with `!` must be there.
fn tool(name: &str, keys: &[&str]) -> OfferedTool {
    let plain = |key: &str| key.trim_end_matches(['!', '[', ']']).to_owned();
    let marked = |mark: &str| keys.iter().filter(|key| key.contains(mark)).map(|key| plain(key)).collect();
    OfferedTool {
        name: name.to_owned(),
        namespace: None,
        input: ToolInput::Json,
        keys: keys.iter().map(|key| plain(key)).collect(),
        required: marked("!"),
        lists: marked("[]"),
    }
}

fn free_text(name: &str) -> OfferedTool {
    OfferedTool { input: ToolInput::Text, ..tool(name, &[]) }
}

/// What each CLI offers for files and commands today, as its requests say it.
fn clis() -> Vec<(&'static str, Vec<OfferedTool>)> {
    let in_functions = |tool: OfferedTool| OfferedTool { namespace: Some("functions".to_owned()), ..tool };
    let copilot_bash =
        || tool("bash", &["command!", "description!", "shellId", "mode", "detach", "initial_wait"]);
    vec![
        (
            "claude-code",
            vec![
                tool("Bash", &["command!", "timeout", "description", "run_in_background"]),
                tool("Edit", &["file_path!", "old_string!", "new_string!", "replace_all"]),
                tool("Read", &["file_path!", "offset", "limit", "pages"]),
                tool("Write", &["file_path!", "content!"]),
            ],
        ),
        (
            "codex, default model",
            vec![in_functions(free_text("exec")), in_functions(tool("wait", &["cell_id!"]))],
        ),
        (
            "codex, other model",
            vec![
                tool("exec_command", &["cmd!", "yield_time_ms", "workdir"]),
                tool("write_stdin", &["session_id!"]),
            ],
        ),
        (
            "gemini",
            vec![
                tool(
                    "run_shell_command",
                    &["command!", "description", "dir_path", "is_background", "delay_ms"],
                ),
                tool(
                    "replace",
                    &["file_path!", "instruction!", "old_string!", "new_string!", "allow_multiple"],
                ),
                tool("read_file", &["file_path!", "start_line", "end_line"]),
                tool("write_file", &["file_path!", "content!"]),
            ],
        ),
        (
            "qwen-code",
            vec![
                tool(
                    "run_shell_command",
                    &["command!", "is_background", "timeout", "description", "directory"],
                ),
                tool("edit", &["file_path!", "old_string!", "new_string!", "replace_all"]),
                tool("read_file", &["file_path!", "offset", "limit", "pages"]),
                tool("write_file", &["file_path!", "content!", "record_as_artifact"]),
            ],
        ),
        (
            "opencode",
            vec![
                tool("bash", &["command!", "timeout", "workdir"]),
                tool("edit", &["filePath!", "oldString!", "newString!", "replaceAll"]),
                tool("read", &["filePath!", "offset", "limit"]),
                tool("write", &["content!", "filePath!"]),
            ],
        ),
        (
            "goose",
            vec![
                tool("shell", &["command!", "timeout_secs"]),
                tool("edit", &["path!", "before!", "after!"]),
                tool("write", &["path!", "content!"]),
            ],
        ),
        (
            "copilot, gpt",
            vec![copilot_bash(), tool("view", &["path!", "view_range"]), free_text("apply_patch")],
        ),
        (
            "copilot, other model",
            vec![
                copilot_bash(),
                tool("view", &["path!", "view_range"]),
                tool("create", &["path!", "file_text!"]),
                tool("edit", &["path!", "old_str", "new_str"]),
            ],
        ),
        (
            "cline, gpt",
            vec![
                tool("read_files", &["files![]"]),
                tool("run_commands", &["commands![]"]),
                tool("apply_patch", &["input!"]),
            ],
        ),
        (
            "cline, other model",
            vec![
                tool("read_files", &["files![]"]),
                tool("run_commands", &["commands![]"]),
                tool("editor", &["path!", "old_text", "new_text!", "insert_line"]),
            ],
        ),
    ]
}

fn of(cli: &str) -> Vec<OfferedTool> {
    clis().into_iter().find(|(name, _)| *name == cli).expect("a CLI of that name").1
}

fn shown(action: &Action) -> String {
    clis()
        .iter()
        .map(|(cli, tools)| {
            let calls = calls(action, tools, Some("/workspace")).expect("a tool for it");
            let lines: Vec<String> = calls
                .iter()
                .map(|call| {
                    let input = match &call.input {
                        CallInput::Json(input) => input.to_string(),
                        CallInput::Text(text) => text.clone(),
                    };
                    format!(
                        "{}{}: {input}",
                        call.namespace.as_deref().map_or(String::new(), |n| format!("{n}.")),
                        call.name
                    )
                })
                .collect();
            format!("== {cli}\n{}", lines.join("\n"))
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_command_goes_to_the_shell_that_is_offered() {
    insta::assert_snapshot!(shown(&Action::Run { command: "echo \"it's\" $HOME".to_owned() }));
}

#[test]
fn a_file_is_shown_with_the_tool_for_it_or_the_shell() {
    insta::assert_snapshot!(shown(&Action::Read { path: "src/it's.txt".to_owned() }));
}

#[test]
fn a_file_is_written_with_the_file_tool_or_a_patch() {
    let action = Action::Write { path: "src/a.txt".to_owned(), content: "one\ntwo\n".to_owned() };
    insta::assert_snapshot!(shown(&action));
}

#[test]
fn an_edit_reads_first_or_patches_whole_lines() {
    let action = Action::Edit {
        path: "src/a.txt".to_owned(),
        old: "one\n".to_owned(),
        new: "two\nthree\n".to_owned(),
    };
    insta::assert_snapshot!(shown(&action));
}

#[test]
fn a_content_without_a_last_newline_keeps_it_so() {
    insta::assert_snapshot!(shown(&Action::Write {
        path: "a b.txt".to_owned(),
        content: "it's one".to_owned()
    }));
}

#[test]
fn a_shell_may_take_words_instead_of_a_line() {
    let tools = [tool("shell", &["command![]", "timeout"])];
    let calls = calls(&Action::Run { command: "ls -l".to_owned() }, &tools, None).expect("a shell");
    assert_eq!(
        calls[0].input,
        CallInput::Json(json!({ "command": ["bash", "-lc", "ls -l"], "timeout": 600_000 }))
    );
}

#[test]
fn a_here_document_ends_where_the_text_ends() {
    assert_eq!(
        shell_write("a", "END_OF_FILE\nEND_OF_FILE_\n"),
        "cat > 'a' <<'END_OF_FILE__'\nEND_OF_FILE\nEND_OF_FILE_\nEND_OF_FILE__\n"
    );
}

#[test]
fn a_raw_tool_goes_through_as_it_is() {
    let action = Action::Tool { name: "exec".to_owned(), input: json!("text(1)") };
    let calls = calls(&action, &of("codex, default model"), None).expect("raw");
    assert_eq!(
        calls,
        vec![ToolCall {
            name: "exec".to_owned(),
            namespace: Some("functions".to_owned()),
            input: CallInput::Text("text(1)".to_owned()),
        }]
    );
}

#[test]
fn what_no_tool_can_do_is_refused_with_the_tools_there_are() {
    let tools = [tool("Read", &["file_path!"]), tool("WebFetch", &["url!"])];
    let error = calls(&Action::Run { command: "ls".to_owned() }, &tools, None).expect_err("no shell");
    assert_eq!(
        error.to_string(),
        "the script wants to run a command, and the request offers no tool for it: Read, WebFetch"
    );
}
