//! The files of secrets: who may read them, and whether they are there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cloud_code_forge::Credentials;
use cloud_code_model::{GithubSettings, IntakeMode};
use secrecy::SecretString;

use crate::commands::doctor::Check;

/// Modes of secret files that are fine: nobody else may read.
const FOR_OTHERS: u32 = 0o077;

/// Who we are, when the file can be read, and what was found. Blocking.
pub(super) fn look(home: &Path, settings: &GithubSettings) -> (Option<Credentials>, Vec<Check>) {
    let mut checks = Vec::new();
    modes(home, settings, &mut checks);
    let identity = match (&settings.app, &settings.token_file) {
        (Some(app), _) => read(home, &app.private_key_file)
            .map(|private_key| Some(Credentials::App { id: app.id, private_key })),
        (None, Some(file)) => read(home, file).map(|token| Some(Credentials::Token(token))),
        (None, None) => Ok(None),
    };
    let identity = identity.unwrap_or_else(|check| {
        checks.push(check);
        None
    });
    (identity, checks)
}

fn read(home: &Path, file: &str) -> Result<SecretString, Check> {
    let path = home.join(file);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(SecretString::from(text.trim())),
        Ok(_) => {
            Err(Check::missing("github", format!("{} is empty", path.display()), "cloud-code init --replace"))
        }
        Err(error) => {
            let found = format!("cannot read {}: {error}", path.display());
            let fix = "cloud-code init, or correct the path in cloud-code.yaml";
            Err(Check::missing("github", found, fix))
        }
    }
}

fn modes(home: &Path, settings: &GithubSettings, checks: &mut Vec<Check>) {
    let app = settings.app.iter().map(|app| &app.private_key_file);
    let files: Vec<&String> = app.chain(&settings.token_file).chain(&settings.webhook_secret_files).collect();
    let mut fine = true;
    for file in &files {
        let path = home.join(file);
        // One that is not there is told where it is used.
        let Ok(there) = fs::metadata(&path) else {
            if settings.webhook_secret_files.contains(file) {
                fine = false;
                let found = format!("{} is not there, so no delivery can be checked", path.display());
                let fix = "cloud-code init, or correct `github.webhook_secret_files`";
                checks.push(Check::missing("secrets", found, fix));
            }
            continue;
        };
        let mode = there.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            fine = false;
            let found = format!("{} can be read by others (mode {mode:o})", path.display());
            checks.push(Check::missing("secrets", found, format!("chmod 600 {}", path.display())));
        }
    }
    if fine {
        checks.push(Check::ok("secrets", format!("{} files, readable by this user alone", files.len())));
    }
    if settings.intake.unwrap_or_default() == IntakeMode::Webhook && settings.webhook_secret_files.is_empty()
    {
        let found = "there is no webhook secret, so nothing is taken in";
        checks.push(Check::missing("webhook", found, "cloud-code init"));
    }
}
