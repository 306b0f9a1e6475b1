//! The prompt: the task in plain words. The task's texts are data here; nothing in them is expanded.

use std::fmt::Write as _;

use cloud_code_task_schema::{Handoff, Mode, Task, VerifyReport};

/// How the CLI meets the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// For the first time.
    New,
    /// An earlier attempt broke off; its session goes on.
    Interrupted,
}

/// The whole task.
pub(crate) fn of_task(task: &Task, occasion: Occasion) -> String {
    let mut text = String::new();
    if occasion == Occasion::Interrupted {
        text.push_str("You were interrupted while working on the task below. Look at what is there already, then go on.\n\n");
    }
    // A title is often the description's own first line; saying it twice only puzzles.
    let is_repeated =
        task.description.trim_start().lines().next().is_some_and(|line| line.trim() == task.title.trim());
    if !is_repeated {
        paragraph(&mut text, "", &format!("# {}", task.title.trim()));
    }
    paragraph(&mut text, "", &task.description);
    list(&mut text, "## Acceptance criteria", &task.acceptance_criteria);
    list(&mut text, "## Related files", &task.context.related_files);
    if let Some(notes) = &task.context.notes {
        paragraph(&mut text, "## Notes\n\n", notes);
    }
    if let Some(handoff) = &task.handoff {
        add_handoff(&mut text, handoff);
    }
    text.push_str("## How to work here\n\n");
    text.push_str(match task.mode {
        Mode::Edit => {
            "- Work in the current directory, a git worktree. Make the change; nobody can answer questions meanwhile.\n\
             - Leave the result in the files. Committing is done for you; do not push, switch branches or change git's configuration.\n\
             - End with a short summary of what you did and why, for the pull request.\n"
        }
        Mode::Plan => {
            "- Do not change any file. Read what you need in the current directory.\n\
             - End with a plan: what would be changed, where, in which order, and what could go wrong.\n"
        }
        Mode::Review => {
            "- Do not change any file. Read what you need in the current directory, a git worktree.\n\
             - End with a review: what is wrong or doubtful, each point with its file and line, the gravest first.\n"
        }
    });
    if task.mode == Mode::Edit && !task.verify.is_empty() {
        text.push_str("- These commands will be run afterwards and must succeed:\n");
        for command in &task.verify {
            let _ = writeln!(text, "  - `{command}`");
        }
    }
    text
}

/// What to tell the CLI when verify commands failed.
pub(crate) fn of_failed_verify(failed: &[VerifyReport]) -> String {
    let mut text = String::from(
        "The checks failed after your change. Fix the cause, then end with a short summary of all you did.\n",
    );
    for report in failed {
        let how = report
            .exit_code
            .map_or_else(|| "did not end in time".to_owned(), |code| format!("exited with code {code}"));
        let _ = write!(text, "\n`{}` {how}. The end of its output:\n\n", report.command);
        for line in report.output_tail.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn paragraph(text: &mut String, heading: &str, body: &str) {
    if !body.trim().is_empty() {
        let _ = write!(text, "{heading}{}\n\n", body.trim_end());
    }
}

fn list(text: &mut String, heading: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = write!(text, "{heading}\n\n");
    for item in items {
        let _ = writeln!(text, "- {item}");
    }
    text.push('\n');
}

fn add_handoff(text: &mut String, handoff: &Handoff) {
    text.push_str("## What was done before you\n\n");
    paragraph(text, "Goal: ", handoff.goal.as_deref().unwrap_or_default());
    list(text, "Done:", &handoff.done);
    list(text, "Open:", &handoff.open);
    list(text, "Failing checks:", &handoff.failed_checks);
    paragraph(text, "Changes so far:\n\n", handoff.diff_stat.as_deref().unwrap_or_default());
}
