//! `doctor`: what this machine lacks, with the command that fixes it.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;
use cloud_code_engine::COMMAND_CLI;
use cloud_code_runtime::{Runtime, RuntimeError};
use cloud_code_store::Store;
use serde::Serialize;

use super::EXIT_ERROR;
use super::doctor_github::{self, Mend, OnGithub, Scene};
use crate::app::App;
use crate::args::DoctorArgs;
use crate::{settings, ui};

/// Least free space for comfortable work: one CLI image and a large worktree.
const LEAST_FREE_BYTES: u64 = 5 << 30;
/// Oldest git: 2.36 reads `-c safe.directory` from the command line, which preparing a worktree needs.
const LEAST_GIT: (u32, u32) = (2, 36);

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, with a limit.
    Warning,
    /// Tasks cannot run.
    Missing,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    fix: Option<String>,
}

impl Check {
    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Ok, found: found.into(), fix: None }
    }
    pub(super) fn warning(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Warning, found: found.into(), fix: Some(fix.into()) }
    }
    pub(super) fn missing(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Missing, found: found.into(), fix: Some(fix.into()) }
    }
    #[cfg(test)]
    pub(super) fn found(&self) -> &str {
        &self.found
    }
}

/// `cloud-code doctor`.
pub(crate) async fn run(app: &App, args: DoctorArgs) -> Result<ExitCode> {
    let mut checks = vec![git(), home(app).await, disk(&app.home), agent(app)];
    checks.extend(docker(app).await);
    checks.extend(credentials(app));
    checks.extend(github(app, args.fix).await?);
    if args.json {
        for check in &checks {
            ui::out(serde_json::to_string(check)?);
        }
    } else {
        for check in &checks {
            let mark = match check.verdict {
                Verdict::Ok => "ok      ",
                Verdict::Warning => "warning ",
                Verdict::Missing => "MISSING ",
            };
            ui::out(format!("{mark} {:<12} {}", check.what, ui::one_line(&check.found)));
            if let Some(fix) = &check.fix {
                ui::out(format!("                      fix: {fix}"));
            }
        }
    }
    let broken = checks.iter().any(|c| c.verdict == Verdict::Missing);
    Ok(if broken { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS })
}

async fn github(app: &App, fix: bool) -> Result<Vec<Check>> {
    let home = app.home.clone();
    let (projects, mut checks) = tokio::task::spawn_blocking(move || projects(&home)).await?;
    let scene = Scene {
        home: &app.home,
        settings: &app.settings,
        projects: &projects,
        scrubber: &app.scrubber,
        mend: if fix { Mend::Do } else { Mend::Tell },
    };
    checks.extend(doctor_github::checks(&scene).await);
    Ok(checks)
}

/// The projects that name a repository on GitHub, and what is wrong with project files.
fn projects(home: &Path) -> (Vec<OnGithub>, Vec<Check>) {
    let (mut projects, mut checks) = (Vec::new(), Vec::new());
    let Ok(entries) = std::fs::read_dir(home.join(settings::PROJECTS_DIR)) else { return (projects, checks) };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "yaml")) {
        let Some(Ok(name)) = file.file_stem().and_then(|stem| stem.to_str()).map(str::parse) else {
            continue;
        };
        match settings::project(home, &name) {
            Ok(Some(settings)) => {
                if let Some(repository) = settings.github.clone() {
                    projects.push(OnGithub { name, repository, settings });
                }
            }
            Ok(None) => {}
            Err(error) => checks.push(Check::missing("project", format!("{error:#}"), "correct the file")),
        }
    }
    (projects, checks)
}

fn git() -> Check {
    let output = Command::new("git").arg("--version").output();
    let text = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => {
            return Check::missing("git", format!("cannot be started: {error}"), "apt-get install git");
        }
    };
    let mut numbers =
        text.split_whitespace().nth(2).unwrap_or_default().split('.').map(|n| n.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= LEAST_GIT {
        Check::ok("git", text)
    } else {
        let (major, minor) = LEAST_GIT;
        Check::missing("git", format!("{text} is too old"), format!("install git {major}.{minor} or later"))
    }
}

async fn home(app: &App) -> Check {
    match app.store().await {
        Ok(store) => match store.open_tasks().await {
            Ok(open) => Check::ok("home", format!("{}, {} tasks open", app.home.display(), open.len())),
            Err(error) => Check::missing("home", error.to_string(), "restore the database from a backup"),
        },
        Err(error) => Check::missing(
            "home",
            format!("{error:#}"),
            format!("mkdir -p {0} && chown $USER {0}, or pass --home DIR", app.home.display()),
        ),
    }
}

fn disk(home: &Path) -> Check {
    let existing = home.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let found = format!("{} GiB free at {}", free >> 30, existing.display());
            if free >= LEAST_FREE_BYTES {
                Check::ok("disk", found)
            } else {
                Check::warning("disk", found, "cloud-code clean --all; docker system prune")
            }
        }
        Err(error) => {
            Check::warning("disk", format!("cannot be measured: {error}"), "check the folder's file system")
        }
    }
}

fn agent(app: &App) -> Check {
    let path = match app.agent_binary() {
        Ok(path) => path,
        Err(error) => {
            return Check::missing("agent", error.to_string(), "set `agent_binary` in cloud-code.yaml");
        }
    };
    if !path.is_file() {
        let fix = "make build, which puts it beside cloud-code; or set `agent_binary` in cloud-code.yaml";
        return Check::missing("agent", format!("{} is not there", path.display()), fix);
    }
    match Command::new(&path).arg("--version").output() {
        Ok(output) if output.status.success() => {
            Check::ok("agent", String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(_) | Err(_) => {
            Check::missing("agent", format!("{} cannot be started", path.display()), "make build")
        }
    }
}

async fn docker(app: &App) -> Vec<Check> {
    let fix_engine =
        "apt-get install docker.io && systemctl start docker; or use --runtime local, without a sandbox";
    let docker = match app.docker() {
        Ok(docker) => docker,
        Err(error) => return vec![Check::missing("docker", format!("{error:#}"), fix_engine)],
    };
    let info = match docker.check().await {
        Ok(info) => info,
        Err(RuntimeError::EngineForbidden { socket }) => {
            let fix = "sudo usermod -aG docker $USER, then log in again";
            return vec![Check::missing("docker", format!("no permission for {socket}"), fix)];
        }
        Err(error) => return vec![Check::missing("docker", ui::one_line(&error.to_string()), fix_engine)],
    };
    let mut checks = vec![Check::ok(
        "docker",
        format!(
            "engine {}, API {}, storage {}",
            info.version,
            info.api_version.as_deref().unwrap_or("unknown"),
            info.storage.as_deref().unwrap_or("unknown")
        ),
    )];
    for warning in info.warnings {
        checks.push(Check::warning("docker", warning, "see the engine's documentation"));
    }
    for entry in app.catalog.iter() {
        let fix = format!("cloud-code images build {}", entry.manifest.name);
        match docker.image(&entry.image).await {
            Ok(Some(facts)) => {
                let version = facts.cli_version().unwrap_or("no version label").to_owned();
                if entry.version.as_deref().is_some_and(|pinned| pinned != version) {
                    checks.push(Check::warning("image", format!("{} holds {version}", entry.image), fix));
                } else {
                    checks.push(Check::ok("image", entry.image.clone()));
                }
            }
            Ok(None) => checks.push(Check::warning("image", format!("{} is not built", entry.image), fix)),
            Err(error) => checks.push(Check::warning("image", ui::one_line(&error.to_string()), fix)),
        }
    }
    checks
}

fn credentials(app: &App) -> Vec<Check> {
    let set = |name: &String| std::env::var(name).is_ok_and(|value| !value.is_empty());
    app.catalog
        .iter()
        .filter(|entry| entry.manifest.name.as_str() != COMMAND_CLI && !entry.manifest.credentials.is_empty())
        .map(|entry| {
            let names = &entry.manifest.credentials;
            match names.iter().find(|name| set(name)) {
                Some(name) => Check::ok("credentials", format!("{}: {name} is set", entry.manifest.name)),
                None => Check::warning(
                    "credentials",
                    format!("{}: none in the environment", entry.manifest.name),
                    format!("export {}=…", names.first().map_or("", String::as_str)),
                ),
            }
        })
        .collect()
}
