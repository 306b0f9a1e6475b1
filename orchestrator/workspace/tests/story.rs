//! The straight way through: mirror, worktree, commit, import, diff, delivery, removal; again and again; in parallel.

#[cfg(test)]
mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;

use cloud_code_task_schema::ChangeKind;
use cloud_code_workspace::{
    ChangedFile, DeliverError, DeliverRequest, Delivery, GitView, History, ImportError, ImportOutcome,
    ImportPolicy, Imported, Lines, Mirror, PrepareError, PrepareRequest, Source, Worktree, WorktreeHead,
    deliver, diff, prepare, remove, settle, worktree_head,
};
use common::{House, branch, digest, facts, git, id, owner, write};

#[cfg(test)]
fn imported(outcome: ImportOutcome) -> Imported {
    match outcome {
        ImportOutcome::Imported(imported) => imported,
        other => panic!("not imported: {other:?}"),
    }
}

#[test]
fn a_commit_made_in_the_worktree_becomes_the_branch_and_reaches_the_user() {
    let house = House::new();
    let agent = house.agent("42");
    assert_eq!(worktree_head(&agent.paths).unwrap(), WorktreeHead::Commit(house.base.clone()));
    assert_eq!(agent.git(&["status", "--porcelain"]), "");
    assert_eq!(agent.git(&["log", "--format=%s"]), "Start");
    let head = agent
        .commit(&[("src/login.rs", "fn login() {}\n// checked\n"), ("new.txt", "a\nb\n")], "Fix\u{7} it");
    assert_eq!(worktree_head(&agent.paths).unwrap(), WorktreeHead::Commit(id(&head)));
    let first = imported(house.import("42", &head).unwrap());
    assert_eq!(first.head.as_str(), head);
    assert_eq!(first.history, History::Continued);
    assert_eq!(first.lines, Lines { added: 3, removed: 0 });
    assert_eq!(first.commits.iter().map(|c| c.subject.as_str()).collect::<Vec<_>>(), ["Fix\u{fffd} it"]);
    let file = |path: &str, change, added| ChangedFile {
        path: path.to_owned(),
        renamed_from: None,
        change,
        lines: Some(Lines { added, removed: 0 }),
    };
    assert_eq!(
        first.files,
        [file("new.txt", ChangeKind::Added, 2), file("src/login.rs", ChangeKind::Modified, 1)]
    );
    let name = branch("cloud-code/42");
    assert_eq!(house.mirror.branch(&name).unwrap(), Some(id(&head)));
    let patch = String::from_utf8(diff(&house.mirror, &house.base, &id(&head)).unwrap()).unwrap();
    assert!(patch.contains("+// checked\n"), "{patch}");
    git(house.mirror.path(), &["fsck", "--strict", "--connectivity-only"]);

    // The same call again, as after a crash, is a success that changes nothing.
    let before = digest(house.mirror.path());
    let ImportOutcome::AlreadyImported(again) = house.import("42", &head).unwrap() else {
        panic!("not known")
    };
    assert_eq!(again.commits, first.commits);
    assert_eq!(digest(house.mirror.path()), before);

    let target = Source::Path(house.source.clone());
    let head = id(&head);
    let request = DeliverRequest {
        mirror: &house.mirror,
        target: &target,
        branch: &name,
        head: &head,
        expected_old: None,
    };
    assert_eq!(deliver(&request).unwrap(), Delivery::Pushed);
    assert_eq!(deliver(&request).unwrap(), Delivery::AlreadyThere);
    assert_eq!(git(&house.source, &["rev-parse", "cloud-code/42"]), head.as_str());

    // A later fetch prunes what the source lost, and leaves our branch.
    git(&house.source, &["branch", "gone"]);
    let facts = facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    assert!(house.mirror.base(&branch("gone")).unwrap().is_some());
    git(&house.source, &["branch", "-D", "gone"]);
    git(&house.source, &["branch", "-D", "cloud-code/42"]);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    assert_eq!(house.mirror.base(&branch("gone")).unwrap(), None);
    assert_eq!(house.mirror.branch(&name).unwrap(), Some(head));
}

#[test]
fn a_follow_up_moves_the_branch_only_from_where_it_was_seen() {
    let house = House::new();
    let agent = house.agent("7");
    let one = agent.commit(&[("a", "1")], "One");
    imported(house.import("7", &one).unwrap());
    let two = agent.commit(&[("a", "2")], "Two");
    let policy = ImportPolicy::default();
    assert!(matches!(house.import("7", &two), Err(ImportError::BranchExists { .. })));
    let base = house.base.to_string();
    assert!(matches!(
        house.import_with("7", &two, Some(&base), &policy),
        Err(ImportError::BranchMoved { found: Some(_), .. })
    ));
    let second = imported(house.import_with("7", &two, Some(&one), &policy).unwrap());
    assert_eq!(second.commits.len(), 2);
    assert_eq!(second.history, History::Continued);
    agent.git(&["commit", "-q", "--amend", "-m", "Two, better"]);
    let amended = agent.git(&["rev-parse", "HEAD"]);
    let third = imported(house.import_with("7", &amended, Some(&two), &policy).unwrap());
    assert_eq!(third.history, History::Rewritten);
    // A repack inside hands the host a pack instead of loose objects.
    let four = agent.commit(&[("a", "4"), ("b/c", "5")], "Four");
    agent.git(&["repack", "-q", "-a", "-d"]);
    imported(house.import_with("7", &four, Some(&amended), &policy).unwrap());
    git(house.mirror.path(), &["fsck", "--strict"]);
}

#[test]
fn no_commit_is_nothing_new() {
    let house = House::new();
    let agent = house.agent("1");
    assert_eq!(house.import("1", house.base.as_str()).unwrap(), ImportOutcome::NothingNew);
    // The source moved on, and the agent moved to it without doing anything.
    write(&house.source.join("more"), "more");
    git(&house.source, &["add", "-A"]);
    git(&house.source, &["commit", "-qm", "More"]);
    let facts = facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    agent.git(&["reset", "-q", "--hard", "origin/main"]);
    let head = agent.git(&["rev-parse", "HEAD"]);
    assert_eq!(house.import("1", &head).unwrap(), ImportOutcome::NothingNew);
    assert_eq!(house.mirror.branch(&branch("cloud-code/1")).unwrap(), None);
}

#[test]
fn merging_the_base_branch_brings_its_ci_changes_without_a_refusal() {
    let house = House::new();
    let agent = house.agent("1");
    agent.commit(&[("a", "1")], "Mine");
    write(&house.source.join(".github/workflows/ci.yml"), "on: [push, pull_request]\n");
    git(&house.source, &["commit", "-qam", "CI"]);
    let facts = facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    agent.git(&["merge", "-q", "-m", "Merge", "origin/main"]);
    let head = agent.git(&["rev-parse", "HEAD"]);
    let outcome = imported(house.import("1", &head).unwrap());
    assert_eq!(outcome.commits.iter().map(|c| c.subject.as_str()).collect::<Vec<_>>(), ["Mine", "Merge"]);
}

#[test]
fn preparing_again_keeps_work_and_changes_nothing() {
    let house = House::new();
    for view in [GitView::Container, GitView::Host] {
        let issue = format!("again-{view:?}");
        let first = house.prepare(&issue, view);
        assert_eq!(first.worktree, Worktree::Made);
        let paths = house.paths(&issue);
        write(&paths.tree.join("uncommitted"), "work");
        let before = (digest(&paths.root), digest(house.mirror.path()));
        let second = house.prepare(&issue, view);
        assert_eq!(second.worktree, Worktree::Kept);
        assert_eq!(second.mounts, first.mounts);
        assert_eq!((digest(&paths.root), digest(house.mirror.path())), before);
    }
}

#[test]
fn the_tree_belongs_to_its_owner_whether_or_not_the_home_is_open() {
    for mode in [0o711, 0o700] {
        let house = House::new();
        fs::set_permissions(house.dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        house.prepare("1", GitView::Container);
        let paths = house.paths("1");
        let uid = owner().map_or_else(|| fs::metadata("/proc/self").unwrap().uid(), |owner| owner.uid());
        for root in [&paths.tree, &paths.admin, &paths.objects, &paths.home] {
            for path in digest(root).keys() {
                assert_eq!(
                    fs::symlink_metadata(path).unwrap().uid(),
                    uid,
                    "{} in mode {mode:o}",
                    path.display()
                );
            }
        }
        assert_eq!(fs::read_to_string(paths.tree.join("README.md")).unwrap(), "# Shop\n");
    }
}

#[test]
fn a_half_made_worktree_is_made_anew() {
    let house = House::new();
    house.prepare("1", GitView::Host);
    let paths = house.paths("1");
    fs::remove_file(paths.root.join("prepared")).unwrap();
    fs::remove_file(paths.tree.join("README.md")).unwrap();
    write(&paths.admin.join("index.lock"), "");
    write(&paths.tree.join("junk"), "");
    assert!(!paths.is_prepared().unwrap());
    assert_eq!(house.prepare("1", GitView::Host).worktree, Worktree::Made);
    assert!(paths.is_prepared().unwrap());
    let agent = house.agent("1");
    assert_eq!(agent.git(&["status", "--porcelain"]), "");
    assert_eq!(agent.git(&["ls-files"]), ".github/workflows/ci.yml\nREADME.md\nsrc/login.rs");
}

#[test]
fn a_worktree_outlives_a_power_cut_once_it_is_settled_and_is_made_anew_before() {
    let house = House::new();
    let paths = house.paths("1");
    let cut_power_and_lose_a_file = || {
        let mark = fs::read_to_string(paths.root.join("prepared")).unwrap();
        let boot = mark.split_whitespace().find_map(|word| word.strip_prefix("boot:")).unwrap_or("none");
        fs::write(paths.root.join("prepared"), mark.replace(boot, "an-earlier-one")).unwrap();
        fs::write(paths.tree.join("README.md"), "").unwrap();
    };
    house.prepare("1", GitView::Host);
    assert_eq!(house.prepare("1", GitView::Host).worktree, Worktree::Kept);
    cut_power_and_lose_a_file();
    assert!(!paths.is_prepared().unwrap() && paths.prepared_from().unwrap().is_none());
    assert_eq!(house.prepare("1", GitView::Host).worktree, Worktree::Made);
    assert_eq!(fs::read_to_string(paths.tree.join("README.md")).unwrap(), "# Shop\n");

    settle(std::slice::from_ref(&paths)).unwrap();
    write(&paths.tree.join("work"), "of an agent");
    cut_power_and_lose_a_file();
    assert_eq!(house.prepare("1", GitView::Host).worktree, Worktree::Kept);
    assert!(paths.is_prepared().unwrap() && paths.tree.join("work").exists());
}

#[test]
fn a_half_made_mirror_is_made_anew_and_stale_locks_are_swept() {
    let house = House::new();
    let aside = house.layout.home().join("repos/.making-shop.git");
    write(&aside.join("HEAD"), "half");
    write(&house.mirror.path().join("packed-refs.lock"), "");
    write(&house.mirror.path().join("refs/remotes/origin/main.lock"), "");
    write(&house.mirror.path().join("objects/pack/tmp_pack_x"), "");
    write(&house.mirror.path().join("objects/pack/pack-0123.pack"), "");
    git(&house.source, &["commit", "-q", "--allow-empty", "-m", "More"]);
    let mirror = Mirror::ensure(&house.layout, &house.project).unwrap();
    assert!(!aside.exists());
    let facts = facts(&house.source);
    mirror.fetch(&facts.source, &facts.base, None).unwrap();
    assert_eq!(mirror.base(&facts.base).unwrap(), Some(facts.head));
    let left: Vec<_> = digest(mirror.path())
        .into_keys()
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.ends_with(".lock") || name.starts_with("tmp_") || name == "pack-0123.pack"
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_lock_that_a_killed_process_left_on_a_ref_holds_nobody_up() {
    let house = House::new();
    let refs = house.mirror.path().join("refs");
    write(&refs.join("cloud-code/base/1.lock"), "");
    house.prepare("1", GitView::Host);
    assert!(house.paths("1").is_prepared().unwrap());

    for left in ["heads/main.lock", "cloud-code/base/1.lock"] {
        write(&refs.join(left), "");
    }
    write(&house.mirror.path().join("HEAD.lock"), "");
    let facts = facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    let left =
        digest(house.mirror.path()).into_keys().filter(|path| path.extension().is_some_and(|e| e == "lock"));
    assert_eq!(left.count(), 0);
}

#[test]
fn another_base_or_an_unknown_one_is_refused() {
    let house = House::new();
    house.prepare("1", GitView::Host);
    write(&house.source.join("more"), "more");
    git(&house.source, &["add", "-A"]);
    git(&house.source, &["commit", "-qm", "More"]);
    let more = id(&git(&house.source, &["rev-parse", "HEAD"]));
    let paths = house.paths("1");
    let ask = |base| {
        let view = GitView::Host;
        prepare(&PrepareRequest {
            mirror: &house.mirror,
            paths: &paths,
            base,
            settings_from: None,
            view,
            owner: owner(),
        })
        .map(|_| ())
    };
    assert!(matches!(ask(&more), Err(PrepareError::NoSuchBase { .. })));
    let facts = facts(&house.source);
    house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
    assert!(matches!(ask(&more), Err(PrepareError::OtherBase { .. })));
    ask(&house.base).unwrap();
}

#[test]
fn eight_issues_at_once_share_one_mirror() {
    let house = House::new();
    thread::scope(|scope| {
        for n in 0..8 {
            let house = &house;
            scope.spawn(move || {
                let issue = format!("issue.{n}");
                let agent = house.agent(&issue);
                let head = agent.commit(&[("file", &format!("{n}"))], "Work");
                let facts = facts(&house.source);
                house.mirror.fetch(&facts.source, &facts.base, None).unwrap();
                assert_eq!(imported(house.import(&issue, &head).unwrap()).commits.len(), 1);
            });
        }
    });
    for n in 0..8 {
        let tip = house.mirror.branch(&branch(&format!("cloud-code/issue.{n}"))).unwrap().unwrap();
        assert_eq!(git(house.mirror.path(), &["show", &format!("{tip}:file")]), n.to_string());
    }
    git(house.mirror.path(), &["fsck", "--strict"]);
}

#[test]
fn one_issue_prepared_and_imported_from_eight_threads_is_done_once() {
    let house = House::new();
    let made = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| house.prepare("1", GitView::Host).worktree)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).filter(|found| *found == Worktree::Made).count()
    });
    assert_eq!(made, 1);
    let head = house.agent("1").commit(&[("a", "1")], "Work");
    let moved = thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| house.import("1", &head).unwrap())).collect();
        calls
            .into_iter()
            .map(|call| call.join().unwrap())
            .filter(|o| matches!(o, ImportOutcome::Imported(_)))
            .count()
    });
    assert_eq!(moved, 1);
}

#[test]
fn delivery_never_takes_a_branch_that_is_not_ours() {
    let house = House::new();
    let head = id(&house.agent("1").commit(&[("a", "1")], "Work"));
    imported(house.import("1", head.as_str()).unwrap());
    let target = Source::Path(house.source.clone());
    let name = branch("cloud-code/1");
    let (main, theirs) = (branch("main"), branch("theirs"));
    let ask = |branch, expected_old| {
        deliver(&DeliverRequest { mirror: &house.mirror, target: &target, branch, head: &head, expected_old })
    };
    let before = digest(&house.source);
    assert!(matches!(ask(&main, None), Err(DeliverError::BranchExists { .. })));
    assert!(matches!(ask(&main, Some(&house.base)), Err(DeliverError::CheckedOut { .. })));
    assert!(matches!(ask(&name, Some(&house.base)), Err(DeliverError::BranchMoved { .. })));
    assert_eq!(digest(&house.source), before);
    let linked = house.dir.path().join("linked");
    git(&house.source, &["worktree", "add", "-q", "-b", "theirs", linked.to_str().unwrap()]);
    let refused = ask(&theirs, Some(&house.base)).unwrap_err();
    assert!(matches!(&refused, DeliverError::CheckedOut { path, .. } if *path == linked), "{refused:?}");
    let hook = house.source.join(".git/hooks/pre-receive");
    write(&hook, "#!/bin/sh\necho the boss says no\nexit 1\n");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = ask(&name, None).unwrap_err();
    assert!(
        matches!(&refused, DeliverError::Refused { reason, .. } if reason.contains("the boss says no")),
        "{refused:?}"
    );
    fs::remove_file(hook).unwrap();
    assert_eq!(ask(&name, None).unwrap(), Delivery::Pushed);
}

#[test]
fn removal_leaves_the_branch_and_nothing_else() {
    let house = House::new();
    let head = house.agent("1").commit(&[("a", "1")], "Work");
    imported(house.import("1", &head).unwrap());
    let paths = house.paths("1");
    let outside = house.dir.path().join("outside");
    write(&outside.join("file"), "keep");
    std::os::unix::fs::symlink(&outside, paths.tree.join("link")).unwrap();
    write(&paths.tree.join("closed/inner/file"), "x");
    fs::set_permissions(paths.tree.join("closed/inner"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(paths.tree.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    // Deeper than a path can be long, or a stack can be deep.
    let script = "my $i = 0; while ($i++ < 3000) { mkdir 'deeper' or die; chdir 'deeper' or die }";
    common::check(std::process::Command::new("perl").args(["-e", script]).current_dir(&paths.home));
    remove(&house.mirror, &paths).unwrap();
    assert!(!paths.root.exists());
    assert_eq!(fs::read_dir(house.layout.home().join("workspaces/shop")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "keep");
    assert_eq!(house.mirror.branch(&branch("cloud-code/1")).unwrap(), Some(id(&head)));
    assert_eq!(git(house.mirror.path(), &["for-each-ref", "refs/cloud-code/base"]), "");
    remove(&house.mirror, &paths).unwrap();
    assert_eq!(house.prepare("1", GitView::Host).worktree, Worktree::Made);
}
