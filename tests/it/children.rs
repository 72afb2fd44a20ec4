//! Workers as processes: start, stop, crash, groups, no orphan and no zombie.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Home, PATIENCE, kill, rounds, ticks, wait_for, wait_until};

/// Serves `pid`, `env` and `crash`.
const HELPFUL: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("where", function() return moonkeep.generation end)
"#;

/// An executable with a helper that ignores SIGTERM, in its own group.
const WITH_HELPER: &str = "#!/bin/sh
sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' &
echo $! >> helpers
while read -r line; do :; done
";

fn worker_pid(home: &Home, script: &str) -> i32 {
    let pid = home.script_status(script)["pid"].as_i64();
    i32::try_from(pid.expect("a pid")).expect("a pid")
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

fn wait_ready(home: &Home, script: &str, generation: u64) -> Value {
    wait_for("the next generation serves", || {
        let status = home.script_status(script);
        let ready = status["state"] == "ready" && status["generation"].as_u64() >= Some(generation);
        ready.then_some(status)
    })
}

// S-04
#[test]
fn helpers_of_a_crashed_or_stopped_script_do_not_outlive_it() {
    let home = Home::new().executable("helped.sh", WITH_HELPER);
    let daemon = home.up();
    for crash in 0..3 {
        let status = wait_ready(&home, "helped", crash + 1);
        wait_until("the helper runs", || helpers(&home).len() as u64 > crash);
        let pid = i32::try_from(status["pid"].as_i64().expect("a pid")).expect("a pid");
        kill(pid, Signal::KILL);
        wait_ready(&home, "helped", crash + 2);
    }
    wait_until("the last helper runs", || helpers(&home).len() == 4);
    assert!(daemon.stop().success());
    for pid in helpers(&home) {
        assert!(!is_alive(pid), "helper {pid} lives");
    }
}

fn helpers(home: &Home) -> Vec<i32> {
    let text = fs::read_to_string(home.path("helpers")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

// S-05, DESIGN 5: no orphan
#[test]
fn a_killed_daemon_leaves_no_worker() {
    let home = Home::new()
        .script("a.lua", HELPFUL)
        .executable("helped.sh", WITH_HELPER);
    for _ in 0..rounds(3, 50) {
        let daemon = home.up();
        assert!(!home.processes().is_empty());
        daemon.kill();
        wait_until("everything is gone", || home.processes().is_empty());
    }
}

// S-03
#[test]
fn all_scripts_stop_at_once_and_a_stubborn_one_holds_nobody_up() {
    let stubborn = "#!/bin/sh\n# /// moonkeep\n# stop_timeout = \"300ms\"\n# ///\ntrap '' TERM\nwhile :; do sleep 0.1; done\n";
    let mut home = Home::new().script("a.lua", HELPFUL);
    for number in 0..5 {
        home = home.executable(&format!("stubborn{number}.sh"), stubborn);
    }
    let daemon = home.up();
    let begun = Instant::now();
    let mut line = home.connect();
    line.send("stop stubborn0");
    let mut other = home.connect();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(other.call("a", "where", json!({})), 1);
        assert!(asked.elapsed() < Duration::from_millis(500), "held up");
    }
    assert!(daemon.stop().success());
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(8),
        "one after the other: {took:?}"
    );
}

// T5
#[test]
fn a_worker_sees_the_allow_list_of_variables_and_no_other() {
    let home = Home::new().executable(
        "shows.sh",
        "#!/bin/sh\n# /// moonkeep\n# env = { OWN = \"mine\" }\n# allow.env = [\"LET_IN\"]\n# ///\nenv > seen.tmp\nmv seen.tmp seen\nwhile read -r line; do :; done\n",
    );
    let mut command = home
        .moonkeep(&["up"])
        .env("SECRET_TOKEN", "hunter2")
        .env("LUA_INIT", "error('steered')")
        .env("LD_PRELOAD_X", "x")
        .env("LET_IN", "yes")
        .env("TZ", "UTC")
        .into_command();
    let mut daemon = command.stdout(Stdio::null()).spawn().expect("starts");
    wait_until("the script has run", || home.path("seen").exists());
    let seen = home.read("seen");
    let names: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    for expected in [
        "PATH",
        "HOME",
        "TZ",
        "MOONKEEP_HOME",
        "MOONKEEP_SCRIPT",
        "MOONKEEP_GENERATION",
        "MOONKEEP_SOCKET",
        "OWN",
        "LET_IN",
    ] {
        assert!(names.contains(&expected), "{expected} in {names:?}");
    }
    for name in [
        "SECRET_TOKEN",
        "LUA_INIT",
        "LD_PRELOAD_X",
        "XDG_RUNTIME_DIR",
    ] {
        assert!(!names.contains(&name), "{name} in {names:?}");
    }
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
}

// S-09, T19
#[test]
fn a_storm_on_standard_error_is_kept_within_its_quota_and_slows_nobody() {
    let storm = "#!/bin/sh\n# /// moonkeep\n# restart = \"never\"\n# ///\ni=0\nyes 'a line of the storm that is about seventy bytes long, to have a measure' | head -c 100000000 >&2\necho last >&2\n: > ended\nwhile read -r line; do :; done\n";
    let home = Home::new()
        .executable("storm.sh", storm)
        .script("a.lua", HELPFUL);
    let _daemon = home.up();
    let mut line = home.connect();
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    while !home.path("ended").exists() {
        assert!(begun.elapsed() < PATIENCE, "the storm is held up");
        let asked = Instant::now();
        line.ask("ping");
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a ping took {slowest:?}");
    wait_until("the last line is in the log", || {
        home.run(&["logs", "storm"]).stdout.contains("last")
    });
    let bytes: u64 = fs::read_dir(home.path("logs/scripts"))
        .expect("a folder of logs")
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|facts| facts.len())
        .sum();
    assert!(bytes < 6 * 9 * 1024 * 1024, "{bytes} bytes of logs");
}

// T7
#[test]
fn a_log_line_cannot_forge_another() {
    let forger = "#!/bin/sh\nprintf 'good\\rFAKE\\033[2J\\n' >&2\nprintf '\\302\\205next\\342\\200\\250line\\n' >&2\nprintf 'end\\n' >&2\nwhile read -r line; do :; done\n";
    let home = Home::new().executable("forger.sh", forger);
    let _daemon = home.up();
    let log = wait_for("the log", || {
        let text = fs::read_to_string(home.path("logs/scripts/forger.log")).ok()?;
        text.contains("end").then_some(text)
    });
    assert_eq!(log.lines().count(), 3, "{log:?}");
    assert!(log.contains("good\\x0dFAKE\\x1b[2J"), "{log:?}");
    assert!(log.contains("\\u{85}next\\u{2028}line"), "{log:?}");
    assert!(
        log.lines().all(|line| line.contains(" [forger#1] ")),
        "{log:?}"
    );
}

// R-135, S-06
// R-147 case 3.1
#[test]
fn a_crash_is_told_with_its_last_words_and_the_script_serves_again() {
    let home = Home::new().script("a.lua", HELPFUL);
    let _daemon = home.up();
    let first = worker_pid(&home, "a");
    kill(first, Signal::KILL);
    let status = wait_ready(&home, "a", 2);
    assert_eq!(status["restarts"], 1);
    assert_eq!(home.connect().call("a", "where", json!({})), 2);
    assert!(!is_alive(first), "no zombie");
}

// TARGETS: idle CPU
#[test]
fn an_idle_daemon_and_its_workers_use_no_measurable_processor_time() {
    let home = Home::new()
        .script("a.lua", HELPFUL)
        .script("b.lua", HELPFUL);
    let daemon = home.up();
    let pids = [daemon.pid(), worker_pid(&home, "a"), worker_pid(&home, "b")];
    // What the start has left to do is done when two looks in a row see the same.
    let measure = || pids.map(ticks);
    let before = wait_for("the start is over", || {
        let seen = measure();
        std::thread::sleep(Duration::from_millis(500));
        (measure() == seen).then_some(seen)
    });
    std::thread::sleep(Duration::from_secs(4));
    let after = measure();
    let used: u64 = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .sum();
    assert!(used <= 1, "{used} ticks in 4 s: {before:?} {after:?}");
}

// R-147 case 3.3
#[test]
fn a_grandchild_that_holds_the_pipes_does_not_hide_a_death() {
    // It leaves the group, so that only its own pipes keep it in touch, and is not killed with its parent.
    let script = "#!/bin/sh\n# /// moonkeep\n# keep_children = true\n# ///\nsetsid sh -c 'echo $$ > outlives; exec sleep 30' &\nwhile [ ! -s outlives ]; do sleep 0.01; done\nexit 3\n";
    let home = Home::new().executable("parent.sh", script);
    let _daemon = home.up();
    wait_until("the death is known", || {
        home.script_status("parent")["restarts"].as_u64() >= Some(1)
    });
    let outlives = Path::new("outlives");
    let pid: i32 = home
        .read(outlives.to_str().expect("a name"))
        .trim()
        .parse()
        .expect("a pid");
    for process in home.processes() {
        if process.arguments.contains("sleep 30") {
            kill(process.pid, Signal::KILL);
        }
    }
    kill(pid, Signal::KILL);
}
