//! Asks a provider whether a key works, by the one request that costs nothing: the list of its models. Only where the
//! provider's address was given: a key is never sent to an address that this program made up.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::http::http_agent;

/// Longest wait for the answer. Higher keeps a person waiting for a firewall that drops; lower fails on slow proxies.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// The version of Anthropic's API that the list of models is asked in; required by it.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What is known of a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The provider takes it.
    Valid,
    /// The provider does not.
    Rejected {
        /// Its answer.
        status: u16,
    },
    /// Nobody could say: the network, a gateway without the list of models, an error of the provider.
    NotAsked {
        /// Why.
        why: String,
    },
    /// It cannot be found out without spending.
    Unknown {
        /// Why.
        why: &'static str,
    },
}

/// How an API wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Anthropic,
    AnthropicBearer,
    Openai,
    Gemini,
}

/// The API that a credential's variable belongs to; `None` for logins and for providers that are not asked.
fn api_of(variable: &str) -> Option<Api> {
    match variable {
        "ANTHROPIC_API_KEY" => Some(Api::Anthropic),
        "ANTHROPIC_AUTH_TOKEN" => Some(Api::AnthropicBearer),
        "OPENAI_API_KEY" | "CODEX_API_KEY" => Some(Api::Openai),
        "GEMINI_API_KEY" | "GOOGLE_API_KEY" | "GOOGLE_GENERATIVE_AI_API_KEY" => Some(Api::Gemini),
        _ => None,
    }
}

/// Whether the key works at that address. Blocking.
pub(crate) fn ask(variable: &str, key: &SecretString, base_url: Option<&str>) -> Verdict {
    let Some(api) = api_of(variable) else {
        return Verdict::Unknown { why: "a login, or a provider that has no free question" };
    };
    let Some(base_url) = base_url else {
        return Verdict::Unknown { why: "no address of the provider was given, pass --base-url to ask it" };
    };
    let path = match api {
        Api::Anthropic | Api::AnthropicBearer | Api::Openai => "/v1/models",
        Api::Gemini => "/v1beta/models",
    };
    let agent = http_agent(TIME_LIMIT);
    let request = agent.get(format!("{}{path}", base_url.trim_end_matches('/')));
    let key = key.expose_secret();
    let request = match api {
        Api::Anthropic => request.header("x-api-key", key).header("anthropic-version", ANTHROPIC_VERSION),
        Api::AnthropicBearer => request
            .header("authorization", format!("Bearer {key}"))
            .header("anthropic-version", ANTHROPIC_VERSION),
        Api::Openai => request.header("authorization", format!("Bearer {key}")),
        Api::Gemini => request.header("x-goog-api-key", key),
    };
    match request.call() {
        Ok(response) => match response.status().as_u16() {
            200..=299 => Verdict::Valid,
            status @ (401 | 403) => Verdict::Rejected { status },
            status => Verdict::NotAsked { why: format!("{base_url}{path} answered {status}") },
        },
        Err(error) => Verdict::NotAsked { why: format!("{base_url} cannot be reached: {error}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers one request with that status and returns what was asked, header lines in lower case.
    fn asked(variable: &str, status: &str) -> (Verdict, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/", listener.local_addr().unwrap());
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 2\r\n\r\n{{}}");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            stream.write_all(answer.as_bytes()).unwrap();
            asked.join("\n")
        });
        let verdict = ask(variable, &SecretString::from("key-1"), Some(&base_url));
        (verdict, server.join().unwrap())
    }

    #[test]
    fn each_api_is_asked_in_its_own_way() {
        for (variable, path, header) in [
            ("ANTHROPIC_API_KEY", "/v1/models", "x-api-key: key-1"),
            ("ANTHROPIC_AUTH_TOKEN", "/v1/models", "authorization: Bearer key-1"),
            ("CODEX_API_KEY", "/v1/models", "authorization: Bearer key-1"),
            ("GEMINI_API_KEY", "/v1beta/models", "x-goog-api-key: key-1"),
        ] {
            let (verdict, asked) = asked(variable, "200 OK");
            assert_eq!(verdict, Verdict::Valid, "{variable}");
            assert!(asked.starts_with(&format!("GET {path} HTTP/1.1")), "{asked}");
            assert!(
                asked.lines().any(|line| line.eq_ignore_ascii_case(header)),
                "{header} is not in {asked}"
            );
        }
    }

    #[test]
    fn a_refusal_is_told_from_an_answer_that_says_nothing() {
        assert_eq!(asked("CODEX_API_KEY", "401 Unauthorized").0, Verdict::Rejected { status: 401 });
        assert_eq!(asked("CODEX_API_KEY", "403 Forbidden").0, Verdict::Rejected { status: 403 });
        for status in ["404 Not Found", "503 Service Unavailable", "302 Found"] {
            let (verdict, _) = asked("CODEX_API_KEY", status);
            assert!(matches!(verdict, Verdict::NotAsked { .. }), "{status}: {verdict:?}");
        }
        let key = SecretString::from("key-1");
        let nobody = ask("CODEX_API_KEY", &key, Some("http://127.0.0.1:9"));
        assert!(matches!(nobody, Verdict::NotAsked { .. }), "{nobody:?}");
        assert!(matches!(ask("CODEX_API_KEY", &key, None), Verdict::Unknown { .. }));
        let login = ask("CLAUDE_CODE_OAUTH_TOKEN", &key, Some("http://127.0.0.1:9"));
        assert!(matches!(login, Verdict::Unknown { .. }), "a login was sent to an address");
    }
}
