//! Check runs, their suites, and commit statuses.

use jiff::Timestamp;
use serde_json::json;

use crate::call::Actor;
use crate::state::{Annotation, CheckRun, Status, World};
use crate::webhooks::Only;

/// What a check run is asked to become; what is left out stays.
#[derive(Debug, Default)]
pub(crate) struct CheckRunChange {
    pub(crate) name: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) details_url: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) conclusion: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) annotations: Vec<Annotation>,
}

impl World {
    pub(crate) fn add_check_run(
        &mut self,
        repo: u64,
        actor: Actor,
        app: u64,
        sha: &str,
        change: CheckRunChange,
    ) -> Option<u64> {
        let suite = self.suite_for(repo, app, sha, None);
        let (id, now) = (self.id(), self.now());
        let mut run = CheckRun {
            id,
            suite,
            app,
            head_sha: sha.to_owned(),
            name: String::new(),
            external_id: String::new(),
            details_url: None,
            status: "queued".to_owned(),
            conclusion: None,
            started_at: Some(now),
            completed_at: None,
            title: None,
            summary: None,
            text: None,
            annotations: Vec::new(),
            updates: 0,
        };
        apply(&mut run, change, now);
        self.repo_mut(repo)?.check_runs.push(run);
        self.post_run("created", repo, id, actor);
        self.run_completed(repo, id, actor);
        Some(id)
    }

    pub(crate) fn change_check_run(
        &mut self,
        repo: u64,
        id: u64,
        actor: Actor,
        change: CheckRunChange,
    ) -> Option<()> {
        let now = self.now();
        let run = self.repo_mut(repo)?.check_runs.iter_mut().find(|run| run.id == id)?;
        let was = run.status == "completed";
        apply(run, change, now);
        run.updates += 1;
        if !was {
            self.run_completed(repo, id, actor);
        }
        Some(())
    }

    /// Tells that a run is completed, and its suite when it was the last.
    fn run_completed(&mut self, repo: u64, id: u64, actor: Actor) {
        let Some(known) = self.repo(repo) else { return };
        let Some(run) = known.check_runs.iter().find(|run| run.id == id) else { return };
        if run.status != "completed" {
            return;
        }
        let suite = run.suite;
        let runs: Vec<&CheckRun> = known.check_runs.iter().filter(|run| run.suite == suite).collect();
        let done = runs.iter().all(|run| run.status == "completed");
        let bad = runs.iter().find_map(|run| {
            run.conclusion.clone().filter(|word| !matches!(word.as_str(), "success" | "neutral" | "skipped"))
        });
        self.post_run("completed", repo, id, actor);
        if done {
            self.finish_suite(repo, suite, actor, &bad.unwrap_or_else(|| "success".to_owned()));
        }
    }

    pub(crate) fn finish_suite(&mut self, repo: u64, suite: u64, actor: Actor, conclusion: &str) {
        let now = self.now();
        let Some(known) = self.repo_mut(repo) else { return };
        if let Some(suite) = known.check_suites.iter_mut().find(|known| known.id == suite) {
            suite.status = "completed".to_owned();
            suite.conclusion = Some(conclusion.to_owned());
            suite.updated_at = now;
        }
        self.post_suite("completed", repo, actor, suite);
    }

    /// `requested` and `rerequested` go to the suite's own App only.
    pub(crate) fn post_suite(&mut self, action: &str, repo: u64, actor: Actor, suite: u64) {
        let Some(known) = self.repo(repo) else { return };
        let Some(suite) = known.check_suites.iter().find(|known| known.id == suite) else { return };
        let only = if action == "completed" { Only::Everybody } else { Only::App(suite.app) };
        let payload = json!({"check_suite": self.suite_event_json(known, suite)});
        self.post_to(only, "check_suite", action, repo, actor, payload);
    }

    fn post_run(&mut self, action: &str, repo: u64, id: u64, actor: Actor) {
        let Some(known) = self.repo(repo) else { return };
        let Some(run) = known.check_runs.iter().find(|run| run.id == id) else { return };
        let payload = json!({"check_run": self.check_run_event_json(known, run)});
        self.post("check_run", action, repo, actor, payload);
    }

    pub(crate) fn add_status(&mut self, repo: u64, actor: Actor, mut status: Status) -> Option<Status> {
        status.id = self.id();
        status.creator = actor.user;
        status.created_at = self.now();
        self.repo_mut(repo)?.statuses.push(status.clone());
        Some(status)
    }
}

fn apply(run: &mut CheckRun, change: CheckRunChange, now: Timestamp) {
    if let Some(name) = change.name {
        run.name = name;
    }
    if let Some(external_id) = change.external_id {
        run.external_id = external_id;
    }
    if let Some(status) = change.status {
        run.status = status;
    }
    run.details_url = change.details_url.or(run.details_url.take());
    run.started_at = change.started_at.or(run.started_at);
    run.completed_at = change.completed_at.or(run.completed_at);
    run.title = change.title.or(run.title.take());
    run.summary = change.summary.or(run.summary.take());
    run.text = change.text.or(run.text.take());
    run.annotations.extend(change.annotations);
    // A conclusion completes the run, whatever its status says.
    if let Some(conclusion) = change.conclusion {
        run.conclusion = Some(conclusion);
        run.status = "completed".to_owned();
        run.completed_at = run.completed_at.or(Some(now));
    }
}
