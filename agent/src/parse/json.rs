//! Small readings of JSON that others wrote: whatever is missing or of another type reads as empty.

use cloud_code_task_schema::Usd;
use serde_json::Value;

use super::one_line;

/// An object, or nothing.
pub(super) fn object(line: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line).ok().filter(Value::is_object)
}

/// The text at a key, or "".
pub(super) fn text_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a JSON pointer, or "".
pub(super) fn text_in<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a key, when there is one.
pub(super) fn nonempty<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    Some(text_at(value, key)).filter(|text| !text.is_empty())
}

/// The count at a key, when there is one.
pub(super) fn count_at(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}

/// Whether the key holds `true`.
pub(super) fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether the key is missing or null.
pub(super) fn is_absent(value: &Value, key: &str) -> bool {
    value.get(key).is_none_or(Value::is_null)
}

/// The items of the list at a key; none when it is no list.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// An HTTP status at a key.
pub(super) fn status_at(value: &Value, key: &str) -> Option<u16> {
    count_at(value, key).and_then(|status| u16::try_from(status).ok())
}

/// An amount of money at a key. Zero is no figure: CLIs print it for models without a known price.
pub(super) fn cost_at(value: &Value, key: &str) -> Option<Usd> {
    let amount = value.get(key).and_then(Value::as_f64).filter(|amount| *amount > 0.0)?;
    Usd::new(amount).ok()
}

/// Adds what is known.
pub(super) fn add(sum: &mut Option<u64>, count: Option<u64>) {
    if let Some(count) = count {
        *sum = Some(sum.unwrap_or(0).saturating_add(count));
    }
}

/// A few words about a tool's input: the command or the path if there is one, else its first text.
pub(super) fn summarise(input: Option<&Value>) -> String {
    let Some(Value::Object(input)) = input else { return String::new() };
    let known = [
        "command",
        "commands",
        "file_path",
        "filePath",
        "path",
        "pattern",
        "url",
        "query",
        "description",
        "prompt",
    ];
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.first().and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let named = known.iter().find_map(|key| input.get(*key).and_then(text));
    one_line(&named.or_else(|| input.values().find_map(text)).unwrap_or_default())
}

/// The texts of a tool's output, whichever way it is wrapped.
pub(super) fn output_text(output: Option<&Value>) -> String {
    match output {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().map(|part| output_text(Some(part))).collect();
            texts.join("\n")
        }
        Some(part @ Value::Object(_)) => {
            let keys = ["text", "result", "output", "content"];
            keys.iter().find_map(|key| nonempty(part, key)).unwrap_or_default().to_owned()
        }
        _ => String::new(),
    }
}
