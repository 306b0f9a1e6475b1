//! From what a script wants done to the tool calls that a real CLI offers for it.
//!
//! This is the one place that knows tools by name. It goes by the request's own list of tools, not by the CLI's
//! name: the same CLI offers other tools with another model (codex drives everything through one JavaScript tool
//! with its default model, and through `exec_command` with one it does not know).

use serde_json::{Value, json};

use crate::conversation::{OfferedTool, ToolInput};
use crate::script::Action;

mod patch;
mod shell;

use patch::{Newlines, add_file, update_file};
use shell::{heredoc_mark, javascript_command, javascript_patch, shell_read, shell_write};

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

impl NoTool {
    /// `wanted` completes "wants to", `offered` says what there is instead.
    pub(crate) fn new(wanted: &str, offered: &str) -> Self {
        Self { wanted: wanted.to_owned(), offered: offered.to_owned() }
    }
}

/// How a shell tool takes its command.
#[derive(Clone, Copy)]
enum Shell {
    /// `{"command": "…"}`
    Command,
    /// `{"cmd": "…"}`
    Cmd,
    /// `{"commands": ["…"]}`
    Commands,
}

/// Shell tools by name, the more usual first.
const SHELLS: &[(&str, Shell)] = &[
    ("Bash", Shell::Command),
    ("exec_command", Shell::Cmd),
    ("shell_command", Shell::Command),
    ("shell", Shell::Command),
    ("bash", Shell::Command),
    ("run_shell_command", Shell::Command),
    ("run_commands", Shell::Commands),
];

/// How long a shell tool is told to wait for its command where it takes such a key, in the key's unit. Ten minutes is the
/// most that some take; by default they give up after half a minute or two.
const SHELL_PATIENCE: &[(&str, u64)] = &[("timeout", 600_000), ("timeout_secs", 600), ("initial_wait", 600)];

/// A tool that writes a whole file, with its keys.
struct Writer {
    tool: &'static str,
    path: &'static str,
    content: &'static str,
    folders: Folders,
}

/// What a tool does about folders that are not there.
#[derive(PartialEq, Eq)]
enum Folders {
    Made,
    /// It fails, so a file in a folder goes through the shell.
    Missed,
}

/// File tools by name, and by their keys where two CLIs use one name.
const WRITERS: &[Writer] = &[
    Writer { tool: "Write", path: "file_path", content: "content", folders: Folders::Made },
    Writer { tool: "write_file", path: "file_path", content: "content", folders: Folders::Made },
    Writer { tool: "write", path: "filePath", content: "content", folders: Folders::Made },
    Writer { tool: "write", path: "path", content: "content", folders: Folders::Made },
    Writer { tool: "create", path: "path", content: "file_text", folders: Folders::Missed },
    Writer { tool: "editor", path: "path", content: "new_text", folders: Folders::Made },
];

/// A tool that replaces a text in a file, with its keys.
struct Editor {
    tool: &'static str,
    path: &'static str,
    old: &'static str,
    new: &'static str,
    /// The tool that must have read the file before, in the same answer or an earlier one.
    reader: Option<&'static str>,
}

const EDITORS: &[Editor] = &[
    Editor { tool: "Edit", path: "file_path", old: "old_string", new: "new_string", reader: Some("Read") },
    Editor { tool: "replace", path: "file_path", old: "old_string", new: "new_string", reader: None },
    Editor {
        tool: "edit",
        path: "file_path",
        old: "old_string",
        new: "new_string",
        reader: Some("read_file"),
    },
    Editor { tool: "edit", path: "filePath", old: "oldString", new: "newString", reader: None },
    Editor { tool: "edit", path: "path", old: "before", new: "after", reader: None },
    Editor { tool: "edit", path: "path", old: "old_str", new: "new_str", reader: None },
    Editor { tool: "editor", path: "path", old: "old_text", new: "new_text", reader: None },
];

/// Tools that show a file, with the key of its path.
const READERS: &[(&str, &str)] =
    &[("Read", "file_path"), ("read_file", "file_path"), ("read", "filePath"), ("view", "path")];

/// What a tool may demand beside what it works on: it is shown to a person.
const REMARKS: &[(&str, &str)] =
    &[("description", "As the script says"), ("instruction", "Change the text as the script says")];

/// The tool calls of one answer, in order.
pub(crate) fn calls(
    action: &Action,
    offered: &[OfferedTool],
    working_directory: Option<&str>,
) -> Result<Vec<ToolCall>, NoTool> {
    let tools = Tools { offered, working_directory };
    match action {
        Action::Run { command } => tools.run(command).ok_or_else(|| tools.lacking("run a command")),
        Action::Read { path } => tools.read(path).ok_or_else(|| tools.lacking(&format!("read {path}"))),
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
    /// A call of the tool of that name which takes these keys.
    fn json(&self, name: &str, input: Value) -> Option<ToolCall> {
        let fits = |tool: &&OfferedTool| {
            let keys = input.as_object().into_iter().flatten();
            tool.keys.is_empty() || keys.map(|(key, _)| key).all(|key| tool.keys.contains(key))
        };
        let tool = self
            .offered
            .iter()
            .filter(|tool| tool.name == name && tool.input == ToolInput::Json)
            .find(fits)?;
        let mut input = input.clone();
        for (key, remark) in REMARKS {
            if tool.required.iter().any(|required| required == key) && input.get(key).is_none() {
                input[*key] = Value::from(*remark);
            }
        }
        Some(call(tool, CallInput::Json(input)))
    }

    fn text(&self, name: &str, input: String) -> Option<ToolCall> {
        let found = self.offered.iter().find(|tool| tool.name == name && tool.input == ToolInput::Text);
        found.map(|tool| call(tool, CallInput::Text(input)))
    }

    fn run(&self, command: &str) -> Option<Vec<ToolCall>> {
        self.shell(command).or_else(|| self.text("exec", javascript_command(command))).map(|call| vec![call])
    }

    fn shell(&self, command: &str) -> Option<ToolCall> {
        SHELLS.iter().find_map(|(name, shell)| {
            let tool = self.offered.iter().find(|tool| tool.name == *name)?;
            let is_key_of = |key: &str, keys: &[String]| keys.iter().any(|known| known == key);
            let mut input = match shell {
                Shell::Command if is_key_of("command", &tool.lists) => {
                    json!({ "command": ["bash", "-lc", command] })
                }
                Shell::Command => json!({ "command": command }),
                Shell::Cmd => json!({ "cmd": command, "yield_time_ms": COMMAND_YIELD_MS }),
                Shell::Commands => json!({ "commands": [command] }),
            };
            for (key, wait) in SHELL_PATIENCE.iter().filter(|(key, _)| is_key_of(key, &tool.keys)) {
                input[*key] = Value::from(*wait);
            }
            self.json(name, input)
        })
    }

    /// Where no tool shows a file, the shell does.
    fn read(&self, path: &str) -> Option<Vec<ToolCall>> {
        let file = self.absolute(path);
        let one = || READERS.iter().find_map(|(tool, key)| self.json(tool, json!({ *key: file })));
        let several = || self.json("read_files", json!({ "files": [{ "path": file }] }));
        one().or_else(several).map(|call| vec![call]).or_else(|| self.run(&shell_read(path)))
    }

    fn write(&self, path: &str, content: &str) -> Option<Vec<ToolCall>> {
        let file = self.absolute(path);
        let write =
            |writer: &Writer| self.json(writer.tool, json!({ writer.path: file, writer.content: content }));
        let fits = |writer: &&Writer| writer.folders == Folders::Made || !path.contains('/');
        if let Some(write) = WRITERS.iter().filter(fits).find_map(write) {
            return Some(vec![write]);
        }
        let patched = add_file(path, content, self.newlines()).and_then(|patch| self.patch(&patch));
        patched.or_else(|| self.run(&shell_write(path, content)))
    }

    /// The tool that takes a patch in a JSON object is cline's, the others are codex's or follow it.
    fn newlines(&self) -> Newlines {
        let wrapped = |tool: &OfferedTool| tool.name == "apply_patch" && tool.input == ToolInput::Json;
        if self.offered.iter().any(wrapped) { Newlines::Between } else { Newlines::After }
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> Option<Vec<ToolCall>> {
        let file = self.absolute(path);
        let (from, to) = (old.trim_end_matches('\n'), new.trim_end_matches('\n'));
        let edit = |editor: &Editor| {
            let edit =
                self.json(editor.tool, json!({ editor.path: file, editor.old: from, editor.new: to }))?;
            let read = editor.reader.and_then(|reader| self.json(reader, json!({ editor.path: file })));
            Some(read.into_iter().chain([edit]).collect())
        };
        if let Some(calls) = EDITORS.iter().find_map(edit) {
            return Some(calls);
        }
        self.patch(&update_file(path, old, new))
    }

    /// A patch in codex's format, through whichever way the request offers.
    fn patch(&self, patch: &str) -> Option<Vec<ToolCall>> {
        let wrapped = || self.json("apply_patch", json!({ "input": patch }));
        let direct = self.text("apply_patch", patch.to_owned()).or_else(wrapped);
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

#[cfg(test)]
mod tests;
