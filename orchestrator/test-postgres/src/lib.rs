#![doc = include_str!("../README.md")]

mod programs;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub use programs::Programs;

/// The cluster's superuser. There is no password: the socket's folder is closed to others.
const USER: &str = "cloud-code";
/// Makes and starts the cluster, says so, and takes all of it away when its own stdin ends: that happens when the test's
/// process ends, in whatever way.
const KEEPER: &str = r#"
set -eu
dir=$1 bin=$2
"$bin/initdb" -D "$dir/data" -U "$3" -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1
"$bin/pg_ctl" start -w -t 120 -D "$dir/data" -l "$dir/log" \
    -o "-k $dir -c listen_addresses='' -c max_connections=300 -c fsync=$4" >>"$dir/log" 2>&1
echo ready
read -r _ || :
"$bin/pg_ctl" stop -m immediate -D "$dir/data" >>"$dir/log" 2>&1 || :
rm -rf "$dir"
"#;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL's programs (initdb, pg_ctl, createdb, psql) are not here\n  hint: docker/ensure-tools.sh database, or on \
         Debian: sudo apt-get install postgresql"
    )]
    Missing,
    /// This is root, and there is no user to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as"
    )]
    NoUser,
    /// The server did not come up.
    #[error("PostgreSQL did not start\n{log}")]
    Refused {
        /// What it said.
        log: String,
    },
    /// A database was not made, or did not do what it was told.
    #[error("the database {name}: {said}")]
    Database {
        /// Which.
        name: String,
        /// What the program said.
        said: String,
    },
    /// A file or a program cannot be used.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A running server. Gone when it is dropped, and when the process ends.
#[derive(Debug)]
pub struct PrivatePostgres {
    dir: PathBuf,
    programs: Programs,
    keeper: Child,
}

impl PrivatePostgres {
    /// Makes a cluster and starts it. Takes seconds: one for a whole suite is enough. It does not wait for the disk: nobody
    /// wants its rows after a crash.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with("off")
    }

    /// The same with every commit on the disk before it is answered, as a server in earnest does: for what is measured.
    pub fn start_durable() -> Result<Self, StartError> {
        Self::start_with("on")
    }

    fn start_with(fsync: &str) -> Result<Self, StartError> {
        let programs = Programs::find().ok_or(StartError::Missing)?;
        let io = |path: &Path| {
            let path = path.to_owned();
            |source| StartError::Io { path, source }
        };
        let dir =
            tempfile::Builder::new().prefix("cloud-code-pg-").tempdir().map_err(io(&std::env::temp_dir()))?;
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(dir.path()).arg(&programs.folder).arg(USER).arg(fsync);
        if fs::metadata(dir.path()).map_err(io(dir.path()))?.uid() == 0 {
            let (uid, gid) = programs::unprivileged_user().ok_or(StartError::NoUser)?;
            chown(dir.path(), Some(uid), Some(gid)).map_err(io(dir.path()))?;
            command.uid(uid).gid(gid);
        }
        // A group of its own: Ctrl-C ends the test, whose end ends this in order.
        command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().map_err(io(Path::new("sh")))?;
        // From here on the keeper removes the folder.
        let dir = dir.keep();
        let mut said = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out).read_line(&mut said).map_err(io(Path::new("sh")))?;
        }
        if said.trim() != "ready" {
            let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
            fs::remove_dir_all(&dir).map_err(io(&dir))?;
            return Err(StartError::Refused { log });
        }
        Ok(Self { dir, programs, keeper })
    }

    /// Makes an empty database.
    pub fn create(&self, name: &str) -> Result<(), StartError> {
        self.runs("createdb", &[name], name)
    }

    /// Does what a story wants to happen to a database behind everybody's back.
    pub fn does(&self, name: &str, statement: &str) -> Result<(), StartError> {
        self.runs("psql", &["-X", "-v", "ON_ERROR_STOP=1", "-c", statement, name], name)
    }

    fn runs(&self, program: &str, arguments: &[&str], name: &str) -> Result<(), StartError> {
        let program = self.programs.folder.join(program);
        let done = Command::new(&program)
            .arg("-h")
            .arg(&self.dir)
            .args(["-U", USER])
            .args(arguments)
            .output()
            .map_err(|source| StartError::Io { path: program, source })?;
        match done.status.success() {
            true => Ok(()),
            false => Err(StartError::Database {
                name: name.to_owned(),
                said: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            }),
        }
    }

    /// Where a database is.
    pub fn url(&self, name: &str) -> String {
        let dir = self.dir.to_string_lossy().replace('%', "%25").replace('/', "%2F");
        format!("postgres://{USER}@{dir}/{name}")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing is left to be done about a keeper that cannot be waited for.
        drop(self.keeper.wait());
    }
}
