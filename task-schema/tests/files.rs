//! Reading and writing the contract's files: what an attacker, a full disk or a crash can do to it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking, helpers included")]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use cloud_code_task_schema::{ReadError, read_capped, write_atomic};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn run(program: &str, args: &[&str]) {
    let done =
        Command::new(program).args(args).output().unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "`{program} {}` failed: {said}", args.join(" "));
}

/// A file system of its own size, gone with the value.
struct TinyDisk {
    dir: tempfile::TempDir,
}

impl TinyDisk {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", dir.path().to_str().unwrap()]);
        Self { dir }
    }
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.dir.path().to_str().unwrap()]);
    }
}

fn fifo(path: &Path) {
    run("mkfifo", &[path.to_str().unwrap()]);
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_fifo());
}

#[test]
fn a_write_is_whole_readable_by_all_and_leaves_only_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasking.yaml");
    write_atomic(&path, b"one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write_atomic(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(names(dir.path()), ["tasking.yaml"]);
}

#[test]
fn the_mode_does_not_depend_on_the_umask() {
    // A process has one umask, so the write happens in a child: this test, called again with a file to write.
    if let Some(path) = std::env::var_os("WRITE_THIS_FILE") {
        return write_atomic(Path::new(&path), b"x").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reporting.yaml");
    let me = std::env::current_exe().unwrap();
    let done = Command::new("sh")
        .args(["-c", "umask 0777; exec \"$0\" the_mode_does_not_depend_on_the_umask --exact"])
        .arg(me)
        .env("WRITE_THIS_FILE", &path)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn a_full_disk_leaves_the_old_file_byte_for_byte_and_no_rest() {
    let disk = TinyDisk::new("size=64k");
    let path = disk.path().join("reporting.yaml");
    let old: Vec<u8> = (0..20_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    write_atomic(&path, &old).unwrap();

    let error = write_atomic(&path, &vec![b'x'; 1024 * 1024]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(names(disk.path()), ["reporting.yaml"]);

    // Full to the last byte: not even a small report fits.
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while std::io::Write::write(&mut filler, &[0; 4096]).is_ok() {}
    let error = write_atomic(&path, b"small").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), old);
    assert_eq!(names(disk.path()), ["filler", "reporting.yaml"]);

    drop(filler);
    fs::remove_file(disk.path().join("filler")).unwrap();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_disk_without_inodes_leaves_the_old_file() {
    let disk = TinyDisk::new("size=1m,nr_inodes=2");
    let path = disk.path().join("reporting.yaml");
    // The folder takes one inode and the file the other, so an atomic write has none for its temp file.
    fs::write(&path, b"old").unwrap();
    assert_eq!(write_atomic(&path, b"new").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(disk.path()), ["reporting.yaml"]);
}

#[test]
fn a_read_only_disk_is_an_error_and_changes_nothing() {
    let disk = TinyDisk::new("size=64k");
    let path = disk.path().join("reporting.yaml");
    write_atomic(&path, b"old").unwrap();
    run("mount", &["-o", "remount,ro", disk.path().to_str().unwrap()]);
    assert_eq!(write_atomic(&path, b"new").unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_write_that_cannot_be_renamed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasking.yaml");
    fs::create_dir(&path).unwrap();
    write_atomic(&path, b"x").unwrap_err();
    assert_eq!(names(dir.path()), ["tasking.yaml"]);
    assert!(path.is_dir());

    write_atomic(&dir.path().join("absent/tasking.yaml"), b"x").unwrap_err();
    assert_eq!(write_atomic(Path::new("/"), b"x").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_link_at_the_target_is_replaced_and_its_aim_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aim) = (dir.path().join("reporting.yaml"), dir.path().join("aim"));
    fs::write(&aim, b"precious").unwrap();
    symlink(&aim, &path).unwrap();
    write_atomic(&path, b"report").unwrap();
    assert_eq!(fs::read(&aim).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(&path).unwrap(), b"report");
}

#[test]
fn links_planted_at_temp_names_are_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aim) = (dir.path().join("reporting.yaml"), dir.path().join("aim"));
    fs::write(&aim, b"precious").unwrap();
    // The names an earlier version used, and one of today's form.
    let id = std::process::id();
    let planted = [format!(".reporting.yaml.{id}.tmp"), ".reporting.yaml.0123456789abcdef.tmp".to_owned()];
    for name in &planted {
        symlink(&aim, dir.path().join(name)).unwrap();
    }
    for _ in 0..50 {
        write_atomic(&path, b"report").unwrap();
    }
    assert_eq!(fs::read(&aim).unwrap(), b"precious");
    assert_eq!(fs::read(&path).unwrap(), b"report");
}

#[test]
fn leftovers_of_a_killed_writer_go_and_younger_or_foreign_files_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reporting.yaml");
    let old = SystemTime::now() - Duration::from_secs(3600);
    let make = |name: &str, at: SystemTime| {
        fs::File::create(dir.path().join(name)).unwrap().set_modified(at).unwrap();
    };
    make(".reporting.yaml.1111111111111111.tmp", old);
    make(".reporting.yaml.2222222222222222.tmp", SystemTime::now());
    make(".tasking.yaml.3333333333333333.tmp", old);
    make("reporting.yaml.bak", old);
    write_atomic(&path, b"report").unwrap();
    assert_eq!(
        names(dir.path()),
        [
            ".reporting.yaml.2222222222222222.tmp",
            ".tasking.yaml.3333333333333333.tmp",
            "reporting.yaml",
            "reporting.yaml.bak"
        ]
    );
}

#[test]
fn a_reader_beside_a_writer_only_ever_sees_whole_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reporting.yaml");
    let content = |n: u8| vec![b'a' + n; 50_000];
    write_atomic(&path, &content(0)).unwrap();
    let done = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                let text = read_capped(&path, 100_000).unwrap();
                assert_eq!(text.len(), 50_000);
                assert_eq!(text.bytes().filter(|b| *b == text.as_bytes()[0]).count(), 50_000);
                reads += 1;
            }
            reads
        });
        for n in 0..50 {
            write_atomic(&path, &content(n % 26)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(reads > 0);
    assert_eq!(names(dir.path()), ["reporting.yaml"]);
}

#[test]
fn two_writers_at_once_leave_one_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cli.yaml");
    std::thread::scope(|scope| {
        for letter in [b'a', b'b', b'c'] {
            let path = &path;
            scope.spawn(move || (0..20).for_each(|_| write_atomic(path, &[letter; 10_000]).unwrap()));
        }
    });
    let text = fs::read(&path).unwrap();
    assert_eq!(text, vec![text[0]; 10_000]);
    assert_eq!(names(dir.path()), ["cli.yaml"]);
}

fn made(make: impl Fn(&Path)) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("reporting.yaml");
    make(&path);
    (dir, path)
}

/// Makes the named kind of file at a path.
type Make = fn(&Path);

#[test]
fn only_regular_files_are_read_and_nothing_blocks() {
    let cases: [(&str, Make); 6] = [
        ("link", |path| {
            fs::write(path.with_extension("aim"), b"secret").unwrap();
            symlink(path.with_extension("aim"), path).unwrap();
        }),
        ("dangling link", |path| symlink("/nowhere/at/all", path).unwrap()),
        ("pipe without a writer", fifo),
        ("folder", |path| fs::create_dir(path).unwrap()),
        ("socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("device", |path| run("mknod", &[path.to_str().unwrap(), "c", "1", "5"])),
    ];
    for (name, make) in cases {
        let (_dir, path) = made(make);
        let result = read_capped(&path, 100);
        assert!(
            matches!(&result, Err(ReadError::NotRegular { path: at }) if *at == path),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn absent_files_are_told_from_unreadable_ones() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read_capped(&dir.path().join("x"), 9), Err(ReadError::Missing { .. })));
    fs::write(dir.path().join("file"), b"").unwrap();
    assert!(matches!(read_capped(&dir.path().join("file/x"), 9), Err(ReadError::Io { .. })));
    assert_eq!(read_capped(&dir.path().join("file"), 9).unwrap(), "");
}

#[test]
fn the_cap_is_exact() {
    let (_dir, path) = made(|path| fs::write(path, b"12345").unwrap());
    assert_eq!(read_capped(&path, 5).unwrap(), "12345");
    assert!(matches!(read_capped(&path, 4), Err(ReadError::TooLarge { max: 4, .. })));
    // A terabyte that takes no disk: refused by its size, before a byte is read.
    let (_dir, path) = made(|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap());
    assert!(matches!(read_capped(&path, 1024), Err(ReadError::TooLarge { max: 1024, .. })));
}

#[test]
fn a_file_that_holds_more_than_its_size_said_is_cut_at_the_cap() {
    // The kernel says 0 bytes of it and then gives a thousand: what a file does that grows while it is read.
    let path = Path::new("/proc/self/status");
    assert_eq!(fs::metadata(path).unwrap().len(), 0);
    assert!(matches!(read_capped(path, 10), Err(ReadError::TooLarge { max: 10, .. })));
    assert!(read_capped(path, 100_000).unwrap().starts_with("Name:"));
}

#[test]
fn a_file_that_grows_under_the_reader_never_passes_the_cap() {
    let (_dir, path) = made(|path| fs::write(path, b"").unwrap());
    const MAX: u64 = 64 * 1024;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            for _ in 0..1000 {
                std::io::Write::write_all(&mut file, &[b'x'; 200]).unwrap();
            }
        });
        loop {
            match read_capped(&path, MAX) {
                Ok(text) => assert!(text.len() as u64 <= MAX),
                Err(ReadError::TooLarge { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn bad_utf8_is_refused_with_its_place() {
    let (_dir, path) = made(|path| fs::write(path, b"version: \xff1").unwrap());
    let error = read_capped(&path, 100).unwrap_err();
    assert!(matches!(error, ReadError::NotUtf8 { offset: 9, .. }));
    assert_eq!(error.to_string(), format!("{} is not valid UTF-8 (byte 9)", path.display()));
}
