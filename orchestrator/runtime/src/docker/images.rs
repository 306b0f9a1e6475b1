//! Images: build, list, remove. The engine's own builder is used, not BuildKit: it is in every engine from 20.10 on
//! without a plugin or a session, and its output is lines. The price is no parallel stages.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use bollard::errors::Error;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, BuilderVersion, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures_util::StreamExt;

use super::failure::{is_conflict, is_not_found};
use super::{DockerRuntime, context, inspect};
use crate::tail::printable;
use crate::{ImageFacts, ImageId, RuntimeError};

pub use super::context::BuildFile;

/// Lines of the builder's output kept for an error: a compiler's last page, not its whole story.
const ERROR_TAIL_LINES: usize = 25;

/// Whether earlier builds may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildCache {
    /// Unchanged steps are taken from earlier builds.
    #[default]
    Use,
    /// Every step runs again.
    Ignore,
}

/// An image to build.
#[derive(Debug, Clone, Default)]
pub struct ImageBuild {
    /// Names for the result; the first is used in messages.
    pub tags: Vec<String>,
    /// A folder whose files the build may read. All of it is sent: there is no ignore file.
    pub folder: Option<PathBuf>,
    /// Further files, which replace files of the folder.
    pub files: Vec<BuildFile>,
    /// Path of the Dockerfile in the context; `Dockerfile` when empty.
    pub dockerfile: String,
    /// Build arguments. They stay readable in the image's history: no secrets.
    pub args: BTreeMap<String, String>,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// The network `RUN` steps see: a name, `host` or `none`; the engine's default when `None`.
    pub network: Option<String>,
    /// Stop at this stage; the last when `None`.
    pub target: Option<String>,
    /// Whether earlier builds may be used.
    pub cache: BuildCache,
}

/// One line of a build's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProgress {
    /// The step that runs, from 1; 0 before the first.
    pub step: u32,
    /// Steps in all; 0 before the first.
    pub total: u32,
    /// What was printed, without control sequences.
    pub line: String,
}

impl DockerRuntime {
    /// Builds an image and reports each line. Dropping the future cancels the build in the engine.
    pub async fn build_image(
        &self,
        build: ImageBuild,
        mut progress: impl FnMut(BuildProgress) + Send,
    ) -> Result<ImageId, RuntimeError> {
        let name = build.tags.first().cloned().unwrap_or_default();
        let (folder, files) = (build.folder.clone(), build.files.clone());
        let archive = tokio::task::spawn_blocking(move || context::pack(folder.as_deref(), &files))
            .await
            .map_err(|error| RuntimeError::EngineFault {
            doing: "packing the build context",
            message: error.to_string(),
        })??;
        let client = self.client().await?;
        let body = bollard::body_full(archive.into());
        let mut answers = client.build_image(options(&build), None, Some(body));
        let mut output = BuildOutput::default();
        let mut built = None;
        while let Some(answer) = answers.next().await {
            let answer = match answer {
                Ok(answer) => answer,
                Err(Error::DockerStreamError { error }) if !error.contains("no space left on device") => {
                    return Err(output.failed(name, error, &mut progress));
                }
                Err(error) => return Err(self.failure(error, "building an image").into_runtime_error()),
            };
            if let Some(text) = answer.stream {
                output.push(&text, &mut progress);
            }
            if let Some(status) = answer.status {
                output.push(&format!("{status}\n"), &mut progress);
            }
            if let Some(id) = answer.aux.and_then(|aux| aux.id) {
                built = Some(ImageId::new(id));
            }
        }
        let Some(id) = built else {
            return Err(output.failed(name, "the builder ended without an image".to_owned(), &mut progress));
        };
        for tag in build.tags.iter().skip(1) {
            self.tag_image(&id, tag).await?;
        }
        Ok(id)
    }

    async fn tag_image(&self, id: &ImageId, name: &str) -> Result<(), RuntimeError> {
        let (repository, tag) = split_tag(name);
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let tagged = self.client().await?.tag_image(id.as_str(), Some(options)).await;
        tagged.map_err(|error| self.failure(error, "naming an image").into_runtime_error())
    }

    /// Images on this machine that carry all of `labels` (an empty value means: whatever the value), newest first.
    pub async fn list_images(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ImageFacts>, RuntimeError> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| if value.is_empty() { key.clone() } else { format!("{key}={value}") })
            .collect();
        let options =
            ListImagesOptionsBuilder::default().filters(&HashMap::from([("label", wanted)])).build();
        let listed = self
            .client()
            .await?
            .list_images(Some(options))
            .await
            .map_err(|error| self.failure(error, "listing images").into_runtime_error())?;
        let mut found: Vec<ImageFacts> = listed.into_iter().map(inspect::read_image_summary).collect();
        found.sort_by(|a, b| (b.created_at, &a.tags).cmp(&(a.created_at, &b.tags)));
        Ok(found)
    }

    /// Removes a name, and the image with its last name. A missing one is success; one that a container uses is
    /// refused with [`RuntimeError::ImageInUse`].
    pub async fn remove_image(&self, name: &str) -> Result<(), RuntimeError> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.client().await?.remove_image(name, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) if is_conflict(&error) => Err(RuntimeError::ImageInUse { image: name.to_owned() }),
            Err(error) => Err(self.failure(error, "removing an image").into_runtime_error()),
        }
    }
}

fn options(build: &ImageBuild) -> bollard::query_parameters::BuildImageOptions {
    let dockerfile = if build.dockerfile.is_empty() { "Dockerfile" } else { &build.dockerfile };
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(dockerfile)
        .version(BuilderVersion::BuilderV1)
        .nocache(matches!(build.cache, BuildCache::Ignore))
        .rm(true)
        // Also after a failed step, or each failure would leave a stopped container behind.
        .forcerm(true)
        .buildargs(&owned(&build.args))
        .labels(&owned(&build.labels));
    if let Some(tag) = build.tags.first() {
        options = options.t(tag);
    }
    if let Some(network) = &build.network {
        options = options.networkmode(network);
    }
    if let Some(target) = &build.target {
        options = options.target(target);
    }
    options.build()
}

fn owned(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Cuts the builder's stream into lines, notes the step, and keeps the end for an error.
#[derive(Default)]
struct BuildOutput {
    partial: String,
    step: u32,
    total: u32,
    last: VecDeque<String>,
}

impl BuildOutput {
    fn push(&mut self, text: &str, progress: &mut impl FnMut(BuildProgress)) {
        self.partial.push_str(text);
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            self.line(&line, progress);
        }
    }

    fn line(&mut self, raw: &str, progress: &mut impl FnMut(BuildProgress)) {
        // A tool that redraws its line separates the drawings by carriage returns: the last one counts.
        let last = raw.trim_end().rsplit('\r').next().unwrap_or_default();
        let line = printable(last).trim_end().to_owned();
        if line.is_empty() {
            return;
        }
        if let Some((step, total)) = step_of(&line) {
            (self.step, self.total) = (step, total);
        }
        if self.last.len() == ERROR_TAIL_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        progress(BuildProgress { step: self.step, total: self.total, line });
    }

    fn failed(
        mut self,
        image: String,
        message: String,
        progress: &mut impl FnMut(BuildProgress),
    ) -> RuntimeError {
        self.push("\n", progress);
        let tail = Vec::from(self.last).join("\n");
        RuntimeError::BuildFailed { image, message: printable(&message), tail }
    }
}

/// A colon before the last slash belongs to a registry's port.
fn split_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}

/// `Step 3/10 : RUN …`.
fn step_of(line: &str) -> Option<(u32, u32)> {
    let (step, total) = line.strip_prefix("Step ")?.split_once(" : ")?.0.split_once('/')?;
    Some((step.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines_and_steps() {
        let mut lines = Vec::new();
        let mut output = BuildOutput::default();
        for text in [
            "Step 1/2 : FROM a\n ---> 12",
            "34\n",
            "Step 2/2 : RUN b\n",
            "10%\r20%\r",
            "\n\u{1b}[1mok\n",
            "end",
        ] {
            output.push(text, &mut |line| lines.push((line.step, line.total, line.line)));
        }
        let wanted = [
            (1, 2, "Step 1/2 : FROM a"),
            (1, 2, " ---> 1234"),
            (2, 2, "Step 2/2 : RUN b"),
            (2, 2, "20%"),
            (2, 2, "ok"),
        ];
        assert_eq!(lines, wanted.map(|(step, total, line)| (step, total, line.to_owned())));
        let RuntimeError::BuildFailed { tail, .. } = output.failed("x".into(), "why".into(), &mut |_| {})
        else {
            panic!("not a build failure");
        };
        assert!(tail.ends_with("ok\nend"), "{tail}");
    }
}
