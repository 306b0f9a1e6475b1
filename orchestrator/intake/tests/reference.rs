//! The page of commands is made from the grammar, and is the committed one.

use std::path::Path;

use cloud_code_intake::command_reference;

#[test]
fn the_page_of_commands_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/COMMANDS.md");
    let page = command_reference("/cloud-code");
    if std::env::var_os("UPDATE_COMMANDS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        committed,
        page,
        "{} is old: UPDATE_COMMANDS=1 cargo test -p cloud-code-intake --test reference",
        path.display()
    );
}
