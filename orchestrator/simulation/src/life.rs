//! Plays one seed: life after life of the orchestrator in one world, until all is settled or time is up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cloud_code_engine::{
    CliCatalog, CliEntry, CliOrigin, Engine, EngineSettings, Engines, HookLog, Projects, ServedProject,
    Service, ServiceSettings, SweepMode, Wakes, run_inline,
};
use cloud_code_model::{MergeMethod, ProjectPlan, ProjectSettings, TaskState};
use cloud_code_store::{Deliveries, DeliveryKey, DeliverySource, DeliveryState, HookTarget, NewDelivery};
use cloud_code_task_schema::{CliName, parse_manifest};
use cloud_code_workspace::Layout;
use jiff::SignedDuration;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::Ended;
use crate::chance::Chance;
use crate::check;
use crate::containers::SimRuntime;
use crate::door::StoreDoor;
use crate::hub::{APP, SimForge};
use crate::memory::MemoryStore;
use crate::people::Script;
use crate::repository::SimGit;
use crate::watch::SimWatches;
use crate::world::{Event, Faults, Mishap, World};

/// How long the world may take to settle. The longest lawful waits are those for a provider's reset, a few minutes each, of
/// which a task may have several; beyond that something waits for ever. Higher only makes a failing seed slow.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_secs(5);
/// How many looks in a row must find it settled: what is to be said next has had its time then.
const LOOKS: u32 = 4;
/// How long a stop in good order may take.
const STOPPING: Duration = Duration::from_secs(60);
/// How often the forge's log is read.
const SWEEP: Duration = Duration::from_secs(60);

/// How a seed is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Play {
    /// Which.
    pub seed: u64,
    /// Only the first so many faults: where a seed fails, the fewest that still do tell what matters.
    pub most_faults: Option<u32>,
    /// Whether to write down what happens.
    pub is_traced: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// What was so and must never be, in the order it was found. Empty: all went well.
    pub broken: Vec<String>,
    /// What happened, line by line, if it was to be written down.
    pub trace: Vec<String>,
    /// How often the orchestrator was started.
    pub lives: u32,
    /// How many faults there were.
    pub faults: u32,
    /// How many tasks.
    pub tasks: usize,
    /// How long the world lasted, in its own seconds.
    pub seconds: u64,
    /// Where the orchestrator was killed, and how often.
    pub crashes_at: BTreeMap<&'static str, u32>,
    /// How often each kind of trouble was met.
    pub troubles: BTreeMap<&'static str, u32>,
}

/// How a life ended.
enum End {
    Settled,
    Crashed,
    Restart,
    TimeIsUp,
}

/// What is to come: how many faults of calls, and the others with their times.
type Trouble = (u32, Vec<(Duration, Mishap)>);

/// What the seed says of this installation.
struct Terms {
    plan: ProjectPlan,
    concurrency: usize,
}

/// Plays a seed in a folder of its own, which must be empty.
pub fn play(how: Play, home: &Path) -> Played {
    let _inline = run_inline();
    let mut chance = Chance::new(how.seed);
    let script = Script::draw(&mut chance);
    let terms = terms(&mut chance);
    let budget = match chance.below(100) {
        0..5 => 0,
        5..55 => chance.between(1, 3),
        55..90 => chance.between(4, 10),
        _ => chance.between(11, 25),
    };
    let left = u32::try_from(budget).unwrap_or(u32::MAX).min(how.most_faults.unwrap_or(u32::MAX));
    let faults = Faults { left: 0, given: 0, rarity: chance.between(4, 90) };
    let mishaps: Vec<(Duration, Mishap)> = (0..chance.below(4))
        .map(|_| (Duration::from_millis(chance.between(0, 240_000)), mishap(&mut chance)))
        .collect();
    let world = World::new(chance, faults, script, how.is_traced);
    let mut trouble =
        Some((left, mishaps.into_iter().filter(|_| how.most_faults.is_none()).collect::<Vec<_>>()));
    let watching = world.clone();
    let _watched = cloud_code_fault_points::watch(move |point| watching.pass(point));
    let store = MemoryStore::new(Arc::new(StoreDoor(world.clone())));
    let mut lives = 0;
    let mut versions = check::Versions::default();
    loop {
        lives += 1;
        let Ok(runtime) = Builder::new_current_thread().enable_time().start_paused(true).build() else {
            world.state().breaks("no executor can be made".to_owned());
            break;
        };
        let (end, at) = runtime.block_on(async {
            world.begin_life();
            let end = live(&world, &store, home, &terms, &mut versions, &mut trouble).await;
            let at = world.state().now();
            (end, at)
        });
        drop(runtime);
        world.end_life(at);
        match end {
            End::Settled => break,
            End::TimeIsUp => {
                let waits = check::waits(&store, &world.state());
                world
                    .state()
                    .breaks(format!("still not settled after {} h: {waits}", PATIENCE.as_secs() / 3600));
                break;
            }
            End::Crashed | End::Restart => {
                let down = world.state().chance.below(60_000);
                without(&world, at + Duration::from_millis(down));
            }
        }
        if lives > 200 {
            world.state().breaks("200 lives were not enough".to_owned());
            break;
        }
    }
    check::at_the_end(&store, &world, home, &terms.plan);
    let tasks = store.tables().tasks.len();
    let mut state = world.state();
    Played {
        broken: std::mem::take(&mut state.broken),
        trace: state.take_trace(),
        lives,
        faults: state.faults.given,
        tasks,
        seconds: state.now().as_secs(),
        crashes_at: std::mem::take(&mut state.crashes_at),
        troubles: std::mem::take(&mut state.troubles),
    }
}

fn mishap(chance: &mut Chance) -> Mishap {
    match chance.below(100) {
        0..35 => Mishap::Crash,
        35..50 => Mishap::Restart,
        50..68 => Mishap::KillAgent,
        68..84 => Mishap::RemoveContainer,
        84..92 => Mishap::RestartRuntime,
        _ => Mishap::SetClock,
    }
}

fn terms(chance: &mut Chance) -> Terms {
    let settings = ProjectSettings { github: "acme/shop".parse().ok(), ..ProjectSettings::default() };
    let mut plan = settings.plan("https://forge.test/acme/shop.git".to_owned(), cli("claude-code"));
    plan.retries.attempts = u32::try_from(chance.between(1, 4)).unwrap_or(1);
    if let Ok(timeout) = "5m".parse() {
        plan.limits.timeout = timeout;
    }
    plan.publish.approval = chance.one_in(5);
    plan.publish.plan_first = chance.one_in(10);
    plan.publish.merge = chance.one_in(3).then_some(MergeMethod::Merge);
    plan.publish.merge_approval = chance.one_in(2);
    let concurrency = usize::try_from(chance.between(1, 3)).unwrap_or(1);
    Terms { plan, concurrency }
}

fn cli(name: &str) -> CliName {
    name.parse().unwrap_or_else(|_| unreachable!("a CLI's name"))
}

fn catalog() -> CliCatalog {
    static CATALOG: OnceLock<CliCatalog> = OnceLock::new();
    let make = || {
        let mut catalog = CliCatalog::default();
        for name in ["claude-code", "codex"] {
            let text = format!("name: {name}\ncommand: [{name}]\n");
            let Ok(manifest) = parse_manifest("cli.yaml", &text) else { continue };
            let image = format!("simulated/{name}");
            catalog.insert(CliEntry { manifest, version: None, image, origin: CliOrigin::BuiltIn });
        }
        catalog
    };
    CATALOG.get_or_init(make).clone()
}

/// The service of a life, as the program puts it together.
fn service(
    world: &World,
    store: &MemoryStore,
    home: &Path,
    terms: &Terms,
    wakes: &Arc<Wakes>,
) -> Option<Service> {
    let forge = Arc::new(SimForge(world.clone(), store.clone()));
    let clock = Arc::new(world.clone());
    let settings = EngineSettings {
        instance: "simulated".parse().ok()?,
        layout: Layout::new(home),
        agent_binary: PathBuf::from("/proc/self/exe"),
        cli_user: (1000, 1000),
        runs_as_root: false,
        catalog: catalog(),
        forges: forge.clone(),
        environment: Arc::new(|_| None),
        forge_secrets: Arc::new(Vec::new),
    };
    let runtime = Arc::new(SimRuntime(world.clone()));
    let engine = Engine::new(settings, store.clone(), runtime, clock.clone(), clock.clone())
        .with_git(Arc::new(SimGit(world.clone())))
        .with_watches(Arc::new(SimWatches(world.clone())));
    let engine = Arc::new(engine);
    let project = ServedProject {
        name: "shop".parse().ok()?,
        repository: "acme/shop".parse().ok()?,
        plan: terms.plan.clone(),
        triggers: cloud_code_model::TriggerSettings::default().resolved(),
        access: cloud_code_model::AccessSettings::default().resolved(),
        priority: Default::default(),
    };
    let clis = vec![cli("claude-code"), cli("codex")];
    let projects = Projects::new(vec![project], clis, forge.clone(), store.clone());
    let log = HookLog { log: forge, target: target(), of: None };
    let settings = ServiceSettings {
        limits: cloud_code_model::QueueLimits {
            // What this machine has is no part of the seed.
            min_free_memory: cloud_code_model::ByteSize::mebibytes(1),
            min_free_disk: cloud_code_model::ByteSize::mebibytes(1),
            concurrency: u32::try_from(terms.concurrency).unwrap_or(u32::MAX),
            ..Default::default()
        },
        sweep: SweepMode::Log { logs: vec![log], every: SWEEP },
        ..ServiceSettings::default()
    };
    let engines = Engines { docker: engine.clone(), local: engine };
    Some(Service::new(store.clone(), engines, projects, settings, clock, wakes.clone()))
}

fn target() -> HookTarget {
    HookTarget { kind: "integration".to_owned(), id: APP }
}

async fn live(
    world: &World,
    store: &MemoryStore,
    home: &Path,
    terms: &Terms,
    versions: &mut check::Versions,
    trouble: &mut Option<Trouble>,
) -> End {
    let wakes = Arc::new(Wakes::default());
    let Some(service) = service(world, store, home, terms, &wakes) else { return End::TimeIsUp };
    let stop = CancellationToken::new();
    let began = (Instant::now(), world.state().now());
    world.state().note(|| "the orchestrator starts".to_owned());
    let mut running = tokio::spawn(service.run(stop.clone()));
    let mut settled = 0;
    let mut stopping: Option<(Duration, End)> = None;
    let mut next_look = began.1 + LOOK;
    loop {
        while let Some(event) = due(world) {
            if let Some(mishap) = happen(world, store, &wakes, event)
                && stopping.is_none()
            {
                match mishap {
                    Mishap::Crash => return End::Crashed,
                    Mishap::Restart => {
                        stop.cancel();
                        stopping = Some((world.state().now() + STOPPING, End::Restart));
                    }
                    _ => {}
                }
            }
            world.moved().notify_waiters();
        }
        let (now, is_crashed) = {
            let state = world.state();
            (state.now(), state.is_crashed)
        };
        versions.look(store, world);
        if is_crashed {
            return End::Crashed;
        }
        if running.is_finished() {
            return ended(world, &mut running, stopping).await;
        }
        if let Some((until, _)) = &stopping
            && now >= *until
        {
            world.state().breaks(format!("the service did not stop within {} s", STOPPING.as_secs()));
            return End::Crashed;
        }
        // An installation is set up in peace: until the forge's log was read once, nobody knows where it begins.
        if trouble.is_some()
            && store.tables().cursors.contains_key("swept")
            && let Some((faults, mishaps)) = trouble.take()
        {
            let mut state = world.state();
            state.faults.left = faults;
            state.begin_script();
            for (at, mishap) in mishaps {
                state.later(at, Event::Host(mishap));
            }
            continue;
        }
        if now >= next_look {
            next_look = now + LOOK;
            let is_settled = trouble.is_none() && check::is_settled(store, world);
            settled = if is_settled { settled + 1 } else { 0 };
            if settled >= LOOKS && stopping.is_none() {
                stop.cancel();
                stopping = Some((now + STOPPING, End::Settled));
            }
            if now > PATIENCE {
                return End::TimeIsUp;
            }
            continue;
        }
        let next = world.state().next_at().map_or(next_look, |at| at.min(next_look));
        let until = began.0 + next.saturating_sub(began.1);
        tokio::select! {
            biased;
            () = world.woken() => {}
            _ = &mut running, if stopping.is_some() => return stopping.map_or(End::Restart, |(_, end)| end),
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

async fn ended(world: &World, running: &mut JoinHandle<()>, stopping: Option<(Duration, End)>) -> End {
    let how = running.await;
    match (how, stopping) {
        (Ok(()), Some((_, end))) => end,
        (Ok(()), None) => {
            world.state().breaks("the service ended by itself".to_owned());
            End::Crashed
        }
        (Err(error), _) => {
            world.state().breaks(format!("the service broke: {error}"));
            End::Crashed
        }
    }
}

fn due(world: &World) -> Option<Event> {
    world.state().due()
}

/// Has something happen while the orchestrator runs; gives back what happens to it itself.
fn happen(world: &World, store: &MemoryStore, wakes: &Arc<Wakes>, event: Event) -> Option<Mishap> {
    match event {
        Event::Deliver { id } => {
            deliver(world, store, wakes, id);
            None
        }
        Event::Host(mishap @ (Mishap::Crash | Mishap::Restart)) => {
            let mut state = world.state();
            state.faults.given += 1;
            state.count(mishap.name());
            state.note(|| format!("the orchestrator: {mishap:?}"));
            Some(mishap)
        }
        event => {
            by_itself(world, event);
            None
        }
    }
}

/// What happens whether or not the orchestrator runs.
fn by_itself(world: &World, event: Event) {
    let mut state = world.state();
    match event {
        Event::Agent { container } => state.step_agent(&container),
        Event::People => state.act(),
        Event::Deliver { id } => {
            state.count("deliveries that found nobody");
            state.note(|| format!("delivery {id} finds nobody"));
        }
        Event::Host(mishap) => {
            let running = state.running();
            match mishap {
                Mishap::KillAgent => {
                    if let Some(id) = running.first() {
                        state.count(mishap.name());
                        state.note(|| format!("kill -9 of the agent in {id}"));
                        state.end_container(id, Ended { code: 137, oom: false });
                    }
                }
                Mishap::RemoveContainer => {
                    if let Some(id) = state.containers.all.keys().next().cloned() {
                        state.count(mishap.name());
                        state.note(|| format!("somebody removes {id}"));
                        state.containers.all.remove(&id);
                    }
                }
                Mishap::RestartRuntime => {
                    state.count(mishap.name());
                    state.note(|| "the runtime is restarted".to_owned());
                    for id in running {
                        state.end_container(&id, Ended { code: 137, oom: false });
                    }
                }
                Mishap::SetClock => {
                    state.count(mishap.name());
                    let seconds = i64::try_from(state.chance.below(4_200)).unwrap_or_default() - 600;
                    state.set_clock(SignedDuration::from_secs(seconds));
                }
                Mishap::Crash | Mishap::Restart => {}
            }
        }
    }
}

/// The world goes on while the orchestrator is down.
fn without(world: &World, until: Duration) {
    loop {
        let next = world.state().next_at().filter(|at| *at <= until);
        let Some(at) = next else { break };
        world.state().skip_to(at);
        if let Some(event) = due(world) {
            by_itself(world, event);
        }
    }
    world.state().skip_to(until);
}

/// The forge calls. What the server does with it is the store's: it answers when the delivery is stored.
fn deliver(world: &World, store: &MemoryStore, wakes: &Arc<Wakes>, id: u64) {
    let (world, store, wakes) = (world.clone(), store.clone(), wakes.clone());
    let new = {
        let state = world.state();
        let Some(sent) = state.hub.sent.get(&id) else { return };
        NewDelivery {
            key: DeliveryKey { target: target(), guid: sent.guid.clone() },
            event: sent.event.to_owned(),
            body: sent.body.clone().into_bytes(),
            received_at: state.clock(),
            source: DeliverySource::Webhook,
            state: DeliveryState::Waiting,
        }
    };
    tokio::spawn(async move {
        let stored = store.put(&[new]).await;
        let mut state = world.state();
        state
            .note(|| format!("delivery {id} arrives: {}", if stored.is_ok() { "stored" } else { "refused" }));
        if stored.is_ok() {
            let is_overtaken = state.hub.sent.range(id + 1..).any(|(_, later)| later.has_arrived);
            if let Some(sent) = state.hub.sent.get_mut(&id) {
                let is_again = std::mem::replace(&mut sent.has_arrived, true);
                if is_overtaken && !is_again {
                    state.count("deliveries out of order");
                }
            }
            wakes.received.notify_one();
        }
    });
}

/// Whether a task waits for a person's yes.
pub(crate) const fn waits_for_a_yes(state: &TaskState) -> bool {
    matches!(state, TaskState::AwaitingApproval { .. } | TaskState::OverBudget { .. })
}
