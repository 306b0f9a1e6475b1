//! The two tiny programs that the figures need, as modes of this binary so that a bench needs no further file: the
//! bare inotify loop that the agent is compared with, and the CLI that only notes when it was started.
//!
//! They are looked for before the command line is parsed: clap's tables would count as the loop's memory.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::clock;

/// `cloud-code-bench stamp FILE [CHANGED]`: appends the nanoseconds of its own start to FILE, and a line to CHANGED in its
/// working directory, so that there is something to publish.
pub(crate) const STAMP: &str = "stamp";
/// `cloud-code-bench watch DIR NAME PROGRAM ARGS…`: starts the program whenever NAME is renamed into DIR.
pub(crate) const WATCH: &str = "watch";
/// What the loop prints when its watch stands.
pub(crate) const READY: &str = "ready";

/// Runs a helper, if the arguments ask for one.
pub(crate) fn run() -> Option<ExitCode> {
    let started = clock::now_nanos();
    let mut args = std::env::args_os().skip(1);
    let mode = args.next()?;
    let done = match mode.to_str() {
        Some(STAMP) => started.map_err(io::Error::from).and_then(|at| stamp(args.next(), args.next(), at)),
        Some(WATCH) => watch(args.collect::<Vec<_>>().as_slice()),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error}", mode.display());
            ExitCode::FAILURE
        }
    })
}

fn stamp(file: Option<OsString>, changed: Option<OsString>, started: i64) -> io::Result<()> {
    let file = file.ok_or_else(|| io::Error::other("the file is missing"))?;
    // A prompt that nobody reads would be an error of the CLI's.
    io::stdin().read_to_end(&mut Vec::new())?;
    let append = |file: OsString| {
        OpenOptions::new().create(true).append(true).open(file)?.write_all(format!("{started}\n").as_bytes())
    };
    append(file)?;
    changed.map_or(Ok(()), append)
}

fn watch(args: &[OsString]) -> io::Result<()> {
    let [dir, name, program, arguments @ ..] = args else {
        return Err(io::Error::other("needs DIR NAME PROGRAM ARGS…"));
    };
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(Path::new(dir), AddWatchFlags::IN_MOVED_TO)?;
    let mut out = io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    loop {
        for event in inotify.read_events()? {
            if event.name.as_deref() == Some(name.as_os_str()) {
                start(program, arguments)?;
            }
        }
    }
}

fn start(program: &OsStr, arguments: &[OsString]) -> io::Result<()> {
    let ended = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if ended.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} failed: {ended}", program.display())))
    }
}
