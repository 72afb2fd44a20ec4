//! FI-16, FI-13: what is stopped, not dead. A worker that hangs, a script that will not leave, pipes that
//! somebody else holds, and a machine that was asleep.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::Times;
use crate::harness::{Home, kill, rounds, wait_until};

const ONE_SECOND: &str = r#"-- /// moonkeep
-- timeout = "500ms"
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request) return request.params.value end)
"#;

fn pid_of(home: &Home, script: &str) -> i32 {
    let pid = home.script_status(script)["pid"].as_i64();
    i32::try_from(pid.expect("it runs")).expect("a pid")
}

// FI-16: SIGSTOP of a worker, with a request in its pipe.
#[test]
fn a_worker_that_hangs_is_replaced_and_its_neighbours_do_not_notice() {
    let home = Home::new()
        .kept_if_failed()
        .script("hangs.lua", ONE_SECOND)
        .script("lives.lua", ONE_SECOND);
    let daemon = home.up();
    let (mut ended, mut other, mut codes) = (Times::default(), Times::default(), Vec::new());
    for round in 0..rounds(2, 100) {
        kill(pid_of(&home, "hangs"), Signal::STOP);
        let asked = Instant::now();
        let mut client = home.connect();
        let id = uuid::Uuid::now_v7();
        client.send_json(&json!({
            "request_id": id, "command": "call", "script": "hangs", "handler": "echo", "params": { "value": round },
        }));
        let mut neighbour = home.connect();
        for number in 0..20 {
            let begun = Instant::now();
            assert_eq!(
                neighbour.call("lives", "echo", json!({ "value": number })),
                number
            );
            other.push(begun.elapsed());
        }
        let end = client.recv_json();
        ended.push(asked.elapsed());
        let code = end["error"]["code"].as_str().unwrap_or("ok").to_owned();
        assert!(
            ["timeout", "outcome_unknown"].contains(&code.as_str()),
            "{end}"
        );
        codes.push(code);
        wait_until("another worker serves", || {
            home.run(&["start", "hangs"]);
            home.connect()
                .try_call("hangs", "echo", json!({ "value": 1 }))["result"]
                == 1
        });
    }
    codes.sort();
    codes.dedup();
    eprintln!("FI-16: a stopped worker's request ends ({codes:?}): {ended}; neighbours: {other}");
    assert!(ended.percentile(100) < Duration::from_secs(10), "{ended}");
    assert!(other.percentile(50) < Duration::from_millis(100), "{other}");
    assert!(daemon.stop().success());
}

/// Ignores SIGTERM, and leaves a grandchild that ignores it too and holds all pipes.
const STUBBORN: &str = "#!/bin/sh\n# /// moonkeep\n# stop_timeout = \"200ms\"\n# ///\ntrap '' TERM HUP\nsh -c 'trap \"\" TERM HUP; while :; do sleep 0.2; done' &\nwhile read -r line; do case $line in *die*) exit 7;; esac; done\nwhile :; do sleep 0.2; done\n";

// FI-16: a script that ignores SIGTERM, whose grandchild holds its pipes.
#[test]
fn neither_a_stubborn_script_nor_its_grandchild_holds_anybody_up() {
    let home = Home::new()
        .kept_if_failed()
        .executable("stubborn", STUBBORN);
    let daemon = home.up();
    let (mut stopped, mut replaced) = (Times::default(), Times::default());
    for _ in 0..rounds(3, 100) {
        let generation = home.script_status("stubborn")["generation"].as_u64();
        let begun = Instant::now();
        let mut client = home.connect();
        let end = client.try_call("stubborn", "die", json!({}));
        assert_eq!(end["error"]["code"], "outcome_unknown", "{end}");
        wait_until("the next generation serves", || {
            let now = home.script_status("stubborn");
            now["generation"].as_u64() > generation && now["state"] == "ready"
        });
        replaced.push(begun.elapsed());
        let begun = Instant::now();
        home.run(&["stop", "stubborn"]).ok();
        stopped.push(begun.elapsed());
        let left = home.processes();
        let left = left.iter().filter(|one| one.pid != daemon.pid()).count();
        assert_eq!(left, 0, "{:?}", home.processes());
        home.run(&["start", "stubborn"]).ok();
    }
    eprintln!(
        "FI-16: its death is seen and another serves: {replaced}; a stubborn one is stopped: {stopped}"
    );
    assert!(
        stopped.percentile(100) < Duration::from_secs(5),
        "{stopped}"
    );
    assert!(daemon.stop().success());
}

// FI-13: a machine that sleeps. Nobody is taken for dead, and no time limit is over for that.
#[test]
fn after_a_sleep_of_the_machine_nobody_is_taken_for_dead() {
    let home = Home::new().kept_if_failed().script("lives.lua", ONE_SECOND);
    let daemon = home.up();
    let mut listener = home
        .moonkeep(&["events"])
        .env("MOONKEEP_PING_INTERVAL_MS", "200")
        .spawn();
    let pid = i32::try_from(listener.id()).expect("a pid");
    wait_until("it listens", || home.status()["clients"] == 2);
    let worker = pid_of(&home, "lives");
    let all = [pid, daemon.pid(), worker];
    for _ in 0..rounds(2, 20) {
        for one in all {
            kill(one, Signal::STOP);
        }
        std::thread::sleep(Duration::from_secs(rounds(2, 60) as u64));
        for one in all.into_iter().rev() {
            kill(one, Signal::CONT);
        }
        // Ten pings later everybody is still there.
        std::thread::sleep(Duration::from_secs(2));
        assert!(listener.try_wait().expect("our own child").is_none());
        assert_eq!(pid_of(&home, "lives"), worker, "the same worker");
        assert_eq!(home.status()["clients"], 2);
        let mut line = home.connect();
        assert_eq!(line.call("lives", "echo", json!({ "value": 5 })), 5);
    }
    listener.kill().expect("our own child");
    let said = listener.wait_with_output().expect("our own child");
    assert_eq!(
        String::from_utf8_lossy(&said.stderr),
        "",
        "it had nothing to warn of"
    );
    eprintln!("FI-13: client, daemon and worker slept and went on");
    assert!(daemon.stop().success());
}
