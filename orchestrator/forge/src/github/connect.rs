//! octocrab, put together from its parts.
//!
//! Its ready-made client retries writes unless told otherwise, follows redirections with everything it carries, and
//! sends its own name beside ours. This one has a connection, an address and a name, and no more.

use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use octocrab::auth::{AppAuth, EncodingKey};
use octocrab::models::AppId;
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use secrecy::ExposeSecret as _;

use crate::error::ForgeError;

use super::{Credentials, GithubConfig};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence on a connection, a little more than the wait for an answer.
const SILENCE: Duration = Duration::from_secs(35);

/// A client for `url`. Needs to be called inside a tokio runtime.
pub(super) fn connect(config: &GithubConfig, url: &str) -> Result<Octocrab, ForgeError> {
    let wrong = |what: &str| ForgeError::Invalid { message: format!("{what} of GitHub is not usable") };
    let base: Uri = url.parse().map_err(|_| wrong("the API address"))?;
    if base.authority().is_none() || !matches!(base.scheme_str(), Some("http" | "https")) {
        return Err(wrong("the API address"));
    }
    let agent = HeaderValue::from_str(&config.user_agent).ok().filter(|agent| !agent.is_empty());
    let agent = agent.ok_or_else(|| wrong("the user agent"))?;
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|_| wrong("the system's set of trusted certificates"))?
        .https_or_http()
        .enable_http1()
        .build();
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_read_timeout(Some(SILENCE));
    connector.set_write_timeout(Some(SILENCE));
    let http: HttpClient<_, OctoBody> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let built = OctocrabBuilder::new_empty()
        .with_service(http)
        .with_layer(&ExtraHeadersLayer::new(Arc::new(vec![(USER_AGENT, agent)])))
        .with_layer(&BaseUriLayer::new(base))
        .with_auth(auth(&config.credentials)?)
        .build();
    match built {
        Ok(client) => Ok(client),
        Err(never) => match never {},
    }
}

fn auth(credentials: &Credentials) -> Result<AuthState, ForgeError> {
    match credentials {
        Credentials::App { id, private_key } => {
            let key = EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes());
            let message = "the App's private key is no RSA key in PEM".to_owned();
            let key = key.map_err(|_| ForgeError::Auth { message })?;
            Ok(AuthState::App(AppAuth { app_id: AppId(*id), key }))
        }
        Credentials::Token(token) => {
            let text = token.expose_secret();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                let message = "the token is empty or holds blanks or line ends".to_owned();
                return Err(ForgeError::Auth { message });
            }
            Ok(AuthState::AccessToken { token: token.clone() })
        }
        Credentials::None => Ok(AuthState::None),
    }
}
