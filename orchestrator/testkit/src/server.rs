//! The HTTP side: paths, bodies, streams, and the faults that only a socket can show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::aider::{self, Aider};
use crate::conversation::{Api, ModelRequest};
use crate::director::{Decision, Director, Pace, call_id};
use crate::journal::{Journal, MAX_PROMPT_CHARS, RequestRecord, Served, public_headers};
use crate::mapping::{self, NoTool, ToolCall};
use crate::outgoing::{Ending, broken, json_response, respond};
use crate::reply::{self, Finish, HttpError, Reply};
use crate::routes::{Ask, Route, route};
use crate::script::{Answer, ErrorText, Fault, FaultKind, Script, UsageFigures};
use crate::unpack::{BodyProblem, MAX_BODY_BYTES, unpacked};
use crate::{anthropic, chat, gemini, responses, side};

/// What a request gets when the script is at its end.
pub(crate) const CLOSING_TEXT: &str = "The script has no more turns. I am done.";

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

    fn model_answer(&self, request: &ModelRequest, aider: Option<&Aider>, headers: &HeaderMap) -> Outcome {
        let mut director = self.director.lock().unwrap_or_else(PoisonError::into_inner);
        let about = director.marker(request);
        let (side, blocks) = match aider {
            Some(Aider::Side) => (Some(side::text(about)), None),
            Some(Aider::Work(blocks)) => (None, Some(blocks)),
            None => (side::answer(request, headers, about), None),
        };
        if let Some(text) = side {
            return Outcome {
                scenario: None,
                turn: None,
                served: Served::Side,
                // It costs nothing, so that a run's tokens are those of its script.
                reaction: self.text(request, &text, UsageFigures::NONE),
            };
        }
        let pace = if blocks.is_some() { Pace::Run } else { Pace::Turn };
        let decision = director.decide(request, pace);
        drop(director);
        match decision {
            Decision::Answer { scenario, position, answer, then } => {
                let turn = answer.turn;
                let said = match blocks {
                    Some(blocks) => aider::answer(answer, then, blocks).map(|answer| (answer, Vec::new())),
                    None => self.calls(request, position, &answer).map(|calls| (answer, calls)),
                };
                match said {
                    Ok((answer, calls)) => self.scripted(request, scenario, answer, calls),
                    Err(error) => {
                        let message = format!("scenario `{scenario}`, turn {turn}: {error}");
                        let refused = self.refused(request.api, &message);
                        Outcome { scenario: Some(scenario), turn: Some(turn), ..refused }
                    }
                }
            }
            Decision::Fault { scenario, fault } => self.fault(request, scenario, &fault),
            Decision::Exhausted { scenario, position: _ } => Outcome {
                scenario: Some(scenario),
                turn: None,
                served: Served::Exhausted,
                reaction: self.text(request, CLOSING_TEXT, UsageFigures::default()),
            },
            Decision::NoScenario => self.refused(
                request.api,
                "no scenario's `match` is in the prompt, and the script has no top-level `turns`",
            ),
        }
    }

    /// The tool calls of an answer, with their ids.
    fn calls(
        &self,
        request: &ModelRequest,
        position: usize,
        answer: &Answer,
    ) -> Result<Vec<(String, ToolCall)>, NoTool> {
        let Some(action) = &answer.action else { return Ok(Vec::new()) };
        let prefix = match request.api {
            Api::Anthropic => anthropic::CALL_PREFIX,
            Api::OpenaiResponses => responses::CALL_PREFIX,
            Api::OpenaiChat => chat::CALL_PREFIX,
            Api::Gemini => gemini::CALL_PREFIX,
        };
        let calls = mapping::calls(action, &request.tools, request.working_directory.as_deref())?;
        Ok(calls.into_iter().map(|call| (call_id(prefix, position, self.serial()), call)).collect())
    }

    fn scripted(
        &self,
        request: &ModelRequest,
        scenario: String,
        answer: Answer,
        calls: Vec<(String, ToolCall)>,
    ) -> Outcome {
        let reply = Reply {
            model: request.model.clone(),
            think: answer.think,
            say: answer.say,
            calls,
            usage: answer.usage,
            serial: self.serial(),
            finish: Finish::Whole,
        };
        Outcome {
            scenario: Some(scenario),
            turn: Some(answer.turn),
            served: Served::Turn,
            reaction: Reaction::Respond { delay: answer.delay, response: respond(request, &reply) },
        }
    }

    fn text(&self, request: &ModelRequest, text: &str, usage: UsageFigures) -> Reaction {
        let reply = Reply {
            model: request.model.clone(),
            think: None,
            say: Some(text.to_owned()),
            calls: Vec::new(),
            usage,
            serial: self.serial(),
            finish: Finish::Whole,
        };
        Reaction::Respond { delay: None, response: respond(request, &reply) }
    }

    fn fault(&self, request: &ModelRequest, scenario: String, fault: &Fault) -> Outcome {
        let delay = fault.delay;
        let error = |error: &HttpError| Some(self.error(request.api, error, &request.model));
        let response = match &fault.kind {
            FaultKind::HangHeaders => None,
            FaultKind::Status(status) => error(status),
            FaultKind::BadKey => error(&reply::bad_key(request.api)),
            FaultKind::OutOfCredit => error(&reply::out_of_credit(request.api)),
            FaultKind::ContextTooLong => error(&reply::context_too_long(request.api)),
            FaultKind::LoginExpired => error(&reply::login_expired(request.api)),
            FaultKind::UsageLimit { resets_in } => {
                error(&reply::usage_limit(request.api, Timestamp::now(), *resets_in))
            }
            FaultKind::ModelUnknown => error(&HttpError::plain(404)),
            FaultKind::Refuse => Some(respond(request, &reply::refusal(&request.model, self.serial()))),
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

    fn error(&self, api: Api, error: &HttpError, model: &str) -> Response {
        let body = reply::error_body(api, error, model, self.serial());
        let mut response = json_response(error.status, &body);
        for (name, value) in reply::error_headers(api, error) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn refused(&self, api: Api, message: &str) -> Outcome {
        let text =
            ErrorText { message: Some(format!("cloud-code-testkit: {message}")), ..ErrorText::default() };
        let error = HttpError { text, ..HttpError::plain(400) };
        Outcome {
            scenario: None,
            turn: None,
            served: Served::Refused { message: message.to_owned() },
            reaction: Reaction::Respond { delay: None, response: self.error(api, &error, "") },
        }
    }
}

/// Every request comes through here: read, decide, note, react.
async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut record = RequestRecord {
        at: Timestamp::now(),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
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
    let route = route(&parts.method, &parts.uri, &parts.headers);
    let api = match &route {
        Route::Upgrade => Some(Api::OpenaiResponses),
        Route::Model(api, _) => Some(*api),
        Route::Alive | Route::Models(_) | Route::Unknown => None,
    };
    record.api = api;
    let outcome = match axum::body::to_bytes(body, MAX_BODY_BYTES).await {
        Ok(body) => server.serve(route, &parts.headers, &body, &mut record),
        Err(error) => {
            let api = api.unwrap_or(Api::OpenaiResponses);
            server.refused(api, &format!("the body cannot be read: {error}"))
        }
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
    fn serve(&self, route: Route, headers: &HeaderMap, body: &Bytes, record: &mut RequestRecord) -> Outcome {
        let plain = |served, response| Outcome {
            scenario: None,
            turn: None,
            served,
            reaction: Reaction::Respond { delay: None, response },
        };
        let (api, ask) = match route {
            Route::Alive => {
                return plain(Served::Alive, json_response(200, &json!({ "status": "ok" })));
            }
            Route::Models(api) => return plain(Served::Models, json_response(200, &models(api))),
            // 426 makes codex go on over HTTP at once; 404 and 400 make it try six times first.
            Route::Upgrade => {
                return plain(
                    Served::UpgradeRefused,
                    json_response(
                        426,
                        &json!({ "error": { "message": "no WebSocket here: use POST", "type": "invalid_request_error" } }),
                    ),
                );
            }
            Route::Unknown => {
                let message = format!("nothing is served at {} {}", record.method, record.path);
                let body =
                    json!({ "type": "error", "error": { "type": "not_found_error", "message": message } });
                return plain(Served::Refused { message }, json_response(404, &body));
            }
            Route::Model(api, ask) => (api, ask),
        };
        let body = match unpacked(headers, body).and_then(|body| {
            serde_json::from_slice::<Value>(&body).map_err(|error| BodyProblem::NotJson(error.to_string()))
        }) {
            Ok(body) => body,
            Err(problem) => return self.refused(api, &problem.to_string()),
        };
        let mut request = match (api, &ask) {
            (Api::Anthropic, _) => anthropic::request(&body),
            (Api::OpenaiResponses, _) => responses::request(&body),
            (Api::OpenaiChat, _) => chat::request(&body),
            (Api::Gemini, Ask::Generate { model, stream }) => gemini::request(&body, model, *stream),
            (Api::Gemini, Ask::Answer | Ask::TokenCount) => gemini::request(&body, "", false),
        };
        let aider = aider::recognise(&mut request);
        record.model = Some(request.model.clone());
        record.stream = request.stream;
        record.tools = request.tools.iter().map(|tool| tool.name.clone()).collect();
        record.prompt = request.prompt().map(|prompt| prompt.chars().take(MAX_PROMPT_CHARS).collect());
        match ask {
            Ask::TokenCount => {
                let tokens = UsageFigures::default().input;
                let count = match api {
                    Api::Gemini => gemini::token_count(tokens),
                    _ => json!({ "input_tokens": tokens }),
                };
                plain(Served::TokenCount, json_response(200, &count))
            }
            Ask::Answer | Ask::Generate { .. } => self.model_answer(&request, aider.as_ref(), headers),
        }
    }
}

fn models(api: Api) -> Value {
    match api {
        Api::Anthropic => {
            let data: Vec<Value> = MODELS
                .iter()
                .map(|id| json!({ "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z" }))
                .collect();
            json!({ "data": data, "has_more": false, "first_id": MODELS.first(), "last_id": MODELS.last() })
        }
        Api::OpenaiResponses | Api::OpenaiChat => {
            let data: Vec<Value> = MODELS
                .iter()
                .map(|id| json!({ "id": id, "object": "model", "created": 1_767_225_600, "owned_by": "cloud-code-testkit" }))
                .collect();
            json!({ "object": "list", "data": data })
        }
        Api::Gemini => {
            let methods = ["generateContent", "countTokens"];
            let models: Vec<Value> = MODELS
                .iter()
                .map(|id| json!({ "name": format!("models/{id}"), "supportedGenerationMethods": methods }))
                .collect();
            json!({ "models": models })
        }
    }
}
