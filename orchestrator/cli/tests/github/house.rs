//! What the stories of publishing need of the stage besides: a CLI that does one thing more, and a search of the house.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stage::{CLI_KEY, SHOP, Stage, WEBHOOK_SECRET};

impl Stage {
    /// Where the installation and all that belongs to the story lies.
    fn place(&self) -> PathBuf {
        self.home().parent().unwrap().to_owned()
    }

    /// Teaches the CLI: when the prompt holds these words, it does this first. It goes on as ever unless that exits.
    pub(crate) fn teaches(&self, words: &str, what: &str) {
        let path = self.place().join("cli.sh");
        let text = fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once("count=$(cat").unwrap();
        fs::write(
            &path,
            format!("{before}case $prompt in\n  *'{words}'*)\n{what}\n  ;;\nesac\ncount=$(cat{after}"),
        )
        .unwrap();
    }

    /// A file that the CLI left beside the prompts.
    pub(crate) fn left(&self, name: &str) -> String {
        fs::read_to_string(self.place().join("notes").join(name)).unwrap_or_default()
    }

    /// Waits until the CLI was called this often.
    #[track_caller]
    pub(crate) fn hears(&self, prompts: usize) -> String {
        self.wait_for(&format!("prompt {prompts}"), || self.prompts().get(prompts - 1).cloned())
    }

    /// Waits until the status comment says this.
    #[track_caller]
    pub(crate) fn tells(&self, number: u64, words: &str) -> String {
        self.wait_for(&format!("the status of #{number} to say {words:?}"), || {
            let comments = self.github.comments(SHOP, number);
            let mut bodies = comments.into_iter().map(|comment| comment.body);
            bodies.find(|body| body.contains("### cloud-code: ") && body.contains(words))
        })
    }

    /// Waits until the branch of an issue holds this file with this text.
    #[track_caller]
    pub(crate) fn holds_file(&self, branch: &str, path: &str, text: &str) {
        self.wait_for(&format!("{path} of {branch} to be {text:?}"), || {
            (self.github.file(SHOP, branch, path).as_deref() == Some(text)).then_some(())
        });
    }

    /// Whether a commit is part of a branch on the forge.
    pub(crate) fn is_part_of(&self, commit: &str, branch: &str) -> bool {
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(self.bare()).args(["merge-base", "--is-ancestor", commit, branch]);
        git.status().unwrap().success()
    }

    /// What git on the forge says.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut git = std::process::Command::new("git");
        let output = git.arg("--git-dir").arg(self.bare()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn bare(&self) -> PathBuf {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.github.folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.join("HEAD").is_file() {
                found.push(path);
            }
        }
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Looks through every file of the house but `secrets/`, through the log and through all that was sent, for what must
    /// stand nowhere.
    #[track_caller]
    pub(crate) fn is_clean(&self, further: &[&str]) {
        let home = self.home();
        let mut files = Vec::new();
        walk(&home, &home.join("secrets"), &mut files);
        assert!(files.len() > 20, "only {files:?} were searched");
        let key = self.github.app_key().lines().nth(1).unwrap();
        let mut needles = vec![WEBHOOK_SECRET, CLI_KEY, "ghs_", "BEGIN RSA PRIVATE", key];
        needles.extend(further);
        let log = (home.join("the log of serve"), self.log().into_bytes());
        let sent = self.github.mutations().into_iter().map(|request| {
            let name = format!("{} {}", request.method, request.path);
            (PathBuf::from(name), format!("{:?}", request.body).into_bytes())
        });
        let read = files.into_iter().filter_map(|path| Some((path.clone(), fs::read(path).ok()?)));
        for (path, bytes) in read.chain([log]).chain(sent) {
            for needle in &needles {
                let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
                assert!(!found, "{needle:?} stands in {}", path.display());
            }
        }
    }
}

fn walk(folder: &Path, without: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path == without || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, without, files);
        } else {
            files.push(path);
        }
    }
}
