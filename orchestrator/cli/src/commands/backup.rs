//! `backup` and `restore`: everything of an installation, in a folder, while it works.
//!
//! The rows are copied first and the files after them, so that a file may know more than its row and never less: that is
//! how a killed program looks, and the next start goes on from it. The list of what is in it is written last; a folder
//! without it is no backup.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_model::Clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::app::{App, DATABASE, SystemClock};
use crate::args::{BackupArgs, RestoreArgs};
use crate::operate::copy::{Copied, Copier};
use crate::ui;

/// What says that a backup is whole, and what it is of.
const LIST: &str = "backup.json";
/// The home folder, in the backup.
const HOME: &str = "home";
/// Changes when an older program cannot read it any more.
const FORMAT: u32 = 1;
/// Is copied last: whose names stand in it must find them there.
const REPOS: &str = "repos";
const LOCKS: &str = "locks";
const SECRETS: &str = "secrets";
/// While a restore is under way. What it left behind when it was cut off is not a home.
const UNDER_WAY: &str = ".restoring";

#[derive(Debug, Serialize, Deserialize)]
struct List {
    format: u32,
    program: String,
    made_at: Timestamp,
    instance: String,
    home: PathBuf,
    files: u64,
    bytes: u64,
    secrets: bool,
}

/// `cloud-code backup`.
pub(crate) async fn backup(app: &App, args: BackupArgs) -> Result<ExitCode> {
    if !app.home.join(DATABASE).exists() {
        bail!("there is nothing to back up in {}\n  hint: --home DIR names another home", app.home.display());
    }
    let target = real(&args.dir)?;
    if target.starts_with(real(&app.home)?) {
        bail!("the backup would be a part of itself: {} is in the home folder", target.display());
    }
    make_empty(&target)?;
    let home = target.join(HOME);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&home)
        .with_context(|| format!("cannot make {}", home.display()))?;
    let store = app.store().await?;
    let database = home.join(DATABASE);
    // Made with the mode that only its owner may read; SQLite keeps an empty file's.
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&database)
        .with_context(|| format!("cannot make {}", database.display()))?;
    if !store.back_up(&database).await.context("cannot copy the database")? {
        bail!(
            "the store is on a PostgreSQL server\n  hint: `pg_dump` copies it; docs/OPERATIONS.md says how"
        );
    }
    store.close().await;

    let (from, secrets) = (app.home.clone(), !args.without_secrets);
    let copied = tokio::task::spawn_blocking(move || copy_home(&from, &home, secrets)).await??;
    let list = List {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: SystemClock.now(),
        instance: app.instance()?.to_string(),
        home: app.home.clone(),
        files: copied.files,
        bytes: copied.bytes,
        secrets,
    };
    let whole = target.clone();
    tokio::task::spawn_blocking(move || finish(&whole, &list)).await??;
    ui::out(format!("{}: {}", target.display(), said(&copied)));
    if secrets && app.home.join(SECRETS).exists() {
        ui::err("the secrets of GitHub are in it; keep it as you keep those");
    }
    Ok(ExitCode::SUCCESS)
}

/// `cloud-code restore`.
pub(crate) async fn restore(app_home: PathBuf, args: RestoreArgs) -> Result<ExitCode> {
    let list = read_list(&args.dir)?;
    let from = args.dir.join(HOME);
    let home = app_home.clone();
    if !is_free(&home)? {
        bail!(
            "{} is not empty\n  hint: stop `serve` and move it away, or name another home with --home",
            home.display()
        );
    }
    let copied = tokio::task::spawn_blocking(move || put_back(&from, &home)).await??;
    if copied.files < list.files {
        bail!(
            "the backup is damaged: it had {} files when it was made, and {} are there now\n  hint: restore another one",
            list.files,
            copied.files
        );
    }
    ui::out(format!("{}: {}, as of {}", app_home.display(), said(&copied), list.made_at));
    if list.home != app_home {
        ui::err(format!("it was made of {}", list.home.display()));
    }
    if !list.secrets {
        ui::err("it was made without secrets\n  hint: put the files below `secrets/` back before `serve`");
    }
    ui::err("only one installation may go on from it: two with one id would take each other's containers");
    Ok(ExitCode::SUCCESS)
}

/// Everything but the database, which is there already, and what only counts while the program runs.
fn copy_home(from: &Path, to: &Path, secrets: bool) -> Result<Copied> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let name = entry.with_context(|| format!("cannot read {}", from.display()))?.file_name();
        let is_of_database = name.to_string_lossy().starts_with(DATABASE);
        if !is_of_database && name != LOCKS && name != UNDER_WAY && (secrets || name != SECRETS) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| (name == REPOS, name.clone()));
    let mut copier = Copier::new();
    for name in names {
        copier.copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(copier.copied)
}

/// The database comes last: without it a home is none, and an interrupted restore is begun anew.
fn put_back(from: &Path, home: &Path) -> Result<Copied> {
    let marker = home.join(UNDER_WAY);
    if marker.exists() {
        for entry in fs::read_dir(home).with_context(|| format!("cannot read {}", home.display()))? {
            let path = entry?.path();
            if path == marker {
                continue;
            }
            let is_folder = path.is_dir() && !path.is_symlink();
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    } else {
        // Others may look through it to the worktrees, but not list or change it.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(home)
            .with_context(|| format!("cannot make {}", home.display()))?;
        fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
    }
    let copied = copy_home(from, home, true)?;
    let mut database = Copier::new();
    let (half, whole) = (home.join(format!("{DATABASE}.half")), home.join(DATABASE));
    database.copy(&from.join(DATABASE), &half)?;
    sync(home)?;
    fs::rename(&half, &whole).with_context(|| format!("cannot write {}", whole.display()))?;
    fs::remove_file(&marker).with_context(|| format!("cannot remove {}", marker.display()))?;
    sync(home)?;
    Ok(copied)
}

fn is_free(home: &Path) -> Result<bool> {
    match fs::read_dir(home) {
        Ok(mut entries) => Ok(entries.next().is_none() || home.join(UNDER_WAY).exists()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", home.display())),
    }
}

/// The path without links and steps upwards, as far as it exists.
fn real(path: &Path) -> Result<PathBuf> {
    let whole =
        std::path::absolute(path).with_context(|| format!("{} is not a usable path", path.display()))?;
    let there = whole.ancestors().find(|part| part.exists()).unwrap_or(&whole);
    let found = fs::canonicalize(there).with_context(|| format!("cannot read {}", there.display()))?;
    let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
    Ok(if rest.as_os_str().is_empty() { found } else { found.join(rest) })
}

fn make_empty(target: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(target);
    made.with_context(|| format!("cannot make {}", target.display()))?;
    let mut entries = fs::read_dir(target).with_context(|| format!("cannot read {}", target.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => bail!("{} is not empty\n  hint: name a folder that is not there yet", target.display()),
    }
}

fn finish(target: &Path, list: &List) -> Result<()> {
    sync(target)?;
    let path = target.join(LIST);
    let text = serde_json::to_string_pretty(list).context("cannot write the list")?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    sync(target)
}

/// Everything on the folder's disk is written out: a backup that a power cut takes was none.
fn sync(folder: &Path) -> Result<()> {
    let open = File::open(folder).with_context(|| format!("cannot open {}", folder.display()))?;
    rustix::fs::syncfs(open).with_context(|| format!("cannot write out {}", folder.display()))
}

fn read_list(dir: &Path) -> Result<List> {
    let path = dir.join(LIST);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("{} is no whole backup\n  hint: `cloud-code backup` makes one", dir.display())
    })?;
    let list: List =
        serde_json::from_str(&text).map_err(|error| anyhow!("{} cannot be read: {error}", path.display()))?;
    if list.format > FORMAT {
        bail!(
            "the backup was made by cloud-code {}, which writes it otherwise\n  hint: restore it with that version",
            list.program
        );
    }
    Ok(list)
}

fn said(copied: &Copied) -> String {
    let mut text = format!("{} files, {} MiB, and the database", copied.files, copied.bytes >> 20);
    if copied.left_out > 0 {
        text.push_str(&format!("; {} sockets and pipes were left out", copied.left_out));
    }
    text
}
