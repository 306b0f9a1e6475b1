//! One account's way to GitHub: octocrab for connections, tokens and signatures, everything else here.
//!
//! octocrab's own retries repeat writes, its pages lose the token, its cache has no bound and its models refuse answers
//! of GitHub, so only its `execute` is used. That sends once, and once more after a 401 with a new installation token,
//! which is safe as a 401 has no effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloud_code_model::Clock;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, LINK, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Effect, ForgeError};
use crate::pace::Limits;
use crate::port::Priority;
use crate::scrub::Scrubber;

use super::etag::{EtagCache, Remembered};
use super::refusal::{self, Refusal};
use super::seen;

/// Longest wait for one answer. GitHub itself gives up after ten seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer. A hundred comments of the longest kind are 7 MB of text, up to four times that in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Tries of a read. One is too few for a restarting server, many hide a fault.
const READ_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Times one call waits out a limit before the caller is told.
const LIMIT_WAITS: u32 = 2;
const MAX_REDIRECTS: u32 = 3;
/// As octocrab itself wants of a token that it uses.
const TOKEN_LASTS: chrono::Duration = chrono::Duration::seconds(30);
/// No token lasts longer than an hour, so this asks for a new one.
const LONGER_THAN_ANY_TOKEN: chrono::Duration = chrono::Duration::hours(2);
pub(super) const PER_PAGE: usize = 100;
/// Beside REST's address, not below it.
const GRAPHQL: &str = "/graphql";
/// The identity itself: the App, or the token's owner.
const ROOT: &str = "own";

/// An answer that is no refusal.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Arc<[u8]>,
    /// Whether it came from another address than was asked.
    pub(super) redirected: bool,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ForgeError::Unexpected { message: error.to_string() })
    }

    /// A parameter of the address that the Link header calls `next`.
    pub(super) fn next(&self, parameter: &str) -> Option<String> {
        let links = self.headers.get(LINK)?.to_str().ok()?;
        let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
        let address = next.split_once('<')?.1.split_once('>')?.0;
        let (_, query) = address.split_once('?')?;
        let found = query.split('&').find_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('='))?;
        Some(found.to_owned())
    }

    fn has_next(&self) -> bool {
        self.headers
            .get(LINK)
            .and_then(|links| links.to_str().ok())
            .is_some_and(|links| links.contains("rel=\"next\""))
    }
}

/// A list, and whether there is more of it.
pub(super) struct Pages<T> {
    pub(super) items: Vec<T>,
    pub(super) more: bool,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Rest,
    Graph,
}

pub(super) struct Client {
    pub(super) rest: Octocrab,
    /// A way to the address of GraphQL, which on Enterprise Server is no child of REST's. An installation's tokens are made
    /// by `rest`: they are not made at that address.
    pub(super) graph: Octocrab,
    pub(super) limits: Limits,
    pub(super) scrubber: Scrubber,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) is_installation: bool,
    /// `https://HOST/api/v3`, without a slash at its end.
    pub(super) base: String,
    pub(super) etags: EtagCache,
    /// Held while a token is made, so that many requests at once make one.
    pub(super) minting: tokio::sync::Mutex<()>,
    /// Whether GitHub makes no tokens for this installation any more.
    pub(super) is_gone: AtomicBool,
    /// By which whoever watches tells accounts apart: `own`, `installation-N`.
    label: String,
}

impl Client {
    pub(super) fn new(
        rest: Octocrab,
        graph: Octocrab,
        limits: Limits,
        scrubber: Scrubber,
        clock: Arc<dyn Clock>,
        installation: Option<u64>,
        base: String,
    ) -> Self {
        let is_installation = installation.is_some();
        let label = installation.map_or_else(|| ROOT.to_owned(), |id| format!("installation-{id}"));
        let etags = EtagCache::default();
        let minting = tokio::sync::Mutex::new(());
        let is_gone = AtomicBool::new(false);
        Self { rest, graph, limits, scrubber, clock, is_installation, base, etags, minting, is_gone, label }
    }

    /// Reads. Waits for its turn, follows renames, and tries again when there was no proper answer.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ForgeError> {
        let mut at = path.to_owned();
        let (mut tries, mut waits, mut hops) = (1, 0, 0);
        loop {
            self.limits.read().await?;
            let got = self.exchange(Api::Rest, &Method::GET, &at, None).await;
            match got.and_then(|answer| self.judge(answer, &at, Effect::None)) {
                Ok(answer) if answer.status.is_redirection() => {
                    hops += 1;
                    let next = self.location(&answer).filter(|_| hops <= MAX_REDIRECTS);
                    let message = format!("`{path}` leads elsewhere");
                    at = next.ok_or(ForgeError::Unexpected { message })?;
                }
                Ok(mut answer) => {
                    answer.redirected = hops > 0;
                    return Ok(answer);
                }
                Err(ForgeError::Limited { until })
                    if waits < LIMIT_WAITS && self.limits.is_patient(until) =>
                {
                    waits += 1
                }
                Err(ForgeError::Unreachable { .. }) if tries < READ_TRIES => {
                    tokio::time::sleep(self.pause(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads and parses.
    pub(super) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ForgeError> {
        self.get(path).await?.json()
    }

    /// Reads a list page by page, by number: the `next` addresses would be asked without a token. `key` names the list
    /// in answers that wrap it.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        key: Option<&str>,
        max_pages: usize,
    ) -> Result<Pages<T>, ForgeError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        for page in 1..=max_pages {
            let answer = self.get(&format!("{path}{joint}per_page={PER_PAGE}&page={page}")).await?;
            let mut value: Value = answer.json()?;
            let list = match key {
                Some(key) => value.get_mut(key).map(Value::take).unwrap_or_default(),
                None => value,
            };
            let read: Result<Vec<T>, _> = serde_json::from_value(list);
            items.extend(
                read.map_err(|error| ForgeError::Unexpected { message: format!("`{path}`: {error}") })?,
            );
            if !answer.has_next() {
                return Ok(Pages { items, more: false });
            }
        }
        Ok(Pages { items, more: true })
    }

    /// Writes, once. Only what was refused for a limit is sent again, as that had no effect. A redirection is handed
    /// back: it had none either.
    pub(super) async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        priority: Priority,
    ) -> Result<Answer, ForgeError> {
        self.send_to(Api::Rest, method, path, body, priority).await
    }

    async fn send_to(
        &self,
        api: Api,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        priority: Priority,
    ) -> Result<Answer, ForgeError> {
        let mut waits = 0;
        loop {
            let turn = self.limits.write(priority).await?;
            let got = self.exchange(api, method, path, body).await;
            let judged = got.and_then(|answer| self.judge(answer, path, Effect::Unknown));
            drop(turn);
            match judged {
                Err(ForgeError::Limited { until })
                    if waits < LIMIT_WAITS && self.limits.is_patient(until) =>
                {
                    waits += 1
                }
                other => return other,
            }
        }
    }

    /// Asks GraphQL for a change that REST does not offer.
    pub(super) async fn mutate(
        &self,
        query: &str,
        variables: Value,
        priority: Priority,
    ) -> Result<Value, ForgeError> {
        let body = serde_json::json!({"query": query, "variables": variables});
        let answer = self.send_to(Api::Graph, &Method::POST, GRAPHQL, Some(&body), priority).await?;
        let mut value: Value = answer.json()?;
        match self.graph_error(&value) {
            Some(error) => Err(error),
            None => Ok(value.get_mut("data").map(Value::take).unwrap_or_default()),
        }
    }

    /// Asks GraphQL for what REST does not tell. It has no effect, so it is paced and tried again like any other reading.
    /// Of several things that were asked for, those that are gone are null.
    pub(super) async fn query(&self, query: &str, variables: Value) -> Result<Value, ForgeError> {
        let body = serde_json::json!({"query": query, "variables": variables});
        let (mut tries, mut waits) = (1, 0);
        loop {
            self.limits.read().await?;
            let got = self.exchange(Api::Graph, &Method::POST, GRAPHQL, Some(&body)).await;
            let judged = got.and_then(|answer| self.judge(answer, GRAPHQL, Effect::None));
            let read = judged.and_then(|answer| {
                let mut value: Value = answer.json()?;
                let error = self.graph_error(&value);
                let data = value.get_mut("data").map(Value::take).filter(|data| !data.is_null());
                match (data, error) {
                    (Some(data), None | Some(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. })) => {
                        Ok(data)
                    }
                    (_, Some(error)) => Err(error),
                    (None, None) => {
                        Err(ForgeError::Unexpected { message: "GraphQL answers nothing".to_owned() })
                    }
                }
            });
            match read {
                Err(ForgeError::Limited { until })
                    if waits < LIMIT_WAITS && self.limits.is_patient(until) =>
                {
                    waits += 1
                }
                Err(ForgeError::Unreachable { .. }) if tries < READ_TRIES => {
                    tokio::time::sleep(self.pause(tries)).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// What GraphQL says went wrong, in an answer that counts as a success.
    fn graph_error(&self, value: &Value) -> Option<ForgeError> {
        let errors = value.get("errors").and_then(Value::as_array).filter(|errors| !errors.is_empty())?;
        let said: Vec<&str> = errors.iter().filter_map(|error| error.get("message")?.as_str()).collect();
        let message = self.scrubber.scrub(&said.join("; ")).into_owned();
        let has =
            |kind: &str| errors.iter().any(|error| error.get("type").and_then(Value::as_str) == Some(kind));
        Some(match () {
            () if has("RATE_LIMITED") => ForgeError::Limited { until: self.limits.stop_by_rule() },
            () if has("FORBIDDEN") => ForgeError::Forbidden { message, permission: None },
            () if has("NOT_FOUND") => ForgeError::NotFound { what: message },
            () => ForgeError::Invalid { message },
        })
    }

    /// Doubling, with up to half of it by chance so that many clients do not come back together.
    fn pause(&self, tries: u32) -> Duration {
        let base = FIRST_PAUSE * (1 << (tries - 1));
        let chance = self.clock.now().subsec_nanosecond().unsigned_abs() % 1000;
        base + base * chance / 2000
    }

    fn judge(&self, answer: Answer, path: &str, effect: Effect) -> Result<Answer, ForgeError> {
        let Answer { status, headers, body, .. } = &answer;
        if status.is_success() || status.is_redirection() {
            self.limits.served();
            if let Some(reset) = refusal::exhausted_until(headers)
                && headers.get("x-ratelimit-resource").is_none_or(|resource| resource == "core")
            {
                self.limits.stop_until(reset);
            }
            return Ok(answer);
        }
        let what = path.split('?').next().unwrap_or(path).trim_start_matches('/');
        let until = match refusal::read(*status, headers, body, what, effect, &self.scrubber) {
            Refusal::Tell(error) => return Err(error),
            Refusal::StopFor(wait) => self.limits.stop_for(wait),
            Refusal::StopUntil(reset) => self.limits.stop_until(reset),
            Refusal::StopByRule => self.limits.stop_by_rule(),
        };
        Err(ForgeError::Limited { until })
    }

    /// Where a redirection leads, if that is this API.
    fn location(&self, answer: &Answer) -> Option<String> {
        let to = answer.headers.get(LOCATION)?.to_str().ok()?;
        let path = to.strip_prefix(&self.base).unwrap_or(to);
        path.starts_with('/').then(|| path.to_owned())
    }

    async fn exchange(
        &self,
        api: Api,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ForgeError> {
        let effect = if method == Method::GET { Effect::None } else { Effect::Unknown };
        let crab = match (api, self.ensure_token(TOKEN_LASTS).await?) {
            (Api::Graph, Some(token)) => self.graph_with(token)?,
            (Api::Graph, None) => self.graph.clone(),
            (Api::Rest, _) => self.rest.clone(),
        };
        let answer = self.exchange_by(&crab, method, path, body, effect).await?;
        // `rest` does this by itself. It had no effect, so it is sent again, once, with a token that is new.
        match (api, answer.status) {
            (Api::Graph, StatusCode::UNAUTHORIZED) if self.is_installation => {
                match self.ensure_token(LONGER_THAN_ANY_TOKEN).await? {
                    Some(token) => {
                        self.exchange_by(&self.graph_with(token)?, method, path, body, effect).await
                    }
                    None => Ok(answer),
                }
            }
            _ => Ok(answer),
        }
    }

    fn graph_with(&self, token: SecretString) -> Result<Octocrab, ForgeError> {
        self.graph.user_access_token(token).map_err(|error| self.failure(&error, Effect::None))
    }

    async fn exchange_by(
        &self,
        crab: &Octocrab,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        effect: Effect,
    ) -> Result<Answer, ForgeError> {
        let known = if method == Method::GET { self.etags.get(path) } else { None };
        let mut builder = http::request::Builder::new().method(method.clone()).uri(path);
        builder = builder.header(ACCEPT, "application/vnd.github+json");
        if let Some(known) = &known {
            builder = builder.header(IF_NONE_MATCH, &known.etag);
        }
        let request =
            crab.build_request(builder, body).map_err(|error| self.failure(&error, Effect::None))?;
        let fetched = tokio::time::timeout(ANSWER_TIMEOUT, async {
            let response = crab.execute(request).await.map_err(|error| self.failure(&error, effect))?;
            let (parts, body) = response.into_parts();
            let body =
                Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| ForgeError::Unreachable {
                    message: self.scrubber.scrub(&error.to_string()).into_owned(),
                    effect,
                })?;
            Ok((parts, body.to_bytes()))
        });
        let (parts, bytes) = match fetched.await {
            Ok(fetched) => fetched?,
            Err(_elapsed) => {
                let message = format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs());
                return Err(ForgeError::Unreachable { message, effect });
            }
        };
        seen::answer(&self.label, parts.status, &parts.headers);
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (parts.status, known) {
            return Ok(Answer {
                status: StatusCode::OK,
                headers: known.headers,
                body: known.body,
                redirected: false,
            });
        }
        let body: Arc<[u8]> = bytes.to_vec().into();
        if method == Method::GET
            && parts.status == StatusCode::OK
            && let Some(etag) = parts.headers.get(ETAG).and_then(|etag| etag.to_str().ok())
        {
            let headers = parts.headers.iter().filter(|(name, _)| *name == LINK);
            let headers = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
            self.etags.put(path, Remembered { etag: etag.to_owned(), headers, body: Arc::clone(&body) });
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body, redirected: false })
    }

    /// The installation's token, which is good for as long at least.
    async fn ensure_token(&self, lasts: chrono::Duration) -> Result<Option<SecretString>, ForgeError> {
        if !self.is_installation {
            return Ok(None);
        }
        let _one_at_a_time = self.minting.lock().await;
        let made =
            tokio::time::timeout(ANSWER_TIMEOUT, self.rest.installation_token_with_buffer(lasts)).await;
        let message = "no installation token in time".to_owned();
        let made = made.map_err(|_elapsed| ForgeError::Unreachable { message, effect: Effect::None })?;
        let token = made.map_err(|error| self.failure(&error, Effect::None))?;
        self.scrubber.learn(token.clone());
        Ok(Some(token))
    }

    /// What a failure of octocrab means. Its own texts carry backtraces, so the causes are told instead.
    pub(super) fn failure(&self, error: &octocrab::Error, effect: Effect) -> ForgeError {
        if let octocrab::Error::GitHub { source, .. } = error {
            // Only making a token is judged by octocrab.
            let message = self.scrubber.scrub(&source.message).into_owned();
            return match source.status_code {
                StatusCode::UNAUTHORIZED => {
                    seen::refused(&self.label);
                    ForgeError::Auth { message }
                }
                // Its owner put the installation on hold, and can take that back.
                StatusCode::FORBIDDEN => {
                    self.is_gone.store(true, Ordering::Relaxed);
                    ForgeError::NoAccess { what: format!("this account: {message}") }
                }
                // Nobody is told that an App was taken away but by this.
                StatusCode::NOT_FOUND => {
                    self.is_gone.store(true, Ordering::Relaxed);
                    ForgeError::NoAccess { what: "this account: the App is not installed there".to_owned() }
                }
                StatusCode::UNPROCESSABLE_ENTITY => ForgeError::Invalid { message },
                StatusCode::TOO_MANY_REQUESTS => ForgeError::Limited { until: self.limits.stop_by_rule() },
                status if status.is_server_error() => {
                    ForgeError::Unreachable { message, effect: Effect::None }
                }
                status => ForgeError::Unexpected { message: format!("no token: {status}: {message}") },
            };
        }
        let octocrab::Error::Service { source, .. } = error else {
            let message = match error {
                octocrab::Error::JWT { .. } => "the App's private key cannot sign".to_owned(),
                _ => "the request could not be made".to_owned(),
            };
            return match error {
                octocrab::Error::Hyper { .. } => {
                    ForgeError::Unreachable { message: "the connection was cut".to_owned(), effect }
                }
                octocrab::Error::JWT { .. } => ForgeError::Auth { message },
                _ => ForgeError::Unexpected { message },
            };
        };
        let is_unsent = source
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        let mut message = source.to_string();
        let mut cause = source.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        let effect = if is_unsent { Effect::None } else { effect };
        ForgeError::Unreachable { message: self.scrubber.scrub(&message).into_owned(), effect }
    }
}
