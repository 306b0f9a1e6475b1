//! Sends deliveries as GitHub does, over many kept connections.
//!
//! A plain writer of bytes rather than an HTTP client: it shares the processors with what it measures, so it should cost
//! as little as it can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Where deliveries go.
pub(super) const PATH: &str = "/webhooks/github";
/// Whose hook it is.
pub(super) const TARGET_TYPE: &str = "integration";
/// Its number.
pub(super) const TARGET_ID: u64 = 7;
/// Connections at one time.
pub(super) const CONNECTIONS: u32 = 64;
/// An answer that takes longer ends the bench: something hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer; ours has about 200 bytes.
const MAX_ANSWER: usize = 4096;

/// When deliveries are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// Evenly, whether or not earlier ones are answered.
    PerSecond(u32),
    /// Each connection as soon as it has its answer.
    Flood,
}

impl Pace {
    /// For file names.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PerSecond(_) => "paced",
            Self::Flood => "flood",
        }
    }
}

/// What was sent.
pub(super) struct Load {
    /// From when each was due to its answer.
    pub(super) times: Vec<Duration>,
    /// How many were sent and answered with 202.
    pub(super) sent: usize,
    /// Their numbers are below this.
    pub(super) numbers: u64,
    /// From the first to the last answer.
    pub(super) took: Duration,
}

/// Sends for as long as `window`, and waits for the last answers.
pub(super) async fn send(
    address: SocketAddr,
    pace: Pace,
    window: Duration,
    body: &'static [u8],
    secret: &str,
) -> Result<Load> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(body);
    let signature: Arc<str> =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    let next = Arc::new(AtomicU64::new(0));
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for mut stream in streams {
        let (next, signature) = (next.clone(), signature.clone());
        senders.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = match pace {
                    Pace::PerSecond(rate) => begun + Duration::from_secs(number) / rate,
                    Pace::Flood => Instant::now(),
                };
                if due.duration_since(begun) >= window {
                    return anyhow::Ok(times);
                }
                sleep_until(due).await;
                timeout(PATIENCE, deliver(&mut stream, number, &signature, body))
                    .await
                    .context("no answer")??;
                times.push(due.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(of_one) = senders.join_next().await {
        times.extend(of_one??);
    }
    Ok(Load { sent: times.len(), times, numbers: next.load(Ordering::Relaxed), took: begun.elapsed() })
}

/// The id of a delivery.
pub(super) fn guid(number: u64) -> String {
    format!("72d3162e-cc78-11e3-81ab-{number:012x}")
}

async fn deliver(stream: &mut TcpStream, number: u64, signature: &str, body: &[u8]) -> Result<()> {
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: GitHub-Hookshot/bench\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nX-GitHub-Event: issue_comment\r\n\
         X-GitHub-Delivery: {}\r\nX-GitHub-Hook-ID: 1\r\n\
         X-GitHub-Hook-Installation-Target-Type: {TARGET_TYPE}\r\nX-GitHub-Hook-Installation-Target-ID: {TARGET_ID}\r\n\
         X-Hub-Signature-256: sha256={signature}\r\n\r\n",
        body.len(),
        guid(number)
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if let Some(length) = length(&answer)
            && answer.len() >= length
        {
            break;
        }
        if answer.len() > MAX_ANSWER || stream.read_buf(&mut answer).await? == 0 {
            bail!("the answer is cut off: {}", String::from_utf8_lossy(&answer));
        }
    }
    if !answer.starts_with(b"HTTP/1.1 202 ") {
        bail!("the answer is not 202: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Length of the whole answer, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(answer.get(..head)?).ok()?.to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some(head + body.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0))
}
