//! Reviews and comments on lines.

use serde_json::Value;

use crate::answer::{Answer, Outcome, invalid, not_found};
use crate::call::Call;
use crate::router::{Route, route};
use crate::state::{ReviewComment, World};

use super::pulls::found;
use super::{READS_PULLS, SAYS_ON_PULLS, check_length};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", READS_PULLS, reviews),
    route("POST", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews", SAYS_ON_PULLS, review),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}", READS_PULLS, get_review),
    route(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}/comments",
        READS_PULLS,
        of_review,
    ),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/comments", READS_PULLS, list),
    route("POST", "/repos/{owner}/{repo}/pulls/{pull_number}/comments", SAYS_ON_PULLS, create),
    route(
        "POST",
        "/repos/{owner}/{repo}/pulls/{pull_number}/comments/{comment_id}/replies",
        SAYS_ON_PULLS,
        reply,
    ),
    route("GET", "/repos/{owner}/{repo}/pulls/comments", READS_PULLS, list_all),
    route("GET", "/repos/{owner}/{repo}/pulls/comments/{comment_id}", READS_PULLS, get),
    route("PATCH", "/repos/{owner}/{repo}/pulls/comments/{comment_id}", SAYS_ON_PULLS, update),
];

fn reviews(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let number = call.number(2)?;
    found(repo, number)?;
    let reviews = repo.reviews.iter().filter(|review| review.number == number);
    let list = reviews.map(|review| world.review_json(repo, review)).collect();
    Ok(call.page(world, list))
}

fn get_review(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let (number, id) = (call.number(2)?, call.number(3)?);
    let review = repo.reviews.iter().find(|review| review.id == id && review.number == number);
    Ok(Answer::ok(world.review_json(repo, review.ok_or_else(not_found)?)))
}

/// Without an event GitHub leaves the review pending; the fake has no pending reviews and asks for one.
fn review(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    found(call.repo(world)?, number)?;
    let state = match call.text("event") {
        Some("APPROVE") => "APPROVED",
        Some("REQUEST_CHANGES") => "CHANGES_REQUESTED",
        Some("COMMENT") => "COMMENTED",
        _ => return Err(invalid("PullRequestReview", "event", "missing_field")),
    };
    check_length("PullRequestReview", call.text("body"))?;
    let actor = call.actor(world)?;
    let id = world.add_review(call.repo, number, actor, state, call.text("body")).ok_or_else(not_found)?;
    let repo = call.repo(world)?;
    let review = repo.reviews.iter().find(|review| review.id == id).ok_or_else(not_found)?;
    Ok(Answer::ok(world.review_json(repo, review)))
}

fn shown(world: &World, call: &Call, keep: impl Fn(&ReviewComment) -> bool) -> Outcome {
    let repo = call.repo(world)?;
    let list = repo
        .review_comments
        .iter()
        .filter(|comment| keep(comment))
        .map(|comment| world.review_comment_json(repo, comment))
        .collect();
    Ok(call.page(world, list))
}

fn list(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    found(call.repo(world)?, number)?;
    let since = call.since()?;
    shown(world, call, |comment| {
        comment.number == number && since.is_none_or(|since| comment.updated_at >= since)
    })
}

fn of_review(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(3)?;
    shown(world, call, |comment| comment.review == id)
}

fn list_all(world: &mut World, call: &Call) -> Outcome {
    let since = call.since()?;
    shown(world, call, |comment| since.is_none_or(|since| comment.updated_at >= since))
}

fn one(world: &World, call: &Call, id: u64) -> Outcome {
    let repo = call.repo(world)?;
    let comment = repo.review_comments.iter().find(|comment| comment.id == id).ok_or_else(not_found)?;
    Ok(Answer::ok(world.review_comment_json(repo, comment)))
}

fn get(world: &mut World, call: &Call) -> Outcome {
    one(world, call, call.number(2)?)
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    found(call.repo(world)?, number)?;
    let body = call.required("PullRequestReviewComment", "body")?;
    check_length("PullRequestReviewComment", Some(body))?;
    let path = call.required("PullRequestReviewComment", "path")?;
    call.required("PullRequestReviewComment", "commit_id")?;
    let line = call.body.get("line").and_then(Value::as_u64).unwrap_or(1);
    let actor = call.actor(world)?;
    let id =
        world.add_review_comment(call.repo, number, actor, (path, line), body, None).ok_or_else(not_found)?;
    one(world, call, id).map(|answer| Answer { status: 201, ..answer })
}

fn reply(world: &mut World, call: &Call) -> Outcome {
    let (number, to) = (call.number(2)?, call.number(3)?);
    let body = call.required("PullRequestReviewComment", "body")?;
    check_length("PullRequestReviewComment", Some(body))?;
    let repo = call.repo(world)?;
    let first = repo.review_comments.iter().find(|comment| comment.id == to && comment.number == number);
    let (path, line) = first.map(|comment| (comment.path.clone(), comment.line)).ok_or_else(not_found)?;
    let actor = call.actor(world)?;
    let id = world
        .add_review_comment(call.repo, number, actor, (&path, line), body, Some(to))
        .ok_or_else(not_found)?;
    one(world, call, id).map(|answer| Answer { status: 201, ..answer })
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    let body = call.required("PullRequestReviewComment", "body")?;
    check_length("PullRequestReviewComment", Some(body))?;
    let actor = call.actor(world)?;
    world.edit_review_comment(call.repo, id, actor, body).ok_or_else(not_found)?;
    one(world, call, id)
}
