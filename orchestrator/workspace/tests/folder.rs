//! A folder of settings, read out of a commit.

#[cfg(test)]
mod common;

use cloud_code_workspace::{CommitId, FolderError, folder_files};
use common::{House, git, id, source, write};

#[cfg(test)]
const MAX: u64 = 16;

#[cfg(test)]
/// A house whose source has that commit last.
fn house(files: &[(&str, &str)], links: &[(&str, &str)]) -> (House, CommitId) {
    let mut head = String::new();
    let house = House::with(|dir| {
        let shop = source(dir);
        for (name, content) in files {
            write(&shop.join(name), content);
        }
        for (name, target) in links {
            std::os::unix::fs::symlink(target, shop.join(name)).unwrap();
        }
        git(&shop, &["add", "--all"]);
        git(&shop, &["commit", "-q", "-m", "Settings"]);
        head = git(&shop, &["rev-parse", "HEAD"]);
        shop
    });
    (house, id(head.trim()))
}

#[test]
fn plain_files_are_read_and_names_with_a_dot_are_left_out() {
    let (house, head) =
        house(&[("conf/prompts/task.md", "Do it."), ("conf/prompts/.keep", ""), ("conf/other.md", "x")], &[]);
    for folder in ["conf/prompts", "conf/prompts/"] {
        let files = folder_files(&house.mirror, &head, folder, MAX).unwrap();
        let read: Vec<_> = files.iter().map(|f| (f.name.as_str(), f.content.as_slice())).collect();
        assert_eq!(read, [("task.md", b"Do it.".as_slice())]);
    }
}

#[test]
fn what_is_no_folder_of_plain_files_is_refused_by_name() {
    let (house, head) = house(
        &[
            ("prompts/task.md", "short"),
            ("large/task.md", "longer than sixteen"),
            ("nested/more/task.md", "x"),
        ],
        &[("prompts-link", "prompts"), ("nested/way-out.md", "/etc/passwd")],
    );
    let refused = |folder: &str| folder_files(&house.mirror, &head, folder, MAX).unwrap_err();
    for missing in ["nothing", "prompts/task.md", "prompts-link"] {
        assert!(matches!(refused(missing), FolderError::Missing { .. }), "{missing}");
    }
    for bad in ["", "/etc", "../x", "prompts/../..", "prompts//x", "./prompts"] {
        assert!(matches!(refused(bad), FolderError::BadPath { .. }), "{bad:?}: {:?}", refused(bad));
    }
    assert!(matches!(refused("nested"), FolderError::NotAFile { name, .. } if name == "more"));
    assert!(matches!(refused("large"), FolderError::TooLarge { name, .. } if name == "task.md"));
    assert!(refused("nothing").to_string().starts_with("there is no folder `nothing` in the commit "));
}

#[test]
fn a_link_among_the_files_is_refused() {
    let (house, head) = house(&[("prompts/a.md", "x")], &[("prompts/way-out.md", "/etc/passwd")]);
    let refused = folder_files(&house.mirror, &head, "prompts", MAX).unwrap_err();
    assert!(matches!(refused, FolderError::NotAFile { name, .. } if name == "way-out.md"));
}
