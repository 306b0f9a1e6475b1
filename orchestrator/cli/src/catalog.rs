//! The coding CLIs: built in from `docker/agents`, and folders that the user gave.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_engine::{CliCatalog, CliEntry, CliOrigin};
use cloud_code_model::DockerSettings;
use cloud_code_task_schema::{CliName, parse_manifest};
use include_dir::{Dir, include_dir};

static AGENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../docker/agents");
static VERSIONS: &str = include_str!("../../../docker/versions.env");

/// The folder of the image that all others stand on.
pub(crate) const BASE: &str = "base";
/// What stands before an image's name, unless settings say otherwise.
const IMAGE_PREFIX: &str = "cloud-code";
/// The tag of an image whose CLI has no pinned version.
const UNPINNED: &str = "latest";
/// The manifest's name in a CLI's folder.
const MANIFEST: &str = "cli.yaml";

/// The files of one image: name, content, mode.
pub(crate) type ContextFiles = Vec<(String, Vec<u8>, u32)>;

/// Every CLI this installation knows.
pub(crate) fn load(docker: &DockerSettings, folders: &[PathBuf]) -> Result<CliCatalog> {
    let mut catalog = CliCatalog::default();
    for dir in AGENTS.dirs() {
        let Some(file) = dir.get_file(dir.path().join(MANIFEST)) else { continue };
        let text = file.contents_utf8().ok_or_else(|| anyhow!("{} is not UTF-8", file.path().display()))?;
        catalog.insert(entry(docker, &file.path().display().to_string(), text, CliOrigin::BuiltIn)?);
    }
    for folder in folders {
        for path in sub_folders(folder)? {
            let file = path.join(MANIFEST);
            let text = match fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            };
            catalog.insert(entry(docker, &file.display().to_string(), &text, CliOrigin::Folder(path))?);
        }
    }
    Ok(catalog)
}

fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read the CLI folder {}", folder.display()))?;
    let mut paths = Vec::new();
    for item in entries {
        let path = item.with_context(|| format!("cannot read the CLI folder {}", folder.display()))?.path();
        if path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn entry(docker: &DockerSettings, file: &str, text: &str, origin: CliOrigin) -> Result<CliEntry> {
    let manifest = parse_manifest(file, text).map_err(|problems| anyhow!("{problems}"))?;
    let folder = Path::new(file).parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    if folder != manifest.name.as_str() {
        bail!(
            "{file}: name: the CLI `{}` stands in a folder named `{folder}`, they must be the same",
            manifest.name
        );
    }
    let version = pinned(&manifest.name);
    // A CLI without a Dockerfile of its own runs in the base image, or in the project's.
    let image = match has_dockerfile(&manifest.name, &origin) {
        true => image_name(docker, manifest.name.as_str(), version.as_deref()),
        false => image_name(docker, BASE, None),
    };
    Ok(CliEntry { manifest, version, image, origin })
}

/// `cloud-code/<name>:<version>`.
pub(crate) fn image_name(docker: &DockerSettings, name: &str, version: Option<&str>) -> String {
    let prefix = docker.image_prefix.as_deref().unwrap_or(IMAGE_PREFIX);
    format!("{prefix}/{name}:{}", version.unwrap_or(UNPINNED))
}

/// The version that `docker/versions.env` pins.
fn pinned(name: &CliName) -> Option<String> {
    let key = format!("{}_VERSION", name.as_str().to_ascii_uppercase().replace('-', "_"));
    VERSIONS.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

fn has_dockerfile(name: &CliName, origin: &CliOrigin) -> bool {
    match origin {
        CliOrigin::BuiltIn => AGENTS.get_file(format!("{name}/Dockerfile")).is_some(),
        CliOrigin::Folder(path) => path.join("Dockerfile").is_file(),
    }
}

/// Whether a CLI has an image of its own to build.
pub(crate) fn is_buildable(entry: &CliEntry) -> bool {
    has_dockerfile(&entry.manifest.name, &entry.origin)
}

/// The files of the base image's folder.
pub(crate) fn base_context() -> Result<ContextFiles> {
    embedded(BASE)
}

/// The files of a CLI's folder.
pub(crate) fn context(entry: &CliEntry) -> Result<ContextFiles> {
    match &entry.origin {
        CliOrigin::BuiltIn => embedded(entry.manifest.name.as_str()),
        CliOrigin::Folder(path) => {
            let mut files = Vec::new();
            for item in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
                let file = item.with_context(|| format!("cannot read {}", path.display()))?.path();
                if file.is_file() {
                    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let content =
                        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                    files.push((name, content, file_mode(&file)?));
                }
            }
            Ok(files)
        }
    }
}

fn embedded(name: &str) -> Result<ContextFiles> {
    let dir = AGENTS.get_dir(name).ok_or_else(|| anyhow!("no image `{name}` is built into this program"))?;
    let file = |f: &include_dir::File<'_>| {
        let name = f.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name, f.contents().to_vec(), EMBEDDED_MODE)
    };
    Ok(dir.files().map(file).collect())
}

/// Embedding keeps no modes; scripts in the context are started through their interpreter.
const EMBEDDED_MODE: u32 = 0o644;

fn file_mode(path: &Path) -> Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    let meta = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(meta.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_clis_are_whole() {
        let catalog = load(&DockerSettings::default(), &[]).unwrap();
        let known: Vec<_> = catalog.iter().map(|entry| entry.manifest.name.as_str()).collect();
        for name in ["aider", "claude-code", "codex", "command", "gemini", "opencode", "qwen-code"] {
            assert!(known.contains(&name), "{name} is not in {known:?}");
        }
        for entry in catalog.iter() {
            let name = entry.manifest.name.as_str();
            match is_buildable(entry) {
                true => {
                    assert_eq!(entry.image, format!("cloud-code/{name}:{}", entry.version.as_ref().unwrap()))
                }
                false => assert_eq!((name, entry.image.as_str()), ("command", "cloud-code/base:latest")),
            }
        }
        assert!(base_context().unwrap().iter().any(|(name, ..)| name == "Dockerfile"));
    }

    #[test]
    fn a_folder_adds_a_cli_and_its_name_must_match() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mine")).unwrap();
        fs::write(dir.path().join("mine/cli.yaml"), "name: mine\ncommand: [mine]\n").unwrap();
        let catalog = load(&DockerSettings::default(), &[dir.path().to_owned()]).unwrap();
        assert!(catalog.get(&"mine".parse().unwrap()).is_ok());

        fs::write(dir.path().join("mine/cli.yaml"), "name: other\ncommand: [mine]\n").unwrap();
        let refused = load(&DockerSettings::default(), &[dir.path().to_owned()]).unwrap_err();
        assert!(refused.to_string().contains("they must be the same"), "{refused}");
    }
}
