//! Did the kernel kill something for memory? The memory cgroup counts that, in version 1 and 2 differently.

use std::path::{Path, PathBuf};

/// The root of the cgroup file systems. In a container it is the container's own group.
const ROOT: &str = "/sys/fs/cgroup";

/// The files that may hold the count, the agent's own group first.
pub(crate) struct OomCounter {
    candidates: Vec<PathBuf>,
}

impl OomCounter {
    /// Finds the agent's own memory group.
    pub(crate) fn find() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { candidates: candidates(&own, Path::new(ROOT)) }
    }

    /// How many processes the kernel has killed so far; 0 when nobody counts.
    pub(crate) fn read(&self) -> u64 {
        let count = |path: &PathBuf| kills_in(&std::fs::read_to_string(path).ok()?);
        self.candidates.iter().find_map(count).unwrap_or(0)
    }
}

fn candidates(own: &str, root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let group = group.trim_start_matches('/');
        if controllers.split(',').any(|controller| controller == "memory") {
            found.push(root.join("memory").join(group).join("memory.oom_control"));
        } else if controllers.is_empty() {
            found.push(root.join(group).join("memory.events"));
        }
    }
    // Inside a container the path above is the host's; the group itself is mounted at the root.
    found.push(root.join("memory/memory.oom_control"));
    found.push(root.join("memory.events"));
    found
}

fn kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let found = candidates("11:cpu,memory:/docker/abc\n0::/docker/abc\n", Path::new("/r"));
        assert_eq!(found[0], Path::new("/r/memory/docker/abc/memory.oom_control"));
        assert_eq!(found[1], Path::new("/r/docker/abc/memory.events"));
        assert_eq!(kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills_in("low 0\noom 1\noom_kill 2\noom_group_kill 0\n"), Some(2));
    }
}
