//! `serve`: everything between a forge and the tasks, until it is told to stop. Agents go on in their containers after
//! that; the next start finds them.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloud_code_engine::{
    Engines, Forges, HookLog, OnStop, Projects, Role, ServedProject, Service, ServiceSettings, SweepMode,
    Wakes,
};
use cloud_code_forge::{ForgeError, Github, HookOwner};
use cloud_code_model::{IntakeMode, ProjectName, RepositoryName, RuntimeKind, Triggers};
use cloud_code_server::{Limits, Part, ServerSetup};
use cloud_code_store::{Database, HookTarget};
use cloud_code_task_schema::CliName;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, SystemClock};
use crate::args::ServeArgs;
use crate::commands::init::manifest::webhook_url;
use crate::commands::token_triggers::{self, Otherwise};
use crate::operate::{metrics, parts, systemd, telemetry};
use crate::{github, shared, ui};

/// Where it listens unless told otherwise: only this machine, so that a proxy with a certificate stands before it.
const DEFAULT_LISTEN: &str = "127.0.0.1:8642";
/// How often is looked for what nobody brought, where a webhook should have.
const HEAL_EVERY: Duration = Duration::from_secs(300);
/// How often is looked where nobody brings anything. GitHub allows 5,000 requests an hour; a look takes three to ten.
const POLL_EVERY: Duration = Duration::from_secs(60);
/// How long a start waits for an answer that it can do without.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// `cloud-code serve`.
pub(crate) async fn run(app: &App, args: ServeArgs) -> Result<ExitCode> {
    let Some(connected) = github::connect(app)? else {
        bail!("nothing is set up to serve\n  hint: `cloud-code init` makes a GitHub App or takes a token");
    };
    let projects = github::projects(app)?;
    if projects.is_empty() {
        bail!(
            "no project has a repository on GitHub\n  hint: `cloud-code init --repo owner/name`, or the key `github: owner/name` in {}",
            app.home.join("projects").display()
        );
    }
    let secrets = github::webhook_secrets(app)?;
    let role = Role::from(args.role);
    let intake = app.settings.github.intake.unwrap_or_default();
    if role != Role::Worker && intake == IntakeMode::Webhook && secrets.is_empty() {
        bail!(
            "`github.intake` is `webhook` and there is no webhook secret\n  hint: name its file in `github.webhook_secret_files`, or set `intake: polling`"
        );
    }
    keep_secrets(app, &projects);
    let store = app.store().await?;
    let membership = shared::join(app, &store, role).await?;
    let numbers = repository_numbers(&store, &projects).await?;
    let forges: Arc<dyn Forges> = Arc::new(github::Connected::with_numbers(connected.clone(), numbers));
    let engine =
        |kind| app.engine_with(store.clone(), kind, forges.clone()).map(Arc::new).context("cannot start");
    let engines = Engines { docker: engine(RuntimeKind::Docker)?, local: engine(RuntimeKind::Local)? };
    let names: Vec<String> = projects.iter().map(|p| format!("{} ({})", p.name, p.repository)).collect();
    let clis: Vec<CliName> = app.catalog.iter().map(|entry| entry.manifest.name.clone()).collect();
    let wakes = Arc::new(Wakes::default());
    let (on_stop, hurry) = (on_stop(&args), CancellationToken::new());
    let settings = ServiceSettings {
        limits: app.queue_limits()?,
        sweep: sweep(app, intake, &connected, &projects).await,
        role,
        on_stop,
        hurry: hurry.clone(),
        ..ServiceSettings::default()
    };
    let triggers: Vec<(ProjectName, Triggers)> =
        projects.iter().map(|project| (project.name.clone(), project.triggers.clone())).collect();
    let kinds: Vec<RuntimeKind> = projects.iter().map(|project| project.plan.runtime).collect();
    let projects = Projects::new(projects, clis, forges, store.clone());
    let service =
        Service::new(store.clone(), engines, projects, settings, Arc::new(SystemClock), wakes.clone());
    let service = match membership {
        Some(membership) => service.among(membership),
        None => service,
    };

    let (stop, closed) = (CancellationToken::new(), CancellationToken::new());
    let address = address(app, &args);
    let parts = parts::parts(app, &kinds)?;
    let served = match role {
        // It takes nothing in.
        Role::Worker => Served { address: None, task: tokio::spawn(until(closed.clone())) },
        Role::All | Role::Front => {
            listen(&address, store.clone(), secrets, wakes, parts, closed.clone()).await?
        }
    };
    // Who reads that it serves may stop it.
    let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminations = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    ui::err(format!("serving {}", names.join(", ")));
    if let Some(address) = &served.address {
        ui::err(format!("listening on http://{address}"));
    }
    let beside = TaskTracker::new();
    metrics::start(app, &address, store, &beside, closed.clone()).await?;
    let variable = |name: &str| std::env::var(name).ok();
    let instance = app.instance()?;
    let export = telemetry::start(&app.settings.telemetry, variable, &app.scrubber, instance.as_str())?;
    let mut working = tokio::spawn(service.run(stop.clone()));
    systemd::ready();
    systemd::watch(&beside, closed.clone());
    let telling = async {
        if app.settings.github.app.is_none() {
            tell_of_token(&connected, &triggers).await;
        }
        std::future::pending::<()>().await;
    };
    let mut serving = served.task;
    let early = tokio::select! {
        () = telling => None,
        _ = interrupts.recv() => None,
        _ = terminations.recv() => None,
        // Another process was started for this worker.
        () = stop.cancelled() => None,
        ended = &mut serving => Some(ended),
    };
    ui::err(match on_stop {
        OnStop::LeaveAgents => "stopping; agents that work go on, and the next start finds them",
        OnStop::Drain => "stopping; agents that work are waited for, once more leaves them to the next start",
        OnStop::StopAgents => "stopping; agents are ended with their work committed, the next start goes on",
    });
    systemd::stopping();
    stop.cancel();
    if on_stop == OnStop::LeaveAgents {
        closed.cancel();
    }
    // What comes in meanwhile is kept for the next start.
    let worked = tokio::select! {
        worked = &mut working => worked,
        _ = interrupts.recv() => leave(&hurry, working).await,
        _ = terminations.recv() => leave(&hurry, working).await,
    };
    closed.cancel();
    let ended = match early {
        Some(ended) => ended,
        None => serving.await,
    };
    worked.context("the service broke")?;
    beside.close();
    beside.wait().await;
    if let Some(export) = export {
        export.end().await;
    }
    ended.context("the server broke")?.context("the server ended")?;
    Ok(ExitCode::SUCCESS)
}

fn on_stop(args: &ServeArgs) -> OnStop {
    match (args.drain, args.stop_agents) {
        (true, _) => OnStop::Drain,
        (false, true) => OnStop::StopAgents,
        (false, false) => OnStop::LeaveAgents,
    }
}

/// The second signal: agents that are still at work go on without us.
async fn leave(
    hurry: &CancellationToken,
    working: tokio::task::JoinHandle<()>,
) -> Result<(), tokio::task::JoinError> {
    hurry.cancel();
    working.await
}

/// Says what is otherwise with a token. A GitHub that cannot be asked now is no reason not to serve.
async fn tell_of_token(github: &Github, projects: &[(ProjectName, Triggers)]) {
    let asked = tokio::time::timeout(ANSWER_WITHIN, github.token()).await;
    let Ok(Ok(token)) = asked else { return };
    let login = ui::one_line(&token.owner.login);
    for (project, triggers) in projects {
        for Otherwise { told, instead } in token_triggers::otherwise(project, triggers, &login) {
            ui::err(format!("{told}\n  hint: {instead}"));
        }
    }
}

/// The numbers that the projects' repositories had when they were served before.
async fn repository_numbers(
    store: &Database,
    projects: &[ServedProject],
) -> Result<HashMap<RepositoryName, u64>> {
    let mut numbers = HashMap::new();
    for project in projects {
        if let Some(number) = Projects::number_before(store, project).await? {
            numbers.insert(project.repository.clone(), number);
        }
    }
    Ok(numbers)
}

async fn until(stop: CancellationToken) -> Result<()> {
    stop.cancelled().await;
    Ok(())
}

struct Served {
    address: Option<std::net::SocketAddr>,
    task: tokio::task::JoinHandle<Result<()>>,
}

/// Where it is to listen.
fn address(app: &App, args: &ServeArgs) -> String {
    let set = args.listen.clone().or_else(|| app.settings.server.listen.clone());
    set.unwrap_or_else(|| DEFAULT_LISTEN.to_owned())
}

async fn listen(
    address: &str,
    store: Database,
    secrets: Vec<secrecy::SecretString>,
    wakes: Arc<Wakes>,
    parts: Vec<Arc<dyn Part>>,
    stop: CancellationToken,
) -> Result<Served> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}\n  hint: another `serve` runs, or set `server.listen`")
    })?;
    let address = listener.local_addr().ok();
    let setup = ServerSetup {
        store: Arc::new(store),
        clock: Arc::new(SystemClock),
        secrets,
        look_again: wakes.received.clone(),
        parts,
        limits: Limits::default(),
    };
    let task = tokio::spawn(async move { Ok(cloud_code_server::serve(listener, setup, stop).await?) });
    Ok(Served { address, task })
}

/// How what nobody brought is fetched.
async fn sweep(app: &App, intake: IntakeMode, github: &Github, projects: &[ServedProject]) -> SweepMode {
    let every = |default| app.settings.github.poll_interval.map_or(default, |every| every.as_duration());
    let target =
        app.settings.github.app.as_ref().map(|app| HookTarget { kind: "integration".into(), id: app.id });
    let of_app = |target, default| {
        let log = HookLog { log: github.delivery_log(&HookOwner::App), target, of: None };
        SweepMode::Log { logs: vec![log], every: every(default) }
    };
    match (intake, target) {
        (IntakeMode::Polling, _) | (IntakeMode::Deliveries, None) => {
            SweepMode::Poll { every: every(POLL_EVERY) }
        }
        (IntakeMode::Webhook, None) => {
            let mut logs = Vec::new();
            for project in projects {
                logs.extend(repository_log(app, github, project).await);
            }
            match logs.is_empty() {
                true => SweepMode::Poll { every: every(HEAL_EVERY) },
                false => SweepMode::Log { logs, every: every(HEAL_EVERY) },
            }
        }
        (IntakeMode::Webhook, Some(target)) => of_app(target, HEAL_EVERY),
        (IntakeMode::Deliveries, Some(target)) => of_app(target, POLL_EVERY),
    }
}

/// The log of a repository's own webhook, which a token may read when its owner administers the repository. Without it the
/// lists heal what was missed, and they do not show everything: a label that was put on and taken off again, for one.
async fn repository_log(app: &App, github: &Github, project: &ServedProject) -> Option<HookLog> {
    let url = webhook_url(Some(app.settings.server.public_url.as_deref()?));
    let name = &project.repository;
    let asked = tokio::time::timeout(ANSWER_WITHIN, async {
        let Some(hook_id) = github.repository_hook_number(name, &url).await? else { return Ok(None) };
        Ok(Some((hook_id, github.repository(name).await?.number())))
    });
    let why = match asked.await {
        Ok(Ok(Some((hook_id, number)))) => {
            let owner = HookOwner::Repository { name: name.clone(), hook_id };
            let target = HookTarget { kind: "repository".into(), id: number };
            let log = github.delivery_log(&owner);
            return Some(HookLog { log, target, of: Some(project.name.clone()) });
        }
        Ok(Ok(None)) => format!("it has no webhook to {url}"),
        Ok(Err(error)) => {
            let error: ForgeError = error;
            error.to_string()
        }
        Err(_elapsed) => "GitHub does not answer".to_owned(),
    };
    let why = ui::one_line(&why);
    ui::err(format!(
        "{name}: the log of its webhook cannot be read ({why}); what gets lost is found by listing\n  hint: a token with \
         `repository_hooks: read`, of somebody who administers the repository"
    ));
    None
}

/// Every key that a CLI gets must stand in nothing that we write.
fn keep_secrets(app: &App, projects: &[ServedProject]) {
    let of_clis = app.catalog.iter().flat_map(|entry| entry.manifest.credentials.iter());
    let of_projects = projects.iter().flat_map(|project| project.plan.secrets.iter());
    for name in of_clis.chain(&app.settings.defaults.secrets).chain(of_projects) {
        if let Ok(value) = std::env::var(name)
            && !value.is_empty()
        {
            app.scrubber.keep(value.into());
        }
    }
}
