//! GitHub's own sample payloads: each is read, and ours mean what they should.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use cloud_code_intake::{Happening, InstallationChange, SaidAt, Verdict, read};
use serde_json::Value;

const FILE: &str = "webhooks-examples-7.6.1.json";

fn samples() -> Vec<(String, Vec<Value>)> {
    let folder = std::env::var_os("CLOUD_CODE_THIRD_PARTY").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/third-party"),
        PathBuf::from,
    );
    let file = folder.join(FILE);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}\nhint: orchestrator/fake-github/fetch.sh", file.display())
    });
    let events: Value = serde_json::from_str(&text).unwrap();
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| {
            let examples = event["examples"].as_array().unwrap().clone();
            (event["name"].as_str().unwrap().to_owned(), examples)
        })
        .collect()
}

fn name(happening: &Happening) -> &'static str {
    match happening {
        Happening::Said(said) => match said.at {
            SaidAt::Opening => "said: opening",
            SaidAt::Comment { .. } => "said: comment",
            SaidAt::Review { verdict: Verdict::Approved, .. } => "said: review, approved",
            SaidAt::Review { verdict: Verdict::ChangesRequested, .. } => "said: review, changes requested",
            SaidAt::Review { verdict: Verdict::Commented, .. } => "said: review, commented",
            SaidAt::Line { .. } => "said: line",
        },
        Happening::Labeled { .. } => "labeled",
        Happening::Unlabeled { .. } => "unlabeled",
        Happening::Assigned { .. } => "assigned",
        Happening::Unassigned { .. } => "unassigned",
        Happening::IssueClosed(_) => "issue closed",
        Happening::IssueReopened(_) => "issue reopened",
        Happening::IssueDeleted(_) => "issue deleted",
        Happening::IssueTransferred(_) => "issue transferred",
        Happening::IssueEdited(_) => "issue edited",
        Happening::CommentEdited { .. } => "comment edited",
        Happening::CommentDeleted { .. } => "comment deleted",
        Happening::LineEdited { .. } => "line edited",
        Happening::LineDeleted { .. } => "line deleted",
        Happening::ReviewEdited { .. } => "review edited",
        Happening::ReviewDismissed { .. } => "review dismissed",
        Happening::PullClosed { .. } => "pull closed",
        Happening::PullReopened { .. } => "pull reopened",
        Happening::PullSynchronized { .. } => "pull synchronized",
        Happening::PullReadyForReview { .. } => "pull ready",
        Happening::PullEdited(_) => "pull edited",
        Happening::ChecksCompleted { .. } => "checks completed",
        Happening::Pushed { .. } => "pushed",
        Happening::RepositoryRenamed => "repository renamed",
        Happening::RepositoryArchived => "repository archived",
        Happening::RepositoryUnarchived => "repository unarchived",
        Happening::RepositoryTransferred => "repository transferred",
        Happening::RepositoryDeleted => "repository deleted",
        Happening::RepositoryPrivatized => "repository privatized",
        Happening::RepositoryPublicized => "repository publicized",
        Happening::Installation { change, .. } => match change {
            InstallationChange::Created => "installation created",
            InstallationChange::Deleted => "installation deleted",
            InstallationChange::Suspended => "installation suspended",
            InstallationChange::Unsuspended => "installation unsuspended",
            InstallationChange::NewPermissions => "installation permissions",
        },
        Happening::InstallationRepositories { .. } => "installation repositories",
        Happening::Ping => "ping",
        Happening::Ignored { .. } => "ignored",
    }
}

#[test]
fn every_sample_of_every_event_is_read() {
    let samples = samples();
    let mut count = 0;
    for (event, examples) in &samples {
        for (index, example) in examples.iter().enumerate() {
            let body = serde_json::to_vec(example).unwrap();
            let notice = read(event, &body).unwrap_or_else(|error| panic!("{event} {index}: {error}"));
            assert_eq!(
                notice.installation,
                example["installation"]["id"].as_u64(),
                "the installation of {event} {index}"
            );
            assert_eq!(
                notice.sender.map(|sender| sender.actor.id),
                example["sender"]["id"].as_u64(),
                "the sender of {event} {index}"
            );
            assert_eq!(
                notice.repository.map(|repository| repository.id),
                example["repository"]["id"].as_u64(),
                "the repository of {event} {index}"
            );
            count += 1;
        }
    }
    assert_eq!((samples.len(), count), (58, 329));
}

#[test]
fn each_event_of_ours_means_what_it_says() {
    let mut seen: BTreeMap<String, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for (event, examples) in samples() {
        for example in &examples {
            let notice = read(&event, &serde_json::to_vec(example).unwrap()).unwrap();
            let name = name(&notice.happening);
            if name == "ignored" {
                continue;
            }
            let key = match example["action"].as_str() {
                Some(action) => format!("{event}.{action}"),
                None => event.clone(),
            };
            *seen.entry(key).or_default().entry(name).or_default() += 1;
        }
    }
    let table: Vec<String> = seen
        .iter()
        .map(|(event, names)| {
            let names: Vec<_> = names.iter().map(|(name, count)| format!("{count} {name}")).collect();
            format!("{event}: {}", names.join(", "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    check_suite.completed: 4 checks completed
    installation.created: 2 installation created
    installation.deleted: 2 installation deleted
    installation.new_permissions_accepted: 1 installation permissions
    installation.suspend: 1 installation suspended
    installation.unsuspend: 1 installation unsuspended
    installation_repositories.added: 2 installation repositories
    installation_repositories.removed: 1 installation repositories
    issue_comment.created: 5 said: comment
    issue_comment.deleted: 2 comment deleted
    issue_comment.edited: 2 comment edited
    issues.assigned: 3 assigned
    issues.deleted: 1 issue deleted
    issues.edited: 3 issue edited
    issues.labeled: 2 labeled
    issues.opened: 3 said: opening
    issues.reopened: 1 issue reopened
    issues.transferred: 1 issue transferred
    issues.unassigned: 2 unassigned
    issues.unlabeled: 2 unlabeled
    ping: 4 ping
    pull_request.assigned: 2 assigned
    pull_request.closed: 2 pull closed
    pull_request.labeled: 2 labeled
    pull_request.opened: 4 said: opening
    pull_request.ready_for_review: 3 pull ready
    pull_request.reopened: 2 pull reopened
    pull_request.synchronize: 1 pull synchronized
    pull_request.unassigned: 2 unassigned
    pull_request.unlabeled: 2 unlabeled
    pull_request_review.dismissed: 1 review dismissed
    pull_request_review.submitted: 3 said: review, commented
    pull_request_review_comment.created: 3 said: line
    pull_request_review_comment.deleted: 1 line deleted
    pull_request_review_comment.edited: 1 line edited
    push: 2 pushed
    repository.privatized: 2 repository privatized
    repository.publicized: 3 repository publicized
    repository.renamed: 1 repository renamed
    repository.transferred: 3 repository transferred
    ");
}
