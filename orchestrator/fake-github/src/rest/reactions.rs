//! Reactions.

use crate::answer::{Answer, Outcome, invalid, not_found};
use crate::call::Call;
use crate::render::thread::CONTENTS;
use crate::router::{Route, route};
use crate::state::{Subject, World};

use super::{READS_PULLS, READS_THREADS, SAYS, SAYS_ON_PULLS};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/reactions", READS_THREADS, list_thread),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/reactions", SAYS, add_thread),
    route("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/reactions/{reaction_id}", SAYS, remove),
    route("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", READS_THREADS, list_comment),
    route("POST", "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions", SAYS, add_comment),
    route(
        "DELETE",
        "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}",
        SAYS,
        remove,
    ),
    route("GET", "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions", READS_PULLS, list_review),
    route("POST", "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions", SAYS_ON_PULLS, add_review),
    route(
        "DELETE",
        "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions/{reaction_id}",
        SAYS_ON_PULLS,
        remove,
    ),
];

fn list_thread(world: &mut World, call: &Call) -> Outcome {
    list(world, call, Subject::Thread(call.number(2)?))
}

fn list_comment(world: &mut World, call: &Call) -> Outcome {
    list(world, call, Subject::Comment(call.number(2)?))
}

fn list_review(world: &mut World, call: &Call) -> Outcome {
    list(world, call, Subject::ReviewComment(call.number(2)?))
}

fn add_thread(world: &mut World, call: &Call) -> Outcome {
    add(world, call, Subject::Thread(call.number(2)?))
}

fn add_comment(world: &mut World, call: &Call) -> Outcome {
    add(world, call, Subject::Comment(call.number(2)?))
}

fn add_review(world: &mut World, call: &Call) -> Outcome {
    add(world, call, Subject::ReviewComment(call.number(2)?))
}

fn exists(world: &World, call: &Call, subject: Subject) -> bool {
    world.repo(call.repo).is_some_and(|repo| match subject {
        Subject::Thread(number) => repo.thread(number).is_some(),
        Subject::Comment(id) => repo.comment(id).is_some(),
        Subject::ReviewComment(id) => repo.review_comments.iter().any(|comment| comment.id == id),
    })
}

fn list(world: &World, call: &Call, subject: Subject) -> Outcome {
    if !exists(world, call, subject) {
        return Err(not_found());
    }
    let list = call
        .repo(world)?
        .reactions
        .iter()
        .filter(|reaction| reaction.subject == subject)
        .filter(|reaction| call.query("content").is_none_or(|content| reaction.content == content))
        .map(|reaction| world.reaction_json(reaction))
        .collect();
    Ok(call.page(world, list))
}

/// 201 for a new one, 200 for one that is there.
fn add(world: &mut World, call: &Call, subject: Subject) -> Outcome {
    if !exists(world, call, subject) {
        return Err(not_found());
    }
    let content = call.required("Reaction", "content")?;
    if !CONTENTS.contains(&content) {
        return Err(invalid("Reaction", "content", "invalid"));
    }
    let actor = call.actor(world)?;
    let (reaction, new) = world.react(call.repo, subject, actor.user, content).ok_or_else(not_found)?;
    Ok(Answer::json(if new { 201 } else { 200 }, world.reaction_json(&reaction)))
}

fn remove(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(3)?;
    let actor = call.actor(world)?;
    let repo = world.repo_mut(call.repo).ok_or_else(not_found)?;
    let before = repo.reactions.len();
    repo.reactions.retain(|reaction| reaction.id != id || reaction.user != actor.user);
    if repo.reactions.len() == before {
        return Err(not_found());
    }
    Ok(Answer::empty(204))
}
