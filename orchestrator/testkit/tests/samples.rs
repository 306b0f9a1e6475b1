//! The scripts beside this crate, the sample repository, and the manifests of the coding CLIs: what others rely on.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of a test fail as the test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cloud_code_task_schema::{CliManifest, parse_manifest};
use cloud_code_testkit::Script;
use serde_yaml::Value;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn scripts() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(here("scripts"))
        .expect("the scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    found.sort();
    found
}

#[test]
fn every_script_beside_this_crate_is_a_good_one() {
    let names: Vec<String> = scripts()
        .iter()
        .map(|path| {
            Script::load(path).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
            path.file_name().expect("a name").to_string_lossy().into_owned()
        })
        .collect();
    for expected in ["demo.yaml", "edit-and-commit.yaml", "faults.yaml", "matrix.yaml"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is missing: {names:?}");
    }
}

/// A test names a scenario by its marker, and every CLI has to go through these.
#[test]
fn the_matrix_has_every_scenario_under_its_name() {
    let text = std::fs::read_to_string(here("scripts/matrix.yaml")).expect("the matrix");
    let script: Value = serde_yaml::from_str(&text).expect("YAML");
    let scenarios = script["scenarios"].as_mapping().expect("scenarios");
    let names: BTreeSet<&str> = scenarios.keys().filter_map(Value::as_str).collect();
    for name in &names {
        assert_eq!(scenarios[*name]["match"], format!("[{name}]").as_str());
    }
    let expected = [
        "edit",
        "commit",
        "resume-first",
        "resume-second",
        "plan",
        "bad-key",
        "rate-limited",
        "overloaded",
        "cut",
        "hang",
        "slow",
        "oom",
        "budget",
        "question",
    ];
    let missing: Vec<&str> = expected.into_iter().filter(|name| !names.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let budget = scenarios["budget"]["turns"].as_sequence().expect("turns");
    let sum = |key: &str| budget.iter().filter_map(|turn| turn["usage"][key].as_u64()).sum::<u64>();
    assert_eq!((sum("input"), sum("output")), (1000, 200));
}

/// Does to the sample repository what the demo's script says, as a CLI would, and runs the tests where it does.
#[test]
fn the_demo_fixes_the_sample_repository_and_its_test_fails_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(here("../../examples/demo/sample/."))
        .arg(tree)
        .status()
        .expect("cp runs");
    assert!(copied.success());
    let text = std::fs::read_to_string(here("scripts/demo.yaml")).expect("the demo");
    let script: Value = serde_yaml::from_str(&text).expect("YAML");
    let mut runs = Vec::new();
    for turn in script["turns"].as_sequence().expect("turns") {
        if let Some(command) = turn["run"].as_str() {
            let output =
                Command::new("sh").args(["-c", command]).current_dir(tree).output().expect("sh runs");
            assert!(output.status.success(), "{command}: {output:?}");
            runs.push(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        if let Some(path) = turn["edit"]["path"].as_str() {
            let file = tree.join(path);
            let before = std::fs::read_to_string(&file).expect("the file to edit");
            let old = turn["edit"]["old"].as_str().expect("old");
            assert_eq!(before.matches(old).count(), 1, "`old` must be in {path} once");
            assert!(
                before.contains(&format!("\n{old}")) || before.starts_with(old),
                "`old` must be whole lines"
            );
            let after = before.replacen(old, turn["edit"]["new"].as_str().expect("new"), 1);
            std::fs::write(&file, after).expect("the edit");
        }
    }
    assert_eq!(runs.len(), 3, "a look, a failing test, a passing test");
    assert!(runs[1].contains("FAILED  refuses an empty password"), "{}", runs[1]);
    assert!(runs[2].contains("all passed") && !runs[2].contains("FAILED"), "{}", runs[2]);
    let login = |user: &str, password: &str| {
        let mut command = Command::new("sh");
        command.args(["src/login.sh", user, password]).current_dir(tree);
        command.output().expect("sh runs").status.code()
    };
    assert_eq!((login("bob", ""), login("alice", "correct horse")), (Some(1), Some(0)));
}

fn manifests() -> BTreeMap<String, CliManifest> {
    let folder = here("../../docker/agents");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("docker/agents") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        // `command` runs in the base image, or in the project's own.
        assert!(name == "command" || path.join("Dockerfile").is_file(), "{name} has no Dockerfile");
        let file = path.join("cli.yaml");
        if name == "base" {
            assert!(!file.exists(), "the base is no CLI");
            continue;
        }
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let manifest = parse_manifest(&file.display().to_string(), &text)
            .unwrap_or_else(|problems| panic!("{}: {problems:?}", file.display()));
        assert_eq!(manifest.name.to_string(), name, "a manifest is named as its folder");
        found.insert(name, manifest);
    }
    found
}

#[test]
fn every_cli_has_a_manifest_that_the_contract_accepts() {
    let names: Vec<String> = manifests().into_keys().collect();
    for expected in
        ["aider", "claude-code", "codex", "command", "copilot", "gemini", "goose", "opencode", "qwen-code"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} is missing: {names:?}");
    }
}

/// The order in which a manifest's lists are put together decides what codex understands: `resume` is a
/// sub-command, and the sandbox is an option of what stands before it.
#[test]
fn codex_resumes_with_a_command_line_that_it_understands() {
    let codex = &manifests()["codex"];
    let words = [
        codex.command.clone(),
        codex.edit.clone(),
        codex.model.clone(),
        codex.resume.clone().expect("codex resumes"),
        codex.max_turns.clone(),
        codex.base_url.clone(),
        codex.tail.clone(),
    ]
    .concat();
    insta::assert_snapshot!(words.join("\n"));
}

/// `docker/versions.env` pins every CLI that is fetched, and nothing else does.
#[test]
fn versions_are_pinned_in_one_place() {
    let text = std::fs::read_to_string(here("../../docker/versions.env")).expect("docker/versions.env");
    let pinned: Vec<(&str, &str)> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let names: BTreeSet<String> = pinned.iter().map(|(name, _)| (*name).to_owned()).collect();
    let fetched: Vec<String> = manifests().into_keys().filter(|name| name != "command").collect();
    let expected = fetched.iter().map(|name| format!("{}_VERSION", name.to_uppercase().replace('-', "_")));
    assert_eq!(names, expected.collect());
    for folder in fetched.iter().map(String::as_str).chain(["base"]) {
        let dockerfile = std::fs::read_to_string(here("../../docker/agents").join(folder).join("Dockerfile"))
            .expect("a Dockerfile");
        for (_, version) in &pinned {
            assert!(!dockerfile.contains(version), "{folder}/Dockerfile repeats {version}");
        }
    }
}
