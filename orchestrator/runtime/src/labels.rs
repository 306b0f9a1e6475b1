//! The labels every container carries: how it is found again after a restart, and how two installations on one engine
//! stay apart. They hold ids only; anything that changes belongs into the store.

use std::collections::BTreeMap;

use cloud_code_model::{InstanceId, IssueKey, ProjectName};
use cloud_code_task_schema::{CliName, TaskId};
use serde::{Deserialize, Serialize};

/// Container label: the installation that made it.
pub const LABEL_INSTANCE: &str = "cloud-code.instance";
/// Container label: the project.
pub const LABEL_PROJECT: &str = "cloud-code.project";
/// Container label: the issue.
pub const LABEL_ISSUE: &str = "cloud-code.issue";
/// Container label: the task it was started for.
pub const LABEL_TASK: &str = "cloud-code.task";
/// Container label: the attempt of that task, from 1.
pub const LABEL_ATTEMPT: &str = "cloud-code.attempt";
/// Container label: the CLI it runs.
pub const LABEL_CLI: &str = "cloud-code.cli";
/// Image label: the CLI it carries. The same key as [`LABEL_CLI`]: a container inherits its image's labels, so the two
/// must never mean different things.
pub const IMAGE_CLI: &str = LABEL_CLI;
/// Image label: the version of that CLI.
pub const IMAGE_CLI_VERSION: &str = "cloud-code.cli-version";

/// Whose container it is. As a selector, an absent field means "any".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The installation. Never absent: it is what keeps other people's containers out of reach.
    pub instance: InstanceId,
    /// The project.
    pub project: Option<ProjectName>,
    /// The issue.
    pub issue: Option<IssueKey>,
    /// The task it was started for.
    pub task: Option<TaskId>,
    /// The attempt of that task, from 1.
    pub attempt: Option<u32>,
    /// The CLI it runs.
    pub cli: Option<CliName>,
}

impl Labels {
    /// Everything of one instance.
    pub fn of_instance(instance: InstanceId) -> Self {
        Self { instance, project: None, issue: None, task: None, attempt: None, cli: None }
    }

    /// Everything of one issue.
    pub fn of_issue(instance: InstanceId, project: ProjectName, issue: IssueKey) -> Self {
        Self { project: Some(project), issue: Some(issue), ..Self::of_instance(instance) }
    }

    /// As key and value, absent fields left out.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let optional = [
            (LABEL_PROJECT, self.project.as_ref().map(ToString::to_string)),
            (LABEL_ISSUE, self.issue.as_ref().map(ToString::to_string)),
            (LABEL_TASK, self.task.as_ref().map(ToString::to_string)),
            (LABEL_ATTEMPT, self.attempt.map(|attempt| attempt.to_string())),
            (LABEL_CLI, self.cli.as_ref().map(ToString::to_string)),
        ];
        let mut map = BTreeMap::from([(LABEL_INSTANCE.to_owned(), self.instance.to_string())]);
        map.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        map
    }

    /// Reads them back. `None` when there is no instance label or one of ours holds what we would never write:
    /// such a container was not made by us.
    pub fn from_map<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        fn read<T: std::str::FromStr>(text: Option<&str>) -> Option<Option<T>> {
            match text {
                None => Some(None),
                Some(text) => text.parse().ok().map(Some),
            }
        }
        Some(Self {
            instance: get(LABEL_INSTANCE)?.parse().ok()?,
            project: read(get(LABEL_PROJECT))?,
            issue: read(get(LABEL_ISSUE))?,
            task: read(get(LABEL_TASK))?,
            attempt: read(get(LABEL_ATTEMPT))?,
            cli: read(get(LABEL_CLI))?,
        })
    }

    /// True when `other` has everything that this selector names.
    pub fn selects(&self, other: &Self) -> bool {
        fn any_or_equal<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        self.instance == other.instance
            && any_or_equal(&self.project, &other.project)
            && any_or_equal(&self.issue, &other.issue)
            && any_or_equal(&self.task, &other.task)
            && any_or_equal(&self.attempt, &other.attempt)
            && any_or_equal(&self.cli, &other.cli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels {
            instance: "one".parse().unwrap(),
            project: Some("shop".parse().unwrap()),
            issue: Some("42".parse().unwrap()),
            task: Some("01JD4Y6M3V0P8R2N5X7K9QATBC".parse().unwrap()),
            attempt: Some(3),
            cli: Some("claude-code".parse().unwrap()),
        }
    }

    #[test]
    fn labels_come_back_as_they_were_written() {
        for labels in [labels(), Labels::of_instance("one".parse().unwrap())] {
            let map = labels.to_map();
            assert_eq!(Labels::from_map(|key| map.get(key).map(String::as_str)), Some(labels));
        }
    }

    #[test]
    fn a_container_without_our_instance_label_is_not_ours() {
        assert_eq!(Labels::from_map(|_| None), None);
        assert_eq!(Labels::from_map(|key| (key == LABEL_INSTANCE).then_some("../evil")), None);
    }

    #[test]
    fn a_selector_never_reaches_another_instance() {
        let mut selector = Labels::of_instance("one".parse().unwrap());
        assert!(selector.selects(&labels()));
        selector.issue = Some("43".parse().unwrap());
        assert!(!selector.selects(&labels()));
        assert!(!Labels::of_instance("two".parse().unwrap()).selects(&labels()));
    }
}
