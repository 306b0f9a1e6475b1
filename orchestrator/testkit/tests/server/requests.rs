//! A request of each API, with tools as a CLI offers them there.

use serde_json::{Value, json};

pub(crate) fn messages(prompt: &str, stream: bool) -> Value {
    json!({
        "model": "claude-test",
        "max_tokens": 1000,
        "stream": stream,
        "system": [{ "type": "text", "text": "# Environment\n - Primary working directory: /repo\n - Platform: linux" }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": prompt }] }],
        "tools": [{ "name": "Bash" }, { "name": "Read" }, { "name": "Edit" }, { "name": "Write" }],
    })
}

pub(crate) fn responses(prompt: &str, stream: bool) -> Value {
    json!({
        "model": "gpt-test",
        "stream": stream,
        "input": [
            { "type": "additional_tools", "role": "developer", "tools": [
                { "type": "namespace", "name": "functions", "tools": [{ "type": "custom", "name": "exec" }] },
            ] },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "<environment_context>\n  <cwd>/repo</cwd>" }] },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": prompt }] },
        ],
    })
}

/// As qwen-code asks, with a free-text tool as copilot has one.
pub(crate) fn chat(prompt: &str, stream: bool) -> Value {
    let shell = json!({ "command": { "type": "string" }, "timeout": { "type": "number" } });
    json!({
        "model": "qwen-test",
        "stream": stream,
        "stream_options": { "include_usage": true },
        "messages": [
            { "role": "system", "content": "I'm currently working in the directory: /repo\n" },
            { "role": "user", "content": prompt },
        ],
        "tools": [
            { "type": "function", "function": {
                "name": "run_shell_command", "parameters": { "properties": shell, "required": ["command"] },
            } },
            { "type": "custom", "custom": { "name": "apply_patch" } },
        ],
    })
}

/// As gemini asks.
pub(crate) fn gemini(prompt: &str) -> Value {
    let shell = json!({ "command": { "type": "string" }, "description": { "type": "string" } });
    json!({
        "systemInstruction": { "parts": [{ "text": "You are a coding agent." }] },
        "contents": [{ "role": "user", "parts": [
            { "text": "<session_context>\n- **Workspace Directories:**\n  - /repo\n</session_context>" },
            { "text": prompt },
        ] }],
        "tools": [{ "functionDeclarations": [
            { "name": "run_shell_command", "parametersJsonSchema": { "properties": shell, "required": ["command"] } },
        ] }],
    })
}

/// Where gemini asks for a stream.
pub(crate) const GEMINI_STREAM: &str = "/v1beta/models/gemini-test:streamGenerateContent?alt=sse";

/// The same prompt for a stream of each API, with its path.
pub(crate) fn all(prompt: &str) -> [(&'static str, Value); 4] {
    [
        ("/v1/messages", messages(prompt, true)),
        ("/v1/responses", responses(prompt, true)),
        ("/v1/chat/completions", chat(prompt, true)),
        (GEMINI_STREAM, gemini(prompt)),
    ]
}
