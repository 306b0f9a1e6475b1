//! Where `/metrics` is served.
//!
//! Never on the listener that takes webhooks: a proxy stands before that one and shows it to the world, so a caller from
//! this machine proves nothing there. The names of projects and what was spent on them are nobody else's affair.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use cloud_code_metrics::{accounts, instruments, pulses};
use cloud_code_server::{Limits, MetricsSetup, metrics_router, serve_routes};
use cloud_code_store::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, SystemClock};
use crate::ui;

/// What switches it off.
const OFF: &str = "off";
/// Scrapers at one time. Each scrape reads the store.
const CONNECTIONS: usize = 16;

/// Starts serving, beside a listener that was asked for as `beside`.
pub(crate) async fn start(
    app: &App,
    beside: &str,
    store: Database,
    tracker: &TaskTracker,
    stop: CancellationToken,
) -> Result<()> {
    let Some(listener) = bind(app.settings.server.metrics_listen.as_deref(), beside).await? else {
        return Ok(());
    };
    if let Ok(address) = listener.local_addr() {
        ui::err(format!("metrics on http://{address}/metrics"));
    }
    let router = metrics_router(MetricsSetup {
        store: std::sync::Arc::new(store),
        clock: std::sync::Arc::new(SystemClock),
        counted: instruments(),
        pulses: pulses(),
        accounts: accounts(),
        home: app.home.clone(),
        version: env!("CARGO_PKG_VERSION"),
    });
    let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
    tracker.spawn(async move { serve_routes(listener, router, &limits, &stop).await });
    Ok(())
}

async fn bind(asked: Option<&str>, beside: &str) -> Result<Option<TcpListener>> {
    match asked {
        Some(OFF) => Ok(None),
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            bound.map(Some).with_context(|| {
                format!("cannot serve metrics on {address}\n  hint: change `server.metrics_listen`, or set it to `off`")
            })
        }
        None => {
            let address = default_address(beside);
            match TcpListener::bind(address).await {
                Ok(listener) => Ok(Some(listener)),
                // Nobody asked for it, so it is no reason not to serve.
                Err(error) => {
                    ui::err(format!(
                        "metrics are not served: cannot listen on {address} ({error})\n  hint: set `server.metrics_listen`, \
                         to an address or to `off`"
                    ));
                    Ok(None)
                }
            }
        }
    }
}

/// This machine's own address with the next port; any port beside any port.
fn default_address(beside: &str) -> SocketAddr {
    let port = beside.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or_default();
    let next = if port == 0 { 0 } else { port.wrapping_add(1) };
    SocketAddr::from(([127, 0, 0, 1], next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_stand_beside_the_webhooks_and_only_for_this_machine() {
        let of = |beside| default_address(beside).to_string();
        assert_eq!(of("127.0.0.1:8642"), "127.0.0.1:8643");
        assert_eq!(of("0.0.0.0:8642"), "127.0.0.1:8643");
        assert_eq!(of("[::]:9000"), "127.0.0.1:9001");
        assert_eq!(of("127.0.0.1:0"), "127.0.0.1:0");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_ends_the_start_only_when_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let asked = address.to_string();
        let before = format!("127.0.0.1:{}", address.port() - 1);
        assert!(bind(None, &before).await.unwrap().is_none());
        assert!(bind(Some(&asked), "127.0.0.1:0").await.is_err());
        assert!(bind(Some("off"), "127.0.0.1:0").await.unwrap().is_none());
        assert!(bind(None, "127.0.0.1:0").await.unwrap().is_some());
    }
}
