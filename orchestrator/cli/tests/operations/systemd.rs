//! What a service manager is told, and the unit that it reads.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::stage::{Setup, Stage, top};

#[test]
fn the_manager_hears_ready_signs_of_life_and_the_stop() {
    let stage = Stage::set(Setup::default());
    let path = stage.home().join("../notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut said = [0; 256];
        let length = loop {
            // The end of another story's child is a signal to this process.
            match manager.recv(&mut said) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(said[..length].to_vec()).unwrap().trim().to_owned()
    };
    let mut command = stage.command(&["serve"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").stderr(Stdio::null());
    let mut serve = command.spawn().unwrap();
    assert_eq!(hear(), "READY=1");
    assert_eq!([hear(), hear()], ["WATCHDOG=1", "WATCHDOG=1"]);
    assert!(Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap().success());
    while hear() != "STOPPING=1" {}
    assert!(serve.wait().unwrap().success());
}

#[test]
fn the_unit_says_what_the_program_does_and_systemd_understands_it() {
    let unit = fs::read_to_string(top().join("examples/cloud-code.service")).unwrap();
    for line in ["Type=notify", "KillMode=process", "NoNewPrivileges=yes", "ProtectSystem=strict"] {
        assert!(unit.lines().any(|found| found == line), "{line} is missing");
    }
    // Where there is no systemd, there is nobody to ask.
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else { return };
    assert!(version.status.success());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud-code.service");
    let installed =
        unit.replace("/usr/local/bin/cloud-code ", concat!(env!("CARGO_BIN_EXE_cloud-code"), " "));
    assert_ne!(unit, installed);
    fs::write(&path, installed).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    // Units of the machine that are broken are told, too.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("cloud-code")).collect();
    assert_eq!(ours, Vec::<&str>::new());
}
