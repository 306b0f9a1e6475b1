//! What must be so, whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cloud_code_forge::PullState;
use cloud_code_model::{
    self as model, IntentRecord, Issue, MergeHold, MergeWord, Move, ProjectPlan, Spent, TaskRecord,
    TaskState, TaskStatus, Thread,
};
use cloud_code_store::DeliveryState;
use cloud_code_task_schema::{Failure, FailureKind, Mode, TaskId, TaskReportStatus};
use cloud_code_workspace::{CommitId, Layout};
use jiff::Timestamp;

use crate::hub::ALICE;
use crate::life::waits_for_a_yes;
use crate::memory::{MemoryStore, Tables};
use crate::world::{State, World};

/// What a task's row said last.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    seen: BTreeMap<TaskId, (i64, bool, u32)>,
}

impl Versions {
    /// Versions only grow, attempts too, and what has ended stays so, but for work whose publication is tried again.
    pub(crate) fn look(&mut self, store: &MemoryStore, world: &World) {
        let tables = store.tables();
        for record in &tables.tasks {
            let now = (record.version, record.state.status().is_terminal(), record.attempt);
            let before = self.seen.insert(record.task.id.clone(), now);
            let Some(before) = before.filter(|before| *before != now) else { continue };
            let id = &record.task.id;
            if now.0 <= before.0 || now.2 < before.2 {
                world.state().breaks(format!("the row of {id} went back from {before:?} to {now:?}"));
            }
            if before.1 && !now.1 && !matches!(record.state, TaskState::Publishing { .. }) {
                world.state().breaks(format!("{id} had ended and is {}", record.state.status()));
            }
        }
    }
}

/// Whether nothing is left to do. Has people say yes to what waits for it.
pub(crate) fn is_settled(store: &MemoryStore, world: &World) -> bool {
    let tables = store.tables();
    let mut state = world.state();
    if !state.is_quiet() {
        return false;
    }
    let waiting: Vec<&TaskRecord> =
        tables.tasks.iter().filter(|record| waits_for_a_yes(&record.state)).collect();
    if let Some(first) = waiting.first()
        && is_still(&tables, state.clock())
    {
        let key = &first.task.issue;
        let thread = tables.threads.values().find(|thread| thread.facts.issue.as_ref() == Some(key));
        if let Some(number) = thread.map(|thread| thread.number) {
            say_yes_or_no(&mut state, number);
        }
        return false;
    }
    let merge =
        tables.threads.values().find(|thread| unmerged(&tables, thread) == Some(&MergeHold::WaitsForYes));
    if let Some(thread) = merge
        && is_still(&tables, state.clock())
    {
        say_yes_or_no(&mut state, thread.number);
        return false;
    }
    left(&tables, &state).is_empty()
}

fn say_yes_or_no(state: &mut State, number: u64) {
    let word = if state.chance.one_in(4) { "/cloud-code reject" } else { "/cloud-code approve" };
    state.say(number, word);
}

/// Why an open pull request that is to be merged for people is not merged yet, where that is not the end of it.
fn unmerged<'a>(tables: &Tables, thread: &'a Thread) -> Option<&'a MergeHold> {
    let issue = thread.facts.issue.as_ref()?;
    let published = &thread.published;
    let is_of_this = published.of.as_ref() == Some(issue);
    published.pull.as_ref().filter(|pull| is_of_this && pull.state == model::PullState::Open)?;
    let mut tasks = tables.tasks.iter().filter(|record| record.task.issue == *issue).rev();
    let last = tasks.clone().find(|record| record.task.mode != Mode::Ask)?;
    last.task.plan.publish.merge?;
    let hold = published.merging.as_ref().map_or(&MergeHold::Looking, |merging| &merging.hold);
    match hold {
        MergeHold::Looking | MergeHold::ChecksMayCome | MergeHold::ChecksRun { .. } => Some(hold),
        MergeHold::WaitsForYes | MergeHold::Nothing => Some(hold),
        MergeHold::Work => {
            let is_done = matches!(last.state, TaskState::Done { .. })
                && tasks.all(|record| record.state.status().is_terminal());
            is_done.then_some(hold)
        }
        _ => None,
    }
}

/// Whether nobody's word is being worked on but what waits behind a task.
fn is_still(tables: &Tables, now: Timestamp) -> bool {
    // One that has waited for long waits for a word that somebody else has to say.
    let is_young = |record: &&IntentRecord| now.duration_since(record.received_at).as_secs() < 600;
    let asks = tables.intents.iter().filter(|record| record.outcome.is_none()).filter(is_young);
    let is_yes_or_no = |key: &str| key.contains("Approve") || key.contains("Reject");
    let is_delivered = tables.deliveries.iter().all(|known| known.delivery.state.is_settled());
    is_delivered && !asks.map(|record| format!("{:?}", record.intent.ask)).any(|ask| is_yes_or_no(&ask))
}

/// What is left to do, in words.
pub(crate) fn waits(store: &MemoryStore, state: &State) -> String {
    left(&store.tables(), state).join("; ")
}

fn left(tables: &Tables, state: &State) -> Vec<String> {
    let mut left = Vec::new();
    let known: BTreeSet<&str> =
        tables.deliveries.iter().map(|known| known.delivery.key.guid.as_str()).collect();
    for (id, sent) in &state.hub.sent {
        if !known.contains(sent.guid.as_str()) {
            left.push(format!("delivery {id} was never fetched"));
        }
    }
    for known in tables.deliveries.iter().filter(|known| !known.delivery.state.is_settled()) {
        left.push(format!("{} waits: {:?}", known.delivery.key.guid, known.note));
    }
    for record in tables.intents.iter().filter(|record| record.outcome.is_none() || !record.is_reacted) {
        let what = if record.outcome.is_none() { "an outcome" } else { "its reaction" };
        left.push(format!("{} has not {what}", record.intent.key));
    }
    for row in tables.notes.iter().filter(|row| row.remote.is_none() && row.gave_up.is_none()) {
        left.push(format!("the note {} is not written", row.note.key));
    }
    for record in tables.tasks.iter().filter(|record| !record.state.status().is_terminal()) {
        left.push(format!("{} is {:?}", record.task.id, record.state));
    }
    for (id, container) in &state.containers.all {
        left.push(format!("the container {id} is {:?}", container.state));
    }
    for thread in tables.threads.values() {
        if let Some(hold) = unmerged(tables, thread) {
            left.push(format!("#{} is not merged: {hold:?}", thread.number));
        }
    }
    left.extend(tables.cursors.keys().filter(|name| name.starts_with("moved ")).cloned());
    left
}

/// What must be so once all is settled.
pub(crate) fn at_the_end(store: &MemoryStore, world: &World, home: &Path, plan: &ProjectPlan) {
    let tables = store.tables();
    let mut state = world.state();
    let mut broken = Vec::new();
    if state.broken.is_empty() {
        requests(&tables, &state, &mut broken);
        tasks(&tables, &state, plan, &mut broken);
        accounts(&tables, &mut broken);
        forge(&tables, &state, &mut broken);
        merges(&tables, &state, plan, &mut broken);
        leftovers(&tables, &state, home, &mut broken);
    }
    for what in broken {
        state.breaks(what);
    }
}

fn requests(tables: &Tables, state: &State, broken: &mut Vec<String>) {
    for known in &tables.deliveries {
        if known.delivery.state == DeliveryState::Failed {
            broken.push(format!("{} was given up: {:?}", known.delivery.key.guid, known.note));
        }
    }
    for (number, issue) in &state.hub.issues {
        let commands =
            issue.comments.iter().filter(|said| said.author == ALICE && said.body.starts_with('/'));
        for said in commands {
            let key = format!("comment-{}", said.id);
            let found = tables.intents.iter().filter(|record| record.intent.key == key).count();
            if found != 1 {
                broken.push(format!("the command {} on #{number} is {found} requests", said.id));
            }
            let place = format!("{number} Comment {{ id: {} }}", said.id);
            if !state.hub.reactions.contains_key(&place) {
                broken.push(format!("the command {} on #{number} has no reaction", said.id));
            }
        }
    }
    let mut asked = BTreeSet::new();
    for record in &tables.tasks {
        if let Some(intent) = &record.task.intent
            && !asked.insert(intent)
        {
            broken.push(format!("the request {intent} made two tasks"));
        }
    }
}

fn tasks(tables: &Tables, state: &State, plan: &ProjectPlan, broken: &mut Vec<String>) {
    for record in &tables.tasks {
        let id = &record.task.id;
        let attempts: Vec<_> = tables.attempts.iter().filter(|attempt| attempt.task == *id).collect();
        // What a budget cut goes on when that is raised, whatever the number of its attempts.
        let is_cut = |made: &&Move| {
            let failure = made.detail.failure.as_ref();
            made.task == *id && made.status == TaskStatus::Importing && failure.is_some_and(is_budget)
        };
        let cuts = tables.moves.iter().filter(is_cut).count();
        let most = plan.retries.attempts as usize + cuts;
        if attempts.len() > most {
            broken.push(format!("{id} had {} attempts of {most}", attempts.len()));
        }
        for attempt in attempts {
            if attempt.finished_at.is_none() {
                broken.push(format!(
                    "attempt {} of {id} never ended, the task is {:?}",
                    attempt.number, record.state
                ));
            }
        }
        let Some(ledger) = state.containers.ledger.get(id) else { continue };
        if ledger.is_resumed && cuts == 0 {
            broken.push(format!("{id} was taken back and ran again"));
        }
        let turns = record.usage.turns.unwrap_or_default();
        if turns > ledger.turns {
            broken.push(format!("{id} is charged {turns} turns of {}", ledger.turns));
        }
        let has_done = ledger.ended.iter().any(|(_, status)| *status == TaskReportStatus::Completed);
        let is_lawful = match &record.state {
            TaskState::Done { .. } | TaskState::Cancelled { .. } => true,
            TaskState::Failed { failure, .. } => {
                matches!(failure.kind, FailureKind::PublishRefused | FailureKind::Rejected)
            }
            _ => false,
        };
        if has_done && !is_lawful {
            broken.push(format!("{id} was done by its agent and is {:?}", record.state));
        }
        let is_whole = turns + ledger.lost_turns >= ledger.turns;
        if has_done && !is_whole && !matches!(record.state, TaskState::Cancelled { .. }) {
            broken.push(format!("{id} is charged {turns} turns of {}", ledger.turns));
        }
        let paid = tables.spending.get(&format!("task:{id}")).map_or(0, |spent| spent.turns);
        if paid > u64::from(ledger.turns) || paid < u64::from(turns) {
            broken.push(format!("the account of {id} has {paid} turns of {}, its row {turns}", ledger.turns));
        }
    }
}

/// What tasks used is what their issues, their project and their days used.
fn accounts(tables: &Tables, broken: &mut Vec<String>) {
    let sum = |kind: &str| {
        let its = tables.spending.iter().filter(|(account, _)| account.starts_with(kind));
        its.fold(Spent::default(), |sum, (_, spent)| sum.plus(*spent))
    };
    let of_tasks = sum("task:");
    for kind in ["issue:", "project:", "day:"] {
        if sum(kind) != of_tasks {
            broken.push(format!("the accounts of {kind} have {:?}, those of tasks {of_tasks:?}", sum(kind)));
        }
    }
}

fn is_budget(failure: &Failure) -> bool {
    failure.kind == FailureKind::Budget
}

fn forge(tables: &Tables, state: &State, broken: &mut Vec<String>) {
    for (number, issue) in &state.hub.issues {
        let mut markers = BTreeSet::new();
        let ours = issue.comments.iter().filter(|said| said.author != ALICE);
        for marker in ours.flat_map(|said| said.body.lines().rev().find(|line| line.starts_with("<!--"))) {
            if !markers.insert(marker) {
                broken.push(format!("#{number} has two comments with {marker}"));
            }
        }
        // Under whatever name: what is said once has one comment, and what is kept up to date is one comment.
        let count = |kind: &str| markers.iter().filter(|marker| marker.contains(kind)).count();
        let notes = tables.notes.iter().filter(|row| row.note.number == *number).count();
        let (said, statuses) = (count("note:"), count("status:"));
        if said > notes || statuses > 1 {
            broken.push(format!(
                "#{number} has {said} comments of {notes} notes, and {statuses} of its status"
            ));
        }
    }
    let mut open = BTreeSet::new();
    for (number, pull) in state.hub.pulls.iter().filter(|(_, pull)| pull.state == PullState::Open) {
        if !open.insert(&pull.branch) {
            broken.push(format!("#{number} is a second pull request of {}", pull.branch));
        }
    }
    let branches: BTreeSet<&str> = tables.issues.iter().map(|issue| issue.branch.as_str()).collect();
    for branch in &state.repositories.made_by_us {
        if !branches.contains(branch.as_str()) {
            broken.push(format!("the branch {branch} belongs to no issue"));
        }
    }
    for thread in tables.threads.values() {
        let (Some(written), Some(issue)) = (&thread.written.label, state.hub.issues.get(&thread.number))
        else {
            continue;
        };
        if !issue.labels.contains(written) || issue.labels.len() != 1 {
            broken.push(format!(
                "#{} should have the label {written} and has {:?}",
                thread.number, issue.labels
            ));
        }
    }
    for record in &tables.tasks {
        let TaskState::Done { head: Some(head) } = &record.state else { continue };
        let is_its = |issue: &&Issue| issue.project == record.task.project && issue.key == record.task.issue;
        let Some(issue) = tables.issues.iter().find(is_its) else { continue };
        let Ok(head) = head.parse::<CommitId>() else { continue };
        let holds = |name: &str| {
            state.repositories.branches.get(name).is_some_and(|tip| state.repositories.holds(tip, &head))
        };
        let is_replaced = tables.tasks.iter().any(|later| {
            later.task.issue == record.task.issue
                && later.task.id > record.task.id
                && later.state.head().is_some()
        });
        if !holds(issue.branch.as_str()) && !holds(issue.base.as_str()) && !is_replaced {
            broken.push(format!("{} is done and {} does not hold its work", record.task.id, issue.branch));
        }
    }
}

/// What was merged for people was to be: once, by their word where that is asked for, and with its checks passed.
fn merges(tables: &Tables, state: &State, plan: &ProjectPlan, broken: &mut Vec<String>) {
    let mut merged = BTreeSet::new();
    for merge in &state.hub.merges {
        let number = merge.pull;
        if !merged.insert(number) {
            broken.push(format!("#{number} was merged twice"));
        }
        if plan.publish.merge.is_none() {
            broken.push(format!("#{number} was merged, and people do that here"));
        }
        let needed = plan.publish.merge_approval.then_some(MergeWord::Yes);
        if merge.word == Some(MergeWord::No) || needed.is_some() && merge.word != needed {
            broken.push(format!("#{number} was merged with the word {:?}", merge.word));
        }
        if !merge.was_fit {
            broken.push(format!("#{number} was merged before its checks had passed"));
        }
        let is_its =
            |thread: &&Thread| thread.published.pull.as_ref().is_some_and(|pull| pull.number == number);
        let merging =
            tables.threads.values().find(is_its).and_then(|thread| thread.published.merging.as_ref());
        // A later pull request of the issue is what its thread speaks of now.
        let Some(merging) = merging else { continue };
        if merging.head_sha != merge.head {
            broken.push(format!("#{number} was merged at {} and judged at {}", merge.head, merging.head_sha));
        }
        if merging.merged_at.is_none() {
            broken.push(format!("the merge of #{number} was not noted"));
        }
    }
    for thread in tables.threads.values() {
        let Some(known) = &thread.published.pull else { continue };
        let is_ended = state.hub.pulls.get(&known.number).is_some_and(|pull| pull.state != PullState::Open);
        if is_ended && known.state == model::PullState::Open {
            broken.push(format!("#{} has ended, and its thread does not know", known.number));
        }
    }
}

fn leftovers(tables: &Tables, state: &State, home: &Path, broken: &mut Vec<String>) {
    for (id, container) in &state.containers.all {
        broken.push(format!("the container {id} ({}) is left", container.name));
    }
    let layout = Layout::new(home);
    let live = tables.issues.iter().filter(|issue| issue.cleaned_at.is_none());
    let roots: BTreeSet<_> = live.map(|issue| layout.issue(&issue.project, &issue.key).root).collect();
    for root in state.repositories.roots().filter(|root| !roots.contains(*root)) {
        broken.push(format!("the worktree {} is left", root.display()));
    }
    let Ok(locks) = std::fs::read_dir(home.join("locks")) else { return };
    for lock in locks.flatten().filter(|lock| lock.path().is_file()) {
        let held = std::fs::File::open(lock.path()).is_ok_and(|file| file.try_lock().is_err());
        if held {
            broken.push(format!("the lock {} is held", lock.path().display()));
        }
    }
}
