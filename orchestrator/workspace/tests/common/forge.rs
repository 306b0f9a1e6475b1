//! A forge over http: `git http-backend` behind a small server that checks Basic auth, as GitHub does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use cloud_code_workspace::{Credential, Source};
use secrecy::SecretString;

use super::{check, git, git_command, write};

pub(crate) const TOKEN: &str = "ghs_12345_tea-and-biscuits.for_the_pull_request";

pub(crate) fn credential(token: &str) -> Credential {
    Credential { username: "x-access-token".to_owned(), secret: SecretString::from(token.to_owned()) }
}

/// An answer given instead of git's own.
#[derive(Clone)]
pub(crate) enum Instead {
    /// A status with a body of plain text. `{authorization}` in it becomes the header that was sent.
    Status(u16, &'static str),
    /// The same, for requests whose first line holds the text.
    StatusFor(&'static str, u16, &'static str),
    /// A redirect of everything to another server.
    Redirect(String),
    /// Lets a push take effect and cuts the connection before the answer.
    CutAfterPush,
}

#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

struct State {
    root: PathBuf,
    instead: Mutex<Option<Instead>>,
    seen: Mutex<Vec<Seen>>,
    private: bool,
}

pub(crate) struct Forge {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: String,
    state: Arc<State>,
}

impl Forge {
    /// A forge whose one repository is a bare copy of `source`.
    pub(crate) fn of(source: &Path) -> Self {
        Self::start(source, true)
    }

    fn start(source: &Path, private: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let repository = dir.path().join("octo/shop.git");
        std::fs::create_dir_all(repository.parent().expect("a parent")).expect("a folder");
        check(git_command(dir.path()).args(["clone", "-q", "--bare"]).arg(source).arg(&repository));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            root: dir.path().to_owned(),
            instead: Mutex::new(None),
            seen: Mutex::new(Vec::new()),
            private,
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(&state, stream));
            }
        });
        Self { dir, address, state }
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.path().join("octo/shop.git")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/octo/shop.git", self.address)
    }

    pub(crate) fn target(&self) -> Source {
        Source::parse(&self.url()).expect("a URL")
    }

    pub(crate) fn instead(&self, instead: Option<Instead>) {
        *self.state.instead.lock().expect("a lock") = instead;
    }

    /// The requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().expect("a lock"))
    }

    pub(crate) fn branch(&self, name: &str) -> Option<String> {
        let listed = git(
            &self.repository(),
            &["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{name}")],
        );
        (!listed.is_empty()).then_some(listed)
    }

    /// Installs a hook of the server.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.repository().join("hooks").join(name);
        write(&path, format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

fn serve(state: &State, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut writer = stream;
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        let _ = writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let body = body(&mut reader, &headers);
    let authorization = headers.get("authorization").cloned();
    state
        .seen
        .lock()
        .expect("a lock")
        .push(Seen { line: line.trim_end().to_owned(), authorization: authorization.clone() });
    let instead = state.instead.lock().expect("a lock").clone();
    let answer = match instead {
        Some(Instead::Status(status, text)) => {
            let text = text.replace("{authorization}", authorization.as_deref().unwrap_or_default());
            let decoded =
                authorization.as_deref().and_then(|value| value.strip_prefix("Basic ")).map(|encoded| {
                    String::from_utf8_lossy(
                        &base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64"),
                    )
                    .into_owned()
                });
            let text = text.replace("{pair}", decoded.as_deref().unwrap_or_default());
            plain(status, "Content-Type: text/plain\r\n", &text)
        }
        Some(Instead::StatusFor(part, status, text)) if line.contains(part) => {
            plain(status, "Content-Type: text/plain\r\n", text)
        }
        Some(Instead::Redirect(to)) => {
            let path = line.split(' ').nth(1).expect("a path");
            plain(301, &format!("Location: {to}{path}\r\n"), "")
        }
        _ if state.private && !knows(authorization.as_deref()) => plain(
            401,
            "WWW-Authenticate: Basic realm=\"GitHub\"\r\nContent-Type: text/plain\r\n",
            "Invalid username or token.\n",
        ),
        other => {
            let answer = backend(state, &line, &headers, &body);
            let pushed = line.starts_with("POST") && line.contains("git-receive-pack");
            if pushed && matches!(other, Some(Instead::CutAfterPush)) {
                return;
            }
            answer
        }
    };
    let _ = writer.write_all(&answer);
}

fn knows(authorization: Option<&str>) -> bool {
    let expected = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}"));
    authorization.is_some_and(|value| value == format!("Basic {expected}"))
}

fn plain(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Because\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn body(reader: &mut impl BufRead, headers: &HashMap<String, String>) -> Vec<u8> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).expect("a size");
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).expect("a chunk");
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    let length = headers.get("content-length").map_or(0, |value| value.parse().expect("a length"));
    body.resize(length, 0);
    reader.read_exact(&mut body).expect("a body");
    body
}

/// Runs `git http-backend` as a CGI program.
fn backend(state: &State, line: &str, headers: &HashMap<String, String>, body: &[u8]) -> Vec<u8> {
    let mut words = line.split(' ');
    let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", &state.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "octocat")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git http-backend");
    let mut stdin = child.stdin.take().expect("stdin");
    let body = body.to_owned();
    let feed = thread::spawn(move || drop(stdin.write_all(&body)));
    let mut output = Vec::new();
    child.stdout.take().expect("stdout").read_to_end(&mut output).expect("an answer");
    child.wait().expect("an end");
    feed.join().expect("fed");
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let rest: Vec<&str> = head.lines().filter(|line| !line.starts_with("Status: ")).collect();
    let body = &output[end + 4..];
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        rest.join("\r\n"),
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
