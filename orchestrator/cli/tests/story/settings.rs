//! Project settings on their way to the agent: prompts of one's own, the style of commits, limits.

use std::fs;

use cloud_code_task_schema::{CommitStyle, PROMPT_NAMES, parse_tasking};

use crate::support::{Ended, House, git};

/// Writes `projects/shop.yaml` for a program that keeps its prompt.
fn project(house: &House, more: &str) {
    let projects = house.home().join("projects");
    fs::create_dir_all(&projects).unwrap();
    let text = format!(
        "repo: {}\ncli: command\ncommand: [sh, -euc, 'cat > prompt.txt']\ncontainer: {{network: none}}\n{more}",
        house.repo().display()
    );
    fs::write(projects.join("shop.yaml"), text).unwrap();
}

fn commit(house: &House) {
    git(&house.repo(), ["add", "--all"]);
    git(&house.repo(), ["commit", "--quiet", "--message", "Prompts"]);
}

fn run(house: &House, task: &str) -> Ended {
    house.run(["run", "--project", "shop", task])
}

fn own_prompts(house: &House, issue: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(house.control(issue).join("prompts")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_projects_own_prompts_come_from_its_repository_at_the_base() {
    let house = House::new();
    house.write("tools/prompts/task.md", "A task of the house: {{ task.title }}\n");
    house.write("tools/prompts/.gitkeep", "");
    commit(&house);
    project(&house, "prompts: tools/prompts\n");
    run(&house, "Paint the door").expect(0);
    assert_eq!(own_prompts(&house, "paint-the-door"), ["task.md"]);
    let copied = fs::read_to_string(house.control("paint-the-door").join("prompts/task.md")).unwrap();
    assert_eq!(copied, "A task of the house: {{ task.title }}\n");
    let prompt = git(&house.repo(), ["show", "cloud-code/paint-the-door:prompt.txt"]);
    assert!(prompt.starts_with("A task of the house: Paint the door"), "{prompt}");

    // The next task of a project that has no prompts any more does not get the old ones.
    let folder = house.path().join("prompts");
    fs::create_dir(&folder).unwrap();
    project(&house, &format!("prompts: {}\n", folder.display()));
    fs::write(folder.join("task.md"), "From this machine: {{ task.title }}\n").unwrap();
    run(&house, "Paint the wall").expect(0);
    let prompt = git(&house.repo(), ["show", "cloud-code/paint-the-wall:prompt.txt"]);
    assert!(prompt.starts_with("From this machine: Paint the wall"), "{prompt}");
    fs::remove_file(folder.join("task.md")).unwrap();
    house.run(["continue", "paint-the-wall", "--command", "sh -c 'cat > again.txt'", "Again"]).expect(0);
    assert_eq!(own_prompts(&house, "paint-the-wall"), Vec::<String>::new());
}

#[test]
fn prompts_that_cannot_be_used_are_refused_before_anything_is_made() {
    let house = House::new();
    house.write("good/task.md", "x");
    house.write("unknown/taks.md", "x");
    house.write("large/task.md", &"x".repeat(64 * 1024 + 1));
    fs::create_dir(house.repo().join("links")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", house.repo().join("links/task.md")).unwrap();
    commit(&house);
    let outside = house.path().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", outside.join("task.md")).unwrap();
    let outside = outside.display().to_string();
    for (folder, says) in [
        ("unknown", "`taks.md` in the folder `unknown` is no prompt"),
        ("large", "`large/task.md` is larger than 64 KiB"),
        ("links", "`links/task.md` is not a plain file"),
        ("../outside", "`../outside` is not a path in the repository"),
        ("missing", "there is no folder `missing` in the commit"),
        (outside.as_str(), "is not a regular file"),
    ] {
        project(&house, &format!("prompts: {folder}\n"));
        let ended = run(&house, "Never").expect(1);
        assert!(ended.err.contains(says), "{folder}: {}", ended.err);
        assert!(!ended.err.contains("root:x:"), "{}", ended.err);
    }
    project(&house, "prompts: unknown\n");
    let ended = run(&house, "Never").expect(1);
    assert!(PROMPT_NAMES.iter().all(|name| ended.err.contains(&format!("{name}.md"))), "{}", ended.err);
    assert!(!house.home().join("workspaces").exists());
}

#[test]
fn commits_and_limits_reach_the_agent_as_they_are_set() {
    let house = House::new();
    project(
        &house,
        "commit: {author_name: Robot, author_email: robot@example.com, style: conventional, co_authors: [Ada <ada@example.com>]}\n\
         limits: {verify_timeout: 90s}\n",
    );
    run(&house, "Fix the door").expect(0);
    let text = fs::read_to_string(house.control("fix-the-door").join("tasking.yaml")).unwrap();
    let task = parse_tasking("tasking.yaml", &text).unwrap().tasks.remove(0);
    assert_eq!(task.limits.verify_timeout.to_string(), "90s");
    assert_eq!(task.commit.style, CommitStyle::Conventional);
    let log = git(&house.repo(), ["log", "-1", "--format=%an <%ae>%n%B", "cloud-code/fix-the-door"]);
    assert!(log.starts_with("Robot <robot@example.com>\n"), "{log}");
    assert!(log.contains("Co-authored-by: Ada <ada@example.com>"), "{log}");
}
