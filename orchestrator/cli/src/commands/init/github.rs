//! The few questions that setting up and `doctor` ask GitHub, before there is anything to work with.
//!
//! Plain requests rather than the client that does the work: here a person waits, nothing is retried, and every refusal is
//! explained.

use std::time::Duration;

use anyhow::{Result, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// Longest wait for an answer. A person waits, so it is short; a slow proxy still gets through.
const TIME_LIMIT: Duration = Duration::from_secs(20);
/// Largest answer that is read. A page of the delivery log has about 100 KiB.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// GitHub refuses requests without one.
const USER_AGENT: &str = concat!("cloud-code/", env!("CARGO_PKG_VERSION"));
/// The version of the API that these questions were written for.
const API_VERSION: &str = "2022-11-28";
/// The host whose API is elsewhere.
const GITHUB_COM: &str = "https://github.com";
/// Where that is.
const GITHUB_COM_API: &str = "https://api.github.com";

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum As<'a> {
    /// Nobody.
    Nobody,
    /// The bearer of a token, or of an App's signed statement.
    Bearer(&'a SecretString),
}

/// One GitHub, by the address of its pages.
#[derive(Debug, Clone)]
pub(crate) struct Github {
    web: String,
    api: String,
    agent: ureq::Agent,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: ureq::http::HeaderMap,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A text at a JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer)?.as_str()
    }

    /// What GitHub says went wrong.
    pub(crate) fn complaint(&self) -> String {
        let message = self.text("/message").unwrap_or("no reason given");
        format!("{} ({})", crate::ui::one_line(message), self.status)
    }
}

impl Github {
    /// By the address of its pages: `https://github.com`, or an Enterprise Server's.
    pub(crate) fn of_pages(web: &str) -> Result<Self> {
        let web = address(web)?;
        let api = if web == GITHUB_COM { GITHUB_COM_API.to_owned() } else { format!("{web}/api/v3") };
        Ok(Self::new(web, api))
    }

    /// By the address of its API, as in the settings; without one, GitHub.com.
    pub(crate) fn of_api(api: Option<&str>) -> Result<Self> {
        let api = address(api.unwrap_or(GITHUB_COM_API))?;
        let web = match api.strip_suffix("/api/v3") {
            Some(web) => web.to_owned(),
            None if api == GITHUB_COM_API => GITHUB_COM.to_owned(),
            None => api.clone(),
        };
        Ok(Self::new(web, api))
    }

    fn new(web: String, api: String) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIME_LIMIT))
            .http_status_as_error(false)
            // A redirect would carry the token to wherever it points.
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .tls_config(
                ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build(),
            )
            .build()
            .new_agent();
        Self { web, api, agent }
    }

    /// Where its pages are.
    pub(crate) fn web(&self) -> &str {
        &self.web
    }

    /// The address of its API for the settings; none where that is the default.
    pub(crate) fn api_setting(&self) -> Option<&str> {
        (self.api != GITHUB_COM_API).then_some(&self.api)
    }

    /// Asks. Blocking. An error only where there is no answer.
    pub(crate) fn get(&self, path: &str, who: As<'_>) -> Result<Answer> {
        let request = self.agent.get(format!("{}{path}", self.api));
        self.answer(path, with(request, who).call())
    }

    /// Sends JSON. Blocking, and never repeated.
    pub(crate) fn post(&self, path: &str, who: As<'_>, body: &Value) -> Result<Answer> {
        let request = self.agent.post(format!("{}{path}", self.api));
        let sent = with(request, who).content_type("application/json").send(body.to_string());
        self.answer(path, sent)
    }

    fn answer(
        &self,
        path: &str,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer> {
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => bail!("{} cannot be reached: {error}", self.api),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = match response.body_mut().with_config().limit(MAX_ANSWER).read_to_string() {
            Ok(text) => text,
            Err(error) => bail!("the answer of {}{path} cannot be read: {error}", self.api),
        };
        // A proxy answers with a page. Its status is all that counts then.
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, headers })
    }
}

fn with<B>(request: ureq::RequestBuilder<B>, who: As<'_>) -> ureq::RequestBuilder<B> {
    let request =
        request.header("accept", "application/vnd.github+json").header("x-github-api-version", API_VERSION);
    match who {
        As::Nobody => request,
        As::Bearer(token) => request.header("authorization", format!("Bearer {}", token.expose_secret())),
    }
}

/// An address without its last slash. Plain HTTP is for this machine alone: tokens travel on it.
pub(crate) fn address(text: &str) -> Result<String> {
    let text = text.trim().trim_end_matches('/');
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest,
        Some(("http", rest)) if is_loopback(rest) => rest,
        Some(("http", _)) => {
            bail!("`{text}` is not encrypted, and secrets travel on it\n  hint: use https://")
        }
        Some(_) | None => bail!("`{text}` is no address\n  hint: write it as https://github.example.com"),
    };
    let sane = !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte));
    if !sane {
        bail!("`{text}` is no address: host and path alone, without a name, a query or a fragment");
    }
    Ok(text.to_owned())
}

fn is_loopback(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    ["127.0.0.1", "localhost", "[::1]"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_follows_from_the_pages_and_the_pages_from_the_api() {
        let dotcom = Github::of_pages("https://github.com/").unwrap();
        assert_eq!((dotcom.api.as_str(), dotcom.api_setting()), ("https://api.github.com", None));
        let own = Github::of_pages("https://git.example.com").unwrap();
        assert_eq!(own.api_setting(), Some("https://git.example.com/api/v3"));
        assert_eq!(Github::of_api(own.api_setting()).unwrap().web(), "https://git.example.com");
        assert_eq!(Github::of_api(None).unwrap().web(), "https://github.com");
    }

    #[test]
    fn secrets_travel_encrypted_or_not_at_all() {
        for bad in [
            "http://github.example.com",
            "http://127.0.0.1.example.com",
            "github.com",
            "ftp://x",
            "https://",
            "https://a@b",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert_eq!(address("http://127.0.0.1:99/x/").unwrap(), "http://127.0.0.1:99/x");
    }
}
