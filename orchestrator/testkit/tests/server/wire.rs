//! What the server says on the wire, read with a plain HTTP client.
use std::io::{ErrorKind, Read};
use std::time::Duration;

use cloud_code_testkit::{Api, Script, ScriptedModel, ServeOptions, Served};
use serde_json::{Value, json};

use crate::requests::{self, messages, responses};
use crate::support::{PATIENCE, Reply, call, post, send};

/// Long enough that an answer would have come, short enough for a test that proves silence.
const SILENCE: Duration = Duration::from_millis(300);

fn model(script: &str) -> ScriptedModel {
    ScriptedModel::start(Script::parse(script).expect("a good script")).expect("a server")
}

fn shown(reply: &Reply) -> String {
    reply.events().iter().map(|(name, data)| format!("{name} {data}")).collect::<Vec<_>>().join("\n")
}

const ONE_OF_ALL: &str = "turns: [{think: Hm., say: I look., run: ls, usage: {input: 10, output: 5, cache_read: 3, cache_write: 2}}]";

#[test]
fn anthropic_streams_thinking_text_and_a_tool_call() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1/messages", &messages("go", true));
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    insta::assert_snapshot!(shown(&reply));
}

#[test]
fn anthropic_answers_in_one_body() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1/messages", &messages("go", false));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).expect("JSON"));
}

/// The time of making is the only thing that differs from run to run.
fn without_time(mut value: Value) -> Value {
    for key in ["created_at", "created"] {
        if let Some(made) = value.get_mut(key) {
            *made = json!(0);
        }
    }
    if let Some(response) = value.get_mut("response") {
        *response = without_time(response.take());
    }
    value
}

#[test]
fn openai_streams_reasoning_text_and_a_tool_call() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1/responses", &responses("go", true));
    assert_eq!((reply.status, reply.complete), (200, true));
    let events: Vec<String> =
        reply.events().into_iter().map(|(name, data)| format!("{name} {}", without_time(data))).collect();
    insta::assert_snapshot!(events.join("\n"));
}

#[test]
fn openai_answers_in_one_body() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1/responses", &responses("go", false));
    insta::assert_snapshot!(serde_json::to_string_pretty(&without_time(reply.json())).expect("JSON"));
}

#[test]
fn chat_completions_stream_reasoning_text_and_tool_calls() {
    let model =
        model("turns: [{think: Hm., say: I look., run: ls}, {write: {path: a.txt, content: \"one\\n\"}}]");
    let mut request = requests::chat("go", true);
    let first = post(model.address(), "/v1/chat/completions", &request);
    let call =
        json!({ "id": "call_p0_000001", "type": "function", "function": { "name": "run_shell_command" } });
    let messages = request["messages"].as_array_mut().expect("messages");
    messages.push(json!({ "role": "assistant", "tool_calls": [call] }));
    messages.push(json!({ "role": "tool", "tool_call_id": "call_p0_000001", "content": "a.txt" }));
    let second = post(model.address(), "/v1/chat/completions", &request);
    let events = [first, second].map(|reply| {
        let events = reply.events().into_iter().map(|(name, data)| match name.as_str() {
            "[DONE]" => name,
            _ => without_time(data).to_string(),
        });
        events.collect::<Vec<String>>().join("\n")
    });
    insta::assert_snapshot!(events.join("\n\n"));
}

#[test]
fn chat_completions_answer_in_one_body() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1/chat/completions", &requests::chat("go", false));
    insta::assert_snapshot!(serde_json::to_string_pretty(&without_time(reply.json())).expect("JSON"));
}

#[test]
fn gemini_streams_thoughts_text_and_a_tool_call() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), requests::GEMINI_STREAM, &requests::gemini("go"));
    assert_eq!((reply.status, reply.complete), (200, true));
    insta::assert_snapshot!(shown(&reply));
}

#[test]
fn gemini_answers_in_one_body() {
    let model = model(ONE_OF_ALL);
    let reply = post(model.address(), "/v1beta/models/gemini-test:generateContent", &requests::gemini("go"));
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).expect("JSON"));
}

#[test]
fn a_conversation_goes_through_the_script_to_its_end() {
    let model = model("turns: [{run: one}, {run: two}, {say: done}]");
    let mut request = messages("go", false);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let reply = post(model.address(), "/v1/messages", &request).json();
        let content = reply["content"].clone();
        let messages = request["messages"].as_array_mut().expect("messages");
        messages.push(json!({ "role": "assistant", "content": content }));
        let block = content[0].clone();
        seen.push(block["input"]["command"].as_str().or(block["text"].as_str()).expect("text").to_owned());
        messages.push(match block["id"].as_str() {
            Some(id) => json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": id, "content": "ok" }] }),
            None => json!({ "role": "user", "content": "go on" }),
        });
    }
    assert_eq!(seen, ["one", "two", "done", "The script has no more turns. I am done."]);
    let served: Vec<(Option<usize>, Served)> =
        model.requests().into_iter().map(|record| (record.turn, record.served)).collect();
    assert_eq!(
        served,
        [
            (Some(1), Served::Turn),
            (Some(2), Served::Turn),
            (Some(3), Served::Turn),
            (None, Served::Exhausted)
        ]
    );
}

#[test]
fn errors_have_each_api_s_shape() {
    let faults = [
        ("[400]", "status: 400"),
        ("[401]", "status: 401"),
        ("[403]", "status: 403"),
        ("[429]", "status: 429, retry_after: 7"),
        ("[500]", "status: 500"),
        ("[503]", "status: 503"),
        ("[529]", "status: 529"),
        ("[key]", "bad_key: true"),
        ("[credit]", "out_of_credit: true"),
        ("[login]", "login_expired: true"),
        ("[long]", "context_too_long: true"),
        ("[model]", "model_unknown: true"),
        ("[own]", "status: 418, error: {type: teapot, code: short, message: stout}"),
    ];
    let scenarios = faults.map(|(marker, fault)| {
        format!("  {marker:?}: {{match: {marker:?}, turns: [{{{fault}, times: forever}}]}}\n")
    });
    let model = model(&format!("scenarios:\n{}", scenarios.concat()));
    let mut said = Vec::new();
    for (marker, _) in faults {
        for (path, body) in requests::all(marker) {
            let reply = post(model.address(), path, &body);
            let mut json = reply.json();
            if let Some(object) = json.as_object_mut() {
                object.remove("request_id");
            }
            let after = reply.header("retry-after").unwrap_or("-").to_owned();
            said.push(format!("{marker} {path} {} retry-after {after} {json}", reply.status));
        }
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_cut_stream_has_begun_and_has_no_end_and_its_retry_gets_the_answer() {
    let model = model("turns: [{cut: true, say: whole}]");
    for (path, body) in requests::all("go") {
        let cut = post(model.address(), path, &body);
        assert_eq!((cut.status, cut.complete), (200, false), "{path}");
        let text = cut.text();
        assert!(text.contains("This answer will not be finished"), "{path}: {text}");
        let ends = ["stop\"", "_stop", ".done", "completed\"", "[DONE]", "STOP"];
        assert!(!ends.iter().any(|end| text.contains(end)), "{path}: nothing in it is complete: {text}");
        let retry = post(model.address(), path, &body);
        assert!(retry.complete && retry.text().contains("whole"), "{}", retry.text());
    }
}

#[test]
fn a_body_that_is_cut_is_half_a_body() {
    let model = model("turns: [{cut: true, times: forever}]");
    let cut = post(model.address(), "/v1/messages", &messages("go", false));
    assert!(!cut.complete && cut.body.starts_with(b"{"), "{cut:?}");
    serde_json::from_slice::<Value>(&cut.body).expect_err("half a body is no JSON");
}

#[test]
fn an_error_in_the_stream_comes_after_200() {
    let model = model("turns: [{stream_error: true, times: forever}]");
    let last = requests::all("go").map(|(path, body)| {
        let reply = post(model.address(), path, &body);
        assert_eq!((reply.status, reply.complete), (200, true), "{path}");
        let (name, data) = reply.events().pop().expect("events");
        format!("{path} {name} {data}")
    });
    insta::assert_snapshot!(last.join("\n"));
}

#[test]
fn a_refusal_is_an_answer_of_200() {
    let model = model("turns: [{refuse: true, times: forever}]");
    let said = requests::all("go").map(|(path, body)| {
        let reply = post(model.address(), path, &body);
        assert_eq!((reply.status, reply.complete), (200, true), "{path}");
        let why = ["\"stop_reason\":\"refusal\"", "\"type\":\"refusal\"", "\"content_filter\"", "\"SAFETY\""];
        why.into_iter().find(|why| reply.text().contains(why)).unwrap_or("no reason")
    });
    assert_eq!(
        said,
        ["\"stop_reason\":\"refusal\"", "\"type\":\"refusal\"", "\"content_filter\"", "\"SAFETY\""]
    );
}

/// The hour is never the same twice, so it is read back from where each API says it.
#[test]
fn a_usage_window_says_when_it_opens_again() {
    let model = model("turns: [{usage_limit: {resets_in: 2h}, times: forever}]");
    let begin = jiff::Timestamp::now().as_second();
    let [anthropic, responses, chat, gemini] =
        requests::all("go").map(|(path, body)| post(model.address(), path, &body));
    let close_to_two_hours = |at: i64| (begin + 7200..begin + 7200 + 60).contains(&at);
    let reset = anthropic.header("anthropic-ratelimit-unified-reset").expect("a header");
    assert!(close_to_two_hours(reset.parse().expect("seconds")), "{anthropic:?}");
    let window = [
        "anthropic-ratelimit-unified-status",
        "anthropic-ratelimit-unified-representative-claim",
        "retry-after",
    ];
    assert_eq!(window.map(|name| anthropic.header(name).unwrap_or("-")), ["rejected", "five_hour", "7200"]);
    let told = responses.json();
    assert_eq!(told["error"]["type"], "usage_limit_reached");
    assert!(close_to_two_hours(told["error"]["resets_at"].as_i64().expect("seconds")), "{told}");
    let told = chat.json()["error"]["message"].as_str().expect("a message").to_owned();
    let at = told.strip_prefix("Usage limit reached for 5 hour. Your limit will reset at ").expect("an hour");
    let at: jiff::civil::DateTime = at.parse().expect("a date and a time");
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_second();
    assert!(close_to_two_hours(at), "{told}");
    let told = gemini.json();
    assert_eq!(
        told["error"]["message"],
        "You have exhausted your capacity on this model. Your quota will reset after 2h0m0s."
    );
    let details = &told["error"]["details"];
    assert_eq!(
        (&details[0]["reason"], &details[0]["domain"], &details[1]["retryDelay"]),
        (&json!("QUOTA_EXHAUSTED"), &json!("cloudcode-pa.googleapis.com"), &json!("7200s"))
    );
    assert_eq!([anthropic, responses, chat, gemini].map(|reply| reply.status), [429; 4]);
}

#[test]
fn a_hang_before_the_headers_says_nothing_and_dropping_the_model_ends_it() {
    let model = model("turns: [{hang: headers, times: forever}]");
    let body = messages("go", true).to_string();
    let mut stream = send(model.address(), "POST", "/v1/messages", &[], body.as_bytes());
    model.wait_until(PATIENCE, |records| records.len() == 1).expect("the request arrives");
    assert_eq!(model.requests()[0].status, None);
    stream.set_read_timeout(Some(SILENCE)).expect("a time limit");
    let error = stream.read(&mut [0; 1]).expect_err("silence");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    drop(model);
    let end = stream.read(&mut [0; 1]);
    assert!(
        matches!(&end, Ok(0)) || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "{end:?}"
    );
}

#[test]
fn a_hang_in_the_stream_begins_and_then_says_nothing() {
    let model = model("turns: [{hang: stream, times: forever}]");
    let body = responses("go", true).to_string();
    let mut stream = send(model.address(), "POST", "/v1/responses", &[], body.as_bytes());
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("response.output_text.delta") {
        let read = stream.read(&mut piece).expect("the beginning comes");
        assert_ne!(read, 0, "the connection stays open");
        seen.extend_from_slice(&piece[..read]);
    }
    stream.set_read_timeout(Some(SILENCE)).expect("a time limit");
    while let Ok(read) = stream.read(&mut piece) {
        assert_ne!(read, 0, "the connection stays open");
        seen.extend_from_slice(&piece[..read]);
    }
    assert!(!String::from_utf8_lossy(&seen).contains("done"), "nothing in it is complete");
}

#[test]
fn a_delay_comes_before_the_headers() {
    let model = model("turns: [{say: late, delay: 300ms}]");
    let begin = std::time::Instant::now();
    post(model.address(), "/v1/messages", &messages("go", true));
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_small_questions_of_a_cli_are_answered() {
    let model = model("turns: [{say: hello}]");
    let address = model.address();
    let get = |path: &str, headers: &[(&str, &str)]| call(address, "GET", path, headers, b"");
    assert_eq!(call(address, "HEAD", "/", &[], b"").status, 200);
    assert_eq!(get("/v1/models", &[]).json()["object"], "list");
    assert_eq!(get("/v1/models", &[("anthropic-version", "2023-06-01")]).json()["data"][0]["type"], "model");
    assert_eq!(
        post(address, "/v1/messages/count_tokens?beta=true", &messages("go", false)).json(),
        json!({ "input_tokens": 1000 })
    );
    let upgrade = [("upgrade", "websocket"), ("sec-websocket-version", "13")];
    assert_eq!(get("/v1/responses", &upgrade).status, 426);
    assert_eq!(get("/v1/elsewhere", &[]).status, 404);
    let served: Vec<Served> = model.requests().into_iter().map(|record| record.served).collect();
    assert_eq!(
        served,
        [
            Served::Alive,
            Served::Models,
            Served::Models,
            Served::TokenCount,
            Served::UpgradeRefused,
            Served::Refused { message: "nothing is served at GET /v1/elsewhere".to_owned() },
        ]
    );
}

#[test]
fn packed_bodies_are_unpacked() {
    use std::io::Write as _;
    let model = model("turns: [{say: hello}]");
    let plain = responses("go", false).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain.as_bytes()).expect("packed");
    let zstd =
        ruzstd::encoding::compress_to_vec(plain.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    for (encoding, body) in [("gzip", gzip.finish().expect("packed")), ("zstd", zstd)] {
        let reply = call(model.address(), "POST", "/v1/responses", &[("content-encoding", encoding)], &body);
        assert_eq!(reply.json()["output"][0]["content"][0]["text"], "hello", "{encoding}");
    }
    let prompts: Vec<Option<String>> = model.requests().into_iter().map(|record| record.prompt).collect();
    assert_eq!(prompts, [Some("go".to_owned()), Some("go".to_owned())]);
}

#[test]
fn a_request_that_cannot_be_served_says_why() {
    let model = model("scenarios: {a: {match: '[a]', turns: [{run: ls}]}}");
    let mut no_tools = messages("[a]", true);
    no_tools["tools"] = json!([]);
    let broken = |headers: &[(&str, &str)], body: &[u8]| {
        call(model.address(), "POST", "/v1/responses", headers, body).json()["error"]["message"].clone()
    };
    let said = [
        post(model.address(), "/v1/messages", &messages("no marker", true)).json()["error"]["message"]
            .clone(),
        post(model.address(), "/v1/messages", &no_tools).json()["error"]["message"].clone(),
        broken(&[], b"{"),
        broken(&[("content-encoding", "zstd")], b"not zstd"),
        broken(&[("content-encoding", "br")], b"{}"),
    ];
    insta::assert_snapshot!(said.map(|message| message.to_string()).join("\n"));
}

#[test]
fn the_journal_names_secrets_and_never_writes_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.jsonl");
    let options = ServeOptions { journal: Some(path.clone()), ..ServeOptions::default() };
    let script = Script::parse("turns: [{say: hello}]").expect("a good script");
    let model = ScriptedModel::start_with(script, options).expect("a server");
    let headers = [
        ("x-api-key", "sk-very-secret"),
        ("authorization", "Bearer sk-more-secret"),
        ("user-agent", "claude-cli/2.1.329"),
    ];
    let body = messages("go", true).to_string();
    call(model.address(), "POST", "/v1/messages?beta=true", &headers, body.as_bytes());
    let written = std::fs::read_to_string(&path).expect("a journal");
    assert!(!written.contains("secret"), "{written}");
    let line: Value = serde_json::from_str(written.trim_end()).expect("one JSON line");
    assert_eq!(line["headers"]["x-api-key"], "(present)");
    assert_eq!(line["headers"]["authorization"], "Bearer (present)");
    assert_eq!(
        (
            &line["path"],
            &line["api"],
            &line["model"],
            &line["stream"],
            &line["scenario"],
            &line["turn"],
            &line["served"]
        ),
        (
            &json!("/v1/messages"),
            &json!("anthropic"),
            &json!("claude-test"),
            &json!(true),
            &json!("default"),
            &json!(1),
            &json!({ "kind": "turn" })
        )
    );
    assert_eq!(model.requests()[0].api, Some(Api::Anthropic));
    assert_eq!(model.journal_problem(), None);
}

#[test]
fn a_taken_address_is_refused_by_name() {
    let model = model("turns: [{say: hello}]");
    let options = ServeOptions { listen: model.address(), ..ServeOptions::default() };
    let script = Script::parse("turns: [{say: hello}]").expect("a good script");
    let error = ScriptedModel::start_with(script, options).expect_err("taken");
    assert_eq!(error.to_string(), format!("cannot listen on {}", model.address()));
}
