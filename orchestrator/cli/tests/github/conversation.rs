//! What people say, and what comes back.

use crate::stage::{SHOP, Stage};

#[test]
fn a_comment_becomes_a_pull_request() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let body = "Counting is broken.\n\n## Acceptance Criteria\n\n- [ ] The count grows\n\n## Related Files\n\n- count.txt\n";
    let issue = alice.opens_issue(SHOP, "Count once more", body);
    let comment = alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");

    assert_eq!(stage.github.comment_reactions(SHOP, comment), [("cloud-code[bot]".into(), "eyes".into())]);
    let pulls = stage.github.pull_requests(SHOP);
    assert_eq!(pulls.len(), 1, "{pulls:#?}");
    let pull = &pulls[0];
    assert_eq!((pull.title.as_str(), pull.base.as_str(), pull.draft), ("Count once more", "main", false));
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(pull.head, format!("acme:{branch}"));
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("1\n"));
    assert!(pull.body.contains(&format!("Fixes #{issue}")), "{}", pull.body);
    assert!(pull.body.contains("- [x] The count grows"), "{}", pull.body);
    let status = stage.status(issue);
    assert!(status.contains(&format!("| Pull request | #{} |", pull.number)), "{status}");
    let prompts = stage.prompts();
    assert_eq!(prompts.len(), 1);
    for part in ["# Count once more", "Counting is broken.", "- The count grows", "- count.txt"] {
        assert!(prompts[0].contains(part), "{part:?} is missing in:\n{}", prompts[0]);
    }
    stage.holds();
}
