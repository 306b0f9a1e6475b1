//! The project's own prompts: found in a folder of its repository or of this machine, checked whole before a task is
//! stored, and copied beside `tasking.yaml` before its agent starts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{
    ControlDir, MAX_PROMPT_BYTES, PROMPT_NAMES, ReadError, read_capped, write_atomic,
};
use cloud_code_workspace::FolderError;

use crate::EngineError;
use crate::git::Repo;

/// How a prompt's file name ends.
const SUFFIX: &str = ".md";

/// Why the project's prompts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// The folder of the repository cannot be read.
    #[error("the key `prompts` of the project's settings")]
    InRepository(#[from] FolderError),
    /// The folder of this machine cannot be read.
    #[error("the key `prompts` of the project's settings: cannot read {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of this machine cannot be used.
    #[error("the key `prompts` of the project's settings")]
    File(#[from] ReadError),
    /// It is not text.
    #[error("the prompt `{name}` is not UTF-8")]
    NotText {
        /// The file's name.
        name: String,
    },
    /// Nothing reads a prompt of that name.
    #[error(
        "`{name}` in the folder `{folder}` is no prompt\n  hint: the prompts are {}; other files do not belong there",
        known()
    )]
    Unknown {
        /// The file's name.
        name: String,
        /// The folder.
        folder: String,
    },
}

fn known() -> String {
    PROMPT_NAMES.map(|name| format!("{name}{SUFFIX}")).join(", ")
}

/// The prompts of a folder, by name. A relative folder is one of the repository at the base commit, an absolute one
/// lies on this machine. Blocking.
pub(crate) fn read(folder: &str, repo: &Repo, base_sha: &str) -> Result<Prompts, EngineError> {
    let files = match Path::new(folder).is_absolute() {
        true => on_this_machine(Path::new(folder))?,
        false => repo.folder_files(base_sha, folder, MAX_PROMPT_BYTES)?,
    };
    let mut prompts = Prompts::new();
    for (file, content) in files {
        let unknown = || PromptError::Unknown { name: file.clone(), folder: folder.to_owned() };
        let stem = file.strip_suffix(SUFFIX).ok_or_else(unknown)?;
        let name = PROMPT_NAMES.into_iter().find(|name| *name == stem).ok_or_else(unknown)?;
        let text = String::from_utf8(content).map_err(|_| PromptError::NotText { name: file.clone() })?;
        prompts.insert(name, text);
    }
    Ok(prompts)
}

/// By name, out of [`PROMPT_NAMES`].
pub(crate) type Prompts = BTreeMap<&'static str, String>;

fn on_this_machine(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, PromptError> {
    let io = |source| PromptError::Folder { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            files.push((name, read_capped(&entry.path(), MAX_PROMPT_BYTES)?.into_bytes()));
        }
    }
    Ok(files)
}

/// Makes the control directory hold just these. Blocking.
pub(crate) fn write(control: &ControlDir, prompts: &Prompts) -> Result<(), EngineError> {
    let folder = control.prompts();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| EngineError::Io { path, source }
    };
    if prompts.is_empty() && !folder.exists() {
        return Ok(());
    }
    crate::perform::make_dir(&folder)?;
    for name in PROMPT_NAMES {
        let path = control.prompt(name);
        match prompts.get(name) {
            Some(text) => write_atomic(&path, text.as_bytes()).map_err(io(&path))?,
            // Of an earlier task, whose project had it.
            None if path.symlink_metadata().is_ok() => fs::remove_file(&path).map_err(io(&path))?,
            None => {}
        }
    }
    Ok(())
}
