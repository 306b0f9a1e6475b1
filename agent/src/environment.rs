//! The environment of the CLI and its helpers: built from nothing, so that nothing leaks in.

use std::collections::BTreeMap;
use std::path::Path;

use cloud_code_task_schema::{CliManifest, CommitSettings};

use crate::home::{NEVER_COMMIT, TEMP_FOLDER};
use crate::secrets::Secrets;

/// Used when the image names none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Taken over from the agent's environment when set: the time zone, git's quarantine, and extra certificates.
const PASSED_ON: [&str; 5] = [
    "TZ",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];
/// The same for everybody: UTF-8, no terminal, no editor, no pager, nobody to answer a prompt, no watch modes.
const FIXED: [(&str, &str); 11] = [
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    ("NO_COLOR", "1"),
    ("CI", "1"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_EDITOR", "true"),
    ("EDITOR", "true"),
    ("GIT_PAGER", "cat"),
    ("PAGER", "cat"),
];

/// What stays the same for all tasks of one agent.
pub(crate) struct Surroundings<'a> {
    pub(crate) home: &'a Path,
    pub(crate) user_name: &'a str,
    pub(crate) manifest: &'a CliManifest,
    pub(crate) base_url: Option<&'a str>,
}

/// The login shell: codex takes it from the password file, others from `SHELL`; models write for bash.
pub(crate) fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" }
}

/// The environment of git and the verify commands: no credentials.
pub(crate) fn plain(around: &Surroundings<'_>, identity: &CommitSettings) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> =
        FIXED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("PATH", own("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned()));
    set("HOME", around.home.display().to_string());
    set("USER", around.user_name.to_owned());
    set("LOGNAME", around.user_name.to_owned());
    set("SHELL", shell().to_owned());
    if !crate::preflight::has_temp_folder() {
        set("TMPDIR", around.home.join(TEMP_FOLDER).display().to_string());
    }
    for name in PASSED_ON {
        if let Some(value) = own(name) {
            set(name, value);
        }
    }
    for role in ["AUTHOR", "COMMITTER"] {
        set(&format!("GIT_{role}_NAME"), identity.author_name.clone());
        set(&format!("GIT_{role}_EMAIL"), identity.author_email.clone());
    }
    // For the CLI's own commits too. In the environment nothing of the repository or of HOME is changed for it.
    set("GIT_CONFIG_COUNT", "1".to_owned());
    set("GIT_CONFIG_KEY_0", "core.excludesFile".to_owned());
    set("GIT_CONFIG_VALUE_0", around.home.join(NEVER_COMMIT).display().to_string());
    env
}

/// The environment of the CLI itself: the plain one, the manifest's own variables, and the credentials.
pub(crate) fn of_cli(
    around: &Surroundings<'_>,
    identity: &CommitSettings,
    model: Option<&str>,
    secrets: &Secrets,
) -> BTreeMap<String, String> {
    let mut env = plain(around, identity);
    for (name, value) in &around.manifest.env {
        if let Some(value) = fill(value, around.base_url, model) {
            env.insert(name.clone(), value);
        }
    }
    if let (Some(name), Some(url)) = (&around.manifest.base_url_env, around.base_url) {
        env.insert(name.clone(), url.to_owned());
    }
    env.extend(secrets.variables().clone());
    env
}

/// A variable's value; `None` when it speaks of an address or a model and there is none.
fn fill(value: &str, base_url: Option<&str>, model: Option<&str>) -> Option<String> {
    let mut filled = value.to_owned();
    for (placeholder, known) in [("{base_url}", base_url), ("{model}", model)] {
        if filled.contains(placeholder) {
            filled = filled.replace(placeholder, known?);
        }
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_set_only_when_its_value_is_known() {
        assert_eq!(
            fill("{base_url}/v1 {\"a\": {}}", Some("http://h"), None).as_deref(),
            Some("http://h/v1 {\"a\": {}}")
        );
        assert_eq!(fill("{base_url}/v1", None, Some("m")), None);
        assert_eq!(fill("{model}", Some("http://h"), None), None);
        assert_eq!(fill("plain", None, None).as_deref(), Some("plain"));
    }
}
