//! From the command line and both settings files to the plan that a task runs with.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_model::{
    ContainerSettings, DEFAULT_CLI, ImportSettings, LimitSettings, Network, ProjectName, ProjectPlan,
    ProjectSettings, fnv1a, slug,
};
use cloud_code_task_schema::CliName;

use crate::app::App;
use crate::args::{RunArgs, TaskOptions};
use crate::settings;

/// Digits of the path's digest in the name of a project that has no file.
const DIGEST_DIGITS: usize = 6;

/// The project and the plan that the arguments stand for.
pub(crate) fn resolve(app: &App, args: &RunArgs) -> Result<(ProjectName, ProjectPlan)> {
    let named = match &args.project {
        Some(name) => {
            let file = settings::project_file(&app.home, name);
            let found = settings::project(&app.home, name)?;
            if found.is_none() && args.repo.is_none() {
                bail!(
                    "there is no project `{name}`\n  hint: write {} with a key `repo`, or pass --repo",
                    file.display()
                );
            }
            found.unwrap_or_default()
        }
        None => ProjectSettings::default(),
    };
    let settings = from_args(app, args)?.over(named).over(app.settings.defaults.clone());
    let repo = match (settings.repo.clone(), &settings.github) {
        // Work on what is on the forge starts there and ends there, whatever folder is at hand.
        (_, Some(repository)) if args.repo.is_none() => crate::github::clone_url(app, repository),
        (Some(repo), _) => repo,
        (None, _) => {
            bail!("the project's file has no key `repo`\n  hint: add it, or pass --repo PATH_OR_URL")
        }
    };
    let repo = if Path::new(&repo).exists() {
        let path = std::fs::canonicalize(&repo).with_context(|| format!("cannot read {repo}"))?;
        path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("the path {} is not UTF-8", path.display()))?
    } else {
        repo
    };
    let name = match &args.project {
        Some(name) => name.clone(),
        None => project_name(&repo)?,
    };
    let default_cli: CliName = DEFAULT_CLI.parse()?;
    Ok((name, settings.plan(repo, default_cli)))
}

fn from_args(app: &App, args: &RunArgs) -> Result<ProjectSettings> {
    let options = &args.options;
    Ok(ProjectSettings {
        repo: args.repo.clone(),
        cli: args.cli.as_deref().map(|name| cli_name(app, name)).transpose()?,
        command: options.command.as_deref().map(split_words).transpose()?,
        model: options.model.clone(),
        base_url: options.base_url.clone(),
        base: args.base.clone(),
        runtime: args.runtime.map(Into::into),
        image: options.image.clone(),
        container: ContainerSettings { network: network(options)?, ..Default::default() },
        limits: LimitSettings {
            timeout: options.timeout,
            max_cost_usd: options.max_cost,
            max_turns: options.max_turns,
            ..Default::default()
        },
        verify: (!options.verify.is_empty()).then(|| options.verify.clone()),
        import: ImportSettings {
            allow_workflow_changes: options.allow_workflow_changes.then_some(true),
            ..Default::default()
        },
        ..Default::default()
    })
}

/// The plan of an issue's last task, with what the command line says otherwise.
pub(crate) fn changed(mut plan: ProjectPlan, options: &TaskOptions) -> Result<ProjectPlan> {
    if let Some(command) = &options.command {
        plan.command = Some(split_words(command)?);
    }
    if let Some(network) = network(options)? {
        plan.network = network;
    }
    plan.model = options.model.clone().or(plan.model);
    plan.base_url = options.base_url.clone().or(plan.base_url);
    plan.image = options.image.clone().or(plan.image);
    plan.limits.timeout = options.timeout.unwrap_or(plan.limits.timeout);
    plan.limits.max_cost_usd = options.max_cost.or(plan.limits.max_cost_usd);
    plan.limits.max_turns = options.max_turns.or(plan.limits.max_turns);
    if !options.verify.is_empty() {
        plan.verify.clone_from(&options.verify);
    }
    plan.import.allow_workflow_changes |= options.allow_workflow_changes;
    Ok(plan)
}

/// The same plan for another CLI. What belongs to the old one (model, image) does not go along.
/// The address goes with the old CLI, unless all CLIs of this machine have that one: a key is another provider's secret.
pub(crate) fn handed_to(
    app: &App,
    plan: ProjectPlan,
    cli: CliName,
    options: &TaskOptions,
) -> Result<ProjectPlan> {
    let base_url = app.settings.defaults.base_url.clone();
    changed(ProjectPlan { cli, model: None, image: None, base_url, ..plan }, options)
}

/// A CLI's name, or the refusal with the nearest one.
pub(crate) fn cli_name(app: &App, name: &str) -> Result<CliName> {
    let parsed = name.parse::<CliName>().map_err(|_| app.catalog.unknown(name))?;
    Ok(app.catalog.get(&parsed)?.manifest.name.clone())
}

fn network(options: &TaskOptions) -> Result<Option<Network>> {
    Ok(options.network.clone().map(Network::try_from).transpose()?)
}

/// The name of a project that has no file: the repository's, with a digest of where it is, because two folders `app`
/// must not share a mirror.
fn project_name(repo: &str) -> Result<ProjectName> {
    let last = repo.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let digest = format!("{:016x}", fnv1a(repo.as_bytes()));
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or(&digest);
    Ok(format!("{}-{digest}", slug(last.trim_end_matches(".git"))).parse()?)
}

/// Words split at spaces; single or double quotes group. No expansion of any kind: nothing here is a shell.
fn split_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("--command has a quote that is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_without_a_shell() {
        let words = |text: &str| split_words(text).unwrap();
        assert_eq!(words("sh -c 'echo \"$HOME\"; ls'"), ["sh", "-c", "echo \"$HOME\"; ls"]);
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words("a ''"), ["a", ""]);
        assert!(split_words("sh -c 'oops").is_err());
    }

    #[test]
    fn a_repository_without_a_file_gets_a_lasting_name() {
        assert_eq!(project_name("/srv/shop.git").unwrap().as_str(), "shop-df25a0");
        assert_eq!(project_name("git@github.com:acme/shop.git").unwrap().as_str(), "shop-008866");
        assert_ne!(project_name("/a/app").unwrap(), project_name("/b/app").unwrap());
    }
}
