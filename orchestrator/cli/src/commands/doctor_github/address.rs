//! Whether the world can call us.

use std::time::Duration;

use super::Scene;
use crate::commands::doctor::Check;
use crate::commands::init::place::address;
use crate::http::http_agent;
use crate::ui;

/// Longest wait for an answer. A slow proxy still gets through.
const TIME_LIMIT: Duration = Duration::from_secs(20);
const FIX: &str =
    "start `cloud-code serve`, and point the proxy or tunnel of that address at `server.listen`";

pub(super) async fn check(scene: &Scene<'_>, checks: &mut Vec<Check>) {
    let Some(url) = &scene.settings.server.public_url else { return };
    let url = match address(url) {
        Ok(url) => url,
        Err(error) => {
            checks.push(Check::missing("address", error.to_string(), "correct `server.public_url`"));
            return;
        }
    };
    let asked = url.clone();
    checks.push(match tokio::task::spawn_blocking(move || ask(&asked)).await {
        Ok(Ok(200)) => Check::ok("address", format!("{url} answers")),
        Ok(Ok(status)) => Check::warning("address", format!("{url}/healthz answers {status}"), FIX),
        Ok(Err(error)) => {
            Check::warning("address", format!("{url}: {}", ui::one_line(&error.to_string())), FIX)
        }
        Err(error) => Check::warning("address", format!("not checked: {error}"), "run doctor again"),
    });
}

/// Blocking.
fn ask(url: &str) -> Result<u16, ureq::Error> {
    let agent = http_agent(TIME_LIMIT);
    Ok(agent.get(format!("{url}/healthz")).call()?.status().as_u16())
}
