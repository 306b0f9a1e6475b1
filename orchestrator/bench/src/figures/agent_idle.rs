//! What an agent costs that has nothing to do, beside a loop that only waits for the same rename. Several of each run
//! at the same time, so that a spread is known without waiting for several minutes.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use cloud_code_task_schema::TASKING_FILE;

use super::MIB;
use crate::agent::Ground;
use crate::binary::{self, Linkage};
use crate::helpers::{READY, WATCH};
use crate::interrupt;
use crate::measure::sample;
use crate::proc::{self, Guarded, ProcessorTime};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::table::quantity;

/// Most resident bytes.
const MAX_BYTES: f64 = 3.0 * MIB;
/// Most milliseconds of processor time in the window, beyond the heartbeat: one tick of a 100 Hz kernel, the least
/// that `ps` and `top` can show. "None" cannot mean less: the slow poll wakes the agent every five seconds.
const MAX_MILLIS: f64 = 10.0;
/// Agents and loops that run at the same time: enough for a spread.
const INSTANCES: u32 = 3;
/// Most of them, however many runs are asked for: more would disturb each other and measure the machine.
const MAX_INSTANCES: u32 = 8;
/// Until the start's own work is over.
const SETTLE: Duration = Duration::from_secs(5);
/// Between two looks at the processor time. What is spent between the looks around a heartbeat counts as its cost, so
/// longer would hide other work in it; shorter would cost more than the agents themselves.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nanoseconds of a millisecond.
const NANOS_PER_MILLI: f64 = 1e6;

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let mut agents = Vec::new();
    let mut loops = Vec::new();
    let runs = scene.runs(INSTANCES).min(MAX_INSTANCES);
    for number in 0..runs {
        let folder = scene.folder(&format!("idle-{number}"))?;
        let ground = Ground::prepare(folder, scene.owner(), &["true".to_owned()])?;
        let agent = ground.start(scene)?;
        agents.push(Watched::new(ground, agent)?);
        loops.push(bare_loop(scene, number)?);
    }
    pause(SETTLE)?;
    let memory = |pid| proc::memory(pid).context("an idle process ended");
    let of_agents = agents.iter().map(|agent| memory(agent.agent.pid())).collect::<Result<Vec<_>>>()?;
    let of_loops = loops.iter().map(|bare| memory(bare.pid())).collect::<Result<Vec<_>>>()?;

    for agent in &mut agents {
        agent.begin()?;
    }
    let loops_before =
        loops.iter().map(|bare| proc::processor_time(bare.pid())).collect::<Result<Vec<_>>>()?;
    let end = Instant::now() + scene.idle_window;
    while Instant::now() < end {
        pause(LOOK_EVERY)?;
        for agent in &mut agents {
            agent.look()?;
        }
    }
    let mut loops_spent = Vec::new();
    for (bare, before) in loops.iter().zip(loops_before) {
        loops_spent.push(millis(proc::processor_time(bare.pid())?.nanos - before.nanos));
    }
    let window = scene.idle_window.as_secs();
    let name = loop_name()?;
    let rows = vec![
        Row::compared(
            "agent idle: resident memory",
            Unit::Bytes,
            &sample(of_agents.iter().map(|memory| memory.resident).collect())?,
            (&name, &sample(of_loops.iter().map(|memory| memory.resident).collect())?),
            Promise::AtMost(MAX_BYTES),
        ),
        Row::compared(
            format!("agent idle: processor time of {window} s, without heartbeats"),
            Unit::Milliseconds,
            &sample(agents.iter().map(|agent| millis(agent.beyond_nanos)).collect())?,
            (&name, &sample(loops_spent)?),
            Promise::AtMost(MAX_MILLIS),
        ),
    ];
    let anonymous = sample(of_agents.iter().map(|memory| memory.anonymous).collect())?;
    let notes = vec![
        heartbeat_note(&agents, window)?,
        format!(
            "agent idle: {} of the resident memory is its own, the rest are pages of its file, shared by all agents",
            quantity(Unit::Bytes, anonymous.statistics().median)
        ),
    ];
    Ok(Measured { rows, notes })
}

fn heartbeat_note(agents: &[Watched], window: u64) -> Result<String> {
    let beats: u32 = agents.iter().map(|agent| agent.heartbeats).sum();
    let ticks: Vec<String> =
        agents.iter().map(|agent| (agent.last.ticks - agent.first.ticks).to_string()).collect();
    let ticks = format!("clock ticks of all {window} s: {}", ticks.join(", "));
    if beats == 0 {
        return Ok(format!("agent idle: no heartbeat fell into the window; {ticks}"));
    }
    let costs = agents.iter().filter(|agent| agent.heartbeats > 0);
    let costs =
        sample(costs.map(|agent| millis(agent.heartbeat_nanos) / f64::from(agent.heartbeats)).collect())?;
    let cost = quantity(Unit::Milliseconds, costs.statistics().median);
    Ok(format!("agent idle: a heartbeat costs {cost} of processor time ({beats} seen); {ticks}"))
}

/// An idle agent, and where its processor time went.
struct Watched {
    ground: Ground,
    agent: Guarded,
    first: ProcessorTime,
    last: ProcessorTime,
    reported_at: SystemTime,
    /// Spent between the last two looks; it belongs to a heartbeat if the next look sees one.
    pending_nanos: u64,
    heartbeats: u32,
    heartbeat_nanos: u64,
    beyond_nanos: u64,
}

impl Watched {
    fn new(ground: Ground, agent: Guarded) -> Result<Self> {
        let now = proc::processor_time(agent.pid())?;
        let reported_at = modified(&ground)?;
        let (first, last) = (now, now);
        Ok(Self {
            ground,
            agent,
            first,
            last,
            reported_at,
            pending_nanos: 0,
            heartbeats: 0,
            heartbeat_nanos: 0,
            beyond_nanos: 0,
        })
    }

    fn begin(&mut self) -> Result<()> {
        self.first = proc::processor_time(self.agent.pid())?;
        self.last = self.first;
        self.reported_at = modified(&self.ground)?;
        Ok(())
    }

    fn look(&mut self) -> Result<()> {
        self.ground.must_live(&mut self.agent)?;
        let (now, reported_at) = (proc::processor_time(self.agent.pid())?, modified(&self.ground)?);
        let spent = now.nanos - self.last.nanos;
        self.last = now;
        if reported_at != self.reported_at {
            // Its first half may have been spent before the last look.
            self.heartbeats += 1;
            self.heartbeat_nanos += self.pending_nanos + spent;
            self.beyond_nanos -= self.pending_nanos;
            self.pending_nanos = 0;
            self.reported_at = reported_at;
        } else {
            self.beyond_nanos += spent;
            self.pending_nanos = spent;
        }
        Ok(())
    }
}

fn modified(ground: &Ground) -> Result<SystemTime> {
    let path = ground.reporting_file();
    let meta = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(meta.modified()?)
}

/// Starts the loop that the agent is compared with.
fn bare_loop(scene: &Scene, number: u32) -> Result<Guarded> {
    let folder = scene.folder(&format!("idle-loop-{number}"))?;
    let mut command = Command::new(scene.helper()?);
    command.arg(WATCH).arg(folder).arg(TASKING_FILE).arg("true").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut bare = Guarded::start(&mut command)?;
    if bare.first_line()? != READY {
        bail!("the bare inotify loop did not start");
    }
    Ok(bare)
}

/// What the loop is called: how it is linked changes what it weighs.
pub(super) fn loop_name() -> Result<String> {
    Ok(match binary::look(&std::env::current_exe()?)?.linkage {
        Linkage::Static => "bare inotify loop, static".to_owned(),
        Linkage::Dynamic => "bare inotify loop, dynamic".to_owned(),
    })
}

fn pause(time: Duration) -> Result<()> {
    thread::sleep(time);
    interrupt::check()
}

#[expect(clippy::cast_precision_loss, reason = "a minute has fewer nanoseconds than a double has digits")]
fn millis(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_MILLI
}
