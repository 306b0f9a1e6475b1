//! Checks: check runs for an App, commit statuses for a token, which GitHub lets write nothing else.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body;
use crate::error::ForgeError;
use crate::facts::{Annotation, CheckFacts, CheckHandle, CheckSpec, CheckStatus, Conclusion, FailedCheck};
use crate::port::Priority;

use super::path::segment;
use super::repository::{Repository, SETTLE, is_uncertain};
use super::wire;

const CREATE_TRIES: u32 = 2;
/// What GitHub takes as a status' description.
const MAX_DESCRIPTION: usize = 140;
const MAX_TITLE: usize = 256;
/// Check runs of a commit that are looked at: 300.
const RUN_PAGES: usize = 3;
/// Failed checks that are told. More than a person or an agent would read.
const MAX_FAILED: usize = 20;
const MAX_ANNOTATIONS: usize = 30;
/// Characters of what a check says, and of one annotation.
const MAX_SUMMARY: usize = 4000;
const MAX_ANNOTATION: usize = 500;
/// The name of the status that we write with a token, which is no check of somebody else.
const OWN_STATUS: &str = "cloud-code";

#[derive(Debug, Deserialize)]
struct Run {
    id: u64,
    name: String,
    external_id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    conclusion: Option<String>,
    details_url: Option<String>,
    html_url: Option<String>,
    app: Option<wire::AppRef>,
    output: Option<Output>,
}

#[derive(Debug, Deserialize)]
struct Output {
    title: Option<String>,
    summary: Option<String>,
    text: Option<String>,
    #[serde(default)]
    annotations_count: u64,
}

#[derive(Debug, Deserialize)]
struct RunAnnotation {
    path: String,
    start_line: u32,
    annotation_level: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Status {
    context: String,
    state: String,
    description: Option<String>,
    target_url: Option<String>,
}

const fn conclusion(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Success => "success",
        Conclusion::Failure => "failure",
        Conclusion::Neutral => "neutral",
        Conclusion::Cancelled => "cancelled",
        Conclusion::TimedOut => "timed_out",
        Conclusion::ActionRequired => "action_required",
    }
}

/// A status knows four words. A neutral end must not hold up a merge; a cancelled one is no success.
const fn status_word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Queued | CheckStatus::InProgress => "pending",
        CheckStatus::Completed { conclusion } => match conclusion {
            Conclusion::Success | Conclusion::Neutral => "success",
            Conclusion::Failure | Conclusion::TimedOut => "failure",
            Conclusion::Cancelled | Conclusion::ActionRequired => "error",
        },
    }
}

impl Repository {
    fn run_of(&self, spec: &CheckSpec) -> Value {
        let scrubber = &self.client.scrubber;
        let mut run = json!({
            "name": spec.name,
            "external_id": spec.external_id,
            "output": {
                "title": body::line(&spec.title, MAX_TITLE, scrubber),
                "summary": body::plain(&spec.summary, scrubber),
            },
        });
        let (word, end) = match spec.status {
            CheckStatus::Queued => ("queued", None),
            CheckStatus::InProgress => ("in_progress", None),
            CheckStatus::Completed { conclusion: how } => ("completed", Some(conclusion(how))),
        };
        run["status"] = word.into();
        if let Some(end) = end {
            run["conclusion"] = end.into();
        }
        if let Some(url) = &spec.details_url {
            run["details_url"] = scrubber.scrub(url).into();
        }
        run
    }

    pub(super) async fn put_check_run(
        &self,
        spec: &CheckSpec,
        known: Option<&CheckHandle>,
        app_id: u64,
        priority: Priority,
    ) -> Result<CheckHandle, ForgeError> {
        let mut run = self.run_of(spec);
        if let Some(CheckHandle::Run { id, head_sha }) = known
            && *head_sha == spec.head_sha
        {
            match self.edit_run(*id, &run, spec, priority).await {
                Err(ForgeError::NotFound { .. }) => {}
                other => return other,
            }
        }
        let mut tries = 0;
        loop {
            if let Some(id) = self.find_run(spec, app_id).await? {
                return self.edit_run(id, &run, spec, priority).await;
            }
            run["head_sha"] = spec.head_sha.as_str().into();
            match self.send(Method::POST, "/check-runs", Some(&run), priority).await {
                Ok(answer) => {
                    return Ok(CheckHandle::Run {
                        id: answer.json::<Run>()?.id,
                        head_sha: spec.head_sha.clone(),
                    });
                }
                Err(error) if is_uncertain(&error) && tries < CREATE_TRIES => {
                    tries += 1;
                    run.as_object_mut().map(|run| run.remove("head_sha"));
                    tracing::debug!(%error, "looking whether the check was written");
                    tokio::time::sleep(SETTLE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn edit_run(
        &self,
        id: u64,
        run: &Value,
        spec: &CheckSpec,
        priority: Priority,
    ) -> Result<CheckHandle, ForgeError> {
        self.send(Method::PATCH, &format!("/check-runs/{id}"), Some(run), priority).await?;
        Ok(CheckHandle::Run { id, head_sha: spec.head_sha.clone() })
    }

    async fn find_run(&self, spec: &CheckSpec, app_id: u64) -> Result<Option<u64>, ForgeError> {
        let (sha, name) = (segment(&spec.head_sha), segment(&spec.name));
        let rest = format!("/commits/{sha}/check-runs?filter=all&check_name={name}&app_id={app_id}");
        let runs: Vec<Run> = self.pages(&rest, Some("check_runs"), RUN_PAGES).await?.items;
        let same = |run: &&Run| run.external_id.as_deref() == Some(&spec.external_id);
        Ok(runs.iter().filter(same).map(|run| run.id).max())
    }

    pub(super) async fn put_status(
        &self,
        spec: &CheckSpec,
        priority: Priority,
    ) -> Result<CheckHandle, ForgeError> {
        let mut status = json!({
            "state": status_word(spec.status),
            "context": spec.name,
            "description": body::line(&spec.title, MAX_DESCRIPTION, &self.client.scrubber),
        });
        if let Some(url) = &spec.details_url {
            status["target_url"] = self.client.scrubber.scrub(url).into();
        }
        let rest = format!("/statuses/{}", segment(&spec.head_sha));
        let handle = CheckHandle::Status { head_sha: spec.head_sha.clone(), name: spec.name.clone() };
        // The newest of a name counts, so one too many is no second check. Still only the caller repeats it.
        self.send(Method::POST, &rest, Some(&status), priority).await?;
        Ok(handle)
    }

    pub(super) async fn failures_of(&self, head_sha: &str) -> Result<Vec<FailedCheck>, ForgeError> {
        let sha = segment(head_sha);
        let runs = self.runs_of(&sha).await?.unwrap_or_default();
        let own = self.installation.as_ref().map(|installation| installation.app_id);
        let mut failed = Vec::new();
        for run in runs {
            let app_id = run.app.as_ref().map(|app| app.id);
            let is_failure = matches!(
                run.conclusion.as_deref(),
                Some("failure" | "timed_out" | "startup_failure" | "action_required")
            );
            if !is_failure || (own.is_some() && app_id == own) || failed.len() == MAX_FAILED {
                continue;
            }
            let annotations = match &run.output {
                Some(output) if output.annotations_count > 0 => self.annotations_of(run.id).await?,
                Some(_) | None => Vec::new(),
            };
            let parts =
                run.output.map(|output| [output.title, output.summary, output.text]).unwrap_or_default();
            let said: Vec<String> =
                parts.into_iter().flatten().filter(|part| !part.trim().is_empty()).collect();
            failed.push(FailedCheck {
                name: run.name,
                app_id,
                url: run.details_url.or(run.html_url),
                summary: body::cut(&said.join("\n\n"), MAX_SUMMARY),
                annotations,
            });
        }
        let statuses = self.statuses_of(&sha).await?.unwrap_or_default();
        let statuses =
            statuses.into_iter().filter(|status| matches!(status.state.as_str(), "failure" | "error"));
        failed.extend(statuses.map(|status| FailedCheck {
            name: status.context,
            app_id: None,
            url: status.target_url,
            summary: status.description.unwrap_or_default(),
            annotations: Vec::new(),
        }));
        failed.truncate(MAX_FAILED);
        Ok(failed)
    }

    /// The newest check runs of a commit; none where we may not read them, as a fine-grained token may not.
    async fn runs_of(&self, sha: &str) -> Result<Option<Vec<Run>>, ForgeError> {
        let rest = format!("/commits/{sha}/check-runs?filter=latest");
        match self.pages(&rest, Some("check_runs"), RUN_PAGES).await {
            Ok(pages) => Ok(Some(pages.items)),
            Err(ForgeError::Forbidden { .. }) if self.installation.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest statuses of a commit; none where we may not read them: that is a permission of its own, which its owner may
    /// have left out.
    async fn statuses_of(&self, sha: &str) -> Result<Option<Vec<Status>>, ForgeError> {
        match self.pages(&format!("/commits/{sha}/status"), Some("statuses"), RUN_PAGES).await {
            Ok(pages) => Ok(Some(pages.items)),
            Err(ForgeError::Forbidden { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How all checks of a commit stand. What is neither passed nor known to run counts as failed: a merge waits rather than
    /// takes an unknown word for a good one.
    pub(super) async fn checks_of(&self, head_sha: &str) -> Result<CheckFacts, ForgeError> {
        let sha = segment(head_sha);
        let (runs, statuses) = (self.runs_of(&sha).await?, self.statuses_of(&sha).await?);
        let mut facts =
            CheckFacts { is_whole: runs.is_some() && statuses.is_some(), ..CheckFacts::default() };
        let own = self.installation.as_ref().map(|installation| installation.app_id);
        let others = runs.into_iter().flatten();
        for run in others.filter(|run| own.is_none() || run.app.as_ref().map(|app| app.id) != own) {
            match (run.status.as_deref(), run.conclusion.as_deref()) {
                (Some("completed"), Some("success" | "neutral" | "skipped")) => facts.passed += 1,
                (Some("completed"), _) => facts.failed.push(run.name),
                (Some(_) | None, _) => facts.running.push(run.name),
            }
        }
        // With a token we write a status ourselves.
        let is_own = |status: &Status| own.is_none() && status.context == OWN_STATUS;
        for status in statuses.into_iter().flatten().filter(|status| !is_own(status)) {
            match status.state.as_str() {
                "success" => facts.passed += 1,
                "pending" => facts.running.push(status.context),
                _ => facts.failed.push(status.context),
            }
        }
        Ok(facts)
    }

    async fn annotations_of(&self, run: u64) -> Result<Vec<Annotation>, ForgeError> {
        let rest = format!("/check-runs/{run}/annotations");
        let annotations: Vec<RunAnnotation> = self.pages(&rest, None, 1).await?.items;
        let annotations = annotations.into_iter().take(MAX_ANNOTATIONS);
        Ok(annotations
            .map(|annotation| Annotation {
                path: annotation.path,
                line: annotation.start_line,
                level: annotation.annotation_level.unwrap_or_default(),
                message: body::take(&annotation.message.unwrap_or_default(), MAX_ANNOTATION).to_owned(),
            })
            .collect())
    }
}
