//! The server on a real socket: slow senders, broken ones, many at once, and its end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, unreachable_pub, reason = "the support module is shared by two tests")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use cloud_code_server::{Limits, ServeError, ServerSetup, serve};
use cloud_code_store::Deliveries;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use support::{SECRET, key, opened, setup, signature};

const BODY: &[u8] = br#"{"action":"opened"}"#;
/// Far beyond what any step here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    token: CancellationToken,
    ended: JoinHandle<Result<(), ServeError>>,
}

async fn start(setup: ServerSetup) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = CancellationToken::new();
    let ended = tokio::spawn(serve(listener, setup, token.clone()));
    Running { address, token, ended }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        timeout(PATIENCE, TcpStream::connect(self.address)).await.unwrap().unwrap()
    }

    async fn end(self) -> Result<(), ServeError> {
        self.token.cancel();
        timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

fn head(guid: &str, framing: &str) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: issues\r\nX-GitHub-Delivery: {guid}\r\n\
         X-GitHub-Hook-Installation-Target-Type: integration\r\nX-GitHub-Hook-Installation-Target-ID: 7\r\n\
         X-Hub-Signature-256: {}\r\n{framing}\r\n\r\n",
        signature(BODY, SECRET)
    )
}

fn whole(guid: &str) -> Vec<u8> {
    [head(guid, &format!("Content-Length: {}", BODY.len())).as_bytes(), BODY].concat()
}

/// Everything until the other side closes, or until one whole answer is there.
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if text.contains("\r\n\r\n") && (text.contains("\"}") || text.contains("e}") || text.contains("ok\n"))
        {
            return text;
        }
        match timeout(PATIENCE, stream.read(&mut piece)).await.unwrap() {
            Ok(0) | Err(_) => return text,
            Ok(length) => read.extend_from_slice(piece.get(..length).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_body_in_slow_chunks_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let server = start(setup(store.clone())).await;
    let mut stream = server.connect().await;
    stream.write_all(head("a-1", "Transfer-Encoding: chunked").as_bytes()).await.unwrap();
    for byte in BODY {
        stream.write_all(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 202"), "{told}");
    assert!(told.contains("x-request-id:"), "{told}");
    assert_eq!(store.delivery(&key("a-1")).await.unwrap().unwrap().delivery.body, BODY);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_and_one_cut_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let limits = Limits { body_time: Duration::from_millis(300), ..Limits::default() };
    let server = start(ServerSetup { limits, ..setup(store.clone()) }).await;
    let request = head("a-1", "Content-Length: 1000");

    let mut endless = server.connect().await;
    endless.write_all(request.as_bytes()).await.unwrap();
    let told = answer(&mut endless).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");

    let mut cut = server.connect().await;
    cut.write_all(request.as_bytes()).await.unwrap();
    cut.write_all(BODY).await.unwrap();
    cut.shutdown().await.unwrap();
    let told = answer(&mut cut).await;
    assert!(!told.starts_with("HTTP/1.1 2"), "{told}");
    server.end().await.unwrap();
    assert_eq!(store.delivery(&key("a-1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_sender_that_dawdles_over_its_headers_loses_the_only_connection() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { connections: 1, header_time: Duration::from_millis(300), ..Limits::default() };
    let server = start(ServerSetup { limits, ..setup(opened(dir.path()).await) }).await;
    let mut dawdler = server.connect().await;
    dawdler.write_all(b"POST /webhooks/github HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut next = server.connect().await;
    next.write_all(&whole("a-1")).await.unwrap();
    let told = answer(&mut next).await;
    assert!(told.starts_with("HTTP/1.1 202"), "{told}");
    let told = answer(&mut dawdler).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    server.end().await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_request_end_their_connection_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(setup(opened(dir.path()).await)).await;
    for junk in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], b"SSH-2.0-x\r\n\r\n", &[b'A'; 200_000]] {
        let mut stream = server.connect().await;
        // The server may hang up in the middle.
        let _ = stream.write_all(junk).await;
        let _ = stream.shutdown().await;
        let told = answer(&mut stream).await;
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    }
    let mut stream = server.connect().await;
    stream.write_all(&whole("a-1")).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 202"));
    server.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_identical_deliveries_at_once_are_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let server = start(setup(store.clone())).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        asked.push(tokio::spawn(async move {
            stream.write_all(&whole("a-1")).await.unwrap();
            answer(&mut stream).await
        }));
    }
    let mut stored = 0;
    for answer in asked {
        let told = answer.await.unwrap();
        assert!(told.starts_with("HTTP/1.1 202"), "{told}");
        stored += usize::from(told.contains("\"stored\":true"));
    }
    assert_eq!((stored, store.next(10).await.unwrap().len()), (1, 1));
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_delivery_during_shutdown_is_stored_and_answered_and_no_new_one_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let server = start(setup(store.clone())).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
    let mut stream = server.connect().await;
    let request = whole("a-1");
    let (most, rest) = request.split_at(request.len() - 1);
    // 100-continue shows that the server is in the middle of this request.
    let most =
        String::from_utf8(most.to_vec()).unwrap().replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(most.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"));

    server.token.cancel();
    // An idle connection is closed at once, which shows that the end has begun.
    assert_eq!(timeout(PATIENCE, idle.read(&mut go_on)).await.unwrap().unwrap(), 0);
    stream.write_all(rest).await.unwrap();
    let told = answer(&mut stream).await;
    assert!(told.starts_with("HTTP/1.1 202"), "{told}");
    let address = server.address;
    server.end().await.unwrap();
    assert_eq!(store.next(10).await.unwrap().len(), 1);
    assert!(TcpStream::connect(address).await.is_err(), "somebody still listens");
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_cut_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { grace: Duration::from_millis(300), ..Limits::default() };
    let server = start(ServerSetup { limits, ..setup(opened(dir.path()).await) }).await;
    let mut stream = server.connect().await;
    stream.write_all(head("a-1", "Content-Length: 1000\r\nExpect: 100-continue").as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    server.end().await.unwrap();
}
