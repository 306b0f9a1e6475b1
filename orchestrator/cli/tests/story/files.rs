//! Files that people copy or that are generated: examples, schemas, help.

use std::fs;

use cloud_code_history::AttemptFile;
use cloud_code_model::{GlobalSettings, ProjectSettings};
use cloud_code_task_schema::{parse_strict, schema_of};

use crate::support::{House, top};

#[test]
fn the_example_settings_are_valid_and_say_the_defaults() {
    let read = |name: &str| fs::read_to_string(top().join("examples").join(name)).unwrap();
    let global: GlobalSettings = parse_strict("cloud-code.yaml", &read("cloud-code.yaml")).unwrap();
    let default_cli = "claude-code".parse().unwrap();
    let said = global.defaults.plan("r".into(), "codex".parse().unwrap());
    assert_eq!(
        said,
        ProjectSettings::default().plan("r".into(), default_cli),
        "the sample's defaults are not the defaults"
    );
    for entry in fs::read_dir(top().join("examples/projects")).unwrap() {
        let path = entry.unwrap().path();
        let project: ProjectSettings =
            parse_strict(&path.display().to_string(), &fs::read_to_string(&path).unwrap()).unwrap();
        assert!(project.repo.is_some());
    }
}

#[test]
fn the_schemas_of_settings_are_the_committed_ones() {
    for (name, schema) in [
        ("settings", schema_of::<GlobalSettings>("cloud-code.yaml")),
        ("project", schema_of::<ProjectSettings>("projects/<name>.yaml")),
        ("attempt", schema_of::<AttemptFile>("attempt.yaml")),
    ] {
        let path = top().join(format!("docs/schemas/{name}.schema.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            committed,
            text,
            "{} is old: UPDATE_SCHEMAS=1 cargo test -p cloud-code-cli",
            path.display()
        );
    }
}

#[test]
fn schema_prints_what_is_committed_for_the_contract() {
    let house = House::new();
    for kind in ["tasking", "reporting", "event", "cli"] {
        let printed = house.run(["schema", kind]).expect(0).out;
        let committed =
            fs::read_to_string(top().join(format!("task-schema/schemas/{kind}.v1.schema.json"))).unwrap();
        assert_eq!(printed.trim(), committed.trim(), "{kind}");
    }
}

#[test]
fn every_command_has_help_and_every_shell_its_completions() {
    let house = House::new();
    let help = house.run(["--help"]).expect(0).out;
    for command in [
        "run", "status", "list", "logs", "diff", "cancel", "resume", "clean", "inspect", "validate", "show",
        "export",
    ] {
        assert!(help.contains(command), "{command} is not in the help");
        assert!(house.run([command, "--help"]).expect(0).out.contains("Usage:"));
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(house.run(["completions", shell]).expect(0).out.contains("cloud-code"), "{shell}");
    }
}

#[test]
fn validate_takes_everything_in_examples() {
    let house = House::new();
    let examples = top().join("examples");
    for name in ["tasking.yaml", "reporting.yaml", "events.jsonl", "cloud-code.yaml", "projects/shop.yaml"] {
        let file = examples.join(name);
        house.run(["validate".as_ref(), file.as_os_str()]).expect(0);
    }
}

#[test]
fn images_list_says_what_is_built() {
    let house = House::new();
    let listed = house.run(["images", "list", "--json"]).expect(0).json();
    let of = |cli: &str| listed.iter().find(|l| l["cli"] == cli).unwrap().clone();
    for (cli, version) in [("claude-code", "2.1.329"), ("codex", "0.169.0")] {
        let line = of(cli);
        assert_eq!(line["pinned_version"], version);
        assert_eq!(line["built"]["labels"]["cloud-code.cli-version"], version, "run `make images`: {line:#}");
    }
}

#[test]
fn doctor_finds_this_machine_fit() {
    let house = House::new();
    let checks = house.run(["doctor", "--json"]).expect(0).json();
    let missing: Vec<_> = checks.iter().filter(|c| c["verdict"] == "missing").collect();
    assert!(missing.is_empty(), "{missing:#?}");
    for what in ["git", "home", "disk", "agent", "docker", "image", "credentials"] {
        assert!(checks.iter().any(|c| c["what"] == what), "nothing was said of {what}");
    }
}
