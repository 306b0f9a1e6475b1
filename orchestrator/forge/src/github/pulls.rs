//! Pull requests: one open one per branch, whatever was lost on the way.

use cloud_code_model::MergeMethod;
use http::Method;
use serde_json::{Value, json};

use crate::body;
use crate::error::ForgeError;
use crate::facts::{Merged, PullFacts, PullNote, PullSpec, PullState, PullUpdate, PutPull, ReviewFacts};
use crate::port::{Forge as _, Priority};

use super::path::segment;
use super::repository::{Repository, SETTLE, is_uncertain};
use super::{refusal, wire};

/// What GitHub takes as a title.
const MAX_TITLE: usize = 256;
const CREATE_TRIES: u32 = 2;
/// Pull requests of one branch that are looked at. The newest come first.
const PULL_PAGES: usize = 1;
const READY: &str =
    "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { clientMutationId } }";

impl Repository {
    /// The open pull request of a branch of this repository, else the newest.
    pub(super) async fn pull_of_branch(&self, branch: &str) -> Result<Option<wire::Pull>, ForgeError> {
        let head = segment(&format!("{}:{branch}", self.name().owner()));
        let rest = format!("/pulls?state=all&head={head}&sort=created&direction=desc");
        let mut pulls: Vec<wire::Pull> = self.pages(&rest, None, PULL_PAGES).await?.items;
        let chosen = pulls.iter().position(wire::Pull::is_open).unwrap_or(0);
        Ok((!pulls.is_empty()).then(|| pulls.swap_remove(chosen)))
    }

    pub(super) async fn open_pull(&self, spec: &PullSpec) -> Result<PutPull, ForgeError> {
        let mut notes = Vec::new();
        let (mut tries, mut draft, mut created) = (0, spec.draft, false);
        let pull = loop {
            // Looked for before each try: after a lost answer, and before the first because of a crash after it.
            if let Some(pull) = self.pull_of_branch(&spec.branch).await?.filter(wire::Pull::is_open) {
                // A try of this very call may be what opened it.
                created |= tries > 0;
                break pull;
            }
            let pull = json!({
                "title": body::line(&spec.title, MAX_TITLE, &self.client.scrubber),
                "head": spec.branch,
                "base": spec.base,
                "body": body::marked(&spec.body, &spec.marker, &self.client.scrubber),
                "draft": draft,
            });
            match self.send(Method::POST, "/pulls", Some(&pull), Priority::Terminal).await {
                Ok(answer) => {
                    created = true;
                    break answer.json()?;
                }
                Err(ForgeError::Invalid { message }) if draft && message.to_lowercase().contains("draft") => {
                    notes.push(PullNote::NoDraft);
                    draft = false;
                }
                Err(ForgeError::Invalid { message })
                    if message.contains("already exists") && tries < CREATE_TRIES =>
                {
                    tries += 1;
                    created = false;
                    tokio::time::sleep(SETTLE).await;
                    if let Some(pull) = self.pull_of_branch(&spec.branch).await?.filter(wire::Pull::is_open) {
                        break pull;
                    }
                }
                Err(error) if is_uncertain(&error) && tries < CREATE_TRIES => {
                    tries += 1;
                    tracing::debug!(branch = spec.branch, %error, "looking whether the pull request was opened");
                    tokio::time::sleep(SETTLE).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.ask_reviewers(&pull, spec, created, &mut notes).await?;
        self.add_labels(&pull, spec, &mut notes).await?;
        Ok(PutPull { pull: pull.into(), created, notes })
    }

    /// Asks whom the spec names and nobody asked yet. Who has reviewed already is not asked again by a repeated call.
    async fn ask_reviewers(
        &self,
        pull: &wire::Pull,
        spec: &PullSpec,
        created: bool,
        notes: &mut Vec<PullNote>,
    ) -> Result<(), ForgeError> {
        if spec.reviewers.is_empty() {
            return Ok(());
        }
        let people = pull.requested_reviewers.iter().flatten().map(|user| user.login.to_lowercase());
        let teams = pull.requested_teams.iter().flatten().map(|team| team.slug.to_lowercase());
        let mut asked: Vec<String> = people.chain(teams).collect();
        if !created {
            let reviews: Vec<ReviewFacts> = self.reviews(pull.number).await?;
            asked.extend(reviews.into_iter().filter_map(|review| Some(review.author?.login.to_lowercase())));
        }
        let rest = format!("/pulls/{}/requested_reviewers", pull.number);
        let (mut refused, mut reason) = (Vec::new(), String::new());
        // One by one: GitHub refuses all for one that it does not take.
        for reviewer in &spec.reviewers {
            let (key, name) = match reviewer.split_once('/') {
                Some((_, team)) => ("team_reviewers", team),
                None => ("reviewers", reviewer.as_str()),
            };
            if asked.contains(&name.to_lowercase()) {
                continue;
            }
            match self.send(Method::POST, &rest, Some(&json!({key: [name]})), Priority::Terminal).await {
                Ok(_) => {}
                Err(ForgeError::Invalid { message } | ForgeError::Forbidden { message, .. }) => {
                    refused.push(reviewer.clone());
                    reason = message;
                }
                Err(ForgeError::NotFound { what }) => {
                    refused.push(reviewer.clone());
                    reason = format!("{what} does not exist");
                }
                Err(error) => return Err(error),
            }
        }
        if !refused.is_empty() {
            notes.push(PullNote::Reviewers { refused, message: reason });
        }
        Ok(())
    }

    async fn add_labels(
        &self,
        pull: &wire::Pull,
        spec: &PullSpec,
        notes: &mut Vec<PullNote>,
    ) -> Result<(), ForgeError> {
        let has = |wanted: &str| pull.labels.iter().any(|label| label.name.eq_ignore_ascii_case(wanted));
        let missing: Vec<&String> = spec.labels.iter().filter(|label| !has(label)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rest = format!("/issues/{}/labels", pull.number);
        match self.send(Method::POST, &rest, Some(&json!({"labels": missing})), Priority::Terminal).await {
            Ok(_) => Ok(()),
            Err(ForgeError::Invalid { message } | ForgeError::Forbidden { message, .. }) => {
                notes.push(PullNote::Labels { message });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A call whose answer was lost is not repeated before the pull request was looked at.
    pub(super) async fn merge(
        &self,
        number: u64,
        head_sha: &str,
        method: MergeMethod,
    ) -> Result<Merged, ForgeError> {
        let ask = json!({"sha": head_sha, "merge_method": method.as_str()});
        let rest = format!("/pulls/{number}/merge");
        let refused = match self.send(Method::PUT, &rest, Some(&ask), Priority::Terminal).await {
            Ok(_) => return Ok(Merged::Done),
            Err(ForgeError::Invalid { message }) => Ok(refusal::of_merge(message)),
            Err(error) if is_uncertain(&error) => {
                tracing::debug!(pull.number = number, %error, "looking whether it was merged");
                tokio::time::sleep(SETTLE).await;
                Err(error)
            }
            Err(error) => return Err(error),
        };
        // What is merged already is refused as well.
        match self.pull(number).await?.state {
            PullState::Merged => Ok(Merged::Done),
            PullState::Open | PullState::Closed => refused,
        }
    }

    pub(super) async fn change_pull(
        &self,
        number: u64,
        update: &PullUpdate,
    ) -> Result<PullFacts, ForgeError> {
        let mut change = serde_json::Map::new();
        if let Some(title) = &update.title {
            let title = body::line(title, MAX_TITLE, &self.client.scrubber);
            change.insert("title".to_owned(), Value::String(title));
        }
        if let Some((text, marker)) = &update.body {
            let text = body::marked(text, marker, &self.client.scrubber);
            change.insert("body".to_owned(), Value::String(text));
        }
        let rest = format!("/pulls/{number}");
        let pull: wire::Pull = if change.is_empty() {
            self.read(&rest).await?
        } else {
            self.send(Method::PATCH, &rest, Some(&Value::Object(change)), Priority::Terminal).await?.json()?
        };
        if !(update.ready && pull.draft == Some(true)) {
            return Ok(pull.into());
        }
        self.client.mutate(READY, json!({"id": pull.node_id}), Priority::Terminal).await?;
        self.pull(number).await
    }
}
