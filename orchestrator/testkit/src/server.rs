//! The HTTP side: paths, bodies, streams, and the faults that only a socket can show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::conversation::{Api, ModelRequest};
use crate::director::{Decision, Director, call_id};
use crate::journal::{Journal, MAX_PROMPT_CHARS, RequestRecord, Served, public_headers};
use crate::mapping;
use crate::outgoing::{Ending, broken, json_response, respond};
use crate::reply::{self, Reply};
use crate::script::{Answer, ErrorText, Fault, FaultKind, Script, UsageFigures};
use crate::unpack::{BodyProblem, MAX_BODY_BYTES, unpacked};
use crate::{anthropic, responses};

/// What a request gets when the script is at its end.
pub(crate) const CLOSING_TEXT: &str = "The script has no more turns. I am done.";

/// What a CLI's request for itself gets: it fits a title, a summary and a probe alike.
pub(crate) const SIDE_TEXT: &str = "Scripted model";

/// User agents of the CLIs whose main conversation always offers tools.
const CODING_CLIS: &[&str] = &["claude-cli/", "codex"];

/// Models that a list of models names. Any other name is answered too.
const MODELS: &[&str] = &["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "gpt-6.1-sol"];

/// Everything a request needs.
#[derive(Debug)]
pub(crate) struct Server {
    director: Mutex<Director>,
    journal: Arc<Journal>,
    serial: AtomicU64,
}

/// What goes back, and what the journal says of it.
struct Outcome {
    scenario: Option<String>,
    turn: Option<usize>,
    served: Served,
    reaction: Reaction,
}

enum Reaction {
    Respond {
        delay: Option<Duration>,
        response: Response,
    },
    /// Nothing, until the client goes away.
    Silence {
        delay: Option<Duration>,
    },
}

impl Server {
    pub(crate) fn new(script: Script, journal: Arc<Journal>) -> Self {
        Self { director: Mutex::new(Director::new(script)), journal, serial: AtomicU64::new(1) }
    }

    pub(crate) fn router(self) -> Router {
        Router::new().fallback(handle).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(Arc::new(self))
    }

    fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    fn model_answer(&self, request: &ModelRequest, headers: &HeaderMap) -> Outcome {
        let decision = self
            .director
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .decide(request, is_coding_cli(headers));
        match decision {
            Decision::Answer { scenario, position, answer } => {
                self.scripted(request, scenario, position, &answer)
            }
            Decision::Fault { scenario, fault } => self.fault(request, scenario, &fault),
            Decision::Exhausted { scenario, position: _ } => Outcome {
                scenario: Some(scenario),
                turn: None,
                served: Served::Exhausted,
                reaction: self.text(request, CLOSING_TEXT),
            },
            Decision::Side => Outcome {
                scenario: None,
                turn: None,
                served: Served::Side,
                reaction: self.text(request, SIDE_TEXT),
            },
            Decision::NoScenario => self.refused(
                request.api,
                "no scenario's `match` is in the prompt, and the script has no top-level `turns`",
            ),
        }
    }

    fn scripted(
        &self,
        request: &ModelRequest,
        scenario: String,
        position: usize,
        answer: &Answer,
    ) -> Outcome {
        let calls = match &answer.action {
            None => Vec::new(),
            Some(action) => {
                match mapping::calls(action, &request.tools, request.working_directory.as_deref()) {
                    Ok(calls) => calls,
                    Err(error) => {
                        let message = format!("scenario `{scenario}`, turn {}: {error}", answer.turn);
                        return Outcome {
                            scenario: Some(scenario),
                            turn: Some(answer.turn),
                            ..self.refused(request.api, &message)
                        };
                    }
                }
            }
        };
        let prefix = match request.api {
            Api::Anthropic => anthropic::CALL_PREFIX,
            Api::OpenaiResponses => responses::CALL_PREFIX,
        };
        let reply = Reply {
            model: request.model.clone(),
            think: answer.think.clone(),
            say: answer.say.clone(),
            calls: calls.into_iter().map(|call| (call_id(prefix, position, self.serial()), call)).collect(),
            usage: answer.usage,
            serial: self.serial(),
        };
        Outcome {
            scenario: Some(scenario),
            turn: Some(answer.turn),
            served: Served::Turn,
            reaction: Reaction::Respond { delay: answer.delay, response: respond(request, &reply) },
        }
    }

    fn text(&self, request: &ModelRequest, text: &str) -> Reaction {
        let reply = Reply {
            model: request.model.clone(),
            think: None,
            say: Some(text.to_owned()),
            calls: Vec::new(),
            usage: UsageFigures::default(),
            serial: self.serial(),
        };
        Reaction::Respond { delay: None, response: respond(request, &reply) }
    }

    fn fault(&self, request: &ModelRequest, scenario: String, fault: &Fault) -> Outcome {
        let delay = fault.delay;
        let response = match &fault.kind {
            FaultKind::HangHeaders => None,
            FaultKind::Status { status, retry_after, error } => {
                Some(self.error(request.api, *status, *retry_after, error))
            }
            FaultKind::OutOfCredit => {
                let (status, error) = reply::out_of_credit(request.api);
                Some(self.error(request.api, status, None, &error))
            }
            FaultKind::HangStream => Some(broken(request, self.serial(), Ending::Silence)),
            FaultKind::Cut => Some(broken(request, self.serial(), Ending::Close)),
            FaultKind::StreamError => Some(broken(request, self.serial(), Ending::Error)),
        };
        Outcome {
            scenario: Some(scenario),
            turn: Some(fault.turn),
            served: Served::Fault { fault: fault.kind.name() },
            reaction: response
                .map_or(Reaction::Silence { delay }, |response| Reaction::Respond { delay, response }),
        }
    }

    fn error(&self, api: Api, status: u16, retry_after: Option<u64>, error: &ErrorText) -> Response {
        let body = reply::error_body(api, status, error, self.serial());
        let mut response = json_response(status, &body);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    fn refused(&self, api: Api, message: &str) -> Outcome {
        let error =
            ErrorText { message: Some(format!("cloud-code-testkit: {message}")), ..ErrorText::default() };
        Outcome {
            scenario: None,
            turn: None,
            served: Served::Refused { message: message.to_owned() },
            reaction: Reaction::Respond { delay: None, response: self.error(api, 400, None, &error) },
        }
    }
}

/// Every request comes through here: read, decide, note, react.
async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let mut record = RequestRecord {
        at: Timestamp::now(),
        method: parts.method.to_string(),
        path: path.clone(),
        api: None,
        model: None,
        stream: false,
        headers: public_headers(&parts.headers),
        tools: Vec::new(),
        prompt: None,
        scenario: None,
        turn: None,
        served: Served::Alive,
        status: None,
    };
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await;
    let outcome = match body {
        Ok(body) => server.route(&parts.method, &path, &parts.headers, &body, &mut record),
        Err(error) => server.refused(Api::OpenaiResponses, &format!("the body cannot be read: {error}")),
    };
    record.scenario = outcome.scenario;
    record.turn = outcome.turn;
    record.served = outcome.served;
    if let Reaction::Respond { response, .. } = &outcome.reaction {
        record.status = Some(response.status().as_u16());
    }
    // Noted before the answer, so that a test that has the answer finds the record.
    server.journal.add(record);
    let (delay, response) = match outcome.reaction {
        Reaction::Respond { delay, response } => (delay, Some(response)),
        Reaction::Silence { delay } => (delay, None),
    };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    match response {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

impl Server {
    fn route(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
        record: &mut RequestRecord,
    ) -> Outcome {
        let plain = |served, response| Outcome {
            scenario: None,
            turn: None,
            served,
            reaction: Reaction::Respond { delay: None, response },
        };
        let api = match path {
            "/v1/messages" | "/v1/messages/count_tokens" => Some(Api::Anthropic),
            "/v1/responses" => Some(Api::OpenaiResponses),
            _ => None,
        };
        record.api = api;
        match (method.as_str(), path) {
            ("HEAD" | "GET", "/") => plain(Served::Alive, json_response(200, &json!({ "status": "ok" }))),
            ("GET", "/v1/models") => {
                let list = models(headers.contains_key("anthropic-version"));
                plain(Served::Models, json_response(200, &list))
            }
            // 426 makes codex go on over HTTP at once; 404 and 400 make it try six times first.
            ("GET", "/v1/responses") => plain(
                Served::UpgradeRefused,
                json_response(
                    426,
                    &json!({ "error": { "message": "no WebSocket here: use POST", "type": "invalid_request_error" } }),
                ),
            ),
            ("POST", "/v1/messages" | "/v1/messages/count_tokens" | "/v1/responses") => {
                let api = api.unwrap_or(Api::OpenaiResponses);
                let body = match unpacked(headers, body).and_then(|body| {
                    serde_json::from_slice::<Value>(&body)
                        .map_err(|error| BodyProblem::NotJson(error.to_string()))
                }) {
                    Ok(body) => body,
                    Err(problem) => return self.refused(api, &problem.to_string()),
                };
                let request = match api {
                    Api::Anthropic => anthropic::request(&body),
                    Api::OpenaiResponses => responses::request(&body),
                };
                record.model = Some(request.model.clone());
                record.stream = request.stream;
                record.tools = request.tools.iter().map(|tool| tool.name.clone()).collect();
                record.prompt =
                    request.prompt().map(|prompt| prompt.chars().take(MAX_PROMPT_CHARS).collect());
                if path.ends_with("/count_tokens") {
                    let count = json!({ "input_tokens": UsageFigures::default().input });
                    return plain(Served::TokenCount, json_response(200, &count));
                }
                self.model_answer(&request, headers)
            }
            _ => {
                let message = format!("nothing is served at {method} {path}");
                let body =
                    json!({ "type": "error", "error": { "type": "not_found_error", "message": message } });
                plain(Served::Refused { message }, json_response(404, &body))
            }
        }
    }
}

fn is_coding_cli(headers: &HeaderMap) -> bool {
    headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| CODING_CLIS.iter().any(|name| agent.starts_with(name)))
}

fn models(anthropic: bool) -> Value {
    if anthropic {
        let data: Vec<Value> = MODELS
            .iter()
            .map(|id| json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" }))
            .collect();
        json!({ "data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last() })
    } else {
        let data: Vec<Value> = MODELS
            .iter()
            .map(|id| json!({ "id": id, "object": "model", "created": 1_767_225_600, "owned_by": "cloud-code-testkit" }))
            .collect();
        json!({ "object": "list", "data": data })
    }
}
