//! A disk that a story can fill, and give room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Room for a repository of a few files, its database and the database's log. More only takes longer to fill.
const SIZE: &str = "size=24m,mode=755";
/// What takes all the room.
const FILLER: &str = "filler";

/// A small tmpfs, unmounted at the end.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it there.
    pub(crate) fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&path).output();
        let mounted = mounted.unwrap();
        assert!(
            mounted.status.success(),
            "this story mounts a small tmpfs: run it as root\n{}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(path)
    }

    /// Not a byte more fits. What is written over in place still does, as on any disk.
    pub(crate) fn fills(&self) {
        let mut filler = File::options().create(true).append(true).open(self.0.join(FILLER)).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![0_u8; size];
            while filler.write_all(&block).is_ok() {}
        }
    }

    /// Full but for these bytes.
    pub(crate) fn fills_but(&self, room: u64) {
        self.fills();
        let filler = File::options().write(true).open(self.0.join(FILLER)).unwrap();
        filler.set_len(filler.metadata().unwrap().len() - room).unwrap();
    }

    /// Somebody made room.
    pub(crate) fn empties(&self) {
        fs::remove_file(self.0.join(FILLER)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
