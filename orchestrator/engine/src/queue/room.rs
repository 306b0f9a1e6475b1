//! What this machine has left for another task.

use std::path::Path;

use cloud_code_model::QueueLimits;

use super::Waits;

/// Memory and disk that are free, in bytes; nothing where it cannot be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Memory that can be had without swapping.
    pub memory: Option<u64>,
    /// Space where the home folder lies, for the user that asks.
    pub disk: Option<u64>,
}

impl Room {
    /// As it is now. Blocking, for as long as two small reads take.
    pub fn look(home: &Path) -> Self {
        let disk = nix::sys::statvfs::statvfs(home).ok();
        let disk = disk.map(|fs| fs.blocks_available().saturating_mul(fs.fragment_size()));
        Self { memory: std::fs::read_to_string(MEMINFO).ok().and_then(|text| available(&text)), disk }
    }

    /// What is missing for one more task besides `running`.
    pub(super) fn lacks(&self, limits: &QueueLimits, running: u32) -> Option<Waits> {
        if let Some(free) = self.disk.filter(|free| *free < limits.min_free_disk.bytes()) {
            return Some(Waits::Disk { free, least: limits.min_free_disk });
        }
        // A machine that is small for everything still does one task at a time.
        let free = self.memory.filter(|free| *free < limits.min_free_memory.bytes() && running > 0)?;
        Some(Waits::Memory { free, least: limits.min_free_memory })
    }
}

/// Where Linux tells it.
const MEMINFO: &str = "/proc/meminfo";

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_tells_it() {
        let text = "MemTotal:       24609368 kB\nMemFree:          817284 kB\nMemAvailable:   21000004 kB\n";
        assert_eq!(available(text), Some(21_000_004 * 1024));
        assert_eq!(available("MemTotal: 1 kB"), None);
        let here = Room::look(Path::new("/"));
        assert!(here.memory.is_some_and(|free| free > 0) && here.disk.is_some());
    }

    #[test]
    fn a_small_machine_does_one_task_but_a_full_disk_none() {
        let limits = QueueLimits::default();
        let small = Room { memory: Some(1 << 20), disk: None };
        assert_eq!(small.lacks(&limits, 0), None);
        assert!(matches!(small.lacks(&limits, 1), Some(Waits::Memory { .. })));
        let full = Room { memory: None, disk: Some(1 << 20) };
        assert!(matches!(full.lacks(&limits, 0), Some(Waits::Disk { .. })));
        assert_eq!(Room::default().lacks(&limits, 9), None);
    }
}
