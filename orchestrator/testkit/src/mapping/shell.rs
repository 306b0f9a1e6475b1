//! Texts for a shell, and for the JavaScript tool that stands in for one.

use serde_json::Value;

use super::{COMMAND_YIELD_MS, SCRIPT_YIELD_MS};

/// JSON strings are JavaScript strings.
pub(super) fn javascript_command(command: &str) -> String {
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

pub(super) fn javascript_patch(patch: &str) -> String {
    format!("text(await tools.apply_patch({}));\n", Value::from(patch))
}

pub(super) fn shell_read(path: &str) -> String {
    format!("cat -- {}", quoted(path))
}

/// Writes a file from a shell. A here-document always ends with a newline, so a content that does not is printed.
pub(super) fn shell_write(path: &str, content: &str) -> String {
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
pub(super) fn heredoc_mark(text: &str) -> String {
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
