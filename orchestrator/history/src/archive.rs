//! `files.tar.gz`: one compressed file for all that an attempt left, because every file costs a block of disk and a sync.
//!
//! Its bytes depend on its content alone: no time, no owner, one order.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::HistoryError;
use crate::error::At;

/// The file's name in an attempt's folder.
pub(crate) const FILES: &str = "files.tar.gz";
/// Logs shrink by ten here; the levels above win a few hundredths more and take several times as long.
const LEVEL: Compression = Compression::new(5);
/// Longest name in an archive.
const MAX_NAME: usize = 90;

/// The files of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// `tasking.yaml` as it stood.
    Tasking,
    /// `reporting.yaml` as it stood.
    Reporting,
    /// `cli.yaml`, the manifest in force.
    Manifest,
    /// What the CLI was told.
    Prompt,
    /// Its part of `events.jsonl`.
    Events,
    /// What the attempt added to the branch.
    After,
    /// What the branch held before, against its base.
    Before,
    /// The CLI's output as it came.
    Log,
}

impl FileName {
    /// Every file, in the archive's order: the small ones first, so that they are read without the large.
    pub const ALL: [Self; 8] = [
        Self::Tasking,
        Self::Reporting,
        Self::Manifest,
        Self::Prompt,
        Self::Events,
        Self::After,
        Self::Before,
        Self::Log,
    ];

    /// Its name in the archive.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tasking => "tasking.yaml",
            Self::Reporting => "reporting.yaml",
            Self::Manifest => "cli.yaml",
            Self::Prompt => "prompt.md",
            Self::Events => "events.jsonl",
            Self::After => "after.diff",
            Self::Before => "before.diff",
            Self::Log => "cli.log",
        }
    }

    /// Which part of an attempt's room it may take, in sixteenths; the log takes what is left.
    pub(crate) const fn share(self) -> u64 {
        match self {
            Self::Tasking | Self::Reporting | Self::Manifest | Self::Prompt => 1,
            Self::Events => 4,
            Self::After | Self::Before => 2,
            Self::Log => 16,
        }
    }
}

/// Writes one.
pub(crate) struct ArchiveWriter {
    tar: tar::Builder<GzEncoder<BufWriter<File>>>,
    path: PathBuf,
}

impl ArchiveWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, HistoryError> {
        let file = File::options().write(true).create_new(true).open(path).at(path)?;
        Ok(Self {
            tar: tar::Builder::new(GzEncoder::new(BufWriter::new(file), LEVEL)),
            path: path.to_owned(),
        })
    }

    /// Adds a file from where `content` stands now to its end.
    pub(crate) fn add(&mut self, name: &str, mut content: impl Read + Seek) -> Result<u64, HistoryError> {
        let path = self.path.clone();
        let end = content.seek(io::SeekFrom::End(0)).at(&path)?;
        content.seek(io::SeekFrom::Start(0)).at(&path)?;
        let mut header = plain_header(end);
        self.tar.append_data(&mut header, name, content).at(&path)?;
        Ok(end)
    }

    /// Ends it; it is on the disk when this returns.
    pub(crate) fn finish(self) -> Result<(), HistoryError> {
        let path = self.path;
        let gz = self.tar.into_inner().at(&path)?;
        let mut file = gz.finish().at(&path)?;
        file.flush().at(&path)?;
        file.get_ref().sync_all().at(&path)
    }
}

/// The header of a plain file, without anything that another run would write otherwise.
pub(crate) fn plain_header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// Takes a file of an archive: its name, its size and its content.
pub type Take<'a> = &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> io::Result<ControlFlow<()>>;

/// Reads one.
pub struct Archive {
    path: PathBuf,
}

impl Archive {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(FILES) }
    }

    /// Copies a file to `to`; false when it is not there.
    pub fn copy(&self, name: &str, to: &mut dyn Write) -> Result<bool, HistoryError> {
        let mut found = false;
        self.each(&mut |entry, _, content| {
            if entry != name {
                return Ok(ControlFlow::Continue(()));
            }
            found = true;
            io::copy(content, to)?;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Gives every file to `take` with its name and size, in the archive's order, until it has enough.
    pub fn each(&self, take: Take<'_>) -> Result<(), HistoryError> {
        let file = File::open(&self.path).at(&self.path)?;
        let mut reader = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        for entry in reader.entries().at(&self.path)? {
            let mut entry = entry.at(&self.path)?;
            let Some(name) = safe_name(&entry) else { continue };
            let size = entry.size();
            if take(&name, size, &mut entry).at(&self.path)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The name of an entry, if it is one that this program writes: a plain name of a plain file.
fn safe_name<R: Read>(entry: &tar::Entry<'_, R>) -> Option<String> {
    let bytes = entry.path_bytes();
    let name = str::from_utf8(&bytes).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_safe =
        !name.starts_with('.') && !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain);
    (is_safe && entry.header().entry_type() == tar::EntryType::Regular).then(|| name.to_owned())
}
