//! One request to the API, read: who calls, with what, about which repository.

use bytes::Bytes;
use hyper::HeaderMap;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::answer::{Answer, Refused, invalid, not_found};
use crate::auth::Caller;
use crate::state::{Repo, World};

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Decoded segments are in `params`; this is the path as sent, without the prefix.
    pub(crate) path: String,
    /// `/api/v3` or nothing.
    pub(crate) prefix: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) params: Vec<String>,
    pub(crate) caller: Caller,
    /// The repository of the path, 0 where a path has none.
    pub(crate) repo: u64,
}

/// Who does something: a person, or a bot through its App.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor {
    pub(crate) user: u64,
    pub(crate) app: Option<u64>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The n-th parameter of the path.
    pub(crate) fn param(&self, at: usize) -> &str {
        self.params.get(at).map_or("", String::as_str)
    }

    /// The n-th parameter as a number; what is no number does not exist.
    pub(crate) fn number(&self, at: usize) -> Result<u64, Refused> {
        self.param(at).parse().map_err(|_| not_found())
    }

    /// A text of the body.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    pub(crate) fn required(&self, resource: &str, name: &str) -> Result<&str, Refused> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(resource, name, "missing_field"))
    }

    /// A list of texts of the body; `None` when it is left out.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.body.get(name)?.as_array()?;
        Some(
            list.iter()
                .filter_map(|item| item.as_str().or_else(|| item.get("name").and_then(Value::as_str)))
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(crate) fn since(&self) -> Result<Option<Timestamp>, Refused> {
        self.query("since")
            .map(|text| text.parse().map_err(|_| invalid("Issue", "since", "invalid")))
            .transpose()
    }

    /// The repository of the path. The router has found it, so it is there.
    pub(crate) fn repo<'a>(&self, world: &'a World) -> Result<&'a Repo, Refused> {
        world.repo(self.repo).ok_or_else(not_found)
    }

    pub(crate) fn actor(&self, world: &World) -> Result<Actor, Refused> {
        let actor = match &self.caller {
            Caller::Person { user, .. } => Some(Actor { user: *user, app: None }),
            Caller::Installation { app, .. } => {
                world.app(*app).map(|known| Actor { user: known.bot, app: Some(*app) })
            }
            Caller::App(_) | Caller::Nobody => None,
        };
        actor.ok_or_else(|| crate::answer::refused(401, "Requires authentication"))
    }

    /// One page of a list by `page` and `per_page`, with the Link header GitHub sends.
    pub(crate) fn page(&self, world: &World, items: Vec<Value>) -> Answer {
        let (shown, link) = self.cut(world, items);
        with_link(Answer::ok(Value::Array(shown)), link)
    }

    /// As `page`, for the lists that sit in an object with their count.
    pub(crate) fn page_in(&self, world: &World, name: &str, items: Vec<Value>) -> Answer {
        let total = items.len();
        let (shown, link) = self.cut(world, items);
        with_link(Answer::ok(json!({"total_count": total, name: shown})), link)
    }

    fn cut(&self, world: &World, items: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let number = |name: &str, default: usize| {
            self.query(name).and_then(|text| text.parse().ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let size = number("per_page", 30).min(100);
        let page = number("page", 1);
        let pages = items.len().div_ceil(size).max(1);
        let mut links = Vec::new();
        if page < pages {
            links.push((page + 1, "next"));
            links.push((pages, "last"));
        }
        if page > 1 {
            links.push((page - 1, "prev"));
            links.push((1, "first"));
        }
        let text: Vec<String> = links
            .into_iter()
            .map(|(page, rel)| self.link(world, &[("page", &page.to_string())], rel))
            .collect();
        let shown = items.into_iter().skip((page - 1) * size).take(size).collect();
        (shown, (!text.is_empty()).then(|| text.join(", ")))
    }

    /// One entry of a Link header: this request's address with some parameters replaced.
    pub(crate) fn link(&self, world: &World, replace: &[(&str, &str)], rel: &str) -> String {
        let mut query: Vec<String> = self
            .query
            .iter()
            .filter(|(key, _)| !replace.iter().any(|(name, _)| name == key))
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        query.extend(replace.iter().map(|(key, value)| format!("{key}={}", encode(value))));
        format!("<{}{}{}?{}>; rel=\"{rel}\"", world.api_url, self.prefix, self.path, query.join("&"))
    }
}

pub(crate) fn with_link(answer: Answer, link: Option<String>) -> Answer {
    match link {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(crate) fn parse_query(query: Option<&str>) -> Vec<(String, String)> {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))))
        .collect()
}

/// The body as JSON; an empty one is null.
pub(crate) fn parse_body(body: &Bytes) -> Result<Value, Refused> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| crate::answer::refused(400, "Problems parsing JSON"))
}
