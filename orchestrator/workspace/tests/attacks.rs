//! What a hostile agent may try against the host. Each attack is played with plain git and plain files in a prepared
//! workspace; the mirror and all other workspaces must be byte for byte as before, and nothing planted may have run.

#[cfg(test)]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cloud_code_workspace::{
    BadLink, BadName, CiChanges, GitView, HeadError, ImportError, ImportOutcome, ImportPolicy,
    QuarantineError, ReadError, RefusalReason, Worktree, WorktreeHead, remove, worktree_head,
};
use common::{Agent, House, branch, check, git, id, loose_path, write};
use proptest::prelude::*;

#[cfg(test)]
/// A house with a bystander issue, an agent, and what everything looked like before the attack.
struct Siege {
    house: House,
    agent: Agent,
    before: BTreeMap<PathBuf, String>,
}

#[cfg(test)]
impl Siege {
    fn new() -> Self {
        let house = House::new();
        let bystander = house.agent("bystander");
        let head = bystander.commit(&[("theirs", "work")], "Bystander");
        assert!(matches!(house.import("bystander", &head), Ok(ImportOutcome::Imported(_))));
        let agent = house.agent("evil");
        let before = house.snapshot("evil");
        Self { house, agent, before }
    }

    fn base(&self) -> &str {
        self.house.base.as_str()
    }

    fn unharmed(&self) {
        assert_eq!(self.house.snapshot("evil"), self.before);
        let left = fs::read_dir(&self.agent.paths.root).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.filter(|name| name.to_string_lossy().starts_with("import-")).count(), 0);
    }

    fn attempt(&self, head: &str) -> ImportError {
        self.attempt_with(head, &ImportPolicy::default())
    }

    fn attempt_with(&self, head: &str, policy: &ImportPolicy) -> ImportError {
        let error = self.house.import_with("evil", head, None, policy).expect_err("the attack is refused");
        self.unharmed();
        error
    }

    fn refused(&self, head: &str) -> (String, RefusalReason) {
        self.refused_with(head, &ImportPolicy::default())
    }

    fn refused_with(&self, head: &str, policy: &ImportPolicy) -> (String, RefusalReason) {
        match self.attempt_with(head, policy) {
            ImportError::Refused(refusal) => (refusal.path, refusal.reason),
            other => panic!("refused for another reason: {other:?}"),
        }
    }

    fn blob(&self, content: &[u8]) -> String {
        self.agent.object("blob", content)
    }

    fn entry(&self, mode: &str, name: &[u8], object: &str) -> String {
        self.agent.commit_with_entry(self.base(), mode, name, object)
    }
}

#[test]
fn names_that_become_the_git_folder_are_refused_in_any_folder() {
    let siege = Siege::new();
    let blob = siege.blob(b"[core]\n\tfsmonitor = touch /tmp/x\n");
    let names: [&[u8]; 9] = [
        b".git",
        b".GIT",
        b"git~1",
        b"GIT~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        b"a\\.git\\config",
        "\u{200c}.git".as_bytes(),
    ];
    for name in names {
        let head = siege.entry("100644", name, &blob);
        assert_eq!(
            siege.refused(&head).1,
            RefusalReason::Name(BadName::GitFolder),
            "{}",
            name.escape_ascii()
        );
        let folder = siege.agent.tree(&[("100644", name, &blob)]);
        let head = siege.entry("40000", b"nested", &folder);
        let (path, reason) = siege.refused(&head);
        assert_eq!(reason, RefusalReason::Name(BadName::GitFolder));
        assert!(path.starts_with("nested/"), "{path}");
    }
    for name in [&b".."[..], b".", b"a/b"] {
        let head = siege.entry("100644", name, &blob);
        assert_eq!(siege.refused(&head).1, RefusalReason::Name(BadName::NotAName), "{}", name.escape_ascii());
    }
    let head = siege.entry("100644", b".cloud-code", &blob);
    assert_eq!(siege.refused(&head), (".cloud-code".into(), RefusalReason::Name(BadName::ControlFolder)));
}

#[test]
fn gitlinks_odd_modes_and_links_that_leave_are_refused() {
    let siege = Siege::new();
    let head = siege.entry("160000", b"module", siege.base());
    assert_eq!(siege.refused(&head), ("module".into(), RefusalReason::Gitlink));
    let blob = siege.blob(b"x");
    let head = siege.entry("104755", b"setuid", &blob);
    assert_eq!(siege.refused(&head), ("setuid".into(), RefusalReason::Mode(0o104_755)));
    let cases: [(&[u8], BadLink); 6] = [
        (b"/etc/passwd", BadLink::Absolute),
        (b"../outside", BadLink::Escapes),
        (b"src/../../outside", BadLink::Winding),
        (b".git/hooks/post-checkout", BadLink::IntoGitFolder),
        (b"", BadLink::Malformed),
        (&[b'a'; 5000], BadLink::Malformed),
    ];
    for (target, bad) in cases {
        let head = siege.entry("120000", b"link", &siege.blob(target));
        assert_eq!(siege.refused(&head), ("link".into(), RefusalReason::Link(bad)));
    }
    let inside = siege.agent.tree(&[("120000", b"link", &siege.blob(b"../../outside"))]);
    let head = siege.entry("40000", b"folder", &inside);
    assert_eq!(siege.refused(&head), ("folder/link".into(), RefusalReason::Link(BadLink::Escapes)));
}

#[test]
fn a_bad_commit_hidden_under_a_good_one_is_refused() {
    let siege = Siege::new();
    let bad = siege.entry("160000", b"module", siege.base());
    let tree = siege.agent.git(&["rev-parse", &format!("{}^{{tree}}", siege.base())]);
    let good = siege.agent.commit_tree(&tree, &[&bad]);
    match siege.attempt(&good) {
        ImportError::Refused(refusal) => assert_eq!(refusal.commit, id(&bad)),
        other => panic!("{other:?}"),
    }
    // The same through the side door of a merge, and through an unrelated history.
    let merge = siege.agent.commit_tree(&tree, &[siege.base(), &bad]);
    assert_eq!(siege.refused(&merge).1, RefusalReason::Gitlink);
    let orphan = siege.agent.commit_tree(&tree, &[]);
    assert!(matches!(siege.attempt(&orphan), ImportError::Refused(_) | ImportError::NotDescended { .. }));
    let clean = siege.agent.tree(&[("100644", b"only", &siege.blob(b"x"))]);
    let orphan = siege.agent.commit_tree(&clean, &[]);
    assert!(matches!(siege.attempt(&orphan), ImportError::NotDescended { .. }));
}

#[test]
fn ci_files_may_not_be_added_changed_deleted_or_shadowed_unless_allowed() {
    let siege = Siege::new();
    let agent = &siege.agent;
    let allowed = ImportPolicy { ci_changes: CiChanges::Allowed, ..ImportPolicy::default() };
    let reset = || agent.git(&["reset", "-q", "--hard", siege.base()]);
    let added = agent.commit(&[(".github/workflows/evil.yml", "on: push")], "Add");
    assert_eq!(siege.refused(&added), (".github/workflows/evil.yml".into(), RefusalReason::Ci));
    reset();
    let other_forge = agent.commit(&[(".gitlab-ci.yml", "x")], "Add");
    assert_eq!(siege.refused(&other_forge).1, RefusalReason::Ci);
    reset();
    agent.git(&["rm", "-q", ".github/workflows/ci.yml"]);
    agent.git(&["commit", "-qm", "Delete"]);
    let deleted = agent.git(&["rev-parse", "HEAD"]);
    assert_eq!(siege.refused(&deleted), (".github/workflows/".into(), RefusalReason::Ci));
    agent.git(&["reset", "-q", "--hard", siege.base()]);
    fs::remove_dir_all(agent.paths.tree.join(".github")).unwrap();
    symlink("src", agent.paths.tree.join(".github")).unwrap();
    let shadowed = agent.commit(&[], "Shadow");
    assert_eq!(siege.refused(&shadowed), (".github".into(), RefusalReason::Ci));
    let outcome = siege.house.import_with("evil", &added, None, &allowed).unwrap();
    assert!(matches!(outcome, ImportOutcome::Imported(_)));
}

#[test]
fn bombs_meet_a_cap_before_they_meet_memory() {
    let siege = Siege::new();
    // 80 MiB of zeros are 80 KiB on disk.
    let big = siege.blob(&vec![0; 80 << 20]);
    let head = siege.entry("100644", b"zeros", &big);
    assert_eq!(
        siege.refused(&head),
        ("zeros".into(), RefusalReason::FileTooLarge { size: 80 << 20, cap: 50 << 20 })
    );
    // Ten folders of ten links to the folder below: 10^9 files from a few hundred bytes.
    let mut level = siege.agent.tree(&[("100644", b"f", &siege.blob(b"lol"))]);
    for _ in 0..9 {
        let names: Vec<Vec<u8>> = (0..10).map(|n| format!("d{n}").into_bytes()).collect();
        let entries: Vec<(&str, &[u8], &str)> =
            names.iter().map(|name| ("40000", name.as_slice(), level.as_str())).collect();
        level = siege.agent.tree(&entries);
    }
    let head = siege.entry("40000", b"bomb", &level);
    assert!(matches!(siege.refused(&head).1, RefusalReason::TooManyChanges { .. }));
    let mut deep = siege.agent.tree(&[("100644", b"f", &siege.blob(b"x"))]);
    for _ in 0..300 {
        deep = siege.agent.tree(&[("40000", b"d", &deep)]);
    }
    let head = siege.entry("40000", b"deep", &deep);
    assert_eq!(siege.refused(&head).1, RefusalReason::TooDeep);
    // Loops cost money; a reviewer reads no thousand commits.
    let script = format!(
        "commit refs/worktree/loop\ncommitter A <a@b> 1 +0000\ndata 1\nx\nfrom {}\n{}",
        siege.base(),
        "commit refs/worktree/loop\ncommitter A <a@b> 1 +0000\ndata 1\nx\n".repeat(1001)
    );
    let file = siege.agent.paths.home.join("stream");
    write(&file, script);
    check(siege.agent.command().args(["fast-import", "--quiet"]).stdin(fs::File::open(file).unwrap()));
    let head = siege.agent.git(&["rev-parse", "refs/worktree/loop"]);
    assert_eq!(siege.refused(&head).1, RefusalReason::TooManyCommits { cap: 1000 });
    let message = vec![b'x'; 20 << 20];
    let tree = siege.agent.git(&["rev-parse", &format!("{}^{{tree}}", siege.base())]);
    let mut text = format!(
        "tree {tree}\nparent {}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n",
        siege.base()
    );
    text.push_str(std::str::from_utf8(&message).unwrap());
    let head = siege.agent.object("commit", text.as_bytes());
    assert!(matches!(siege.refused(&head).1, RefusalReason::ObjectTooLarge { .. }));
    let small = ImportPolicy { max_total_bytes: 10_000, ..ImportPolicy::default() };
    write(&siege.agent.paths.tree.join("noise"), noise(50_000));
    let head = siege.agent.commit(&[], "Noise");
    assert!(matches!(
        siege.attempt_with(&head, &small),
        ImportError::Quarantine(QuarantineError::TooLarge { cap: 10_000 })
    ));
}

#[cfg(test)]
/// Bytes that do not compress.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn object_files_that_are_not_files_are_never_opened_or_followed() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 5] = [
        ("link to a host file", |path| symlink("/etc/passwd", path).unwrap()),
        ("link to a device", |path| symlink("/dev/zero", path).unwrap()),
        ("pipe", |path| drop(check(Command::new("mkfifo").arg(path)))),
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("hard link", |path| {
            let other = path.with_file_name("other");
            fs::write(&other, "secret").unwrap();
            fs::hard_link(other, path).unwrap();
        }),
    ];
    for (what, plant) in plants {
        let siege = Siege::new();
        let head = siege.agent.commit(&[("a", "1")], "Work");
        let path = loose_path(&siege.agent.paths.objects, &head);
        fs::remove_file(&path).unwrap();
        plant(&path);
        let error = siege.attempt(&head);
        let expected = match &error {
            ImportError::Quarantine(QuarantineError::HardLinked { .. }) => what == "hard link",
            ImportError::Quarantine(QuarantineError::NotAFile { .. }) => what != "hard link",
            _ => false,
        };
        assert!(expected, "{what}: {error:?}");
        let name = "pack-0123456789012345678901234567890123456789.pack";
        plant(&siege.agent.paths.objects.join("pack").join(name));
        assert!(matches!(siege.attempt(&head), ImportError::Quarantine(_)), "{what} as a pack");
    }
    // Folders on the way are links.
    for fanout in [true, false] {
        let siege = Siege::new();
        let head = siege.agent.commit(&[("a", "1")], "Work");
        let folder = siege.agent.paths.objects.join(if fanout { &head[..2] } else { "pack" });
        let aside = siege.house.dir.path().join("aside");
        fs::rename(&folder, &aside).unwrap();
        symlink(&aside, &folder).unwrap();
        let error = siege.attempt(&head);
        assert!(matches!(error, ImportError::Quarantine(QuarantineError::NotAFile { .. })), "{error:?}");
    }
}

#[test]
fn a_temp_name_left_by_a_killed_git_is_no_attack() {
    let siege = Siege::new();
    let head = siege.agent.commit(&[("a", "1")], "Work");
    let path = loose_path(&siege.agent.paths.objects, &head);
    fs::hard_link(&path, path.with_file_name("tmp_obj_AbCdEf")).unwrap();
    assert!(matches!(siege.house.import("evil", &head), Ok(ImportOutcome::Imported(_))));
}

#[test]
fn objects_that_lie_about_their_content_are_found_out() {
    // A commit, a folder and a file, each replaced by another valid object under the old name.
    for kind in ["HEAD", "HEAD^{tree}", "HEAD:a"] {
        let siege = Siege::new();
        let head = siege.agent.commit(&[("a", "harmless")], "Work");
        let victim = siege.agent.git(&["rev-parse", kind]);
        let other = match kind {
            "HEAD" => siege.agent.git(&["commit-tree", "-m", "Other", "-p", siege.base(), "HEAD^{tree}"]),
            "HEAD:a" => siege.blob(b"harmful!"),
            _ => siege.agent.tree(&[("100644", b"a", &siege.blob(b"swapped"))]),
        };
        let (from, to) =
            (loose_path(&siege.agent.paths.objects, &other), loose_path(&siege.agent.paths.objects, &victim));
        fs::rename(from, to).unwrap();
        let error = siege.attempt(&head);
        assert!(
            matches!(error, ImportError::Objects { .. } | ImportError::Strict { .. }),
            "{kind}: {error:?}"
        );
    }
    for damage in ["", "not zlib", "x\u{1}"] {
        let siege = Siege::new();
        let head = siege.agent.commit(&[("a", "harmless")], "Work");
        for victim in [&head, &siege.agent.git(&["rev-parse", "HEAD:a"])] {
            let path = loose_path(&siege.agent.paths.objects, victim);
            fs::remove_file(&path).unwrap();
            fs::write(&path, damage).unwrap();
        }
        assert!(matches!(siege.attempt(&head), ImportError::Objects { .. }));
    }
    let siege = Siege::new();
    let head = siege.agent.commit(&[("a", "harmless")], "Work");
    let file = siege.agent.git(&["rev-parse", "HEAD:a"]);
    fs::remove_file(loose_path(&siege.agent.paths.objects, &file)).unwrap();
    assert!(matches!(siege.attempt(&head), ImportError::Objects { .. } | ImportError::Strict { .. }));
    assert!(matches!(siege.attempt(&"12".repeat(20)), ImportError::Objects { .. }));
}

#[test]
fn a_broken_or_misnamed_pack_is_refused_or_read_for_what_it_is() {
    let siege = Siege::new();
    let head = siege.agent.commit(&[("a", "1")], "Work");
    let folder = siege.agent.paths.objects.join("pack");
    let name = folder.join("pack-0123456789012345678901234567890123456789.pack");
    fs::write(&name, "PACK but not really").unwrap();
    assert!(matches!(siege.attempt(&head), ImportError::Strict { .. }));
    fs::remove_file(&name).unwrap();
    siege.agent.git(&["repack", "-q", "-a", "-d"]);
    let mut real = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let real = real.find(|path| path.extension().is_some_and(|e| e == "pack")).unwrap();
    fs::rename(&real, &name).unwrap();
    // A planted index that points elsewhere is never read.
    fs::write(name.with_extension("idx"), "garbage").unwrap();
    fs::write(folder.join("multi-pack-index"), "garbage").unwrap();
    assert!(matches!(siege.house.import("evil", &head), Ok(ImportOutcome::Imported(_))));
}

#[test]
fn replacements_grafts_shallow_marks_and_alternates_of_the_agent_mean_nothing() {
    let siege = Siege::new();
    let agent = &siege.agent;
    let outside = siege.house.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    git(&outside, &["init", "-q", "--bare"]);
    let stranger = check(common::git_command(&outside).args(["commit-tree", "-m", "s", &{
        git(&outside, &["hash-object", "-t", "tree", "-w", "/dev/null"])
    }]));
    // The head lies outside, reachable only by following the agent's alternates.
    write(&agent.paths.objects.join("info/alternates"), format!("{}\n", outside.join("objects").display()));
    assert!(matches!(siege.attempt(&stranger), ImportError::Objects { .. }));
    let bad = siege.entry("160000", b"module", siege.base());
    let good = agent.commit(&[("a", "1")], "Good");
    for (path, content) in [
        ("info/grafts", format!("{bad} {good}\n")),
        ("shallow", format!("{bad}\n")),
        ("refs/replace/x", good.clone()),
        ("config", "[core]\n\thooksPath = /tmp\n".to_owned()),
    ] {
        write(&agent.paths.admin.join(path), &content);
        write(&agent.paths.objects.join(path), &content);
    }
    write(&agent.paths.admin.join(format!("refs/replace/{bad}")), format!("{good}\n"));
    assert_eq!(siege.refused(&bad).1, RefusalReason::Gitlink);
}

#[test]
fn nothing_planted_in_tree_admin_or_quarantine_runs_or_is_read_by_the_host() {
    let siege = Siege::new();
    let agent = &siege.agent;
    let canary = siege.house.dir.path().join("canary");
    let script = siege.house.dir.path().join("run.sh");
    write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", canary.display()));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let run = script.display();
    let config = format!(
        "[core]\n\tfsmonitor = {run}\n\thooksPath = {hooks}\n\tsshCommand = {run}\n\tpager = {run}\n\teditor = {run}\n\
         \tgitProxy = {run}\n\talternateRefsCommand = {run}\n\tworktree = /\n[extensions]\n\tworktreeConfig = true\n\
         [diff]\n\texternal = {run}\n[diff \"evil\"]\n\ttextconv = {run}\n\tcommand = {run}\n[filter \"evil\"]\n\
         \tclean = {run}\n\tsmudge = {run}\n\tprocess = {run}\n\trequired = true\n[merge \"evil\"]\n\tdriver = {run}\n\
         [include]\n\tpath = {run}\n[uploadpack]\n\tpackObjectsHook = {run}\n[gpg]\n\tprogram = {run}\n",
        hooks = siege.house.dir.path().join("hooks").display(),
    );
    for hook in
        ["post-checkout", "reference-transaction", "post-index-change", "pre-push", "pre-auto-gc", "update"]
    {
        for folder in [
            siege.house.dir.path().join("hooks"),
            agent.paths.admin.join("hooks"),
            agent.paths.tree.join("hooks"),
        ] {
            write(&folder.join(hook), fs::read(&script).unwrap());
            fs::set_permissions(folder.join(hook), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let head = agent.commit(
        &[
            (".gitattributes", "* filter=evil diff=evil merge=evil\n*.rs -diff\n"),
            (".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ./x\n"),
            ("src/login.rs", "fn login() { hidden() }\n"),
        ],
        "Attributes",
    );
    for folder in [&agent.paths.admin, &agent.paths.tree, &agent.paths.objects, &agent.paths.root] {
        let folder = if folder == &agent.paths.root { agent.paths.home.clone() } else { folder.clone() };
        for name in ["config", "config.worktree", ".gitconfig"] {
            write(&folder.join(name), &config);
        }
        write(&folder.join("info/attributes"), "* filter=evil diff=evil\n");
    }
    for replaced in ["file", "folder", "link"] {
        let dot_git = agent.paths.tree.join(".git");
        let _ = fs::remove_file(&dot_git);
        let _ = fs::remove_dir_all(&dot_git);
        match replaced {
            "file" => {
                write(&dot_git, format!("gitdir: {}\n", siege.house.dir.path().join("elsewhere").display()))
            }
            "folder" => {
                check(
                    Command::new("git")
                        .env_clear()
                        .env("PATH", std::env::var_os("PATH").unwrap())
                        .args(["init", "-q"])
                        .arg(&agent.paths.tree),
                );
                write(&dot_git.join("config"), &config);
            }
            _ => symlink(siege.house.mirror.path(), &dot_git).unwrap(),
        }
        assert_eq!(worktree_head(&agent.paths).unwrap(), WorktreeHead::Commit(id(&head)));
        let before = siege.house.snapshot("evil");
        assert_eq!(siege.house.prepare("evil", GitView::Container).worktree, Worktree::Kept);
        assert_eq!(siege.house.snapshot("evil"), before);
        assert_eq!(
            fs::read_to_string(&dot_git).unwrap(),
            "gitdir: /srv/cloud-code/mirror.git/worktrees/workspace\n",
            "{replaced}"
        );
    }
    siege.unharmed();
    let ImportOutcome::Imported(imported) = siege.house.import("evil", &head).unwrap() else {
        panic!("not imported")
    };
    assert!(imported.files.iter().any(|file| file.path == "src/login.rs" && file.lines.is_some()));
    let patch = cloud_code_workspace::diff(&siege.house.mirror, &siege.house.base, &id(&head)).unwrap();
    assert!(
        String::from_utf8_lossy(&patch).contains("hidden()"),
        "an attribute hid a change from the reviewer"
    );
    remove(&siege.house.mirror, &agent.paths).unwrap();
    assert!(!canary.exists(), "something planted ran");
}

#[test]
fn git_with_discovery_in_the_tree_fails_closed_on_the_host() {
    let house = House::new();
    house.prepare("1", GitView::Container);
    let output = common::git_command(&house.paths("1").tree).args(["status"]).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn a_head_that_is_a_link_a_pipe_or_garbage_says_so() {
    let siege = Siege::new();
    let head = siege.agent.paths.admin.join("HEAD");
    let not_a_file = |error| matches!(error, HeadError::Unreadable { source: ReadError::NotAFile, .. });
    fs::remove_file(&head).unwrap();
    assert!(matches!(
        worktree_head(&siege.agent.paths),
        Err(HeadError::Unreadable { source: ReadError::Missing, .. })
    ));
    symlink("/etc/hostname", &head).unwrap();
    assert!(not_a_file(worktree_head(&siege.agent.paths).unwrap_err()));
    fs::remove_file(&head).unwrap();
    check(Command::new("mkfifo").arg(&head));
    assert!(not_a_file(worktree_head(&siege.agent.paths).unwrap_err()));
    fs::remove_file(&head).unwrap();
    fs::write(&head, "ref: refs/heads/main\n").unwrap();
    assert_eq!(worktree_head(&siege.agent.paths).unwrap(), WorktreeHead::Attached("refs/heads/main".into()));
    for garbage in ["", "ref: ../../etc/passwd\n", "deadbeef\n", "\u{0}\u{1}"] {
        fs::write(&head, garbage).unwrap();
        assert!(matches!(worktree_head(&siege.agent.paths), Err(HeadError::Garbage { .. })), "{garbage:?}");
    }
    fs::write(&head, vec![b'a'; 1 << 20]).unwrap();
    assert!(matches!(
        worktree_head(&siege.agent.paths),
        Err(HeadError::Unreadable { source: ReadError::TooLarge { .. }, .. })
    ));
    fs::remove_dir_all(&siege.agent.paths.admin).unwrap();
    symlink("/etc", &siege.agent.paths.admin).unwrap();
    assert!(matches!(worktree_head(&siege.agent.paths), Err(HeadError::NoAdminFolder { .. })));
    siege.unharmed();
}

#[test]
fn a_killed_import_leaves_nothing_that_the_next_one_does_not_clean() {
    let siege = Siege::new();
    let head = siege.agent.commit(&[("a", "1")], "Work");
    let stale = siege.agent.paths.root.join("import-dead");
    write(&stale.join("raw.git/objects/x"), "half");
    fs::set_permissions(stale.join("raw.git"), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(siege.house.import("evil", &head), Ok(ImportOutcome::Imported(_))));
    assert!(!stale.exists());
    assert_eq!(siege.house.mirror.branch(&branch("cloud-code/evil")).unwrap(), Some(id(&head)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever name an entry has: what the import lets in, `git fsck --strict` finds nothing against; and what fsck
    /// finds an error, the import refuses.
    #[test]
    fn no_name_that_fsck_refuses_comes_in(name in prop_oneof![
        proptest::collection::vec(1_u8..=255, 1..12),
        "[.gG][gGiItT~1. :]{0,6}".prop_map(String::into_bytes),
        "(\\.|\u{200c}|\u{feff}){0,2}[gG]?(\u{200d})?[iI]?[tT][ .:~1]{0,3}".prop_map(String::into_bytes)
            .prop_filter("a name", |name| !name.is_empty()),
    ]) {
        thread_local! {
            static HOUSE: (House, Agent) = {
                let house = House::new();
                let agent = house.agent("names");
                (house, agent)
            };
        }
        HOUSE.with(|(house, agent)| {
            let blob = agent.object("blob", b"x");
            let head = agent.commit_with_entry(house.base.as_str(), "100644", &name, &blob);
            let tree = agent.git(&["rev-parse", &format!("{head}^{{tree}}")]);
            let verdict = agent.command().args(["-c", "fsck.gitmodulesMissing=ignore", "fsck", "--strict", &tree]).output().unwrap();
            let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
            // fsck looks at every object there is; only this folder's lines count.
            let of_this = format!(" in tree {tree}: ");
            let fsck_refuses = said.lines().any(|line| line.contains(&of_this));
            let _ = fs::remove_dir_all(house.mirror.path().join("refs/heads/cloud-code"));
            let _ = fs::remove_dir_all(house.mirror.path().join("refs/cloud-code/imported"));
            let came_in = house.import("names", &head).is_ok();
            prop_assert!(!(came_in && fsck_refuses), "{}: {said}", name.escape_ascii());
            if came_in {
                let checked = common::git_command(house.mirror.path()).args(["fsck", "--strict"]).output().unwrap();
                prop_assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
            }
            Ok(())
        })?;
    }
}
