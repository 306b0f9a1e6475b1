//! What the server refuses of a push. git's own `update` hook decides ref by ref, and leaves the reason in a file, for
//! GitHub tells each ref a reason of its own where git says "hook declined" to all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Reads `FAKE_PROTECTED` (branches, one a line), `FAKE_WORKFLOWS` (who may not write them, empty for may) and writes
/// `FAKE_REASONS` (ref, tab, reason).
const UPDATE: &str = r#"#!/bin/sh
ref=$1 new=$3
refuse() {
    printf '%s\t%s\n' "$ref" "$1" >>"$FAKE_REASONS"
    exit 1
}
case $ref in
refs/pull/*) refuse 'deny updating a hidden ref' ;;
esac
branch=${ref#refs/heads/}
if printf '%s\n' "$FAKE_PROTECTED" | grep -Fxq -e "$branch"; then
    echo "error: GH006: Protected branch update failed for $ref." >&2
    echo "error: Changes must be made through a pull request." >&2
    refuse 'protected branch hook declined'
fi
case $new in
*[!0]*) ;;
*) exit 0 ;;
esac
if [ -n "$FAKE_WORKFLOWS" ]; then
    file=$(git log --format= --name-only "$new" --not --all -- .github/workflows | sort -u | head -n 1)
    if [ -n "$file" ]; then
        case $FAKE_WORKFLOWS in
        app) refuse "refusing to allow a GitHub App to create or update workflow \`$file\` without \`workflows\` permission" ;;
        *) refuse "refusing to allow a Personal Access Token to create or update workflow \`$file\` without \`workflow\` scope" ;;
        esac
    fi
fi
exit 0
"#;

/// Puts the hook into a bare repository, once: another push may be running it, and what is being written cannot be run.
pub(crate) fn install(git_dir: &Path) -> std::io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let hooks = git_dir.join("hooks");
    let path = hooks.join("update");
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(&hooks)?;
    let new = hooks.join("update.new");
    fs::write(&new, UPDATE)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &path)
}
