//! The mark every process of a container carries in its environment: the container's folder. It finds what the process
//! tree no longer shows, namely orphans of an agent that died. A CLI can drop it; it is a net below the tree, not proof.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The variable. Its value is the container's folder, which no two containers of a machine share.
pub(super) const MARK_VARIABLE: &str = "CLOUD_CODE_LOCAL_CONTAINER";

/// The mark as it stands in `/proc/<pid>/environ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(Vec<u8>);

impl Mark {
    pub(super) fn of(folder: &Path) -> Self {
        let mut text = format!("{MARK_VARIABLE}=").into_bytes();
        text.extend_from_slice(folder.as_os_str().as_bytes());
        Self(text)
    }

    /// True when the process carries it. One whose environment this user may not read does not count.
    pub(super) fn is_on(&self, pid: i32) -> bool {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == self.0)
    }
}
