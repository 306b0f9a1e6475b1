//! The smallest GitHub that `init` and `doctor` can talk to: it answers what it was told to and notes what was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) what: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    /// By `METHOD /path`, the query left out.
    answers: BTreeMap<String, (u16, Value)>,
    asked: Vec<Asked>,
    /// Added to the true time in `Date`, in seconds.
    clock_off: i64,
}

pub(crate) struct Github {
    url: String,
    state: Arc<Mutex<State>>,
}

/// An App's key, made for this test and used nowhere.
pub(crate) const KEY: &str = include_str!("test-key.pem");
pub(crate) const SECRET: &str = "a-webhook-secret-of-the-double";

impl Github {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), shared.clone());
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        let github = Self { url, state };
        github.on(
            "POST /app-manifests/code1/conversions",
            201,
            json!({
                "id": 4711,
                "slug": "acme-agent",
                "html_url": format!("{}/apps/acme-agent", github.url),
                "pem": KEY,
                "webhook_secret": SECRET,
                "client_id": "Iv1.x",
                "client_secret": "a-client-secret-of-the-double",
            }),
        );
        github
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn on(&self, what: &str, status: u16, body: Value) {
        self.state.lock().unwrap().answers.insert(what.to_owned(), (status, body));
    }

    pub(crate) fn set_clock_off(&self, seconds: i64) {
        self.state.lock().unwrap().clock_off = seconds;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often that was asked.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.what == what).count()
    }
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let (mut length, mut authorization) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "authorization" => authorization = value.trim().to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let path = target.split('?').next().unwrap();
        // As an Enterprise Server, whose API is below its pages.
        let what = format!("{method} {}", path.strip_prefix("/api/v3").unwrap_or(path));
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { what: what.clone(), authorization, body });
        let (status, body) =
            state.answers.get(&what).cloned().unwrap_or((404, json!({"message": "Not Found"})));
        if what.ends_with("/conversions") {
            // A code works once.
            state.answers.remove(&what);
        }
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(state.clock_off);
        drop(state);
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let body = body.to_string();
        write!(
            stream,
            "HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/json\r\nX-RateLimit-Limit: 5000\r\n\
             X-RateLimit-Remaining: 4999\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    }
}
