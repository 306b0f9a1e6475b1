//! `cli list`, `show` and `check`, and a CLI of one's own that needs no rebuild of cloud-code.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::{Ended, House, done, git};

fn of<'a>(lines: &'a [Value], cli: &str) -> &'a Value {
    lines.iter().find(|line| line["cli"] == cli).unwrap_or_else(|| panic!("{cli} is not in {lines:#?}"))
}

#[test]
fn the_list_says_what_each_cli_can_do_and_lacks() {
    let house = House::new();
    let mut command = house.command(["cli", "list", "--json"]);
    let ended =
        Ended::of(&command.env("ANTHROPIC_API_KEY", "sk-ant-story-secret-6").output().unwrap()).expect(0);
    assert!(!ended.out.contains("story-secret"), "a key was printed: {}", ended.out);
    let lines = ended.json();
    let claude = of(&lines, "claude-code");
    assert_eq!(claude["image_state"]["built"], "yes", "{claude:#}");
    assert_eq!(claude["supports"]["resume"], true);
    assert_eq!(claude["supports"]["plan"], "own");
    assert_eq!(claude["supports"]["max_turns"], "told");
    assert_eq!(claude["credentials"]["name"], "ANTHROPIC_API_KEY");
    let codex = of(&lines, "codex");
    assert_eq!(
        (codex["supports"]["plan"].as_str(), codex["supports"]["cost"].as_bool()),
        (Some("mount"), Some(false))
    );
    assert_eq!(codex["credentials"]["credentials"], "missing", "{codex:#}");
    assert_eq!(of(&lines, "command")["credentials"]["credentials"], "not_needed");

    let table = house.run(["cli", "list"]).expect(0).out;
    assert!(table.contains("missing: ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN"), "{table}");
    let shown = house.run(["cli", "show", "codex"]).expect(0).out;
    assert!(shown.contains("from         built in") && shown.contains("output: codex-jsonl"), "{shown}");
    let ended = house.run(["cli", "show", "codx"]).expect(1);
    assert!(ended.err.contains("did you mean `codex`?"), "{}", ended.err);
}

/// A provider that answers every question with one status, and says what it was asked.
fn provider(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let asked: Vec<String> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
        asked.join("\n")
    });
    (url, asked)
}

fn checked(house: &House, base_url: &str) -> Ended {
    let args = ["cli", "check", "claude-code", "--json", "--base-url", base_url];
    Ended::of(&house.command(args).env("ANTHROPIC_API_KEY", "sk-ant-story-secret-7").output().unwrap())
}

#[test]
fn a_check_asks_the_program_for_its_version_and_the_provider_for_its_models() {
    let house = House::new();
    let (url, asked) = provider("200 OK");
    let ended = checked(&house, &url).expect(0);
    let lines = ended.json();
    let version = of(&lines, "claude-code")["version"].clone();
    assert_eq!(version["mark"], "ok", "{version:#}");
    assert_eq!(lines[0]["credentials"]["verdict"]["result"], "valid");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /v1/models HTTP/1.1"), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("x-api-key: sk-ant-story-secret-7"), "{asked}");
    assert!(!ended.out.contains("story-secret"), "the key was printed: {}", ended.out);
    assert_eq!(house.containers(), Vec::<String>::new(), "a container was left");
}

#[test]
fn a_check_fails_when_something_is_wrong() {
    let house = House::new();
    let (url, _) = provider("401 Unauthorized");
    let lines = checked(&house, &url).expect(1).json();
    assert_eq!(lines[0]["credentials"]["verdict"]["status"], 401, "{lines:#?}");

    // Nobody could be asked: not known, and not wrong.
    let lines = checked(&house, "http://127.0.0.1:9").expect(0).json();
    assert_eq!(lines[0]["credentials"]["verdict"]["result"], "not_asked", "{lines:#?}");

    let all = house.run(["cli", "check", "--base-url", "https://api.openai.com"]).expect(1);
    assert!(all.err.contains("would get the keys of all: name one CLI"), "{}", all.err);
    let ended = house.run(["cli", "check", "codex", "--base-url", "api.openai.com"]).expect(1);
    assert!(ended.err.contains("is no address of a provider"), "{}", ended.err);

    let missing = house.run(["cli", "check", "codex"]).expect(1);
    assert!(missing.out.contains("set one of CODEX_API_KEY"), "{}", missing.out);

    // An image that holds another program than it should.
    let wrong = house.run(["cli", "check", "codex", "--image", "cloud-code/base:latest"]).expect(1);
    assert!(wrong.out.contains("WRONG    codex        version"), "{}", wrong.out);
}

#[test]
fn a_folder_adds_a_cli_without_a_rebuild() {
    let house = House::new();
    let folder = house.path().join("clis/story-script");
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write(
        "cli.yaml",
        "name: story-script\ncommand: [story-script]\nedit: [--write]\nplan: [--look]\nversion: [story-script, --version]\n\
         env: {STORY_MOOD: calm}\n",
    );
    write(
        "story-script",
        "#!/bin/sh\nset -eu\ncase \"$1\" in\n--version) echo story-script 3.2.1; exit ;;\n\
         --look) echo \"I would write story.txt.\"; exit ;;\nesac\n\
         { echo \"$STORY_MOOD\"; cat; } > story.txt\necho \"I wrote story.txt.\"\n",
    );
    write(
        "Dockerfile",
        "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY story-script /usr/local/bin/story-script\nRUN chmod 755 /usr/local/bin/story-script\n\
         LABEL cloud-code.cli=story-script cloud-code.cli-version=3.2.1\n",
    );
    let image = "cloud-code/story-script:latest";
    done(
        Command::new("docker")
            .args(["build", "--quiet", "--tag", image, "--build-arg", "BASE_IMAGE=cloud-code/base:latest"])
            .arg(&folder),
    );
    let clis = house.path().join("clis").display().to_string();
    let with = |args: &[&str]| house.run([&["--cli-dir", &clis], args].concat());

    let listed = with(&["cli", "list", "--json"]).expect(0).json();
    let own = of(&listed, "story-script");
    assert_eq!((own["image"].as_str(), own["from"].as_str()), (Some(image), folder.to_str()));
    assert_eq!(own["image_state"]["version"], "3.2.1", "{own:#}");
    let checked = with(&["cli", "check", "story-script"]).expect(0).out;
    assert!(checked.contains("3.2.1 in cloud-code/story-script:latest"), "{checked}");
    assert!(checked.contains("none needed"), "{checked}");

    let repo = house.repo().display().to_string();
    let run = ["run", "--repo", &repo, "--cli", "story-script", "--network", "none"];
    let ended = with(&[&run[..], &["Tell a story"]].concat()).expect(0);
    assert!(ended.out.contains("I wrote story.txt."), "{}", ended.out);
    let story = git(&house.repo(), ["show", "cloud-code/tell-a-story:story.txt"]);
    assert!(story.starts_with("calm\n") && story.contains("Tell a story"), "{story}");
    let ended = with(&[&run[..], &["--mode", "plan", "Plan a story"]].concat()).expect(0);
    assert!(ended.out.contains("I would write story.txt."), "{}", ended.out);
    done(Command::new("docker").args(["rmi", "--force", image]));
}
