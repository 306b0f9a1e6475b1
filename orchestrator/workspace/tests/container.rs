//! Git inside a real container, mounted as `prepare` says, as a user that is not root: it works, and cannot hurt.
//!
//! Needs Docker and the image `debian:bookworm-slim`; an image with git is made from it once and kept.

#[cfg(test)]
mod common;

use std::process::Command;

use cloud_code_workspace::{GitView, ImportOutcome, Mount, WorktreeHead, worktree_head};
use common::{House, digest, git, id, uid};

/// The project's own base image: git in it is the git that agents use.
const IMAGE: &str = "cloud-code/base:latest";

#[cfg(test)]
fn docker(args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(args);
    command
}

#[cfg(test)]
fn has_image(name: &str) -> bool {
    docker(&["image", "inspect", name]).output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
/// The image, or the command that makes it.
fn image() -> &'static str {
    let engine = docker(&["version", "--format", "{{.Server.Version}}"]).output();
    assert!(
        engine.is_ok_and(|output| output.status.success()),
        "this test needs a running Docker engine: run `make engine`"
    );
    assert!(has_image(IMAGE), "this test needs the image {IMAGE}: run `make images`");
    IMAGE
}

#[cfg(test)]
/// Runs a script as the CLI's user, with nothing but the mounts of `prepare`.
fn inside(mounts: &[Mount], script: &str) -> (bool, String) {
    let mut command =
        docker(&["run", "--rm", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges"]);
    command.args(["--entrypoint=/bin/sh", "--workdir=/workspace", "--env=HOME=/tmp"]);
    command.arg(format!("--user={0}:{0}", uid()));
    for mount in mounts {
        let flag = if mount.read_only { ",readonly" } else { "" };
        let (from, to) = (mount.source.display(), mount.target.display());
        command.arg(format!("--mount=type=bind,source={from},target={to}{flag}"));
    }
    let output = command.args([image(), "-c", script]).output().expect("docker runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
fn works(mounts: &[Mount], script: &str) -> String {
    let (success, text) = inside(mounts, script);
    assert!(success, "{script}\n{text}");
    text
}

const IDENTITY: &str =
    "export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b;";

#[test]
fn git_works_inside_and_its_commits_come_out() {
    let house = House::new();
    let prepared = house.prepare("1", GitView::Container);
    assert!(prepared.env.is_empty());
    let before = digest(house.mirror.path());
    let script = format!(
        "set -e; {IDENTITY}
         test -z \"$(git status --porcelain)\"
         git log --format=%s; git blame src/login.rs; git log -1 --format=%s origin/main; git rev-parse main
         printf 'fn login() {{ check() }}\\n' > src/login.rs; printf new > new.txt
         git diff --stat; git add -A; git commit -qm 'Fix the login check'; git show --stat --format=%s
         git commit -q --amend -m 'Fix the login check, again'; git reflog | wc -l
         printf more >> new.txt; git commit -qam More; git rebase -q --onto HEAD~1 HEAD~1; git repack -q -a -d -l
         mkdir /tmp/other && cd /tmp/other && git init -q && git commit -q --allow-empty -m Other && git gc -q
         ls .git/objects/pack | grep -q pack"
    );
    let said = works(&prepared.mounts, &script);
    assert!(said.contains("Start\n") && said.contains("src/login.rs | 2 +-"), "{said}");
    assert_eq!(digest(house.mirror.path()), before);
    let WorktreeHead::Commit(head) = worktree_head(&house.paths("1")).unwrap() else { panic!("attached") };
    let ImportOutcome::Imported(imported) = house.import("1", head.as_str()).unwrap() else {
        panic!("not imported")
    };
    assert_eq!(imported.commits.len(), 2);
    assert_eq!(imported.commits[0].subject, "Fix the login check, again");
    assert_eq!(git(house.mirror.path(), &["show", &format!("{head}:new.txt")]), "newmore");
    // A second container sees the same worktree, and git there still trusts its index.
    let again = house.prepare("1", GitView::Container);
    assert_eq!(works(&again.mounts, "git status --porcelain; git rev-parse HEAD").trim(), head.as_str());
}

#[test]
fn nothing_done_with_git_inside_changes_the_host() {
    let house = House::new();
    let bystander = house.agent("bystander");
    let theirs = bystander.commit(&[("x", "1")], "Theirs");
    house.import("bystander", &theirs).unwrap();
    let prepared = house.prepare("evil", GitView::Container);
    let before = house.snapshot("evil");
    let mirror = "/srv/cloud-code/mirror.git";
    let refused = [
        "git branch mine".to_owned(),
        "git checkout -b mine".to_owned(),
        "git tag mine".to_owned(),
        "git branch -D main".to_owned(),
        "git branch -D cloud-code/bystander".to_owned(),
        "git update-ref refs/heads/main HEAD~0 && git update-ref -d refs/heads/main".to_owned(),
        "git config core.hooksPath /tmp".to_owned(),
        "git config core.fsmonitor 'touch /tmp/x'".to_owned(),
        format!("mkdir {mirror}/hooks"),
        format!("touch {mirror}/config"),
        format!("echo x > {mirror}/packed-refs"),
        format!("echo x > {mirror}/refs/heads/x"),
        "git pack-refs --all".to_owned(),
        "git worktree add /tmp/w HEAD".to_owned(),
        "echo x > /srv/cloud-code/base-objects/x".to_owned(),
        "rm -rf /srv/cloud-code/base-objects/pack/*".to_owned(),
        "git fetch origin".to_owned(),
        "git push origin HEAD:refs/heads/main".to_owned(),
        format!("mv {mirror}/worktrees/workspace {mirror}/worktrees/other"),
    ];
    for script in &refused {
        let (success, said) = inside(&prepared.mounts, script);
        assert!(!success, "`{script}` succeeded: {said}");
        let read_only = ["Read-only file system", "Permission denied", "Device or resource busy"];
        let no_remote = said.contains("does not appear to be a git repository");
        assert!(
            no_remote || read_only.iter().any(|reason| said.contains(reason)),
            "`{script}` failed for: {said}"
        );
        assert_eq!(house.snapshot("evil"), before, "`{script}` changed the host");
    }
    let harmless = format!(
        "{IDENTITY} git worktree prune -v --expire=now; git gc -q --prune=now; git prune; git reflog expire --all --expire=now
         git worktree list; git worktree unlock /workspace; git worktree prune --expire=now
         git maintenance run; git repack -a -d -q; git prune-packed; git remote prune origin; git symbolic-ref HEAD refs/heads/main
         git config --worktree core.hooksPath /tmp; git sparse-checkout set src; true"
    );
    works(&prepared.mounts, &harmless);
    assert_eq!(house.snapshot("evil"), before);
    // The agent may empty its own admin folder, which ruins nobody's worktree but its own (see the next test).
    let seen = works(&prepared.mounts, &format!("ls {mirror}/worktrees; git worktree list | wc -l"));
    assert_eq!(
        seen.split_whitespace().next(),
        Some("workspace"),
        "another issue's worktree is visible: {seen}"
    );
    // The other issue goes on as if nothing had been.
    assert_eq!(bystander.git(&["rev-parse", "HEAD"]), theirs);
    assert_eq!(house.mirror.branch(&common::branch("cloud-code/bystander")).unwrap(), Some(id(&theirs)));
}

#[test]
fn the_worktree_of_a_container_can_be_ruined_and_made_anew() {
    let house = House::new();
    let prepared = house.prepare("1", GitView::Container);
    let before = house.snapshot("1");
    works(
        &prepared.mounts,
        "git worktree remove -f -f /workspace; rm -rf /srv/cloud-code/mirror.git/worktrees .git
         mkdir -p a/b/c && chmod 000 a/b; ln -s /etc etc; mkfifo pipe; true",
    );
    assert_eq!(house.snapshot("1"), before);
    assert!(worktree_head(&house.paths("1")).is_err());
    cloud_code_workspace::remove(&house.mirror, &house.paths("1")).unwrap();
    let prepared = house.prepare("1", GitView::Container);
    assert_eq!(works(&prepared.mounts, "git status --porcelain && git log --format=%s").trim(), "Start");
}

#[test]
fn settings_of_a_strangers_commit_stay_out_of_the_container_and_ours_out_of_its_commits() {
    let house = House::new();
    let commit = |name: &str, from: &str, files: &[(&str, &str)]| {
        git(&house.source, &["checkout", "-q", "-b", name, from]);
        for (path, content) in files {
            common::write(&house.source.join(path), content);
        }
        git(&house.source, &["add", "-A"]);
        git(&house.source, &["commit", "-qm", name]);
        id(&git(&house.source, &["rev-parse", "HEAD"]))
    };
    let pull =
        commit("pull", "main", &[(".mcp.json", "evil\n"), ("src/login.rs", "fn login() { todo!() }\n")]);
    let ours =
        [("AGENTS.md", "Be kind\n"), ("a b/CLAUDE.md", "Be kind\n"), (".claude/settings.json", "{}\n")];
    let trusted = commit("trusted", "main", &ours);
    git(&house.source, &["checkout", "-q", "main"]);
    let facts = common::facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    let paths = house.paths("1");
    let prepare = || {
        cloud_code_workspace::prepare(&cloud_code_workspace::PrepareRequest {
            mirror: &house.mirror,
            paths: &paths,
            base: &pull,
            settings_from: Some(&trusted),
            view: GitView::Container,
            owner: common::owner(),
        })
        .unwrap()
    };
    let prepared = prepare();
    assert_eq!(prepared.overlaid, [".claude/settings.json", ".mcp.json", "AGENTS.md", "a b/CLAUDE.md"]);
    let script = format!(
        "set -e; {IDENTITY}
         test -z \"$(git status --porcelain --untracked-files=all)\"
         cat AGENTS.md 'a b/CLAUDE.md' .claude/settings.json; test ! -e .mcp.json"
    );
    assert_eq!(works(&prepared.mounts, &script), "Be kind\nBe kind\n{}\n");
    let script = format!(
        "set -e; {IDENTITY}
         echo more >> src/login.rs; echo mine >> AGENTS.md; echo new > 'a b/new.txt'
         git add -A; git commit -qm Work
         test -z \"$(git status --porcelain --untracked-files=all)\"
         git diff --name-only {pull} HEAD; echo --; git merge -q -m Merge {trusted}; git diff --name-only {trusted} HEAD"
    );
    let said = works(&prepared.mounts, &script);
    assert_eq!(said, "a b/new.txt\nsrc/login.rs\n--\n.mcp.json\na b/new.txt\nsrc/login.rs\n");
    assert_eq!(prepare().overlaid, prepared.overlaid);
    let (success, said) = inside(&prepared.mounts, "echo '*' > /srv/cloud-code/mirror.git/info/exclude");
    assert!(!success, "{said}");
}
