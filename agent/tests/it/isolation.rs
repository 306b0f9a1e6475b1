use std::io::Write as _;
use std::process::Stdio;

use cloud_code_task_schema::{FailureKind, TaskReportStatus};

use crate::house::{House, is_root, task};

const SECRET: &str = "sk-test-0123456789abcdef";

/// Everything below a folder, as one text.
fn all_text(dir: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        text.push_str(&path.display().to_string());
        if path.is_dir() {
            text.push_str(&all_text(&path));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    text
}

#[test]
fn secrets_reach_only_the_cli() {
    let script = "printf %s \"$API_KEY\" > $NOTES/seen; echo \"the key is $API_KEY\"; printf sk-test-0123; sleep 0.1; printf '456789abcdef\\n'\n\
                  echo \"err $API_KEY\" >&2; tr '\\0' '\\n' < /proc/$$/cmdline > $NOTES/cmdline; echo x > file";
    let mut house = House::with_manifest(script, "credentials: [API_KEY]\n");
    house.extra = vec!["--secrets-stdin".into(), "--once".into()];
    house.assign(1, &[task("one", "verify: ['echo \"key=$API_KEY\" > $HOME/verify']")]);
    let mut child =
        house.command(&["timeout", "60"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let document = format!(r#"{{"env": {{"API_KEY": "{SECRET}"}}}}"#);
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(house.note("seen").unwrap(), SECRET);
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
    assert_eq!(house.read("home/verify"), "key=\n");
    let told = all_text(&house.path("control"));
    assert!(!told.contains(SECRET), "{told}");
    assert!(!house.note("cmdline").unwrap().contains(SECRET));
    let log = house.read("control/logs/one.1.log");
    assert!(log.contains("the key is ***\n") && log.contains("***\n") && log.contains("err ***"), "{log}");
}

#[test]
fn a_credential_of_the_own_environment_is_passed_by_name_only() {
    let house = &mut House::with_manifest(
        "env > $NOTES/env; echo x > file",
        "credentials: [API_KEY]\nenv: {OWN: '1'}\nbase_url_env: BASE\n",
    );
    house.env = vec![
        ("API_KEY".into(), SECRET.into()),
        ("OTHER_TOKEN".into(), "leak".into()),
        ("TZ".into(), "UTC".into()),
    ];
    house.extra = vec!["--base-url".into(), "http://127.0.0.1:1".into()];
    house.assign(1, &[task("one", "commit: {author_name: Ada, author_email: ada@example.org}")]);
    house.run_once();
    let mut names: Vec<String> = house
        .note("env")
        .unwrap()
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect();
    names.retain(|name| !matches!(name.as_str(), "PWD" | "OLDPWD" | "SHLVL" | "_"));
    names.sort();
    let expected = [
        "API_KEY",
        "BASE",
        "CI",
        "DEBIAN_FRONTEND",
        "EDITOR",
        "GIT_AUTHOR_EMAIL",
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_KEY_0",
        "GIT_CONFIG_VALUE_0",
        "GIT_EDITOR",
        "GIT_PAGER",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "LANG",
        "LC_ALL",
        "LOGNAME",
        "NO_COLOR",
        "OWN",
        "PAGER",
        "PATH",
        "SHELL",
        "TERM",
        "TZ",
        "USER",
    ];
    assert_eq!(names, expected);
    assert_eq!(house.git(&["log", "-1", "--format=%an"]), "Ada");
}

#[test]
fn the_cli_runs_without_privileges_files_or_terminal() {
    let script = "id -u > $NOTES/uid; id -G > $NOTES/groups; grep -E 'NoNewPrivs|CapEff|CapPrm' /proc/self/status > $NOTES/status\n\
                  ls /proc/self/fd > $NOTES/fds; ps -o tty=,sid=,pid= -p $$ > $NOTES/ps; (: < /dev/tty) 2>/dev/null && echo yes > $NOTES/tty\n\
                  cat \"${0%/bin/cli}/control/tasking.yaml\" > $NOTES/control 2>/dev/null; echo x > file";
    let house = House::new(script);
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let own = nix::unistd::geteuid().as_raw();
    let uid = if is_root() { 1000 } else { own };
    assert_eq!(house.note("uid").unwrap().trim(), uid.to_string());
    assert!(house.note("status").unwrap().contains("NoNewPrivs:\t1"));
    // `ls` itself holds a fourth for the listing.
    assert_eq!(house.note("fds").unwrap(), "0\n1\n2\n3\n");
    assert_eq!(house.note("tty"), None);
    let ps = house.note("ps").unwrap();
    let fields: Vec<&str> = ps.split_whitespace().collect();
    assert_eq!((fields[0], fields[1] == fields[2]), ("?", true), "{ps}");
    if is_root() {
        assert_eq!(house.note("groups").unwrap().trim(), "1000");
        assert!(house.note("status").unwrap().contains("CapEff:\t0000000000000000"));
        assert_eq!(house.note("control").unwrap(), "");
    }
}

#[test]
fn as_root_without_user_it_says_so() {
    assert!(is_root(), "this test is about root; run it as root");
    let mut house = House::new("id -u > $NOTES/uid; echo x > file");
    house.extra = vec!["--as-root".into()];
    house.assign(1, &[task("one", "")]);
    house.run_once();
    assert_eq!(house.note("uid").unwrap(), "0\n");
    assert!(house.has_warning("the CLI runs as root"));
}

#[test]
fn the_prompt_comes_by_every_channel() {
    for (channel, read) in [("stdin", "cat"), ("argument", "printf '%s' \"$1\""), ("file", "cat \"$1\"")] {
        let house = House::with_manifest(
            &format!("{read} > $NOTES/prompt; echo x > file"),
            &format!("prompt: {channel}\n"),
        );
        house.assign(1, &[task("one", "context: {notes: '$(touch /tmp/never) `x` \"quoted\"'}")]);
        house.run_once();
        let prompt = house.note("prompt").unwrap();
        assert!(prompt.starts_with("# Title of one\n\nDo one\n"), "{channel}: {prompt}");
        assert!(prompt.contains("$(touch /tmp/never) `x` \"quoted\""), "{channel}: {prompt}");
        assert!(!house.read("control/events.jsonl").contains("touch /tmp/never"));
        assert_eq!(house.home_files(), Vec::<String>::new(), "{channel}");
    }
}

#[test]
fn a_long_prompt_is_neither_split_nor_waited_for() {
    let long = "word ".repeat(60_000);
    let house = House::with_manifest("wc -c > $NOTES/bytes; echo x > file", "");
    house.assign(1, &[task("one", &format!("context: {{notes: '{long}'}}"))]);
    house.run_once();
    assert!(house.note("bytes").unwrap().trim().parse::<usize>().unwrap() > 299_000);
    // A CLI that never reads its standard input.
    let house = House::new("echo x > file");
    house.assign(1, &[task("one", &format!("context: {{notes: '{long}'}}"))]);
    house.run_once();
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
    // A CLI that takes it as an argument cannot get it.
    let house = House::with_manifest("echo x > file", "prompt: argument\n");
    house.assign(1, &[task("one", &format!("context: {{notes: '{long}'}}"))]);
    house.run_once();
    assert_eq!(house.report("one").failure.unwrap().kind, FailureKind::InvalidTasking);
}

/// The CLI owns its HOME: a link it left there must not redirect what root writes.
#[test]
fn a_link_in_home_does_not_redirect_the_prompt_file() {
    let house = House::with_manifest("cat \"$1\" > $NOTES/prompt; echo x > file", "prompt: file\n");
    house.write("bin/target", "untouched");
    std::os::unix::fs::symlink(house.path("bin/target"), house.path("home/.cloud-code-prompt.one.1"))
        .unwrap();
    house.assign(1, &[task("one", "")]);
    house.run_once();
    assert_eq!(house.read("bin/target"), "untouched");
    assert!(house.note("prompt").unwrap().starts_with("# Title of one"));
}
