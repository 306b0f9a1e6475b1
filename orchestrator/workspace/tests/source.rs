//! Every kind of source a user may point at: what is said, and that nothing is made.

#[cfg(test)]
mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cloud_code_workspace::{Source, SourceError, UncommittedWork, branch_in_source, inspect};
use common::{branch, chown, digest, expectations, git, source, write};

#[cfg(test)]
fn look(path: &Path, base: Option<&str>) -> Result<cloud_code_workspace::SourceFacts, SourceError> {
    let before = path.exists().then(|| digest(path));
    let found = inspect(&Source::Path(path.to_owned()), &expectations(base, UncommittedWork::Refused));
    assert_eq!(path.exists().then(|| digest(path)), before, "inspection changes nothing");
    found
}

#[cfg(test)]
fn told(error: &SourceError) -> (String, String) {
    (error.to_string(), error.hint().expect("every refusal of a path has a hint"))
}

#[test]
fn a_plain_repository_and_a_folder_inside_it_are_the_same_source() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    let facts = look(&shop, None).unwrap();
    assert_eq!(facts.base, branch("main"));
    assert_eq!(facts.head.as_str(), git(&shop, &["rev-parse", "HEAD"]));
    assert!(!facts.is_bare);
    assert_eq!(look(&shop.join("src"), None).unwrap(), facts);
}

#[test]
fn a_bare_repository_works() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    let bare = dir.path().join("bare.git");
    git(dir.path(), &["clone", "-q", "--bare", shop.to_str().unwrap(), bare.to_str().unwrap()]);
    let facts = look(&bare, None).unwrap();
    assert!(facts.is_bare);
    assert_eq!(facts.source, Source::Path(bare));
}

#[test]
fn what_is_missing_empty_or_no_repository_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nothing");
    assert!(matches!(look(&missing, None), Err(SourceError::Missing { .. })));
    let plain = dir.path().join("plain");
    write(&plain.join("x"), "x");
    let error = look(&plain, None).unwrap_err();
    assert!(matches!(error, SourceError::NotARepository { .. }), "{error:?}");
    assert_eq!(told(&error).0, format!("{} is not a git repository", plain.display()));
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, &["init", "-q"]);
    for base in [None, Some("main")] {
        assert!(matches!(look(&empty, base), Err(SourceError::Empty { .. })), "{base:?}");
    }
}

#[test]
fn uncommitted_work_is_counted_and_refused_unless_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    write(&shop.join("README.md"), "# Changed\n");
    fs::remove_file(shop.join("src/login.rs")).unwrap();
    write(&shop.join("new.txt"), "new");
    let error = look(&shop, None).unwrap_err();
    assert!(matches!(error, SourceError::Dirty { changed: 2, untracked: 1, .. }), "{error:?}");
    assert!(told(&error).1.contains("--allow-dirty"));
    inspect(&Source::Path(shop), &expectations(None, UncommittedWork::LeftOut)).unwrap();
}

#[test]
fn a_shallow_clone_is_refused_with_the_command_that_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    git(&shop, &["commit", "-qm", "More", "--allow-empty"]);
    let url = format!("file://{}", shop.display());
    let shallow = dir.path().join("shallow");
    git(dir.path(), &["clone", "-q", "--depth=1", &url, shallow.to_str().unwrap()]);
    let error = look(&shallow, None).unwrap_err();
    assert!(matches!(error, SourceError::Shallow { .. }));
    assert_eq!(told(&error).1, format!("complete it: git -C {} fetch --unshallow", shallow.display()));
}

#[test]
fn a_detached_head_needs_a_named_base() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    git(&shop, &["checkout", "-q", "--detach"]);
    assert!(matches!(look(&shop, None), Err(SourceError::DetachedHead { .. })));
    assert_eq!(look(&shop, Some("main")).unwrap().base, branch("main"));
    assert!(matches!(look(&shop, Some("nope")), Err(SourceError::NoSuchBranch { .. })));
}

#[test]
fn a_repository_of_another_user_is_refused_before_anything_of_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    let mine = fs::metadata(&shop).unwrap().uid();
    chown(&shop, 4444);
    let error = look(&shop, None).unwrap_err();
    chown(&shop, mine);
    assert!(matches!(error, SourceError::OwnerDiffers { .. }), "{error:?}");
    assert!(told(&error).1.contains("safe.directory"));
}

#[test]
fn a_sha256_repository_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--object-format=sha256"]);
    let error = look(dir.path(), None).unwrap_err();
    assert!(matches!(error, SourceError::ObjectFormat { .. }), "{error:?}");
}

#[test]
fn inspection_runs_nothing_of_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    let canary = dir.path().join("canary");
    let script = dir.path().join("run.sh");
    write(&script, format!("#!/bin/sh\ntouch {}\ncat\n", canary.display()));
    common::check(std::process::Command::new("chmod").arg("+x").arg(&script));
    let run = script.to_str().unwrap();
    write(&shop.join(".gitattributes"), "* filter=evil diff=evil\n");
    git(&shop, &["add", "-A"]);
    git(&shop, &["commit", "-qm", "Attributes"]);
    git(&shop, &["config", "core.fsmonitor", run]);
    git(&shop, &["config", "filter.evil.clean", run]);
    git(&shop, &["config", "filter.evil.smudge", run]);
    git(&shop, &["config", "diff.evil.textconv", run]);
    write(&shop.join("README.md"), "# Changed\n");
    let _ = look(&shop, None);
    assert!(!canary.exists(), "a program of the source ran");
}

#[test]
fn a_url_is_asked_for_its_default_branch() {
    let dir = tempfile::tempdir().unwrap();
    let shop = source(dir.path());
    // git's own transport on a loopback port that the system picks would need a daemon; an unreachable one is enough
    // to see that no question is asked and the reason is git's.
    let error = inspect(
        &Source::parse("git://127.0.0.1:9/none").unwrap(),
        &expectations(None, UncommittedWork::Refused),
    )
    .unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    let found = branch_in_source(&Source::Path(shop.clone()), &branch("main")).unwrap();
    assert_eq!(found.unwrap().as_str(), git(&shop, &["rev-parse", "main"]));
    assert_eq!(branch_in_source(&Source::Path(shop), &branch("other")).unwrap(), None);
}
