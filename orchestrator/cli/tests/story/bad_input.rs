//! Bad input: a clear message, a non-zero exit, and nothing lost or half-written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::{House, done, git, top};

/// Runs a task that must be refused, and returns what was said. Nothing may have been made for it.
#[track_caller]
fn refused(house: &House, more: &[&str]) -> String {
    let mut args = house.shell_task("echo never", "Never runs");
    args.extend(more.iter().map(|&a| a.to_owned()));
    let ended = house.run(&args).expect(1);
    nothing_was_made(house);
    ended.err
}

#[track_caller]
fn nothing_was_made(house: &House) {
    assert!(!house.home().join("workspaces").exists(), "a workspace was made");
    assert_eq!(house.containers(), Vec::<String>::new(), "a container was made");
    assert_eq!(house.run(["list", "--json"]).expect(0).out, "", "an issue was opened");
}

/// A digest of everything in a folder.
fn digest(dir: &Path) -> String {
    done(
        Command::new("sh")
            .arg("-c")
            .arg(r#"cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum"#)
            .args(["sh".as_ref(), dir.as_os_str()]),
    )
}

#[test]
fn an_unknown_cli_is_answered_with_the_near_one() {
    let house = House::new();
    let repo = house.repo().display().to_string();
    let ended = house.run(["run", "--repo", &repo, "--cli", "cluade-code", "Fix"]).expect(1);
    assert_eq!(ended.err, "error: there is no CLI `cluade-code`, did you mean `claude-code`?\n");
    nothing_was_made(&house);
}

#[test]
fn a_missing_image_names_the_command_that_builds_it() {
    let house = House::new();
    let said = refused(&house, &["--image", "cloud-code/nobody-built-this:1"]);
    assert!(said.contains("the image `cloud-code/nobody-built-this:1` is not on this machine"), "{said}");
    assert!(said.contains("hint: `docker pull"), "{said}");
}

#[test]
fn without_docker_it_says_how_to_get_it() {
    let house = House::new();
    house.more_settings("docker: {host: \"unix:///nowhere/docker.sock\"}\n");
    let args = house.shell_task("echo never", "Never runs");
    let ended = house.run(&args).expect(1);
    assert!(ended.err.contains("no Docker engine answers at"), "{}", ended.err);
    assert!(ended.err.contains("hint:"), "{}", ended.err);
    assert!(!house.home().join("workspaces").exists());
    let doctor = house.run(["doctor"]).expect(1);
    assert!(doctor.out.contains("MISSING  docker"), "{}", doctor.out);
    assert!(doctor.out.contains("apt-get install docker.io"), "{}", doctor.out);
}

#[test]
fn a_repository_that_cannot_be_used_is_named_with_the_way_out() {
    let house = House::new();
    let elsewhere = house.path().join("nothing-here").display().to_string();
    let said = refused_repo(&house, &elsewhere, 1);
    assert!(said.contains("there is nothing at"), "{said}");

    let plain = house.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let said = refused_repo(&house, &plain.display().to_string(), 1);
    assert!(said.contains("is not a git repository") && said.contains("git -C"), "{said}");

    let empty = house.path().join("empty");
    fs::create_dir(&empty).unwrap();
    git(&empty, ["init", "--quiet"]);
    let said = refused_repo(&house, &empty.display().to_string(), 1);
    assert!(said.contains("has no commits"), "{said}");

    let shallow = house.path().join("shallow");
    let from = format!("file://{}", house.repo().display());
    house.write("more.txt", "more\n");
    git(&house.repo(), ["add", "--all"]);
    git(&house.repo(), ["commit", "--quiet", "-m", "More"]);
    git(house.path(), ["clone", "--quiet", "--depth", "1", &from, &shallow.display().to_string()]);
    let said = refused_repo(&house, &shallow.display().to_string(), 1);
    assert!(said.contains("is a shallow clone") && said.contains("fetch --unshallow"), "{said}");

    let said = refused_repo(&house, "--upload-pack=touch", 2);
    assert!(said.contains("unexpected argument '--upload-pack'"), "{said}");
    let said = refused_repo(&house, "ext::sh -c id", 1);
    assert!(said.contains("is not a transport that is allowed"), "{said}");
}

#[track_caller]
fn refused_repo(house: &House, repo: &str, code: i32) -> String {
    let ended = house
        .run(["run", "--repo", repo, "--cli", "command", "--command", "true", "Never runs"])
        .expect(code);
    nothing_was_made(house);
    ended.err
}

#[test]
fn uncommitted_work_is_refused_unless_it_may_be_left_out() {
    let house = House::new();
    house.write("README.md", "# Sample, half edited\n");
    house.write("new.txt", "new\n");
    let said = refused(&house, &[]);
    assert!(said.contains("has uncommitted work: 1 changed and 1 untracked files"), "{said}");
    assert!(said.contains("--allow-dirty"), "{said}");
    let mut args = house.shell_task("test ! -e new.txt; echo made > made.txt", "Leave it out");
    args.push("--allow-dirty".to_owned());
    house.run(&args).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/leave-it-out:README.md"]), "# Sample\n\nA sample.\n");
    assert_eq!(
        git(&house.repo(), ["status", "--porcelain"]),
        " M README.md\n?? new.txt\n",
        "the checkout was touched"
    );
}

#[test]
fn a_detached_head_needs_a_base() {
    let house = House::new();
    git(&house.repo(), ["checkout", "--quiet", "--detach"]);
    let said = refused(&house, &[]);
    assert!(said.contains("is on a detached HEAD") && said.contains("--base"), "{said}");
    let mut args = house.shell_task("echo made > made.txt", "Name the base");
    args.extend(["--base".to_owned(), "main".to_owned()]);
    house.run(&args).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/name-the-base:made.txt"]), "made\n");
}

#[test]
fn a_bare_repository_works_and_gets_the_branch() {
    let house = House::new();
    let bare = house.path().join("bare.git");
    git(
        house.path(),
        ["clone", "--quiet", "--bare", &house.repo().display().to_string(), &bare.display().to_string()],
    );
    let repo = bare.display().to_string();
    let script = "sh -euc 'echo made > made.txt'";
    let args = [
        "run",
        "--repo",
        &repo,
        "--cli",
        "command",
        "--network",
        "none",
        "--command",
        script,
        "Into a bare one",
    ];
    house.run(args).expect(0);
    assert_eq!(git(&bare, ["show", "cloud-code/into-a-bare-one:made.txt"]), "made\n");
}

#[test]
fn a_branch_that_exists_is_refused_by_name_and_avoided_by_slug() {
    let house = House::new();
    git(&house.repo(), ["branch", "cloud-code/fix-it"]);
    let before = git(&house.repo(), ["rev-parse", "cloud-code/fix-it"]);
    let said = refused(&house, &["--branch", "cloud-code/fix-it"]);
    assert!(said.contains("the branch `cloud-code/fix-it` exists already in"), "{said}");
    house.run(house.shell_task("echo made > made.txt", "Fix it")).expect(0);
    assert_eq!(
        git(&house.repo(), ["rev-parse", "cloud-code/fix-it"]),
        before,
        "a branch of the user was moved"
    );
    assert_eq!(git(&house.repo(), ["show", "cloud-code/fix-it-2:made.txt"]), "made\n");
}

#[test]
fn settings_are_read_whole_and_misspelt_keys_are_answered() {
    let house = House::new();
    house.settings("defaults:\n  limits:\n    timout: 5m\n  clii: codex\n");
    let ended = house.run(["list"]).expect(1);
    assert!(ended.err.contains("cloud-code.yaml:3:5: defaults.limits.timout: "), "{}", ended.err);
    assert!(ended.err.contains("did you mean `timeout`?"), "{}", ended.err);
    assert!(ended.err.contains("cloud-code.yaml:4:3: defaults.clii: "), "{}", ended.err);

    house.settings("defaults: [\n");
    let ended = house.run(["list"]).expect(1);
    assert!(ended.err.contains("cloud-code.yaml:"), "{}", ended.err);

    house.settings("agent_user: \"0:0\"\n");
    let ended = house.run(house.shell_task("echo never", "Never")).expect(1);
    assert!(ended.err.contains("a CLI never runs as root"), "{}", ended.err);
}

#[test]
fn a_project_changes_its_cli_with_one_line() {
    let house = House::new();
    let projects = house.home().join("projects");
    fs::create_dir(&projects).unwrap();
    let file = projects.join("shop.yaml");
    let repo = house.repo().display().to_string();
    fs::write(&file, format!("repo: {repo}\ncli: codex\n")).unwrap();
    let ended = house.run(["run", "--project", "shop", "Fix"]).expect(1);
    assert!(ended.err.contains("the CLI `codex` has no credentials"), "{}", ended.err);
    fs::write(&file, format!("repo: {repo}\ncli: claude-code\n")).unwrap();
    let ended = house.run(["run", "--project", "shop", "Fix"]).expect(1);
    assert!(ended.err.contains("the CLI `claude-code` has no credentials"), "{}", ended.err);
    fs::write(&file, format!("repo: {repo}\ncli: command\ncommand: [\"true\"]\nsecrets: [SHOP_TOKEN]\n"))
        .unwrap();
    let ended = house.run(["run", "--project", "shop", "Fix"]).expect(1);
    assert!(ended.err.contains("the secret `SHOP_TOKEN`, which is not set"), "{}", ended.err);
    let ended = house.run(["run", "--project", "shoop", "Fix"]).expect(1);
    assert!(ended.err.contains("there is no project `shoop`"), "{}", ended.err);
}

#[test]
fn validate_names_file_line_column_and_key() {
    let house = House::new();
    let sample = fs::read_to_string(top().join("examples/tasking.yaml")).unwrap();
    let file = house.path().join("tasking.yaml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        house.run(["validate".as_ref(), file.as_os_str()]).expect(1).err
    };
    let name = file.display();
    let said = check(&sample.replacen("version: 1", "version: 2", 1));
    assert!(said.contains(&format!("{name}:")) && said.contains("version"), "{said}");
    let said = check(&sample.replacen("title:", "titel:", 1));
    assert!(said.contains("tasks[0].titel") && said.contains("did you mean `title`?"), "{said}");
    let said = check("tasks: [");
    assert!(said.starts_with(&format!("{name}:")), "{said}");
    let said = check(&format!("{sample}\n# {}", "x".repeat(1024 * 1024)));
    assert!(said.contains("is larger than 1048576 bytes"), "{said}");

    let link = house.path().join("reporting.yaml");
    symlink("/etc/passwd", &link).unwrap();
    let said = house.run(["validate".as_ref(), link.as_os_str()]).expect(1).err;
    assert!(said.contains("is not a regular file") && !said.contains("root:"), "{said}");
}

#[test]
fn an_empty_task_is_refused() {
    let house = House::new();
    let mut args = house.shell_task("echo never", "  \n ");
    let ended = house.run(&args).expect(1);
    assert!(ended.err.contains("the task is empty"), "{}", ended.err);
    args.pop();
    let ended = house.run(&args).expect(1);
    assert!(ended.err.contains("the task is empty"), "{}", ended.err);
    nothing_was_made(&house);
}

/// Mounts a small tmpfs and unmounts it at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn at(path: std::path::PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={size},mode=755");
        done(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path));
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_half_written() {
    let house = House::new();
    let disk = SmallDisk::at(house.path().join("small"), "3m");
    fs::copy(house.home().join("cloud-code.yaml"), disk.0.join("cloud-code.yaml")).unwrap();
    let run = |task: &str| {
        let mut command = house.command(house.shell_task("echo made > made.txt", task));
        let output = command.env("CLOUD_CODE_HOME", &disk.0).output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
        )
    };
    // Everything is made once while there is room.
    let (code, said) = run("First");
    assert_eq!(code, 0, "{said}");
    let before = digest(&house.repo());
    fs::write(disk.0.join("filler"), vec![0_u8; 8 << 20]).unwrap_err();
    let (code, said) = run("Second");
    assert!(code == 1 || code == 3, "{code}: {said}");
    assert!(
        said.contains("disk") && said.to_lowercase().contains("full") || said.contains("No space left"),
        "{said}"
    );
    assert_eq!(digest(&house.repo()), before, "the user's repository was changed");

    fs::remove_file(disk.0.join("filler")).unwrap();
    let (code, said) = run("Third");
    assert_eq!(code, 0, "after the disk has room again: {said}");
    let output = house.command(["clean", "--all"]).env("CLOUD_CODE_HOME", &disk.0).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
