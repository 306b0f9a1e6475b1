//! The argument vector of a CLI, from its manifest and one task. Placeholders are replaced inside an argument and
//! never split, so no text of a task can become an option or a second argument.

use cloud_code_task_schema::{CliManifest, Mode, PromptChannel, Task, Usd};

/// Linux caps one argument at 128 KiB, its end included.
pub(crate) const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// What is filled in for one process.
pub(crate) struct Call<'a> {
    pub(crate) manifest: &'a CliManifest,
    pub(crate) task: &'a Task,
    pub(crate) session: Session<'a>,
    pub(crate) base_url: Option<&'a str>,
    pub(crate) allowance: Allowance,
}

/// The conversation that a process belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session<'a> {
    /// A new one that the CLI names itself.
    New,
    /// A new one that bears a name of ours.
    Named(&'a str),
    /// One that goes on.
    Resumed(&'a str),
}

/// What a process may still use of the task's limits; no limit when absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Allowance {
    pub(crate) turns: Option<u32>,
    pub(crate) cost: Option<Usd>,
}

impl Call<'_> {
    /// Everything but the prompt.
    pub(crate) fn argv(&self) -> Vec<String> {
        let manifest = self.manifest;
        let mut argv = manifest.command.clone();
        match self.task.mode {
            Mode::Edit => argv.extend(manifest.edit.iter().cloned()),
            // Without a mode of its own it runs behind a read-only mount (`read_only.rs`).
            Mode::Plan | Mode::Review | Mode::Ask => {
                argv.extend(manifest.plan.as_ref().unwrap_or(&manifest.edit).iter().cloned());
            }
        }
        let mut add = |arguments: &[String], placeholder: &str, value: Option<&str>| {
            if let Some(value) = value {
                argv.extend(arguments.iter().map(|argument| argument.replace(placeholder, value)));
            }
        };
        let turns = self.allowance.turns.map(|turns| turns.to_string());
        let cost = self.allowance.cost.map(|cost| format!("{:.4}", cost.as_f64()));
        add(&manifest.model, "{model}", self.model());
        match self.session {
            Session::New => {}
            Session::Named(id) => add(&manifest.session, "{session_id}", Some(id)),
            Session::Resumed(id) => {
                add(manifest.resume.as_deref().unwrap_or_default(), "{session_id}", Some(id));
            }
        }
        add(&manifest.max_turns, "{max_turns}", turns.as_deref());
        add(&manifest.max_cost, "{max_cost_usd}", cost.as_deref());
        add(&manifest.base_url, "{base_url}", self.base_url);
        argv.extend(manifest.tail.iter().cloned());
        argv
    }

    /// The model that is asked for; `None` leaves it to the CLI.
    pub(crate) fn model(&self) -> Option<&str> {
        self.task.model.as_deref().or(self.manifest.default_model.as_deref())
    }

    /// The vector that may be shown: without the prompt.
    pub(crate) fn shown(&self, argv: &[String]) -> Vec<String> {
        let mut shown = argv.to_vec();
        match self.manifest.prompt {
            PromptChannel::Stdin => {}
            PromptChannel::Argument => shown.push("<prompt>".to_owned()),
            PromptChannel::File => shown.push("<prompt file>".to_owned()),
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_never_split_and_options_keep_their_order() {
        let manifest = cloud_code_task_schema::parse_manifest(
            "cli.yaml",
            "{name: x, command: [x, exec], edit: [--yes], model: ['--model={model}'], resume: [resume, '{session_id}'], \
             max_turns: [--max-turns, '{max_turns}'], max_cost: [--budget, '{max_cost_usd}'], session: [--id, '{session_id}'], \
             default_model: d, base_url: [-c, 'url=\"{base_url}/v1\"'], tail: ['-']}",
        )
        .unwrap();
        let text = "{version: 1, generation: 1, updated_at: 2026-01-01T00:00:00Z, workspace: w, cli: x, tasks: [{id: a, \
                    status: assigned, title: t, description: d, branch: b, base: main, model: 'a b; --evil'}]}";
        let tasking = cloud_code_task_schema::parse_tasking("t", text).unwrap();
        let call = Call {
            manifest: &manifest,
            task: &tasking.tasks[0],
            session: Session::Resumed("s 1"),
            base_url: Some("http://h"),
            allowance: Allowance { turns: Some(3), cost: Usd::new(0.1).ok() },
        };
        let expected = [
            "x",
            "exec",
            "--yes",
            "--model=a b; --evil",
            "resume",
            "s 1",
            "--max-turns",
            "3",
            "--budget",
            "0.1000",
            "-c",
            "url=\"http://h/v1\"",
            "-",
        ];
        assert_eq!(call.argv(), expected);
        let mut task = tasking.tasks[0].clone();
        (task.mode, task.model) = (Mode::Plan, None);
        let call = Call { task: &task, session: Session::Named("n"), base_url: None, ..call };
        let call = Call { allowance: Allowance::default(), ..call };
        assert_eq!(call.argv(), ["x", "exec", "--yes", "--model=d", "--id", "n", "-"]);
    }
}
