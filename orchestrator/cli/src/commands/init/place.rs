//! Where a GitHub is: the address of its pages, and of its API.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use cloud_code_forge::{Credentials, ForgeError, GITHUB_API, Github, GithubConfig, Pace, Scrubber};

use crate::app::SystemClock;

/// The host whose API is elsewhere.
const GITHUB_COM: &str = "https://github.com";
/// How long a limit is waited out. A person waits, so it is short.
const PATIENCE: Duration = Duration::from_secs(5);

/// One GitHub.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    web: String,
    api: String,
    scrubber: Scrubber,
}

impl Place {
    /// By the address of its pages: `https://github.com`, or an Enterprise Server's.
    pub(crate) fn of_pages(web: &str, scrubber: &Scrubber) -> Result<Self> {
        let web = address(web)?;
        let api = if web == GITHUB_COM { GITHUB_API.to_owned() } else { format!("{web}/api/v3") };
        Ok(Self { web, api, scrubber: scrubber.clone() })
    }

    /// By the address of its API, as in the settings; without one, GitHub.com.
    pub(crate) fn of_api(api: Option<&str>, scrubber: &Scrubber) -> Result<Self> {
        let api = address(api.unwrap_or(GITHUB_API))?;
        let web = match api.strip_suffix("/api/v3") {
            Some(web) => web.to_owned(),
            None if api == GITHUB_API => GITHUB_COM.to_owned(),
            None => api.clone(),
        };
        Ok(Self { web, api, scrubber: scrubber.clone() })
    }

    /// Where its pages are.
    pub(crate) fn web(&self) -> &str {
        &self.web
    }

    /// The address of its API for the settings; none where that is the default.
    pub(crate) fn api_setting(&self) -> Option<&str> {
        (self.api != GITHUB_API).then_some(&self.api)
    }

    /// How to speak to it.
    pub(crate) fn config(&self, credentials: Credentials) -> GithubConfig {
        GithubConfig {
            api_url: self.api.clone(),
            credentials,
            user_agent: format!("cloud-code/{}", env!("CARGO_PKG_VERSION")),
            pace: Pace { patience: PATIENCE, ..Pace::default() },
            scrubber: self.scrubber.clone(),
            clock: Arc::new(SystemClock),
        }
    }

    /// A connection; nothing is asked yet. Inside a runtime.
    pub(crate) fn connect(&self, credentials: Credentials) -> Result<Github, ForgeError> {
        Github::connect(self.config(credentials))
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
        let of_pages = |web| Place::of_pages(web, &Scrubber::default()).unwrap();
        let of_api = |api| Place::of_api(api, &Scrubber::default()).unwrap();
        let dotcom = of_pages("https://github.com/");
        assert_eq!((dotcom.api.as_str(), dotcom.api_setting()), ("https://api.github.com", None));
        let own = of_pages("https://git.example.com");
        assert_eq!(own.api_setting(), Some("https://git.example.com/api/v3"));
        assert_eq!(of_api(own.api_setting()).web(), "https://git.example.com");
        assert_eq!(of_api(None).web(), "https://github.com");
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
