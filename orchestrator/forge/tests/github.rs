//! Stories with a GitHub that keeps state, loses answers, and holds every request against GitHub's own description.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_code_fake_github::{AppSeed, FakeGithub, Fault, MergeRules, RepoSeed, Role};
use cloud_code_forge::{
    Access, CheckFacts, CheckHandle, CheckSpec, CheckStatus, Conclusion, Credentials, Forge, ForgeError,
    Github, HookOwner, LabelSpec, ManifestSpec, Marker, Merged, Permission, Priority, PullNote, PullSpec,
    PullState, PullUpdate, Readiness, RecentComment, ReviewState, convert_manifest, manifest,
};
use cloud_code_model::{Actor, MergeMethod, Place};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

const SHOP: &str = "acme/shop";
const BRANCH: &str = "cloud-code/issue-1";

/// A GitHub with a shop, an issue of Alice's, and our App installed.
struct World {
    fake: FakeGithub,
    app: u64,
    issue: u64,
}

impl World {
    async fn new() -> Self {
        Self::with(RepoSeed::new(SHOP)).await
    }

    async fn with(shop: RepoSeed) -> Self {
        let fake = FakeGithub::start().await;
        fake.repo(shop.collaborator("alice", Role::Write).file("docs/note.md", "hello\n"));
        let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
        let issue = fake.user("alice").opens_issue(SHOP, "The sum is wrong", "Please mend it.");
        Self { fake, app, issue }
    }

    fn github(&self) -> Github {
        let credentials = Credentials::App { id: self.app, private_key: self.fake.app_key().into() };
        Github::connect(common::config(self.fake.api_url(), credentials)).unwrap()
    }

    async fn forge(&self) -> Arc<dyn Forge> {
        self.github().repository(&SHOP.parse().unwrap()).await.unwrap()
    }

    async fn as_token_of(&self, login: &str) -> Arc<dyn Forge> {
        let credentials = Credentials::Token(self.fake.token(login).into());
        let github = Github::connect(common::config(self.fake.api_url(), credentials)).unwrap();
        github.repository(&SHOP.parse().unwrap()).await.unwrap()
    }

    /// How often something was sent.
    fn sent(&self, method: &str, path_end: &str) -> usize {
        let requests = self.fake.requests();
        requests.iter().filter(|seen| seen.method == method && seen.path.ends_with(path_end)).count()
    }

    fn push(&self) -> String {
        self.fake.user("alice").pushes(SHOP, BRANCH, "src/sum.rs", "fn sum() {}\n")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fake.violations(), Vec::<String>::new());
            assert_eq!(self.fake.faults_waiting(), 0, "a planned fault did not happen");
        }
    }
}

fn marker(name: &str) -> Marker {
    Marker::new(name).unwrap()
}

fn spec(draft: bool) -> PullSpec {
    PullSpec {
        branch: BRANCH.to_owned(),
        base: "main".to_owned(),
        title: "Mend the sum".to_owned(),
        body: "Fixes #1".to_owned(),
        draft,
        marker: marker("pull-1"),
        reviewers: Vec::new(),
        labels: Vec::new(),
    }
}

#[tokio::test]
async fn the_app_knows_itself_and_its_place() {
    let world = World::new().await;
    let forge = world.forge().await;
    let identity = forge.identity().await.unwrap();
    assert_eq!((identity.actor.login.as_str(), identity.app_id), ("cloud-code[bot]", Some(world.app)));
    assert_eq!(identity.mention, "cloud-code");
    let facts = forge.repository().await.unwrap();
    assert_eq!((facts.name.to_string().as_str(), facts.default_branch.as_str()), (SHOP, "main"));
    assert_eq!((facts.grants.contents, facts.grants.workflows), (Access::Write, Access::None));
    let issue = forge.issue(world.issue).await.unwrap();
    assert_eq!((issue.title.as_str(), issue.author.unwrap().login.as_str()), ("The sum is wrong", "alice"));
    assert!(matches!(forge.issue(999).await, Err(ForgeError::NotFound { .. })));
    assert_eq!(forge.file("docs/note.md", "main").await.unwrap().as_deref(), Some("hello\n"));
    assert_eq!(forge.file("docs", "main").await.unwrap(), None);
    assert_eq!(forge.file("docs/none.md", "main").await.unwrap(), None);
    assert_eq!(forge.branch("none/such").await.unwrap(), None);
    let sha = world.push();
    assert_eq!(forge.branch(BRANCH).await.unwrap().unwrap().sha, sha);
}

#[tokio::test]
async fn a_comment_is_written_once_and_edited_in_place() {
    let world = World::new().await;
    let forge = world.forge().await;
    let status = marker("status-1");
    let first = forge.put_comment(world.issue, &status, None, "Working.", Priority::Progress).await.unwrap();
    let known =
        forge.put_comment(world.issue, &status, Some(first.id), "Still.", Priority::Progress).await.unwrap();
    // After a restart nobody remembers the id.
    let found = world
        .forge()
        .await
        .put_comment(world.issue, &status, None, "Done.", Priority::Terminal)
        .await
        .unwrap();
    assert_eq!((first.id, first.id), (known.id, found.id));
    let comments = world.fake.comments(SHOP, world.issue);
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].body, "Done.\n\n<!-- cloud-code:status-1 -->");
    assert_eq!(world.sent("POST", "/comments"), 1);
}

#[tokio::test]
async fn somebody_elses_copy_of_our_marker_is_not_ours() {
    let world = World::new().await;
    world.fake.user("mallory").comments_on(SHOP, world.issue, "Ha.\n\n<!-- cloud-code:status-1 -->");
    let forge = world.forge().await;
    forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Progress).await.unwrap();
    let authors: Vec<_> =
        world.fake.comments(SHOP, world.issue).into_iter().map(|comment| comment.author).collect();
    assert_eq!(authors, ["mallory", "cloud-code[bot]"]);
}

#[tokio::test]
async fn a_deleted_comment_is_written_anew() {
    let world = World::new().await;
    let forge = world.forge().await;
    let status = marker("status-1");
    let first = forge.put_comment(world.issue, &status, None, "Working.", Priority::Progress).await.unwrap();
    world.fake.user("acme").deletes_comment(SHOP, first.id);
    let second =
        forge.put_comment(world.issue, &status, Some(first.id), "Done.", Priority::Terminal).await.unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(world.fake.comments(SHOP, world.issue).len(), 1);
}

#[tokio::test]
async fn a_lost_answer_leaves_one_comment() {
    for fault in [Fault::EffectThenCut, Fault::EffectThenStatus(502), Fault::Truncated] {
        let world = World::new().await;
        let forge = world.forge().await;
        world.fake.fault("POST", "/repos/acme/shop/issues/*/comments", fault.clone());
        forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Reply).await.unwrap();
        assert_eq!(world.fake.comments(SHOP, world.issue).len(), 1, "{fault:?}");
        assert_eq!(world.sent("POST", "/comments"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_never_arrived_is_written_after_a_look() {
    for fault in [Fault::Cut, Fault::Status(503)] {
        let world = World::new().await;
        let forge = world.forge().await;
        world.fake.fault("POST", "/repos/acme/shop/issues/*/comments", fault.clone());
        forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Reply).await.unwrap();
        assert_eq!(world.fake.comments(SHOP, world.issue).len(), 1, "{fault:?}");
        let order: Vec<String> = world
            .fake
            .requests()
            .into_iter()
            .filter(|seen| seen.path.ends_with("/comments"))
            .map(|seen| seen.method)
            .collect();
        assert_eq!(order, ["GET", "POST", "GET", "POST"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_token_that_expires_on_the_way_is_replaced_once() {
    let world = World::new().await;
    let forge = world.forge().await;
    forge.identity().await.unwrap();
    let before = world.sent("POST", "/access_tokens");
    world.fake.fault("POST", "/repos/acme/shop/issues/*/comments", Fault::TokenExpired);
    forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Reply).await.unwrap();
    assert_eq!(world.sent("POST", "/access_tokens"), before + 1);
    assert_eq!(world.fake.comments(SHOP, world.issue).len(), 1);
}

#[tokio::test]
async fn the_secondary_limit_is_waited_out_as_told() {
    let world = World::new().await;
    let forge = world.forge().await;
    let limit = Fault::SecondaryLimit { status: 403, retry_after: Some(1) };
    world.fake.fault("POST", "/repos/acme/shop/issues/*/comments", limit);
    let start = Instant::now();
    forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Reply).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(world.fake.comments(SHOP, world.issue).len(), 1);
    // A long one is told at once, and nothing is sent meanwhile.
    let limit = Fault::SecondaryLimit { status: 429, retry_after: Some(600) };
    world.fake.fault("POST", "/repos/acme/shop/issues/*/comments", limit);
    let start = Timestamp::now();
    let limited = forge.put_comment(world.issue, &marker("other"), None, "Hello.", Priority::Reply).await;
    let Err(ForgeError::Limited { until }) = limited else { panic!("{limited:?}") };
    let wait = until.duration_since(start).as_secs();
    assert!((595..=605).contains(&wait), "{wait}");
    let sent = world.fake.requests().len();
    let limited = forge.issue(world.issue).await;
    assert!(matches!(limited, Err(ForgeError::Limited { .. })), "{limited:?}");
    assert_eq!(world.fake.requests().len(), sent);
}

#[tokio::test]
async fn a_used_up_hour_is_told_with_its_end() {
    let world = World::new().await;
    let forge = world.forge().await;
    world.fake.fault(
        "GET",
        "/repos/acme/shop/issues/*",
        Fault::PrimaryLimit { reset_in: Duration::from_secs(900) },
    );
    let limited = forge.issue(world.issue).await;
    assert!(matches!(limited, Err(ForgeError::Limited { .. })), "{limited:?}");
}

#[tokio::test]
async fn permissions_are_read_as_github_writes_them() {
    let world = World::new().await;
    for (login, role) in [
        ("root", Role::Admin),
        ("keeper", Role::Maintain),
        ("writer", Role::Write),
        ("sorter", Role::Triage),
        ("reader", Role::Read),
    ] {
        world.fake.set_role(SHOP, login, role);
    }
    let forge = world.forge().await;
    let mut seen = Vec::new();
    for login in ["root", "keeper", "writer", "sorter", "reader"] {
        let actor = Actor { id: world.fake.user(login).id(), login: login.to_owned() };
        seen.push(forge.permission(&actor).await.unwrap().permission);
    }
    use Permission::{Admin, Read, Write};
    assert_eq!(seen, [Admin, Write, Write, Read, Read]);
    let ghost = Actor { id: 4_000_000, login: "nobody-at-all".to_owned() };
    assert_eq!(forge.permission(&ghost).await.unwrap().permission, Permission::None);
    // The login is somebody else's by now.
    let former = Actor { id: 4_000_000, login: "root".to_owned() };
    assert_eq!(forge.permission(&former).await.unwrap().permission, Permission::None);
    // Asked again within the minute, GitHub is not.
    let root = Actor { id: world.fake.user("root").id(), login: "root".to_owned() };
    let asked = world.sent("GET", "/collaborators/root/permission");
    forge.permission(&root).await.unwrap();
    assert_eq!(world.sent("GET", "/collaborators/root/permission"), asked);
}

#[tokio::test]
async fn an_installation_reads_beyond_the_first_page() {
    let world = World::with(RepoSeed::new(SHOP).private()).await;
    let alice = world.fake.user("alice");
    for number in 0..103 {
        alice.comments_on(SHOP, world.issue, &format!("comment {number}"));
    }
    let forge = world.forge().await;
    let comments = forge.comments(world.issue, None).await.unwrap();
    assert_eq!(comments.len(), 103);
    assert_eq!(comments.last().unwrap().body, "comment 102");
}

#[tokio::test]
async fn one_pull_request_whatever_is_lost() {
    for fault in [Fault::EffectThenCut, Fault::EffectThenStatus(502), Fault::Cut] {
        let world = World::new().await;
        world.push();
        let forge = world.forge().await;
        world.fake.fault("POST", "/repos/acme/shop/pulls", fault.clone());
        let put = forge.put_pull(&spec(true)).await.unwrap();
        assert_eq!((put.pull.state, put.pull.draft, put.created), (PullState::Open, true, true), "{fault:?}");
        assert_eq!(world.fake.pull_requests(SHOP).len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_pull_request_that_is_there_is_adopted() {
    let world = World::new().await;
    world.push();
    let number = world.fake.user("alice").opens_pull_request(SHOP, BRANCH, "main", "By hand", "");
    let put = world.forge().await.put_pull(&spec(false)).await.unwrap();
    assert_eq!((put.pull.number, put.created, put.pull.title.as_str()), (number, false, "By hand"));
    assert_eq!(world.sent("POST", "/pulls"), 0);
}

#[tokio::test]
async fn refused_wishes_about_a_pull_request_are_told_and_not_failed_for() {
    let world = World::with(RepoSeed::new(SHOP).private().refuses_drafts()).await;
    world.push();
    let forge = world.forge().await;
    let wishes = PullSpec {
        reviewers: vec!["alice".to_owned(), "stranger".to_owned()],
        labels: vec!["made by a machine".to_owned()],
        ..spec(true)
    };
    let put = forge.put_pull(&wishes).await.unwrap();
    assert!(!put.pull.draft);
    assert_eq!(put.notes[0], PullNote::NoDraft);
    assert!(
        matches!(&put.notes[1], PullNote::Reviewers { refused, .. } if refused == &["stranger"]),
        "{:?}",
        put.notes
    );
    let seen = &world.fake.pull_requests(SHOP)[0];
    assert_eq!(seen.reviewers, ["alice"]);
    assert!(seen.body.ends_with("<!-- cloud-code:pull-1 -->"));
    assert_eq!(world.fake.labels(SHOP, put.pull.number), ["made by a machine"]);
}

#[tokio::test]
async fn nothing_to_merge_is_its_own_answer() {
    let world = World::new().await;
    let forge = world.forge().await;
    let main = forge.branch("main").await.unwrap().unwrap();
    world.push();
    world.fake.user("alice").force_pushes(SHOP, BRANCH, &main.sha);
    assert_eq!(forge.put_pull(&spec(false)).await, Err(ForgeError::NothingToMerge));
}

#[tokio::test]
async fn a_pull_request_is_found_and_changed() {
    let world = World::new().await;
    let sha = world.push();
    let forge = world.forge().await;
    assert_eq!(forge.find_pull(BRANCH).await.unwrap(), None);
    let number = forge.put_pull(&spec(false)).await.unwrap().pull.number;
    let found = forge.find_pull(BRANCH).await.unwrap().unwrap();
    assert_eq!((found.number, found.head_sha, found.same_repository), (number, sha, true));
    let update = PullUpdate {
        title: Some("Mend\nit".to_owned()),
        body: Some(("Now with tests.".to_owned(), marker("pull-1"))),
        ready: false,
    };
    let changed = forge.update_pull(number, &update).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.body.lines().next()), ("Mend it", Some("Now with tests.")));
    world.fake.user("acme").merges(SHOP, number);
    assert_eq!(forge.find_pull(BRANCH).await.unwrap().unwrap().state, PullState::Merged);
}

/// A pull request of ours, with the commit it stands at.
async fn opened(world: &World, forge: &dyn Forge) -> (u64, String) {
    let sha = world.push();
    (forge.put_pull(&spec(false)).await.unwrap().pull.number, sha)
}

#[tokio::test]
async fn one_merge_of_one_commit_whatever_is_lost() {
    for method in [MergeMethod::Merge, MergeMethod::Squash, MergeMethod::Rebase] {
        for fault in [None, Some(Fault::EffectThenCut), Some(Fault::EffectThenStatus(502))] {
            let world = World::new().await;
            let forge = world.forge().await;
            let (number, sha) = opened(&world, forge.as_ref()).await;
            if let Some(fault) = fault {
                world.fake.fault("PUT", "**/merge", fault);
            }
            assert_eq!(forge.merge_pull(number, &sha, method).await.unwrap(), Merged::Done);
            assert_eq!(forge.merge_pull(number, &sha, method).await.unwrap(), Merged::Done, "done is done");
            let pull = forge.pull(number).await.unwrap();
            let us = forge.identity().await.unwrap().actor;
            assert_eq!((pull.state, pull.merged_by), (PullState::Merged, Some(us)));
            assert!(world.fake.file(SHOP, "main", "src/sum.rs").is_some());
            let joined = usize::from(method == MergeMethod::Merge);
            assert_eq!(world.fake.history(SHOP, "main").len(), 2 + joined, "{method:?}");
        }
    }
}

#[tokio::test]
async fn a_merge_that_failed_before_its_effect_is_for_the_caller_to_repeat() {
    let world = World::new().await;
    let forge = world.forge().await;
    let (number, sha) = opened(&world, forge.as_ref()).await;
    world.fake.fault("PUT", "**/merge", Fault::Status(502));
    let failed = forge.merge_pull(number, &sha, MergeMethod::Merge).await.unwrap_err();
    assert!(failed.is_transient(), "{failed}");
    assert_eq!((forge.pull(number).await.unwrap().state, world.sent("PUT", "/merge")), (PullState::Open, 1));
}

#[tokio::test]
async fn refusals_to_merge_are_told_apart() {
    let world = World::new().await;
    let forge = world.forge().await;
    let (number, sha) = opened(&world, forge.as_ref()).await;
    let merge = async |sha: &str, rules: MergeRules| {
        world.fake.rule_merges(SHOP, rules);
        forge.merge_pull(number, sha, MergeMethod::Merge).await.unwrap()
    };
    let other = "0123456789012345678901234567890123456789";
    assert_eq!(merge(other, MergeRules::default()).await, Merged::HeadMoved);
    let queue = merge(&sha, MergeRules { queue: true, ..MergeRules::default() }).await;
    assert!(matches!(&queue, Merged::Queue { message } if message.contains("merge queue")), "{queue:?}");
    let method =
        merge(&sha, MergeRules { methods: vec!["squash".to_owned()], ..MergeRules::default() }).await;
    assert!(
        matches!(&method, Merged::MethodRefused { message } if message.contains("Merge commits")),
        "{method:?}"
    );
    let review = merge(&sha, MergeRules { approvals: 1, ..MergeRules::default() }).await;
    assert!(
        matches!(&review, Merged::Refused { message } if message.contains("approving review")),
        "{review:?}"
    );
    assert_eq!(forge.pull(number).await.unwrap().readiness, Readiness::Blocked);
    let check = merge(&sha, MergeRules { checks: vec!["ci".to_owned()], ..MergeRules::default() }).await;
    assert!(matches!(&check, Merged::Refused { message } if message.contains("\"ci\"")), "{check:?}");
    world.fake.rule_merges(SHOP, MergeRules::default());
    world.fake.user("alice").pushes(SHOP, "main", "src/sum.rs", "fn other() {}\n");
    assert_eq!(forge.merge_pull(number, &sha, MergeMethod::Merge).await.unwrap(), Merged::Conflict);
}

#[tokio::test]
async fn checks_are_counted_without_our_own() {
    let world = World::new().await;
    let (forge, sha) = (world.forge().await, world.push());
    let own = check(&sha, CheckStatus::InProgress, "Works");
    forge.put_check(&own, None, Priority::Terminal).await.unwrap();
    let none = CheckFacts { is_whole: true, ..CheckFacts::default() };
    assert_eq!(forge.checks(&sha).await.unwrap(), none);
    let alice = world.fake.user("alice");
    alice.sees_check_suite(SHOP, &sha, "pending");
    let test = || vec!["test".to_owned()];
    assert_eq!(forge.checks(&sha).await.unwrap(), CheckFacts { running: test(), ..none.clone() });
    alice.sees_check_suite(SHOP, &sha, "cancelled");
    assert_eq!(forge.checks(&sha).await.unwrap(), CheckFacts { failed: test(), ..none.clone() });
    alice.sees_check_suite(SHOP, &sha, "success");
    assert_eq!(forge.checks(&sha).await.unwrap(), CheckFacts { passed: 1, ..none.clone() });
}

#[tokio::test]
async fn a_token_sees_its_own_status_as_no_check_and_says_what_it_may_not_read() {
    let world = World::new().await;
    let sha = world.push();
    let wide = world.as_token_of("alice").await;
    let own = check(&sha, CheckStatus::InProgress, "Works");
    wide.put_check(&own, None, Priority::Terminal).await.unwrap();
    let none = CheckFacts { is_whole: true, ..CheckFacts::default() };
    assert_eq!(wide.checks(&sha).await.unwrap(), none);
    let permissions = [("contents", "write"), ("pull_requests", "write"), ("statuses", "read")];
    let narrow = Credentials::Token(world.fake.fine_grained_token("alice", &permissions).into());
    let narrow = Github::connect(common::config(world.fake.api_url(), narrow)).unwrap();
    let narrow = narrow.repository(&SHOP.parse().unwrap()).await.unwrap();
    assert_eq!(narrow.checks(&sha).await.unwrap(), CheckFacts::default());
}

fn family() -> Vec<LabelSpec> {
    let label = |name: &str| LabelSpec {
        name: format!("cloud-code: {name}"),
        color: "0e8a16".to_owned(),
        description: format!("cloud-code is {name}"),
    };
    vec![label("queued"), label("working"), label("done")]
}

#[tokio::test]
async fn one_label_of_the_family_stands_and_others_stay() {
    let world = World::new().await;
    world.fake.user("alice").labels(SHOP, world.issue, "bug");
    let forge = world.forge().await;
    for wanted in [Some("cloud-code: queued"), Some("cloud-code: working"), Some("cloud-code: working")] {
        forge.set_labels(world.issue, &family(), wanted, Priority::Progress).await.unwrap();
    }
    assert_eq!(world.fake.labels(SHOP, world.issue), ["bug", "cloud-code: working"]);
    forge.set_labels(world.issue, &family(), None, Priority::Progress).await.unwrap();
    assert_eq!(world.fake.labels(SHOP, world.issue), ["bug"]);
}

#[tokio::test]
async fn two_who_make_the_same_label_at_once_both_succeed() {
    let world = World::new().await;
    let other = world.fake.user("alice").opens_issue(SHOP, "Another", "");
    let (one, two) = (world.forge().await, world.forge().await);
    let family = family();
    let wanted = Some("cloud-code: queued");
    let (first, second) = tokio::join!(
        one.set_labels(world.issue, &family, wanted, Priority::Progress),
        two.set_labels(other, &family, wanted, Priority::Progress),
    );
    first.unwrap();
    second.unwrap();
    assert_eq!(world.fake.labels(SHOP, world.issue), ["cloud-code: queued"]);
    assert_eq!(world.fake.labels(SHOP, other), ["cloud-code: queued"]);
}

#[tokio::test]
async fn reactions_can_be_repeated() {
    let world = World::new().await;
    let comment = world.fake.user("alice").comments_on(SHOP, world.issue, "/cloud-code");
    let forge = world.forge().await;
    world.fake.fault("POST", "**/reactions", Fault::EffectThenStatus(502));
    for _ in 0..2 {
        forge.react(world.issue, &Place::Comment { id: comment }).await.unwrap();
        forge.react(world.issue, &Place::Issue).await.unwrap();
    }
    forge.react(world.issue, &Place::Review { id: 1 }).await.unwrap();
    assert_eq!(world.fake.comment_reactions(SHOP, comment).len(), 1);
    assert_eq!(world.fake.reactions(SHOP, world.issue).len(), 1);
}

#[tokio::test]
async fn a_review_is_read_and_answered_in_its_thread() {
    let world = World::new().await;
    world.push();
    let forge = world.forge().await;
    let number = forge.put_pull(&spec(false)).await.unwrap().pull.number;
    let bob = world.fake.user("bob");
    let thread = bob.review_comment(SHOP, number, "src/sum.rs", 1, "Why?");
    let review = bob.requests_changes(SHOP, number, "Not yet.");
    let seen = forge.review(number, review).await.unwrap();
    assert_eq!((seen.state, seen.body.as_str()), (ReviewState::ChangesRequested, "Not yet."));
    assert!(forge.reviews(number).await.unwrap().iter().any(|known| known.id == review));
    let lines = forge.review_comments(number).await.unwrap();
    assert_eq!((lines[0].id, lines[0].path.as_str(), lines[0].line), (thread, "src/sum.rs", Some(1)));
    world.fake.fault("POST", "**/replies", Fault::EffectThenCut);
    let answer = marker("answer-1");
    let first = forge.put_reply(number, thread, &answer, "Because.", Priority::Reply).await.unwrap();
    let again = forge.put_reply(number, thread, &answer, "Because of this.", Priority::Reply).await.unwrap();
    assert_eq!(first.id, again.id);
    let replies = world.fake.review_comments(SHOP, number);
    let replies: Vec<_> = replies.iter().filter(|comment| comment.in_reply_to == Some(thread)).collect();
    assert_eq!(replies.len(), 1);
    assert!(replies[0].body.starts_with("Because of this."));
}

fn check(sha: &str, status: CheckStatus, title: &str) -> CheckSpec {
    CheckSpec {
        name: "cloud-code".to_owned(),
        head_sha: sha.to_owned(),
        external_id: "task-1".to_owned(),
        status,
        title: title.to_owned(),
        summary: "It runs.".to_owned(),
        details_url: Some("https://agents.example/tasks/1".to_owned()),
    }
}

#[tokio::test]
async fn an_app_writes_one_check_run() {
    let world = World::new().await;
    let sha = world.push();
    let forge = world.forge().await;
    world.fake.fault("POST", "/repos/acme/shop/check-runs", Fault::EffectThenCut);
    let first =
        forge.put_check(&check(&sha, CheckStatus::Queued, "Waits"), None, Priority::Progress).await.unwrap();
    let working = check(&sha, CheckStatus::InProgress, "Works");
    let known = forge.put_check(&working, Some(&first), Priority::Progress).await.unwrap();
    let done = check(&sha, CheckStatus::Completed { conclusion: Conclusion::Success }, "Done");
    let found = forge.put_check(&done, None, Priority::Terminal).await.unwrap();
    assert_eq!((&first, &first), (&known, &found));
    let checks = world.fake.checks(&sha);
    assert_eq!(checks.len(), 1);
    assert_eq!((checks[0].status.as_str(), checks[0].conclusion.as_deref()), ("completed", Some("success")));
}

#[tokio::test]
async fn a_token_writes_a_commit_status_instead() {
    let world = World::new().await;
    let sha = world.push();
    let forge = world.as_token_of("alice").await;
    let done = check(&sha, CheckStatus::Completed { conclusion: Conclusion::Failure }, "Tests fail");
    let handle = forge.put_check(&done, None, Priority::Terminal).await.unwrap();
    assert!(matches!(handle, CheckHandle::Status { .. }));
    let statuses = world.fake.statuses(&sha);
    assert_eq!((statuses[0].context.as_str(), statuses[0].state.as_str()), ("cloud-code", "failure"));
    let failed = forge.failed_checks(&sha).await.unwrap();
    assert_eq!(failed[0].summary, "Tests fail");
}

#[tokio::test]
async fn failed_checks_of_others_are_told_and_ours_are_not() {
    let world = World::new().await;
    let sha = world.push();
    let forge = world.forge().await;
    let own = check(&sha, CheckStatus::Completed { conclusion: Conclusion::Failure }, "Failed");
    forge.put_check(&own, None, Priority::Terminal).await.unwrap();
    assert_eq!(forge.failed_checks(&sha).await.unwrap(), []);
    world.fake.user("alice").sees_check_suite(SHOP, &sha, "failure");
    let other = forge.failed_checks(&sha).await.unwrap();
    assert_eq!(other.len(), 1, "{other:?}");
    assert_ne!(other[0].app_id, Some(world.app));
}

#[tokio::test]
async fn git_gets_a_token_for_this_repository_and_no_more() {
    let world = World::new().await;
    world.fake.repo(RepoSeed::new("acme/vault").private());
    let forge = world.forge().await;
    let id = forge.repository().await.unwrap().id;
    let credential = forge.git_credential().await.unwrap();
    assert_eq!(credential.username, "x-access-token");
    let life = credential.expires_at.unwrap().duration_since(Timestamp::now()).as_mins();
    assert!((50..=61).contains(&life), "{life} minutes");
    let made = world.fake.requests().into_iter().rfind(|seen| seen.path.ends_with("/access_tokens")).unwrap();
    assert_eq!(made.body, serde_json::json!({"repository_ids": [id], "permissions": {"contents": "write"}}));
    // The token opens nothing else.
    let narrow = Credentials::Token(credential.secret.clone());
    let github = Github::connect(common::config(world.fake.api_url(), narrow)).unwrap();
    let vault = github.repository(&"acme/vault".parse().unwrap()).await.err();
    assert!(matches!(vault, Some(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. })), "{vault:?}");
    // And from now on it leaves in no text.
    let text = format!("it is {}", credential.secret.expose_secret());
    forge.put_comment(world.issue, &marker("x"), None, &text, Priority::Reply).await.unwrap();
    assert!(world.fake.comments(SHOP, world.issue)[0].body.starts_with("it is [secret removed]"));
}

#[tokio::test]
async fn two_repositories_of_one_account_share_a_client() {
    let world = World::new().await;
    world.fake.repo(RepoSeed::new("acme/till"));
    let github = world.github();
    let shop = github.repository(&SHOP.parse().unwrap()).await.unwrap();
    let till = github.repository(&"acme/till".parse().unwrap()).await.unwrap();
    let (one, two) = tokio::join!(shop.repository(), till.repository());
    assert_ne!(one.unwrap().id, two.unwrap().id);
    assert_eq!(world.sent("POST", "/access_tokens"), 1);
}

#[tokio::test]
async fn two_accounts_do_not_mix() {
    let world = World::new().await;
    world.fake.repo(RepoSeed::new("bolt/yard").private());
    world.fake.install(world.app, "bolt", None);
    let github = world.github();
    let yard = github.repository(&"bolt/yard".parse().unwrap()).await.unwrap();
    assert_eq!(yard.repository().await.unwrap().name.to_string(), "bolt/yard");
    let shop = github.repository(&SHOP.parse().unwrap()).await.unwrap();
    assert_eq!(shop.repository().await.unwrap().name.to_string(), SHOP);
    assert_eq!(github.installations().await.unwrap().len(), 2);
    world.fake.repo(RepoSeed::new("cave/hole"));
    let missing = github.repository(&"cave/hole".parse().unwrap()).await.err();
    assert!(matches!(missing, Some(ForgeError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let world = World::new().await;
    let forge = world.forge().await;
    forge.identity().await.unwrap();
    world.fake.rename(SHOP, "store");
    forge.put_comment(world.issue, &marker("status-1"), None, "Working.", Priority::Reply).await.unwrap();
    assert_eq!(world.fake.comments("acme/store", world.issue).len(), 1);
    assert_eq!(forge.repository().await.unwrap().name.to_string(), "acme/store");
    let again = world.as_token_of("alice").await;
    assert_eq!(again.repository().await.unwrap().name.to_string(), "acme/store");
}

#[tokio::test]
async fn what_cannot_be_written_says_why() {
    let world = World::new().await;
    let forge = world.forge().await;
    world.fake.archive(SHOP, true);
    assert!(forge.repository().await.unwrap().archived);
    let refused = forge.put_comment(world.issue, &marker("x"), None, "Hello.", Priority::Reply).await;
    assert_eq!(refused, Err(ForgeError::Archived));
    world.fake.archive(SHOP, false);
    world.fake.fault("GET", "/repos/acme/shop/issues/*", Fault::LostAccess);
    assert!(matches!(forge.issue(world.issue).await, Err(ForgeError::NotFound { .. })));
}

#[tokio::test]
async fn a_wrong_key_is_an_auth_error() {
    let world = World::new().await;
    let credentials = Credentials::App { id: world.app + 1000, private_key: world.fake.app_key().into() };
    let github = Github::connect(common::config(world.fake.api_url(), credentials)).unwrap();
    let refused = github.app().await;
    assert!(matches!(refused, Err(ForgeError::Auth { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_is_new_in_the_repository_is_listed() {
    let world = World::new().await;
    let start = world.fake.requests().first().map_or_else(Timestamp::now, |seen| seen.at);
    let start = start.checked_sub(jiff::SignedDuration::from_hours(1)).unwrap();
    let alice = world.fake.user("alice");
    alice.comments_on(SHOP, world.issue, "one");
    world.push();
    let forge = world.forge().await;
    let number = forge.put_pull(&spec(false)).await.unwrap().pull.number;
    alice.review_comment(SHOP, number, "src/sum.rs", 1, "two");
    alice.comments_on(SHOP, number, "three");
    let recent = forge.recent_comments(start).await.unwrap();
    assert!(!recent.more);
    let mut seen: Vec<(u64, bool, &str)> = Vec::new();
    for item in &recent.items {
        seen.push(match item {
            RecentComment::Conversation { number, is_pull_request, comment, .. } => {
                (*number, *is_pull_request, &comment.body)
            }
            RecentComment::Line { number, comment, .. } => (*number, true, &comment.body),
        });
    }
    seen.sort_unstable();
    assert_eq!(seen, [(world.issue, false, "one"), (number, true, "three"), (number, true, "two")]);
    let issues = forge.recent_issues(start).await.unwrap();
    let mut numbers: Vec<_> =
        issues.items.iter().map(|issue| (issue.number, issue.is_pull_request)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [(world.issue, false), (number, true)]);
}

#[tokio::test]
async fn the_delivery_log_is_read_and_asked_again() {
    let world = World::new().await;
    let github = world.github();
    let log = github.delivery_log(&HookOwner::App);
    world.fake.deliver_to("http://127.0.0.1:9/webhooks", "a-webhook-secret");
    world.fake.user("alice").comments_on(SHOP, world.issue, "/cloud-code");
    world.fake.settled().await;
    let page = log.list(None).await.unwrap();
    let delivery = page.deliveries.iter().find(|delivery| delivery.event == "issue_comment").unwrap();
    assert!(!delivery.has_arrived());
    let payload = log.payload(delivery.id).await.unwrap();
    let event = payload.headers.iter().find(|(name, _)| name == "x-github-event");
    assert_eq!(event.unwrap().1, "issue_comment");
    assert!(payload.body.contains("/cloud-code"));
    log.redeliver(delivery.id).await.unwrap();
}

#[tokio::test]
async fn an_app_is_made_from_its_manifest() {
    let world = World::new().await;
    let wanted = manifest(&ManifestSpec {
        name: "our agents".to_owned(),
        url: "https://agents.example".to_owned(),
        description: "Works on issues.".to_owned(),
        webhook_url: Some("https://agents.example/webhooks/github".to_owned()),
        redirect_url: "http://127.0.0.1:8000/done".to_owned(),
        public: false,
    });
    let code = world.fake.manifest_code(&wanted);
    let config = common::config(world.fake.api_url(), Credentials::None);
    let made = convert_manifest(&config, &code).await.unwrap();
    assert!(made.pem.expose_secret().starts_with("-----BEGIN"));
    assert!(!format!("{made:?}").contains("BEGIN"));
    assert!(convert_manifest(&config, &code).await.is_err(), "a code works once");
    let credentials = Credentials::App { id: made.id, private_key: made.pem };
    let github = Github::connect(common::config(world.fake.api_url(), credentials)).unwrap();
    assert_eq!(github.app().await.unwrap().slug, made.slug);
}

#[tokio::test]
async fn the_clock_and_the_hook_can_be_looked_at() {
    let world = World::new().await;
    let github = world.github();
    let skew = github.server_time().await.unwrap().duration_since(Timestamp::now()).abs();
    assert!(skew.as_secs() < 60, "{skew}");
    let secret = "a-new-webhook-secret".into();
    github.set_hook_config("https://agents.example/webhooks/github", &secret).await.unwrap();
    let config = github.hook_config().await.unwrap();
    assert_eq!(config.url.as_deref(), Some("https://agents.example/webhooks/github"));
    assert_eq!(config.content_type.as_deref(), Some("json"));
    assert!(github.rate_limit(&SHOP.parse().unwrap()).await.unwrap().limit >= 5000);
}

#[tokio::test]
async fn who_changed_a_text_last_is_told_by_graphql() {
    let world = World::new().await;
    let (alice, rita) = (world.fake.user("alice"), world.fake.user("rita"));
    let other = alice.opens_issue(SHOP, "Untouched", "As it was.");
    let said = alice.comments_on(SHOP, world.issue, "At first.");
    alice.pushes(SHOP, BRANCH, "note.md", "x\n");
    let pull = alice.opens_pull_request(SHOP, BRANCH, "main", "A note", "It is short.");
    let review = alice.requests_changes(SHOP, pull, "No.");
    rita.edits_issue(SHOP, world.issue, "Mend nothing.");
    alice.retitles(SHOP, world.issue, "The product is wrong");
    rita.edits_comment(SHOP, said, "Later.");
    rita.edits_review(SHOP, review, "Yes.");
    rita.retitles(SHOP, pull, "No note");
    for forge in [world.forge().await, world.as_token_of("alice").await] {
        let mut texts = vec![
            forge.issue(world.issue).await.unwrap().text_id,
            forge.comments(world.issue, None).await.unwrap()[0].text_id.clone(),
            forge.reviews(pull).await.unwrap()[0].text_id.clone(),
            forge.issue(pull).await.unwrap().text_id,
            forge.issue(other).await.unwrap().text_id,
        ];
        texts.push(cloud_code_forge::TextId::new("gone".to_owned()));
        let edits = forge.edits(&texts).await.unwrap();
        let by = |edited: &Option<cloud_code_forge::Edited>| {
            edited.as_ref().map(|edited| edited.by.as_ref().map(|by| by.id).unwrap())
        };
        let told: Vec<_> = texts
            .iter()
            .map(|text| edits.get(text).map(|edits| (by(&edits.text), by(&edits.title))))
            .collect();
        let (alice, rita) = (Some(alice.id()), Some(rita.id()));
        assert_eq!(
            told,
            [
                Some((rita, alice)),
                Some((rita, None)),
                Some((rita, None)),
                Some((None, rita)),
                Some((None, None)),
                None,
            ]
        );
        assert_eq!(forge.edits(&[]).await.unwrap().len(), 0);
    }
    assert_eq!(world.fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_question_to_graphql_is_asked_again_and_a_refusal_is_told() {
    let world = World::new().await;
    let forge = world.forge().await;
    let text = forge.issue(world.issue).await.unwrap().text_id;
    // The token that expires is one of REST's, which makes a new one.
    for fault in [Fault::Cut, Fault::Status(502), Fault::TokenExpired] {
        world.fake.fault("POST", "/graphql", fault);
    }
    let edits = forge.edits(std::slice::from_ref(&text)).await.unwrap();
    assert_eq!(edits.get(&text), Some(&cloud_code_forge::TextEdits::default()));
    world.fake.fault("POST", "/graphql", Fault::Status(403));
    assert!(matches!(forge.edits(&[text]).await, Err(ForgeError::Forbidden { .. })));
}

#[tokio::test]
async fn pull_requests_that_changed_are_listed_newest_change_first() {
    let world = World::new().await;
    let alice = world.fake.user("alice");
    let mut pulls = Vec::new();
    for name in ["one", "two", "three"] {
        alice.pushes(SHOP, name, &format!("{name}.md"), "x\n");
        pulls.push(alice.opens_pull_request(SHOP, name, "main", name, ""));
    }
    world.fake.advance(Duration::from_secs(100));
    let forge = world.forge().await;
    let since = forge.issue(world.issue).await.unwrap().created_at + jiff::SignedDuration::from_secs(50);
    alice.requests_changes(SHOP, pulls[1], "No.");
    world.fake.advance(Duration::from_secs(1));
    alice.closes(SHOP, pulls[0]);
    let changed = forge.recent_pulls(since).await.unwrap();
    let told: Vec<(u64, PullState)> = changed.items.iter().map(|pull| (pull.number, pull.state)).collect();
    assert_eq!(
        (told, changed.more),
        (vec![(pulls[0], PullState::Closed), (pulls[1], PullState::Open)], false)
    );
    assert_eq!(world.fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn who_may_not_be_asked_about_has_no_permission() {
    let world = World::new().await;
    world.fake.fault("GET", "**/permission", Fault::Status(403));
    let alice = Actor { id: world.fake.user("alice").id(), login: "alice".to_owned() };
    let forge = world.forge().await;
    assert_eq!(forge.permission(&alice).await.unwrap().permission, Permission::None);
}
