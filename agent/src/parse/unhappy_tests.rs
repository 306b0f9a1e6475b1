//! What the recorded runs do not have: ends that only a real account or a real provider brings, told as the programs
//! and the providers' APIs word them; and input that nobody meant to write.

use std::path::Path;

use cloud_code_task_schema::{FailureKind, HumanDuration};
use proptest::prelude::*;

use super::*;
use crate::usage::UsageMeter;

const FORMATS: [OutputFormat; 10] = [
    OutputFormat::ClaudeStreamJson,
    OutputFormat::CodexJsonl,
    OutputFormat::GeminiStreamJson,
    OutputFormat::OpencodeJson,
    OutputFormat::QwenStreamJson,
    OutputFormat::CopilotJson,
    OutputFormat::ClineJson,
    OutputFormat::GooseStreamJson,
    OutputFormat::AiderText,
    OutputFormat::Text,
];

/// The answer after these lines of output, and whether the provider was said to have refused for good.
fn after(format: OutputFormat, lines: &[&str]) -> (Option<Answer>, bool) {
    let mut parser = Parser::new(format);
    let signals: Vec<Signal> = lines.iter().flat_map(|line| parser.read(line)).collect();
    (parser.answer(), signals.iter().any(|signal| matches!(signal, Signal::Refused(_))))
}

fn failed(kind: FailureKind, message: &str) -> Option<Answer> {
    Some(Answer::Failed(Failure::new(kind, message)))
}

fn secs(seconds: u64) -> Option<HumanDuration> {
    Some(HumanDuration::from_secs(seconds))
}

#[test]
fn a_used_up_window_of_claude_says_when_it_opens() {
    let lines = [
        r#"{"type":"system","subtype":"init","session_id":"s","apiKeySource":"none"}"#,
        r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795284000,"rateLimitType":"five_hour","isUsingOverage":false}}"#,
        r#"{"type":"assistant","error":"rate_limit","api_error_status":429,"parent_tool_use_id":null,"message":{"model":"<synthetic>","content":[{"type":"text","text":"You've hit your session limit · resets 6pm (UTC)"}]}}"#,
        r#"{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","api_error_status":429,"result":"You've hit your session limit · resets 6pm (UTC)"}"#,
    ];
    let expected = Failure {
        kind: FailureKind::UsageLimit,
        message: "You've hit your session limit · resets 6pm (UTC)".to_owned(),
        retry_after: None,
        resets_at: Some("2026-11-21T18:00:00Z".parse().unwrap()),
    };
    assert_eq!(after(OutputFormat::ClaudeStreamJson, &lines), (Some(Answer::Failed(expected)), false));
}

#[test]
fn an_older_claude_says_in_its_text_when_the_window_opens() {
    let line = r#"{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","result":"Claude AI usage limit reached|1795284000"}"#;
    let expected = Failure {
        kind: FailureKind::UsageLimit,
        message: "Claude AI usage limit reached|1795284000".to_owned(),
        retry_after: None,
        resets_at: Some("2026-11-21T18:00:00Z".parse().unwrap()),
    };
    assert_eq!(after(OutputFormat::ClaudeStreamJson, &[line]).0, Some(Answer::Failed(expected)));
}

#[test]
fn paid_overage_is_no_used_up_window() {
    let mut parser = Parser::new(OutputFormat::ClaudeStreamJson);
    parser.read(r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795284000,"isUsingOverage":true}}"#);
    parser.read(
        r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","resetsAt":1795284000}}"#,
    );
    assert_eq!(parser.trouble(), None);
}

#[test]
fn a_login_of_claude_may_be_renewed_once_before_it_counts_as_expired() {
    let init = r#"{"type":"system","subtype":"init","session_id":"s","apiKeySource":"none"}"#;
    let retry = |attempt: u32| {
        format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":{attempt},"max_retries":10,"retry_delay_ms":600,"error_status":401,"error":"authentication_failed"}}"#
        )
    };
    let mut parser = Parser::new(OutputFormat::ClaudeStreamJson);
    parser.read(init);
    let refused = |signals: Vec<Signal>| {
        signals.into_iter().find_map(|signal| match signal {
            Signal::Refused(failure) => Some(failure.kind),
            _ => None,
        })
    };
    assert_eq!(refused(parser.read(&retry(1))), None);
    assert_eq!(refused(parser.read(&retry(2))), Some(FailureKind::LoginExpired));
}

#[test]
fn claude_names_what_is_wrong_with_a_login_the_content_or_the_length() {
    let cases = [
        (
            r#""error":"authentication_failed""#,
            "Failed to authenticate: OAuth session expired and could not be refreshed",
            FailureKind::LoginExpired,
        ),
        (
            r#""error":"authentication_failed""#,
            "Failed to authenticate: this login reached its time limit and cannot be renewed.",
            FailureKind::LoginExpired,
        ),
        (
            r#""error":"rate_limit","api_error_status":429"#,
            "Server is temporarily limiting requests (not your usage limit)",
            FailureKind::RateLimited,
        ),
        (
            r#""error":"rate_limit","api_error":"usage_limit_reached","api_error_status":429"#,
            "You've reached your daily cap",
            FailureKind::UsageLimit,
        ),
        (
            r#""error":"invalid_request","api_error":"message_over_context_limit""#,
            "Message too long",
            FailureKind::ContextTooLong,
        ),
        (
            r#""error":"invalid_request","api_error":"dlp_request_denied""#,
            "Denied by policy",
            FailureKind::Refused,
        ),
        (r#""error":"server_error","api_error":"no_response""#, "No response", FailureKind::Network),
    ];
    for (error, text, kind) in cases {
        let assistant = format!(
            r#"{{"type":"assistant",{error},"parent_tool_use_id":null,"message":{{"model":"<synthetic>","content":[{{"type":"text","text":"{text}"}}]}}}}"#
        );
        let result = format!(
            r#"{{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","result":"{text}"}}"#
        );
        let init =
            r#"{"type":"system","subtype":"init","session_id":"s","apiKeySource":"ANTHROPIC_API_KEY"}"#;
        let (answer, _) = after(OutputFormat::ClaudeStreamJson, &[init, &assistant, &result]);
        assert_eq!(answer, failed(kind, text));
    }
}

#[test]
fn a_refusal_of_the_model_is_no_success() {
    let lines = [
        r#"{"type":"system","subtype":"model_refusal_no_fallback","original_model":"m","api_refusal_explanation":"This is about a weapon","content":""}"#,
        r#"{"type":"result","subtype":"success","is_error":false,"stop_reason":"refusal","result":""}"#,
    ];
    let expected = failed(FailureKind::Refused, "This is about a weapon");
    assert_eq!(after(OutputFormat::ClaudeStreamJson, &lines).0, expected);
    let lines = [
        r#"{"type":"step_start","sessionID":"s","part":{}}"#,
        r#"{"type":"step_finish","sessionID":"s","part":{"reason":"content-filter"}}"#,
        r#"{"type":"error","sessionID":"s","error":{"name":"ContentFilterError","data":{"message":"The response was blocked by the provider's content filter"}}}"#,
    ];
    let expected = failed(FailureKind::Refused, "The response was blocked by the provider's content filter");
    assert_eq!(after(OutputFormat::OpencodeJson, &lines).0, expected);
    let lines = [
        r#"{"type":"error","severity":"error","message":"The model response was blocked due to safety settings."}"#,
        r#"{"type":"result","status":"success"}"#,
    ];
    let expected = failed(FailureKind::Refused, "The model response was blocked due to safety settings.");
    assert_eq!(after(OutputFormat::GeminiStreamJson, &lines).0, expected);
}

#[test]
fn codex_tells_its_ends_in_prose_only() {
    let cases: [(&str, FailureKind, Option<HumanDuration>, bool); 8] = [
        (
            "Your access token could not be refreshed because your refresh token has expired. Please log out and sign in again.",
            FailureKind::LoginExpired,
            None,
            false,
        ),
        (
            "You've hit your usage limit. Upgrade to Plus to continue using Codex (https://chatgpt.com/explore/plus).",
            FailureKind::UsageLimit,
            None,
            false,
        ),
        ("Your workspace is out of credits. Add credits to continue.", FailureKind::UsageLimit, None, false),
        (
            "stream disconnected before completion: Rate limit reached for gpt-5-codex. Please try again in 11.054s.",
            FailureKind::RateLimited,
            Some(HumanDuration::from_duration(std::time::Duration::from_millis(11_054))),
            false,
        ),
        (
            "stream disconnected before completion: Incomplete response returned, reason: content_filter",
            FailureKind::Refused,
            None,
            false,
        ),
        (
            r#"{"error": {"message": "The requested model 'nope' does not exist.", "type": "invalid_request_error", "code": "model_not_found"}}"#,
            FailureKind::ModelUnknown,
            None,
            false,
        ),
        (
            "Selected model is at capacity. Please try a different model.",
            FailureKind::Overloaded,
            None,
            false,
        ),
        (
            "Reconnecting... 1/5 (unexpected status 401 Unauthorized: Missing bearer, url: http://h/v1/responses)",
            FailureKind::Auth,
            None,
            true,
        ),
    ];
    for (text, kind, wait, for_good) in cases {
        let quoted = serde_json::to_string(text).unwrap();
        let mut parser = Parser::new(OutputFormat::CodexJsonl);
        let signals = parser.read(&format!(r#"{{"type":"error","message":{quoted}}}"#));
        let refused = signals.iter().any(|signal| matches!(signal, Signal::Refused(_)));
        let trouble = parser.trouble().unwrap();
        assert_eq!((trouble.kind, trouble.retry_after, refused), (kind, wait, for_good), "{text}");
        assert_eq!(parser.answer(), None, "an error of codex is not its end");
        parser.read(&format!(r#"{{"type":"turn.failed","error":{{"message":{quoted}}}}}"#));
        assert_eq!(parser.answer(), Some(Answer::Failed(trouble)), "{text}");
    }
}

#[test]
fn a_window_of_codex_opens_at_a_time_of_the_clock() {
    let line = r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit. Try again at Nov 25th, 2126 3:41 PM."}}"#;
    let (answer, _) = after(OutputFormat::CodexJsonl, &[line]);
    let Some(Answer::Failed(failure)) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.kind, FailureKind::UsageLimit);
    assert_eq!(failure.resets_at, Some("2126-11-25T15:41:00Z".parse().unwrap()));
}

#[test]
fn gemini_says_how_long_to_wait_in_its_details() {
    let quota = |details: &str| {
        let error = format!(
            r#"{{"error":{{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{details}]}}}}"#
        );
        let told = serde_json::to_string(&format!("[API Error: {error}]")).unwrap();
        let line = format!(
            r#"{{"type":"result","status":"error","error":{{"type":"unknown","message":{told}}},"stats":{{}}}}"#
        );
        match after(OutputFormat::GeminiStreamJson, &[&line]).0 {
            Some(Answer::Failed(failure)) => (failure.kind, failure.retry_after),
            other => panic!("{other:?}"),
        }
    };
    let minute = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}"#;
    assert_eq!(quota(minute), (FailureKind::RateLimited, secs(34)));
    let day = r#"{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]}"#;
    assert_eq!(quota(day), (FailureKind::UsageLimit, None));
    let long = r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7200s"}"#;
    assert_eq!(quota(long), (FailureKind::UsageLimit, secs(7200)));
    assert_eq!(quota(""), (FailureKind::UsageLimit, None));
}

#[test]
fn a_retry_of_gemini_on_standard_error_names_what_it_waits_for() {
    let mut parser = Parser::new(OutputFormat::GeminiStreamJson);
    let line = r#"Attempt 1 failed with status 429. Retrying with backoff... _ApiError: {"error":{"code":429,"message":"Slow down","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"12.5s"}]}}"#;
    assert_eq!(parser.read_stderr(line), [Signal::Step("the CLI retries: Slow down".to_owned())]);
    let wait = Some(HumanDuration::from_duration(std::time::Duration::from_millis(12_500)));
    let expected = Failure {
        kind: FailureKind::RateLimited,
        message: "Slow down".to_owned(),
        retry_after: wait,
        resets_at: None,
    };
    assert_eq!(parser.trouble(), Some(expected));
    parser.read(r#"{"type":"message","role":"assistant","content":"Here","delta":true}"#);
    assert_eq!(parser.trouble(), None, "an answer means that it was overcome");
    assert_eq!(parser.turns(), Some(1));
}

#[test]
fn gemini_and_qwen_say_in_their_exit_codes_what_they_say_nowhere_else() {
    let of = |format, code: i32| Parser::new(format).of_exit(code).map(|failure| failure.kind);
    let gemini = OutputFormat::GeminiStreamJson;
    for (code, kind) in [
        (41, Some(FailureKind::Auth)),
        (42, Some(FailureKind::Crashed)),
        (53, Some(FailureKind::MaxTurns)),
        (55, Some(FailureKind::Crashed)),
        (145, Some(FailureKind::Auth)),
        (147, Some(FailureKind::Auth)),
        (173, Some(FailureKind::RateLimited)),
        (17, Some(FailureKind::Overloaded)),
        (244, Some(FailureKind::Overloaded)),
        (1, None),
        (0, None),
        (143, None),
    ] {
        assert_eq!(of(gemini, code), kind, "gemini {code}");
    }
    for (code, kind) in [(53, Some(FailureKind::MaxTurns)), (55, Some(FailureKind::Timeout)), (1, None)] {
        assert_eq!(of(OutputFormat::QwenStreamJson, code), kind, "qwen {code}");
    }
    for format in
        FORMATS.into_iter().filter(|format| *format != gemini && *format != OutputFormat::QwenStreamJson)
    {
        assert_eq!(Parser::new(format).of_exit(53), None, "{format:?}");
    }
    let mut parser = Parser::new(gemini);
    parser.read_stderr("Manual authorization is required but the current session is non-interactive. Please run the Gemini CLI in an interactive terminal to log in, provide a GEMINI_API_KEY, or ensure Application Default Credentials are configured.");
    assert_eq!(parser.of_exit(41).map(|failure| failure.kind), Some(FailureKind::LoginExpired));
    let mut parser = Parser::new(OutputFormat::QwenStreamJson);
    parser.read_stderr("Run aborted: tool-call budget of 3 exceeded (--max-tool-calls); observed 4.");
    assert_eq!(parser.of_exit(55).map(|failure| failure.kind), Some(FailureKind::MaxTurns));
}

#[test]
fn a_run_of_gemini_that_was_cut_short_is_no_success() {
    for (text, severity, kind) in [
        ("Loop detected, stopping execution", "warning", FailureKind::Crashed),
        ("Maximum session turns exceeded", "error", FailureKind::MaxTurns),
    ] {
        let error = format!(r#"{{"type":"error","severity":"{severity}","message":"{text}"}}"#);
        let (answer, _) = after(
            OutputFormat::GeminiStreamJson,
            &[
                r#"{"type":"message","role":"assistant","content":"Hm"}"#,
                &error,
                r#"{"type":"result","status":"success"}"#,
            ],
        );
        assert_eq!(answer, failed(kind, text));
    }
    let hook = r#"{"type":"error","severity":"warning","message":"Agent execution blocked: a hook's word"}"#;
    let lines = [
        hook,
        r#"{"type":"message","role":"assistant","content":"Done"}"#,
        r#"{"type":"result","status":"success"}"#,
    ];
    let done = Some(Answer::Done { text: "Done".to_owned() });
    assert_eq!(after(OutputFormat::GeminiStreamJson, &lines), (done, false));
}

#[test]
fn turns_used_up_are_told_by_goose_as_if_the_model_asked() {
    let lines = [
        r#"{"type":"message","message":{"id":null,"role":"assistant","content":[{"type":"text","text":"I've reached the maximum number of actions I can do without user input. Would you like me to continue?"}]}}"#,
        r#"{"type":"complete","total_tokens":10,"input_tokens":9,"output_tokens":1}"#,
    ];
    let text = "I've reached the maximum number of actions I can do without user input. Would you like me to continue?";
    assert_eq!(after(OutputFormat::GooseStreamJson, &lines).0, failed(FailureKind::MaxTurns, text));
}

#[test]
fn gemini_is_not_left_to_wait_for_hours() {
    let mut parser = Parser::new(OutputFormat::GeminiStreamJson);
    let line = |millis: u64| {
        format!(
            "Attempt 1 failed: You have exhausted your capacity on this model. Your quota will reset after 2h16m23s.. Retrying after {millis}ms..."
        )
    };
    assert!(!parser.read_stderr(&line(7_000)).iter().any(|signal| matches!(signal, Signal::Refused(_))));
    let signals = parser.read_stderr(&line(8_183_825));
    let [Signal::Refused(failure)] = signals.as_slice() else { panic!("{signals:?}") };
    assert_eq!(failure.kind, FailureKind::UsageLimit);
    let wait = failure.resets_at.unwrap().duration_since(jiff::Timestamp::now()).as_mins();
    assert!((135..=136).contains(&wait), "{wait} min");
}

#[test]
fn goose_answers_itself_when_the_provider_cannot_be_reached() {
    let said = |id: &str| {
        let part = r#"[{"type":"text","text":"Network error: Could not connect to 127.0.0.1:9.\n\nPlease resend your message to try again."}]"#;
        format!(r#"{{"type":"message","message":{{"id":{id},"role":"assistant","content":{part}}}}}"#)
    };
    let end = r#"{"type":"complete","total_tokens":null,"input_tokens":null,"output_tokens":null}"#;
    let text = "Network error: Could not connect to 127.0.0.1:9.";
    assert_eq!(
        after(OutputFormat::GooseStreamJson, &[&said("null"), end]).0,
        failed(FailureKind::Network, text)
    );
    let by_the_model = after(OutputFormat::GooseStreamJson, &[&said("\"m-1\""), end]).0;
    assert!(matches!(by_the_model, Some(Answer::Done { .. })), "{by_the_model:?}");
}

#[test]
fn copilot_has_words_of_its_own_for_its_limits() {
    let cases = [
        (r#""errorType":"quota""#, FailureKind::UsageLimit),
        (r#""errorType":"rate_limit","errorCode":"user_weekly_rate_limited""#, FailureKind::UsageLimit),
        (r#""errorType":"rate_limit","errorCode":"rate_limited""#, FailureKind::RateLimited),
        (r#""errorType":"context_limit""#, FailureKind::ContextTooLong),
        (r#""errorType":"authorization""#, FailureKind::Auth),
        (r#""errorType":"query""#, FailureKind::Crashed),
    ];
    for (words, kind) in cases {
        let error = format!(r#"{{"type":"session.error","data":{{{words},"message":"It ended"}}}}"#);
        let result = r#"{"type":"result","sessionId":"s","exitCode":1}"#;
        assert_eq!(
            after(OutputFormat::CopilotJson, &[&error, result]).0,
            failed(kind, "It ended"),
            "{words}"
        );
    }
}

#[test]
fn a_token_of_github_is_renewed_and_a_key_of_the_user_is_not() {
    let failure = |is_byok: bool| {
        format!(
            r#"{{"type":"model.call_failure","data":{{"statusCode":401,"isByok":{is_byok},"errorMessage":"{{\"message\":\"no\"}}"}}}}"#
        )
    };
    assert!(after(OutputFormat::CopilotJson, &[&failure(true)]).1);
    assert!(!after(OutputFormat::CopilotJson, &[&failure(false)]).1);
}

#[test]
fn aider_stops_for_nothing_but_an_answer() {
    let banner = "Repo-map: using 4096 tokens, auto refresh";
    let question = [
        banner,
        "Added a.py to the chat.",
        "",
        "Two fit.",
        "",
        "Added or old?",
        "",
        "Tokens: 2.5k sent, 42 received.",
    ];
    let done = Some(Answer::Done { text: "Two fit.\n\nAdded or old?".to_owned() });
    assert_eq!(after(OutputFormat::AiderText, &question), (done, false));
    assert_eq!(after(OutputFormat::AiderText, &[banner, ""]).0, None, "nothing was answered");
    let code =
        [banner, "litellm.completion(model=\"m\", a: int)", "Tokens: none", "Tokens: 5 sent, 6 received."];
    let text = "litellm.completion(model=\"m\", a: int)\nTokens: none".to_owned();
    assert_eq!(after(OutputFormat::AiderText, &code).0, Some(Answer::Done { text }));
    let empty = [banner, "Empty response received from LLM. Check your provider account?"];
    assert_eq!(after(OutputFormat::AiderText, &empty).0, failed(FailureKind::Crashed, empty[1]));
    let refused = [banner, "litellm.ContentPolicyViolationError: Blocked", "Retrying in 0.2 seconds..."];
    let (answer, for_good) = after(OutputFormat::AiderText, &refused);
    assert_eq!((answer, for_good), (failed(FailureKind::Refused, refused[1]), false));
    let later = [
        banner,
        "First.",
        "Tokens: 1.0k sent, 10 received. Cost: $0.01 message, $0.01 session.",
        "Applied edit to a.py",
        "litellm.AuthenticationError: OpenAIException - Incorrect API key provided: sk-x",
        "The API provider is not able to authenticate you. Check your API key.",
    ];
    assert_eq!(after(OutputFormat::AiderText, &later).0, failed(FailureKind::Auth, later[4]));
}

#[test]
fn usage_of_a_process_that_counts_anew_adds_up_over_processes() {
    let line = r#"{"type":"step_finish","sessionID":"s","part":{"reason":"stop","tokens":{"input":100,"output":10,"reasoning":5,"cache":{"read":7,"write":3}},"cost":0.5}}"#;
    let mut meter = UsageMeter::new(&Usage::default());
    for _process in 0..2 {
        let mut parser = Parser::new(OutputFormat::OpencodeJson);
        for _step in 0..2 {
            for signal in parser.read(line) {
                if let Signal::Usage(reading) = signal {
                    meter.read(reading);
                }
            }
        }
        assert_eq!(parser.turns(), Some(2));
        meter.process_ended();
    }
    let total = meter.total();
    assert_eq!(
        (total.input_tokens, total.output_tokens, total.cache_read_tokens, total.cache_write_tokens),
        (Some(400), Some(60), Some(28), Some(12))
    );
    assert_eq!((total.turns, total.cost_usd.map(|cost| cost.as_f64())), (Some(4), Some(2.0)));
}

#[test]
fn another_session_is_a_helper_of_opencode_and_ends_nothing() {
    let lines = [
        r#"{"type":"step_start","sessionID":"mine","part":{}}"#,
        r#"{"type":"step_finish","sessionID":"helper","part":{"reason":"stop"}}"#,
    ];
    assert_eq!(after(OutputFormat::OpencodeJson, &lines).0, None);
}

/// Whatever a CLI prints for days, what is kept of it stays small.
#[test]
fn parsers_keep_little_of_much() {
    let big = "x".repeat(100 * 1024);
    let ids = (0..12).map(|number| format!("{number}{big}"));
    for format in FORMATS {
        let mut parser = Parser::new(format);
        for id in ids.clone() {
            for line in [
                format!(
                    r#"{{"type":"assistant","message":{{"id":"{id}","content":[{{"type":"text","text":"{big}"}},{{"type":"tool_use","id":"{id}","name":"write_file","input":{{"file_path":"{big}"}}}}]}}}}"#
                ),
                format!(r#"{{"type":"message","role":"assistant","content":"{big}"}}"#),
                format!(
                    r#"{{"type":"message","message":{{"id":"m","role":"assistant","content":[{{"type":"text","text":"{big}"}}]}}}}"#
                ),
                format!(
                    r#"{{"type":"error","sessionID":"{id}","message":"{big}","error":{{"name":"{big}"}}}}"#
                ),
                format!(
                    r#"{{"type":"result","session_id":"{id}","sessionId":"{id}","result":"{big}","subtype":"success"}}"#
                ),
                format!("litellm.APIError: {big}"),
                big.clone(),
            ] {
                for signal in parser.read(&line).into_iter().chain(parser.read_stderr(&line)) {
                    let size = format!("{signal:?}").len();
                    assert!(size <= 2 * MAX_TEXT_BYTES + 4 * 1024, "{format:?}: a signal of {size} bytes");
                }
            }
        }
        let kept = format!("{:?}{:?}{:?}", parser.answer(), parser.trouble(), parser.last_words()).len();
        assert!(kept <= 256 * 1024, "{format:?} keeps {kept} bytes");
    }
}

/// Every recorded line, cut anywhere: a CLI that is killed leaves half a line.
#[test]
fn half_a_line_of_any_run_is_harmless() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let clis = ["claude", "codex", "gemini", "opencode", "qwen", "copilot", "cline", "goose", "aider"];
    let mut files = 0;
    for (format, cli) in FORMATS.into_iter().zip(clis) {
        for file in std::fs::read_dir(folder.join(cli)).unwrap().map(|entry| entry.unwrap().path()) {
            files += 1;
            let text = std::fs::read_to_string(&file).unwrap();
            let mut parser = Parser::new(format);
            for line in text.lines() {
                for cut in [line.len() / 4, line.len() / 2, line.len().saturating_sub(1), line.len()] {
                    let half = &line[..line.floor_char_boundary(cut)];
                    parser.read(half);
                    parser.read_stderr(half);
                }
            }
            let _ =
                (parser.answer(), parser.trouble(), parser.last_words(), parser.settled(), parser.turns());
        }
    }
    assert!(files > 200, "only {files} files");
}

fn json_like() -> impl Strategy<Value = String> {
    let words = [
        "system",
        "assistant",
        "user",
        "result",
        "init",
        "api_retry",
        "retry",
        "error",
        "item.started",
        "item.completed",
        "turn.started",
        "turn.failed",
        "turn.completed",
        "rate_limit_event",
        "text",
        "tool_use",
        "tool_result",
        "file_change",
        "command_execution",
        "agent_message",
        "rejected",
        "message",
        "success",
        "step_start",
        "step_finish",
        "stop",
        "tool-calls",
        "length",
        "agent_event",
        "content_start",
        "content_end",
        "iteration_start",
        "usage",
        "run_result",
        "completed",
        "tool",
        "complete",
        "toolRequest",
        "toolResponse",
        "systemNotification",
        "session.error",
        "model.call_failure",
        "assistant.message",
        "tool.execution_complete",
        "none",
        "refusal",
        "apply_patch",
        "write_file",
        "[API Error: 429 slow down]",
        "try again in 5s",
        "try again at 3:41 PM",
        "limit reached|1795284000",
        "{\\\"error\\\":{\\\"code\\\":429}}",
        "*** Add File: a",
        "Ran into this error: x",
    ];
    let keys = [
        "type",
        "subtype",
        "message",
        "content",
        "item",
        "usage",
        "modelUsage",
        "error",
        "errors",
        "tasks",
        "changes",
        "tool_use_result",
        "rate_limit_info",
        "resetsAt",
        "status",
        "num_turns",
        "total_cost_usd",
        "error_status",
        "is_error",
        "text",
        "input",
        "session_id",
        "sessionID",
        "sessionId",
        "filePath",
        "structuredPatch",
        "id",
        "part",
        "tokens",
        "cache",
        "read",
        "cost",
        "state",
        "metadata",
        "reason",
        "data",
        "statusCode",
        "errorMessage",
        "errorType",
        "exitCode",
        "event",
        "contentType",
        "toolCallId",
        "toolName",
        "stats",
        "models",
        "total_tokens",
        "input_tokens",
        "output_tokens",
        "cached",
        "role",
        "finishReason",
        "aggregateUsage",
        "inputTokens",
        "outputTokens",
        "retry_delay_ms",
        "attempt",
        "fileEdits",
        "toolCall",
        "toolResult",
        "value",
        "arguments",
        "path",
        "severity",
        "responseHeaders",
        "retry-after",
        "stop_reason",
    ];
    let leaf = prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(|word| format!("\"{word}\"")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        (-1e300..1e300).prop_map(|number: f64| format!("{number:e}")),
        Just("123456789012345678901234567890".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        "[a-zé€ ]{0,12}".prop_map(|text| format!("\"{text}\""))
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let key = proptest::sample::select(keys.to_vec());
        prop_oneof![
            proptest::collection::vec((key, inner.clone()), 0..6).prop_map(|fields| {
                let fields: Vec<String> =
                    fields.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
            proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(",")))
        ]
    })
}

fn text_like() -> impl Strategy<Value = String> {
    let starts = [
        "",
        "litellm.X: ",
        "Tokens: ",
        "Cost: $",
        "Applied edit to ",
        "Commit ",
        "Retrying in ",
        "Error: ",
        "error: ",
        "Aider v",
        "Model: ",
        "Repo-map: ",
        "Attempt 1 failed. Retrying with backoff... Error: ",
        "Error when talking to Gemini API Error: ",
        "Retrying in 1s: [API Error: ",
    ];
    (proptest::sample::select(starts.to_vec()), ".{0,80}").prop_map(|(start, rest)| format!("{start}{rest}"))
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_panic(
        texts in proptest::collection::vec(text_like(), 0..6),
        json in proptest::collection::vec(json_like(), 0..12),
        code in any::<i32>(),
    ) {
        for format in FORMATS {
            let mut parser = Parser::new(format);
            let mut meter = UsageMeter::new(&Usage::default());
            for line in texts.iter().chain(&json) {
                for signal in parser.read(line).into_iter().chain(parser.read_stderr(line)) {
                    if let Signal::Usage(reading) = signal {
                        meter.read(reading);
                        meter.total();
                    }
                }
            }
            let _ = (parser.answer(), parser.trouble(), parser.last_words(), parser.settled());
            let _ = (parser.turns(), parser.of_exit(code));
        }
    }
}
