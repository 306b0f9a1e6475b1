//! From what a script wants done to the tool calls that a real CLI offers for it.
//!
//! This is the one place that knows tools by name. It goes by the request's own list of tools, not by the CLI's
//! name: the same CLI offers other tools with another model (codex drives everything through one JavaScript tool
//! with its default model, and through `exec_command` with one it does not know).

use serde_json::{Value, json};

use crate::conversation::{OfferedTool, ToolInput};
use crate::script::Action;

/// How long codex lets a command run before it hands control back to the model, in milliseconds. The most that
/// `exec_command` takes; a script's command that runs longer is polled for by the JavaScript form only.
const COMMAND_YIELD_MS: u64 = 30_000;

/// The same for the JavaScript tool as a whole: long enough for a test suite, short enough to end.
const SCRIPT_YIELD_MS: u64 = 600_000;

/// A tool call as it goes into an answer; the wire module gives it an id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) input: CallInput,
}

/// What the call carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallInput {
    Json(Value),
    Text(String),
}

/// No offered tool can do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the script wants to {wanted}, and the request offers no tool for it: {offered}")]
pub(crate) struct NoTool {
    wanted: String,
    offered: String,
}

/// How a shell tool takes its command.
#[derive(Clone, Copy)]
enum Shell {
    /// `{"command": "…"}`
    Command,
    /// `{"cmd": "…"}`
    Cmd,
    /// `{"command": ["bash", "-lc", "…"]}`
    Argv,
}

/// Shell tools by name, the more usual first.
const SHELLS: &[(&str, Shell)] = &[
    ("Bash", Shell::Command),
    ("exec_command", Shell::Cmd),
    ("shell_command", Shell::Command),
    ("shell", Shell::Argv),
    ("bash", Shell::Command),
    ("run_shell_command", Shell::Command),
];

/// The tool calls of one answer, in order.
pub(crate) fn calls(
    action: &Action,
    offered: &[OfferedTool],
    working_directory: Option<&str>,
) -> Result<Vec<ToolCall>, NoTool> {
    let tools = Tools { offered, working_directory };
    match action {
        Action::Run { command } => tools.run(command).ok_or_else(|| tools.lacking("run a command")),
        Action::Write { path, content } => {
            tools.write(path, content).ok_or_else(|| tools.lacking(&format!("write {path}")))
        }
        Action::Edit { path, old, new } => {
            tools.edit(path, old, new).ok_or_else(|| tools.lacking(&format!("edit {path}")))
        }
        Action::Tool { name, input } => Ok(vec![tools.raw(name, input)]),
    }
}

struct Tools<'a> {
    offered: &'a [OfferedTool],
    working_directory: Option<&'a str>,
}

impl Tools<'_> {
    fn find(&self, name: &str, input: ToolInput) -> Option<&OfferedTool> {
        self.offered.iter().find(|tool| tool.name == name && tool.input == input)
    }

    fn json(&self, name: &str, input: Value) -> Option<ToolCall> {
        self.find(name, ToolInput::Json).map(|tool| call(tool, CallInput::Json(input)))
    }

    fn text(&self, name: &str, input: String) -> Option<ToolCall> {
        self.find(name, ToolInput::Text).map(|tool| call(tool, CallInput::Text(input)))
    }

    fn run(&self, command: &str) -> Option<Vec<ToolCall>> {
        self.shell(command).or_else(|| self.text("exec", javascript_command(command))).map(|call| vec![call])
    }

    fn shell(&self, command: &str) -> Option<ToolCall> {
        SHELLS.iter().find_map(|(name, shell)| {
            let input = match shell {
                Shell::Command => json!({ "command": command }),
                Shell::Cmd => json!({ "cmd": command, "yield_time_ms": COMMAND_YIELD_MS }),
                Shell::Argv => json!({ "command": ["bash", "-lc", command] }),
            };
            self.json(name, input)
        })
    }

    fn write(&self, path: &str, content: &str) -> Option<Vec<ToolCall>> {
        let file = self.absolute(path);
        if let Some(write) = self.json("Write", json!({ "file_path": file, "content": content })) {
            return Some(vec![write]);
        }
        // A patch cannot add a file without a last newline, so such a content goes through the shell.
        let patched = content.ends_with('\n').then(|| self.patch(&add_file(path, content))).flatten();
        patched.or_else(|| self.run(&shell_write(path, content)))
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> Option<Vec<ToolCall>> {
        let file = self.absolute(path);
        let edit = json!({ "file_path": file, "old_string": old.trim_end_matches('\n'), "new_string": new.trim_end_matches('\n') });
        if let Some(edit) = self.json("Edit", edit) {
            // The tool refuses a file that was not read before, in the same answer or an earlier one.
            let read = self.json("Read", json!({ "file_path": file }));
            return Some(read.into_iter().chain([edit]).collect());
        }
        self.patch(&update_file(path, old, new))
    }

    /// A patch in codex's format, through whichever way the request offers.
    fn patch(&self, patch: &str) -> Option<Vec<ToolCall>> {
        let direct = self.text("apply_patch", patch.to_owned());
        let script = || self.text("exec", javascript_patch(patch));
        // codex puts a program of that name on its commands' PATH, and reads such a command as a patch.
        let command = || {
            let mark = heredoc_mark(patch);
            let command = format!("apply_patch <<'{mark}'\n{patch}\n{mark}\n");
            self.json("exec_command", json!({ "cmd": command, "yield_time_ms": COMMAND_YIELD_MS }))
        };
        direct.or_else(script).or_else(command).map(|call| vec![call])
    }

    /// Of a tool that is not offered the script's author knows more than the request does.
    fn raw(&self, name: &str, input: &Value) -> ToolCall {
        let namespace =
            self.offered.iter().find(|tool| tool.name == name).and_then(|tool| tool.namespace.clone());
        let input = match input {
            Value::String(text) => CallInput::Text(text.clone()),
            Value::Null => CallInput::Json(json!({})),
            other => CallInput::Json(other.clone()),
        };
        ToolCall { name: name.to_owned(), namespace, input }
    }

    fn absolute(&self, path: &str) -> String {
        match self.working_directory {
            Some(directory) if !path.starts_with('/') => {
                format!("{}/{path}", directory.trim_end_matches('/'))
            }
            _ => path.to_owned(),
        }
    }

    fn lacking(&self, wanted: &str) -> NoTool {
        let names: Vec<&str> = self.offered.iter().map(|tool| tool.name.as_str()).collect();
        let offered = if names.is_empty() { "it offers none".to_owned() } else { names.join(", ") };
        NoTool { wanted: wanted.to_owned(), offered }
    }
}

fn call(tool: &OfferedTool, input: CallInput) -> ToolCall {
    ToolCall { name: tool.name.clone(), namespace: tool.namespace.clone(), input }
}

/// JSON strings are JavaScript strings.
fn javascript_command(command: &str) -> String {
    let command = Value::from(command);
    format!(
        "// @exec: {{\"yield_time_ms\": {SCRIPT_YIELD_MS}}}\n\
         let result = await tools.exec_command({{cmd: {command}, yield_time_ms: {COMMAND_YIELD_MS}}});\n\
         text(result.output);\n\
         while (result.session_id !== undefined && result.session_id !== null) {{\n  \
           result = await tools.write_stdin({{session_id: result.session_id, chars: \"\", \
         yield_time_ms: {COMMAND_YIELD_MS}}});\n  \
           text(result.output);\n}}\n\
         text(`exit code ${{result.exit_code}}`);\n"
    )
}

fn javascript_patch(patch: &str) -> String {
    format!("text(await tools.apply_patch({}));\n", Value::from(patch))
}

fn add_file(path: &str, content: &str) -> String {
    let mut patch = format!("*** Begin Patch\n*** Add File: {path}\n");
    for line in content.lines() {
        patch.push_str(&format!("+{line}\n"));
    }
    patch.push_str("*** End Patch");
    patch
}

fn update_file(path: &str, old: &str, new: &str) -> String {
    let mut patch = format!("*** Begin Patch\n*** Update File: {path}\n@@\n");
    for line in old.lines() {
        patch.push_str(&format!("-{line}\n"));
    }
    for line in new.lines() {
        patch.push_str(&format!("+{line}\n"));
    }
    patch.push_str("*** End Patch");
    patch
}

/// Writes a file from a shell. A here-document always ends with a newline, so a content that does not is printed.
fn shell_write(path: &str, content: &str) -> String {
    let file = quoted(path);
    let folder = path.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| !folder.is_empty());
    let make = folder.map(|folder| format!("mkdir -p {} && ", quoted(folder))).unwrap_or_default();
    if content.ends_with('\n') {
        let mark = heredoc_mark(content);
        format!("{make}cat > {file} <<'{mark}'\n{content}{mark}\n")
    } else {
        format!("{make}printf '%s' {} > {file}", quoted(content))
    }
}

/// A here-document's last line, which no line of the text equals.
fn heredoc_mark(text: &str) -> String {
    let mut mark = "END_OF_FILE".to_owned();
    while text.lines().any(|line| line == mark) {
        mark.push('_');
    }
    mark
}

/// One word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
