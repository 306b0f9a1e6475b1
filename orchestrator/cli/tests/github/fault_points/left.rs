//! What may be left on the machine when everything has ended: what docs/ARCHITECTURE.md names, and nothing else.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::stage::Stage;

/// How long tidying may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Below the home folder; `*` is one name. A folder that ends in `/` may hold anything: it is git's, or an agent's.
const MAY_STAY: [&str; 33] = [
    "cloud-code.db",
    "cloud-code.db-shm",
    "cloud-code.db-wal",
    "cloud-code.db.lock",
    "history",
    "history/shop",
    "history/shop/*",
    "history/shop/*/*",
    "history/shop/*/*/attempt.yaml",
    "history/shop/*/*/files.tar.gz",
    "history/lock",
    "history/ledger/",
    "history/dropped.jsonl",
    "instance",
    "cloud-code.yaml",
    "projects",
    "projects/shop.yaml",
    "secrets/",
    "clis/",
    "scribe.sh",
    "local",
    "locks",
    "locks/shop",
    "locks/shop/*",
    "repos",
    "repos/shop.lock",
    "repos/shop.git/",
    "workspaces",
    "workspaces/shop",
    "workspaces/shop/*",
    "workspaces/shop/*/prepared",
    "workspaces/shop/*/info",
    "workspaces/shop/*/info/exclude",
];
/// Of an issue's folder: the parts that an agent writes.
const AGENTS: [&str; 4] = ["tree/", "admin/", "home/", "objects/"];
/// Of an issue's control directory.
const CONTROL: [&str; 6] =
    ["tasking.yaml", "reporting.yaml", "cli.yaml", "events.jsonl", "logs/", "prompts/"];

impl Stage {
    /// Waits until nothing is left but what may stay.
    #[track_caller]
    pub(super) fn leaves_nothing(&self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut left = Vec::new();
            look_through(&self.home(), "", &mut left);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left in the home folder: {left:#?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn look_through(folder: &Path, below: &str, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        match verdict(&path) {
            Verdict::Stays if entry.path().is_dir() => look_through(&entry.path(), &path, left),
            Verdict::Stays => {}
            Verdict::Whole => unfinished(&entry.path(), &path, left),
            Verdict::Left => left.push(path),
        }
    }
}

enum Verdict {
    Stays,
    /// A folder whose names are not ours.
    Whole,
    Left,
}

fn verdict(path: &str) -> Verdict {
    let in_issue = AGENTS.iter().map(|name| format!("workspaces/shop/*/{name}"));
    let control = CONTROL.iter().map(|name| format!("workspaces/shop/*/.cloud-code/{name}"));
    let itself = ["workspaces/shop/*/.cloud-code".to_owned()];
    let all = MAY_STAY.iter().map(|&name| name.to_owned()).chain(in_issue).chain(control).chain(itself);
    for pattern in all {
        let (name, verdict) = match pattern.strip_suffix('/') {
            Some(name) => (name.to_owned(), Verdict::Whole),
            None => (pattern, Verdict::Stays),
        };
        if fits(&name, path) {
            return verdict;
        }
    }
    Verdict::Left
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let one =
        |(pattern, name): (&&str, &&str)| pattern == name || (*pattern == "*" && !name.starts_with('.'));
    pattern.len() == path.len() && pattern.iter().zip(&path).all(one)
}

/// What git, we or an agent write before they give it its name.
fn unfinished(folder: &Path, below: &str, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}/{name}");
        let is_temporary =
            [".writing-", "tmp_", ".tmp-", "import-"].iter().any(|start| name.starts_with(start));
        if is_temporary || [".lock", ".tmp"].iter().any(|end| name.ends_with(end)) {
            left.push(path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unfinished(&entry.path(), &path, left);
        }
    }
}
