//! Against a forge over http that checks tokens: fetch, push, and every refusal.

#[cfg(test)]
mod common;

use cloud_code_workspace::{
    CommitId, Credential, ImportOutcome, MirrorError, PushError, PushOutcome, PushRequest, RemoteError, push,
    remote_branch,
};
use common::forge::{Forge, Instead, TOKEN, credential};
use common::{House, branch, digest, git, id, write};

#[cfg(test)]
struct Scene {
    house: House,
    forge: Forge,
    token: Credential,
    head: CommitId,
}

#[cfg(test)]
const ISSUE: &str = "cloud-code/7";

#[cfg(test)]
impl Scene {
    fn new() -> Self {
        Self::with(&[("new.txt", "new\n")])
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let house = House::new();
        let forge = Forge::of(&house.source);
        let agent = house.agent("7");
        let head = agent.commit(files, "Work");
        assert!(matches!(house.import("7", &head).unwrap(), ImportOutcome::Imported(_)));
        Self { house, forge, token: credential(TOKEN), head: id(&head) }
    }

    fn push_as(
        &self,
        credential: Option<&Credential>,
        head: &CommitId,
        old: Option<&CommitId>,
    ) -> Result<PushOutcome, PushError> {
        push(&PushRequest {
            mirror: &self.house.mirror,
            target: &self.forge.target(),
            credential,
            branch: &branch(ISSUE),
            head,
            expected_old: old,
        })
    }

    fn push(&self, old: Option<&CommitId>) -> Result<PushOutcome, PushError> {
        self.push_as(Some(&self.token), &self.head, old)
    }

    fn fetch(&self, credential: Option<&Credential>) -> Result<(), RemoteError> {
        match self.house.mirror.fetch(&self.forge.target(), &branch("main"), credential) {
            Ok(()) => Ok(()),
            Err(MirrorError::Fetch { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// All that an error says, with its causes.
#[cfg(test)]
fn told(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner} {inner:?}"));
        cause = inner.source();
    }
    text
}

#[test]
fn a_token_opens_what_is_closed_without_it_and_leaves_no_trace() {
    let scene = Scene::new();
    assert!(matches!(scene.fetch(None), Err(RemoteError::Auth { .. })));
    assert!(matches!(scene.fetch(Some(&credential("wrong-token"))), Err(RemoteError::Auth { .. })));
    let before = digest(scene.house.mirror.path());
    scene.fetch(Some(&scene.token)).unwrap();
    git(&scene.forge.repository(), &["branch", "more", "main"]);
    scene.fetch(Some(&scene.token)).unwrap();
    assert_eq!(scene.house.mirror.base(&branch("more")).unwrap(), Some(scene.house.base.clone()));
    let config = scene.house.mirror.path().join("config");
    assert_eq!(digest(scene.house.mirror.path())[&config], before[&config]);
    // The server's hook looks at every command line of the machine while the push waits for it.
    let seen = scene.forge.dir.path().join("seen");
    scene.forge.hook(
        "pre-receive",
        &format!(
            "cat >/dev/null; grep -lE 'and-bisc[u]its|eC1hY2[N]lc3M' /proc/[0-9]*/cmdline > {0}; echo looked >> {0}",
            seen.display()
        ),
    );
    assert_eq!(scene.push(None).unwrap(), PushOutcome::Pushed);
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "looked\n");
    let said = std::process::Command::new("grep")
        .args(["-rlaE", "tea-and-biscuits|eC1hY2Nlc3MtdG9rZW46"])
        .arg(scene.house.dir.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "", "the token is on disk");
}

#[test]
fn a_push_is_a_compare_and_swap_that_can_be_called_again() {
    let scene = Scene::new();
    assert_eq!(scene.push(None).unwrap(), PushOutcome::Pushed);
    assert_eq!(scene.forge.branch(ISSUE).as_deref(), Some(scene.head.as_str()));
    assert_eq!(scene.push(None).unwrap(), PushOutcome::AlreadyThere);
    let target = scene.forge.target();
    let seen = remote_branch(&target, Some(&scene.token), &branch(ISSUE)).unwrap();
    assert_eq!(seen.as_ref(), Some(&scene.head));
    assert_eq!(scene.house.mirror.pushed(&branch(ISSUE)).unwrap().as_ref(), Some(&scene.head));
    assert_eq!(remote_branch(&target, Some(&scene.token), &branch("7")).unwrap(), None);
    // Not there where it must be, elsewhere than it must be, there where it must not be.
    let base = scene.house.base.clone();
    let other = scene.push_as(Some(&scene.token), &base, None).unwrap_err();
    assert!(
        matches!(&other, PushError::Moved { actual: Some(found), .. } if *found == scene.head),
        "{other:?}"
    );
    let other = scene.push_as(Some(&scene.token), &base, Some(&id(&"1".repeat(40)))).unwrap_err();
    assert!(
        matches!(&other, PushError::Moved { actual: Some(found), .. } if *found == scene.head),
        "{other:?}"
    );
    assert_eq!(scene.house.mirror.pushed(&branch(ISSUE)).unwrap().as_ref(), Some(&scene.head));
    git(&scene.forge.repository(), &["update-ref", "-d", "refs/heads/cloud-code/7"]);
    let gone = scene.push_as(Some(&scene.token), &scene.head, Some(&base)).unwrap_err();
    assert!(matches!(gone, PushError::Moved { actual: None, .. }), "{gone:?}");
    // A rewritten branch is a push like any other, if it is where it was seen.
    assert_eq!(scene.push(None).unwrap(), PushOutcome::Pushed);
    let moved = scene.push_as(Some(&scene.token), &base, Some(&scene.head));
    assert!(matches!(moved, Ok(PushOutcome::Pushed)), "{moved:?}");
    assert_eq!(scene.forge.branch(ISSUE).as_deref(), Some(base.as_str()));
}

#[test]
fn a_push_whose_answer_was_lost_is_found_by_the_next_call() {
    let scene = Scene::new();
    scene.forge.instead(Some(Instead::CutAfterPush));
    let cut = scene.push(None).unwrap_err();
    assert!(matches!(cut, PushError::Remote(RemoteError::Unreachable { .. })), "{cut:?}");
    scene.forge.instead(None);
    assert_eq!(scene.push(None).unwrap(), PushOutcome::AlreadyThere);
}

#[test]
fn a_branch_that_moves_during_the_push_is_told_as_moved() {
    let scene = Scene::new();
    // Somebody else makes the branch after the look and before the update.
    let base = scene.house.base.as_str();
    scene.forge.hook(
        "pre-receive",
        &format!("cat >/dev/null; unset GIT_QUARANTINE_PATH; git update-ref refs/heads/{ISSUE} {base}"),
    );
    let moved = scene.push(None).unwrap_err();
    assert!(
        matches!(&moved, PushError::Moved { actual: Some(found), .. } if *found == scene.house.base),
        "{moved:?}"
    );
}

#[test]
fn each_refusal_of_a_server_is_its_own_error() {
    let scene = Scene::new();
    let refuse = |words: &str| {
        scene.forge.hook("pre-receive", &format!("cat >/dev/null\ncat >&2 <<'END'\n{words}\nEND\nexit 1"));
        scene.push(None).unwrap_err()
    };
    let error = refuse("error: GH006: Protected branch update failed for refs/heads/main.");
    assert!(
        matches!(&error, PushError::ProtectedBranch { words, .. } if words.contains("GH006")),
        "{error:?}"
    );
    let error = refuse(
        "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission",
    );
    assert!(
        matches!(&error, PushError::WorkflowRefused { file: Some(file), .. } if file == ".github/workflows/ci.yml"),
        "{error:?}"
    );
    let error = refuse("This repository was archived so it is read-only.");
    assert!(matches!(error, PushError::Remote(RemoteError::Archived { .. })), "{error:?}");
    let error = refuse(&format!("no\u{1b}[31m tabs\u{7} here, {TOKEN}"));
    let PushError::Refused { words, .. } = &error else { panic!("{error:?}") };
    assert_eq!(words, "[remote rejected] (pre-receive hook declined) no[31m tabs here, [hidden]");
    assert!(!told(&error).contains("biscuits"), "{}", told(&error));
    assert_eq!(scene.forge.branch(ISSUE), None);
}

#[test]
fn each_http_status_is_its_own_error_and_never_repeats_the_token() {
    let scene = Scene::new();
    let answer = |status, text| {
        scene.forge.instead(Some(Instead::Status(status, text)));
        let (pushed, fetched) = (scene.push(None).unwrap_err(), scene.fetch(Some(&scene.token)).unwrap_err());
        for said in [told(&pushed), told(&fetched)] {
            assert!(!said.contains("biscuits") && !said.contains("eC1hY2Nlc3MtdG9rZW46"), "{said}");
        }
        (pushed, fetched)
    };
    let echo = "You sent {authorization}, that is {pair}\n";
    assert!(matches!(
        answer(401, echo),
        (PushError::Remote(RemoteError::Auth { .. }), RemoteError::Auth { .. })
    ));
    let (pushed, fetched) = answer(403, echo);
    assert!(
        matches!(&pushed, PushError::Remote(RemoteError::Denied { words, .. }) if words.contains("[hidden]")),
        "{pushed:?}"
    );
    assert!(matches!(fetched, RemoteError::Denied { .. }));
    let archived = "This repository was archived so it is read-only.\n";
    assert!(matches!(
        answer(403, archived),
        (PushError::Remote(RemoteError::Archived { .. }), RemoteError::Archived { .. })
    ));
    assert!(matches!(
        answer(404, echo),
        (PushError::Remote(RemoteError::NotFound { .. }), RemoteError::NotFound { .. })
    ));
    for status in [429, 500, 503] {
        assert!(matches!(
            answer(status, echo),
            (PushError::Remote(RemoteError::Unreachable { .. }), RemoteError::Unreachable { .. })
        ));
    }
}

#[test]
fn a_token_that_may_read_but_not_write_is_told_as_such() {
    let scene = Scene::new();
    let answer = |part, status, text| {
        scene.forge.instead(Some(Instead::StatusFor(part, status, text)));
        scene.push(None).unwrap_err()
    };
    let words = "Permission to octo/shop.git denied to octo[bot].\n";
    let (listing, sending) = ("service=git-receive-pack", "POST /octo/shop.git/git-receive-pack");
    let error = answer(listing, 403, words);
    assert!(matches!(error, PushError::Remote(RemoteError::Denied { .. })), "{error:?}");
    // Who may list the branches of a push may push: this one is a limit, and passes.
    let error = answer(sending, 403, words);
    assert!(matches!(error, PushError::Remote(RemoteError::Unreachable { .. })), "{error:?}");
    for part in [listing, sending] {
        let error = answer(part, 401, words);
        assert!(matches!(error, PushError::Remote(RemoteError::Auth { .. })), "{part}: {error:?}");
        let error = answer(part, 502, words);
        assert!(matches!(error, PushError::Remote(RemoteError::Unreachable { .. })), "{part}: {error:?}");
    }
    let error = answer("service=git-receive-pack", 403, "This repository was archived so it is read-only.\n");
    assert!(matches!(error, PushError::Remote(RemoteError::Archived { .. })), "{error:?}");
    assert_eq!(scene.forge.branch(ISSUE), None);
}

#[test]
fn a_large_push_goes_through_in_chunks() {
    let mut number = 88_172_645_463_325_252_u64;
    let mut noise = String::new();
    while noise.len() < 4 << 20 {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        noise.push_str(&format!("{number:x}\n"));
    }
    let scene = Scene::with(&[("noise.txt", &noise)]);
    assert_eq!(scene.push(None).unwrap(), PushOutcome::Pushed);
    assert_eq!(scene.forge.branch(ISSUE).as_deref(), Some(scene.head.as_str()));
}

#[test]
fn a_server_that_is_gone_is_unreachable() {
    let scene = Scene::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!("http://{free}/octo/shop.git").parse().unwrap();
    let error = remote_branch(&target, Some(&scene.token), &branch("main")).unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_redirect_never_carries_the_token_away() {
    let scene = Scene::new();
    let elsewhere = Forge::of(&scene.house.source);
    scene.forge.instead(Some(Instead::Redirect(format!("http://{}", elsewhere.address))));
    let fetched = scene.fetch(Some(&scene.token)).unwrap_err();
    assert!(matches!(fetched, RemoteError::Redirected { .. }), "{fetched:?}");
    let pushed = scene.push(None).unwrap_err();
    assert!(matches!(pushed, PushError::Remote(RemoteError::Redirected { .. })), "{pushed:?}");
    assert!(scene.forge.seen().iter().all(|seen| seen.authorization.is_some()));
    assert_eq!(elsewhere.seen().len(), 0);
    // Nor does a second server ask for it and get it.
    let error = scene.push_as(None, &scene.head, None).unwrap_err();
    assert!(matches!(error, PushError::Remote(RemoteError::Auth { .. })), "{error:?}");
    let seen = elsewhere.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn a_token_is_not_sent_in_the_clear() {
    let scene = Scene::new();
    for url in ["http://forge.example/octo/shop.git", "ssh://git@127.0.0.1:1/octo/shop.git"] {
        let error = remote_branch(&url.parse().unwrap(), Some(&scene.token), &branch("main")).unwrap_err();
        assert!(matches!(error, RemoteError::NotForTokens { .. }), "{error:?}");
    }
}

#[test]
fn the_head_of_a_pull_request_is_fetched_by_number() {
    let scene = Scene::new();
    let mirror = &scene.house.mirror;
    let repository = scene.forge.repository();
    let tree = git(&repository, &["rev-parse", "main^{tree}"]);
    let strange = git(&repository, &["commit-tree", &tree, "-p", "main", "-m", "From a fork"]);
    git(&repository, &["update-ref", "refs/pull/12/head", &strange]);
    let target = scene.forge.target();
    let head = mirror.fetch_pull(&target, 12, Some(&scene.token)).unwrap();
    assert_eq!(head.as_str(), strange);
    assert!(mirror.has(&head).unwrap());
    let error = mirror.fetch_pull(&target, 13, Some(&scene.token)).unwrap_err();
    assert!(matches!(error, MirrorError::NoSuchPull { number: 13, .. }), "{error:?}");
    // A later fetch of the branches leaves it.
    scene.fetch(Some(&scene.token)).unwrap();
    assert_eq!(git(mirror.path(), &["rev-parse", "refs/remotes/pull/12"]), strange);
    // What no forge would take does not come in.
    let blob = git(&repository, &["rev-parse", "main:README.md"]);
    write(&scene.forge.dir.path().join("tree"), format!("100644 blob {blob}\t.git\n"));
    let script = "git mktree < ../../tree";
    let output =
        std::process::Command::new("sh").args(["-c", script]).current_dir(&repository).output().unwrap();
    let tree = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let bad = git(&repository, &["commit-tree", &tree, "-p", "main", "-m", "Bad"]);
    git(&repository, &["update-ref", "refs/pull/14/head", &bad]);
    let error = mirror.fetch_pull(&target, 14, Some(&scene.token)).unwrap_err();
    assert!(matches!(error, MirrorError::Fetch { source: RemoteError::Git { .. }, .. }), "{error:?}");
    assert!(!mirror.has(&id(&bad)).unwrap());
}
