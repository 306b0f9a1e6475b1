//! From a task's facts to the container it runs in.

use std::path::Path;

use cloud_code_model::{Network, RuntimeKind, reads_only};
use cloud_code_runtime::{
    AGENT_PATH, CONTROL_DIR_TARGET, ContainerSpec, Labels, Limits, Mount, NetworkMode, Stdin, control_mounts,
};
use cloud_code_workspace::{Prepared, inside};

use crate::facts::Facts;
use crate::{EngineError, EngineSettings};

/// In the container: the CLI's HOME. Always the same, because CLIs tie their sessions to it.
const HOME_TARGET: &str = "/home/cloud-code";
/// Bytes kept of what the agent itself prints; the CLI's output goes to files, so this is only for a crash message.
const AGENT_OUTPUT_BYTES: u64 = 1024 * 1024;
/// Bytes of `/dev/shm`: headless browsers in project images need more than Docker's 64 MiB; it counts as memory.
const SHM_BYTES: u64 = 256 * 1024 * 1024;

/// The container of the next attempt.
pub(crate) fn container_spec(
    settings: &EngineSettings,
    facts: &Facts,
    prepared: &Prepared,
) -> Result<ContainerSpec, EngineError> {
    let asked = &facts.record.task;
    let plan = &asked.plan;
    let labels = Labels {
        instance: settings.instance.clone(),
        project: Some(asked.project.clone()),
        issue: Some(asked.issue.clone()),
        task: Some(asked.id.clone()),
        attempt: Some(facts.record.attempt),
        cli: Some(plan.cli.clone()),
    };
    let name = format!(
        "cloud-code-{}-{}-{}",
        settings.instance,
        asked.id.as_str().to_ascii_lowercase(),
        facts.record.attempt
    );
    let paths = settings.layout.issue(&asked.project, &asked.issue);
    let image = settings.catalog.image_for(plan)?;
    if !settings.agent_binary.is_file() {
        return Err(EngineError::AgentMissing { path: settings.agent_binary.clone() });
    }
    let spec = match plan.runtime {
        RuntimeKind::Docker => {
            let (tmpfs, control) = control_mounts(&paths.control, &settings.agent_binary);
            let mut command = arguments(
                Path::new(AGENT_PATH),
                Path::new(CONTROL_DIR_TARGET),
                Path::new(inside::WORKSPACE),
                Path::new(HOME_TARGET),
            );
            let (uid, gid) = settings.cli_user;
            command.extend(["--user".to_owned(), format!("{uid}:{gid}")]);
            let mut spec = ContainerSpec::new(name, image, labels, command);
            spec.tmpfs.push(tmpfs);
            spec.mounts.extend(control);
            spec.mounts.push(Mount::read_write(&paths.home, HOME_TARGET));
            // A task that may only read cannot write to the tree, whatever its CLI is told: the kernel says no.
            let reads_only = reads_only(asked.mode);
            spec.mounts.extend(prepared.mounts.iter().map(|mount| match mount.read_only || reads_only {
                true => Mount::read_only(&mount.source, &mount.target),
                false => Mount::read_write(&mount.source, &mount.target),
            }));
            spec.working_dir = Some(inside::WORKSPACE.into());
            spec
        }
        RuntimeKind::Local => {
            let mut command = arguments(&settings.agent_binary, &paths.control, &paths.tree, &paths.home);
            if settings.runs_as_root {
                let (uid, gid) = settings.cli_user;
                command.extend(["--user".to_owned(), format!("{uid}:{gid}")]);
            }
            let mut spec = ContainerSpec::new(name, image, labels, command);
            spec.working_dir = Some(paths.root.clone());
            spec
        }
    };
    let base_url = plan.base_url.iter().flat_map(|url| ["--base-url".to_owned(), url.clone()]);
    let mut spec = spec;
    spec.command.extend(base_url);
    spec.env.extend(prepared.env.iter().cloned());
    // Decided by what the CLI may need, not by what is set just now: the same plan makes the same container.
    let may_have_secrets =
        !plan.secrets.is_empty() || !settings.catalog.get(&plan.cli)?.manifest.credentials.is_empty();
    if may_have_secrets {
        spec.command.push("--secrets-stdin".to_owned());
        spec.stdin = Stdin::Secrets;
    }
    spec.limits = Limits {
        memory_bytes: Some(plan.memory.bytes()),
        milli_cpus: Some(milli(plan.cpus)),
        pids: Some(plan.pids),
        shm_bytes: Some(SHM_BYTES),
        log_bytes: Some(AGENT_OUTPUT_BYTES),
    };
    spec.network = match &plan.network {
        Network::Bridge => NetworkMode::Bridge,
        Network::None => NetworkMode::None,
        Network::Host => NetworkMode::Host,
        Network::Container(name) => NetworkMode::Container(name.clone()),
        Network::Named(name) => NetworkMode::Named(name.clone()),
    };
    Ok(spec)
}

/// The agent's command line. `--once`: a container of the command line's `run` ends with its task.
fn arguments(agent: &Path, control: &Path, workspace: &Path, home: &Path) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    vec![
        text(agent),
        "--control".to_owned(),
        text(control),
        "--workspace".to_owned(),
        text(workspace),
        "--home".to_owned(),
        text(home),
        "--once".to_owned(),
    ]
}

/// Thousandths of a processor. The settings keep it between 0.1 and 1024.
fn milli(cpus: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of the target"
    )]
    let milli = (cpus * 1000.0).clamp(100.0, 1_024_000.0) as u32;
    milli
}
