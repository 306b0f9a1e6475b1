//! The browser's part of making an App: a page that hands GitHub the manifest, and the way back with the code.
//!
//! It listens on loopback alone, for as long as `init` waits. What comes back is believed only with the state that this
//! run made, and only once: a page elsewhere on the web could otherwise hand us an App of somebody else.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What GitHub sends the browser back with.
#[derive(Deserialize)]
struct Back {
    code: Option<String>,
    state: Option<String>,
}

/// A code that came back with the right state. The browser waits until it is answered.
pub(crate) struct Code {
    pub(crate) code: String,
    answer: oneshot::Sender<Told>,
}

/// What the browser is told in the end.
pub(crate) enum Told {
    /// It is done; go on there.
    Done {
        /// The page where the App is installed.
        install: String,
    },
    /// It is not.
    Failed {
        /// Why.
        why: String,
    },
}

impl Code {
    /// Ends the browser's wait. A browser that was closed misses nothing: the terminal says the same.
    pub(crate) fn answer(self, told: Told) {
        let _ = self.answer.send(told);
    }
}

struct Page {
    html: String,
    /// Taken by the first way back that is right.
    state: Mutex<Option<String>>,
    codes: mpsc::Sender<Code>,
}

/// The listener before its pages are known: the manifest names its address.
pub(crate) struct Loopback {
    listener: TcpListener,
    port: u16,
}

impl Loopback {
    /// On a port, 0 for any.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
        let port = listener.local_addr().context("the listener has no address")?.port();
        Ok(Self { listener, port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves until the token is cancelled and the last answer is out. Codes come out of the other end of `codes`.
    pub(crate) async fn serve(
        self,
        html: String,
        state: String,
        codes: mpsc::Sender<Code>,
        end: CancellationToken,
    ) -> Result<()> {
        let page = Arc::new(Page { html, state: Mutex::new(Some(state)), codes });
        let routes = Router::new().route("/", get(start)).route("/callback", get(callback)).with_state(page);
        let ended = async move { end.cancelled().await };
        axum::serve(self.listener, routes)
            .with_graceful_shutdown(ended)
            .await
            .context("the page on loopback broke")
    }
}

async fn start(State(page): State<Arc<Page>>) -> Response {
    // The form goes to another host, and nothing else is loaded or run but the line that sends it.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
    ([(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-store")], Html(page.html.clone()))
        .into_response()
}

async fn callback(State(page): State<Arc<Page>>, Query(back): Query<Back>) -> Response {
    let (Some(code), Some(given)) = (back.code, back.state) else {
        return tell(
            StatusCode::BAD_REQUEST,
            "This address belongs to GitHub's answer, and there is none in it.",
        );
    };
    let mut state = page.state.lock().await;
    match state.as_deref() {
        Some(own) if own == given => *state = None,
        Some(_) => {
            return tell(
                StatusCode::BAD_REQUEST,
                "This answer does not belong to the set-up that is running. Begin again from the address in the terminal.",
            );
        }
        None => {
            return tell(StatusCode::GONE, "This answer was used already. The terminal says how it went.");
        }
    }
    drop(state);
    let (answer, told) = oneshot::channel();
    if page.codes.send(Code { code, answer }).await.is_err() {
        return tell(StatusCode::GONE, "The set-up has ended. The terminal says how it went.");
    }
    match told.await {
        Ok(Told::Done { install }) => done(&install),
        Ok(Told::Failed { why }) => tell(StatusCode::BAD_GATEWAY, &why),
        Err(_) => tell(StatusCode::BAD_GATEWAY, "The set-up ended early. The terminal says why."),
    }
}

/// The page that posts the manifest.
pub(crate) fn form(action: &str, manifest: &Value) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>cloud-code</title>\
         <body style=\"font-family:sans-serif;max-width:40em;margin:4em auto\">\
         <h1>Make the GitHub App</h1>\
         <p>GitHub asks for a name next and shows what the App may. Its key comes back to this machine alone.</p>\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"manifest\" value=\"{}\">\
         <button>Go on at GitHub</button></form><script>document.forms[0].submit()</script>",
        escape(action),
        escape(&manifest.to_string())
    )
}

fn done(install: &str) -> Response {
    let install = escape(install);
    page(
        StatusCode::OK,
        &format!(
            "<h1>The App is made</h1><p>Now choose the repositories that it works in: \
             <a href=\"{install}\">{install}</a></p>"
        ),
    )
}

fn tell(status: StatusCode, text: &str) -> Response {
    page(status, &format!("<p>{}</p>", escape(text)))
}

fn page(status: StatusCode, inner: &str) -> Response {
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>cloud-code</title>\
         <body style=\"font-family:sans-serif;max-width:40em;margin:4em auto\">{inner}"
    );
    // The code stands in this page's address.
    let headers = [(REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")];
    (status, headers, Html(html)).into_response()
}

/// Text that stays text, in an attribute too.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_cannot_leave_its_attribute() {
        let html =
            form("https://github.com/x?a=1&b=2", &serde_json::json!({"name": "\"><script>x</script>'"}));
        assert_eq!(html.matches("<script>").count(), 1, "{html}");
        assert!(html.contains("a=1&amp;b=2"), "{html}");
    }
}
