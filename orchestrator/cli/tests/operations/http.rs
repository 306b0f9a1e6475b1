//! One question over HTTP, without a client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::stage::Stage;

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn get(address: &str, path: &str, accept: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let asked =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

impl Stage {
    /// Where `serve` listens, for webhooks and for who measures.
    pub(crate) fn addresses(&self) -> (String, String) {
        let find = |before: &str| {
            self.wait_for(before, || {
                let log = self.log();
                let newest = log.lines().rev().take_while(|line| !line.starts_with("serving "));
                let found = newest.filter_map(|line| line.strip_prefix(before)?.split('/').next()).next();
                found.map(str::to_owned)
            })
        };
        (find("listening on http://"), find("metrics on http://"))
    }
}
