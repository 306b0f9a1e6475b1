//! The argument vector of a CLI, from its manifest and one task. Placeholders are replaced inside an argument and
//! never split, so no text of a task can become an option or a second argument.

use cloud_code_task_schema::{CliManifest, Mode, PromptChannel, Task};

/// Linux caps one argument at 128 KiB, its end included.
pub(crate) const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// What is filled in for one process.
pub(crate) struct Call<'a> {
    pub(crate) manifest: &'a CliManifest,
    pub(crate) task: &'a Task,
    pub(crate) session: Option<&'a str>,
    pub(crate) base_url: Option<&'a str>,
}

impl Call<'_> {
    /// Everything but the prompt.
    pub(crate) fn argv(&self) -> Vec<String> {
        let manifest = self.manifest;
        let mut argv = manifest.command.clone();
        match self.task.mode {
            Mode::Edit => argv.extend(manifest.edit.iter().cloned()),
            Mode::Plan | Mode::Review => argv.extend(manifest.plan.iter().flatten().cloned()),
        }
        let mut add = |arguments: &[String], placeholder: &str, value: Option<&str>| {
            if let Some(value) = value {
                argv.extend(arguments.iter().map(|argument| argument.replace(placeholder, value)));
            }
        };
        let turns = self.task.limits.max_turns.map(|turns| turns.to_string());
        add(&manifest.model, "{model}", self.task.model.as_deref());
        add(manifest.resume.as_deref().unwrap_or_default(), "{session_id}", self.session);
        add(&manifest.max_turns, "{max_turns}", turns.as_deref());
        add(&manifest.base_url, "{base_url}", self.base_url);
        argv.extend(manifest.tail.iter().cloned());
        argv
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
             max_turns: [--max-turns, '{max_turns}'], base_url: [-c, 'url=\"{base_url}/v1\"'], tail: ['-']}",
        )
        .unwrap();
        let text = "{version: 1, generation: 1, updated_at: 2026-01-01T00:00:00Z, workspace: w, cli: x, tasks: [{id: a, \
                    status: assigned, title: t, description: d, branch: b, base: main, model: 'a b; --evil', limits: {max_turns: 3}}]}";
        let tasking = cloud_code_task_schema::parse_tasking("t", text).unwrap();
        let call = Call {
            manifest: &manifest,
            task: &tasking.tasks[0],
            session: Some("s 1"),
            base_url: Some("http://h"),
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
            "-c",
            "url=\"http://h/v1\"",
            "-",
        ];
        assert_eq!(call.argv(), expected);
    }
}
