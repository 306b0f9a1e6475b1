//! What a CLI is put through. Each situation says what was seen: good, a lack of the CLI, or a defect of ours.

use std::fs;
use std::time::Instant;

use cloud_code_task_schema::{Conversation, FailureKind, TaskReportStatus};

use crate::bench::{Bench, Run};
use crate::support::{MODEL_URL, wait_for};

/// What a situation showed.
#[derive(Debug)]
pub(crate) enum Seen {
    /// All that a user expects.
    Good,
    /// The CLI does not offer it, and what happens instead is sound.
    Lacks(String),
    /// A defect.
    Wrong(String),
}

pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) try_out: fn(&Bench) -> Seen,
}

impl Situation {
    /// Whether CLIs ask a provider again and again in it, asleep in between: a minute or more without work.
    pub(crate) fn is_waited_out(&self) -> bool {
        matches!(self.name, "429" | "usage-limit" | "5xx" | "cut")
    }
}

/// In the order of the table. A later one may build on an earlier one's issue, and makes it when it is not there; none does
/// across the two kinds.
pub(crate) const SITUATIONS: &[Situation] = &[
    Situation { name: "edit", try_out: edit },
    Situation { name: "commit", try_out: commit },
    Situation { name: "resume", try_out: resume },
    Situation { name: "plan", try_out: plan },
    Situation { name: "hand-off-out", try_out: hand_off_out },
    Situation { name: "hand-off-in", try_out: hand_off_in },
    Situation { name: "401", try_out: bad_key },
    Situation { name: "429", try_out: rate_limited },
    Situation { name: "usage-limit", try_out: usage_limit },
    Situation { name: "login-expired", try_out: login_expired },
    Situation { name: "too-long", try_out: context_too_long },
    Situation { name: "refused", try_out: refused },
    Situation { name: "no-model", try_out: model_unknown },
    Situation { name: "5xx", try_out: server_error },
    Situation { name: "cut", try_out: cut },
    Situation { name: "hang", try_out: hang },
    Situation { name: "sigterm", try_out: sigterm },
    Situation { name: "oom", try_out: oom },
    Situation { name: "cancel", try_out: cancel },
    Situation { name: "budget", try_out: budget },
    Situation { name: "version", try_out: version },
];

/// Retries of the CLIs themselves take a while; those that never end are ended by this.
const PATIENCE: &str = "limits: {timeout: 5m}\n";

fn wrong(what: &str, run: &Run) -> Seen {
    Seen::Wrong(format!("{what}: {}", run.told()))
}

/// Whether a run completed with what it says in its last words.
fn completed(run: &Run, words: &str) -> Result<(), Seen> {
    let report = run.report();
    if report.status != TaskReportStatus::Completed || run.ended.code != 0 {
        return Err(wrong("it did not complete", run));
    }
    let summary = report.summary.as_deref().unwrap_or_default();
    if summary.contains(words) { Ok(()) } else { Err(wrong(&format!("the summary lacks `{words}`"), run)) }
}

fn held(check: Result<(), Seen>) -> Seen {
    check.map_or_else(|seen| seen, |()| Seen::Good)
}

fn edit(bench: &Bench) -> Seen {
    let run = bench.run("edit", "", &[]);
    held(completed(&run, "I wrote hello.txt").and_then(|()| {
        match bench.on_branch("edit", "hello.txt").as_str() {
            "Hello.\n" if bench.leftovers().is_empty() => Ok(()),
            other => Err(wrong(&format!("hello.txt holds {other:?}, left {:?}", bench.leftovers()), &run)),
        }
    }))
}

fn commit(bench: &Bench) -> Seen {
    let run = bench.run("commit", "", &[]);
    if let Err(seen) = completed(&run, "") {
        return seen;
    }
    match (bench.commits("commit").as_str(), bench.on_branch("commit", "hello.txt").as_str()) {
        ("docs: say hello\n", "Hello.\n") => Seen::Good,
        (commits, "Hello.\n") if commits.lines().count() == 1 => {
            Seen::Lacks("the CLI ran no command; the agent committed its work".to_owned())
        }
        (commits, _) => wrong(&format!("commits {commits:?}"), &run),
    }
}

fn resume(bench: &Bench) -> Seen {
    let first = bench.run("resume-first", "", &[]);
    if let Err(seen) = completed(&first, "I wrote the first file") {
        return seen;
    }
    if !bench.leftovers().is_empty() {
        return Seen::Wrong("the first container is still there".to_owned());
    }
    let issue = bench.full_name("resume-first");
    let second = bench.go_on("resume-first", &["continue", &issue, "And the second [resume-second]"]);
    let report = second.report();
    if report.status != TaskReportStatus::Completed
        || bench.on_branch("resume-first", "second.txt") != "second\n"
        || bench.on_branch("resume-first", "first.txt") != "first\n"
    {
        return wrong("the follow-up did not complete", &second);
    }
    let remembers = report.summary.as_deref().unwrap_or_default().contains("I remember");
    match (report.conversation, remembers) {
        (Conversation::Resumed, true) => Seen::Good,
        (Conversation::Packet, false) => Seen::Lacks("a packet stands in".to_owned()),
        (conversation, _) => wrong(&format!("{conversation:?}, remembers: {remembers}"), &second),
    }
}

fn plan(bench: &Bench) -> Seen {
    let run = bench.run("plan", "", &["--mode", "plan"]);
    let tree: Vec<String> = fs::read_dir(bench.tree("plan"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| ![".git", "README.md", "src"].contains(&name.as_str()))
        .collect();
    if !tree.is_empty() {
        return wrong(&format!("{tree:?} was written"), &run);
    }
    held(completed(&run, "Mention it in README.md"))
}

/// Reads its prompt, and says it back as the answer.
const READER: &str = "sh -euc 'cat > prompt.txt; echo The other CLI has read it.'";

fn hand_off_out(bench: &Bench) -> Seen {
    let run = bench.run("budget", "", &[]);
    if let Err(seen) = completed(&run, "") {
        return seen;
    }
    let issue = bench.full_name("budget");
    let after = bench.go_on("budget", &["handoff", &issue, "--to", "command", "--command", READER]);
    if let Err(seen) = completed(&after, "The other CLI has read it.") {
        return seen;
    }
    let prompt = bench.on_branch("budget", "prompt.txt");
    for part in
        [bench.cli.name, "Say hello [budget]", "I wrote hello.txt with a greeting in it.", "hello.txt"]
    {
        if !prompt.contains(part) {
            return wrong(&format!("the next CLI was not told {part:?}, only:\n{prompt}"), &after);
        }
    }
    Seen::Good
}

fn hand_off_in(bench: &Bench) -> Seen {
    let marker = "hand-off";
    let before = "sh -euc 'cat > /dev/null; echo half > half.txt; echo I stopped half way.'";
    let mut arguments = bench.arguments(marker, "", &["--command", before]);
    let place = arguments.iter().position(|word| word == "--cli").unwrap() + 1;
    "command".clone_into(&mut arguments[place]);
    if let Some(place) = arguments.iter().position(|word| word == "--model") {
        arguments.drain(place..place + 2);
    }
    let first = bench.files(marker, crate::support::Ended::of(&bench.command(&arguments).output().unwrap()));
    if let Err(seen) = completed(&first, "I stopped half way.") {
        return seen;
    }
    let issue = bench.full_name(marker);
    let mut words = vec!["handoff", &issue, "--to", bench.cli.name, "--base-url", MODEL_URL];
    words.extend(bench.cli.model.iter().flat_map(|model| ["--model", model]));
    words.push("Go on [edit]");
    let after = bench.go_on(marker, &words);
    if let Err(seen) = completed(&after, "I wrote hello.txt") {
        return seen;
    }
    let task = &after.tasking.tasks.last().unwrap().id;
    let log = bench.control(marker).join("logs").join(format!("{task}.1.prompt.md"));
    let prompt = fs::read_to_string(log).unwrap_or_default();
    for part in ["command", "I stopped half way.", "half.txt", "Go on [edit]"] {
        if !prompt.contains(part) {
            return wrong(&format!("it was not told {part:?}, only:\n{prompt}"), &after);
        }
    }
    match bench.on_branch(marker, "hello.txt").as_str() {
        "Hello.\n" => Seen::Good,
        other => wrong(&format!("hello.txt holds {other:?}"), &after),
    }
}

/// Whether a run failed with this kind.
fn failed_with(run: &Run, kind: FailureKind) -> Result<(), Seen> {
    let failure = run.report().failure.as_ref();
    if failure.is_some_and(|failure| failure.kind == kind) && run.ended.code != 0 {
        Ok(())
    } else {
        Err(wrong(&format!("no failure of kind {kind}"), run))
    }
}

/// A failure of this kind; or the CLI tries again for so long that the task's own clock ends it.
fn failed_or_tried_on(run: &Run, kind: FailureKind) -> Seen {
    let is_patient = run.report().status == TaskReportStatus::TimedOut;
    match failed_with(run, kind) {
        Ok(()) => Seen::Good,
        Err(_) if is_patient => Seen::Lacks("it tries again until the task's clock ends it".to_owned()),
        Err(seen) => seen,
    }
}

fn bad_key(bench: &Bench) -> Seen {
    failed_or_tried_on(&bench.run("bad-key", PATIENCE, &[]), FailureKind::Auth)
}

fn rate_limited(bench: &Bench) -> Seen {
    let run = bench.run("rate-limited", PATIENCE, &[]);
    match failed_or_tried_on(&run, FailureKind::RateLimited) {
        Seen::Good => {
            let wait = run.report().failure.as_ref().and_then(|failure| failure.retry_after);
            match wait {
                // A CLI that adds some of its own is not wrong.
                Some(wait) if (7..=10).contains(&wait.as_duration().as_secs()) => Seen::Good,
                None => Seen::Lacks("it does not tell how long to wait".to_owned()),
                Some(wait) => wrong(&format!("it is to wait {wait}"), &run),
            }
        }
        seen => seen,
    }
}

/// A failure of this kind; or one of another kind that the words below stand for.
fn failed_as(bench: &Bench, marker: &str, kind: FailureKind, instead: &[FailureKind]) -> Seen {
    let run = bench.run(marker, PATIENCE, &[]);
    let other = instead.iter().find(|other| failed_with(&run, **other).is_ok());
    match (failed_or_tried_on(&run, kind), other) {
        (Seen::Wrong(_), Some(other)) => Seen::Lacks(format!("it is told as `{other}`: {}", run.told())),
        (seen, _) => seen,
    }
}

fn usage_limit(bench: &Bench) -> Seen {
    let run = bench.run("usage-limit", PATIENCE, &[]);
    match failed_or_tried_on(&run, FailureKind::UsageLimit) {
        Seen::Good => match run.report().failure.as_ref().and_then(|failure| failure.resets_at) {
            Some(at) => {
                let minutes = at.duration_since(jiff::Timestamp::now()).as_mins();
                if (100..=120).contains(&minutes) {
                    Seen::Good
                } else {
                    wrong(&format!("resets in {minutes} min"), &run)
                }
            }
            None => Seen::Lacks(format!("it does not tell when the window resets: {}", run.told())),
        },
        Seen::Wrong(_) if failed_with(&run, FailureKind::RateLimited).is_ok() => {
            Seen::Lacks(format!("it is told as `rate_limited`: {}", run.told()))
        }
        seen => seen,
    }
}

fn login_expired(bench: &Bench) -> Seen {
    failed_as(bench, "login-expired", FailureKind::LoginExpired, &[FailureKind::Auth])
}

fn context_too_long(bench: &Bench) -> Seen {
    let instead = [FailureKind::Crashed, FailureKind::NoChanges];
    failed_as(bench, "context-too-long", FailureKind::ContextTooLong, &instead)
}

fn refused(bench: &Bench) -> Seen {
    let instead = [FailureKind::Crashed, FailureKind::NoChanges];
    failed_as(bench, "refused", FailureKind::Refused, &instead)
}

fn model_unknown(bench: &Bench) -> Seen {
    failed_as(bench, "model-unknown", FailureKind::ModelUnknown, &[FailureKind::Crashed])
}

fn server_error(bench: &Bench) -> Seen {
    failed_or_tried_on(&bench.run("server-error", PATIENCE, &[]), FailureKind::Overloaded)
}

fn cut(bench: &Bench) -> Seen {
    let run = bench.run("cut", PATIENCE, &[]);
    if failed_with(&run, FailureKind::NoChanges).is_ok() {
        return Seen::Lacks("it takes the half answer for a whole one, and says it is done".to_owned());
    }
    failed_or_tried_on(&run, FailureKind::Network)
}

fn hang(bench: &Bench) -> Seen {
    let run = bench.run("hang", "limits: {idle_timeout: 8s, timeout: 5m}\n", &[]);
    let report = run.report();
    let failure = report.failure.as_ref();
    if report.status != TaskReportStatus::TimedOut || failure.is_none_or(|f| f.kind != FailureKind::Idle) {
        return wrong("it was not ended as idle", &run);
    }
    if !bench.tree("hang").join("hello.txt").exists() && bench.leftovers().is_empty() {
        return Seen::Lacks("nothing had been written yet".to_owned());
    }
    work_is_kept(bench, "hang", &run)
}

/// What stood when the CLI was ended is committed, and nothing runs any more.
fn work_is_kept(bench: &Bench, marker: &str, run: &Run) -> Seen {
    match (bench.keeps_half(&bench.full_name(marker)), bench.leftovers()) {
        (Ok(()), left) if left.is_empty() => Seen::Good,
        (kept, left) => wrong(&format!("kept: {kept:?}, containers left: {left:?}"), run),
    }
}

/// Starts a scenario that takes long, and waits until it is in the middle: a command runs, or, for a CLI that runs none,
/// the model does not answer.
fn in_the_middle(bench: &Bench, name: &str) -> (String, crate::support::Running) {
    let marker = format!("{name}/{}", if bench.cli.runs_commands { "slow" } else { "hang" });
    let asked = bench.model.requests().len();
    let running = bench.start(&marker, "");
    let file = bench.tree(&marker).join("hello.txt");
    wait_for("the middle of the run", || {
        let is_there =
            if bench.cli.runs_commands { file.exists() } else { bench.model.requests().len() > asked };
        is_there.then_some(())
    });
    (marker, running)
}

/// Whether it ended soon, with what was there; a CLI that writes nothing before its end leaves nothing.
fn ended_soon(bench: &Bench, marker: &str, run: &Run, since: Instant) -> Seen {
    let took = since.elapsed().as_secs();
    if took > 40 {
        return wrong(&format!("it took {took} s to end"), run);
    }
    if bench.cli.runs_commands {
        return work_is_kept(bench, marker, run);
    }
    let left = bench.leftovers();
    if left.is_empty() { Seen::Good } else { wrong(&format!("containers left: {left:?}"), run) }
}

fn sigterm(bench: &Bench) -> Seen {
    let (marker, running) = in_the_middle(bench, "term");
    let (container, at) = (bench.container(), Instant::now());
    Bench::docker(&["kill", "--signal", "TERM", &container]);
    let ended = running.end();
    ended_soon(bench, &marker, &bench.files(&marker, ended), at)
}

fn cancel(bench: &Bench) -> Seen {
    let (marker, running) = in_the_middle(bench, "cancel");
    let (name, at) = (bench.full_name(&marker), Instant::now());
    bench.house.run(["cancel", name.as_str()]).expect(0);
    let run = bench.files(&marker, running.end());
    if run.report().status != TaskReportStatus::Cancelled {
        return wrong("it is not cancelled", &run);
    }
    ended_soon(bench, &marker, &run, at)
}

/// The command is killed by the kernel; the CLI is told so and goes on.
fn oom(bench: &Bench) -> Seen {
    if !bench.cli.runs_commands {
        return Seen::Lacks("it runs no commands".to_owned());
    }
    let run = bench.run("oom", "container: {memory: 1GiB}\nlimits: {timeout: 5m}\n", &[]);
    let report = run.report();
    let by_kernel = report.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Oom);
    if by_kernel {
        return work_is_kept(bench, "oom", &run);
    }
    if let Err(seen) = completed(&run, "") {
        return seen;
    }
    match bench.on_branch("oom", "hello.txt").as_str() {
        "half\n" if bench.leftovers().is_empty() => Seen::Good,
        other => wrong(&format!("hello.txt holds {other:?}"), &run),
    }
}

fn budget(bench: &Bench) -> Seen {
    let run = if bench.control("budget").join("reporting.yaml").exists() {
        bench.files("budget", crate::support::Ended { code: 0, out: String::new(), err: String::new() })
    } else {
        bench.run("budget", "", &[])
    };
    let report = &run.reporting.tasks[&run.tasking.tasks[0].id];
    let usage = &report.usage;
    let tokens = (usage.input_tokens, usage.output_tokens);
    if !matches!(tokens, (Some(1000), Some(200)) | (None, None)) {
        return wrong(&format!("the model used 1000 and 200 tokens, the report says {usage:?}"), &run);
    }
    let fields = [
        ("tokens", tokens.0.is_some()),
        ("turns", usage.turns.is_some()),
        ("cost", usage.cost_usd.is_some()),
        ("model", report.model.is_some()),
        ("session", report.session_id.is_some()),
    ];
    let missing: Vec<&str> = fields.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
    if missing.is_empty() { Seen::Good } else { Seen::Lacks(format!("no {}", missing.join(", no "))) }
}

fn version(bench: &Bench) -> Seen {
    let ended = bench.house.run(["cli", "check", bench.cli.name, "--json"]);
    let Ok(told) = serde_json::from_str::<serde_json::Value>(ended.out.lines().next().unwrap_or_default())
    else {
        return Seen::Wrong(format!("cli check said {:?} {:?}", ended.out, ended.err));
    };
    let versions = (told["version"]["installed"].as_str(), told["pinned"].as_str());
    if versions.0.is_some() && versions.0 == versions.1 {
        Seen::Good
    } else {
        Seen::Wrong(format!("{versions:?} in {told}"))
    }
}
