//! The stage of a conversation: a GitHub, an installation that serves it, and a coding CLI that does what it is told.
//!
//! The CLI is a shell script. It keeps each prompt, and acts on words in it: so a story reads as what people say, and what
//! comes back.

use std::fs;
use std::future::Future;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloud_code_fake_github::{AppSeed, FakeGithub, Person, RepoSeed, Role};
use cloud_code_fault_points::Point;
use cloud_code_model::TaskRecord;
use cloud_code_store::{Database, Store as _};

use crate::small_disk::SmallDisk;

/// How long a story waits for something that should come. Loaded machines are slow; a hang still ends.
const PATIENCE: Duration = Duration::from_secs(120);
/// The repository of every story.
pub(crate) const SHOP: &str = "acme/shop";
/// Planted where secrets are, and looked for where they must not be.
pub(crate) const WEBHOOK_SECRET: &str = "webhook-secret-that-nobody-may-see-4711";
/// The key of the coding CLI.
pub(crate) const CLI_KEY: &str = "cli-key-that-nobody-may-see-0815";

/// What the CLI does. A prompt that says none of the words changes a file.
const SCRIPT: &str = r#"
prompt=$(cat)
printf '%s\n' "$prompt" >> "$PROMPTS"
printf '=====\n' >> "$PROMPTS"
case $prompt in
  *WAIT-FOR-GO*) while [ ! -e "$GO" ]; do sleep 0.05; done ;;
esac
case $prompt in
  *FAIL-NOW*) echo 'it cannot be done' >&2; exit 1 ;;
  *NO-CHANGE*) echo 'There is nothing to change.'; exit 0 ;;
  *SAY-THE-KEY*) echo "the key is $SHOP_KEY" ;;
  *WORKFLOW-CHANGE*) mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml ;;
esac
case $prompt in
  *'Do not change any file'*) echo 'The answer is forty-two, @everybody.'; exit 0 ;;
esac
count=$(cat count.txt 2>/dev/null || echo 0)
echo $((count + 1)) > count.txt
echo 'Count once more'
echo
echo 'It counts. See @octocat and #1.'
echo '- [x] the count grows'
"#;

/// Everything a story needs.
pub(crate) struct Stage {
    // In the order in which they end: nobody may write any more when the disk goes, and it must go before its folder.
    serve: Option<Serve>,
    disk: Option<SmallDisk>,
    dir: tempfile::TempDir,
    pub(crate) github: FakeGithub,
    /// The moment that the next `serve` holds at.
    armed: Option<String>,
    /// The program that is installed.
    program: PathBuf,
}

struct Serve {
    child: Child,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the installation is set up.
#[derive(Default)]
pub(crate) struct Setup {
    /// More of `cloud-code.yaml`, below `github:` (two spaces before each line).
    pub(crate) github: &'static str,
    /// More of `projects/shop.yaml`.
    pub(crate) project: &'static str,
    /// As a person's token and not as an App.
    pub(crate) token: bool,
    /// As an Enterprise Server, with a certificate of the company's own authority.
    pub(crate) enterprise: bool,
    /// The home folder on a disk of its own that can be filled.
    pub(crate) small_disk: bool,
}

impl Stage {
    /// A repository where alice may write and mallory may not, and an installation that serves it.
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let mut stage = Self::set(setup);
        stage.serves();
        stage
    }

    /// All of it, with nobody serving yet.
    pub(crate) fn set(setup: Setup) -> Self {
        let github = match setup.enterprise {
            true => FakeGithub::start_tls_blocking(),
            false => FakeGithub::start_blocking(),
        };
        github.repo(
            RepoSeed::new(SHOP)
                .first_number(42)
                .collaborator("alice", Role::Write)
                .collaborator("rita", Role::Triage)
                .file("README.md", "# Shop\n"),
        );
        github.user("mallory");
        let dir = tempfile::Builder::new().prefix("cloud-code-github-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let disk = setup.small_disk.then(|| SmallDisk::at(dir.path().join("home")));
        let program = PathBuf::from(env!("CARGO_BIN_EXE_cloud-code"));
        let stage = Self { serve: None, disk, dir, github, armed: None, program };
        let secrets = stage.home().join("secrets");
        fs::create_dir_all(stage.home().join("projects")).unwrap();
        fs::create_dir_all(&secrets).unwrap();
        fs::create_dir(stage.notes()).unwrap();
        fs::set_permissions(stage.notes(), fs::Permissions::from_mode(0o777)).unwrap();
        let identity = if setup.token {
            stage.secret("token", &stage.github.token("alice"));
            "token_file: secrets/token".to_owned()
        } else {
            let id = stage.github.app(AppSeed::new("cloud-code").installed_on("acme"));
            stage.secret("app.pem", stage.github.app_key());
            format!("app: {{id: {id}, slug: cloud-code, private_key_file: secrets/app.pem}}")
        };
        stage.secret("webhook", WEBHOOK_SECRET);
        let api = if setup.enterprise { "/api/v3" } else { "" };
        if let Some(pem) = stage.github.ca_pem() {
            fs::write(stage.ca_file(), pem).unwrap();
        }
        fs::write(stage.dir.path().join("cli.sh"), SCRIPT).unwrap();
        let agent = top().join("target/release/cloud-code-agent");
        assert!(agent.is_file(), "{} is missing: run `make build`", agent.display());
        let github = setup.github;
        stage.write(
            "cloud-code.yaml",
            &format!(
                "agent_binary: {}\ngithub:\n  api_url: {}{api}\n  {identity}\n  webhook_secret_files: [secrets/webhook]\n  \
                 write_interval_ms: 0\n{github}\nserver: {{listen: '127.0.0.1:0'}}\n",
                agent.display(),
                stage.github.api_url(),
            ),
        );
        let notes = stage.notes();
        stage.write(
            "projects/shop.yaml",
            &format!(
                "github: {SHOP}\ncli: command\nruntime: local\ncommand: [sh, {}]\nsecrets: [SHOP_KEY]\n\
                 env: {{PROMPTS: {}, GO: {}}}\n{}\n",
                stage.dir.path().join("cli.sh").display(),
                notes.join("prompts").display(),
                notes.join("go").display(),
                setup.project
            ),
        );
        stage
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The company's authority, if it has one.
    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The disk of the home folder, where it has one of its own.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().unwrap()
    }

    fn notes(&self) -> PathBuf {
        self.dir.path().join("notes")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.home().join(name), text).unwrap();
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.home().join("secrets").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// cloud-code, with a clean environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_clear().env("CLOUD_CODE_HOME", self.home()).env("SHOP_KEY", CLI_KEY);
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        if self.ca_file().exists() {
            command.env("SSL_CERT_FILE", self.ca_file());
        }
        command
    }

    /// The folder that all of the stage is in.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Puts another build of the program in its place. It differs by what no loader reads.
    pub(crate) fn is_upgraded(&mut self) {
        let next = self.dir.path().join("cloud-code-next");
        fs::copy(&self.program, &next).unwrap();
        fs::File::options().append(true).open(&next).unwrap().write_all(b"another build").unwrap();
        self.program = next;
    }

    /// Starts serving, and tells GitHub where.
    pub(crate) fn serves(&mut self) {
        self.serves_with(&[]);
    }

    /// The same with options.
    pub(crate) fn serves_with(&mut self, options: &[&str]) {
        let command = self.command(&[&["serve"], options].concat());
        self.serves_by(command);
    }

    /// The same by a command of the story's own.
    pub(crate) fn serves_by(&mut self, mut command: Command) {
        let log = self.dir.path().join("serve.log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let before = fs::read_to_string(&log).unwrap().len();
        if let Some(armed) = self.armed.take() {
            command.env(cloud_code_fault_points::VARIABLE, armed);
        }
        let mut child = command.stderr(file).stdout(Stdio::null()).spawn().unwrap();
        let address = self.wait_for("the address of `serve`", || {
            let text = fs::read_to_string(&log).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "serve ended:\n{text}");
            let text = &text[before..];
            text.lines().find_map(|line| Some(line.strip_prefix("listening on http://")?.to_owned()))
        });
        self.github.deliver_to(&format!("http://{address}/webhooks/github"), WEBHOOK_SECRET);
        self.serve = Some(Serve { child });
    }

    /// Ends it in good order.
    pub(crate) fn stops(&mut self) {
        self.is_told_to_stop();
        self.ends();
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn is_told_to_stop(&self) {
        let pid = self.serve_pid();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub(crate) fn serve_pid(&self) -> String {
        self.serve.as_ref().unwrap().child.id().to_string()
    }

    /// Waits for the end of a `serve` that was told to stop.
    pub(crate) fn ends(&mut self) {
        let mut serve = self.serve.take().unwrap();
        let status = serve.child.wait().unwrap();
        assert!(status.success(), "serve ended with {status}\n{}", self.log());
    }

    /// kill -9.
    pub(crate) fn is_killed(&mut self) {
        drop(self.serve.take().unwrap());
    }

    /// The next `serve` holds when it comes to this moment.
    pub(crate) fn arms(&mut self, point: Point) {
        let folder = self.dir.path().join("fault");
        fs::create_dir_all(&folder).unwrap();
        self.armed = Some(format!("{point}:{}", folder.display()));
    }

    /// Waits until `serve` holds there.
    #[track_caller]
    pub(crate) fn is_held(&self) {
        let held = self.dir.path().join("fault").join(cloud_code_fault_points::HELD);
        self.wait_for("the fault point", || held.exists().then_some(()));
    }

    /// Lets it go on.
    pub(crate) fn goes_on(&self) {
        fs::write(self.dir.path().join("fault").join(cloud_code_fault_points::GO), "").unwrap();
    }

    /// What `serve` wrote on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    /// Waits until `look` has an answer.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.wait_within(PATIENCE, what, look)
    }

    /// As `wait_for`, for what takes longer by its nature.
    #[track_caller]
    pub(crate) fn wait_within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
    ) -> T {
        let end = Instant::now() + patience;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < end,
                "waited {patience:?} for {what}\n{}\n--- serve ---\n{}",
                self.transcripts(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn transcripts(&self) -> String {
        let numbers = self.github.pull_requests(SHOP).into_iter().map(|pull| pull.number).chain([42]);
        let told = numbers.filter_map(|number| {
            let tell = std::panic::AssertUnwindSafe(|| self.github.transcript(SHOP, number));
            std::panic::catch_unwind(tell).ok()
        });
        told.collect()
    }

    /// Waits until the thread carries this label of ours, and no other.
    #[track_caller]
    pub(crate) fn becomes(&self, number: u64, phase: &str) {
        let label = format!("cloud-code: {phase}");
        self.wait_for(&format!("#{number} to be {phase}"), || {
            let ours: Vec<String> = self
                .github
                .labels(SHOP, number)
                .into_iter()
                .filter(|l| l.starts_with("cloud-code:"))
                .collect();
            (ours == [label.clone()]).then_some(())
        });
    }

    /// Waits for a comment of ours that says this.
    #[track_caller]
    pub(crate) fn says(&self, number: u64, words: &str) -> String {
        self.wait_for(&format!("a comment on #{number} that says {words:?}"), || {
            let comments = self.github.comments(SHOP, number);
            comments.into_iter().find(|c| c.author == self.bot() && c.body.contains(words)).map(|c| c.body)
        })
    }

    /// The one status comment.
    #[track_caller]
    pub(crate) fn status(&self, number: u64) -> String {
        let comments = self.github.comments(SHOP, number);
        let status: Vec<&str> = comments
            .iter()
            .map(|c| c.body.as_str())
            .filter(|body| body.contains("### cloud-code: "))
            .collect();
        assert_eq!(status.len(), 1, "there must be one status comment: {status:#?}");
        status[0].to_owned()
    }

    fn bot(&self) -> String {
        let is_app = self.home().join("secrets/app.pem").exists();
        if is_app { "cloud-code[bot]".to_owned() } else { "alice".to_owned() }
    }

    pub(crate) fn user(&self, login: &str) -> Person {
        self.github.user(login)
    }

    /// Everything that the CLI was told, one prompt after another.
    pub(crate) fn prompts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.notes().join("prompts")).unwrap_or_default();
        text.split("=====\n").map(str::to_owned).filter(|prompt| !prompt.trim().is_empty()).collect()
    }

    /// Lets a CLI go on that waits.
    pub(crate) fn go(&self) {
        fs::write(self.notes().join("go"), "").unwrap();
    }

    /// What must hold at the end of every story: GitHub's own rules were kept, no secret left the house, and nobody was told
    /// where on this machine anything is.
    #[track_caller]
    pub(crate) fn holds(&self) {
        assert_eq!(self.github.violations(), Vec::<String>::new());
        let mut texts = vec![("the log".to_owned(), self.log())];
        let here = self.dir.path().to_str().unwrap();
        for request in self.github.mutations() {
            let (place, text) =
                (format!("{} {}", request.method, request.path), format!("{:?}", request.body));
            assert!(!text.contains(here), "a path of this machine stands in {place}: {text}");
            texts.push((place, text));
        }
        for (place, text) in texts {
            for secret in [WEBHOOK_SECRET, CLI_KEY, "ghs_", "BEGIN RSA"] {
                assert!(!text.contains(secret), "{secret:?} stands in {place}: {text}");
            }
        }
    }

    /// Changes a file of the installation.
    pub(crate) fn rewrite(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.home().join(name)).unwrap();
        self.write(name, &change(text));
    }

    /// How often each CLI was called, and with what, as `scribe --model m`.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.notes().join("prompts.calls")).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Waits for this many prompts, and gives the last.
    #[track_caller]
    pub(crate) fn prompt(&self, count: usize) -> String {
        self.wait_for(&format!("prompt number {count}"), || {
            let mut prompts = self.prompts();
            (prompts.len() >= count).then(|| prompts.swap_remove(count - 1))
        })
    }

    /// What the agent of an issue was last told to do.
    pub(crate) fn tasking(&self, issue: u64) -> serde_yaml::Value {
        let path = self.home().join(format!("workspaces/shop/{issue}/.cloud-code/tasking.yaml"));
        serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Our comments, without the status comment and without our marks.
    pub(crate) fn answers(&self, number: u64) -> Vec<String> {
        let comments = self.github.comments(SHOP, number);
        let ours = comments.into_iter().filter(|comment| comment.author == self.bot());
        ours.map(|comment| unmarked(&comment.body))
            .filter(|body| !body.contains("### cloud-code: "))
            .collect()
    }

    /// Waits until the status comment says this.
    #[track_caller]
    pub(crate) fn status_says(&self, number: u64, words: &str) -> String {
        self.wait_for(&format!("a status of #{number} that says {words:?}"), || {
            let comments = self.github.comments(SHOP, number);
            let mut ours = comments.into_iter().filter(|c| c.body.contains("### cloud-code: "));
            ours.find(|comment| comment.body.contains(words)).map(|comment| comment.body)
        })
    }

    /// Waits until this many tasks have been and nothing more is to come: comment and label say the same.
    #[track_caller]
    pub(crate) fn rests(&self, number: u64, phase: &str, tasks: usize) -> String {
        let title = format!("### cloud-code: {phase}\n");
        let earlier = format!("Earlier tasks ({})", tasks - 1);
        let status = self.wait_for(&format!("#{number} to be {phase} after {tasks} tasks"), || {
            let comments = self.github.comments(SHOP, number);
            let mut bodies = comments.into_iter().map(|comment| comment.body);
            bodies.find(|body| body.contains(&title) && (body.contains(&earlier) || tasks == 1))
        });
        self.becomes(number, phase);
        status
    }

    /// Alice opens an issue, and says nothing to us.
    pub(crate) fn has_issue(&self, text: &str) -> u64 {
        let issue = self.user("alice").opens_issue(SHOP, "Count once more", text);
        self.a_moment_later();
        issue
    }

    /// Alice opens an issue and asks for work on it.
    pub(crate) fn is_asked(&self, text: &str) -> u64 {
        let issue = self.has_issue(text);
        self.is_told(issue, "/cloud-code run");
        issue
    }

    /// Alice comments on an issue.
    pub(crate) fn is_told(&self, issue: u64, words: &str) -> u64 {
        self.a_moment_later();
        let comment = self.user("alice").comments_on(SHOP, issue, words);
        self.a_moment_later();
        comment
    }

    /// What follows is said in another second: a forge's times are no finer.
    pub(crate) fn a_moment_later(&self) {
        self.github.advance(Duration::from_secs(2));
    }

    /// Brings what was held back, in its order; what comes later comes at once.
    pub(crate) fn brings_what_was_held(&self) {
        block_on(self.github.send_held());
        self.github.send_deliveries();
    }

    /// Brings everything once more, as the button on GitHub's page does.
    pub(crate) fn brings_all_again(&self) {
        for delivery in self.github.deliveries() {
            block_on(self.github.redeliver(&delivery));
        }
    }

    /// Runs what the fake GitHub offers to those who wait, within the patience of a story.
    #[track_caller]
    pub(crate) fn block_on<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        ended.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}\n--- serve ---\n{}", self.log()))
    }

    /// Replaces a piece of a file in the home folder, for a story that sets before it serves.
    pub(crate) fn replaces(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.home().join(name)).unwrap();
        assert!(text.contains(old), "{old:?} is not in {name}:\n{text}");
        self.write(name, &text.replace(old, new));
    }

    /// What is in the database, asked beside `serve`.
    pub(crate) fn stored<T, F: Future<Output = T>>(&self, ask: impl FnOnce(Database) -> F) -> T {
        let path = self.home().join("cloud-code.db");
        self.block_on("the database", async { ask(Database::open(&path).await.unwrap()).await })
    }

    /// Every task there is, as it stands.
    pub(crate) fn tasks(&self) -> Vec<TaskRecord> {
        self.stored(|store| async move {
            let mut tasks = Vec::new();
            for issue in store.issues(None, 1000).await.unwrap() {
                tasks.extend(store.tasks_of(&issue.project, &issue.key).await.unwrap());
            }
            tasks
        })
    }

    /// The command lines of processes that work for this stage besides `serve`: agents, CLIs, git.
    pub(crate) fn processes(&self) -> Vec<String> {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&dir) && !command.contains(" serve ") {
                found.push(command);
            }
        }
        found
    }

    /// kill -9 of every agent, with its CLI.
    pub(crate) fn kills_the_agent(&self) {
        let dir = self.dir.path().to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            if command.contains(&dir) && !command.contains("\0serve") {
                let pid = entry.file_name().to_string_lossy().into_owned();
                let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
            }
        }
    }

    /// Waits until nothing of an ended conversation runs any more.
    #[track_caller]
    pub(crate) fn is_quiet(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "these processes were left: {left:#?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The conversation on an issue ended as if nothing had gone wrong: one task, one branch, one commit, one pull
    /// request, one status comment and no other, one reaction, one check; the CLI ran once and nothing of it is left.
    #[track_caller]
    pub(crate) fn is_done_once(&self, issue: u64, comment: u64) {
        let bot = self.bot();
        let branch = format!("cloud-code/issue-{issue}");
        assert_eq!(self.prompts().len(), 1, "{}", self.log());
        let tasks = self.tasks();
        assert_eq!(tasks.len(), 1, "{tasks:#?}");
        assert_eq!(self.github.branches(SHOP), [branch.clone(), "main".to_owned()]);
        assert_eq!(self.github.commits(SHOP, &branch), ["Count once more"]);
        assert_eq!(self.github.file(SHOP, &branch, "count.txt").as_deref(), Some("1\n"));
        let pulls = self.github.pull_requests(SHOP);
        assert_eq!(pulls.len(), 1, "{pulls:#?}");
        self.status(issue);
        let told = self.github.comments(SHOP, issue);
        let ours = told.iter().filter(|said| said.author == bot && said.id != comment).count();
        assert_eq!(ours, 1, "{told:#?}");
        assert_eq!(self.github.comment_reactions(SHOP, comment), [(bot, "eyes".to_owned())]);
        self.is_quiet();
    }

    /// The number of the App.
    pub(crate) fn app(&self) -> u64 {
        let settings = fs::read_to_string(self.home().join("cloud-code.yaml")).unwrap();
        let (_, rest) = settings.split_once("app: {id: ").unwrap();
        rest.split_once(',').unwrap().0.parse().unwrap()
    }

    /// Its one installation.
    pub(crate) fn installation(&self) -> u64 {
        self.github.installations(self.app())[0]
    }
}

/// The top of the checkout.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A text of ours without its mark.
fn unmarked(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("<!-- cloud-code"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
