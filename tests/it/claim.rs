//! One daemon for each home, whatever starts at once and whatever an earlier one left behind.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{BINARY, Home, Line, installed, kill, rounds, wait_for, wait_until};

pub(crate) const STARTING: &str =
    "Daemon startup already in progress. Wait a moment and try again.";

/// A script that serves at once, so that a start has something to start.
const SCRIPT: &str = "require('moonkeep').handle('x', function() return 1 end)";

// FI-3
// R-147 case 1.1
#[test]
fn of_forty_that_start_at_once_one_serves_and_each_other_is_told_why() {
    let home = Home::new().script("a.lua", SCRIPT);
    for round in 0..rounds(3, 200) {
        let mut starters: Vec<Child> = (0..40).map(|_| home.moonkeep(&["up"]).spawn()).collect();
        let mut told = Vec::new();
        let winner = wait_for("all but one leave", || {
            let mut left = Vec::new();
            for child in std::mem::take(&mut starters) {
                left.extend(still_runs(child, &mut told));
            }
            starters = left;
            (starters.len() <= 1).then(|| starters.pop().expect("one stays"))
        });
        assert_eq!(told.len(), 39, "round {round}");
        wait_until("the winner serves", || {
            Line::try_connect(&home.socket()).is_ok()
        });
        let status = home.status();
        assert_eq!(status["pid"], winner.id(), "round {round}");
        let running = format!(
            "already running (pid {}, uuid {})",
            winner.id(),
            status["uuid"].as_str().expect("a uuid")
        );
        for (code, text) in &told {
            assert_eq!(*code, Some(1), "{text}");
            assert!(text.contains(STARTING) || text.contains(&running), "{text}");
        }
        leave(winner);
    }
}

/// The child, if it still runs; else what it said is added to `told`.
pub(crate) fn still_runs(mut child: Child, told: &mut Vec<(Option<i32>, String)>) -> Option<Child> {
    if child.try_wait().expect("our own child").is_none() {
        return Some(child);
    }
    let output = child.wait_with_output().expect("our own child");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    told.push((output.status.code(), text));
    None
}

pub(crate) fn leave(mut daemon: Child) {
    kill(pid_of(&daemon), Signal::TERM);
    let status = wait_for("the daemon leaves", || {
        daemon.try_wait().expect("our own child")
    });
    assert!(status.success(), "{status}");
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a pid")
}

//
// R-147 cases 2.3 and 3.2
#[test]
fn a_recycled_pid_and_every_kind_of_debris_neither_stop_a_start_nor_harm_the_innocent() {
    let mut innocent = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::null())
        .spawn()
        .expect("sleep is everywhere");
    let recycled = innocent.id().to_string();
    let pids = [recycled.as_str(), "1", "99999", "", "garbage\n", "-1"];
    let home = Home::new().script("a.lua", SCRIPT);
    for pid in pids {
        plant_files(&home, pid);
        let daemon = home.up();
        assert_eq!(home.status()["pid"], daemon.pid(), "pid file {pid:?}");
        assert!(daemon.stop().success());
    }
    for kind in ["link", "fifo", "folder", "dead socket"] {
        plant_others(&home, kind);
        let daemon = home.up();
        assert_eq!(home.status()["pid"], daemon.pid(), "{kind}");
        assert!(daemon.stop().success());
    }
    assert_eq!(home.read("victim"), "precious");
    assert!(innocent.try_wait().expect("our own child").is_none());
    innocent.kill().expect("our own child");
    innocent.wait().expect("our own child");
}

pub(crate) fn plant_files(home: &Home, text: &str) {
    private_folder(&home.runtime());
    fs::write(home.pid_file(), text).expect("planted");
    fs::write(home.socket(), text).expect("planted");
    home.write("state/daemon.lock", text);
}

pub(crate) fn plant_others(home: &Home, kind: &str) {
    private_folder(&home.runtime());
    let victim = home.write("victim", "precious");
    let lock = home.path("state/daemon.lock");
    for path in [home.pid_file(), home.socket(), lock.clone()] {
        fs::remove_file(&path).ok();
        match kind {
            "link" => symlink(&victim, &path).expect("planted"),
            "folder" => fs::create_dir(&path).expect("planted"),
            "fifo" => {
                let status = Command::new("mkfifo").arg(&path).status();
                assert!(status.expect("mkfifo is everywhere").success());
            }
            _ => drop(UnixListener::bind(&path).expect("planted")),
        }
    }
}

fn private_folder(folder: &Path) {
    fs::create_dir_all(folder).expect("created");
    for folder in [folder, folder.parent().expect("a parent")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("set");
    }
}

// case 5.3
#[test]
fn after_a_kill_the_lock_is_free_and_the_next_daemon_serves() {
    let home = Home::new().script("a.lua", SCRIPT);
    for _ in 0..rounds(5, 100) {
        let daemon = home.up();
        let first = home.status()["uuid"].clone();
        if installed("flock", "the lock from outside") {
            let lock = home.path("state/daemon.lock");
            let held = Command::new("flock")
                .arg("-n")
                .arg(&lock)
                .arg("true")
                .status();
            assert!(!held.expect("flock runs").success(), "the lock is held");
        }
        daemon.kill();
        assert!(fs::symlink_metadata(home.socket()).is_ok(), "left behind");
        let next = home.up();
        assert_ne!(home.status()["uuid"], first);
        assert!(next.stop().success());
    }
}

// T1
#[test]
fn a_daemon_that_ends_in_order_leaves_the_lock_file_and_nothing_else() {
    let home = Home::new().script("a.lua", SCRIPT);
    let daemon = home.up();
    let socket = fs::symlink_metadata(home.socket()).expect("a socket");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o600);
    let pid = fs::read_to_string(home.pid_file()).expect("a pid file");
    assert_eq!(pid.trim(), daemon.pid().to_string());
    let lock = fs::metadata(home.path("state/daemon.lock")).expect("a lock");
    assert!(daemon.stop().success());
    assert!(fs::symlink_metadata(home.socket()).is_err());
    assert!(fs::symlink_metadata(home.pid_file()).is_err());
    let after = fs::metadata(home.path("state/daemon.lock")).expect("still there");
    assert_eq!(after.ino(), lock.ino());
    assert!(home.runtime().is_dir(), "the folder is kept");
    assert!(home.processes().is_empty(), "{:?}", home.processes());
}

// S-02, R-106
#[test]
fn a_detached_start_returns_to_a_caller_that_waits_for_every_descriptor() {
    let home = Home::new().script("a.lua", SCRIPT);
    let script = format!("exec 7>&1; out=$({BINARY} up -d); echo \"said: $out\"");
    let said = home
        .program(Path::new("/bin/sh"))
        .args(&["-c", &script])
        .within(Duration::from_secs(10))
        .run()
        .ok();
    let status = home.status();
    assert!(said.contains(&status["pid"].to_string()), "{said}");
    assert_eq!(status["scripts"][0]["state"], "ready", "ready means ready");
    home.run(&["down"]).ok();
    assert!(home.processes().is_empty(), "{:?}", home.processes());
}

//
#[test]
fn a_second_detached_start_is_told_what_runs() {
    let home = Home::new();
    let daemon = home.up();
    let second = home.run(&["up", "-d"]).expect_code(1);
    let running = format!("already running (pid {}, uuid ", daemon.pid());
    second.expect_stderr(&running);
}

// case 2.2
#[test]
fn a_socket_that_somebody_deleted_is_made_again() {
    let home = Home::new();
    let daemon = home.up();
    fs::remove_dir_all(home.runtime()).expect("removed");
    wait_until("it listens again", || {
        Line::try_connect(&home.socket()).is_ok()
    });
    assert_eq!(home.status()["pid"], daemon.pid());
    assert!(home.pid_file().is_file());
}

//
#[test]
fn a_daemon_whose_lock_file_was_replaced_makes_way() {
    let home = Home::new();
    let first = home.up();
    fs::remove_file(home.path("state/daemon.lock")).expect("removed");
    fs::remove_dir_all(home.runtime()).expect("removed");
    let second = home.up();
    assert!(first.wait().success(), "it leaves by itself");
    assert_eq!(home.status()["pid"], second.pid());
}
