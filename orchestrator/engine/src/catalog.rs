//! The coding CLIs this installation knows, by name: built in, or given as folders.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cloud_code_model::ProjectPlan;
use cloud_code_task_schema::{CliManifest, CliName};

/// The CLI that is whatever program the project names.
pub const COMMAND_CLI: &str = "command";

/// One coding CLI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliEntry {
    /// How it is called.
    pub manifest: CliManifest,
    /// The version its image installs, when it is pinned.
    pub version: Option<String>,
    /// The image it runs in, unless the project names another.
    pub image: String,
    /// Where it comes from.
    pub origin: CliOrigin,
}

/// Where a CLI comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CliOrigin {
    /// Part of this program.
    BuiltIn,
    /// A folder the user gave.
    Folder(PathBuf),
}

/// Every known CLI.
#[derive(Debug, Clone, Default)]
pub struct CliCatalog {
    entries: BTreeMap<CliName, CliEntry>,
}

/// Why a CLI cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// Nobody knows it.
    #[error("there is no CLI `{name}`{}", hint(.nearest, .known))]
    Unknown {
        /// As it was asked for.
        name: String,
        /// The most similar known name, when one is near.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// The CLI `command` without a program.
    #[error(
        "the CLI `command` needs a program\n  hint: set `command: [program, argument]` in the project's file, or pass `--command 'program argument'`"
    )]
    NoCommand,
    /// It can only edit, and no read-only mount would hold it back.
    #[error(
        "the CLI `{name}` has no read-only mode, and the runtime `local` cannot keep it from writing\n  hint: use --runtime docker, where the worktree is mounted read only, or choose another CLI"
    )]
    NoReadOnlyMode {
        /// Which.
        name: String,
    },
}

fn hint(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!(", did you mean `{nearest}`?"),
        None => format!("\n  hint: known CLIs are {}", known.join(", ")),
    }
}

/// Least similarity (0 to 1) at which a name is proposed: a swapped or missing letter passes, another word does not.
const NEAR: f64 = 0.7;

impl CliCatalog {
    /// Adds a CLI; one of the same name is replaced, so a user's folder wins over what is built in.
    pub fn insert(&mut self, entry: CliEntry) {
        self.entries.insert(entry.manifest.name.clone(), entry);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &CliEntry> {
        self.entries.values()
    }

    /// One by name.
    pub fn get(&self, name: &CliName) -> Result<&CliEntry, CliError> {
        self.entries.get(name).ok_or_else(|| self.unknown(name.as_str()))
    }

    /// The refusal for a name nobody knows.
    pub fn unknown(&self, name: &str) -> CliError {
        let known: Vec<String> = self.entries.keys().map(ToString::to_string).collect();
        let nearest = known
            .iter()
            .map(|k| (strsim::jaro_winkler(k, name), k))
            .filter(|(score, _)| *score >= NEAR)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, k)| k.clone());
        CliError::Unknown { name: name.to_owned(), nearest, known }
    }

    /// The manifest a task runs with: the CLI's own, with the project's environment and, for `command`, its program.
    pub fn manifest_for(&self, plan: &ProjectPlan) -> Result<CliManifest, CliError> {
        let mut manifest = self.get(&plan.cli)?.manifest.clone();
        if plan.cli.as_str() == COMMAND_CLI {
            manifest.command = plan.command.clone().filter(|c| !c.is_empty()).ok_or(CliError::NoCommand)?;
        }
        manifest.env.extend(plan.env.clone());
        Ok(manifest)
    }

    /// The image a task runs in.
    pub fn image_for(&self, plan: &ProjectPlan) -> Result<String, CliError> {
        match &plan.image {
            Some(image) => Ok(image.clone()),
            None => Ok(self.get(&plan.cli)?.image.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_code_model::ProjectSettings;
    use cloud_code_task_schema::parse_manifest;

    fn catalog() -> CliCatalog {
        let mut catalog = CliCatalog::default();
        for name in ["claude-code", "codex", "command"] {
            let manifest = parse_manifest("cli.yaml", &format!("name: {name}\ncommand: [{name}]\n")).unwrap();
            let image = format!("cloud-code/{name}:1");
            catalog.insert(CliEntry { manifest, version: None, image, origin: CliOrigin::BuiltIn });
        }
        catalog
    }

    #[test]
    fn a_misspelt_cli_is_answered_with_the_near_one() {
        let refused = |name: &str| catalog().get(&name.parse().unwrap()).unwrap_err().to_string();
        assert_eq!(refused("cluade-code"), "there is no CLI `cluade-code`, did you mean `claude-code`?");
        assert_eq!(
            refused("zed"),
            "there is no CLI `zed`\n  hint: known CLIs are claude-code, codex, command"
        );
    }

    #[test]
    fn the_command_cli_runs_the_projects_program() {
        let settings =
            |command| ProjectSettings { cli: "command".parse().ok(), command, ..Default::default() };
        let plan = |command| settings(command).plan("r".into(), "codex".parse().unwrap());
        let manifest = catalog().manifest_for(&plan(Some(vec!["fix".into(), "--all".into()]))).unwrap();
        assert_eq!(manifest.command, ["fix", "--all"]);
        assert_eq!(catalog().manifest_for(&plan(None)), Err(CliError::NoCommand));
        assert_eq!(catalog().manifest_for(&plan(Some(vec![]))), Err(CliError::NoCommand));
    }
}
