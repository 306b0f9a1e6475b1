//! Several processes on one PostgreSQL: a front that speaks with GitHub, and workers that drive. Each has a home of its own,
//! as on a host of its own; what they share is the database and the forge.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloud_code_fault_points::{GO, HELD, Point, VARIABLE};
use cloud_code_model::{TaskRecord, TaskStatus};
use cloud_code_store::{Database, Leases as _, Store as _};
use cloud_code_test_postgres::PrivatePostgres;

use crate::stage::{SHOP, Setup, Stage};

/// The CLI of these stories: it notes where it begins and ends, and waits for a word in between when it is told to.
const SCRIPT: &str = r#"
prompt=$(cat)
note() { printf '%s %s\n' "$1" "$PWD" >> "$PROMPTS"; }
note begin
case $prompt in
  *WAIT-FOR-GO*) while [ ! -e "$GO" ]; do sleep 0.05; done ;;
esac
count=$(cat count.txt 2>/dev/null || echo 0)
echo $((count + 1)) > count.txt
note end
echo 'Count once more'
"#;
/// Short, so that a story is short: a lease ends after a second, and a worker is dead after three.
const TERMS: &str = "store: {lease: 1s, worker: 3s}\n";

fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| PrivatePostgres::start().unwrap_or_else(|error| panic!("{error}")))
}

/// A GitHub, a front and the database. Workers come and go.
struct House {
    stage: Stage,
    name: String,
    url: String,
}

struct Worker {
    child: Child,
    home: PathBuf,
    log: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- {} ---\n{}", self.home.display(), self.log());
        }
    }
}

impl Worker {
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// kill -9 of the orchestrator alone: its agents go on.
    fn killed(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it knows that it slept: by its lease, by the fence, or by the time that a question took.
    #[track_caller]
    fn notices(&self, house: &House) {
        let signs = ["a lease was lost", "was lost: another process", "the task cannot be driven on now"];
        house.stage.wait_for("the lost lease", || {
            let log = self.log();
            signs.iter().any(|sign| log.contains(sign)).then_some(())
        });
    }

    /// Whether the CLI noted something in a workspace of this worker.
    fn has(&self, notes: &[String], word: &str) -> bool {
        let home = self.home.to_string_lossy();
        notes.iter().any(|note| note.starts_with(word) && note.contains(home.as_ref()))
    }
}

impl House {
    fn new() -> Self {
        Self::held_at(None)
    }

    /// With a front that holds at a moment.
    fn held_at(point: Option<Point>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("house_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server().create(&name).unwrap();
        let mut stage = Stage::set(Setup::default());
        fs::write(stage.folder().join("cli.sh"), SCRIPT).unwrap();
        stage.rewrite("cloud-code.yaml", |text| {
            format!("{}{TERMS}", text.replace("server: {listen", "server: {concurrency: 8, listen"))
        });
        if let Some(point) = point {
            stage.arms(point);
        }
        let url = server().url(&name);
        let mut front = stage.command(&["serve", "--role", "front"]);
        front.env("CLOUD_CODE_STORE_URL", &url);
        stage.serves_by(front);
        Self { stage, name, url }
    }

    /// Starts a worker with a home of its own; the same again after it was killed.
    fn worker(&self, name: &str) -> Worker {
        self.worker_held_at(name, None)
    }

    fn worker_held_at(&self, name: &str, point: Option<Point>) -> Worker {
        self.process(name, "worker", point)
    }

    fn process(&self, name: &str, role: &str, point: Option<Point>) -> Worker {
        let home = self.stage.folder().join(name);
        if !home.exists() {
            fs::create_dir(&home).unwrap();
            for part in ["cloud-code.yaml", "projects", "secrets"] {
                let copied =
                    Command::new("cp").arg("-a").arg(self.stage.home().join(part)).arg(&home).status();
                assert!(copied.unwrap().success());
            }
        }
        let log = self.stage.folder().join(format!("{name}.log"));
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.stage.command(&["serve", "--role", role]);
        command.env("CLOUD_CODE_HOME", &home).env("CLOUD_CODE_STORE_URL", &self.url);
        if let Some(point) = point {
            let folder = self.fault(name);
            fs::create_dir_all(&folder).unwrap();
            command.env(VARIABLE, format!("{point}:{}", folder.display()));
        }
        let child = command.stderr(file).stdout(Stdio::null()).spawn().unwrap();
        let worker = Worker { child, home, log };
        self.stage.wait_for("the worker", || worker.log().contains("serving ").then_some(()));
        worker
    }

    fn fault(&self, name: &str) -> PathBuf {
        self.stage.folder().join(format!("{name}-fault"))
    }

    fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.stage.folder().join("notes/prompts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the CLI noted this in a workspace of that worker.
    #[track_caller]
    fn waits_for(&self, worker: &Worker, word: &str) {
        self.stage.wait_for(word, || worker.has(&self.notes(), word).then_some(()));
    }

    fn store(&self) -> Database {
        let url = self.url.as_str().into();
        self.stage.block_on("the database", async { Database::connect(&url).await.unwrap() })
    }

    fn tasks(&self) -> Vec<TaskRecord> {
        let store = self.store();
        self.stage.block_on("the tasks", async {
            let mut tasks = Vec::new();
            for issue in store.issues(None, 100).await.unwrap() {
                tasks.extend(store.tasks_of(&issue.project, &issue.key).await.unwrap());
            }
            store.close().await;
            tasks
        })
    }

    fn asks(&self, words: &str) -> u64 {
        let alice = self.stage.user("alice");
        let issue = alice.opens_issue(SHOP, "Count once more", words);
        alice.comments_on(SHOP, issue, "/cloud-code run");
        issue
    }

    fn pushes(&self) -> usize {
        let all = self.stage.github.mutations();
        all.iter().filter(|request| request.path.ends_with("/git-receive-pack")).count()
    }

    /// One task with one result, and one branch and pull request that hold it.
    #[track_caller]
    fn is_done_once(&self, issue: u64) {
        self.stage.becomes(issue, "in-review");
        let tasks: Vec<TaskRecord> =
            self.tasks().into_iter().filter(|task| task.task.issue.as_str() == issue.to_string()).collect();
        assert_eq!(tasks.len(), 1, "{tasks:#?}");
        assert_eq!(tasks[0].state.status(), TaskStatus::Done);
        let branch = format!("cloud-code/issue-{issue}");
        assert_eq!(self.stage.github.commits(SHOP, &branch), ["Count once more"]);
        assert_eq!(self.stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("1\n"));
        let pulls = self.stage.github.pull_requests(SHOP);
        assert_eq!(pulls.iter().filter(|pull| pull.head.ends_with(&branch)).count(), 1, "{pulls:#?}");
        self.stage.status(issue);
    }
}

#[test]
fn a_task_of_a_killed_worker_is_done_once_by_another() {
    let house = House::new();
    let first = house.worker("first");
    let issue = house.asks("WAIT-FOR-GO");
    house.waits_for(&first, "begin");
    let second = house.worker("second");
    // The agent goes on, as it would on a host that is cut off.
    first.killed();
    house.waits_for(&second, "begin");
    house.stage.go();
    house.is_done_once(issue);
    assert_eq!(house.pushes(), 1);
    let told = second.log();
    assert!(told.contains("the worker is dead and its issue was taken over"), "{told}");

    // It comes back, and leaves the issue where it is.
    let first = house.worker("first");
    let again = house.asks("another one");
    house.is_done_once(again);
    house.is_done_once(issue);
    assert_eq!(house.pushes(), 2, "{}", first.log());
    house.stage.holds();
}

#[test]
fn a_worker_that_froze_past_its_lease_writes_nothing_when_it_wakes() {
    let house = House::new();
    let frozen = house.worker("frozen");
    let issue = house.asks("WAIT-FOR-GO");
    house.waits_for(&frozen, "begin");
    frozen.signal("-STOP");
    let other = house.worker("other");
    house.waits_for(&other, "begin");
    house.stage.go();
    house.is_done_once(issue);
    let head = house.tasks().remove(0).state.head().map(str::to_owned);

    frozen.signal("-CONT");
    frozen.notices(&house);
    house.stage.wait_for("the end of its agent", || {
        let left = house.stage.processes();
        let home = frozen.home.to_string_lossy().into_owned();
        left.iter().all(|process| !process.contains(&home)).then_some(())
    });
    house.is_done_once(issue);
    assert_eq!(house.pushes(), 1, "the frozen one pushed");
    assert_eq!(house.tasks().remove(0).state.head().map(str::to_owned), head);
    house.stage.holds();
}

#[test]
fn a_worker_that_froze_just_before_its_push_does_not_push() {
    let house = House::new();
    let frozen = house.worker_held_at("frozen", Some(Point::BaseCaughtUp));
    let issue = house.asks("count");
    let fault = house.fault("frozen");
    house.stage.wait_for("the moment before the push", || fault.join(HELD).exists().then_some(()));
    frozen.signal("-STOP");
    let other = house.worker("other");
    house.waits_for(&other, "end");
    house.is_done_once(issue);
    // It goes on in the middle of its step, before anything told it what happened meanwhile.
    fs::write(fault.join(GO), "").unwrap();
    frozen.signal("-CONT");
    frozen.notices(&house);
    let later = house.asks("another one");
    house.is_done_once(later);
    house.is_done_once(issue);
    assert_eq!(house.pushes(), 2, "the frozen one pushed\n{}", frozen.log());
    house.stage.holds();
}

#[test]
fn connections_that_the_server_drops_cost_nothing() {
    let house = House::new();
    let worker = house.worker("first");
    let issue = house.asks("WAIT-FOR-GO");
    house.waits_for(&worker, "begin");
    for _ in 0..3 {
        server()
            .does(
                &house.name,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .unwrap();
    }
    house.stage.go();
    house.is_done_once(issue);
    assert_eq!(
        house.notes().iter().filter(|note| note.starts_with("begin")).count(),
        1,
        "{:#?}",
        house.notes()
    );
    house.stage.holds();
}

#[test]
fn three_workers_share_what_there_is_and_lose_nothing_when_one_dies() {
    let house = House::new();
    let (one, two, three) = (house.worker("one"), house.worker("two"), house.worker("three"));
    let issues: Vec<u64> = (0..6).map(|_| house.asks("WAIT-FOR-GO")).collect();
    house.stage.wait_for("all to begin", || {
        (house.notes().iter().filter(|note| note.starts_with("begin")).count() >= 6).then_some(())
    });
    let workers = house.store();
    let shares: Vec<usize> = [&one, &two, &three]
        .iter()
        .map(|worker| {
            let home = worker.home.to_string_lossy().into_owned();
            house.notes().iter().filter(|note| note.contains(&home)).count()
        })
        .collect();
    assert_eq!(shares.iter().sum::<usize>(), 6, "a task began twice: {shares:?}");
    let alive = house.stage.block_on("the workers", async { workers.workers().await.unwrap() });
    assert_eq!(alive.iter().filter(|worker| worker.remaining.is_some()).count(), 3);
    one.killed();
    house.stage.go();
    for issue in issues {
        house.is_done_once(issue);
    }
    assert_eq!(house.pushes(), 6);
    house.stage.holds();
    drop((two, three));
}

#[test]
fn a_follow_up_goes_to_the_worker_that_has_the_workspace_and_moves_when_that_is_dead() {
    let house = House::new();
    let first = house.worker("first");
    let issue = house.asks("count");
    house.is_done_once(issue);
    let second = house.worker("second");
    let alice = house.stage.user("alice");
    alice.comments_on(SHOP, issue, "/cloud-code run once more");
    let branch = format!("cloud-code/issue-{issue}");
    let counts = |wanted: &str| {
        house.stage.wait_for("the next count", || {
            (house.stage.github.file(SHOP, &branch, "count.txt").as_deref() == Some(wanted)).then_some(())
        });
    };
    counts("2\n");
    assert!(!second.has(&house.notes(), "begin"), "{:#?}", house.notes());
    house.stage.becomes(issue, "in-review");

    first.killed();
    alice.comments_on(SHOP, issue, "/cloud-code run a third time");
    counts("3\n");
    assert!(second.has(&house.notes(), "end"), "{:#?}", house.notes());
    house.stage.becomes(issue, "in-review");
    let last = house.tasks().pop().unwrap();
    assert!(last.task.handoff.is_some(), "the conversation stayed behind: {last:#?}");
    assert_eq!(house.stage.github.pull_requests(SHOP).len(), 1);
    house.stage.holds();
}

#[test]
fn a_role_needs_a_server_and_a_password_is_never_shown() {
    let stage = Stage::set(Setup::default());
    let refused = stage.command(&["serve", "--role", "worker"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("CLOUD_CODE_STORE_URL"), "{told}");

    let mut list = stage.command(&["list"]);
    let listed =
        list.env("CLOUD_CODE_STORE_URL", "postgres://alice:s3cret-word@127.0.0.1:1/rows").output().unwrap();
    let told = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(!listed.status.success() && told.contains("PostgreSQL"), "{told}");
    assert!(!told.contains("s3cret-word"), "{told}");

    stage.rewrite("cloud-code.yaml", |text| {
        format!("{text}store: {{url: 'postgres://alice:s3cret-word@127.0.0.1:1/rows'}}\n")
    });
    let listed = stage.command(&["list"]).output().unwrap();
    let told = String::from_utf8_lossy(&listed.stderr).into_owned();
    assert!(!listed.status.success() && told.contains("has a password in it"), "{told}");
    assert!(!told.contains("s3cret-word"), "{told}");
}

#[test]
fn a_terminal_does_not_run_what_a_worker_runs_or_another_machine_began() {
    let house = House::new();
    let worker = house.worker("first");
    let issue = house.asks("WAIT-FOR-GO");
    house.waits_for(&worker, "begin");
    let at = |home: &std::path::Path, arguments: &[&str]| {
        let mut command = house.stage.command(arguments);
        command.env("CLOUD_CODE_HOME", home).env("CLOUD_CODE_STORE_URL", &house.url);
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let key = issue.to_string();
    // On its own machine as well: a lease may lapse under a terminal that holds none.
    for home in [worker.home.as_path(), &house.stage.home()] {
        let (is_done, told) = at(home, &["resume", &key]);
        assert!(!is_done && told.contains("is worked on by worker "), "{told}");
        let (is_done, told) = at(home, &["continue", &key, "And its test."]);
        assert!(!is_done && told.contains("is worked on by worker "), "{told}");
    }
    let unwanted = house.asks("WAIT-FOR-GO");
    house.stage.wait_for("both to begin", || {
        (house.notes().iter().filter(|note| note.starts_with("begin")).count() == 2).then_some(())
    });
    let (is_done, told) = at(&house.stage.home(), &["cancel", &unwanted.to_string()]);
    assert!(is_done && told.contains("asked; it is stopped by worker "), "{told}");
    house.stage.becomes(unwanted, "done");
    house.stage.go();
    house.is_done_once(issue);

    let repo = house.stage.folder().join("by-hand");
    let git = |arguments: &[&str]| {
        let done = Command::new("git").args(["-C", repo.to_str().unwrap()]).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    fs::create_dir(&repo).unwrap();
    git(&["init", "-qb", "main"]);
    let named = ["-c", "user.name=alice", "-c", "user.email=alice@example.com"];
    git(&[&named[..], &["commit", "-q", "--allow-empty", "-m", "Begin"]].concat());
    let cli = ["--cli", "command", "--command", "sh -c 'cat > /dev/null; echo 1 >> count.txt'"];
    let run = ["run", "--repo", repo.to_str().unwrap(), "--runtime", "local", "Count by hand"];
    let run = [&run[..], &cli].concat();
    let (is_done, told) = at(&house.stage.home(), &run);
    assert!(is_done, "{told}");
    let (is_done, told) = at(&worker.home, &["continue", "count-by-hand", "Once more."]);
    assert!(!is_done && told.contains("another installation that shares this store"), "{told}");
    let (is_done, told) = at(&house.stage.home(), &["continue", "count-by-hand", "Once more."]);
    assert!(is_done, "{told}");
    house.stage.holds();
}

#[test]
fn a_second_front_stands_by_and_goes_on_when_the_first_is_killed() {
    let mut house = House::new();
    let worker = house.worker("first");
    let second = house.process("second", "front", None);
    house.stage.wait_for("the second front to see the first", || {
        second.log().contains("another process speaks with the forge").then_some(())
    });
    let issue = house.asks("count");
    house.is_done_once(issue);
    house.stage.is_killed();
    house.stage.wait_for("the second front to go on", || {
        second.log().contains("this process speaks with the forge now").then_some(())
    });
    // Nobody listens at the address that the forge knows: what it sent is fetched from its log.
    let later = house.asks("another one");
    house.is_done_once(later);
    house.is_done_once(issue);
    assert_eq!(house.pushes(), 2);
    house.stage.holds();
    drop(worker);
}

#[test]
fn a_worker_that_is_faster_with_a_request_takes_nothing_back() {
    let house = House::held_at(Some(Point::TaskMade));
    let worker = house.worker("first");
    let issue = house.asks("WAIT-FOR-GO");
    house.stage.is_held();
    house.waits_for(&worker, "begin");
    house.stage.wait_for("the worker to settle the request", || {
        worker.log().contains("a request was settled").then_some(())
    });
    house.stage.goes_on();
    house.stage.go();
    house.is_done_once(issue);
    house.stage.holds();
}
