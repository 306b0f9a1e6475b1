//! One project's repository: there, alive, with the branch that work starts from and the labels that start it.

use cloud_code_forge::{Forge, Github, LabelSpec};
use cloud_code_model::RepositoryName;

use super::{Mend, OnGithub, Scene, asked};
use crate::commands::doctor::Check;
use crate::ui;

/// Fewer requests left than this will not carry a task to its end.
const FEW_REQUESTS: u64 = 500;
/// The colour of labels that `--fix` makes.
const LABEL_COLOUR: &str = "5319e7";

pub(super) async fn check(scene: &Scene<'_>, forge: &dyn Forge, project: &OnGithub, checks: &mut Vec<Check>) {
    let (name, file) = (&project.repository, format!("projects/{}.yaml", project.name));
    let found = match asked("project", forge.repository().await) {
        Ok(found) => found,
        Err(check) => return checks.push(check),
    };
    if found.name != *name {
        let told = format!("{}: {name} is now called {}", project.name, found.name);
        checks.push(Check::missing("project", told, format!("write its new name as `github` in {file}")));
    }
    if found.archived {
        let told = format!("{}: {name} is archived, so nothing can be pushed", project.name);
        checks.push(Check::missing("project", told, format!("unarchive it, or remove {file}")));
    }
    let branch = ui::one_line(&found.default_branch);
    checks.push(Check::ok("project", format!("{}: {name}, starts from {branch}", project.name)));
    if let Some(base) = &project.settings.base
        && base.as_str() != found.default_branch
        && matches!(forge.branch(base.as_str()).await, Ok(None))
    {
        let told = format!("{}: the branch `{base}` is not there", project.name);
        checks.push(Check::missing("project", told, format!("correct `base` in {file}")));
    }
    for label in project.settings.triggers.resolved().labels {
        checks.extend(starting(scene, forge, name, &label).await);
    }
}

/// A label that starts work.
async fn starting(scene: &Scene<'_>, forge: &dyn Forge, name: &RepositoryName, label: &str) -> Option<Check> {
    match forge.has_label(label).await {
        Ok(true) => None,
        Ok(false) if scene.mend == Mend::Do => {
            let spec = LabelSpec {
                name: label.to_owned(),
                color: LABEL_COLOUR.to_owned(),
                description: "Starts work of cloud-code".to_owned(),
            };
            Some(match forge.make_label(&spec).await {
                Ok(()) => Check::ok("labels", format!("{name}: `{label}` was made")),
                Err(error) => {
                    let why = ui::one_line(&error.to_string());
                    let told = format!("{name}: `{label}` cannot be made: {why}");
                    Check::warning("labels", told, "grant `issues: write`")
                }
            })
        }
        Ok(false) => {
            let told = format!("{name}: the label `{label}` is not there");
            Some(Check::warning("labels", told, "cloud-code doctor --fix"))
        }
        Err(error) => asked::<()>("labels", Err(error)).err(),
    }
}

pub(super) async fn requests_left(github: &Github, name: &RepositoryName, checks: &mut Vec<Check>) {
    // A project that cannot be reached was told of.
    let Ok(limit) = github.rate_limit(name).await else { return };
    let found = format!("{} of {} requests left this hour", limit.remaining, limit.limit);
    checks.push(if limit.remaining < FEW_REQUESTS {
        let fix = "wait for the next hour; raise `github.poll_interval` when it comes again";
        Check::warning("limit", found, fix)
    } else {
        Check::ok("limit", found)
    });
}
