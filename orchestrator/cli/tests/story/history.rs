//! What is kept of every attempt: shown, packed, capped, and there when the workspace is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ended, House};

const SECRET: &str = "story-secret-0123456789";

/// A run of the CLI `command` as a process of this machine.
fn local(house: &House, script: &str, task: &str, more: &[&str]) -> Ended {
    let mut args = house.shell_task(script, task);
    args.extend(["--runtime", "local"].map(str::to_owned));
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    let mut command = house.command(&args);
    Ended::of(&command.env("STORY_SECRET", SECRET).output().unwrap())
}

fn story(house: &House, issue: &str) -> Value {
    house.run(["show", issue, "--json"]).expect(0).json().remove(0)
}

fn unpacked(path: &Path) -> BTreeMap<String, String> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(path).unwrap()));
    let read = |entry: Result<tar::Entry<'_, _>, _>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), text)
    };
    tar.entries().unwrap().map(read).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_story_is_told_and_outlives_the_workspace() {
    let house = House::new();
    let verify = ["--verify", "grep -q right answer.txt"];
    let script = "cat > prompt.txt; echo wrong > answer.txt; echo the program speaks";
    local(&house, script, "Answer", &verify).expect(3);

    let shown = house.run(["show"]).expect(0).out;
    for part in [
        "branch   cloud-code/answer from main",
        "at the command line",
        "queued",
        "preparing",
        "running",
        "importing",
        "failed",
        "verify_failed: ",
        "attempt 1  command",
        "1 verify round, 1 of 1 runs failed",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    let told = story(&house, "answer");
    let task = &told["tasks"][0];
    let events: Vec<&str> =
        task["phases"].as_array().unwrap().iter().map(|phase| phase["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["asked", "taken", "started", "ended", "imported"]);
    assert!(task["phases"][0]["took_ms"].is_i64() && task["phases"][4]["took_ms"].is_null());
    assert_eq!(task["attempts"][0]["result"], "verify_failed");
    let kept = &task["attempts"][0]["kept"];
    assert_eq!((&kept["exit"]["container"], &kept["cli"]["runtime"]), (&0.into(), &"local".into()));
    assert_eq!(kept["missing"], Value::Null, "{kept:#}");
    let files: Vec<&str> =
        kept["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    let all =
        ["tasking.yaml", "reporting.yaml", "cli.yaml", "prompt.md", "events.jsonl", "after.diff", "cli.log"];
    assert_eq!(files, all);

    house.run(["clean", "answer", "--force"]).expect(0);
    assert!(
        house.run(["logs", "answer"]).expect(1).err.contains("cloud-code show"),
        "no hint at the history"
    );
    let detail = house.run(["show", "answer", "--attempt", "1"]).expect(0).out;
    for part in ["attempt  1", "verify   round 1: exit code 1", "files    ", "cli.log"] {
        assert!(detail.contains(part), "{part:?} is not in\n{detail}");
    }
    assert!(house.run(["show", "answer", "--log"]).expect(0).out.contains("the program speaks"));
    let patch = house.run(["show", "answer", "--diff"]).expect(0).out;
    assert!(patch.contains("+wrong\n") && patch.contains("+++ b/answer.txt"), "{patch}");
    let none = house.run(["show", "answer", "--attempt", "2"]).expect(1).err;
    assert!(none.contains("has no attempt 2") && none.contains("it has 1"), "{none}");

    // `attempt.yaml` is what its schema says.
    let folder = house.home().join("history");
    let project = folder.join(names(&folder).into_iter().find(|name| name.contains("repo")).unwrap());
    let issue = project.join("answer");
    let file = issue.join(&names(&issue)[0]).join("attempt.yaml");
    house.run(["validate".as_ref(), file.as_os_str()]).expect(0);
}

#[test]
fn an_export_holds_what_the_store_says_and_no_secret() {
    let house = House::new();
    fs::create_dir_all(house.home().join("projects")).unwrap();
    let project =
        format!("repo: {}\nsecrets: [STORY_SECRET]\nenv: {{REGION: a value}}\n", house.repo().display());
    fs::write(house.home().join("projects/shop.yaml"), project).unwrap();
    let script =
        "echo \"$STORY_SECRET\" | base64; echo \"$STORY_SECRET\"; echo hi > hi.txt; cat > prompt.txt";
    let args = ["run", "--project", "shop", "--cli", "command", "--runtime", "local", "--command"];
    let mut command = house.command(args);
    command.arg(format!("sh -euc '{script}'")).arg("Say hi").env("STORY_SECRET", SECRET);
    Ended::of(&command.output().unwrap()).expect(0);

    let path = house.path().join("hi.tar.gz");
    let export = |more: &[&str]| {
        let mut command = house.command(["export", "say-hi", "--output", "hi.tar.gz"]);
        Ended::of(&command.args(more).env("STORY_SECRET", SECRET).output().unwrap())
    };
    let said = export(&[]).expect(0).out;
    assert!(said.contains("exported shop#say-hi with 1 attempt to hi.tar.gz"), "{said}");
    let first = fs::read(&path).unwrap();
    assert!(export(&[]).expect(1).err.contains("--force replaces it"));
    export(&["--force"]).expect(0);
    assert_eq!(fs::read(&path).unwrap(), first, "the same story makes the same file");
    let zst = house.run(["export", "say-hi", "--output", "hi.zip"]).expect(1).err;
    assert!(zst.contains("does not end in .tar.gz"), "{zst}");

    let files = unpacked(&path);
    for (name, text) in &files {
        assert!(name.starts_with("shop-say-hi/") && !name.contains(".."), "{name}");
        assert!(!text.contains(SECRET), "the secret is in {name}");
        assert!(!text.contains("a value"), "a variable's value is in {name}");
    }
    let timeline: Value = serde_json::from_str(&files["shop-say-hi/timeline.json"]).unwrap();
    assert_eq!(timeline, story(&house, "say-hi"));
    let rows: Value = serde_json::from_str(&files["shop-say-hi/rows.json"]).unwrap();
    let stored = house.run(["status", "say-hi", "--json"]).expect(0).json().remove(0);
    assert_eq!(rows["issue"], stored["issue"]);
    assert_eq!(rows["attempts"], stored["tasks"][0]["attempts"]);
    let id = stored["tasks"][0]["task"]["task"]["id"].as_str().unwrap();
    assert_eq!(rows["tasks"][0]["state"], stored["tasks"][0]["task"]["state"]);
    let about = &files[&format!("shop-say-hi/attempts/{id}.1/attempt.yaml")];
    assert!(about.contains("- REGION") && about.contains("- STORY_SECRET"), "{about}");
    let log = &files[&format!("shop-say-hi/attempts/{id}.1/cli.log")];
    assert!(log.contains("***") || log.contains("[secret removed]"), "{log}");
    let events = &files[&format!("shop-say-hi/attempts/{id}.1/events.jsonl")];
    assert!(events.contains(r#""type":"task_ended""#), "the agent's last event is missing\n{events}");
}

#[test]
fn a_workspace_keeps_the_newest_logs_and_the_history_all_of_them() {
    let house = House::new();
    local(&house, "echo one > one.txt; cat > prompt.txt", "Count", &[]).expect(0);
    house.run(["continue", "count", "And on"]).expect(0);
    let logs = names(&house.control("count").join("logs"));
    assert_eq!(logs.len(), 2, "{logs:?}");
    let told = story(&house, "count");
    let ids = [0, 1].map(|task| told["tasks"][task]["id"].as_str().unwrap().to_owned());
    assert!(logs.iter().all(|name| name.starts_with(&ids[1])), "{logs:?}");
    for id in &ids {
        let detail = house.run(["show", "count", "--task", id]).expect(0).out;
        assert!(detail.contains(id) && detail.contains("cli.log"), "{detail}");
    }
    let second = &told["tasks"][1]["attempts"][0]["kept"]["commits"];
    assert_eq!(second["before"], told["tasks"][0]["attempts"][0]["kept"]["commits"]["after"]);
}

#[test]
fn what_was_dropped_is_told_and_what_a_person_drops_too() {
    let house = House::new();
    house.more_settings("history: {max_size: 44KiB}\n");
    for task in ["One", "Two", "Three"] {
        local(&house, "cat > prompt.txt", task, &[]).expect(0);
    }
    let shown = house.run(["show", "one"]).expect(0).out;
    assert!(shown.contains("its files were dropped") && shown.contains("history.max_size"), "{shown}");
    assert!(shown.contains("dropped  1 attempt of this issue"), "{shown}");
    let refused = house.run(["show", "one", "--log"]).expect(1).err;
    assert!(refused.contains("were dropped") && refused.contains("cloud-code.yaml"), "{refused}");
    house.run(["show", "three", "--attempt", "1"]).expect(0);

    house.run(["clean", "three"]).expect(0);
    house.run(["show", "three", "--attempt", "1"]).expect(0);
    let cleaned = house.run(["clean", "three", "--history"]).expect(0).out;
    assert!(cleaned.contains("dropped 1 attempt of"), "{cleaned}");
    let gone = house.run(["show", "three"]).expect(0).out;
    assert!(gone.contains("its files were dropped") && gone.contains("it was cleaned"), "{gone}");
}
