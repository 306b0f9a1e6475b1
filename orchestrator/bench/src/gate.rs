//! A coding CLI that does nothing, or nothing until it is let through: then it waits at a pipe and uses no processor.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::house::words;

/// Read and write for everybody: the CLI runs as another user.
const SHARED_PIPE: u32 = 0o666;

/// Where the CLI waits, until it is let through.
pub(crate) struct Gate {
    folder: PathBuf,
}

impl Gate {
    /// Closed: whoever comes waits.
    pub(crate) fn closed(folder: PathBuf) -> Result<Self> {
        let gate = Self { folder };
        if !gate.pipe().exists() {
            nix::unistd::mkfifo(&gate.pipe(), Mode::S_IRUSR)?;
            fs::set_permissions(gate.pipe(), fs::Permissions::from_mode(SHARED_PIPE))?;
        }
        gate.close()?;
        fs::write(
            gate.script(),
            format!(
                "while read -r line; do :; done\nif [ -e {} ]; then read -r line < {}; fi\necho Nothing.\n",
                gate.sign().display(),
                gate.pipe().display()
            ),
        )?;
        Ok(gate)
    }

    /// The CLI that waits there.
    pub(crate) fn cli(&self) -> Vec<String> {
        words(Path::new("sh"), &[&self.script().to_string_lossy()])
    }

    fn script(&self) -> PathBuf {
        self.folder.join("cli.sh")
    }

    fn sign(&self) -> PathBuf {
        self.folder.join("closed")
    }

    fn pipe(&self) -> PathBuf {
        self.folder.join("pipe")
    }

    /// Whoever comes from now on waits.
    pub(crate) fn close(&self) -> Result<()> {
        Ok(fs::write(self.sign(), "")?)
    }

    /// Nobody waits any more who comes now.
    pub(crate) fn open(&self) -> Result<()> {
        Ok(fs::remove_file(self.sign())?)
    }

    /// Lets those through who wait: they read the end of the pipe.
    pub(crate) fn let_through(&self) -> Result<()> {
        let writer: std::io::Result<File> =
            OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.pipe());
        match writer {
            Ok(_closed_at_once) => Ok(()),
            // Nobody waits.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
