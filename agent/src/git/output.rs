//! Reads what git prints with `-z`: no quoting, so any file name comes through.

use std::collections::BTreeMap;

use cloud_code_task_schema::{ChangeKind, CommitReport, FileChange};

/// Longest first line of a commit message in a report.
const MAX_SUBJECT_BYTES: usize = 500;

/// `log -z --format=%H %s`.
pub(super) fn commits(text: &str) -> Vec<CommitReport> {
    let read = |entry: &str| {
        let (sha, message) = entry.split_once(' ').unwrap_or((entry, ""));
        let sound = matches!(sha.len(), 40 | 64) && sha.bytes().all(|b| b.is_ascii_hexdigit());
        sound.then(|| CommitReport {
            sha: sha.to_owned(),
            message: crate::parse::clip_to(message, MAX_SUBJECT_BYTES),
        })
    };
    text.split('\0').filter_map(read).collect()
}

/// `diff --raw --numstat -z`: first the raw entries, then the counts.
pub(super) fn files(text: &str) -> Vec<FileChange> {
    let mut fields = text.split('\0');
    let mut files: Vec<FileChange> = Vec::new();
    let mut by_path = BTreeMap::new();
    while let Some(field) = fields.next() {
        if let Some(raw) = field.strip_prefix(':') {
            let status = raw.rsplit(' ').next().and_then(|status| status.chars().next()).unwrap_or('M');
            let mut path = fields.next().unwrap_or_default();
            if matches!(status, 'R' | 'C') {
                path = fields.next().unwrap_or(path);
            }
            let change = match status {
                'A' | 'C' => ChangeKind::Added,
                'D' => ChangeKind::Deleted,
                'R' => ChangeKind::Renamed,
                _ => ChangeKind::Modified,
            };
            by_path.insert(path, files.len());
            files.push(FileChange { path: path.to_owned(), change, lines_added: None, lines_removed: None });
            continue;
        }
        let mut counts = field.splitn(3, '\t');
        let (Some(added), Some(removed), Some(path)) = (counts.next(), counts.next(), counts.next()) else {
            continue;
        };
        let path = if path.is_empty() {
            // A rename: old name, new name.
            fields.next();
            fields.next().unwrap_or_default()
        } else {
            path
        };
        if let Some(file) = by_path.get(path).and_then(|index| files.get_mut(*index)) {
            // `-` for binary files.
            file.lines_added = added.parse().ok();
            file.lines_removed = removed.parse().ok();
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_binaries_and_odd_names_are_read() {
        let text = ":100644 100644 a b M\0sp ace\ttab.txt\0:100644 000000 a 0 D\0gone\0:100644 100644 a b R090\0old\0new\0:000000 100644 0 b A\0pic.png\0\
                    3\t1\tsp ace\ttab.txt\x000\t7\tgone\x001\t0\t\0old\0new\0-\t-\tpic.png\0";
        let told: Vec<_> =
            files(text).into_iter().map(|f| (f.path, f.change, f.lines_added, f.lines_removed)).collect();
        assert_eq!(
            told,
            [
                ("sp ace\ttab.txt".to_owned(), ChangeKind::Modified, Some(3), Some(1)),
                ("gone".to_owned(), ChangeKind::Deleted, Some(0), Some(7)),
                ("new".to_owned(), ChangeKind::Renamed, Some(1), Some(0)),
                ("pic.png".to_owned(), ChangeKind::Added, None, None),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_output_of_git_makes_it_panic(text in "[:\\-0-9a-fRAM \\t\\x00]{0,200}") {
            files(&text);
            commits(&text);
        }
    }
}
