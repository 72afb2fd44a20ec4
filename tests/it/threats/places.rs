//! What somebody has put where our files belong, and environments that lead elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Home, kill, wait_until};

const SCRIPT: &str =
    "require('moonkeep').handle('x', function() return 1 end)\nio.stderr:write('said\\n')\n";
const KINDS: [&str; 6] = [
    "link",
    "dangling link",
    "fifo",
    "device",
    "folder",
    "hard link",
];

fn places(home: &Home) -> [PathBuf; 6] {
    [
        home.path("state/daemon.lock"),
        home.pid_file(),
        home.socket(),
        home.path("logs/daemon.log"),
        home.path("logs/scripts/a.log"),
        home.path("state/scripts/a.lock"),
    ]
}

/// `false`: this user cannot make such a thing.
fn plant(kind: &str, path: &Path, victim: &Path) -> bool {
    let folder = path.parent().expect("a folder");
    fs::create_dir_all(folder).expect("its folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    match kind {
        "link" => symlink(victim, path).is_ok(),
        "dangling link" => symlink(victim.with_extension("absent"), path).is_ok(),
        "fifo" => {
            rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).is_ok()
        }
        // The one that gives nothing and takes everything.
        "device" => {
            let null = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(
                CWD,
                path,
                FileType::CharacterDevice,
                Mode::RUSR | Mode::WUSR,
                null,
            )
            .is_ok()
        }
        "folder" => fs::create_dir(path).is_ok() && fs::write(path.join("kept"), "kept").is_ok(),
        _ => fs::hard_link(victim, path).is_ok(),
    }
}

// T3: six kinds of things at six places: nothing is followed, written through or waited for; either it serves, or it
// says what is in the way.
#[test]
fn whatever_is_planted_at_our_paths_harms_nobody_and_hangs_nothing() {
    for kind in KINDS {
        for at in 0..6 {
            let home = Home::new().script("a.lua", SCRIPT);
            let victim = home.write("victim", "precious");
            fs::set_permissions(&victim, fs::Permissions::from_mode(0o640)).expect("its mode");
            let path = places(&home)[at].clone();
            let base = home.runtime().parent().expect("a folder").to_owned();
            fs::create_dir_all(home.runtime()).expect("made");
            for folder in [&base, &home.runtime()] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its mode");
            }
            if !plant(kind, &path, &victim) {
                eprintln!("{kind} skipped: this user cannot make one");
                continue;
            }
            let case = format!("{kind} at {}", path.display());
            let up = home.run(&["up", "-d"]);
            match up.code() {
                Some(0) => {
                    let state = &home.script_status("a");
                    let told = state["last_error"].as_str().unwrap_or_default().to_owned();
                    assert!(
                        state["state"] == "ready" || told.contains("a.lock"),
                        "{case}: {state}"
                    );
                    home.run(&["down"]).ok();
                }
                Some(1) => assert!(
                    up.stderr.contains(
                        path.file_name()
                            .and_then(|name| name.to_str())
                            .expect("a name")
                    ),
                    "{case}: {up:?}"
                ),
                _ => panic!("{case}: {up:?}"),
            }
            let facts = fs::metadata(&victim).expect("the victim");
            assert_eq!(
                fs::read_to_string(&victim).expect("the victim"),
                "precious",
                "{case}"
            );
            assert_eq!(facts.mode() & 0o7777, 0o640, "{case}");
            assert!(
                !victim.with_extension("absent").exists(),
                "{case}: made through a link"
            );
            assert!(
                kind != "folder" || kept(&path),
                "{case}: what was in the folder is lost"
            );
        }
    }
}

/// What was in a planted folder is still there, be it moved aside.
fn kept(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    let folder = path.parent().expect("a folder");
    fs::read_dir(folder)
        .expect("its folder")
        .flatten()
        .any(|entry| {
            entry.file_name().to_string_lossy().starts_with(name)
                && entry.path().join("kept").exists()
        })
}

// T5: 200 variables of whoever started the daemon, and those that steer programs: a script sees the allow-list.
#[test]
fn two_hundred_variables_of_the_starter_reach_no_script() {
    let home = Home::new().executable("shows.sh", "#!/bin/sh\ncat /proc/self/environ > seen.tmp\nmv seen.tmp seen\nwhile read -r line; do :; done\n").script(
        "steered.lua",
        "require('moonkeep').handle('x', function() return { os.getenv('LUA_INIT') or 'none', os.getenv('VARIABLE_7') or 'none', package.path:find('evil') or 'none', tostring(STEERED) } end)",
    );
    let mut command = home.moonkeep(&["up"]).into_command();
    for number in 0..200 {
        command.env(format!("VARIABLE_{number}"), format!("token {number}"));
    }
    let steering = [
        ("LUA_INIT", "STEERED = true"),
        ("LUA_INIT_5_4", "STEERED = true"),
        ("LUA_PATH", "/evil/?.lua"),
        ("LUA_CPATH", "/evil/?.so"),
        ("LD_PRELOAD", "/evil/no-such.so"),
        ("LD_LIBRARY_PATH", "/evil"),
        ("LD_AUDIT", "/evil/no-such.so"),
        ("BASH_ENV", "/evil"),
        ("ENV", "/evil"),
        ("PYTHONPATH", "/evil"),
        ("IFS", "/"),
        ("SSH_AUTH_SOCK", "/evil"),
        ("LC_ALL", "C.UTF-8"),
    ];
    command.envs(steering);
    let mut daemon = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("the script has run", || home.path("seen").exists());
    let seen = home.read("seen");
    let names: Vec<&str> = seen
        .split('\0')
        .filter_map(|line| line.split('=').next())
        .filter(|name| !name.is_empty())
        .collect();
    let allowed = [
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "MOONKEEP_HOME",
        "MOONKEEP_SCRIPT",
        "MOONKEEP_GENERATION",
        "MOONKEEP_SOCKET",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    ];
    let foreign: Vec<&&str> = names
        .iter()
        .filter(|name| !allowed.contains(name))
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    wait_until("the Lua script serves", || {
        home.script_status("steered")["state"] == "ready"
    });
    let seen = home.connect().call("steered", "x", json!({}));
    assert_eq!(seen, json!(["none", "none", "none", "nil"]));
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
}

// T4: no runtime folder, one that is none, one that is closed, one that is another's.
#[test]
fn each_environment_has_a_runtime_folder_or_an_error_that_says_which() {
    let home = Home::new().script("a.lua", SCRIPT);
    let file = home.write("file", "");
    let open = home.temporary().join("open");
    fs::create_dir(&open).expect("made");
    fs::create_dir(open.join("moonkeep")).expect("made");
    fs::set_permissions(open.join("moonkeep"), fs::Permissions::from_mode(0o777)).expect("opened");
    let link = home.temporary().join("link");
    fs::create_dir(&link).expect("made");
    symlink(home.root(), link.join("moonkeep")).expect("planted");
    let up = |value: Option<&Path>| {
        let program = home.moonkeep(&["up", "-d"]);
        match value {
            Some(value) => program.env("XDG_RUNTIME_DIR", value).run(),
            None => program.without_env("XDG_RUNTIME_DIR").run(),
        }
    };
    let down = |value: Option<&Path>| {
        let program = home.moonkeep(&["down"]);
        match value {
            Some(value) => program.env("XDG_RUNTIME_DIR", value).run().ok(),
            None => program.without_env("XDG_RUNTIME_DIR").run().ok(),
        }
    };
    // cron, su; a relative one counts as none.
    for value in [None, Some(Path::new("")), Some(Path::new("relative"))] {
        up(value).ok();
        down(value);
    }
    let mine = format!("moonkeep-{}", rustix::process::getuid().as_raw());
    assert!(
        home.temporary().join(mine).is_dir(),
        "under the temporary folder"
    );
    for (value, says) in [
        (file.as_path(), "cannot create the runtime folder"),
        (&open, "chmod 700"),
        (&link, "is a link"),
    ] {
        up(Some(value)).expect_code(1).expect_stderr(says);
    }
}

// T4: logging out removes the runtime folder under the daemon. It makes a new one.
#[test]
fn a_runtime_folder_that_vanishes_is_made_again() {
    let home = Home::new().script("a.lua", SCRIPT);
    let _daemon = home.up();
    fs::remove_dir_all(home.runtime().parent().expect("a folder")).expect("removed");
    wait_until("it serves again", || {
        crate::harness::Line::try_connect(&home.socket()).is_ok()
    });
    assert_eq!(home.connect().call("a", "x", json!({})), 1);
    let mode = fs::metadata(home.runtime()).expect("there").mode();
    assert_eq!(mode & 0o777, 0o700);
}

// T21: neither the daemon nor a worker leaves its memory in a file.
#[test]
fn nobody_dumps_core() {
    let home = Home::new()
        .script("a.lua", SCRIPT)
        .executable("b.sh", "#!/bin/sh\nwhile read -r line; do :; done\n");
    let daemon = home.up();
    let pid = |name: &str| home.script_status(name)["pid"].as_i64().expect("a pid");
    for pid in [i64::from(daemon.pid()), pid("a"), pid("b")] {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .expect("a line");
        let words: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{core}");
    }
}

// T2: the credentials are those at the connection's beginning; who has gone before his request was looked at gets
// nothing and stays who he was.
#[test]
fn a_peer_that_vanishes_between_request_and_look_harms_nothing() {
    let home = Home::new().script("a.lua", SCRIPT);
    let _daemon = home.up();
    for _ in 0..200 {
        let mut line = home.connect();
        line.send("call a x");
    }
    assert_eq!(home.connect().call("a", "x", json!({})), 1);
    wait_until("they are forgotten", || home.status()["clients"] == 1);
}
