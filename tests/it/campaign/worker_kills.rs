//! FI-2: workers end in every bad way at random instants, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::load::{self, Log, Plan, StopAtEnd, USUAL};
use super::{Random, scripts, seed, settle};
use crate::harness::{Home, kill, rounds, wait_until};

/// How a worker ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    Signal(Signal),
    /// A handler that takes its process, its memory or its time with it.
    Handler(&'static str),
}

const LUA: [Death; 8] = [
    Death::Signal(Signal::KILL),
    Death::Signal(Signal::SEGV),
    Death::Signal(Signal::KILL),
    Death::Signal(Signal::ABORT),
    Death::Signal(Signal::TERM),
    Death::Signal(Signal::KILL),
    Death::Handler("gorge"),
    Death::Handler("spin"),
];
const PYTHON: [Death; 5] = [
    Death::Signal(Signal::KILL),
    Death::Signal(Signal::SEGV),
    Death::Handler("exit"),
    Death::Handler("crash"),
    Death::Handler("exhaust"),
];

/// What those who leave would have heard, nobody knows: their request may be unknown.
const PLAN: Plan = Plan {
    leavers: false,
    ..USUAL
};

fn die(home: &Home, script: &str, death: Death) {
    match death {
        Death::Signal(signal) => {
            let pid = home.script_status(script)["pid"].as_i64();
            if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                kill(pid, signal);
            }
        }
        Death::Handler(handler) => {
            // Whatever it answers: its effect is what counts.
            home.connect().try_call(script, handler, json!({}));
        }
    }
}

/// A script that died too often waits, at last to be started by hand: here it is.
fn revive(home: &Home) -> usize {
    let waiting = scripts::SCRIPTS.into_iter().filter(|script| {
        let state = home.script_status(script)["state"].clone();
        state == "failed" || state == "backoff"
    });
    waiting
        .map(|script| {
            home.connect()
                .end_of(json!({ "command": "start", "script": script }))
        })
        .count()
}

// FI-2, R-146
#[test]
fn a_worker_that_dies_at_any_instant_leaves_unknown_at_most_what_it_ran() {
    let name = "FI-2";
    let seed = seed(name);
    let (home, log, mut random) = (scripts::home(), Arc::new(Log::default()), Random(seed));
    let daemon = home.up();
    let kills = rounds(50, 1_000);
    let (begun, mut failed) = (Instant::now(), 0);
    std::thread::scope(|threads| {
        let stop = StopAtEnd(&log);
        let load = threads.spawn(|| load::run(PLAN, &home, seed, &log));
        for _ in 0..kills {
            std::thread::sleep(Duration::from_millis(random.below(150)));
            let script = scripts::SCRIPTS[random.below(3) as usize];
            let deaths: &[Death] = if script == "python" { &PYTHON } else { &LUA };
            die(
                &home,
                script,
                deaths[random.below(deaths.len() as u64) as usize],
            );
            failed += revive(&home);
        }
        wait_until("every script serves again", || {
            revive(&home);
            let serves = |script: &&str| home.script_status(script)["state"] == "ready";
            scripts::SCRIPTS.iter().all(serves)
        });
        drop(stop);
        load.join().expect("the clients end");
    });
    eprintln!(
        "{name}: {kills} deaths in {:.1} s, {failed} times a script that waited was started by hand",
        begun.elapsed().as_secs_f32()
    );
    let verdict = settle(name, &home, &log.text(), true);
    assert_only_what_ran(&home, &verdict.unknown);
    // Sixteen at once, and the one that the executable has.
    assert!(verdict.unknown.len() <= kills * 17, "{verdict}");
    assert!(log.ended() > kills, "next to nothing was asked");
    assert!(daemon.stop().success());
}

/// Of what is unknown nothing ran in a generation that still lives.
#[track_caller]
fn assert_only_what_ran(home: &Home, unknown: &[String]) {
    let ledger = scripts::ledger(home);
    let alive: Vec<(&str, String)> = scripts::SCRIPTS
        .into_iter()
        .map(|script| (script, home.script_status(script)["generation"].to_string()))
        .collect();
    for told in unknown {
        let id = told.split(' ').next().expect("an id");
        let begun = ledger
            .lines()
            .find(|line| line.starts_with(&format!("begin {id} ")));
        let script = alive
            .iter()
            .find(|(script, _)| told.contains(&format!("worker of {script} ")));
        if let (Some(begun), Some((script, generation))) = (begun, script) {
            let died = begun.rsplit(' ').next() != Some(generation);
            assert!(died, "{script} {generation} lives: {begun}: {told}");
        }
    }
}
