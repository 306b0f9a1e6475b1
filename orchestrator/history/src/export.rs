//! Packs the story of an issue with all that is kept of it into one file: the same content makes the same bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::to_yaml;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::Value;

use crate::archive::plain_header;
use crate::error::At;
use crate::mask::{self, Mask};
use crate::place::ATTEMPT;
use crate::story::{Rows, Story};
use crate::{HistoryError, Kept};

const README: &str = include_str!("export.md");
/// In place of the values of variables, which stand in a task's row.
const LEFT_OUT: &str = "[value left out]";

/// What is done with a file of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Refuse,
    /// It is replaced when the new one is whole.
    Replace,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is a file of that name.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// It could not be written, or what is kept could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What is packed.
pub struct Export<'a> {
    /// What the story is told from.
    pub rows: &'a Rows,
    /// The story.
    pub story: &'a Story,
    /// What is kept of its attempts.
    pub kept: &'a [Kept],
    /// Who knows the secrets; all that is packed passes it once more, as more may be known by now.
    pub mask: &'a dyn Mask,
}

impl Export<'_> {
    /// Writes `path`, whole or not at all. Returns how many files are in it.
    pub fn write(&self, path: &Path, existing: Existing) -> Result<u64, ExportError> {
        let exists = || ExportError::Exists { path: path.to_owned() };
        if existing == Existing::Refuse && path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temp = tempfile::Builder::new().prefix(".exporting-").tempfile_in(folder).at(folder)?;
        let count = self.pack(temp.as_file(), folder)?;
        temp.as_file().sync_all().at(path)?;
        let kept = match existing {
            Existing::Refuse => temp.persist_noclobber(path),
            Existing::Replace => temp.persist(path),
        };
        match kept {
            Ok(_) => Ok(count),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
            Err(error) => Ok(Err(error.error).at(path)?),
        }
    }

    fn pack(&self, out: &File, folder: &Path) -> Result<u64, HistoryError> {
        let issue = &self.rows.issue;
        let mut packer = Packer {
            tar: tar::Builder::new(GzEncoder::new(BufWriter::new(out), Compression::default())),
            top: format!("{}-{}", issue.project, issue.key),
            folder: folder.to_owned(),
            mask: self.mask,
            count: 0,
        };
        packer.text("README.md", &self.readme())?;
        packer.json("timeline.json", self.story)?;
        packer.json("rows.json", self.rows)?;
        packer.json("dropped.json", &self.story.dropped)?;
        for kept in self.kept {
            let place = format!("attempts/{}.{}", kept.file.task, kept.file.attempt);
            let name = format!("{place}/{ATTEMPT}");
            let text = to_yaml(&kept.file).map_err(|problems| HistoryError::Unwritable {
                path: PathBuf::from(&name),
                why: problems.to_string(),
            })?;
            packer.text(&name, &text)?;
            let mut failed = None;
            kept.archive().each(&mut |name, _, content| match packer
                .masked(&format!("{place}/{name}"), content)
            {
                Ok(()) => Ok(ControlFlow::Continue(())),
                Err(error) => {
                    failed = Some(error);
                    Ok(ControlFlow::Break(()))
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        let gz = packer.tar.into_inner().at(folder)?;
        gz.finish().at(folder)?.flush().at(folder)?;
        Ok(packer.count)
    }

    fn readme(&self) -> String {
        let issue = &self.rows.issue;
        let open = self.rows.tasks.iter().filter(|record| !record.state.status().is_terminal()).count();
        let state = match open {
            0 => "Every task of it had ended when this was packed.".to_owned(),
            _ => {
                "A task of it had not ended when this was packed: its last attempt is not in here.".to_owned()
            }
        };
        let dropped = match self.story.dropped.len() {
            0 => "Nothing of it was dropped from the history.".to_owned(),
            count => format!("{count} attempts of it were dropped from the history before: `dropped.json`."),
        };
        README
            .replace("{issue}", &format!("{}#{}", issue.project, issue.key))
            .replace("{state}", &state)
            .replace("{dropped}", &dropped)
    }
}

struct Packer<'a, W: Write> {
    tar: tar::Builder<W>,
    top: String,
    folder: PathBuf,
    mask: &'a dyn Mask,
    count: u64,
}

impl<W: Write> Packer<'_, W> {
    fn text(&mut self, name: &str, text: &str) -> Result<(), HistoryError> {
        self.masked(name, &mut Cursor::new(text.as_bytes()))
    }

    /// Masked value by value: a mask over the whole text could take a quote with it.
    fn json<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), HistoryError> {
        let unwritable = |error: serde_json::Error| HistoryError::Unwritable {
            path: PathBuf::from(name),
            why: error.to_string(),
        };
        let mut value = serde_json::to_value(value).map_err(unwritable)?;
        clean(&mut value, self.mask);
        let mut text = serde_json::to_vec_pretty(&value).map_err(unwritable)?;
        text.push(b'\n');
        self.put(name, Cursor::new(text))
    }

    fn masked(&mut self, name: &str, content: &mut dyn Read) -> Result<(), HistoryError> {
        let mut spool = tempfile::tempfile_in(&self.folder).at(&self.folder)?;
        mask::copy(BufReader::new(content), BufWriter::new(&mut spool), self.mask).at(&self.folder)?;
        self.put(name, spool)
    }

    fn put(&mut self, name: &str, mut content: impl Read + Seek) -> Result<(), HistoryError> {
        let size = content.seek(SeekFrom::End(0)).at(&self.folder)?;
        content.seek(SeekFrom::Start(0)).at(&self.folder)?;
        let mut header = plain_header(size);
        self.tar.append_data(&mut header, format!("{}/{name}", self.top), content).at(&self.folder)?;
        self.count += 1;
        Ok(())
    }
}

/// Takes secrets out of every text, and the values out of every map that is called `env`.
fn clean(value: &mut Value, mask: &dyn Mask) {
    match value {
        Value::String(text) => *text = mask.clean(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, mask)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::Object(env) if key == "env" => {
                        env.values_mut().for_each(|value| *value = Value::String(LEFT_OUT.to_owned()));
                    }
                    other => clean(other, mask),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
