//! Changes keys of a settings file and nothing else: comments, order and the person's own keys stay as they are.
//!
//! A YAML library would read the file and write it anew, without its comments. This changes lines of text, which can go
//! wrong in ways that only a YAML reader sees. So the result is read back and compared with what was wanted; where they
//! differ, the file is left alone and the person is told what to write.

use anyhow::{Result, anyhow, bail};
use cloud_code_task_schema::parse_strict;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Columns by which a new level is moved in.
const STEP: usize = 2;

/// One key with its new value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edit {
    /// From the top: one or two names.
    pub(crate) path: Vec<&'static str>,
    /// A text, a number, a list of texts, or a map of texts and numbers.
    pub(crate) value: Value,
}

impl Edit {
    pub(crate) fn new(path: &[&'static str], value: impl Into<Value>) -> Self {
        Self { path: path.to_vec(), value: value.into() }
    }

    /// As a person names it.
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    fn of<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.path.iter().try_fold(document, |at, key| at.get(key))
    }
}

/// What stands in a file now, where an edit wants something else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conflict {
    pub(crate) key: String,
    pub(crate) now: Value,
}

/// The edits that change something, and those among them that would replace what somebody wrote.
pub(crate) fn needed<T: DeserializeOwned + Serialize>(
    file: &str,
    text: &str,
    edits: Vec<Edit>,
) -> Result<(Vec<Edit>, Vec<Conflict>)> {
    let document = read::<T>(file, text)?;
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let mut conflicts = Vec::new();
    let mut wanted = Vec::new();
    for edit in edits {
        match edit.of(&document) {
            Some(now) if *now == edit.value => continue,
            Some(now) if !is_empty(now) => {
                conflicts.push(Conflict { key: edit.name(), now: now.clone() });
            }
            Some(_) | None => {}
        }
        wanted.push(edit);
    }
    Ok((wanted, conflicts))
}

/// The text with the edits made.
pub(crate) fn apply<T: DeserializeOwned + Serialize>(
    file: &str,
    text: &str,
    edits: &[Edit],
) -> Result<String> {
    let mut expected = read::<T>(file, text)?;
    let mut changed = text.to_owned();
    for edit in edits {
        changed = put(&changed, edit).ok_or_else(|| by_hand(file, edits))?;
        set(&mut expected, edit);
    }
    match read::<T>(file, &changed) {
        Ok(found) if found == expected => Ok(changed),
        Ok(_) | Err(_) => bail!(by_hand(file, edits)),
    }
}

fn read<T: DeserializeOwned + Serialize>(file: &str, text: &str) -> Result<Value> {
    let settings: T = parse_strict(file, text).map_err(|problems| anyhow!("{problems}"))?;
    Ok(serde_json::to_value(settings)?)
}

fn set(document: &mut Value, edit: &Edit) {
    let mut at = document;
    for key in &edit.path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry(*key).or_insert(Value::Null);
    }
    *at = edit.value.clone();
}

fn by_hand(file: &str, edits: &[Edit]) -> anyhow::Error {
    let lines: Vec<String> =
        edits.iter().map(|edit| format!("    {}: {}", edit.name(), one_line(&edit.value))).collect();
    anyhow!(
        "{file} is written in a way that cannot be changed without touching the rest of it\n  hint: set these keys there by hand:\n{}",
        lines.join("\n")
    )
}

fn put(text: &str, edit: &Edit) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut()
        && !last.ends_with('\n')
    {
        last.push('\n');
    }
    match edit.path.as_slice() {
        [key] => put_key(&mut lines, 0, None, key, &edit.value),
        [parent, key] => {
            let all = lines.len();
            match find(&lines, 0..all, 0, parent) {
                None => lines.extend(std::iter::once(format!("{parent}:\n")).chain(render(
                    key,
                    &edit.value,
                    STEP,
                ))),
                Some(at) => {
                    open(lines.get_mut(at)?)?;
                    let end = block_end(&lines, at, all, 0);
                    let indent = lines.get(at + 1..end)?.iter().find_map(|line| indent(line)).unwrap_or(STEP);
                    if indent == 0 {
                        return None;
                    }
                    put_key(&mut lines, indent, Some(at + 1..end), key, &edit.value)?;
                }
            }
            Some(())
        }
        _ => None,
    }?;
    Some(lines.concat())
}

fn put_key(
    lines: &mut Vec<String>,
    indent: usize,
    range: Option<std::ops::Range<usize>>,
    key: &str,
    value: &Value,
) -> Option<()> {
    let range = range.unwrap_or(0..lines.len());
    let (from, to) = match find(lines, range.clone(), indent, key) {
        Some(at) => (at, block_end(lines, at, range.end, indent)),
        None => (range.end, range.end),
    };
    let mut new = render(key, value, indent);
    // What a person noted behind a value on one line is still about that key.
    if to == from + 1
        && let (Some(note), [line]) = (lines.get(from).and_then(|line| note(line)), new.as_mut_slice())
    {
        line.truncate(line.trim_end().len());
        line.push_str(&format!(" {note}\n"));
    }
    lines.splice(from..to, new);
    Some(())
}

/// Columns before the text of a line; none where it has no text or only a comment.
fn indent(line: &str) -> Option<usize> {
    let text = line.trim_start_matches(' ');
    let is_text = !text.trim().is_empty() && !text.starts_with('#');
    is_text.then_some(line.len() - text.len())
}

fn find(lines: &[String], range: std::ops::Range<usize>, column: usize, key: &str) -> Option<usize> {
    let is_key = |line: &String| {
        let text = line.get(column..).unwrap_or_default();
        indent(line) == Some(column)
            && text.strip_prefix(key).is_some_and(|rest| {
                rest.strip_prefix(':').is_some_and(|rest| rest.starts_with([' ', '\n', '\r', '\t']))
            })
    };
    let mut in_range = lines.iter().enumerate().take(range.end).skip(range.start);
    in_range.find(|(_, line)| is_key(line)).map(|(at, _)| at)
}

/// The line after the last one of a key's value. Comments that follow it belong to what comes next.
fn block_end(lines: &[String], at: usize, limit: usize, column: usize) -> usize {
    let mut end = at + 1;
    for (number, line) in lines.iter().enumerate().take(limit).skip(at + 1) {
        match indent(line) {
            Some(own) if own > column => end = number + 1,
            // A list may stand in the same column as its key.
            Some(own) if own == column && line.trim_start().starts_with("- ") => end = number + 1,
            Some(_) => break,
            // A comment that is moved in further than the key is about its value.
            None if line.len() - line.trim_start_matches(' ').len() > column && line.contains('#') => {
                end = number + 1;
            }
            None => {}
        }
    }
    end
}

/// Makes a parent's line ready for keys below it; none where it holds a value of another kind.
fn open(line: &mut String) -> Option<()> {
    let (key, rest) = line.split_once(':')?;
    let comment = note(line).map(|note| format!(" {note}")).unwrap_or_default();
    let value = rest.split(" #").next().unwrap_or_default().trim();
    match value {
        "" => {}
        "{}" | "~" | "null" => *line = format!("{key}:{comment}\n"),
        _ => return None,
    }
    Some(())
}

/// A comment at the end of a line.
fn note(line: &str) -> Option<&str> {
    line.find(" #").and_then(|at| line.get(at + 1..)).map(str::trim_end)
}

fn render(key: &str, value: &Value, indent: usize) -> Vec<String> {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(items) => std::iter::once(format!("{pad}{key}:\n"))
            .chain(items.iter().map(|item| format!("{pad}{:STEP$}- {}\n", "", scalar(item))))
            .collect(),
        Value::Object(map) => std::iter::once(format!("{pad}{key}:\n"))
            .chain(by_name(map).flat_map(|(key, value)| render(key, value, indent + STEP)))
            .collect(),
        one => vec![format!("{pad}{key}: {}\n", scalar(one))],
    }
}

/// A map in the order of its names. Its own order depends on how serde_json was built: one crate of a build that asks for
/// the order of insertion gives it to all.
fn by_name(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.iter().collect::<std::collections::BTreeMap<_, _>>().into_iter()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // Every JSON text is a YAML text in double quotes.
        other => other.to_string(),
    }
}

/// Whether YAML reads the bare word as this text. Anything that might be a number, a date or a word with a meaning is
/// quoted instead.
fn is_plain(text: &str) -> bool {
    let starts = text.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '/');
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    let safe = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte));
    starts && safe && !word && !text.ends_with(':')
}

/// A value on one line, for messages.
pub(crate) fn one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let parts: Vec<String> =
                by_name(map).map(|(key, value)| format!("{key}: {}", one_line(value))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        one => scalar(one),
    }
}

#[cfg(test)]
mod tests {
    use cloud_code_model::GlobalSettings;
    use serde_json::json;

    use super::*;

    fn edits() -> Vec<Edit> {
        vec![
            Edit::new(
                &["github", "app"],
                json!({"id": 7, "slug": "acme-agent", "private_key_file": "secrets/github-app.pem"}),
            ),
            Edit::new(&["github", "webhook_secret_files"], json!(["secrets/github-webhook-secret"])),
            Edit::new(&["server", "public_url"], "https://agents.example.com"),
        ]
    }

    fn edited(text: &str) -> Result<String> {
        apply::<GlobalSettings>("cloud-code.yaml", text, &edits())
    }

    const APP: &str =
        "  app:\n    id: 7\n    private_key_file: secrets/github-app.pem\n    slug: acme-agent\n";

    #[test]
    fn an_empty_file_gets_the_keys_and_a_second_time_nothing() {
        let text = edited("").unwrap();
        assert_eq!(
            text,
            format!(
                "github:\n{APP}  webhook_secret_files:\n    - secrets/github-webhook-secret\nserver:\n  public_url: \
                 https://agents.example.com\n"
            )
        );
        let (wanted, conflicts) = needed::<GlobalSettings>("f", &text, edits()).unwrap();
        assert_eq!((wanted, conflicts), (vec![], vec![]));
    }

    #[test]
    fn comments_order_and_foreign_keys_stay() {
        let text = "# our machine\nserver: # the box under the desk\n    # who listens\n    listen: 0.0.0.0:1\n\n\
                    # spend little\ndefaults:\n  cli: codex # the cheap one\n";
        let changed = edited(text).unwrap();
        assert_eq!(
            changed,
            format!(
                "# our machine\nserver: # the box under the desk\n    # who listens\n    listen: 0.0.0.0:1\n    \
                 public_url: https://agents.example.com\n\n# spend little\ndefaults:\n  cli: codex # the cheap one\n\
                 github:\n{APP}  webhook_secret_files:\n    - secrets/github-webhook-secret\n"
            )
        );
    }

    #[test]
    fn a_replaced_value_keeps_its_note_and_its_neighbours() {
        let text = "github:\n  webhook_secret_files:\n  - old\n  # how\n  intake: polling # for now\n  app: {id: 1, slug: a, \
                    private_key_file: b}\nserver:\n  public_url: http://old # soon https";
        let (_, conflicts) = needed::<GlobalSettings>("f", text, edits()).unwrap();
        let keys: Vec<&str> = conflicts.iter().map(|conflict| conflict.key.as_str()).collect();
        assert_eq!(keys, ["github.app", "github.webhook_secret_files", "server.public_url"]);
        assert_eq!(
            edited(text).unwrap(),
            format!(
                "github:\n  webhook_secret_files:\n    - secrets/github-webhook-secret\n  # how\n  intake: polling # for \
                 now\n{APP}server:\n  public_url: https://agents.example.com # soon https\n"
            )
        );
    }

    #[test]
    fn a_file_that_cannot_be_changed_in_place_is_left_alone_and_says_what_to_write() {
        for text in [
            "{server: {listen: x}}",
            "github: {intake: polling}\n",
            "\"github\":\n  intake: polling\n",
            "server: &s\n  listen: x\n",
        ] {
            let told = edited(text).unwrap_err().to_string();
            assert!(told.contains("by hand"), "{text}: {told}");
            assert!(told.contains("server.public_url: https://agents.example.com"), "{told}");
        }
        assert!(edited("no_such_key: 1\n").unwrap_err().to_string().contains("no_such_key"));
    }

    #[test]
    fn whatever_is_written_reads_back_as_it_was_meant() {
        for text in
            ["true", "12", "a: b", "# x", "", " x", "1e3", "a#b", "ü\"\\", "x:", "- a", "*a", "2026-01-01"]
        {
            let edit = [Edit::new(&["defaults", "model"], text)];
            let changed = apply::<GlobalSettings>("f", "docker: {}\n", &edit).unwrap();
            assert!(changed.starts_with("docker: {}\ndefaults:\n  model: "), "{changed}");
        }
    }
}
