//! A forge in memory: issues, comments, pull requests, what people see of them, and the log of what was sent.

mod merging;
mod port;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cloud_code_forge::PullState;
use cloud_code_model::Actor;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{Event, State};

use self::merging::Checks;
pub(crate) use self::merging::Merge;
pub(crate) use self::port::SimForge;

/// Our App, and the account that it writes with.
pub(crate) const APP: u64 = 77;

const BOT: u64 = 9_000;

/// The repository's number.
pub(crate) const REPOSITORY: u64 = 5;

/// Who asks.
pub(crate) const ALICE: u64 = 1;

/// Something said.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: u64,
    pub(crate) body: String,
    pub(crate) created_at: Timestamp,
}

/// An issue, or the conversation of a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) title: String,
    pub(crate) is_open: bool,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) comments: Vec<Comment>,
    created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A pull request.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub(crate) branch: String,
    base: String,
    title: String,
    body: String,
    pub(crate) state: PullState,
    draft: bool,
    /// What it was when it ended, and who ended it.
    end: Option<(String, u64)>,
}

/// A delivery as the forge remembers it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) guid: String,
    pub(crate) event: &'static str,
    pub(crate) body: String,
    at: Timestamp,
    pub(crate) has_arrived: bool,
}

/// The forge's memory.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) sent: BTreeMap<u64, Sent>,
    /// How often each place got a reaction.
    pub(crate) reactions: BTreeMap<String, u32>,
    checks: BTreeMap<(String, String), u64>,
    /// What others check of each commit.
    others: BTreeMap<String, Checks>,
    /// What was merged for us.
    pub(crate) merges: Vec<Merge>,
    numbers: u64,
}

fn alice() -> Actor {
    Actor { id: ALICE, login: "alice".to_owned() }
}

fn bot() -> Actor {
    Actor { id: BOT, login: "cloud-code[bot]".to_owned() }
}

fn who(id: u64) -> Actor {
    if id == BOT { bot() } else { alice() }
}

/// What a person does, as the forge tells it to those who listen.
impl State {
    fn number(&mut self) -> u64 {
        self.hub.numbers += 1;
        self.hub.numbers
    }

    /// Somebody opens an issue.
    pub(crate) fn open_issue(&mut self, title: &str) -> u64 {
        let number = self.number();
        let now = self.second();
        let issue = Issue {
            title: title.to_owned(),
            is_open: true,
            labels: BTreeSet::new(),
            comments: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        self.hub.issues.insert(number, issue);
        number
    }

    /// Alice says something.
    pub(crate) fn say(&mut self, number: u64, body: &str) -> u64 {
        let id = 1_000 + self.fresh();
        let now = self.second();
        self.note(|| format!("alice on #{number}: {body}"));
        let Some(issue) = self.hub.issues.get_mut(&number) else { return id };
        issue.updated_at = now;
        issue.comments.push(Comment { id, author: ALICE, body: body.to_owned(), created_at: now });
        let comment = json!({
            "id": id, "user": person(ALICE), "body": body, "created_at": now.to_string(),
        });
        let body = json!({"action": "created", "issue": self.issue_wire(number), "comment": comment});
        self.send("issue_comment", body);
        id
    }

    /// Alice takes a comment back.
    pub(crate) fn unsay(&mut self, number: u64, id: u64) {
        let Some(issue) = self.hub.issues.get_mut(&number) else { return };
        let Some(at) = issue.comments.iter().position(|comment| comment.id == id) else { return };
        let gone = issue.comments.remove(at);
        self.note(|| format!("alice deletes comment {id} of #{number}"));
        let comment = json!({
            "id": id, "user": person(ALICE), "body": gone.body, "created_at": gone.created_at.to_string(),
        });
        let body = json!({"action": "deleted", "issue": self.issue_wire(number), "comment": comment});
        self.send("issue_comment", body);
    }

    /// Alice closes an issue, or opens it again.
    pub(crate) fn set_open(&mut self, number: u64, is_open: bool) {
        let now = self.second();
        let Some(issue) = self.hub.issues.get_mut(&number).filter(|issue| issue.is_open != is_open) else {
            return;
        };
        issue.is_open = is_open;
        issue.updated_at = now;
        let action = if is_open { "reopened" } else { "closed" };
        self.note(|| format!("#{number} is {action}"));
        let body = json!({"action": action, "issue": self.issue_wire(number)});
        self.send("issues", body);
    }

    /// Somebody ends a pull request, with a merge or without.
    pub(crate) fn end_pull(&mut self, number: u64, merged: bool, by: u64) {
        let now = self.second();
        let Some(pull) = self.hub.pulls.get_mut(&number).filter(|pull| pull.state == PullState::Open) else {
            return;
        };
        pull.state = if merged { PullState::Merged } else { PullState::Closed };
        let (branch, base) = (pull.branch.clone(), pull.base.clone());
        let head = self.repositories.branches.get(&branch).cloned();
        pull.end = Some((head.as_ref().map(ToString::to_string).unwrap_or_default(), by));
        self.note(|| format!("{} ends pull request #{number}, merged: {merged}", who(by).login));
        if merged && let (Some(head), Some(tip)) = (&head, self.repositories.branches.get(&base).cloned()) {
            let salt = self.fresh();
            let merge = self.repositories.commit(&[tip, head.clone()], "merge", salt);
            self.repositories.branches.insert(base, merge);
        }
        let head = head.map(|head| head.to_string()).unwrap_or_default();
        let body = json!({"action": "closed", "pull_request": {
            "number": number, "user": person(BOT), "body": "", "created_at": now.to_string(),
            "updated_at": now.to_string(), "merged": merged,
            "head": {"ref": branch, "sha": head, "repo": {"id": REPOSITORY}},
        }, "sender": person(by)});
        self.send("pull_request", body);
    }

    /// Somebody pushes to a branch.
    pub(crate) fn push_by_others(&mut self, branch: &str) {
        let (file, salt) = (format!("f{}", self.chance.below(6)), self.fresh());
        let before = self.repositories.branches.get(branch).cloned();
        let (Some(before), Some(after)) = (before, self.repositories.push_by_others(branch, &file, salt))
        else {
            return;
        };
        self.note(|| format!("somebody pushes {file} to {branch}"));
        let body = json!({
            "ref": format!("refs/heads/{branch}"), "before": before.as_str(), "after": after.as_str(),
        });
        self.send("push", body);
    }

    fn issue_wire(&self, number: u64) -> Value {
        let Some(issue) = self.hub.issues.get(&number) else { return Value::Null };
        let mut wire = json!({
            "number": number, "user": person(ALICE), "body": "Empty passwords must be refused.",
            "created_at": issue.created_at.to_string(), "updated_at": issue.updated_at.to_string(),
        });
        if self.hub.pulls.contains_key(&number) {
            wire["pull_request"] = json!({});
        }
        wire
    }

    /// Sends an event: soon, late, twice, or never.
    fn send(&mut self, event: &'static str, mut body: Value) {
        body["repository"] = json!({"id": REPOSITORY, "full_name": "acme/shop", "default_branch": "main"});
        if body["sender"].is_null() {
            body["sender"] = person(ALICE);
        }
        body["installation"] = json!({"id": 3});
        let id = self.fresh();
        let sent = Sent {
            guid: format!("guid-{id}"),
            event,
            body: body.to_string(),
            at: self.second(),
            has_arrived: false,
        };
        self.hub.sent.insert(id, sent);
        let soon = Duration::from_millis(self.chance.between(20, 900));
        let dice = self.chance.below(100);
        let is_odd = self.faults.given > 0 || self.faults.left > 0;
        match dice {
            0..6 if is_odd => {
                self.count("deliveries lost");
                self.note(|| format!("delivery {id} is lost"));
            }
            6..16 if is_odd => {
                self.count("deliveries late");
                let wait = Duration::from_secs(self.chance.between(1, 300));
                self.later(wait, Event::Deliver { id });
            }
            16..26 if is_odd => {
                self.count("deliveries twice");
                let wait = Duration::from_secs(self.chance.between(1, 120));
                self.later(soon, Event::Deliver { id });
                self.later(wait, Event::Deliver { id });
            }
            _ => self.later(soon, Event::Deliver { id }),
        }
    }
}

fn person(id: u64) -> Value {
    let actor = who(id);
    json!({"id": actor.id, "login": actor.login, "type": if id == BOT { "Bot" } else { "User" }})
}
