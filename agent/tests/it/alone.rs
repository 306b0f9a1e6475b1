//! docs/AGENT.md is true: its five lines are run as they stand there, and its table of options is the program's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cloud_code_task_schema::{TaskReportStatus, parse_reporting};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/AGENT.md")).unwrap()
}

/// The shell blocks below the heading of the five lines: on this machine, and in a container.
fn blocks() -> Vec<Vec<String>> {
    let page = page();
    let section = page.split("\n## ").find(|section| section.starts_with("By hand, in five lines")).unwrap();
    let block = |text: &str| text.split("```").next().unwrap().lines().map(str::to_owned).collect();
    section.split("```sh\n").skip(1).map(block).collect()
}

/// A folder of programs with the agent under its own name, as after an installation.
fn path_with_agent(root: &Path) -> String {
    let bin = root.join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cloud-code-agent"), bin.join("cloud-code-agent")).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn run(root: &Path, lines: &[String]) -> Output {
    let path = path_with_agent(root);
    Command::new("sh").args(["-euc", &lines.join("\n")]).current_dir(root).env("PATH", path).output().unwrap()
}

#[test]
fn the_five_lines_of_the_page_work_as_they_stand_there() {
    let blocks = blocks();
    let here = blocks.first().unwrap();
    assert_eq!(here.len(), 5, "{here:#?}");
    let root = tempfile::tempdir().unwrap();
    let output = run(root.path(), here);
    let (told, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{complaint}");
    let control = root.path().join("try/control");
    let text = fs::read_to_string(control.join("reporting.yaml")).unwrap();
    let report = parse_reporting("reporting.yaml", &text).unwrap().tasks.into_values().next().unwrap();
    assert_eq!((report.status, report.failure), (TaskReportStatus::Completed, None));
    assert_eq!(report.summary.as_deref(), Some("wrote it down"));
    for expected in ["status: completed", "    wrote it down", "PROMPT.md |"] {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
    let prompt = fs::read_to_string(root.path().join("try/tree/PROMPT.md")).unwrap();
    assert!(prompt.contains("Write it down") && prompt.contains("Do it."), "{prompt}");
}

/// The lines for a container are run by the suite that has containers; here they are held to be the same ones.
#[test]
fn in_a_container_only_the_fourth_line_differs() {
    let [here, contained]: [Vec<String>; 2] = blocks().try_into().unwrap();
    let differing: Vec<usize> = (0..5).filter(|at| here.get(*at) != contained.get(*at)).collect();
    assert_eq!((differing, contained.len()), (vec![3], 5));
    let agent_arguments = |line: &str| line[line.find("--control").unwrap()..].replace("/try/", "try/");
    assert_eq!(agent_arguments(&here[3]), agent_arguments(&contained[3]));
}

/// Every option, by its name and what it takes, with its default where it has one.
#[test]
fn the_options_of_the_page_are_those_of_the_program() {
    let agent = PathBuf::from(env!("CARGO_BIN_EXE_cloud-code-agent"));
    let help = String::from_utf8(Command::new(agent).arg("--help").output().unwrap().stdout).unwrap();
    let page = page();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `--")).collect();
    let options: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  --")).collect();
    assert!(options.len() >= 10, "{help}");
    let mut named = 0;
    for option in &options {
        for name in option.split("  ").next().unwrap().split(", ") {
            let name = name.trim_start_matches("--").split(' ').next().unwrap();
            let row = rows.iter().find(|row| {
                row.split('|')
                    .nth(1)
                    .unwrap()
                    .split('`')
                    .any(|word| word.split(' ').next() == Some(&format!("--{name}")))
            });
            let row = row.unwrap_or_else(|| panic!("docs/AGENT.md does not tell of --{name}"));
            if let Some(default) = option.split("(default ").nth(1) {
                let default = default.trim_end_matches(')');
                assert_eq!(row.split('|').nth(2).unwrap().trim(), format!("`{default}`"), "{row}");
            }
            named += 1;
        }
    }
    let told: usize = rows.iter().map(|row| row.split('|').nth(1).unwrap().matches("`--").count()).sum();
    assert_eq!(told, named, "docs/AGENT.md tells of options that the program does not have");
}
