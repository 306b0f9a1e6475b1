//! Which names and links inside a commit could hurt whoever checks it out, on any file system.
//!
//! Rules after git's own `verify_path`, `is_ntfs_dotgit` and `is_hfs_dotgit`, all of them at once: the reviewer's
//! machine may be a Mac or run Windows. Pure functions over bytes; nothing here reads a repository.

/// Why a name may not stand in a new commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// Empty, `.`, `..`, or with a slash in it.
    NotAName,
    /// `.git`, or a name that some file system takes for it.
    GitFolder,
    /// `.cloud-code`: the control files are never part of a commit.
    ControlFolder,
}

/// Why a symbolic link may not stand in a new commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLink {
    /// It starts at the root of the reader's file system (or of a Windows drive).
    Absolute,
    /// It climbs out of the repository.
    Escapes,
    /// It goes down and up again: through another link that can lead anywhere.
    Winding,
    /// It leads into `.git`.
    IntoGitFolder,
    /// It is empty, holds a NUL, or is longer than a path can be.
    Malformed,
}

/// Longest target of a link, in bytes: PATH_MAX of Linux.
pub(crate) const MAX_LINK: usize = 4096;

/// Checks one component of a path.
pub(crate) fn check_name(name: &[u8], at_root: bool) -> Result<(), BadName> {
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        return Err(BadName::NotAName);
    }
    if is_git_folder(name) {
        return Err(BadName::GitFolder);
    }
    if at_root && name.eq_ignore_ascii_case(b".cloud-code") {
        return Err(BadName::ControlFolder);
    }
    Ok(())
}

/// Checks a link that stands `depth` folders below the root.
///
/// Ups are allowed only at the front: the folder a link stands in is real, so they land on real folders, and what
/// follows passes only through links under this same rule. By induction no such link leaves the repository.
pub(crate) fn check_link(target: &[u8], depth: usize) -> Result<(), BadLink> {
    if target.is_empty() || target.len() > MAX_LINK || target.contains(&0) {
        return Err(BadLink::Malformed);
    }
    let drive = target.len() >= 2 && target[0].is_ascii_alphabetic() && target[1] == b':';
    if matches!(target[0], b'/' | b'\\') || drive {
        return Err(BadLink::Absolute);
    }
    let mut ups = 0;
    let mut descended = false;
    for part in target.split(|b| matches!(b, b'/' | b'\\')) {
        match part {
            b"" | b"." => {}
            b".." if descended => return Err(BadLink::Winding),
            b".." => ups += 1,
            name if is_git_folder(name) => return Err(BadLink::IntoGitFolder),
            _ => descended = true,
        }
    }
    if ups > depth { Err(BadLink::Escapes) } else { Ok(()) }
}

/// True for `.git` and for every name that Windows or macOS would resolve to it.
pub(crate) fn is_git_folder(name: &[u8]) -> bool {
    // On Windows a backslash separates: any of the parts may be the one.
    name.split(|b| *b == b'\\').any(is_ntfs_git) || is_hfs_git(name)
}

/// NTFS ignores case, trailing spaces and dots, and what follows a colon (a stream); it may also offer `.git` under
/// the short name `git~1`, and under a higher number where several names compete.
fn is_ntfs_git(part: &[u8]) -> bool {
    let stem = part.split(|b| *b == b':').next().unwrap_or_default();
    let end = stem.iter().rposition(|b| !matches!(b, b' ' | b'.')).map_or(0, |last| last + 1);
    let stem = stem[..end].to_ascii_lowercase();
    if stem == b".git" {
        return true;
    }
    stem.strip_prefix(b"git~")
        .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

/// HFS+ ignores case and these code points.
fn is_hfs_git(name: &[u8]) -> bool {
    let ignored = |c: &char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let Ok(text) = str::from_utf8(name) else { return false };
    text.chars().filter(|c| !ignored(c)).flat_map(char::to_lowercase).eq(".git".chars())
}

/// Files and folders that make a forge run something. A trailing slash marks a folder.
pub(crate) const CI_PLACES: [&str; 22] = [
    ".github/workflows/",
    ".github/actions/",
    ".gitlab-ci.yml",
    ".gitlab/ci/",
    ".circleci/",
    ".buildkite/",
    ".travis.yml",
    ".drone.yml",
    ".drone.star",
    ".woodpecker.yml",
    ".woodpecker.yaml",
    ".woodpecker/",
    ".forgejo/workflows/",
    ".gitea/workflows/",
    ".cirrus.yml",
    ".cirrus.star",
    ".appveyor.yml",
    "appveyor.yml",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    ".teamcity/",
    "Jenkinsfile",
];

/// True if a file at `path` is CI configuration, or would stand where a folder of it belongs.
pub(crate) fn is_ci(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    CI_PLACES.iter().any(|place| {
        let place = place.to_ascii_lowercase().into_bytes();
        match place.strip_suffix(b"/") {
            Some(folder) => {
                let inside = path.starts_with(&place) && path.len() > place.len();
                // A file or link named `.github` would hide or redirect the folder.
                let in_its_way = folder == path.as_slice() || folder.starts_with(&[&path[..], b"/"].concat());
                inside || in_its_way
            }
            None => path == place,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_git_folder_is_known() {
        let names = [
            ".git",
            ".GIT",
            ".gIt",
            ".git ",
            ".git.",
            ".git . .",
            ".git::$INDEX_ALLOCATION",
            ".git:stream",
            "git~1",
            "GIT~1",
            "git~2",
            "git~1.",
            "a\\.git",
            ".git\\x",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".gi\u{206a}T",
        ];
        for name in names {
            assert_eq!(check_name(name.as_bytes(), false), Err(BadName::GitFolder), "{name:?}");
        }
        for name in
            [".gitignore", ".github", "git", "git~", "git~x", ".git2", "x.git", "..git", ".gi", "digit~1"]
        {
            assert_eq!(check_name(name.as_bytes(), true), Ok(()), "{name:?}");
        }
        assert_eq!(check_name(b".Cloud-Code", true), Err(BadName::ControlFolder));
        assert_eq!(check_name(b".cloud-code", false), Ok(()));
        for name in ["", ".", "..", "a/b"] {
            assert_eq!(check_name(name.as_bytes(), true), Err(BadName::NotAName), "{name:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        let cases: [(&str, usize, Result<(), BadLink>); 17] = [
            ("a", 0, Ok(())),
            ("./a/b", 0, Ok(())),
            ("../a", 1, Ok(())),
            ("../../a", 2, Ok(())),
            ("..", 1, Ok(())),
            ("../a", 0, Err(BadLink::Escapes)),
            ("../../a", 1, Err(BadLink::Escapes)),
            ("..\\..\\a", 1, Err(BadLink::Escapes)),
            ("/etc/passwd", 0, Err(BadLink::Absolute)),
            ("\\\\host\\share", 0, Err(BadLink::Absolute)),
            ("C:/x", 0, Err(BadLink::Absolute)),
            ("a/../../b", 3, Err(BadLink::Winding)),
            ("up/..", 3, Err(BadLink::Winding)),
            (".git/hooks", 0, Err(BadLink::IntoGitFolder)),
            ("../.GIT/config", 1, Err(BadLink::IntoGitFolder)),
            ("", 0, Err(BadLink::Malformed)),
            ("a\0b", 0, Err(BadLink::Malformed)),
        ];
        for (target, depth, expected) in cases {
            assert_eq!(check_link(target.as_bytes(), depth), expected, "{target:?} at {depth}");
        }
    }

    #[test]
    fn ci_is_known_by_place() {
        for path in [
            ".github/workflows/a.yml",
            ".GitHub/Workflows/a.yml",
            ".gitlab-ci.yml",
            ".github",
            ".circleci/x/y",
        ] {
            assert!(is_ci(path.as_bytes()), "{path}");
        }
        for path in
            [".github/CODEOWNERS", "docs/.github/workflows/a.yml", ".gitlab-ci.yml.md", "jenkinsfile.txt"]
        {
            assert!(!is_ci(path.as_bytes()), "{path}");
        }
    }
}
