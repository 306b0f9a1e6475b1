use super::*;
use cloud_code_model::{DEFAULT_CLI, NewTask, ProjectSettings, QueuePlace};
use cloud_code_task_schema::{Failure, FailureKind, Mode};
use proptest::prelude::*;

struct House {
    open: Vec<TaskRecord>,
    driven: BTreeSet<TaskId>,
    limits: QueueLimits,
    pauses: Vec<Pause>,
    room: Room,
    unmet: BTreeMap<TaskId, Unmet>,
    spent: BTreeMap<TaskId, String>,
    turns: Turns,
    now: i64,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn task(id: &str, project: &str, second: i64) -> TaskRecord {
    let mut plan = ProjectSettings::default().plan("/srv/shop".into(), DEFAULT_CLI.parse().unwrap());
    plan.cli = "codex".parse().unwrap();
    TaskRecord::queued(NewTask {
        id: id.parse().unwrap(),
        project: project.parse().unwrap(),
        issue: id.parse().unwrap(),
        title: "Fix".into(),
        description: String::new(),
        brief: Default::default(),
        mode: Mode::Edit,
        continues: None,
        handoff: None,
        plan,
        requested_by: None,
        intent: Some(id.into()),
        queue: QueuePlace::default(),
        created_at: at(second),
    })
}

fn house(open: Vec<TaskRecord>, concurrency: u32) -> House {
    House {
        open,
        driven: BTreeSet::new(),
        limits: QueueLimits { concurrency, ..QueueLimits::default() },
        pauses: Vec::new(),
        room: Room::default(),
        unmet: BTreeMap::new(),
        spent: BTreeMap::new(),
        turns: Turns::default(),
        now: 100,
    }
}

impl House {
    fn plan(&self) -> Vec<Entry<'_>> {
        plan(&Picture {
            open: &self.open,
            driven: &self.driven,
            limits: &self.limits,
            pauses: &self.pauses,
            room: self.room,
            unmet: &self.unmet,
            spent: &self.spent,
            turns: &self.turns,
            now: at(self.now),
        })
    }

    fn told(&self) -> Vec<(String, &'static str)> {
        let told = |entry: &Entry<'_>| {
            (entry.record.task.id.to_string(), entry.waits.as_ref().map_or("now", Waits::name))
        };
        self.plan().iter().map(told).collect()
    }

    fn order(&self) -> Vec<String> {
        self.told().into_iter().map(|(id, _)| id).collect()
    }
}

fn running(mut record: TaskRecord) -> TaskRecord {
    record.state = TaskState::Running { container: "c".into(), started_at: at(1) };
    record
}

fn resting(mut record: TaskRecord, kind: FailureKind, until: i64) -> TaskRecord {
    let failure = Failure::new(kind, "busy");
    record.state = TaskState::BackingOff { failure, head: None, until: at(until), attempt: 2 };
    record
}

#[test]
fn the_oldest_goes_first_and_the_rest_waits_for_a_place() {
    let house = house(vec![task("T1", "shop", 1), task("T2", "shop", 2), task("T3", "shop", 3)], 2);
    let told: Vec<_> = house.told().into_iter().map(|(id, why)| format!("{id} {why}")).collect();
    assert_eq!(told, ["T1 now", "T2 now", "T3 full"]);
}

#[test]
fn priorities_go_first_and_projects_take_turns() {
    let mut open: Vec<TaskRecord> = (1..=4).map(|n| task(&format!("A{n}"), "big", n)).collect();
    open.push(task("B1", "small", 9));
    let mut urgent = task("C1", "big", 50);
    urgent.task.queue.priority = Priority::Critical;
    open.push(urgent);
    let house = house(open, 9);
    assert_eq!(house.order(), ["C1", "B1", "A1", "A2", "A3", "A4"]);
}

#[test]
fn a_project_that_comes_late_is_served_next_and_saves_nothing_up() {
    let open: Vec<TaskRecord> = (1..=6).map(|n| task(&format!("A{n}"), "big", n)).collect();
    let mut house = house(open, 1);
    for _ in 0..3 {
        house.turns.join(house.open.iter().map(|record| &record.task.project));
        let first = house.plan().first().unwrap().record.task.id.clone();
        house.open.retain(|record| record.task.id != first);
        house.turns.taken(&"big".parse().unwrap());
    }
    house.open.extend((1..=2).map(|n| task(&format!("B{n}"), "small", 60 + n)));
    house.turns.join(house.open.iter().map(|record| &record.task.project));
    assert_eq!(house.order(), ["A4", "B1", "A5", "B2", "A6"]);
}

#[test]
fn who_waits_long_is_lifted_but_never_before_the_critical() {
    let mut low = task("L1", "shop", 1);
    low.task.queue.priority = Priority::Low;
    let mut high = task("H1", "shop", 2 * 3600);
    high.task.queue.priority = Priority::High;
    let mut critical = task("C1", "shop", 9 * 3600);
    critical.task.queue.priority = Priority::Critical;
    let mut house = house(vec![critical, high, low], 9);
    house.now = 10 * 3600;
    assert_eq!(house.order(), ["C1", "L1", "H1"]);
}

#[test]
fn every_reason_to_wait_is_named() {
    let reason = |change: &dyn Fn(&mut House)| {
        let mut house = house(vec![task("T1", "shop", 1)], 1);
        change(&mut house);
        house.told().into_iter().find(|(id, _)| id == "T1").unwrap().1
    };
    let pause = |scope| Pause { scope, by: None, reason: None, at: at(1) };
    let id = || "T1".parse::<TaskId>().unwrap();
    assert_eq!(reason(&|_| {}), "now");
    assert_eq!(reason(&|h| h.pauses.push(pause(PauseScope::All))), "paused");
    assert_eq!(reason(&|h| h.pauses.push(pause(PauseScope::Project("shop".parse().unwrap())))), "paused");
    assert_eq!(reason(&|h| h.pauses.push(pause(PauseScope::Project("other".parse().unwrap())))), "now");
    assert_eq!(reason(&|h| h.pauses.push(pause(PauseScope::Cli("codex".parse().unwrap())))), "paused");
    assert_eq!(reason(&|h| h.pauses.push(pause(PauseScope::Cli("aider".parse().unwrap())))), "now");
    assert_eq!(reason(&|h| h.open.push(running(task("T0", "other", 0)))), "full");
    assert_eq!(
        reason(&|h| {
            h.limits.concurrency = 5;
            h.limits.per_cli.insert("codex".parse().unwrap(), 1);
            h.open.push(running(task("T0", "other", 0)));
        }),
        "cli_full"
    );
    assert_eq!(
        reason(&|h| {
            h.limits.concurrency = 5;
            h.limits.per_project.insert("shop".parse().unwrap(), 1);
            h.open.push(running(task("T0", "shop", 0)));
        }),
        "project_full"
    );
    assert_eq!(
        reason(&|h| {
            let unmet = Unmet { issue: "cart".parse().unwrap(), how: "is running".into() };
            h.unmet.insert(id(), unmet);
        }),
        "dependency"
    );
    assert_eq!(reason(&|h| drop(h.spent.insert(id(), "all used".into()))), "budget");
    assert_eq!(reason(&|h| h.room.disk = Some(1)), "disk");
    assert_eq!(reason(&|h| h.open[0] = resting(h.open[0].clone(), FailureKind::Network, 101)), "backing_off");
    assert_eq!(reason(&|h| h.open[0] = resting(h.open[0].clone(), FailureKind::Network, 100)), "now");
    let held = |h: &mut House| h.open.push(resting(task("T0", "other", 0), FailureKind::UsageLimit, 200));
    assert_eq!(reason(&held), "account_held");
    // What is to be taken back waits for nothing.
    assert_eq!(
        reason(&|h| {
            held(h);
            h.pauses.push(pause(PauseScope::All));
            h.open[0].cancel_requested_at = Some(at(1));
        }),
        "now"
    );
}

proptest! {
    /// However many tasks there are: no limit is passed, nothing is named twice or forgotten, and a place is never left
    /// empty while somebody waits for one alone.
    #[test]
    fn no_limit_is_passed_and_no_place_is_wasted(
        tasks in proptest::collection::vec((0_u8..4, 0_u8..3, 0_i64..50, 0_u8..4), 0..40),
        concurrency in 1_u32..6,
        per_project in 1_u32..4,
    ) {
        let open: Vec<TaskRecord> = tasks.iter().enumerate().map(|(n, (project, state, second, priority))| {
            let mut record = task(&format!("T{n}"), &format!("p{project}"), *second);
            record.task.queue.priority = Priority::ALL[usize::from(*priority)];
            match state { 0 => running(record), 1 => resting(record, FailureKind::Network, 99), _ => record }
        }).collect();
        let mut house = house(open, concurrency);
        for project in 0..4 {
            house.limits.per_project.insert(format!("p{project}").parse().unwrap(), per_project);
        }
        let plan = house.plan();
        let ids: BTreeSet<&TaskId> = plan.iter().map(|entry| &entry.record.task.id).collect();
        let waiting = house.open.iter().filter(|record| record.state.waits_for_turn()).count();
        prop_assert_eq!(ids.len(), plan.len());
        prop_assert_eq!(plan.len(), waiting);
        let mut load = Load::default();
        for record in &house.open {
            if runs(&record.state) {
                load.add(record);
            }
        }
        let was = load.all;
        for entry in plan.iter().filter(|entry| entry.waits.is_none()) {
            load.add(entry.record);
        }
        prop_assert!(load.all <= concurrency.max(was));
        for entry in plan.iter().filter(|entry| entry.waits.is_some()) {
            let of_project = load.of_project.get(&entry.record.task.project).copied().unwrap_or_default();
            prop_assert!(load.all >= concurrency || of_project >= per_project, "{:?}", entry.waits);
        }
    }
}
