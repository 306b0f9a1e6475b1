//! The GitHub part of `doctor`: what would keep a comment from becoming a pull request, with what mends it.
//!
//! Each check asks one thing and goes on when another failed. Without a network it says so and checks the files.

mod address;
mod app;
mod files;
mod project;

use std::path::Path;

use cloud_code_forge::{Credentials, ForgeError, Github, Scrubber};
use cloud_code_model::{GlobalSettings, ProjectName, ProjectSettings, RepositoryName};
use jiff::Timestamp;

use super::doctor::Check;
use super::init::place::Place;
use super::init::token;
use super::token_triggers;
use crate::ui;

/// A clock that is further off makes statements of the App that GitHub takes for expired, or for not yet valid.
const MAX_CLOCK_SECONDS: i64 = 60;

/// What is to be done about what can be mended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// Say it.
    Tell,
    /// Do it.
    Do,
}

/// A project that lives on GitHub.
#[derive(Debug, Clone)]
pub(super) struct OnGithub {
    pub(super) name: ProjectName,
    pub(super) repository: RepositoryName,
    pub(super) settings: ProjectSettings,
}

/// Everything that is looked at.
pub(super) struct Scene<'a> {
    pub(super) home: &'a Path,
    pub(super) settings: &'a GlobalSettings,
    pub(super) projects: &'a [OnGithub],
    pub(super) scrubber: &'a Scrubber,
    pub(super) mend: Mend,
}

/// All checks; none where GitHub is not set up.
pub(super) async fn checks(scene: &Scene<'_>) -> Vec<Check> {
    let settings = &scene.settings.github;
    let mut checks = Vec::new();
    if settings.app.is_none() && settings.token_file.is_none() {
        if !scene.projects.is_empty() {
            let found = "projects name a repository, and nobody acts there";
            checks.push(Check::missing("github", found, "cloud-code init"));
        }
        return checks;
    }
    let place = match Place::of_api(settings.api_url.as_deref(), scene.scrubber) {
        Ok(place) => place,
        Err(error) => {
            let fix = "set `github.api_url` in cloud-code.yaml";
            checks.push(Check::missing("github", error.to_string(), fix));
            return checks;
        }
    };
    let home = scene.home.to_owned();
    let of_files = settings.clone();
    match tokio::task::spawn_blocking(move || files::look(&home, &of_files)).await {
        Ok((identity, told)) => {
            checks.extend(told);
            if let Some(identity) = identity {
                as_identity(scene, &place, identity, &mut checks).await;
            }
        }
        Err(error) => {
            let found = format!("the files of secrets were not looked at: {error}");
            checks.push(Check::missing("secrets", found, "run doctor again"));
        }
    }
    address::check(scene, &mut checks).await;
    checks
}

async fn as_identity(scene: &Scene<'_>, place: &Place, identity: Credentials, checks: &mut Vec<Check>) {
    let app = match &identity {
        Credentials::App { id, .. } => Some(*id),
        Credentials::Token(_) | Credentials::None => None,
    };
    let github = match place.connect(identity) {
        Ok(github) => github,
        Err(error) => {
            let fix = "make a new key on the App's page, and put it there";
            checks.push(Check::missing(if app.is_some() { "app" } else { "token" }, error.to_string(), fix));
            return;
        }
    };
    // Told before a refusal, which it may be the reason of.
    match asked("clock", github.server_time().await) {
        Ok(there) => checks.push(clock(Timestamp::now(), there)),
        Err(check) => return checks.push(check),
    }
    match app {
        Some(id) => app::check(scene, place, &github, id, checks).await,
        None => as_token(scene, place, &github, checks).await,
    }
    if let Some(project) = scene.projects.first() {
        project::requests_left(&github, &project.repository, checks).await;
    }
}

/// An answer, or the check that says why there is none. A refusal is an answer.
fn asked<T>(what: &'static str, answer: Result<T, ForgeError>) -> Result<T, Check> {
    answer.map_err(|error| {
        let found = format!("not checked: {}", ui::one_line(&error.to_string()));
        match error {
            ForgeError::Limited { .. } => Check::warning(what, found, "wait, then run doctor again"),
            // As rustls words it; the certificates of the system are those of SSL_CERT_FILE, where it is set. This one does not
            // pass by itself.
            ForgeError::Unreachable { message, .. } if message.contains("UnknownIssuer") => Check::missing(
                what,
                found,
                "its certificate is of an authority that this machine does not know: add the authority to the system's, or \
                 name its PEM file in SSL_CERT_FILE, then run doctor again",
            ),
            _ => Check::warning(
                what,
                found,
                "check the network and `github.api_url`, then run doctor again",
            ),
        }
    })
}

/// Whether it is no refusal, but no answer at all.
const fn is_silence(error: &ForgeError) -> bool {
    matches!(
        error,
        ForgeError::Unreachable { .. } | ForgeError::Limited { .. } | ForgeError::Unexpected { .. }
    )
}

fn clock(here: Timestamp, there: Timestamp) -> Check {
    let off = here.duration_since(there).as_secs();
    if off.abs() > MAX_CLOCK_SECONDS {
        let word = if off > 0 { "ahead of" } else { "behind" };
        let found = format!("{} s {word} GitHub's; its App's statements are refused", off.abs());
        Check::missing("clock", found, "timedatectl set-ntp true")
    } else {
        Check::ok("clock", format!("{} s off GitHub's", off.abs()))
    }
}

/// A token: whose it is, which projects it reaches, and what of its permissions can be read.
async fn as_token(scene: &Scene<'_>, place: &Place, github: &Github, checks: &mut Vec<Check>) {
    let facts = match github.token().await {
        Ok(facts) => facts,
        Err(error) if is_silence(&error) => return checks.extend(asked::<()>("token", Err(error)).err()),
        Err(error) => {
            let found = format!("GitHub does not take it: {}", ui::one_line(&error.to_string()));
            checks.push(Check::missing("token", found, "cloud-code init --replace --token-file PATH"));
            return;
        }
    };
    checks.push(Check::ok("token", format!("{}'s", ui::one_line(&facts.owner.login))));
    for project in scene.projects {
        match token::lacks(github, &facts, &project.repository).await {
            Ok(lacks) => {
                let fix = format!("edit the token at {}/settings/personal-access-tokens", place.web());
                let lacks = lacks.iter().map(|lack| Check::missing("token", ui::one_line(lack), fix.clone()));
                checks.extend(lacks);
            }
            Err(error) => checks.extend(asked::<()>("token", Err(error)).err()),
        }
        if let Ok(forge) = github.repository(&project.repository).await {
            project::check(scene, forge.as_ref(), project, checks).await;
        }
        let triggers = project.settings.triggers.resolved();
        let login = ui::one_line(&facts.owner.login);
        let otherwise = token_triggers::otherwise(&project.name, &triggers, &login);
        checks.extend(otherwise.into_iter().map(|one| Check::warning("triggers", one.told, one.instead)));
        app::repository_hook(scene, place, github, project, checks).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_a_minute_off_is_a_fault() {
        let there: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (off, told) in [
            (0, "0 s off GitHub's"),
            (-60, "60 s off GitHub's"),
            (61, "61 s ahead of GitHub's; its App's statements are refused"),
            (-600, "600 s behind GitHub's; its App's statements are refused"),
        ] {
            let check = clock(there + jiff::SignedDuration::from_secs(off), there);
            assert_eq!(check.found(), told);
        }
    }
}
