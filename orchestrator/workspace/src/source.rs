//! Where a project's code comes from: a local repository or a URL. Parsing only; `inspect` looks at it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A text that names no usable source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// Nothing was given.
    #[error("the repository is empty text; give a path or a URL")]
    Empty,
    /// It would be read as an option by git or ssh.
    #[error("`{0}` starts with `-`; write a path as `./{0}`")]
    LooksLikeOption(String),
    /// A transport that can run programs, or that is unknown.
    #[error("`{scheme}` is not a transport that is allowed; use https, http, ssh, git or file, or a path")]
    Transport {
        /// What stood before the colons.
        scheme: String,
    },
    /// A password in the URL would end in process lists, logs and the mirror.
    #[error("the URL holds a password or token; remove it and use a git credential helper or an ssh key")]
    HoldsSecret,
    /// Control characters have no place in a path or URL.
    #[error("the repository's name holds a control character")]
    ControlCharacter,
}

/// Where a project's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A repository on this machine, or a folder inside one.
    Path(PathBuf),
    /// A repository elsewhere: https, http, ssh, git, or `user@host:path`.
    Url(String),
}

/// Transports that git runs without a helper of the URL's choosing.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];

impl Source {
    /// Reads what a person wrote. `file://` URLs become paths; a relative path is taken from the current directory.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidSource::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidSource::ControlCharacter);
        }
        if text.starts_with('-') {
            return Err(InvalidSource::LooksLikeOption(text.to_owned()));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::parse_url(text, scheme, rest);
        }
        if let Some((helper, _)) = text.split_once("::")
            && !helper.contains('/')
        {
            return Err(InvalidSource::Transport { scheme: helper.to_owned() });
        }
        // git's own rule: a colon before the first slash makes it `host:path`.
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') && !Path::new(text).exists() => {
                let bare_host = host.rsplit('@').next().unwrap_or(host);
                if bare_host.is_empty()
                    || bare_host.starts_with('-')
                    || path.starts_with('-')
                    || path.is_empty()
                {
                    return Err(InvalidSource::LooksLikeOption(text.to_owned()));
                }
                Ok(Self::Url(text.to_owned()))
            }
            _ => Ok(Self::Path(crate::program::absolute(Path::new(text)))),
        }
    }

    fn parse_url(text: &str, scheme: &str, rest: &str) -> Result<Self, InvalidSource> {
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "file" {
            return Ok(Self::Path(PathBuf::from(rest.strip_prefix("localhost").unwrap_or(rest))));
        }
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(InvalidSource::Transport { scheme });
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // Over http a lone user name is as often a token as a name.
        if user.contains(':') || (scheme.starts_with("http") && !user.is_empty()) {
            return Err(InvalidSource::HoldsSecret);
        }
        if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
            return Err(InvalidSource::LooksLikeOption(text.to_owned()));
        }
        Ok(Self::Url(text.to_owned()))
    }

    /// What git is given. A path is never read as an option: it is absolute.
    pub(crate) fn as_git_argument(&self) -> &std::ffi::OsStr {
        match self {
            Self::Path(path) => path.as_os_str(),
            Self::Url(url) => url.as_ref(),
        }
    }
}

impl FromStr for Source {
    type Err = InvalidSource;
    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        Self::parse(text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_reads_and_nothing_that_runs_a_program() {
        let url = |text: &str| Source::Url(text.to_owned());
        let transport = |scheme: &str| InvalidSource::Transport { scheme: scheme.to_owned() };
        let option = |text: &str| InvalidSource::LooksLikeOption(text.to_owned());
        let cases: Vec<(&str, Result<Source, InvalidSource>)> = vec![
            ("https://github.com/acme/shop", Ok(url("https://github.com/acme/shop"))),
            ("ssh://git@host:2222/acme/shop.git", Ok(url("ssh://git@host:2222/acme/shop.git"))),
            ("git@github.com:acme/shop.git", Ok(url("git@github.com:acme/shop.git"))),
            ("git://host/x", Ok(url("git://host/x"))),
            ("file:///srv/shop", Ok(Source::Path("/srv/shop".into()))),
            ("/srv/a:b", Ok(Source::Path("/srv/a:b".into()))),
            (" /srv/shop ", Ok(Source::Path("/srv/shop".into()))),
            ("", Err(InvalidSource::Empty)),
            ("--upload-pack=touch /tmp/x", Err(option("--upload-pack=touch /tmp/x"))),
            ("ext::sh -c touch% /tmp/x", Err(transport("ext"))),
            ("fd::17", Err(transport("fd"))),
            ("ftp://host/x", Err(transport("ftp"))),
            ("ssh://-oProxyCommand=x/y", Err(option("ssh://-oProxyCommand=x/y"))),
            ("-oProxyCommand=x:y", Err(option("-oProxyCommand=x:y"))),
            ("git@-oProxyCommand=x:y", Err(option("git@-oProxyCommand=x:y"))),
            ("https://user:token@host/x", Err(InvalidSource::HoldsSecret)),
            ("https://ghp_token@host/x", Err(InvalidSource::HoldsSecret)),
            ("https://host/x\ny", Err(InvalidSource::ControlCharacter)),
        ];
        for (text, expected) in cases {
            assert_eq!(Source::parse(text), expected, "{text:?}");
        }
    }
}
