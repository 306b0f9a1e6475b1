//! The patch format of codex, which knows files by whole lines.

/// What a patch tool puts between the lines of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newlines {
    /// One after each: a file without a last newline cannot be added.
    After,
    /// One between two: a last newline is an empty line.
    Between,
}

/// A patch that adds a file; `None` where such a content cannot be added so.
pub(super) fn add_file(path: &str, content: &str, newlines: Newlines) -> Option<String> {
    let lines = match newlines {
        Newlines::After => content.strip_suffix('\n')?,
        Newlines::Between => content,
    };
    let mut patch = format!("*** Begin Patch\n*** Add File: {path}\n");
    for line in lines.split('\n') {
        patch.push_str(&format!("+{line}\n"));
    }
    patch.push_str("*** End Patch");
    Some(patch)
}

pub(super) fn update_file(path: &str, old: &str, new: &str) -> String {
    let mut patch = format!("*** Begin Patch\n*** Update File: {path}\n@@\n");
    for line in old.lines() {
        patch.push_str(&format!("-{line}\n"));
    }
    for line in new.lines() {
        patch.push_str(&format!("+{line}\n"));
    }
    patch.push_str("*** End Patch");
    patch
}
