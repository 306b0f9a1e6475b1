//! Who changed a text, and when. REST does not tell: an issue's `updated_at` moves with every comment, a review has none, and
//! nothing names the editor. GraphQL does, on github.com and on an Enterprise Server, for Apps and for tokens.

use std::collections::HashMap;

use cloud_code_model::Actor;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::error::ForgeError;
use crate::facts::{Edited, TextEdits, TextId};

use super::repository::Repository;

/// What GitHub takes in one question.
const AT_ONCE: usize = 100;

/// Checked against GitHub's own schema (`@octokit/graphql-schema` 15.26.1). A title's changes are events; the last one counts.
const EDITS: &str = "query($ids: [ID!]!) { nodes(ids: $ids) { id \
     ... on Comment { lastEditedAt editor { ...who } } \
     ... on Issue { renames: timelineItems(last: 1, itemTypes: [RENAMED_TITLE_EVENT]) { nodes { \
     ... on RenamedTitleEvent { createdAt actor { ...who } } } } } \
     ... on PullRequest { renames: timelineItems(last: 1, itemTypes: [RENAMED_TITLE_EVENT]) { nodes { \
     ... on RenamedTitleEvent { createdAt actor { ...who } } } } } } } \
     fragment who on Actor { __typename login ... on User { databaseId } ... on Bot { databaseId } }";

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Option<Node>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: String,
    last_edited_at: Option<Timestamp>,
    editor: Option<Who>,
    renames: Option<Renames>,
}

#[derive(Deserialize)]
struct Renames {
    nodes: Vec<Option<Rename>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rename {
    created_at: Timestamp,
    actor: Option<Who>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Who {
    #[serde(rename = "__typename")]
    kind: String,
    login: String,
    database_id: Option<u64>,
}

fn edited(at: Timestamp, by: Option<Who>) -> Edited {
    let by_is_bot = by.as_ref().is_some_and(|who| who.kind == "Bot");
    // GraphQL's logins of bots lack the `[bot]` that they have everywhere else.
    let login = |who: Who| if by_is_bot { format!("{}[bot]", who.login) } else { who.login };
    let by = by.and_then(|who| Some(Actor { id: who.database_id?, login: login(who) }));
    Edited { at, by, by_is_bot }
}

impl From<Node> for TextEdits {
    fn from(node: Node) -> Self {
        let rename = node.renames.and_then(|renames| renames.nodes.into_iter().flatten().next_back());
        Self {
            text: node.last_edited_at.map(|at| edited(at, node.editor)),
            title: rename.map(|rename| edited(rename.created_at, rename.actor)),
        }
    }
}

impl Repository {
    pub(super) async fn edits_of(&self, texts: &[TextId]) -> Result<HashMap<TextId, TextEdits>, ForgeError> {
        let mut edits = HashMap::with_capacity(texts.len());
        for some in texts.chunks(AT_ONCE) {
            let ids: Vec<&str> = some.iter().map(TextId::as_str).collect();
            let data = self.client.query(EDITS, json!({"ids": ids})).await?;
            let found: Nodes = serde_json::from_value(data)
                .map_err(|error| ForgeError::Unexpected { message: error.to_string() })?;
            for node in found.nodes.into_iter().flatten() {
                edits.insert(TextId::new(node.id.clone()), node.into());
            }
        }
        Ok(edits)
    }
}
