//! Files and names: what lies in `scripts/`, how often it changes, what it is called, and logs without end.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use super::leeway;
use crate::harness::{Home, PATIENCE, long, rounds, wait_for, wait_until};

fn revision(number: usize) -> String {
    format!(
        "local moonkeep = require \"moonkeep\"\nmoonkeep.handle(\"which\", function() return {number:6} end, {{ delivery = \"query\" }})\n"
    )
}

fn which(home: &Home) -> Value {
    home.connect().try_call("r", "which", json!({}))["result"].clone()
}

/// The slowest ping while something goes on.
fn slowest_ping_while(home: &Home, mut goes_on: impl FnMut() -> bool) -> Duration {
    let mut line = home.connect();
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    while goes_on() {
        let patience = if long() { 10 * PATIENCE } else { PATIENCE };
        assert!(begun.elapsed() < patience, "it does not end");
        let asked = Instant::now();
        line.ask("ping");
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    slowest
}

// T18: three events for each save.
#[test]
fn a_hundred_thousand_file_events_lead_to_a_few_reloads_and_hold_up_nobody() {
    let home = Home::new().script("r.lua", &revision(0));
    let _daemon = home.up();
    let saves = rounds(34_000, 340_000);
    let begun = Instant::now();
    let slowest = std::thread::scope(|threads| {
        let saving = threads.spawn(|| {
            // Without truncation, which some file systems pay for with a write to the disk.
            let place = home.path("scripts/r.lua");
            for number in 1..=saves {
                let file = fs::File::options().write(true).open(&place);
                let written = file.and_then(|mut file| file.write_all(revision(number).as_bytes()));
                written.expect("saved");
            }
        });
        slowest_ping_while(&home, || !saving.is_finished())
    });
    let took = begun.elapsed();
    wait_until("the last one serves", || which(&home) == saves);
    let generation = home.script_status("r")["generation"]
        .as_u64()
        .expect("a number");
    eprintln!("{saves} saves in {took:?}, generation {generation}, slowest ping {slowest:?}");
    // At most one look in each half a second.
    let looks = took.as_millis() as u64 / 500 + 1;
    assert!(
        generation <= 2 + 2 * looks,
        "{generation} generations in {took:?}"
    );
    assert!(
        slowest < leeway() * Duration::from_millis(500),
        "a ping took {slowest:?}"
    );
}

fn special(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).expect("planted");
}

fn error_of(home: &Home, name: &str) -> String {
    wait_for("its error", || {
        let error = home.script_status(name)["last_error"].as_str()?.to_owned();
        (!error.is_empty()).then_some(error)
    })
}

// T18
#[test]
fn what_is_no_program_is_refused_with_a_clear_error_and_without_waiting_for_it() {
    let home = Home::new().script("r.lua", &revision(1));
    let place = |name: &str| home.path(&format!("scripts/{name}.lua"));
    special(&place("fifo"), FileType::Fifo);
    let _socket = UnixListener::bind(place("socket")).expect("bound");
    symlink("/dev/zero", place("device")).expect("a link");
    symlink("/proc/self/mem", place("proc")).expect("a link");
    symlink(place("loop"), place("loop")).expect("a link");
    fs::create_dir_all(home.path("scripts/folder.lua")).expect("a folder");
    fs::write(place("huge"), vec![b'-'; 4 * 1024 * 1024 + 1]).expect("written");
    fs::write(place("bytecode"), b"\x1bLua\x54\0\x19\x93\r\n\x1a\n").expect("written");
    fs::write(place("binary"), [0_u8, 255, 254, 1, 2, 3]).expect("written");
    let begun = Instant::now();
    let _daemon = home.up();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    for (name, expected) in [
        ("fifo", "not a regular file"),
        ("socket", "socket.lua"),
        ("device", "device.lua"),
        ("proc", "/mem"),
        ("loop", "link"),
        ("huge", "larger than 4 MiB"),
        ("bytecode", "binary"),
        ("binary", "binary.lua"),
    ] {
        let error = error_of(&home, name);
        assert!(error.contains(expected), "{name}: {error}");
        assert_ne!(home.script_status(name)["state"], "ready");
    }
    assert_eq!(which(&home), 1);
    // In the place of a program that runs, they change nothing but its error.
    for (round, kind) in [FileType::Fifo, FileType::Socket].into_iter().enumerate() {
        special(&home.path("scripts/.r.tmp"), kind);
        fs::rename(home.path("scripts/.r.tmp"), place("r")).expect("swapped");
        error_of(&home, "r");
        assert_eq!(which(&home), round + 1);
        fs::remove_file(place("r")).expect("there");
        home.replace("scripts/r.lua", &revision(round + 2));
        wait_until("it is mended", || which(&home) == round + 2);
    }
}

// T18: Kubernetes-style swaps; each version that settles serves, and no torn one.
#[test]
fn a_link_that_is_swapped_without_end_leads_to_one_of_its_targets_only() {
    let home = Home::new();
    for number in [1, 2] {
        home.write(&format!("data/{number}/r.lua"), &revision(number));
    }
    symlink(home.path("data/1"), home.path("data/now")).expect("a link");
    symlink(home.path("data/now/r.lua"), home.path("scripts/r.lua")).expect("a link");
    let _daemon = home.up();
    let begun = Instant::now();
    for number in (1..=2_000).map(|round| 1 + round % 2) {
        symlink(home.path(&format!("data/{number}")), home.path("data/next")).expect("a link");
        fs::rename(home.path("data/next"), home.path("data/now")).expect("swapped");
        if begun.elapsed() > Duration::from_secs(3) {
            break;
        }
    }
    let served = which(&home);
    assert!(served == 1 || served == 2, "{served}");
    let last = fs::read_link(home.path("data/now")).expect("a link");
    let last: u64 = last
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .parse()
        .expect("a number");
    wait_until("the last one serves", || which(&home) == last);
    let generation = home.script_status("r")["generation"].as_u64();
    assert!(generation <= Some(12), "{generation:?}");
}

// T18: what is no script is mentioned, not at any length.
#[test]
fn a_folder_full_of_rubbish_costs_a_few_lines() {
    let home = Home::new().script("r.lua", &revision(1));
    for number in 0..2_000 {
        home.write(&format!("scripts/rubbish{number}.txt"), "");
    }
    let _daemon = home.up();
    assert_eq!(which(&home), 1);
    let log = wait_for("the log", || {
        let log = fs::read_to_string(home.path("logs/daemon.log")).ok()?;
        log.contains("more files that are no scripts")
            .then_some(log)
    });
    let lines = log.lines().filter(|line| line.contains("rubbish")).count();
    assert_eq!(lines, 32, "{log}");
}

/// Bytes of all logs of scripts on the disk.
fn logged(home: &Home) -> u64 {
    let Ok(entries) = fs::read_dir(home.path("logs/scripts")) else {
        return 0;
    };
    let sizes = entries.flatten().filter_map(|entry| entry.metadata().ok());
    sizes.map(|facts| facts.blocks() * 512).sum()
}

// T19, S-09: noise that does not compress; the disk holds no more than the quota at any moment.
#[test]
fn a_storm_of_noise_in_a_log_never_takes_more_disk_than_its_quota() {
    let megabytes = rounds(64, 1_024);
    let storm = format!(
        "#!/bin/sh\n# /// moonkeep\n# restart = \"never\"\n# ///\nhead -c {megabytes}M /dev/urandom | base64 >&2\nhead -c 20M /dev/zero >&2\necho last >&2\n: > ended\nwhile read -r line; do :; done\n"
    );
    let home = Home::new().executable("storm.sh", &storm);
    let _daemon = home.up();
    let begun = Instant::now();
    let mut most = 0;
    let slowest = slowest_ping_while(&home, || {
        most = most.max(logged(&home));
        !home.path("ended").exists()
    });
    eprintln!(
        "{megabytes} MiB in {:?}, at most {most} bytes, slowest ping {slowest:?}",
        begun.elapsed()
    );
    // The log, its predecessors, the one that is being compressed, and what that gives.
    let quota = (1 + 4 + 2) * 8 * 1024 * 1024;
    assert!(most < quota, "{most} bytes on the disk");
    assert!(
        slowest < leeway() * Duration::from_millis(500),
        "a ping took {slowest:?}"
    );
    wait_until("what was cut is counted", || {
        home.run(&["logs", "storm", "-n", "3"])
            .stdout
            .contains("more bytes cut]")
    });
}

/// Names that lead elsewhere, or nowhere.
fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "..",
        ".",
        "../canary",
        "../../canary",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "~",
        "$HOME",
        "a b",
        "",
        "*",
        "r.lua",
        "r\u{0}",
        "\u{202e}r",
        "ŕ",
        "名前",
        "r\n",
        "-",
        "--help",
        "r/../r",
        "%2e%2e",
        "....//canary",
        "r\u{0}/../canary",
    ]
    .map(str::to_owned)
    .into();
    names.extend([65, 255, 4_096].map(|length| "r".repeat(length)));
    names.push("../".repeat(40) + "etc/passwd");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let pieces = [
        "..", "/", "canary", "\u{0}", "logs", "é", ".log", "r", "\\", " ",
    ];
    for _ in 0..rounds(100, 5_000) {
        let mut name = String::new();
        for _ in 0..1 + seed % 7 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            name += pieces[(seed >> 33) as usize % pieces.len()];
        }
        names.push(name);
    }
    names.retain(|name| !["r", "canary", "logs"].contains(&name.as_str()));
    names
}

/// Everything below a folder, with its size.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let facts = entry.metadata().expect("there");
            if facts.is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path().display().to_string());
        }
    }
    found.sort();
    found
}

// T22
#[test]
fn odd_names_on_the_wire_and_in_commands_never_become_a_path() {
    let home = Home::new()
        .script("r.lua", &revision(1))
        .file("logs/scripts/r.log", "")
        .file("canary.log", "secret\n")
        .file("logs/canary.log", "secret\n")
        .file("canary", "secret\n");
    let _daemon = home.up();
    let before = tree(&home.root());
    let mut line = home.connect();
    for (number, name) in odd_names().iter().enumerate() {
        let command = ["logs", "call", "start", "stop", "restart", "reload", "eval"][number % 7];
        let end = line.end_of(json!({
            "command": command, "script": name, "handler": "which", "code": "return 1",
        }));
        let shown = end.to_string();
        // Without a name these mean the daemon's own log, or all scripts.
        if !name.is_empty() {
            assert_eq!(end["status"], "error", "{command} {name:?}: {shown}");
        }
        assert!(!shown.contains("secret"), "{command} {name:?}: {shown}");
        assert!(
            shown.len() < 2_000,
            "{command} {name:?}: {} bytes",
            shown.len()
        );
    }
    for name in odd_names()
        .iter()
        .take(24)
        .filter(|name| !name.contains('\0'))
    {
        for command in ["logs", "call", "stop"] {
            let said =
                home.run(&[command, "--", name, "which"][..if command == "call" { 4 } else { 3 }]);
            assert_ne!(said.code(), Some(0), "{command} {name:?}: {said:#?}");
            assert!(
                !format!("{said:?}").contains("secret"),
                "{command} {name:?}"
            );
        }
    }
    assert_eq!(tree(&home.root()), before, "something was made or removed");
    assert_eq!(which(&home), 1);
}

// T22
#[test]
fn files_with_odd_names_are_no_scripts_and_the_log_says_so_on_one_line_each() {
    let home = Home::new().script("r.lua", &revision(1));
    let odd = [
        "a b.lua",
        "ŕ.lua",
        "a\nINFO forged.lua",
        "\u{202e}x.lua",
        "-.-.lua",
        "a$(x).lua",
    ];
    for name in odd {
        home.write(&format!("scripts/{name}"), &revision(2));
    }
    let long = "x".repeat(65);
    home.write(&format!("scripts/{long}.lua"), &revision(2));
    let _daemon = home.up();
    let status = home.status();
    assert_eq!(
        status["scripts"].as_array().map(Vec::len),
        Some(1),
        "{status}"
    );
    let log = wait_for("the log", || {
        let log = fs::read_to_string(home.path("logs/daemon.log")).ok()?;
        log.contains("xxxx").then_some(log)
    });
    assert_eq!(log.matches("is no script").count(), odd.len() + 1, "{log}");
    assert!(
        !log.lines().any(|line| line.starts_with("INFO forged")),
        "{log}"
    );
}
