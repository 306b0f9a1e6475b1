//! HTTP: reads a request, lets faults and the gate have their say, and turns an answer into bytes. On hyper itself,
//! because a fault must be able to cut a connection without an answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Answer, Content, Outcome, refused};
use crate::auth::{self, Caller};
use crate::call::{Call, parse_body, parse_query};
use crate::faults::Fault;
use crate::git::http::{self as git_http, GitCall};
use crate::hold::{Held, Pass, When};
use crate::journal::{self, is_mutation};
use crate::shared::Shared;
use crate::state::World;
use crate::{graphql, rates, router};

type Body = BoxBody<Bytes, io::Error>;

/// How long half an answer has to leave. Too short, and a client sees nothing of it; nothing waits for it but the fault.
const FLUSHED: Duration = Duration::from_millis(50);

/// The connection ends here, without another byte.
#[derive(Debug, thiserror::Error)]
#[error("cut on request")]
struct Cut;

/// Serves until the runtime is dropped.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Small answers must not wait for the next packet.
        let _ = stream.set_nodelay(true);
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => talk(stream, shared).await,
                // Who does not trust the certificate hangs up.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        talk(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
    let connection = hyper::server::conn::http1::Builder::new();
    // It ends in an error when a fault cuts it or the client goes; both are wanted.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

/// One request after its body was read.
struct Arrived {
    method: Method,
    prefix: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    git: Option<GitCall>,
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (head, mut incoming) = request.into_parts();
    let (prefix, path) = split_prefix(head.uri.path());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let git = GitCall::parse(&path, &query);
    let fault = shared.faults().take(head.method.as_str(), &path);
    if fault == Some(Fault::CutMidUpload) {
        // Some of it has come; then the line is dead.
        drop(incoming.frame().await);
        return cut(git.is_some());
    }
    let body = incoming.collect().await.map_err(|_| Cut)?.to_bytes();
    let arrived = Arrived { method: head.method, prefix, path, query, headers: head.headers, body, git };
    let noted = note(&shared, &arrived);

    if let Some(answer) = before_effect(&shared, fault.as_ref(), &arrived).await? {
        shared.journal.answered(noted, answer.status);
        return Ok(response(answer, Ending::Whole));
    }
    // git asks with an empty push whether it may, before it sends a large one.
    let probe = arrived.git.is_some() && arrived.body.as_ref() == b"0000";
    let write = is_mutation(arrived.method.as_str(), &arrived.path) && !probe;
    let pass = if write { shared.gate.count(arrived.method.as_str(), &arrived.path) } else { Pass::Free };
    let held = |when| Held { method: arrived.method.to_string(), path: arrived.path.clone(), when };
    let (is_before, is_after) = (held(When::Before), held(When::After));
    let is_git = arrived.git.is_some();
    if pass == Pass::Stop(When::Before) && !shared.gate.stop(is_before).await {
        return cut(is_git);
    }
    // On a task of its own: what a client has sent happens, even when the client is gone.
    let work = tokio::spawn(effect(Arc::clone(&shared), arrived));
    let answer = work.await.map_err(|_| Cut)?;
    if pass == Pass::Stop(When::After) && !shared.gate.stop(is_after).await {
        return cut(is_git);
    }
    match fault {
        Some(Fault::EffectThenCut) => cut(is_git),
        Some(Fault::EffectThenStatus(status)) => {
            shared.journal.answered(noted, status);
            Ok(response(Answer::error(status, "Server Error"), Ending::Whole))
        }
        other => {
            shared.journal.answered(noted, answer.status);
            Ok(response(answer, if other == Some(Fault::Truncated) { Ending::Half } else { Ending::Whole }))
        }
    }
}

/// Ends the connection. git's HTTP library sends a request again by itself when a connection that it used before ends
/// without a byte; so git gets the head of an answer first, and then nothing.
fn cut(is_git: bool) -> Result<Response<Body>, Cut> {
    if !is_git {
        return Err(Cut);
    }
    let answer = Answer::raw("application/x-git-receive-pack-result", "00ff0100unpack ok\n");
    Ok(response(answer, Ending::Half))
}

/// `/api/v3`, the prefix of GitHub Enterprise Server, comes off.
fn split_prefix(path: &str) -> (String, String) {
    match path.strip_prefix("/api/v3") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => ("/api/v3".to_owned(), rest.to_owned()),
        _ => (String::new(), path.to_owned()),
    }
}

fn note(shared: &Shared, arrived: &Arrived) -> usize {
    let caller = shared.with(|world| {
        let caller = match arrived.git {
            Some(_) => git_http::caller(world, &arrived.headers),
            None => auth::caller(world, &arrived.headers).ok(),
        };
        caller.map_or("an unknown token".to_owned(), |caller| caller.name(world))
    });
    let body =
        if arrived.git.is_some() { Value::Null } else { parse_body(&arrived.body).unwrap_or_default() };
    shared.journal.note(journal::Request {
        at: Timestamp::now(),
        method: arrived.method.to_string(),
        path: arrived.path.clone(),
        query: arrived.query.clone(),
        caller,
        body,
        status: 0,
    })
}

/// The faults that come before anything happens.
async fn before_effect(
    shared: &Shared,
    fault: Option<&Fault>,
    arrived: &Arrived,
) -> Result<Option<Answer>, Cut> {
    let answer = match fault {
        Some(Fault::Cut) => return Err(Cut),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(*time).await;
            return Ok(None);
        }
        Some(Fault::Status(status)) => Answer::error(*status, "Server Error"),
        Some(Fault::SecondaryLimit { status, retry_after }) => {
            let text =
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            let answer = match &arrived.git {
                // git shows people what is plain text, and nothing else.
                Some(_) => Answer { status: *status, ..Answer::raw("text/plain", format!("{text}\n")) },
                None => Answer::error(*status, text),
            };
            match retry_after {
                Some(seconds) => answer.with("retry-after", seconds.to_string()),
                None => answer,
            }
        }
        Some(Fault::PrimaryLimit { reset_in }) => used_up(shared, *reset_in),
        Some(Fault::TokenExpired) => {
            let answer = Answer::error(401, "Bad credentials");
            if arrived.git.is_some() {
                answer.with("www-authenticate", "Basic realm=\"GitHub\"")
            } else {
                answer
            }
        }
        Some(Fault::LostAccess) => Answer::error(404, "Not Found"),
        Some(Fault::EffectThenStatus(_) | Fault::EffectThenCut | Fault::Truncated | Fault::CutMidUpload)
        | None => return Ok(None),
    };
    Ok(Some(answer))
}

fn used_up(shared: &Shared, reset_in: Duration) -> Answer {
    let now = shared.with(|world| world.now());
    let reset = now.checked_add(SignedDuration::try_from(reset_in).unwrap_or_default()).unwrap_or(now);
    Answer::error(403, "API rate limit exceeded for installation.")
        .with("x-ratelimit-limit", "5000")
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-used", "5000")
        .with("x-ratelimit-reset", reset.as_second().to_string())
        .with("x-ratelimit-resource", "core")
}

/// What the call does, and its answer.
async fn effect(shared: Arc<Shared>, arrived: Arrived) -> Answer {
    if let Some(call) = arrived.git {
        return git_http::answer(shared, arrived.headers, call, arrived.body).await;
    }
    let blocking = tokio::task::spawn_blocking(move || {
        let id = arrived.path.strip_prefix("/_logs/").map(str::to_owned);
        match id {
            Some(id) => log(&shared, &id),
            None => api(&shared, arrived),
        }
    });
    blocking.await.unwrap_or_else(|_| Answer::error(500, "the fake panicked; see the test's output"))
}

/// The store behind a job's log.
fn log(shared: &Shared, id: &str) -> Answer {
    let text = shared.with(|world| {
        let (repo, job) = id.split_once('/')?;
        world.repo(repo.parse().ok()?)?.job_logs.get(&job.parse().ok()?).cloned()
    });
    text.map_or_else(|| Answer::error(404, "Not Found"), |text| Answer::raw("text/plain", text))
}

fn api(shared: &Shared, arrived: Arrived) -> Answer {
    let path =
        shared.with(|world| lasting_path(world, &arrived.path)).unwrap_or_else(|| arrived.path.clone());
    let method = arrived.method.as_str();
    let query = parse_query(Some(&arrived.query));
    let parsed = parse_body(&arrived.body);
    if method == "POST" && graphql::is_at(&path) {
        return graph(shared, &arrived, parsed);
    }
    let Some((route, params)) = router::find(method, &path) else {
        let known = shared.description.as_ref().is_some_and(|description| description.knows(method, &path));
        let why = if known { "the fake does not play it" } else { "not an operation of GitHub's" };
        shared.violations().push(format!("{method} {path}: {why}"));
        return Answer::error(404, "Not Found");
    };
    let operation = format!("{method} {}", route.template);
    if let Some(description) = &shared.description {
        let body = parsed.as_ref().cloned().unwrap_or_default();
        shared.violations().extend(description.check_request(&operation, &query, &body));
    }
    let mut answer = shared.with(|world| {
        let fresh = identify(world, &arrived.headers).and_then(|caller| {
            let body = parsed?;
            Ok(Call {
                method: method.to_owned(),
                path: arrived.path.clone(),
                prefix: arrived.prefix.clone(),
                query,
                headers: arrived.headers.clone(),
                body,
                params,
                caller,
                repo: 0,
            })
        });
        let (caller, outcome): (Caller, Outcome) = match fresh {
            Ok(mut call) => {
                let outcome = router::answer(world, route, &mut call);
                (call.caller, outcome)
            }
            Err(refusal) => (Caller::Nobody, Err(refusal)),
        };
        let mut answer = outcome.unwrap_or_else(|refusal| *refusal);
        tag(&mut answer, &arrived, &caller);
        // What has not changed costs nothing, nor does asking what is left.
        let free = answer.status == 304 || route.template == "/rate_limit";
        answer.headers.extend(rates::headers(rates::spend(world, &caller, u64::from(!free))));
        answer.headers.push(("x-github-request-id", format!("FA4E:{:x}", world.id())));
        answer
    });
    if let Some(description) = &shared.description {
        let body = match &answer.body {
            Content::Json(body) => Some(body),
            Content::None | Content::Raw(..) => None,
        };
        shared.drift().extend(description.check_answer(&operation, answer.status, body));
    }
    answer.headers.push(("x-github-media-type", "github.v3; format=json".to_owned()));
    answer
}

/// GraphQL has an address of its own, and a limit of its own.
fn graph(shared: &Shared, arrived: &Arrived, body: Result<Value, crate::answer::Refused>) -> Answer {
    let (answer, wrong) = shared.with(|world| {
        let caller = match identify(world, &arrived.headers) {
            Ok(Caller::Nobody) => {
                return (refused(401, "This endpoint requires you to be authenticated."), None);
            }
            Ok(caller) => caller,
            Err(refusal) => return (refusal, None),
        };
        match body {
            Ok(body) => {
                let (answer, wrong) = graphql::answer(world, &caller, &body);
                (Box::new(answer), wrong)
            }
            Err(refusal) => (refusal, None),
        }
    });
    shared.violations().extend(wrong);
    answer.with("x-ratelimit-resource", "graphql")
}

/// The path of a repository that was asked for by its id, as redirects do.
fn lasting_path(world: &World, path: &str) -> Option<String> {
    let rest = path.strip_prefix("/repositories/")?;
    let (id, rest) =
        rest.split_once('/').map_or((rest, String::new()), |(id, rest)| (id, format!("/{rest}")));
    let repo = world.repo(id.parse().ok()?)?;
    Some(format!("/repos/{}{rest}", world.full_name(repo)))
}

fn identify(world: &World, headers: &HeaderMap) -> Result<Caller, crate::answer::Refused> {
    if !headers.contains_key("user-agent") {
        return Err(refused(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        ));
    }
    auth::caller(world, headers)
}

/// An ETag for what was read; 304 for who has it already.
fn tag(answer: &mut Answer, arrived: &Arrived, caller: &Caller) {
    if arrived.method != Method::GET || answer.status != 200 {
        return;
    }
    let bytes = match &answer.body {
        Content::Json(body) => body.to_string().into_bytes(),
        Content::Raw(_, bytes) => bytes.to_vec(),
        Content::None => return,
    };
    // GitHub's tags differ between tokens; here between callers.
    let hash = digest(&SHA256, &[format!("{caller:?}").as_bytes(), &bytes].concat());
    let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("W/\"{hex}\"");
    let asked = arrived.headers.get("if-none-match").and_then(|value| value.to_str().ok());
    if asked.is_some_and(|asked| asked.split(", ").any(|one| one == tag)) {
        answer.status = 304;
        answer.body = Content::None;
    }
    answer.headers.push(("etag", tag));
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Half,
}

fn response(answer: Answer, ending: Ending) -> Response<Body> {
    let mut builder = Response::builder().status(answer.status).header("server", "github.com");
    for (name, value) in answer.headers {
        builder = builder.header(name, value);
    }
    let (kind, bytes) = match answer.body {
        Content::None => (None, Bytes::new()),
        Content::Json(body) => {
            (Some("application/json; charset=utf-8".to_owned()), Bytes::from(body.to_string()))
        }
        Content::Raw(kind, bytes) => (Some(kind), bytes),
    };
    if let Some(kind) = kind {
        builder = builder.header("content-type", kind);
    }
    let body: Body = match ending {
        Ending::Whole => Full::new(bytes).map_err(no_error).boxed(),
        Ending::Half => {
            builder = builder.header("content-length", bytes.len());
            let half = bytes.slice(..bytes.len() / 2);
            // The half must be on its way before the end: what is not flushed is dropped with the connection.
            let end = stream::once(async {
                tokio::time::sleep(FLUSHED).await;
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut on request"))
            });
            BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(half))]).chain(end)))
        }
    };
    builder.body(body).unwrap_or_else(|_| Response::new(Full::new(Bytes::new()).map_err(no_error).boxed()))
}

fn no_error(never: Infallible) -> io::Error {
    match never {}
}
