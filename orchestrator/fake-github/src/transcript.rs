//! An issue as text, for snapshots: who said what, with reactions. Nothing in it changes from run to run but what the
//! comments themselves say.

use jiff::Timestamp;

use crate::fake::{FakeGithub, broken};
use crate::seed::known_repo;
use crate::state::{Repo, Subject, Thread, World};

impl FakeGithub {
    /// The issue or pull request as a reader sees it, in the order things were said.
    #[track_caller]
    pub fn transcript(&self, repo: &str, number: u64) -> String {
        self.shared().with(|world| {
            let id = known_repo(world, repo);
            let text = world.repo(id).and_then(|repo| Some(render(world, repo, repo.thread(number)?)));
            text.unwrap_or_else(|| broken(&format!("{repo} has no issue or pull request {number}")))
        })
    }
}

fn render(world: &World, repo: &Repo, thread: &Thread) -> String {
    let kind = if thread.pull.is_some() { "Pull request" } else { "Issue" };
    let mut state = match &thread.pull {
        Some(pull) if pull.merged_at.is_some() => "merged".to_owned(),
        Some(pull) if pull.draft && thread.open => "draft".to_owned(),
        Some(_) | None => if thread.open { "open" } else { "closed" }.to_owned(),
    };
    for label in &thread.labels {
        state.push_str(&format!(", {label}"));
    }
    let mut text = format!("{kind} #{}: {} [{state}]\n", thread.number, thread.title);
    if let Some(pull) = &thread.pull {
        text.push_str(&format!(
            "{}:{} -> {}\n",
            world.login(Some(pull.head_owner)),
            pull.head_ref,
            pull.base_ref
        ));
    }
    let mut said: Vec<(Timestamp, u64, String)> = vec![(
        thread.created_at,
        thread.id,
        entry(
            &who(world, repo, thread.author, thread.edits, Subject::Thread(thread.number), ""),
            thread.body.as_deref().unwrap_or_default(),
        ),
    )];
    for comment in repo.comments.iter().filter(|comment| comment.number == thread.number) {
        let who = who(world, repo, comment.author, comment.edits, Subject::Comment(comment.id), "");
        said.push((comment.created_at, comment.id, entry(&who, &comment.body)));
    }
    for review in repo.reviews.iter().filter(|review| review.number == thread.number) {
        // The review that a lone comment on a line makes says nothing itself.
        if review.state == "COMMENTED" && review.body.is_none() {
            continue;
        }
        let verb = review.state.to_lowercase().replace('_', " ");
        let who = format!("{} ({verb})", world.login(review.author));
        said.push((review.submitted_at, review.id, entry(&who, review.body.as_deref().unwrap_or_default())));
    }
    for comment in repo.review_comments.iter().filter(|comment| comment.number == thread.number) {
        let place = format!(" on {}:{}", comment.path, comment.line);
        let who = who(world, repo, comment.author, comment.edits, Subject::ReviewComment(comment.id), &place);
        said.push((comment.created_at, comment.id, entry(&who, &comment.body)));
    }
    said.sort_by_key(|(at, id, _)| (*at, *id));
    for (_, _, entry) in said {
        text.push('\n');
        text.push_str(&entry);
    }
    text
}

fn who(world: &World, repo: &Repo, author: Option<u64>, edits: u32, subject: Subject, place: &str) -> String {
    let mut who = format!("{}{place}", world.login(author));
    if edits > 0 {
        who.push_str(&format!(" (edited {edits}x)"));
    }
    let reactions = repo.reactions.iter().filter(|reaction| reaction.subject == subject);
    let shown: Vec<String> = reactions
        .map(|reaction| format!("{} by {}", reaction.content, world.login(Some(reaction.user))))
        .collect();
    if !shown.is_empty() {
        who.push_str(&format!(" [{}]", shown.join(", ")));
    }
    who
}

/// One line after the name when it is one, else an indented block.
fn entry(who: &str, body: &str) -> String {
    let body = body.trim_end().replace("\r\n", "\n");
    if body.contains('\n') {
        let lines: Vec<String> = body.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
        format!("{who}:\n{}\n", lines.join("\n"))
    } else {
        format!("{who}: {body}").trim_end().to_owned() + "\n"
    }
}
