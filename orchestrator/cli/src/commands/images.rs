//! `images`: build and list the images that CLIs run in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_engine::CliEntry;
use cloud_code_runtime::{
    BuildFile, BuildProgress, DockerRuntime, IMAGE_CLI, IMAGE_CLI_VERSION, ImageBuild, Runtime,
};
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::app::App;
use crate::args::{BuildArgs, ImagesCommand};
use crate::catalog::{self, BASE, ContextFiles, image_name, is_buildable};
use crate::ui;

/// The image under all others, unless settings or the command line say otherwise.
const BASE_IMAGE: &str = "debian:bookworm-slim";
/// The name of the CA file in every build context. Always there, maybe empty: a Dockerfile cannot copy "if it exists".
const EXTRA_CA: &str = "extra-ca.crt";
/// Bytes in a mebibyte, for the list.
const MEBIBYTE: u64 = 1 << 20;

/// `cloud-code images`.
pub(crate) async fn run(app: &App, command: ImagesCommand) -> Result<ExitCode> {
    match command {
        ImagesCommand::Build(args) => build(app, &args).await,
        ImagesCommand::List { json } => list(app, json).await,
    }
}

async fn list(app: &App, json: bool) -> Result<ExitCode> {
    let docker = app.docker()?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["CLI", "VERSION", "IMAGE", "SIZE", "BUILT"]);
    for entry in app.catalog.iter() {
        let facts = docker.image(&entry.image).await?;
        let version = facts.as_ref().and_then(|f| f.cli_version()).or(entry.version.as_deref()).unwrap_or("");
        if json {
            let line = json!({
                "cli": entry.manifest.name,
                "image": entry.image,
                "pinned_version": entry.version,
                "built": facts,
            });
            ui::out(line.to_string());
            continue;
        }
        table.add_row([
            entry.manifest.name.to_string(),
            version.to_owned(),
            entry.image.clone(),
            facts.as_ref().map(|f| format!("{} MiB", f.size_bytes / MEBIBYTE)).unwrap_or_default(),
            match &facts {
                Some(facts) => {
                    facts.created_at.map_or("yes".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
                }
                None => format!("no: cloud-code images build {}", entry.manifest.name),
            },
        ]);
    }
    if !json {
        ui::out(table.trim_fmt());
    }
    Ok(ExitCode::SUCCESS)
}

async fn build(app: &App, args: &BuildArgs) -> Result<ExitCode> {
    let entries = chosen(app, args)?;
    let docker_settings = &app.settings.docker;
    let base_image = args
        .project_image
        .as_deref()
        .or(args.base_image.as_deref())
        .or(docker_settings.base_image.as_deref())
        .unwrap_or(BASE_IMAGE);
    let extra_ca = args.extra_ca.clone().or_else(|| docker_settings.extra_ca.as_ref().map(PathBuf::from));
    let extra_ca = extra_ca.as_deref().map(read_ca).transpose()?.unwrap_or_default();
    let build_args = parse_build_args(&args.build_args)?;
    let docker = app.docker()?;
    docker.check().await?;
    pull_when_missing(&docker, base_image).await?;

    let step = |tag: String, files: ContextFiles, args: BTreeMap<String, String>, labels| {
        let mut files: Vec<BuildFile> =
            files.into_iter().map(|(path, content, mode)| BuildFile { path, content, mode }).collect();
        files.push(BuildFile { path: EXTRA_CA.to_owned(), content: extra_ca.clone(), mode: 0o644 });
        ImageBuild { tags: vec![tag], files, args, labels, ..ImageBuild::default() }
    };
    let base_tag = match &args.project_image {
        Some(image) => image_name(docker_settings, BASE, Some(&format!("on-{}", tag_part(image)))),
        None => image_name(docker_settings, BASE, None),
    };
    let mut base_args = build_args.clone();
    base_args.insert("BASE_IMAGE".to_owned(), base_image.to_owned());
    let base = step(base_tag.clone(), catalog::base_context()?, base_args, BTreeMap::new());
    build_one(&docker, base, args.plain).await?;

    for entry in entries.into_iter().filter(|entry| is_buildable(entry)) {
        let mut cli_args = build_args.clone();
        cli_args.insert("BASE_IMAGE".to_owned(), base_tag.clone());
        let mut labels = BTreeMap::from([(IMAGE_CLI.to_owned(), entry.manifest.name.to_string())]);
        if let Some(version) = &entry.version {
            cli_args.insert("CLI_VERSION".to_owned(), version.clone());
            labels.insert(IMAGE_CLI_VERSION.to_owned(), version.clone());
        }
        let tag = match (&args.tag, &args.project_image) {
            (Some(tag), _) => tag.clone(),
            (None, Some(image)) => {
                let version = entry.version.as_deref().unwrap_or("latest");
                image_name(
                    docker_settings,
                    entry.manifest.name.as_str(),
                    Some(&format!("{version}-{}", tag_part(image))),
                )
            }
            (None, None) => entry.image.clone(),
        };
        let image = step(tag.clone(), catalog::context(entry)?, cli_args, labels);
        build_one(&docker, image, args.plain).await?;
        if args.project_image.is_some() {
            ui::out(format!("use it with a line `image: {tag}` in the project's file, or --image {tag}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen<'a>(app: &'a App, args: &BuildArgs) -> Result<Vec<&'a CliEntry>> {
    if args.clis.is_empty() {
        return Ok(app.catalog.iter().collect());
    }
    if args.clis.len() != 1 && (args.project_image.is_some() || args.tag.is_some()) {
        bail!("--project-image and --tag name one image, so they need exactly one CLI");
    }
    args.clis.iter().map(|name| Ok(app.catalog.get(name)?)).collect()
}

fn read_ca(path: &Path) -> Result<Vec<u8>> {
    let content = fs::read(path).with_context(|| format!("cannot read the CA file {}", path.display()))?;
    if !content.windows(PEM_MARK.len()).any(|w| w == PEM_MARK) {
        bail!(
            "{} holds no PEM certificate\n  hint: it must have lines `-----BEGIN CERTIFICATE-----`",
            path.display()
        );
    }
    Ok(content)
}

/// What every PEM certificate has.
const PEM_MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn parse_build_args(args: &[String]) -> Result<BTreeMap<String, String>> {
    args.iter()
        .map(|arg| {
            let (name, value) =
                arg.split_once('=').ok_or_else(|| anyhow!("--build-arg `{arg}` is not NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// An image's name as a part of a tag.
fn tag_part(image: &str) -> String {
    image.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

async fn pull_when_missing(docker: &DockerRuntime, image: &str) -> Result<()> {
    if docker.image(image).await?.is_some() {
        return Ok(());
    }
    ui::err(format!("pulling {image}"));
    docker.pull_image(image, |_| {}).await.map_err(|error| {
        anyhow!(error).context(format!(
            "the base image {image} is not on this machine and cannot be pulled\n  \
             hint: name one that is, with --base-image; on Debian, `docker/base-image.sh {image}` makes one without a registry"
        ))
    })
}

async fn build_one(docker: &DockerRuntime, build: ImageBuild, plain: bool) -> Result<()> {
    let tag = build.tags.first().cloned().unwrap_or_default();
    let bar = progress_bar(&tag, plain);
    let shown = bar.clone();
    let mut last_step = 0;
    let show = move |progress: BuildProgress| {
        let BuildProgress { step, total, line } = progress;
        match &shown {
            Some(bar) => {
                bar.set_length(u64::from(total));
                bar.set_position(u64::from(step));
                bar.set_message(ui::one_line(&line));
            }
            // In a pipe a line a step is enough; package managers print hundreds.
            None if plain || step != last_step => {
                ui::err(format!("{tag} {step}/{total}: {}", ui::one_line(&line)));
            }
            None => {}
        }
        last_step = step;
    };
    let name = build.tags.first().cloned().unwrap_or_default();
    let built = docker.build_image(build, show).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    built?;
    let size = docker.image(&name).await?.map_or(0, |facts| facts.size_bytes / MEBIBYTE);
    ui::out(format!("built {name} ({size} MiB)"));
    Ok(())
}

fn progress_bar(tag: &str, plain: bool) -> Option<ProgressBar> {
    if plain || !ui::is_live() {
        return None;
    }
    let bar = ProgressBar::new(1);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix} step {pos}/{len} {elapsed} {wide_msg}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(tag.to_owned());
    Some(bar)
}
