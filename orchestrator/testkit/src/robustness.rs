//! Whatever a script or a request says, the server answers or refuses: it never falls over.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::aider::{self, Aider};
use crate::conversation::{Api, ModelRequest};
use crate::director::{Decision, Director, Pace};
use crate::reply::{self, Finish, Reply, SseEvent};
use crate::script::{FaultKind, Script};
use crate::{anthropic, chat, gemini, mapping, responses};

/// Text with the characters that break quoting, patches, here-documents and YAML.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z '\"\\\\$`\n\t]{0,40}",
        Just("END_OF_FILE\n*** End Patch\n".to_owned()),
        Just("[login]".to_owned()),
        Just("I have *added these files to the chat*\na\n```\nb\n```\n\nc\n```\nd".to_owned()),
        any::<String>(),
    ]
}

fn turn() -> impl Strategy<Value = Value> {
    let action = prop_oneof![
        text().prop_map(|say| json!({ "say": say })),
        text().prop_map(|run| json!({ "run": run })),
        text().prop_map(|path| json!({ "read": path, "if_offered": true })),
        (text(), text())
            .prop_map(|(prompt, say)| json!({ "say": say, "recall": { "prompt": prompt, "say": say } })),
        (text(), text()).prop_map(|(path, content)| json!({ "write": { "path": path, "content": content } })),
        (text(), text(), text())
            .prop_map(|(path, old, new)| json!({ "edit": { "path": path, "old": old, "new": new } })),
        (text(), json_value()).prop_map(|(name, input)| json!({ "tool": { "name": name, "input": input } })),
        Just(json!({})),
    ];
    let fault = prop_oneof![
        (any::<u16>(), any::<u64>())
            .prop_map(|(status, after)| json!({ "status": status, "retry_after": after })),
        (400_u16..600).prop_map(|status| json!({ "status": status })),
        Just(json!({ "cut": true })),
        Just(json!({ "hang": "stream" })),
        Just(json!({ "stream_error": true })),
        Just(json!({ "bad_key": true })),
        Just(json!({ "out_of_credit": true })),
        Just(json!({ "context_too_long": true })),
        Just(json!({ "login_expired": true })),
        Just(json!({ "refuse": true })),
        Just(json!({ "model_unknown": true })),
        (0_u64..1_000_000_000)
            .prop_map(|hours| json!({ "usage_limit": { "resets_in": format!("{hours}h") } })),
        Just(json!({})),
    ];
    let times = prop_oneof![Just(json!({})), (0_u32..4).prop_map(|times| json!({ "times": times }))];
    let usage = any::<(u64, u64, u64, u64)>().prop_map(|(input, output, read, write)| {
        json!({ "usage": { "input": input, "output": output, "cache_read": read, "cache_write": write } })
    });
    (action, fault, times, prop_oneof![Just(json!({})), usage]).prop_map(|(action, fault, times, usage)| {
        let mut turn = json!({});
        for part in [action, fault, times, usage] {
            for (key, value) in part.as_object().into_iter().flatten() {
                turn[key.as_str()] = value.clone();
            }
        }
        turn
    })
}

fn script() -> impl Strategy<Value = Value> {
    let turns = || prop::collection::vec(turn(), 0..5);
    (turns(), prop::collection::btree_map(text(), (text(), turns()), 0..3)).prop_map(|(turns, scenarios)| {
        let scenarios: serde_json::Map<String, Value> = scenarios
            .into_iter()
            .map(|(name, (marker, turns))| (name, json!({ "match": marker, "turns": turns })))
            .collect();
        json!({ "turns": turns, "scenarios": scenarios })
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Keys that the wire modules look for, so that arbitrary values get to where they are read.
fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "messages",
        "input",
        "role",
        "content",
        "type",
        "text",
        "tools",
        "name",
        "id",
        "call_id",
        "system",
        "model",
        "stream",
        "max_tokens",
        "contents",
        "parts",
        "systemInstruction",
        "functionDeclarations",
        "functionCall",
        "functionResponse",
        "tool_calls",
        "function",
        "properties",
        "required",
    ])
    .prop_map(str::to_owned)
}

fn request() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(vec!["user", "assistant", "system", "developer", "tool"]);
    let kind = prop::sample::select(vec![
        "message",
        "text",
        "tool_use",
        "tool_result",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "reasoning",
        "additional_tools",
        "namespace",
    ]);
    let id = prop_oneof![
        Just("toolu_p18446744073709551615_1".to_owned()),
        Just("call_p0_000001".to_owned()),
        text()
    ];
    let item = (role, kind, text(), id, json_value()).prop_map(|(role, kind, text, id, other)| {
        json!({
            "role": role, "type": kind, "text": text, "id": id, "call_id": id, "tools": other,
            "content": [{ "type": kind, "text": text, "id": id }],
            "parts": [{ "text": text }, { "functionCall": { "id": id, "name": text, "args": other } }],
            "tool_calls": [{ "id": id, "function": { "name": text, "arguments": text } }],
        })
    });
    let tools = prop::sample::subsequence(
        vec![
            "Bash",
            "Read",
            "Edit",
            "Write",
            "exec",
            "exec_command",
            "shell",
            "apply_patch",
            "replace",
            "run_commands",
            "read_files",
            "editor",
            "create",
        ],
        0..13,
    );
    // aider is known by its prompt, and only without tools.
    let system = prop_oneof![
        3 => Just(None),
        1 => prop::sample::select(vec![
            "*SEARCH/REPLACE block*\nopening fence and code language, eg: <source>python",
            "*file listing*",
            "Act as an expert code analyst.\nAnswer questions about the supplied code.",
        ])
        .prop_map(Some),
    ];
    (prop::collection::vec(item, 0..6), tools, any::<bool>(), any::<Option<u64>>(), system).prop_map(
        |(items, tools, free_text, max_tokens, system)| {
            let tools = if system.is_some() { Vec::new() } else { tools };
            let kind = if free_text { "custom" } else { "function" };
            let tools: Vec<Value> = tools
                .iter()
                .map(|name| {
                    let function = json!({ "name": name });
                    json!({ "type": kind, "name": name, "function": function, "functionDeclarations": [function] })
                })
                .collect();
            json!({
                "model": "m", "messages": items, "input": items, "contents": items, "tools": tools,
                "max_tokens": max_tokens, "system": system, "systemInstruction": { "parts": [{ "text": system }] },
            })
        },
    )
}

/// One body read as a request of each API.
fn requests_of(body: &Value) -> [ModelRequest; 4] {
    [
        anthropic::request(body),
        responses::request(body),
        chat::request(body),
        gemini::request(body, "m", true),
    ]
}

/// All that the server does with a request, without the socket.
fn answer(director: &mut Director, request: &mut ModelRequest) {
    let api = request.api;
    let blocks = match aider::recognise(request) {
        Some(Aider::Work(blocks)) => Some(blocks),
        Some(Aider::Side) | None => None,
    };
    let pace = if blocks.is_some() { Pace::Run } else { Pace::Turn };
    match director.decide(request, pace) {
        Decision::Answer { answer, then, .. } => {
            let said = match &blocks {
                Some(blocks) => aider::answer(answer, then, blocks).map(|answer| (answer, Vec::new())),
                None => match &answer.action {
                    None => Ok((answer, Vec::new())),
                    Some(action) => {
                        mapping::calls(action, &request.tools, request.working_directory.as_deref())
                            .map(|calls| (answer, calls))
                    }
                },
            };
            let Ok((answer, calls)) = said else { return };
            let calls = calls.into_iter().map(|call| ("toolu_p0_000001".to_owned(), call)).collect();
            let reply = Reply {
                model: request.model.clone(),
                think: answer.think,
                say: answer.say,
                calls,
                usage: answer.usage,
                serial: 1,
                finish: Finish::Whole,
            };
            for event in reply::events(request, &reply) {
                let lines = if matches!(event, SseEvent::Named { .. }) { 3 } else { 2 };
                assert!(event.encode().ends_with("\n\n") && event.encode().lines().count() == lines);
            }
            reply::body(api, &reply);
        }
        Decision::Fault { fault, .. } => {
            if let FaultKind::UsageLimit { resets_in } = fault.kind {
                let limit = reply::usage_limit(api, jiff::Timestamp::now(), resets_in);
                reply::error_headers(api, &limit);
                reply::error_body(api, &limit, &request.model, 1);
            }
            reply::opening(request, 1);
            reply::stream_error(request, 1);
            for error in [
                reply::bad_key(api),
                reply::out_of_credit(api),
                reply::context_too_long(api),
                reply::login_expired(api),
            ] {
                reply::error_body(api, &error, &request.model, 1);
            }
            let refusal = reply::refusal(&request.model, 1);
            reply::events(request, &refusal);
            reply::body(api, &refusal);
        }
        Decision::Exhausted { .. } | Decision::NoScenario => {}
    }
}

proptest! {
    #[test]
    fn any_text_is_a_script_or_refused(text in any::<String>()) {
        let _either = Script::parse(&text);
    }

    #[test]
    fn any_script_answers_any_request(script in script(), requests in prop::collection::vec(request(), 1..4)) {
        if let Ok(script) = Script::parse(&script.to_string()) {
            let mut director = Director::new(script);
            for body in &requests {
                for mut request in requests_of(body) {
                    answer(&mut director, &mut request);
                }
            }
        }
    }

    #[test]
    fn any_json_is_read_as_a_request(body in json_value()) {
        let apis = requests_of(&body).map(|request| request.api);
        prop_assert_eq!(apis, [Api::Anthropic, Api::OpenaiResponses, Api::OpenaiChat, Api::Gemini]);
    }
}
