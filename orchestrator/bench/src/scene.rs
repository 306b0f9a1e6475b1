//! Where one bench takes place: its temporary folder, the programs it measures, and the containers it must not leave.

use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cloud_code_workspace::Owner;
use tempfile::TempDir;

use crate::args::Args;
use crate::proc;

/// The window in which the idle agent is watched: the minute of the promise.
const IDLE_WINDOW: Duration = Duration::from_secs(60);
/// The short window of `--quick`: two polls fall into it and no heartbeat.
const QUICK_IDLE_WINDOW: Duration = Duration::from_secs(10);
/// The user a CLI runs as when the bench is root: the product's own default.
const CLI_USER: u32 = 1000;
/// Label of the containers that the bench itself starts.
const BENCH_LABEL: &str = "cloud-code.bench";
/// Label of the containers that cloud-code starts; its value is the id in the home's file of the same name.
const INSTANCE_LABEL: &str = "cloud-code.instance";
/// The file below a cloud-code home that holds the installation's id.
const INSTANCE_FILE: &str = "instance";
/// Mode of folders that the CLI's user must look through.
const OPEN_FOLDER: u32 = 0o755;

/// One bench.
pub(crate) struct Scene {
    root: TempDir,
    programs: PathBuf,
    /// How often each side runs, when the command line says so.
    runs: Option<u32>,
    /// How long the idle agent is watched.
    pub(crate) idle_window: Duration,
    /// The image of the figures that need Docker.
    pub(crate) image: String,
    /// Whether somebody wants an answer soon, and smaller figures for it.
    pub(crate) is_quick: bool,
    used_docker: Cell<bool>,
}

impl Scene {
    /// Makes the temporary folder; nothing is started.
    pub(crate) fn set_up(args: &Args) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("cloud-code-bench-")
            .permissions(Permissions::from_mode(OPEN_FOLDER))
            .tempdir()
            .with_context(|| format!("cannot make a folder in {}", std::env::temp_dir().display()))?;
        let programs = match &args.programs {
            Some(folder) => folder.clone(),
            None => std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned(),
        };
        Ok(Self {
            root,
            programs: std::path::absolute(programs)?,
            runs: args.runs,
            idle_window: if args.quick { QUICK_IDLE_WINDOW } else { IDLE_WINDOW },
            image: args.image.clone(),
            is_quick: args.quick,
            used_docker: Cell::new(false),
        })
    }

    /// A line for whoever watches. Standard error, so that standard output holds only the result.
    pub(crate) fn say(&self, text: &str) {
        // A watcher that is gone is no reason to stop measuring.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// How often each side runs: as asked, else as the figure needs.
    pub(crate) fn runs(&self, needed: u32) -> u32 {
        self.runs.unwrap_or(needed)
    }

    /// A new folder for a figure, which others may look through.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.path().join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(OPEN_FOLDER))?;
        Ok(path)
    }

    /// Who owns worktrees and runs CLIs: somebody else only when the bench is root.
    pub(crate) fn owner(&self) -> Option<Owner> {
        if nix::unistd::geteuid().is_root() { Owner::new(CLI_USER, CLI_USER) } else { None }
    }

    /// The agent's program.
    pub(crate) fn agent(&self) -> Result<PathBuf> {
        self.program("cloud-code-agent")
    }

    /// The orchestrator's program.
    pub(crate) fn cloud_code(&self) -> Result<PathBuf> {
        self.program("cloud-code")
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.is_file() {
            bail!("{} is missing; make it with `make build`", path.display());
        }
        Ok(path)
    }

    /// This program, copied to where the CLI's user may start it.
    pub(crate) fn helper(&self) -> Result<PathBuf> {
        let copy = self.root.path().join("helper");
        if !copy.exists() {
            fs::copy(std::env::current_exe()?, &copy).context("cannot copy this program")?;
            fs::set_permissions(&copy, Permissions::from_mode(OPEN_FOLDER))?;
        }
        Ok(copy)
    }

    /// The home folder of the cloud-code that is measured.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Makes sure that there is an engine with the image.
    pub(crate) fn needs_image(&self) -> Result<()> {
        proc::run(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
            .context("no Docker engine answers; start one with `make engine`")?;
        let image = &self.image;
        proc::run(Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", image]))
            .with_context(|| {
                format!("the image {image} is not on this machine; make it with `make images`")
            })?;
        self.used_docker.set(true);
        Ok(())
    }

    /// The label of the containers that the bench itself starts.
    pub(crate) fn label(&self) -> String {
        format!("{BENCH_LABEL}={}", self.root.path().file_name().unwrap_or_default().display())
    }

    /// Removes every container that this bench started, whoever started it for us.
    pub(crate) fn remove_containers(&self) {
        if !self.used_docker.get() {
            return;
        }
        let instance = fs::read_to_string(self.home().join(INSTANCE_FILE)).ok();
        let of_cloud_code = instance.map(|id| format!("{INSTANCE_LABEL}={}", id.trim()));
        for label in [Some(self.label()), of_cloud_code].into_iter().flatten() {
            if let Err(error) = remove_labelled(&label) {
                self.say(&format!("warning: containers labelled {label} may be left: {error:#}"));
            }
        }
    }
}

fn remove_labelled(label: &str) -> Result<()> {
    let filter = format!("label={label}");
    let found = proc::run(Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &filter]))?;
    let ids: Vec<&str> = found.split_whitespace().collect();
    if !ids.is_empty() {
        proc::run(
            Command::new("docker").args(["rm", "--force", "--volumes"]).args(&ids).stdout(Stdio::null()),
        )?;
    }
    Ok(())
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.remove_containers();
        let path = self.root.path();
        if let Err(error) = remove(path) {
            self.say(&format!("warning: {} is left: {error}", path.display()));
        }
    }
}

/// Removes a folder that may be gone.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
