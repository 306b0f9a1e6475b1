//! The one question that GraphQL is asked: who changed these texts last. It is played word for word, as a double of all of
//! GraphQL would be larger than the rest of the fake; another question is a violation, so that nobody trusts an answer to
//! it. The question was held against GitHub's own schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::auth::Caller;
use crate::render::time;
use crate::router::{holds, sees};
use crate::state::{Level, Repo, World};

/// Without its white space.
const EDITS: &str = "query($ids:[ID!]!){nodes(ids:$ids){id...onComment{lastEditedAteditor{...who}}...onIssue{renames:\
     timelineItems(last:1,itemTypes:[RENAMED_TITLE_EVENT]){nodes{...onRenamedTitleEvent{createdAtactor{...who}}}}}...on\
     PullRequest{renames:timelineItems(last:1,itemTypes:[RENAMED_TITLE_EVENT]){nodes{...onRenamedTitleEvent{createdAtactor\
     {...who}}}}}}}fragmentwhoonActor{__typenamelogin...onUser{databaseId}...onBot{databaseId}}";
/// GitHub's cap for `nodes`.
const MAX_IDS: usize = 100;

/// On github.com, and on an Enterprise Server.
pub(crate) fn is_at(path: &str) -> bool {
    matches!(path, "/graphql" | "/api/graphql")
}

/// The answer, and what was wrong with the question.
pub(crate) fn answer(world: &World, caller: &Caller, body: &Value) -> (Answer, Option<String>) {
    let query: String =
        body["query"].as_str().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
    let ids = body["variables"]["ids"].as_array().filter(|ids| ids.iter().all(Value::is_string));
    let Some(ids) = ids.filter(|ids| query == EDITS && ids.len() <= MAX_IDS) else {
        let wrong = format!("POST /graphql: the fake does not play {body}");
        return (Answer::ok(json!({"errors": [{"message": "Parse error on the fake"}]})), Some(wrong));
    };
    let mut errors = Vec::new();
    let nodes: Vec<Value> = ids
        .iter()
        .map(|id| {
            let id = id.as_str().unwrap_or_default();
            let found = node(world, caller, id);
            if found.is_none() {
                let message = format!("Could not resolve to a node with the global id of '{id}'.");
                errors.push(json!({"type": "NOT_FOUND", "path": ["nodes"], "message": message}));
            }
            found.unwrap_or(Value::Null)
        })
        .collect();
    let mut answer = json!({"data": {"nodes": nodes}});
    if !errors.is_empty() {
        answer["errors"] = json!(errors);
    }
    (Answer::ok(answer), None)
}

/// `None` for what is not there, or not for this caller's eyes.
fn node(world: &World, caller: &Caller, id: &str) -> Option<Value> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let rest = text.strip_prefix("0:")?;
    let digits = rest.find(|c: char| c.is_ascii_digit())?;
    let (kind, number) = (rest.get(..digits)?, rest.get(digits..)?.parse::<u64>().ok()?);
    world.repos.iter().filter(|repo| reads(world, caller, repo)).find_map(|repo| {
        let (edited, renamed) = match kind {
            "Issue" => {
                repo.threads.iter().find(|thread| thread.id == number).map(|t| (t.edited, Some(t.renamed)))
            }
            "PullRequest" => repo
                .threads
                .iter()
                .find(|thread| thread.pull.as_ref().is_some_and(|pull| pull.id == number))
                .map(|t| (t.edited, Some(t.renamed))),
            "IssueComment" => repo.comment(number).map(|comment| (comment.edited, None)),
            "PullRequestReview" => {
                repo.reviews.iter().find(|review| review.id == number).map(|review| (review.edited, None))
            }
            "PullRequestReviewComment" => {
                repo.review_comments.iter().find(|comment| comment.id == number).map(|c| (c.edited, None))
            }
            _ => None,
        }?;
        let mut node = json!({
            "id": id,
            "lastEditedAt": edited.map(|(at, _)| time(at)),
            "editor": edited.map(|(_, by)| who(world, by)),
        });
        if let Some(renamed) = renamed {
            let event = |(at, by): (Timestamp, u64)| json!({"createdAt": time(at), "actor": who(world, by)});
            node["renames"] = json!({"nodes": renamed.map(event).into_iter().collect::<Vec<_>>()});
        }
        Some(node)
    })
}

fn reads(world: &World, caller: &Caller, repo: &Repo) -> bool {
    let needed = [("issues", Level::Read), ("pull_requests", Level::Read)];
    let may = match caller {
        Caller::Installation { permissions, .. } => holds(permissions, &needed),
        Caller::Person { permissions, .. } => {
            permissions.as_ref().is_none_or(|permissions| holds(permissions, &needed))
        }
        Caller::App(_) | Caller::Nobody => false,
    };
    may && sees(world, caller, repo).is_ok()
}

/// An account as GraphQL has it: a bot's name lacks what REST puts behind it.
fn who(world: &World, id: u64) -> Value {
    let login = world.login(Some(id));
    match login.strip_suffix("[bot]") {
        _ if world.users.iter().all(|user| user.id != id) => Value::Null,
        Some(name) => json!({"__typename": "Bot", "login": name, "databaseId": id}),
        None => json!({"__typename": "User", "login": login, "databaseId": id}),
    }
}
