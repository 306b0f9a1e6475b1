//! A plain HTTP client: what is on the wire, and nothing smoothed over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes, so that it only ends a test that is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One response, as far as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end: a connection that is cut has none.
    pub(crate) complete: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a text body")
    }

    /// The events of a stream: name and data. Some APIs give them no name, and one ends with a word.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        self.text()
            .split("\n\n")
            .filter(|block| !block.is_empty())
            .map(|block| {
                let (name, data) = match block.split_once('\n') {
                    Some((name, data)) => (name.strip_prefix("event: ").expect("a name"), data),
                    None => ("", block),
                };
                match data.strip_prefix("data: ").expect("data") {
                    "[DONE]" => ("[DONE]".to_owned(), Value::Null),
                    data => (name.to_owned(), serde_json::from_str(data).expect("JSON data")),
                }
            })
            .collect()
    }
}

/// Sends a request and returns the open connection.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).expect("the head goes out");
    stream.write_all(body).expect("the body goes out");
    stream
}

/// Sends a request and reads all of the answer.
pub(crate) fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = send(address, method, path, headers, body);
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).expect("an answer in time");
    parse(&raw)
}

/// Posts JSON.
pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> Reply {
    call(address, "POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn parse(raw: &[u8]) -> Reply {
    let split = raw.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(raw[..split].to_vec()).expect("a text head");
    let mut lines = head.lines();
    let status = lines.next().expect("a status line").split(' ').nth(1).expect("a status");
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut reply = Reply {
        status: status.parse().expect("a number"),
        headers,
        body: raw[split + 4..].to_vec(),
        complete: true,
    };
    if reply.header("transfer-encoding") == Some("chunked") {
        (reply.body, reply.complete) = unchunked(&reply.body);
    }
    reply
}

fn unchunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|window| window == b"\r\n") {
        let length =
            std::str::from_utf8(&raw[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(length) = length else { return (body, false) };
        if length == 0 {
            return (body, true);
        }
        let Some(chunk) = raw.get(end + 2..end + 2 + length) else { return (body, false) };
        body.extend_from_slice(chunk);
        raw = raw.get(end + 4 + length..).unwrap_or_default();
    }
    (body, false)
}
