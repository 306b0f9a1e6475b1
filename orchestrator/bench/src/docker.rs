//! The runs of cloud-code in Docker, and the `docker run` that each is compared with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cloud_code_workspace::{IssuePaths, Layout, inside};

use crate::proc::Guarded;
use crate::repository;
use crate::scene::Scene;

/// How long one run may take. The engine of a loaded machine takes seconds to make a container.
const RUN_DEADLINE: Duration = Duration::from_secs(120);
/// The project of all runs.
const PROJECT: &str = "bench";
/// What every container of cloud-code gets besides its mounts, as `docker run` spells it: the defaults of a project.
const CONFINEMENT: [&str; 25] = [
    "--network=none",
    "--cap-drop=ALL",
    "--cap-add=DAC_OVERRIDE",
    "--cap-add=KILL",
    "--cap-add=SETGID",
    "--cap-add=SETUID",
    "--security-opt=no-new-privileges",
    "--cgroupns=private",
    "--ipc=private",
    "--memory=4g",
    "--memory-swap=4g",
    "--cpus=2",
    "--pids-limit=1024",
    "--shm-size=256m",
    "--log-driver=json-file",
    "--log-opt=max-size=512k",
    "--log-opt=max-file=2",
    "--entrypoint=",
    "--tmpfs=/cloud-code:rw,nosuid,nodev,noexec,mode=700,size=65536",
    "--workdir",
    inside::WORKSPACE,
    "--env=GIT_AUTHOR_NAME=bench",
    "--env=GIT_AUTHOR_EMAIL=bench@example.invalid",
    "--env=GIT_COMMITTER_NAME=bench",
    "--env=GIT_COMMITTER_EMAIL=bench@example.invalid",
];
/// In the container: the control directory, as the runtime mounts it.
const CONTROL_TARGET: &str = "/cloud-code/control";
/// In the container: the agent, as the runtime mounts it.
const AGENT_TARGET: &str = "/cloud-code/bin/cloud-code-agent";
/// In the container: the CLI's home, as the engine mounts it.
const HOME_TARGET: &str = "/home/cloud-code";

/// A repository, and the cloud-code that works on it.
pub(crate) struct Stage<'a> {
    scene: &'a Scene,
    cloud_code: PathBuf,
    agent: PathBuf,
    repository: PathBuf,
    layout: Layout,
    name: &'static str,
}

impl<'a> Stage<'a> {
    /// Makes the repository. `name` tells the branches of one figure from another's.
    pub(crate) fn set(scene: &'a Scene, name: &'static str) -> Result<Self> {
        scene.needs_image()?;
        let repository = scene.folder("repositories")?.join(name);
        repository::small(&repository)?;
        Ok(Self {
            scene,
            cloud_code: scene.cloud_code()?,
            agent: scene.agent()?,
            repository,
            layout: Layout::new(scene.home()),
            name,
        })
    }

    /// `cloud-code run` of a command. Each run needs a number of its own, for its branch.
    pub(crate) fn cloud_code(&self, run: u32, command: &str) -> Command {
        let mut cloud_code = Command::new(&self.cloud_code);
        cloud_code.arg("--home").arg(self.layout.home()).arg("run").arg("--repo").arg(&self.repository);
        cloud_code.args([
            "--project",
            PROJECT,
            "--cli",
            "command",
            "--command",
            command,
            "--network",
            "none",
        ]);
        cloud_code.args([
            "--image",
            &self.scene.image,
            "--branch",
            &self.key(run),
            "--json",
            "Measure the dispatch",
        ]);
        cloud_code.env_remove("RUST_LOG").env_remove("CLOUD_CODE_HOME");
        cloud_code
    }

    /// `docker run --rm` of a command, in the workspace that a run has left, with all that cloud-code mounts.
    pub(crate) fn docker_run(&self, of_run: u32, user: ContainerUser, command: &[&str]) -> Result<Command> {
        let paths = self.paths(of_run)?;
        anyhow::ensure!(paths.is_prepared()?, "cloud-code left no workspace at {}", paths.root.display());
        let mirror = self.layout.mirror(&PROJECT.parse()?);
        let mut docker = Command::new("docker");
        docker.args(["run", "--rm", "--label", &self.scene.label()]).args(CONFINEMENT);
        for (source, target, access) in [
            (paths.control.as_path(), CONTROL_TARGET, ""),
            (self.agent.as_path(), AGENT_TARGET, ",readonly"),
            (paths.home.as_path(), HOME_TARGET, ""),
            (paths.tree.as_path(), inside::WORKSPACE, ""),
            (mirror.join("objects").as_path(), inside::BASE_OBJECTS, ",readonly"),
            (mirror.as_path(), inside::MIRROR, ",readonly"),
            (paths.objects.as_path(), inside::OBJECTS, ""),
            (paths.admin.as_path(), inside::ADMIN, ""),
        ] {
            docker.arg("--mount").arg(format!("type=bind,source={},target={target}{access}", text(source)?));
        }
        let (uid, gid) = match (user, self.scene.owner()) {
            (ContainerUser::Cli, Some(owner)) => (owner.uid(), owner.gid()),
            (ContainerUser::Cli, None) => (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()),
            (ContainerUser::Root, _) => (0, 0),
        };
        docker.arg(format!("--user={uid}:{gid}")).arg(&self.scene.image).args(command);
        Ok(docker)
    }

    fn key(&self, run: u32) -> String {
        format!("{}-{run}", self.name)
    }

    fn paths(&self, run: u32) -> Result<IssuePaths> {
        Ok(self.layout.issue(&PROJECT.parse()?, &self.key(run).parse()?))
    }
}

/// As whom a container of the alternative runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerUser {
    /// As the agent does.
    Root,
    /// As the CLI does.
    Cli,
}

/// Runs a program to its end, looks at it meanwhile, and tells how long it took, in milliseconds.
pub(crate) fn timed(command: &mut Command, look: impl FnMut(u32)) -> Result<(f64, Output)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = Guarded::start(command)?.watch(RUN_DEADLINE, look)?;
    Ok((started.elapsed().as_secs_f64() * 1000.0, output))
}

fn text(path: &Path) -> Result<&str> {
    let text = path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?;
    anyhow::ensure!(!text.contains(','), "docker cannot mount {text}: its name holds a comma; set TMPDIR");
    Ok(text)
}
