//! Rebasing an issue's branch in the mirror while nobody works in it, and standing the worktree on what came out.

#[cfg(test)]
mod common;

use std::fs;

use cloud_code_workspace::{
    CommitId, GitView, ImportOutcome, MoveError, PrepareRequest, RebaseError, Rebased, Worktree,
    conflicts_with, is_behind, move_branch, prepare, rebase, reset_worktree,
};
use common::{Agent, House, branch, digest, git, id, owner, write};

#[cfg(test)]
const ISSUE: &str = "cloud-code/7";

#[cfg(test)]
struct Scene {
    house: House,
    agent: Agent,
}

#[cfg(test)]
impl Scene {
    fn new() -> Self {
        let house = House::new();
        let agent = house.agent("7");
        Self { house, agent }
    }

    /// Commits on the user's `main`, and fetches. Returns its tip.
    fn upstream(&self, files: &[(&str, &str)]) -> CommitId {
        for (path, content) in files {
            write(&self.house.source.join(path), content);
        }
        git(&self.house.source, &["add", "-A"]);
        git(&self.house.source, &["commit", "-qm", "Upstream"]);
        let facts = common::facts(&self.house.source);
        self.house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
        self.house.mirror.base(&facts.base).unwrap().unwrap()
    }

    fn import(&self, head: &str) -> CommitId {
        assert!(matches!(self.house.import("7", head).unwrap(), ImportOutcome::Imported(_)));
        id(head)
    }

    fn rebase(&self, head: &CommitId, onto: &CommitId) -> Result<Rebased, RebaseError> {
        rebase(&self.house.mirror, &self.house.base, head, onto)
    }

    fn show(&self, what: &str) -> String {
        git(self.house.mirror.path(), &["show", "-s", "--format=%an <%ae> %at%n%cn <%ce> %ct%n%B", what])
    }
}

#[test]
fn commits_move_onto_the_new_base_as_they_were_written() {
    let scene = Scene::new();
    let mirror = &scene.house.mirror;
    write(&scene.agent.paths.tree.join("a/new.txt"), "one\n");
    scene.agent.git(&["add", "-A"]);
    scene.agent.git(&[
        "-c",
        "user.name=x",
        "commit",
        "-q",
        "--date=1700000000 +0300",
        "--author=Zoë <z@example.org>",
        "-m",
        "First\n\nWhy: so",
    ]);
    let head = scene.import(&scene.agent.commit(&[("src/login.rs", "fn login() {}\n// end\n")], "Second"));
    let tip = scene.upstream(&[("src/login.rs", "// start\nfn login() {}\n"), ("more.txt", "more\n")]);
    assert!(is_behind(mirror, &head, &tip).unwrap());
    assert_eq!(conflicts_with(mirror, &head, &scene.house.base).unwrap(), Vec::<String>::new());
    assert_eq!(conflicts_with(mirror, &head, &tip).unwrap(), Vec::<String>::new());
    let Rebased::Clean { head: new } = scene.rebase(&head, &tip).unwrap() else { panic!("not clean") };
    assert!(!is_behind(mirror, &new, &tip).unwrap());
    assert_eq!(scene.show(&format!("{new}~1")), scene.show(&format!("{head}~1")));
    assert!(scene.show(&format!("{new}~1")).starts_with("Zoë <z@example.org> 1700000000\nAnn "));
    assert_eq!(scene.show(new.as_str()), scene.show(head.as_str()));
    assert_eq!(git(mirror.path(), &["rev-parse", &format!("{new}~2")]), tip.as_str());
    let files = git(mirror.path(), &["ls-tree", "-r", "--name-only", new.as_str()]);
    assert_eq!(files, ".github/workflows/ci.yml\nREADME.md\na/new.txt\nmore.txt\nsrc/login.rs");
    let login = git(mirror.path(), &["show", &format!("{new}:src/login.rs")]);
    assert_eq!(login, "// start\nfn login() {}\n// end");
    git(mirror.path(), &["fsck", "--strict"]);
    assert_eq!(scene.rebase(&new, &tip).unwrap(), Rebased::UpToDate);

    // No ref moved by itself; moving is a compare-and-swap.
    let name = branch(ISSUE);
    assert_eq!(mirror.branch(&name).unwrap(), Some(head.clone()));
    let error = move_branch(mirror, &name, &new, Some(&tip)).unwrap_err();
    assert!(matches!(&error, MoveError::Moved { actual: Some(found), .. } if *found == head), "{error:?}");
    let error = move_branch(mirror, &name, &id(&"1".repeat(40)), Some(&head)).unwrap_err();
    assert!(matches!(error, MoveError::NoSuchCommit { .. }), "{error:?}");
    move_branch(mirror, &name, &new, Some(&head)).unwrap();
    move_branch(mirror, &name, &new, Some(&head)).unwrap();
    assert_eq!(mirror.branch(&name).unwrap(), Some(new.clone()));
    assert_eq!(git(mirror.path(), &["rev-parse", ISSUE]), new.as_str());

    // The worktree stands at the new head again; HOME and control files stay, and links lead nowhere.
    let paths = &scene.agent.paths;
    write(&paths.control.join("tasking.yaml"), "x\n");
    write(&paths.home.join("session"), "y\n");
    let outside = scene.house.dir.path().join("outside");
    write(&outside.join("kept"), "z\n");
    fs::remove_dir_all(&paths.tree).unwrap();
    std::os::unix::fs::symlink(&outside, &paths.tree).unwrap();
    reset_worktree(paths).unwrap();
    reset_worktree(paths).unwrap();
    assert!(!paths.is_prepared().unwrap() && outside.join("kept").exists() && !paths.objects.exists());
    let prepared = prepare(&PrepareRequest {
        mirror,
        paths,
        base: &new,
        settings_from: None,
        view: GitView::Host,
        owner: owner(),
    })
    .unwrap();
    assert_eq!(prepared.worktree, Worktree::Made);
    assert_eq!(scene.agent.git(&["rev-parse", "HEAD"]), new.as_str());
    assert_eq!(scene.agent.git(&["status", "--porcelain"]), "");
    assert_eq!(fs::read_to_string(paths.home.join("session")).unwrap(), "y\n");
    assert_eq!(fs::read_to_string(paths.control.join("tasking.yaml")).unwrap(), "x\n");
}

#[test]
fn what_the_new_base_holds_already_is_dropped() {
    let scene = Scene::new();
    scene.agent.commit(&[("fix.txt", "fixed\n")], "Fix");
    let head = scene.import(&scene.agent.commit(&[("more.txt", "more\n")], "More"));
    let tip = scene.upstream(&[("fix.txt", "fixed\n")]);
    let Rebased::Clean { head: new } = scene.rebase(&head, &tip).unwrap() else { panic!("not clean") };
    let path = scene.house.mirror.path();
    assert_eq!(git(path, &["log", "--format=%s", &format!("{tip}..{new}")]), "More");
    let all = scene.upstream(&[("more.txt", "more\n")]);
    assert_eq!(scene.rebase(&head, &all).unwrap(), Rebased::Clean { head: all });
}

#[test]
fn a_conflict_leaves_the_mirror_as_it_was() {
    let scene = Scene::new();
    scene.agent.commit(&[("other.txt", "clean\n")], "Clean");
    let head = scene.import(&scene.agent.commit(&[("README.md", "# Mine\n")], "Mine"));
    let tip = scene.upstream(&[("README.md", "# Theirs\n"), ("other2.txt", "x\n")]);
    let before = digest(scene.house.mirror.path());
    let paths = vec!["README.md".to_owned()];
    assert_eq!(scene.rebase(&head, &tip).unwrap(), Rebased::Conflict { paths: paths.clone() });
    assert_eq!(conflicts_with(&scene.house.mirror, &head, &tip).unwrap(), paths);
    assert_eq!(digest(scene.house.mirror.path()), before);
}

#[test]
fn attributes_of_a_commit_have_no_say_in_a_merge() {
    let scene = Scene::new();
    let files = [(".gitattributes", "* merge=union\n*.md merge=ours -text\n"), ("README.md", "# Mine\n")];
    let head = scene.import(&scene.agent.commit(&files, "Mine"));
    let tip = scene.upstream(&[("README.md", "# Theirs\n")]);
    assert_eq!(scene.rebase(&head, &tip).unwrap(), Rebased::Conflict { paths: vec!["README.md".to_owned()] });
}

#[test]
fn what_a_rebase_would_lose_or_choke_on_is_refused() {
    let scene = Scene::new();
    let first = scene.agent.commit(&[("a.txt", "a\n")], "A");
    let base = scene.house.base.to_string();
    scene.agent.git(&["checkout", "-q", "--detach", &base]);
    scene.agent.commit(&[("b.txt", "b\n")], "B");
    scene.agent.git(&["merge", "-q", "-m", "Merge", &first]);
    let merge = scene.import(&scene.agent.git(&["rev-parse", "HEAD"]));
    let tip = scene.upstream(&[("c.txt", "c\n")]);
    let error = scene.rebase(&merge, &tip).unwrap_err();
    assert!(matches!(&error, RebaseError::HoldsMerge { commit } if *commit == merge), "{error:?}");
    let error = rebase(&scene.house.mirror, &tip, &merge, &scene.house.base);
    assert_eq!(error.unwrap(), Rebased::UpToDate);
    let lone = git(&scene.house.source, &["commit-tree", "HEAD^{tree}", "-m", "Lone"]);
    git(&scene.house.source, &["branch", "lone", &lone]);
    scene.upstream(&[("d.txt", "d\n")]);
    let error = rebase(&scene.house.mirror, &id(&lone), &merge, &tip).unwrap_err();
    assert!(matches!(error, RebaseError::NotDescended { .. }), "{error:?}");

    let large = "line\n".repeat(1_700_000);
    let scene = Scene::new();
    let tip = scene.upstream(&[("README.md", &format!("# Theirs\n{large}"))]);
    let head = scene.import(&scene.agent.commit(&[("README.md", "# Mine\n")], "Mine"));
    let error = scene.rebase(&head, &tip).unwrap_err();
    assert!(matches!(&error, RebaseError::TooLarge { path, .. } if path == "README.md"), "{error:?}");
    assert!(conflicts_with(&scene.house.mirror, &head, &tip).is_err());
}

#[test]
fn more_commits_than_the_cap_are_refused() {
    let scene = Scene::new();
    let source = &scene.house.source;
    let mut script =
        "commit refs/heads/many\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\nfrom refs/heads/main\n"
            .to_owned();
    for number in 0..1000 {
        script.push_str(&format!(
            "commit refs/heads/many\ncommitter A <a@b> {} +0000\ndata 1\nx\n",
            1_700_000_001 + number
        ));
    }
    let file = scene.house.dir.path().join("script");
    fs::write(&file, script).unwrap();
    let input = fs::File::open(&file).unwrap();
    common::check(common::git_command(source).args(["fast-import", "--quiet"]).stdin(input));
    let tip = scene.upstream(&[("c.txt", "c\n")]);
    let head = scene.house.mirror.base(&branch("many")).unwrap().unwrap();
    let error = scene.rebase(&head, &tip).unwrap_err();
    assert!(matches!(error, RebaseError::TooManyCommits { cap: 1000 }), "{error:?}");
    let old = id(&git(source, &["rev-parse", "many~1000"]));
    assert!(matches!(rebase(&scene.house.mirror, &old, &head, &tip).unwrap(), Rebased::Clean { .. }));
}
