//! Another user of the same machine: no connection, no file, no process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Gid, Pid, Signal, Uid, kill_process};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use serde_json::json;

use crate::harness::{BINARY, Home, PATIENCE, rounds, wait_until};

const SCRIPT: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("x", function() return 1 end)
"#;

/// `nobody`'s number.
const STRANGER: u32 = 65_534;

/// Whether a test can act as another user; says so if not.
fn can_be_another(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("{test}: skipped, only root can act as another user");
    }
    root
}

/// A home on a path that everybody may walk, as one in `/srv` is.
fn open_home(home: Home) -> Home {
    let outside = home.root().parent().expect("a folder").to_owned();
    fs::set_permissions(outside, fs::Permissions::from_mode(0o755)).expect("its mode");
    home
}

/// Does something as somebody who owns nothing: in a thread of its own, for to the kernel a user is a thread's.
fn as_stranger<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    as_stranger_with(CapabilitySet::empty(), work)
}

/// As [`as_stranger`], but every folder is open.
fn as_walking_stranger<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    as_stranger_with(CapabilitySet::DAC_READ_SEARCH, work)
}

fn as_stranger_with<T: Send>(kept: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(STRANGER), Gid::from_raw(STRANGER));
            set_thread_groups(&[]).expect("root may");
            set_thread_res_gid(gid, gid, gid).expect("root may");
            set_keep_capabilities(true).expect("any may");
            set_thread_res_uid(uid, uid, uid).expect("root may");
            let sets = CapabilitySets {
                effective: kept,
                permitted: kept,
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, sets).expect("fewer than before");
            work()
        });
        stranger.join().expect("its work")
    })
}

/// What a stranger hears at a socket: nothing, or why it was not let in.
fn knock(socket: &Path) -> Result<String, std::io::ErrorKind> {
    as_stranger(|| {
        let mut line = UnixStream::connect(socket).map_err(|error| error.kind())?;
        line.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        // It may be closed by now: that is heard below.
        let _ = line.write_all(b"ping\n");
        let mut heard = String::new();
        match line.read_to_string(&mut heard) {
            Ok(_) => Ok(heard),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(heard),
            Err(error) => panic!("neither an answer nor the end: {error}"),
        }
    })
}

// T1, T2: neither by the folder, nor, once somebody has opened folder and socket by mistake, by the peer's uid.
#[test]
fn another_user_gets_no_connection() {
    if !can_be_another("another_user_gets_no_connection") {
        return;
    }
    let home = open_home(Home::new().script("a.lua", SCRIPT));
    let _daemon = home.up();
    let denied = Err(ErrorKind::PermissionDenied);
    assert_eq!(knock(&home.socket()), denied, "by the folder");
    let runtime = home.runtime();
    let folders = [
        runtime.parent().and_then(Path::parent),
        runtime.parent(),
        Some(&*runtime),
    ];
    for folder in folders.into_iter().flatten() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("opened");
    }
    assert_eq!(knock(&home.socket()), denied, "by the socket's mode");
    fs::set_permissions(home.socket(), fs::Permissions::from_mode(0o666)).expect("opened");
    assert_eq!(
        knock(&home.socket()),
        Ok(String::new()),
        "by the peer's uid"
    );
    wait_until("it is logged", || {
        let log = fs::read_to_string(home.path("logs/daemon.log"));
        log.is_ok_and(|log| log.contains("another user (uid 65534)"))
    });
    assert_eq!(home.connect().call("a", "x", json!({})), 1);
}

// T1: the socket is never open, not for the moment between its birth and its mode (as Redis's was).
#[test]
fn who_connects_all_the_time_while_daemons_start_gets_nothing() {
    if !can_be_another("who_connects_all_the_time_while_daemons_start_gets_nothing") {
        return;
    }
    let home = open_home(Home::new());
    let stop = AtomicBool::new(false);
    // As if the folders were open by mistake: it finds every name, also the socket's passing one.
    let knocking = || {
        let (mut tries, mut served) = (0_u64, 0_u64);
        while !stop.load(Ordering::Relaxed) {
            let there = fs::read_dir(home.runtime()).into_iter().flatten().flatten();
            for path in there.map(|entry| entry.path()) {
                tries += 1;
                let Ok(mut line) = UnixStream::connect(path) else {
                    continue;
                };
                line.set_read_timeout(Some(PATIENCE)).expect("a time limit");
                let _ = line.write_all(b"ping\n");
                served += u64::from(matches!(line.read(&mut [0; 100]), Ok(1..)));
            }
        }
        (tries, served)
    };
    let shell = Path::new("/bin/sh");
    // With a umask that would leave a careless socket open to all.
    let start = || {
        home.program(shell)
            .args(&["-c", "umask 0; exec \"$0\" up -d", BINARY])
            .run()
    };
    let (tries, served) = std::thread::scope(|scope| {
        let trying = scope.spawn(|| as_walking_stranger(knocking));
        for _ in 0..rounds(10, 500) {
            start().ok();
            home.run(&["down"]).ok();
        }
        stop.store(true, Ordering::Relaxed);
        trying.join().expect("it ends")
    });
    assert!(tries > 100, "it did try: {tries}");
    assert_eq!(served, 0, "of {tries}");
}

// As another user of the machine: nothing of the home's state, logs and records can be read, no process touched.
#[test]
fn another_user_reads_no_file_and_touches_no_process() {
    if !can_be_another("another_user_reads_no_file_and_touches_no_process") {
        return;
    }
    let home = open_home(Home::new().script("a.lua", SCRIPT));
    let daemon = home.up();
    let mut line = home.connect();
    line.call("a", "x", json!({}));
    let worker = home.script_status("a")["pid"].as_i64().expect("a pid");
    let tops = [home.path("state"), home.path("logs"), home.runtime()];
    let files: Vec<PathBuf> = tops.iter().flat_map(|top| below(top)).collect();
    assert!(files.len() > 8, "{files:?}");
    let pids = [i64::from(daemon.pid()), worker];
    let reached = as_stranger(|| {
        let opens = |path: &&PathBuf| {
            fs::read_dir(path).is_ok()
                || File::open(path).is_ok_and(|_| !path.is_dir())
                || File::options().append(true).open(path).is_ok()
        };
        let mut reached: Vec<String> = files
            .iter()
            .filter(opens)
            .map(|path| path.display().to_string())
            .collect();
        for pid in pids {
            for what in ["environ", "mem", "maps", "cwd", "fd/0", "root"] {
                let path = format!("/proc/{pid}/{what}");
                let read = fs::read_link(&path).is_ok()
                    || File::open(&path).is_ok_and(|mut file| file.read(&mut [0]).is_ok());
                reached.extend(read.then_some(path));
            }
            let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
            reached.extend(
                kill_process(pid, Signal::TERM)
                    .is_ok()
                    .then(|| format!("kill {pid:?}")),
            );
        }
        reached
    });
    assert_eq!(reached, Vec::<String>::new());
    assert_eq!(line.call("a", "x", json!({})), 1);
}

/// A folder and everything in it.
fn below(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut at = 0;
    while at < all.len() {
        if let Ok(entries) = fs::read_dir(&all[at]) {
            all.extend(entries.flatten().map(|entry| entry.path()));
        }
        at += 1;
    }
    all
}

const TELLS: &str = r#"
-- /// moonkeep
-- allow.read = ["/"]
-- allow.run = ["id"]
-- ///
local moonkeep = require "moonkeep"
local function try(path) local file, why = io.open(path) if file then file:close() return "read" end return why end
moonkeep.handle("facts", function()
  local own = assert(io.open(moonkeep.state_dir .. "/own", "w"))
  own:write("mine") own:close()
  return { id = io.popen("id"):read("a"), root = try(moonkeep.home .. "/roots"), lock = try(moonkeep.home .. "/state/daemon.lock"),
    home = os.getenv("HOME"), user = os.getenv("USER") }
end)
"#;

// T23: root's daemon runs its scripts as another user, who cannot reach root's files nor the daemon's socket.
#[test]
fn roots_daemon_runs_its_scripts_as_another_user() {
    let test = "roots_daemon_runs_its_scripts_as_another_user";
    if !can_be_another(test) {
        return;
    }
    let tells = r#"#!/bin/sh
while read -r line; do
  id=${line##* }
  echo "$(id -u) $(id -G) $id"
  cat roots 2>&1 | sed "s/\$/ $id/"
  ls "$MOONKEEP_SOCKET" 2>&1 | sed "s/\$/ $id/"
  echo "done $id"
done
"#;
    let home = open_home(
        Home::new()
            .script("tells.lua", TELLS)
            .executable("sh.run", tells)
            .file("roots", "secret"),
    );
    fs::set_permissions(home.path("roots"), fs::Permissions::from_mode(0o600)).expect("closed");
    home.write("moonkeep.toml", "user = \"nobody\"\n");
    let daemon = home.up();
    let facts = home.connect().call("tells", "facts", json!({}));
    let id = facts["id"].as_str().expect("what id says");
    assert!(
        id.starts_with("uid=65534(nobody)") && !id.contains("root"),
        "{facts}"
    );
    for file in ["root", "lock"] {
        let said = facts[file].as_str().expect("a text");
        assert!(said.contains("ermission"), "{file}: {facts}");
    }
    assert_eq!(facts["user"], "nobody");
    let told = home.connect().call("sh", "x", json!({}));
    let told = told.as_str().expect("text");
    assert!(told.starts_with("65534 65534\n"), "{told}");
    let denied = told.matches("ermission denied").count();
    assert_eq!(denied, 2, "a file of root's, and the socket: {told}");
    assert_eq!(
        fs::read_to_string(home.path("state/scripts/tells/own")).expect("its own"),
        "mine"
    );
    assert_eq!(home.status()["warnings"], json!([]));
    assert!(daemon.stop().success(), "and root's daemon ends them");
}

// T23
#[test]
fn root_is_warned_and_a_user_that_cannot_be_is_an_error_not_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("root_is_warned_...: skipped, only root is warned");
        return;
    }
    let home = Home::new().script("a.lua", SCRIPT);
    let _daemon = home.up();
    let warnings = home.status()["warnings"].to_string();
    assert!(
        warnings.contains("runs as root") && warnings.contains("user = "),
        "{warnings}"
    );
    assert!(
        home.run(&["status"])
            .ok()
            .contains("Warning: the daemon runs as root")
    );
    home.replace("moonkeep.toml", "user = \"no-such-user\"\n");
    wait_until("the fault is told", || {
        let told = home.script_status("a")["last_error"].to_string();
        told.contains("no-such-user")
    });
    let pid = home.script_status("a")["pid"].as_i64();
    let uid = pid.map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives"));
    // The old generation goes on; no new one has started as root.
    assert_eq!(home.script_status("a")["generation"], 1, "{uid:?}");
}

// T6: between check and load another file is put in the place of the script, again and again: what is loaded was checked.
#[test]
fn only_bytes_that_were_checked_are_loaded() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "only_bytes_that_were_checked_are_loaded: skipped, only root can make another's file"
        );
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("x.lua");
    let foreign = folder.path().join("foreign");
    let good = folder.path().join("good");
    let swaps = rounds(2_000, 10_000);
    let swap = {
        let place = place.clone();
        std::thread::spawn(move || {
            for count in 0..swaps {
                plant(&good, "good", 0, 0o644);
                fs::rename(&good, &place).expect("one folder");
                plant(&foreign, "evil", STRANGER, 0o644);
                if count.is_multiple_of(2) {
                    fs::rename(&foreign, &place).expect("one folder");
                } else {
                    fs::remove_file(&place).expect("there");
                    symlink(&foreign, &place).expect("one folder");
                }
            }
        })
    };
    let (mut loaded, mut refused) = (0, 0);
    while !swap.is_finished() {
        match moonkeep::trust::read(&place, 1_000) {
            Ok(file) => {
                assert_eq!(file.bytes, b"good");
                loaded += 1;
            }
            Err(_) => refused += 1,
        }
    }
    swap.join().expect("it ends");
    assert!(
        loaded > 0 && refused > 0,
        "{loaded} loaded, {refused} refused"
    );
}

fn plant(path: &PathBuf, text: &str, owner: u32, mode: u32) {
    fs::write(path, text).expect("planted");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    std::os::unix::fs::chown(path, Some(owner), Some(owner)).expect("its owner");
}

/// Where the fault lies, who owns it, its mode, and whether the script may run.
const CASES: [(&str, u32, u32, bool); 14] = [
    ("scripts/a.lua", 0, 0o644, true),
    ("scripts/a.lua", 0, 0o400, true),
    ("scripts/a.lua", 0, 0o664, false),
    ("scripts/a.lua", 0, 0o646, false),
    ("scripts/a.lua", 65_534, 0o644, false),
    ("scripts", 0, 0o755, true),
    ("scripts", 0, 0o775, false),
    ("scripts", 0, 0o757, false),
    ("scripts", 65_534, 0o755, false),
    ("", 0, 0o1777, true),
    ("", 0, 0o777, false),
    ("lib/m.lua", 0, 0o666, false),
    ("lib/m.lua", 65_534, 0o644, false),
    ("lib", 0, 0o777, false),
];

// T6: as sshd does with keys. For the script, each folder above it, and what it requires.
#[test]
fn what_others_could_have_written_is_not_run() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "what_others_could_have_written_is_not_run: skipped, only root can make another's file"
        );
        return;
    }
    for (place, owner, mode, runs) in CASES {
        let home = Home::new()
            .script("a.lua", &format!("require 'm'\n{SCRIPT}"))
            .file("lib/m.lua", "return {}");
        let path = if place.is_empty() {
            home.root()
        } else {
            home.path(place)
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        std::os::unix::fs::chown(&path, Some(owner), None).expect("its owner");
        let case = format!("{place:?} of {owner} with mode {mode:o}");
        let status = if moonkeep::trust::read(&home.path("moonkeep.toml"), 1_000).is_err() {
            home.run(&["up", "-d"])
                .expect_code(1)
                .expect_stderr("chmod");
            continue;
        } else {
            let daemon = home.up();
            let status = home.script_status("a");
            drop(daemon);
            status
        };
        assert_eq!(status["state"] == "ready", runs, "{case}: {status}");
        if !runs {
            let told = status["last_error"].as_str().expect("why").to_owned();
            let remedy = if owner == 0 { "chmod go-w" } else { "chown" };
            assert!(told.contains(remedy), "{case}: {told}");
        }
    }
}

// T6: a change of mode alone is looked at by the next reload.
#[test]
fn a_reload_checks_again() {
    let home = Home::new().script("a.lua", SCRIPT);
    let _daemon = home.up();
    fs::set_permissions(
        home.path("scripts/a.lua"),
        fs::Permissions::from_mode(0o666),
    )
    .expect("opened");
    home.run(&["reload", "a"]);
    wait_until("it is told", || {
        home.script_status("a")["last_error"]
            .to_string()
            .contains("chmod go-w")
    });
    assert_eq!(
        home.connect().call("a", "x", json!({})),
        1,
        "the good one serves on"
    );
}
