//! Carries deliveries to their address, each on its own, as GitHub does: no order is promised.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::{Delivery, Fate, signature};
use crate::shared::Shared;

/// GitHub gives a receiver ten seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens to new deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Send,
    Hold,
    /// Each is logged as failed and not sent.
    Lose,
}

/// Where deliveries go in, and how many are under way.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) mode: Mode,
    /// So many of the next are lost, whatever the mode.
    pub(crate) lose_next: usize,
    pub(crate) outbox: mpsc::UnboundedSender<u64>,
    pub(crate) under_way: watch::Sender<usize>,
}

impl Mail {
    pub(crate) fn new(outbox: mpsc::UnboundedSender<u64>) -> Self {
        Self { mode: Mode::Send, lose_next: 0, outbox, under_way: watch::Sender::new(0) }
    }

    /// Decides about a new delivery.
    pub(crate) fn accept(&mut self, delivery: &mut Delivery) {
        if self.lose_next > 0 {
            self.lose_next -= 1;
            delivery.fate = unreachable();
            return;
        }
        match self.mode {
            Mode::Hold => delivery.fate = Fate::Held,
            Mode::Lose => delivery.fate = unreachable(),
            Mode::Send => self.send(delivery),
        }
    }

    /// Sends a delivery whatever the mode is.
    pub(crate) fn send(&mut self, delivery: &mut Delivery) {
        if delivery.url.is_none() {
            delivery.fate = unreachable();
            return;
        }
        delivery.fate = Fate::Sending;
        self.under_way.send_modify(|count| *count += 1);
        if self.outbox.send(delivery.id).is_err() {
            delivery.fate = unreachable();
            self.under_way.send_modify(|count| *count -= 1);
        }
    }
}

fn unreachable() -> Fate {
    Fate::Failed("failed to connect to host".to_owned())
}

/// Takes deliveries out and posts each on a task of its own, until the fake is gone.
pub(crate) async fn run(shared: Arc<Shared>, mut outbox: mpsc::UnboundedReceiver<u64>) {
    while let Some(id) = outbox.recv().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let known = shared.with(|world| world.delivery_mut(id).cloned());
            if let Some(delivery) = known {
                let begun = Instant::now();
                let (fate, body) = send(&delivery).await;
                shared.with(|world| {
                    if let Some(delivery) = world.delivery_mut(id) {
                        delivery.duration = begun.elapsed();
                        delivery.fate = fate;
                        delivery.answer_body = body;
                    }
                });
            }
            shared.mail().under_way.send_modify(|count| *count -= 1);
        });
    }
}

/// Posts one delivery: how it went, and what was answered.
pub(crate) async fn send(delivery: &Delivery) -> (Fate, String) {
    match tokio::time::timeout(PATIENCE, post(delivery)).await {
        Ok(Ok((status, body))) => (Fate::Answered(status), body),
        Ok(Err(_)) => (unreachable(), String::new()),
        Err(_) => (Fate::Failed("timed out".to_owned()), String::new()),
    }
}

async fn post(delivery: &Delivery) -> anyhow::Result<(u16, String)> {
    let uri: Uri = delivery.url.as_deref().unwrap_or_default().parse()?;
    let host = uri.host().unwrap_or_default().to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).header("host", format!("{host}:{port}"));
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    let answer =
        sender.send_request(request.body(Full::new(Bytes::from(signature::body(delivery))))?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
