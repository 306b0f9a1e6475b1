//! A token lent to one run of git, for one URL.
//!
//! It travels as an `Authorization` header in `GIT_CONFIG_*` variables of the child's environment, which only this
//! user and root can read, and which end with the child. A credential helper was rejected: git sends the first
//! request without it, tells helpers to erase what was refused, and a helper is a program to find and to start. The
//! header is bound to the full URL, and redirects are off: git would send its own headers to wherever it was sent.

use std::fmt;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::source::Source;

/// What a forge asks for over http: a user name and a token.
#[derive(Clone)]
pub struct Credential {
    /// The user name, such as `x-access-token`.
    pub username: String,
    /// The token or password.
    pub secret: SecretString,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A credential on its way into one run.
pub(crate) struct Lent {
    url: String,
    /// `scheme://host[:port]`: how credential helpers are chosen.
    origin: String,
    /// The value of the header, and all that must not be seen in what git says.
    header: SecretString,
    hidden: Vec<SecretString>,
}

/// What stands where a secret stood.
const HIDDEN: &[u8] = b"[hidden]";

/// Variables by which git writes down what it does, headers and settings among it.
const TRACES: [&str; 9] = [
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_SETUP",
    "GIT_TRACE2",
    "GIT_TRACE2_EVENT",
    "GIT_TRACE2_PERF",
    "GIT_TRACE2_CONFIG_PARAMS",
    "GIT_TRACE2_ENV_VARS",
];

impl Credential {
    /// The credential for a run against `target`. None if it may not go there: to a path, over ssh, or in the clear
    /// to another machine.
    pub(crate) fn lend(&self, target: &Source) -> Option<Lent> {
        let Source::Url(url) = target else { return None };
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let allowed = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => is_loopback(authority),
            _ => false,
        };
        if !allowed || self.username.contains(':') || self.username.chars().any(char::is_control) {
            return None;
        }
        let pair = SecretString::from(format!("{}:{}", self.username, self.secret.expose_secret()));
        let encoded = SecretString::from(STANDARD.encode(pair.expose_secret()));
        let header = SecretString::from(format!("Authorization: Basic {}", encoded.expose_secret()));
        Some(Lent {
            url: url.clone(),
            origin: format!("{scheme}://{authority}"),
            header,
            hidden: vec![encoded, self.secret.clone()],
        })
    }
}

/// Whether a host, maybe with a port, is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Lent {
    /// Gives the child the header and takes from it whatever could send it elsewhere, write it down, or answer in
    /// its place. The user's own certificates stay in force, and proxies for https.
    pub(crate) fn equip(&self, command: &mut Command) {
        let Self { url, origin, .. } = self;
        let no = String::new;
        // In the clear it goes to this machine, and not by way of a proxy.
        let proxy =
            url.to_ascii_lowercase().starts_with("http:").then(|| (format!("http.{url}.proxy"), no()));
        // A setting for a longer URL wins over a later one, so each stands for the URL itself.
        let settings = [
            (format!("http.{url}.followRedirects"), "false".to_owned()),
            (format!("http.{url}.saveCookies"), "false".to_owned()),
            // An empty value drops what the user's files say. A helper of theirs would answer a refused token with
            // their own name, or be told to erase it.
            ("credential.helper".to_owned(), no()),
            (format!("credential.{origin}.helper"), no()),
            (format!("credential.{url}.helper"), no()),
            ("core.askPass".to_owned(), no()),
            // The longest match wins, so no `insteadOf` of theirs turns the URL into another.
            (format!("url.{url}.insteadOf"), url.clone()),
            (format!("url.{url}.pushInsteadOf"), url.clone()),
            (format!("http.{url}.extraHeader"), no()),
            (format!("http.{url}.extraHeader"), self.header.expose_secret().to_owned()),
        ];
        let settings: Vec<_> = settings.into_iter().chain(proxy).collect();
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        for name in TRACES {
            command.env(name, "0");
        }
        command.env_remove("GIT_CURL_VERBOSE").env_remove("GIT_ASKPASS");
        command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "never");
    }

    /// The text without the secret. If its start was cut off, the rest of a secret there goes too.
    pub(crate) fn scrub(&self, text: &[u8], cut: bool) -> Vec<u8> {
        let secrets = self.hidden.iter().map(|secret| secret.expose_secret().as_bytes());
        let secrets: Vec<&[u8]> = secrets.filter(|secret| !secret.is_empty()).collect();
        let ends = secrets.iter().flat_map(|secret| (1..secret.len()).map(|start| &secret[start..]));
        let left = ends.filter(|end| cut && text.starts_with(end)).map(<[u8]>::len).max();
        let mut clean = Vec::with_capacity(text.len());
        let mut rest = &text[left.unwrap_or_default()..];
        while let Some(first) = rest.first() {
            match secrets.iter().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    clean.extend_from_slice(HIDDEN);
                    rest = &rest[secret.len()..];
                }
                None => {
                    clean.push(*first);
                    rest = &rest[1..];
                }
            }
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential { username: "x-access-token".into(), secret: SecretString::from("tea-and-biscuits") }
    }

    fn lend(url: &str) -> Option<Lent> {
        credential().lend(&Source::parse(url).expect("a URL"))
    }

    #[test]
    fn a_secret_goes_over_https_or_to_this_machine_and_nowhere_else() {
        for url in [
            "https://example.org/o/r",
            "HTTPS://example.org/o/r",
            "http://127.0.0.1:80/o/r",
            "http://localhost/o/r",
            "http://[::1]:80/o/r",
        ] {
            assert!(lend(url).is_some(), "{url}");
        }
        for url in [
            "http://example.org/o/r",
            "http://127.0.0.1.example.org/o/r",
            "http://localhost.example.org/o/r",
            "ssh://git@example.org/o/r",
            "git@example.org:o/r",
            "git://127.0.0.1/o/r",
            "/o/r",
        ] {
            assert!(lend(url).is_none(), "{url}");
        }
    }

    #[test]
    fn nothing_that_is_said_holds_the_secret() {
        let lent = lend("https://example.org/o/r").expect("lent");
        let encoded = STANDARD.encode("x-access-token:tea-and-biscuits");
        let said = format!("remote: {encoded} tea-and-biscuits, tea-and-biscuit");
        let clean = String::from_utf8(lent.scrub(said.as_bytes(), false)).expect("text");
        assert_eq!(clean, "remote: [hidden] [hidden], tea-and-biscuit");
        let rest = format!("biscuits and more{}", " words".repeat(20));
        assert!(!String::from_utf8_lossy(&lent.scrub(rest.as_bytes(), true)).contains("biscuits"));
        assert_eq!(format!("{:?}", credential()), "Credential { username: \"x-access-token\", .. }");
    }

    proptest::proptest! {
        #[test]
        fn no_cut_leaves_a_part_of_the_secret(start in 0_usize..80, before in "[a-p ]{0,40}", after in "[0-9 ]{100}") {
            let lent = lend("https://example.org/o/r").expect("lent");
            let said = format!("{before}tea-and-biscuits{after}");
            let cut = &said.as_bytes()[start.min(said.len())..];
            let clean = String::from_utf8(lent.scrub(cut, start > 0)).expect("text");
            proptest::prop_assert!(!clean.contains("ts"), "{}", clean);
        }
    }

    /// Answers every request with 401 and gives what was asked.
    fn refusing_server() -> (String, std::sync::mpsc::Receiver<String>) {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let reader = BufReader::new(stream.try_clone().expect("a stream"));
                let lines = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let asked = lines.collect::<Vec<_>>().join("\n");
                let _ = sender.send(asked);
                let _ = stream.write_all(
                    b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
            }
        });
        (address, receiver)
    }

    #[test]
    fn the_configuration_of_the_user_neither_redirects_nor_replaces_the_token() {
        let (address, asked) = refusing_server();
        let folder = tempfile::tempdir().expect("a folder");
        let (config, ran) = (folder.path().join("config"), folder.path().join("ran"));
        let helper = format!("helper = \"!touch {}; echo username=own; echo password=own;\"", ran.display());
        let text = format!(
            "[url \"http://127.0.0.1:1/\"]\n insteadOf = http://{address}/\n pushInsteadOf = http://{address}/\n\
             [credential]\n {helper}\n[credential \"http://{address}\"]\n {helper}\n\
             [credential \"http://{address}/o/r\"]\n {helper}\n useHttpPath = true\n\
             [core]\n askPass = touch {}\n[http]\n proxy = http://127.0.0.1:1\n\
             [http \"http://{address}/\"]\n extraHeader = \"Authorization: Basic b3duOm93bg==\"\n",
            ran.display()
        );
        std::fs::write(&config, text).expect("a file");
        let url = format!("http://{address}/o/r");
        let failed = crate::program::Git::transport("ls-remote", None)
            .env("GIT_CONFIG_GLOBAL", &config)
            .env("http_proxy", "http://127.0.0.1:1")
            .lend(lend(&url))
            .args(["--", &url])
            .run();
        failed.expect_err("refused");
        let first = asked.recv_timeout(std::time::Duration::from_secs(20)).expect("a request");
        let sent: Vec<&str> = first.lines().filter(|line| line.starts_with("Authorization")).collect();
        assert_eq!(sent, [lend(&url).expect("lent").header.expose_secret()]);
        assert!(asked.try_recv().is_err(), "a second try with another name");
        assert!(!ran.exists(), "a helper of the user ran");
    }
}
