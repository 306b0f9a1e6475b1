//! What the CLI is told, from templates: the built-in ones, each replaced by the project's own where there is one.
//!
//! The task's texts are values here. Nothing in them is expanded, whatever they look like.

use cloud_code_task_schema::{
    CommitStyle, ControlDir, MAX_PROMPT_BYTES, Mode, PROMPT_NAMES, ReadError, Task, VerifyReport, read_capped,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

/// Steps of one rendering. The built-in prompts take some hundred; a loop without end must not hold the agent.
const MAX_STEPS: u64 = 1_000_000;

/// The templates that come with the agent, in the order of [`PROMPT_NAMES`].
const BUILT_IN: [&str; PROMPT_NAMES.len()] = [
    include_str!("../prompts/body.md"),
    include_str!("../prompts/task.md"),
    include_str!("../prompts/plan.md"),
    include_str!("../prompts/review.md"),
    include_str!("../prompts/ask.md"),
    include_str!("../prompts/follow-up.md"),
    include_str!("../prompts/interrupted.md"),
    include_str!("../prompts/packet.md"),
    include_str!("../prompts/hand-off.md"),
    include_str!("../prompts/verify-failed.md"),
    include_str!("../prompts/commit-message.md"),
];

/// What a turn of the conversation is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Turn<'a> {
    /// A task without anything before it.
    Task,
    /// The CLI's own conversation of an earlier task goes on.
    FollowUp,
    /// An earlier attempt broke off.
    Interrupted,
    /// An earlier conversation cannot be resumed; this was asked and done in it.
    Packet(&'a [Step]),
    /// Another CLI worked on it before; the task says what it left.
    HandOff,
    /// These verify commands failed.
    VerifyFailed(&'a [VerifyReport]),
    /// The work is done and has no message yet.
    CommitMessage,
}

impl Turn<'_> {
    const fn template(&self, mode: Mode) -> &'static str {
        match self {
            Self::Task => of_mode(mode),
            Self::FollowUp => "follow-up",
            Self::Interrupted => "interrupted",
            Self::Packet(_) => "packet",
            Self::HandOff => "hand-off",
            Self::VerifyFailed(_) => "verify-failed",
            Self::CommitMessage => "commit-message",
        }
    }
}

const fn of_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Edit => "task",
        Mode::Plan => "plan",
        Mode::Review => "review",
        Mode::Ask => "ask",
    }
}

/// What was asked and done in an earlier task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) status: String,
    pub(crate) failure: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) commits: Vec<String>,
    pub(crate) failed_checks: Vec<String>,
    pub(crate) questions: Vec<String>,
}

/// What is wrong with a prompt of the project.
#[derive(Debug, thiserror::Error)]
#[error("prompts/{name}.md: {problem}")]
pub(crate) struct PromptError {
    name: String,
    problem: String,
}

/// A prompt, ready to be sent.
#[derive(Debug)]
pub(crate) struct Prompt {
    /// The template it was made from.
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// Whether it begins the work, or begins it anew.
    pub(crate) opens: bool,
}

/// All templates.
pub(crate) struct Prompts {
    templates: Environment<'static>,
}

impl Prompts {
    /// Takes the project's own prompts out of the control directory, and the built-in ones for the rest.
    pub(crate) fn load(control: &ControlDir) -> Result<Self, PromptError> {
        let mut templates = Environment::empty();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default(),
        );
        templates.set_fuel(Some(MAX_STEPS));
        add_filters(&mut templates);
        for (name, built_in) in PROMPT_NAMES.into_iter().zip(BUILT_IN) {
            let own = match read_capped(&control.prompt(name), MAX_PROMPT_BYTES) {
                Ok(text) => Some(text),
                Err(ReadError::Missing { .. }) => None,
                Err(error) => return Err(PromptError { name: name.to_owned(), problem: error.to_string() }),
            };
            let text = own.unwrap_or_else(|| built_in.to_owned());
            templates.add_template_owned(name, text).map_err(|error| problem(name, &error))?;
        }
        Ok(Self { templates })
    }

    /// The words of one turn.
    pub(crate) fn render(&self, task: &Task, turn: Turn<'_>) -> Result<Prompt, PromptError> {
        let name = turn.template(task.mode);
        let values = context! {
            task => of_task(task),
            handoff => of_handoff(task),
            earlier => match turn {
                Turn::Packet(steps) => steps.iter().map(of_step).collect(),
                _ => Vec::new(),
            },
            failed => match turn {
                Turn::VerifyFailed(failed) => failed.iter().map(of_check).collect(),
                _ => Vec::new(),
            },
        };
        let template = self.templates.get_template(name).map_err(|error| problem(name, &error))?;
        let text = template.render(values).map_err(|error| problem(name, &error))?;
        let opens = !matches!(turn, Turn::VerifyFailed(_) | Turn::CommitMessage);
        Ok(Prompt { name, text: format!("{}\n", text.trim_end()), opens })
    }
}

fn add_filters(templates: &mut Environment<'_>) {
    templates.add_filter("trim", minijinja::filters::trim);
    templates.add_filter("join", minijinja::filters::join);
    templates.add_filter("indent", minijinja::filters::indent);
    templates.add_filter("default", minijinja::filters::default);
    templates.add_filter("length", minijinja::filters::length);
    templates.add_filter("replace", minijinja::filters::replace);
    templates.add_filter("upper", minijinja::filters::upper);
    templates.add_filter("lower", minijinja::filters::lower);
}

/// An error in an included template stands below the one of its including template.
fn problem(name: &str, error: &minijinja::Error) -> PromptError {
    let mut innermost = error;
    while let Some(below) = std::error::Error::source(innermost).and_then(|below| below.downcast_ref()) {
        innermost = below;
    }
    let line = innermost.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let kind = innermost.kind();
    let problem = match innermost.detail() {
        Some(detail) => format!("{kind}: {detail}{line}"),
        None => format!("{kind}{line}"),
    };
    PromptError { name: innermost.name().unwrap_or(name).to_owned(), problem }
}

fn of_task(task: &Task) -> Value {
    // A title is often the description's own first line; saying it twice only puzzles.
    let first = task.description.trim_start().lines().next().unwrap_or_default();
    context! {
        id => task.id.as_str(),
        title => task.title.trim(),
        title_is_repeated => first.trim() == task.title.trim(),
        description => task.description.trim_end(),
        acceptance_criteria => &task.acceptance_criteria,
        related_files => &task.context.related_files,
        notes => task.context.notes.as_deref().map(str::trim_end),
        verify => &task.verify,
        branch => task.branch.as_str(),
        base => task.base.as_str(),
        commit_style => match task.commit.style {
            CommitStyle::Plain => "plain",
            CommitStyle::Conventional => "conventional",
        },
        prompt => of_mode(task.mode),
    }
}

fn of_handoff(task: &Task) -> Option<Value> {
    let handoff = task.handoff.as_ref()?;
    Some(context! {
        from => handoff.from.as_ref().map(|cli| cli.as_str()),
        goal => &handoff.goal,
        plan => &handoff.plan,
        done => &handoff.done,
        failed => &handoff.failed,
        open => &handoff.open,
        failed_checks => &handoff.failed_checks,
        questions => &handoff.questions,
        diff_stat => handoff.diff_stat.as_deref().map(str::trim_end),
    })
}

fn of_step(step: &Step) -> Value {
    context! {
        title => &step.title,
        description => &step.description,
        status => &step.status,
        failure => &step.failure,
        summary => &step.summary,
        commits => &step.commits,
        failed_checks => &step.failed_checks,
        questions => &step.questions,
    }
}

fn of_check(check: &VerifyReport) -> Value {
    let how = check
        .exit_code
        .map_or_else(|| "did not end in time".to_owned(), |code| format!("exited with code {code}"));
    let output: Vec<String> = check.output_tail.lines().map(|line| format!("    {line}")).collect();
    context! { command => &check.command, exit_code => check.exit_code, how, output => output.join("\n") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn task(keys: &str) -> Task {
        let text = format!(
            "{{version: 1, generation: 1, updated_at: 2026-01-01T00:00:00Z, workspace: w, cli: x, tasks: [{{id: a, \
             status: assigned, title: Reject it, description: 'Say {{{{ task.title }}}} and {{% raw %}}', branch: b, \
             base: main{keys}}}]}}"
        );
        let tasking =
            cloud_code_task_schema::parse_tasking("t", &text).unwrap_or_else(|error| panic!("{error}"));
        tasking.tasks.into_iter().next().unwrap()
    }

    fn built_in() -> Prompts {
        Prompts::load(&ControlDir::new("/nonexistent")).unwrap()
    }

    fn text(keys: &str, turn: Turn<'_>) -> String {
        built_in().render(&task(keys), turn).unwrap().text
    }

    fn with_file(name: &str, content: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("prompts")).unwrap();
        fs::write(dir.path().join("prompts").join(name), content).unwrap();
        let prompts = Prompts::load(&ControlDir::new(dir.path())).map_err(|error| error.to_string())?;
        prompts.render(&task(""), Turn::Task).map(|prompt| prompt.text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_task_is_told_in_plain_words_and_its_texts_stay_as_they_are() {
        let keys = ", acceptance_criteria: [One, Two], verify: [make test], context: {related_files: [a.rs], notes: N}";
        insta::assert_snapshot!(text(keys, Turn::Task));
    }

    #[test]
    fn read_only_modes_forbid_changes() {
        for mode in ["plan", "review", "ask"] {
            assert!(text(&format!(", mode: {mode}"), Turn::Task).contains("Do not change any file"));
        }
    }

    #[test]
    fn what_came_before_stands_before_the_task() {
        let handoff = ", handoff: {from: codex, goal: G, plan: P, done: [D], failed: [F], open: [O], \
                       failed_checks: [make test], questions: [Q], diff_stat: ' a | 1 +'}";
        insta::assert_snapshot!("hand_off", text(handoff, Turn::HandOff));
        let step = Step {
            title: "First".to_owned(),
            description: "Do it".to_owned(),
            status: "blocked".to_owned(),
            summary: Some("S".to_owned()),
            commits: vec!["C".to_owned()],
            failed_checks: vec!["make".to_owned()],
            questions: vec!["Which?".to_owned()],
            failure: Some("It broke.".to_owned()),
        };
        insta::assert_snapshot!("packet", text("", Turn::Packet(&[step])));
        for turn in [Turn::FollowUp, Turn::Interrupted] {
            assert!(text("", turn).ends_with(&text("", Turn::Task)), "{turn:?}");
        }
    }

    #[test]
    fn a_failed_check_shows_its_output_as_code() {
        let failed = VerifyReport {
            command: "make test".to_owned(),
            exit_code: Some(2),
            duration: cloud_code_task_schema::HumanDuration::from_secs(1),
            round: 1,
            output_tail: "a {{ b }}\nc".to_owned(),
        };
        insta::assert_snapshot!(text("", Turn::VerifyFailed(&[failed])));
        assert!(text(", commit: {style: conventional}", Turn::CommitMessage).contains("conventionalcommits"));
    }

    #[test]
    fn a_projects_prompt_takes_the_place_of_the_built_in_one() {
        assert_eq!(
            with_file("task.md", "Do {{ task.title }}:\n{% include 'body' %}").unwrap().lines().next(),
            Some("Do Reject it:")
        );
        assert!(with_file("body.md", "only this").unwrap().starts_with("only this\n## How"));
    }

    #[test]
    fn a_broken_prompt_is_named_with_its_line() {
        insta::assert_snapshot!(with_file("task.md", "x\n{{ tsk.title }}").unwrap_err());
        insta::assert_snapshot!(with_file("task.md", "x\n{% if %}").unwrap_err());
        insta::assert_snapshot!(with_file("body.md", "{{ task.titel }}").unwrap_err());
        let (begin, end) = ("{% for x in '0123456789' %}".repeat(12), "{% endfor %}".repeat(12));
        insta::assert_snapshot!(with_file("task.md", &format!("{begin}x{end}")).unwrap_err());
    }
}
