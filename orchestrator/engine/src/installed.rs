//! Asks a CLI in its image for its version. The image's label says what was to be built; this says what is there, and
//! whether it starts at all as the user and with the rights that a task gives it.

use std::time::Duration;

use cloud_code_runtime::{
    ContainerExit, ContainerId, ContainerSpec, Labels, Limits, NetworkMode, RuntimeError, Secrets, Tmpfs,
};
use cloud_code_task_schema::CliManifest;

use crate::Engine;

/// Longest wait for the answer: a Node launcher on a loaded machine was seen at 10 s.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Memory for the question. Node programs of 400 MB need more than half of it to start.
const MEMORY_BYTES: u64 = 1 << 30;
/// Bytes of its writable HOME in memory.
const HOME_BYTES: u64 = 64 << 20;
/// Bytes of the answer that are read.
const MAX_ANSWER: usize = 4 * 1024;
/// Where its HOME is; gone with the container.
const HOME: &str = "/tmp/home";

/// Why a CLI did not say its version.
#[derive(Debug, thiserror::Error)]
pub enum NoVersion {
    /// The manifest names no way to ask.
    #[error("its manifest has no `version`, so it cannot be asked")]
    NotAskable,
    /// It ended badly.
    #[error("`{command}` {how}: {output}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        how: String,
        /// The end of what it printed.
        output: String,
    },
    /// It did not end.
    #[error("`{command}` did not answer within {} s", TIME_LIMIT.as_secs())]
    Silent {
        /// What was run.
        command: String,
    },
    /// The container could not be made or started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Engine {
    /// The version that the CLI itself says, in a container of that image, without network and without keys.
    pub async fn installed_version(&self, manifest: &CliManifest, image: &str) -> Result<String, NoVersion> {
        if manifest.version.is_empty() {
            return Err(NoVersion::NotAskable);
        }
        self.remove_old_questions(manifest).await?;
        let spec = self.question(manifest, image);
        let id = self.runtime.create(&spec).await?;
        let answer = self.answer(&id, &manifest.version.join(" ")).await;
        self.runtime.remove(&id).await?;
        answer
    }

    /// Of a check that was killed. One that still runs belongs to another process.
    async fn remove_old_questions(&self, manifest: &CliManifest) -> Result<(), NoVersion> {
        let instance = self.settings.instance.clone();
        let selector = Labels { cli: Some(manifest.name.clone()), ..Labels::of_instance(instance) };
        for container in self.runtime.find(&selector).await? {
            if container.labels.task.is_none() && container.state.is_ended() {
                self.runtime.remove(&container.id).await?;
            }
        }
        Ok(())
    }

    fn question(&self, manifest: &CliManifest, image: &str) -> ContainerSpec {
        let instance = self.settings.instance.clone();
        let name =
            format!("cloud-code-{instance}-version-{}", self.ids.task_id().as_str().to_ascii_lowercase());
        let labels = Labels { cli: Some(manifest.name.clone()), ..Labels::of_instance(instance) };
        let mut spec = ContainerSpec::new(name, image, labels, manifest.version.clone());
        let (uid, gid) = self.settings.cli_user;
        spec.user = format!("{uid}:{gid}");
        spec.capabilities.clear();
        spec.network = NetworkMode::None;
        spec.env = manifest.env.iter().filter(|(_, value)| !value.contains('{')).map(owned).collect();
        spec.env.insert("HOME".to_owned(), HOME.to_owned());
        // Open to the one user in the container; nobody else is there.
        spec.tmpfs.push(Tmpfs {
            target: HOME.into(),
            mode: 0o777,
            size_bytes: HOME_BYTES,
            executable: cloud_code_runtime::Executable::Yes,
        });
        spec.limits = Limits { memory_bytes: Some(MEMORY_BYTES), ..Limits::default() };
        spec
    }

    async fn answer(&self, id: &ContainerId, command: &str) -> Result<String, NoVersion> {
        let command = command.to_owned();
        self.runtime.start(id, &Secrets::default()).await?;
        let Ok(ended) = tokio::time::timeout(TIME_LIMIT, self.runtime.wait(id)).await else {
            return Err(NoVersion::Silent { command });
        };
        let output = self.runtime.output_tail(id, MAX_ANSWER).await?.trim().to_owned();
        let how = match ended? {
            ContainerExit::Exited(exit) if exit.code == Some(0) => return Ok(version_in(&output)),
            ContainerExit::Exited(exit) => {
                exit.code.map_or("ended".to_owned(), |code| format!("ended with code {code}"))
            }
            ContainerExit::Gone => "was taken away".to_owned(),
        };
        Err(NoVersion::Failed { command, how, output })
    }
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

/// `2.1.329 (Claude Code)` and `codex-cli 0.169.0` hold a word that begins with a digit and has a dot. Warnings may
/// stand before it, so the last line with such a word counts; without one, the last line is the answer.
fn version_in(output: &str) -> String {
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let word = |line: &str| {
        let bare = |word| str::trim_end_matches(word, ['.', ',', ';', ')']).trim_start_matches(['v', '(']);
        line.split_whitespace().map(bare).find(number).map(str::to_owned)
    };
    output
        .lines()
        .rev()
        .find_map(word)
        .unwrap_or_else(|| output.lines().last().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_clis_print() {
        assert_eq!(version_in("2.1.329 (Claude Code)"), "2.1.329");
        assert_eq!(version_in("warning: 3.5 MB of cache\ncodex-cli 0.169.0"), "0.169.0");
        assert_eq!(version_in("aider v0.86.2\n"), "0.86.2");
        assert_eq!(version_in("GitHub Copilot CLI 1.0.102.\nRun 'copilot update'."), "1.0.102");
        assert_eq!(version_in("unreleased"), "unreleased");
        assert_eq!(version_in(""), "");
    }
}
