//! Puts an attempt into the history: collected into a folder with another name, then renamed.
//!
//! What it reads was written by an agent: opened without following a link, cut at its room, masked, and never parsed to
//! decide anything. Nothing that is missing or odd there keeps the rest from being kept; `attempt.yaml` says what is.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{TaskId, to_yaml};

use crate::archive::{ArchiveWriter, FILES, FileName};
use crate::attempt::{AttemptFile, KeptFile, MissingFile};
use crate::control::ControlFiles;
use crate::cut::{LEAST, cut};
use crate::error::At;
use crate::ledger::Entry;
use crate::mask::{self, Mask};
use crate::place::{self, ATTEMPT, WRITING};
use crate::{History, HistoryError};

/// Most attempts that an agent is followed in counting by itself.
const MAX_COUNTED: u32 = 20;

/// What an attempt left, beside its control directory.
pub struct Material<'a> {
    /// What is known of it. Its `files` and `missing` are filled here.
    pub about: AttemptFile,
    /// Its workspace's control directory.
    pub control: &'a ControlFiles,
    /// The last attempt of the task that the agent counted; it may have counted on by itself.
    pub last_counted: u32,
    /// The CLI's manifest, without the values of variables.
    pub manifest: Content,
    /// What the branch held before.
    pub before: Content,
    /// What the attempt added to it.
    pub after: Content,
    /// Who knows the secrets.
    pub mask: &'a dyn Mask,
}

/// A text that is made for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// There is none, and none is missing.
    Nothing,
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It could not be made, and why.
    Missing(String),
}

/// What came of writing.
#[derive(Debug)]
pub enum Outcome {
    /// It is written and not in place.
    Written(Box<Draft>),
    /// It stood in its place already.
    Stood,
}

/// An attempt that is written and not in place.
#[derive(Debug)]
pub struct Draft {
    about: AttemptFile,
    folder: PathBuf,
}

enum Source {
    File(File),
    Bytes(Vec<u8>),
    Missing(String),
}

impl From<io::Result<File>> for Source {
    fn from(opened: io::Result<File>) -> Self {
        match opened {
            Ok(file) => Self::File(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::Missing("it is not there".to_owned())
            }
            Err(error) => Self::Missing(format!("it cannot be read: {error}")),
        }
    }
}

impl History {
    /// Writes an attempt's folder under another name. What a killed writer left there is replaced.
    pub fn write(&self, material: Material<'_>) -> Result<Outcome, HistoryError> {
        let key = material.about.key();
        let standing = self.folder(&key);
        if self.has(&key) {
            return Ok(Outcome::Stood);
        }
        place::remove_folder(&standing)?;
        let parent = self.issue_folder(&key.project, &key.issue);
        let folder = parent.join(format!("{WRITING}{}.{}", key.task, key.attempt));
        {
            // A pruning takes empty folders away.
            let _turn = self.turn()?;
            place::remove_folder(&folder)?;
            place::make_folder(&folder)?;
        }
        match self.fill(&folder, material) {
            Ok(about) => Ok(Outcome::Written(Box::new(Draft { about, folder }))),
            Err(error) => {
                // A full disk is the usual reason, and half an attempt on it is of no use to anybody.
                if let Err(left) = place::remove_folder(&folder) {
                    tracing::warn!(path = %folder.display(), error = %left, "half an attempt stays");
                }
                Err(error)
            }
        }
    }

    /// Writes the files of an attempt into its folder.
    fn fill(&self, folder: &Path, mut material: Material<'_>) -> Result<AttemptFile, HistoryError> {
        let mut archive = ArchiveWriter::create(&folder.join(FILES))?;
        let mut about = material.about.clone();
        let mut room = self.caps().max_attempt_size.max(LEAST);
        for (kind, name, source) in self.sources(&mut material)? {
            let cap = (self.caps().max_attempt_size / 16 * kind.share()).min(room);
            match self.add(&mut archive, &name, source, cap, material.mask)? {
                Ok(kept) => {
                    room = room.saturating_sub(kept.bytes);
                    about.files.push(kept);
                }
                Err(why) => about.missing.push(MissingFile { name, why }),
            }
        }
        archive.finish()?;
        write_about(&folder.join(ATTEMPT), &about)?;
        place::sync_folder(folder)?;
        Ok(about)
    }

    /// Puts a written attempt in its place and notes it.
    pub fn place(&self, draft: Box<Draft>) -> Result<(), HistoryError> {
        let key = draft.about.key();
        let standing = self.folder(&key);
        let _turn = self.turn()?;
        if self.has(&key) {
            place::remove_folder(&draft.folder)?;
        } else {
            fs::rename(&draft.folder, &standing).at(&standing)?;
            place::sync_folder(&self.issue_folder(&key.project, &key.issue))?;
        }
        let bytes = place::size_on_disk(&standing)?;
        self.ledger().add(&Entry { key, at: draft.about.kept_at, bytes })
    }

    /// Notes an attempt that stood already: whoever put it there may have been killed before it was noted.
    pub fn ensure_noted(&self, key: &place::Key) -> Result<(), HistoryError> {
        let _turn = self.turn()?;
        let Some(kept) = self.attempt(key)? else { return Ok(()) };
        let bytes = place::size_on_disk(kept.folder())?;
        self.ledger().ensure(&Entry { key: key.clone(), at: kept.file.kept_at, bytes })
    }

    fn sources(&self, material: &mut Material<'_>) -> Result<Vec<(FileName, String, Source)>, HistoryError> {
        let Material { about, control, manifest, before, after, .. } = material;
        let mut sources = Vec::new();
        for kind in FileName::ALL {
            let name = kind.as_str().to_owned();
            match kind {
                FileName::Tasking | FileName::Reporting => {
                    sources.push((kind, name, control.file(kind.as_str()).into()));
                }
                FileName::Events => sources.push((kind, name, self.events(about, control)?)),
                FileName::Manifest => sources.extend(made(kind, name, manifest)),
                FileName::Before => sources.extend(made(kind, name, before)),
                FileName::After => sources.extend(made(kind, name, after)),
                FileName::Prompt | FileName::Log => {
                    let last = material.last_counted.clamp(about.attempt, about.attempt + MAX_COUNTED);
                    for number in about.attempt..=last {
                        let source: Source = control.log_file(&log_name(kind, &about.task, number)).into();
                        let name = if number == last { name.clone() } else { numbered(kind, number) };
                        // An agent that died at once left none; only the last one is missed.
                        if number == last || !matches!(source, Source::Missing(_)) {
                            sources.push((kind, name, source));
                        }
                    }
                }
            }
        }
        Ok(sources)
    }

    /// Its part of the event log, in a file without a name: it can be longer than memory.
    fn events(&self, about: &AttemptFile, control: &ControlFiles) -> Result<Source, HistoryError> {
        let mut spool = self.spool()?;
        let written = {
            let out = BufWriter::new(&mut spool);
            control.events(&about.task, about.attempt, about.started_at, out)
        };
        Ok(match written {
            Ok(_) if spool.metadata().at(self.root())?.len() == 0 => {
                Source::Missing("no event of the attempt is in it".to_owned())
            }
            Ok(_) => Source::File(spool),
            Err(error) => Source::Missing(format!("it cannot be read: {error}")),
        })
    }

    fn add(
        &self,
        archive: &mut ArchiveWriter,
        name: &str,
        source: Source,
        room: u64,
        mask: &dyn Mask,
    ) -> Result<Result<KeptFile, String>, HistoryError> {
        let (mut file, mut bytes);
        let (whole, source): (u64, &mut dyn ReadSeek) = match source {
            Source::File(opened) => {
                file = opened;
                (file.seek(SeekFrom::End(0)).at(self.root())?, &mut file)
            }
            Source::Bytes(given) => {
                bytes = Cursor::new(given);
                (bytes.get_ref().len() as u64, &mut bytes)
            }
            Source::Missing(why) => return Ok(Err(why)),
        };
        let cut = match cut(source, whole, room) {
            Ok(cut) => cut,
            Err(error) => return Ok(Err(format!("it cannot be read: {error}"))),
        };
        let mut spool = self.spool()?;
        mask::copy(cut.reader, BufWriter::new(&mut spool), mask).at(self.root())?;
        let bytes = archive.add(name, spool)?;
        Ok(Ok(KeptFile { name: name.to_owned(), bytes, dropped_bytes: cut.dropped }))
    }

    fn spool(&self) -> Result<File, HistoryError> {
        tempfile::tempfile_in(self.root()).at(self.root())
    }
}

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

fn made(kind: FileName, name: String, content: &mut Content) -> Option<(FileName, String, Source)> {
    let source = match std::mem::replace(content, Content::Nothing) {
        Content::Nothing => return None,
        Content::Bytes(bytes) => Source::Bytes(bytes),
        Content::Missing(why) => Source::Missing(why),
    };
    Some((kind, name, source))
}

fn log_name(kind: FileName, task: &TaskId, attempt: u32) -> String {
    match kind {
        FileName::Prompt => format!("{task}.{attempt}.prompt.md"),
        _ => format!("{task}.{attempt}.log"),
    }
}

fn numbered(kind: FileName, attempt: u32) -> String {
    match kind {
        FileName::Prompt => format!("prompt.{attempt}.md"),
        _ => format!("cli.{attempt}.log"),
    }
}

fn write_about(path: &std::path::Path, about: &AttemptFile) -> Result<(), HistoryError> {
    let unwritable = |why: String| HistoryError::Unwritable { path: path.to_owned(), why };
    let text = to_yaml(about).map_err(|problems| unwritable(problems.to_string()))?;
    let mut file = File::options().write(true).create_new(true).open(path).at(path)?;
    file.write_all(text.as_bytes()).at(path)?;
    file.sync_all().at(path)
}
