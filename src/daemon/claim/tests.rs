use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use uuid::Uuid;

use super::*;
use crate::paths::SocketAddress;

/// A home and a runtime folder of its own.
struct Place {
    folder: tempfile::TempDir,
    home: Home,
    runtime: Runtime,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("state")).expect("a home");
        let home = Home::at(&home).expect("a home");
        let base = folder.path().join("run");
        let runtime = Runtime::within(&base, &home);
        Place {
            folder,
            home,
            runtime,
        }
    }

    fn claim(&self) -> Result<Claim, ClaimError> {
        Claim::take_in(&self.home, self.runtime.clone(), DaemonId(Uuid::now_v7()))
    }

    fn victim(&self) -> PathBuf {
        let path = self.folder.path().join("victim");
        fs::write(&path, "precious").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        path
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

//
#[test]
fn the_second_is_told_who_holds_the_home() {
    let place = Place::new();
    let mut first = place.claim().expect("free");
    assert!(matches!(place.claim(), Err(ClaimError::Starting)));
    let listening = first.listen().expect("a socket");
    let Err(ClaimError::Running { pid, uuid }) = place.claim() else {
        panic!("the home was given twice");
    };
    assert_eq!(pid, std::process::id());
    assert_eq!(uuid, first.daemon.to_string());
    let released = first.release(&listening);
    assert!(place.claim().is_err(), "until the very end");
    drop(released);
    assert!(place.claim().is_ok(), "given back");
}

//
#[test]
fn a_clean_end_removes_socket_and_pid_file_and_keeps_the_lock_file() {
    let place = Place::new();
    let mut claim = place.claim().expect("free");
    let before = Inode::at(&place.home.lock());
    let listening = claim.listen().expect("a socket");
    assert_eq!(names(place.runtime.folder()), ["daemon.pid", "daemon.sock"]);
    drop(claim.release(&listening));
    assert_eq!(names(place.runtime.folder()), [""; 0]);
    assert_eq!(Inode::at(&place.home.lock()), before);
}

// T1
#[test]
fn the_socket_is_for_its_owner_alone() {
    let place = Place::new();
    let listening = place.claim().expect("free").listen().expect("a socket");
    let mode = |path: &Path| fs::symlink_metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&place.runtime.socket()), 0o600);
    assert_eq!(mode(place.runtime.folder()), 0o700);
    drop(listening);
}

// T3
#[test]
fn whatever_lies_at_our_paths_is_no_obstacle_and_is_not_followed() {
    for at in ["lock", "pid", "socket"] {
        for kind in [
            "99999",
            "1",
            "",
            "garbage",
            "huge",
            "symlink",
            "fifo",
            "folder",
            "full folder",
            "hard link",
        ] {
            let place = Place::new();
            place.runtime.create().expect("a folder");
            let victim = place.victim();
            let path = match at {
                "lock" => place.home.lock(),
                "pid" => place.runtime.pid_file(),
                _ => place.runtime.socket(),
            };
            plant(kind, &path, &victim);
            let mut claim = place
                .claim()
                .unwrap_or_else(|error| panic!("{kind} at the {at}: {error:#}"));
            let _listening = claim
                .listen()
                .unwrap_or_else(|error| panic!("{kind} at the {at}: {error:#}"));
            UnixStream::connect(place.runtime.socket()).expect("it listens");
            let pid = fs::read_to_string(place.runtime.pid_file()).expect("a pid file");
            assert_eq!(pid.trim(), std::process::id().to_string());
            let kept = fs::metadata(&victim).expect("the victim is there");
            assert_eq!(fs::read_to_string(&victim).expect("readable"), "precious");
            assert_eq!(kept.mode() & 0o777, 0o640, "{kind} at the {at}");
        }
    }
}

fn plant(kind: &str, path: &Path, victim: &Path) {
    match kind {
        "symlink" => symlink(victim, path).expect("planted"),
        "hard link" => fs::hard_link(victim, path).expect("planted"),
        "folder" => fs::create_dir(path).expect("planted"),
        "full folder" => fs::create_dir_all(path.join("inside")).expect("planted"),
        "huge" => {
            let file = File::create(path).expect("planted");
            file.set_len(1 << 30).expect("planted");
        }
        "fifo" => {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).expect("planted");
        }
        text => fs::write(path, text).expect("planted"),
    }
}

//
#[test]
fn leftovers_are_cleaned_away_unless_a_daemon_lives() {
    let place = Place::new();
    place.runtime.create().expect("a folder");
    assert_eq!(clean_stale_in(&place.home, &place.runtime), None);
    fs::write(place.runtime.pid_file(), "99999\n").expect("written");
    fs::write(place.runtime.socket(), "").expect("written");
    let stale = clean_stale_in(&place.home, &place.runtime);
    assert_eq!(stale, Some(Stale { pid: Some(99_999) }));
    assert_eq!(names(place.runtime.folder()), [""; 0]);

    let mut claim = place.claim().expect("free");
    let listening = claim.listen().expect("a socket");
    assert_eq!(clean_stale_in(&place.home, &place.runtime), None);
    assert!(listening.is_in_place(&place.runtime));
}

//
#[test]
fn a_socket_that_somebody_deleted_is_noticed_and_made_again() {
    let place = Place::new();
    let mut claim = place.claim().expect("free");
    let listening = claim.listen().expect("a socket");
    assert_eq!(claim.look(&listening), Standing::Ours);
    fs::remove_dir_all(place.runtime.folder()).expect("removed");
    assert_eq!(claim.look(&listening), Standing::SocketLost);
    let again = claim.listen().expect("a socket");
    assert_eq!(claim.look(&again), Standing::Ours);
}

//
#[test]
fn a_lock_file_that_somebody_deleted_is_taken_anew_by_whoever_is_first() {
    let place = Place::new();
    let mut claim = place.claim().expect("free");
    let listening = claim.listen().expect("a socket");
    fs::remove_file(place.home.lock()).expect("removed");
    assert_eq!(claim.look(&listening), Standing::Ours);
    assert!(place.claim().is_err(), "it holds the new file");

    fs::remove_file(place.home.lock()).expect("removed");
    let _other = place.claim().expect("the other was first");
    assert_eq!(claim.look(&listening), Standing::Replaced);
}

#[test]
fn a_folder_too_deep_for_a_socket_address_serves_all_the_same() {
    let place = Place::new();
    let deep = place.folder.path().join("d".repeat(120));
    let runtime = Runtime::within(&deep, &place.home);
    let mut claim =
        Claim::take_in(&place.home, runtime.clone(), DaemonId(Uuid::now_v7())).expect("free");
    let _listening = claim.listen().expect("a socket");
    let address = SocketAddress::of_path(&runtime.socket()).expect("an address");
    UnixStream::connect(address.path()).expect("it listens");
}

// T1
#[test]
fn a_runtime_folder_that_others_may_enter_is_refused() {
    let place = Place::new();
    place.runtime.create().expect("a folder");
    fs::set_permissions(place.runtime.folder(), Permissions::from_mode(0o755)).expect("set");
    let refused = place.claim().expect_err("refused").to_string();
    assert!(refused.contains("chmod 700"), "{refused}");
}

// FI-1: what a daemon that is killed while it starts a worker leaves for a moment.
#[test]
fn a_lock_that_a_dying_process_still_holds_is_waited_for_and_a_served_one_is_not() {
    let place = Place::new();
    let text = format!("running 1 {}", Uuid::now_v7());
    let mut left = Lock::take(&place.home.lock()).expect("free");
    left.say(&text).expect("said");
    let release = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(left);
    });
    let mut claim = place.claim().expect("free in a moment");
    release.join().expect("no panic");
    let _listening = claim.listen().expect("listens");
    let begun = Instant::now();
    let refused = place.claim();
    assert!(matches!(refused, Err(ClaimError::Running { .. })));
    assert!(begun.elapsed() < limits::DEAD_HOLDER / 2, "at once");
}
