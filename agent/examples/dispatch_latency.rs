//! Measures the way from the rename of `tasking.yaml` to the CLI's first instruction, beside a bare loop that only
//! waits for the rename with inotify and spawns. Both run in turn, in the same minute, on the same machine.
//!
//! `cargo run -p cloud-code-agent --example dispatch_latency -- PATH_OF_AGENT [ROUNDS]`

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::Watcher as _;
use notify::event::{ModifyKind, RenameMode};

type Failure = Box<dyn std::error::Error>;

/// Longest wait for one start.
const LIMIT: Duration = Duration::from_secs(20);
const ROUNDS: usize = 40;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, file] = arguments.as_slice()
        && flag == "--stamp"
    {
        return Ok(std::fs::write(file, now().to_string())?);
    }
    let agent = PathBuf::from(arguments.get(1).ok_or("name the agent's binary")?);
    let rounds = arguments.get(2).map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let mut agent_times = measure(rounds, |place| start_agent(&agent, place))?;
    let mut bare_times = measure(rounds, start_bare_loop)?;
    let (agent, bare) = (median(&mut agent_times), median(&mut bare_times));
    let text = format!(
        "rename of tasking.yaml to the CLI's first instruction, median of {rounds}\n  bare inotify and spawn  {bare:>8.2} ms\n  \
         cloud-code-agent        {agent:>8.2} ms   {:.2} x   (slowest {:.2} ms)\n",
        agent / bare,
        agent_times.last().copied().unwrap_or_default()
    );
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(())
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Result<Self, Failure> {
        let root = tempfile::tempdir()?;
        for folder in ["control", "home", "tree"] {
            std::fs::create_dir(root.path().join(folder))?;
        }
        let git = |arguments: &[&str]| {
            Command::new("git")
                .arg("-C")
                .arg(root.path().join("tree"))
                .args(arguments)
                .stdout(Stdio::null())
                .status()
        };
        git(&["init", "-q"])?;
        git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "start"])?;
        let own = std::env::current_exe()?;
        let stamp = root.path().join("tree/stamp");
        let manifest = format!("name: command\ncommand: [{own:?}, --stamp, {stamp:?}]\n");
        std::fs::write(root.path().join("control/cli.yaml"), manifest)?;
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Renames a prepared file into place; returns the instant just before.
    fn publish(&self, generation: usize) -> Result<u128, Failure> {
        let tasks: String = (1..=generation)
            .map(|id| {
                format!(
                    "  - {{id: t{id}, status: assigned, title: T, description: d, branch: b, base: main}}\n"
                )
            })
            .collect();
        let text = format!(
            "version: 1\ngeneration: {generation}\nupdated_at: 2026-01-01T00:00:00Z\nworkspace: w\ncli: command\ntasks:\n{tasks}"
        );
        let temp = self.path("control/.next");
        std::fs::write(&temp, text)?;
        let before = now();
        std::fs::rename(&temp, self.path("control/tasking.yaml"))?;
        Ok(before)
    }

    fn stamp(&self, deadline: Instant) -> Result<u128, Failure> {
        let path = self.path("tree/stamp");
        loop {
            if let Some(stamp) = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok()) {
                std::fs::remove_file(&path)?;
                return Ok(stamp);
            }
            if Instant::now() > deadline {
                return Err("the CLI did not start in time".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

enum Loop {
    Agent(Child),
    Bare { _watcher: notify::RecommendedWatcher },
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Self::Agent(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn measure(rounds: usize, start: impl Fn(&Place) -> Result<Loop, Failure>) -> Result<Vec<f64>, Failure> {
    let place = Place::new()?;
    let running = start(&place)?;
    let mut times = Vec::new();
    for generation in 1..=rounds {
        let before = place.publish(generation)?;
        let stamp = place.stamp(Instant::now() + LIMIT)?;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of less than a minute")]
        times.push(stamp.saturating_sub(before) as f64 / 1e6);
        wait_until_idle(&place, generation, &running)?;
    }
    Ok(times)
}

/// The next round begins when the last one is reported, as an orchestrator would do it.
fn wait_until_idle(place: &Place, generation: usize, running: &Loop) -> Result<(), Failure> {
    let Loop::Agent(_) = running else { return Ok(()) };
    let deadline = Instant::now() + LIMIT;
    let path = place.path("control/reporting.yaml");
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if text.contains("\nstatus: idle") && text.matches("finished_at: 2").count() == generation {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the agent did not report the end".into())
}

fn start_agent(agent: &Path, place: &Place) -> Result<Loop, Failure> {
    let child = Command::new(agent)
        .arg("--control")
        .arg(place.path("control"))
        .arg("--workspace")
        .arg(place.path("tree"))
        .arg("--home")
        .arg(place.path("home"))
        .stdin(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + LIMIT;
    while !place.path("control/reporting.yaml").exists() {
        if Instant::now() > deadline {
            return Err("the agent did not start".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(Loop::Agent(child))
}

fn start_bare_loop(place: &Place) -> Result<Loop, Failure> {
    let (sender, receiver) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Inside one folder a rename is announced as from, to and both; one of them is enough.
        let renamed_to = notify::EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let is_tasking = |path: &PathBuf| path.ends_with("tasking.yaml");
        if event.is_ok_and(|event| event.kind == renamed_to && event.paths.iter().any(is_tasking)) {
            let _ = sender.send(());
        }
    })?;
    watcher.watch(&place.path("control"), notify::RecursiveMode::NonRecursive)?;
    let (own, stamp) = (std::env::current_exe()?, place.path("tree/stamp"));
    std::thread::spawn(move || {
        while receiver.recv().is_ok() {
            if let Ok(mut child) = Command::new(&own).arg("--stamp").arg(&stamp).spawn() {
                let _ = child.wait();
            }
        }
    });
    Ok(Loop::Bare { _watcher: watcher })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}
