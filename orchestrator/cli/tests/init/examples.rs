//! The examples of GitHub: what stands in them as a comment is valid, too, and the unit starts what there is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{House, said};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// The paragraph that begins with `# github:`, without its comment signs.
fn of_github(text: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with("# github:"));
    let lines = lines.take_while(|line| line.starts_with("# "));
    lines.map(|line| format!("{}\n", &line[2..])).collect()
}

#[test]
fn the_settings_that_examples_show_as_comments_are_valid() {
    let house = House::new();
    for (name, keys) in [
        ("cloud-code.yaml", &["intake: webhook", "public_url:", "concurrency: 2"][..]),
        (
            "projects/shop.yaml",
            &["failing_check_rounds: 2", "conflict_rounds: 2", "require: write", "gates:", "reviewers:"][..],
        ),
    ] {
        let shown = of_github(&fs::read_to_string(example(name)).unwrap());
        for key in keys {
            assert!(shown.contains(key), "{key} is not in the comment of {name}:\n{shown}");
        }
        house.write(name, &shown);
        said(&house.command(&["validate", house.path(name).to_str().unwrap()]).output().unwrap());
    }
}

#[test]
fn the_unit_of_systemd_starts_a_command_that_there_is() {
    let house = House::new();
    let unit = fs::read_to_string(example("cloud-code.service")).unwrap();
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/cloud-code ")).unwrap();
    let args: Vec<&str> = start.split(' ').chain(["--help"]).collect();
    assert!(said(&house.command(&args).output().unwrap()).contains("--listen"));
}
