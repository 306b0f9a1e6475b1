//! What types cannot say: the rules between keys, and the bounds of the contract. Each problem names its place.

use std::collections::BTreeMap;

use crate::key_path::{Path, render};
use crate::locate::Document;
use crate::problem::{Problem, quoted};
use crate::refusal::{did_you_mean, nearest};
use crate::{CliManifest, CommitSettings, Reporting, Task, Tasking};

/// Tasks of one issue. Beyond it the file outgrows its size limit anyway; a loop that adds tasks must end.
const MAX_TASKS: usize = 1_000;
/// Rounds of verify and mend. Each is a full run of the CLI; a check that fails ten times will not pass the eleventh.
const MAX_VERIFY_ROUNDS: u32 = 10;
/// Turns of the model. A run that needs more has lost its way, and a typing error must not cost a fortune.
const MAX_TURNS: u32 = 10_000;
/// Placeholders, each with the lists of a manifest in which the agent replaces it.
const PLACEHOLDERS: [(&str, &[&str]); 5] = [
    ("model", &["model"]),
    ("session_id", &["resume", "session"]),
    ("max_turns", &["max_turns"]),
    ("max_cost_usd", &["max_cost"]),
    ("base_url", &["base_url"]),
];
/// Problems told at once, as for the types.
const MAX_PROBLEMS: usize = 20;

struct Checks<'d> {
    document: &'d Document<'d>,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn refuse(&mut self, path: &Path<'_>, message: impl Into<String>, hint: Option<&str>) {
        if self.problems.len() < MAX_PROBLEMS {
            let steps = path.steps();
            self.problems.push(Problem {
                mark: self.document.mark_of(&steps),
                key: render(&steps),
                message: message.into(),
                hint: hint.map(str::to_owned),
            });
        }
    }

    fn one_line(&mut self, path: &Path<'_>, text: &str) {
        if text.trim().is_empty() {
            self.refuse(path, "is empty", Some("write one line"));
        } else if has_line_break(text) {
            self.refuse(path, "has a line break or another control character", Some("write one line"));
        }
    }

    fn relative(&mut self, path: &Path<'_>, file: &str, of: &str) {
        if file.is_empty() || file.starts_with('/') {
            self.refuse(path, format!("{} is not a relative path", quoted(file)), Some(of));
        } else if file.split('/').any(|part| part == "..") {
            self.refuse(path, format!("{} leads out through `..`", quoted(file)), Some(of));
        }
    }

    fn variable(&mut self, path: &Path<'_>, name: &str) {
        let head_ok = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !head_ok || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let hint = "use letters, digits and `_`, not starting with a digit";
            self.refuse(path, format!("{} is not the name of a variable", quoted(name)), Some(hint));
        }
    }
}

/// Line breaks of Unicode count: they break a line where the text is shown.
fn has_line_break(text: &str) -> bool {
    text.chars().any(|character| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}'))
}

/// The rules of `tasking.yaml`.
pub(crate) fn tasking(document: &Document<'_>, tasking: &Tasking) -> Vec<Problem> {
    let mut checks = Checks { document, problems: Vec::new() };
    let root = Path::Root;
    if tasking.generation == 0 {
        checks.refuse(&Path::Key(&root, "generation"), "must be at least 1", None);
    }
    checks.one_line(&Path::Key(&root, "workspace"), &tasking.workspace);
    let tasks = Path::Key(&root, "tasks");
    if tasking.tasks.len() > MAX_TASKS {
        let message = format!("has {} tasks, more than {MAX_TASKS}", tasking.tasks.len());
        checks.refuse(&tasks, message, Some("close the issue's workspace and begin another"));
    }
    let mut earlier: BTreeMap<&str, usize> = BTreeMap::new();
    let mut later: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, task) in tasking.tasks.iter().enumerate() {
        later.entry(task.id.as_str()).or_insert(index);
    }
    for (index, task) in tasking.tasks.iter().enumerate() {
        let path = Path::Index(&tasks, index);
        if let Some(continued) = &task.continues
            && !earlier.contains_key(continued.as_str())
        {
            let path = Path::Key(&path, "continues");
            let message = match later.get(continued.as_str()) {
                Some(at) if *at == index => format!("{} is this task itself", quoted(continued.as_str())),
                Some(at) => format!("{} comes later, as `tasks[{at}]`", quoted(continued.as_str())),
                None => format!("{} is not in the list", quoted(continued.as_str())),
            };
            let known: Vec<&str> = earlier.keys().copied().collect();
            let near = match later.get(continued.as_str()) {
                Some(_) => None,
                None => nearest(continued.as_str(), &known),
            };
            let hint = near.map_or_else(|| "name an earlier task".to_owned(), did_you_mean);
            checks.refuse(&path, message, Some(&hint));
        }
        if let Some(first) = earlier.get(task.id.as_str()) {
            let message = format!("{} is already the id of `tasks[{first}]`", quoted(task.id.as_str()));
            checks.refuse(&Path::Key(&path, "id"), message, Some("an id is used once and never again"));
        } else {
            earlier.insert(task.id.as_str(), index);
        }
        check_task(&mut checks, &path, task);
    }
    checks.problems
}

fn check_task(checks: &mut Checks<'_>, path: &Path<'_>, task: &Task) {
    checks.one_line(&Path::Key(path, "title"), &task.title);
    if task.attempt == 0 {
        checks.refuse(&Path::Key(path, "attempt"), "must be at least 1", None);
    }
    if task.verify_rounds > MAX_VERIFY_ROUNDS {
        let message = format!("must be from 0 to {MAX_VERIFY_ROUNDS}, not {}", task.verify_rounds);
        checks.refuse(&Path::Key(path, "verify_rounds"), message, None);
    }
    if let Some(model) = &task.model {
        let path = Path::Key(path, "model");
        checks.one_line(&path, model);
        if model.starts_with('-') {
            let hint = "a CLI would take it for an option";
            checks.refuse(&path, format!("{} begins with `-`", quoted(model)), Some(hint));
        }
    }
    if task.limits.max_cost_usd.is_some_and(|cost| cost.as_f64() <= 0.0) {
        let limits = Path::Key(path, "limits");
        let path = Path::Key(&limits, "max_cost_usd");
        checks.refuse(&path, "must be greater than 0", Some("leave it out for no limit"));
    }
    if let Some(turns) = task.limits.max_turns
        && !(1..=MAX_TURNS).contains(&turns)
    {
        let limits = Path::Key(path, "limits");
        let message = format!("must be from 1 to {MAX_TURNS}, not {turns}");
        checks.refuse(&Path::Key(&limits, "max_turns"), message, Some("leave it out for no limit"));
    }
    let verify = Path::Key(path, "verify");
    for (index, command) in task.verify.iter().enumerate() {
        if command.trim().is_empty() {
            let hint = "an empty command always succeeds; remove it";
            checks.refuse(&Path::Index(&verify, index), "is empty", Some(hint));
        }
    }
    let context = Path::Key(path, "context");
    let files = Path::Key(&context, "related_files");
    for (index, file) in task.context.related_files.iter().enumerate() {
        checks.relative(&Path::Index(&files, index), file, "write it as seen from the repository's root");
    }
    check_identity(checks, &Path::Key(path, "commit"), &task.commit);
}

/// Git drops these at the ends of a name, and refuses a name that has nothing else.
const DROPPED_BY_GIT: &[char] = &['.', ',', ':', ';', '<', '>', '"', '\\', '\'', ' '];

fn check_identity(checks: &mut Checks<'_>, path: &Path<'_>, commit: &CommitSettings) {
    for (key, text) in [("author_name", &commit.author_name), ("author_email", &commit.author_email)] {
        let path = Path::Key(path, key);
        if text.contains(['<', '>']) || has_line_break(text) {
            let message = format!("{} has `<`, `>` or a line break in it", quoted(text));
            checks.refuse(&path, message, Some("git writes an author as `name <email>`"));
        } else if text.trim_matches(DROPPED_BY_GIT).is_empty() {
            checks.refuse(&path, "is empty", Some("git makes no commit without a name and an address"));
        }
    }
    let list = Path::Key(path, "co_authors");
    for (index, author) in commit.co_authors.iter().enumerate() {
        let is_whole =
            author.strip_suffix('>').and_then(|rest| rest.split_once(" <")).is_some_and(|(name, address)| {
                !name.trim().is_empty()
                    && !address.is_empty()
                    && !format!("{name}{address}").contains(['<', '>'])
            });
        if !is_whole || has_line_break(author) {
            let message = format!("{} is not written `Name <address>`", quoted(author));
            checks.refuse(&Path::Index(&list, index), message, Some("it becomes a Co-authored-by trailer"));
        }
    }
}

/// The rules of `reporting.yaml`. Few: whether it fits its tasking is another question, with answers that are no errors.
pub(crate) fn reporting(document: &Document<'_>, reporting: &Reporting) -> Vec<Problem> {
    let mut checks = Checks { document, problems: Vec::new() };
    let root = Path::Root;
    let tasks = Path::Key(&root, "tasks");
    for (id, task) in &reporting.tasks {
        if task.attempt == 0 {
            let path = Path::Key(&tasks, id.as_str());
            checks.refuse(&Path::Key(&path, "attempt"), "must be at least 1", None);
        }
    }
    checks.problems
}

/// The rules of `cli.yaml`.
pub(crate) fn manifest(document: &Document<'_>, manifest: &CliManifest) -> Vec<Problem> {
    let mut checks = Checks { document, problems: Vec::new() };
    let root = Path::Root;
    let command = Path::Key(&root, "command");
    match manifest.command.first() {
        None => checks.refuse(&command, "is empty", Some("name the program, then its arguments")),
        Some(program) if program.trim().is_empty() => {
            checks.refuse(&Path::Index(&command, 0), "is empty", Some("name the program"));
        }
        Some(_) => {}
    }
    let none = Vec::new();
    let lists = [
        ("command", &manifest.command),
        ("edit", &manifest.edit),
        ("plan", manifest.plan.as_ref().unwrap_or(&none)),
        ("model", &manifest.model),
        ("resume", manifest.resume.as_ref().unwrap_or(&none)),
        ("session", &manifest.session),
        ("max_turns", &manifest.max_turns),
        ("max_cost", &manifest.max_cost),
        ("base_url", &manifest.base_url),
        ("tail", &manifest.tail),
        ("version", &manifest.version),
    ];
    for (key, arguments) in lists {
        let list = Path::Key(&root, key);
        check_placeholders(&mut checks, &list, key, arguments);
    }
    let env = Path::Key(&root, "env");
    for name in manifest.env.keys() {
        checks.variable(&Path::Key(&env, name), name);
    }
    let credentials = Path::Key(&root, "credentials");
    for (index, name) in manifest.credentials.iter().enumerate() {
        checks.variable(&Path::Index(&credentials, index), name);
    }
    if let Some(name) = &manifest.base_url_env {
        checks.variable(&Path::Key(&root, "base_url_env"), name);
    }
    let files = Path::Key(&root, "home_files");
    for (index, file) in manifest.home_files.iter().enumerate() {
        checks.relative(&Path::Index(&files, index), file, "write it as seen from HOME");
    }
    let files = Path::Key(&root, "home_defaults");
    for file in manifest.home_defaults.keys() {
        checks.relative(&Path::Key(&files, file), file, "write it as seen from HOME");
    }
    if let Some(model) = &manifest.default_model {
        checks.one_line(&Path::Key(&root, "default_model"), model);
    }
    let patterns = Path::Key(&root, "never_commit");
    for (index, pattern) in manifest.never_commit.iter().enumerate() {
        let path = Path::Index(&patterns, index);
        checks.one_line(&path, pattern);
        if pattern.starts_with('!') {
            let hint = "what it names is committed anyway, unless another pattern matches";
            checks.refuse(&path, "begins with `!`", Some(hint));
        }
    }
    checks.problems
}

fn check_placeholders(checks: &mut Checks<'_>, list: &Path<'_>, key: &str, arguments: &[String]) {
    for (index, argument) in arguments.iter().enumerate() {
        for word in placeholders(argument) {
            let shown = quoted(&format!("{{{word}}}"));
            let path = Path::Index(list, index);
            match PLACEHOLDERS.iter().find(|(known, _)| *known == word) {
                Some((_, homes)) if homes.contains(&key) => {}
                Some((_, homes)) => {
                    let homes: Vec<String> = homes.iter().map(|home| format!("`{home}`")).collect();
                    let lists = if homes.len() == 1 { "list" } else { "lists" };
                    let hint = format!("it is replaced in the {lists} {} only", homes.join(" and "));
                    checks.refuse(&path, format!("{shown} has no value here"), Some(&hint));
                }
                None => {
                    let hint = match nearest(word, &PLACEHOLDERS.map(|(known, _)| known)) {
                        Some(near) => did_you_mean(&format!("{{{near}}}")),
                        None => {
                            "known are `{model}`, `{session_id}`, `{max_turns}`, `{max_cost_usd}`, `{base_url}`"
                                .to_owned()
                        }
                    };
                    checks.refuse(&path, format!("unknown placeholder {shown}"), Some(&hint));
                }
            }
        }
    }
    // `resume` may do without: some CLIs go on with the last session of their HOME.
    let needed = PLACEHOLDERS.iter().find(|(_, homes)| homes.contains(&key) && key != "resume");
    if let Some((word, _)) = needed
        && !arguments.is_empty()
        && !arguments.iter().any(|argument| placeholders(argument).next().is_some())
    {
        checks.refuse(
            list,
            format!("no argument has `{{{word}}}` in it"),
            Some("without it the value is lost"),
        );
    }
}

/// The lower-case words that stand alone in braces. Other braces, as of `{"a": 1}` or `${HOME}`, belong to the CLI.
fn placeholders(argument: &str) -> impl Iterator<Item = &str> {
    argument
        .split('{')
        .skip(1)
        .filter_map(|after| after.split_once('}'))
        .map(|(word, _)| word)
        .filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}
