use super::*;

fn offered(list: &[(&str, Option<&str>, ToolInput)]) -> Vec<OfferedTool> {
    list.iter()
        .map(|(name, namespace, input)| OfferedTool {
            name: (*name).to_owned(),
            namespace: namespace.map(str::to_owned),
            input: *input,
            keys: Vec::new(),
            required: Vec::new(),
        })
        .collect()
}

fn claude() -> Vec<OfferedTool> {
    offered(&["Bash", "Edit", "Read", "Write"].map(|name| (name, None, ToolInput::Json)))
}

fn codex_default() -> Vec<OfferedTool> {
    offered(&[("exec", Some("functions"), ToolInput::Text), ("wait", Some("functions"), ToolInput::Json)])
}

fn codex_other() -> Vec<OfferedTool> {
    offered(&[("exec_command", None, ToolInput::Json), ("write_stdin", None, ToolInput::Json)])
}

fn shown(action: &Action) -> String {
    [("claude", claude()), ("codex, default model", codex_default()), ("codex, other model", codex_other())]
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
    let action = Action::Write { path: "a b.txt".to_owned(), content: "it's one".to_owned() };
    let calls = calls(&action, &codex_other(), None).expect("a shell");
    assert_eq!(
        calls[0].input,
        CallInput::Json(json!({ "cmd": r"printf '%s' 'it'\''s one' > 'a b.txt'", "yield_time_ms": 30000 }))
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
    let calls = calls(&action, &codex_default(), None).expect("raw");
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
    let tools = offered(&[("Read", None, ToolInput::Json), ("WebFetch", None, ToolInput::Json)]);
    let error = calls(&Action::Run { command: "ls".to_owned() }, &tools, None).expect_err("no shell");
    assert_eq!(
        error.to_string(),
        "the script wants to run a command, and the request offers no tool for it: Read, WebFetch"
    );
}
