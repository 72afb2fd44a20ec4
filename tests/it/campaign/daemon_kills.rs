//! FI-1: the daemon is killed at random instants, under load, and started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::{self, Log, StopAtEnd, USUAL};
use super::scripts::SCRIPTS;
use super::{Random, Times, scripts, seed, settle};
use crate::harness::{Daemon, Home, Line, long, rounds, wait_until, wait_until_within};

/// A killed daemon's workers finish what they run, write it down, and leave within this time.
const ORPHANS: Duration = Duration::from_secs(10);

/// The next daemon answers within this time, ninety-nine times of a hundred.
const READY: Duration = Duration::from_millis(500);

/// Starts a daemon and waits for its first answer; says how long that took.
pub(super) fn start(home: &Home) -> (Daemon<'_>, Duration) {
    let begun = Instant::now();
    let daemon = Daemon::spawn(home);
    wait_until("the daemon answers", || answers(home));
    (daemon, begun.elapsed())
}

fn answers(home: &Home) -> bool {
    Line::try_connect(&home.socket()).is_ok_and(|mut line| {
        line.send("ping");
        line.next_line()
            .is_some_and(|line| line.starts_with("pong "))
    })
}

fn serve(home: &Home) -> bool {
    let status = home.status();
    let scripts = status["scripts"].as_array();
    scripts.is_some_and(|scripts| {
        scripts.len() == SCRIPTS.len() && scripts.iter().all(|script| script["state"] == "ready")
    })
}

/// Only the workers of this daemon are left: one for each script.
pub(super) fn wait_no_orphans(home: &Home, daemon: &Daemon<'_>) {
    wait_until_within(ORPHANS, "the workers of dead daemons have left", || {
        let parents = home.processes().into_iter().filter(|process| {
            process.arguments.contains(" worker ") && process.parent() != Some(daemon.pid())
        });
        parents.count() == 0
    });
}

// FI-1, R-007, R-008, R-038, S-05
#[test]
fn a_daemon_killed_at_any_instant_loses_nothing_and_repeats_nothing() {
    let name = "FI-1";
    let seed = seed(name);
    let (home, log, mut random) = (scripts::home(), Arc::new(Log::default()), Random(seed));
    let mut ready = Times::default();
    let kills = rounds(50, 1_000);
    let begun = Instant::now();
    std::thread::scope(|threads| {
        let stop = StopAtEnd(&log);
        let load = threads.spawn(|| load::run(USUAL, &home, seed, &log));
        for round in 0..kills {
            let (daemon, took) = start(&home);
            ready.push(took);
            // Every second one lives long enough to have work in its hands.
            if round % 2 == 1 {
                wait_until("every script serves", || serve(&home));
            }
            std::thread::sleep(Duration::from_millis(random.below(300)));
            daemon.kill();
        }
        let (daemon, _) = start(&home);
        drop(stop);
        load.join().expect("the clients end");
        wait_no_orphans(&home, &daemon);
        eprintln!(
            "{name}: {kills} kills in {:.1} s; the next daemon answers: {ready}",
            begun.elapsed().as_secs_f32()
        );
        settle(name, &home, &log.text(), false);
    });
    // A busy machine is no fault of the daemon's: the figure counts where nothing else runs.
    let (share, limit) = if long() { (99, READY) } else { (50, READY * 4) };
    assert!(ready.percentile(share) < limit, "{ready}");
    assert!(log.ended() > kills, "next to nothing was asked");
}

const DEPLOYER: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("deploy", function()
  local ledger = assert(io.open(moonkeep.state_dir .. "/ledger", "a"))
  ledger:write("deployed\n")
  ledger:close()
  moonkeep.sleep(0.2)
end)
"#;

// R-008: exactly once from a shell, before there is a daemon and while it is killed.
#[test]
fn the_script_of_the_reliability_page_deploys_once() {
    let page = include_str!("../../../docs/reliability.md");
    let (_, rest) = page.split_once("```sh\n").expect("a script");
    let (script, _) = rest.split_once("```").expect("its end");
    let home = Home::new()
        .script("deployer.lua", DEPLOYER)
        .executable("../deploy", script);
    let folder = std::path::Path::new(crate::harness::BINARY).parent();
    let path = format!(
        "{}:{}",
        folder.expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let deploy = home
        .program(&home.path("deploy"))
        .env("PATH", path)
        .into_command()
        .spawn();
    let mut deploy = deploy.expect("sh is everywhere");
    let deployed = || std::fs::read_to_string(home.path("state/scripts/deployer/ledger"));
    let (daemon, _) = start(&home);
    wait_until("it has begun", || deployed().is_ok());
    daemon.kill();
    let (_daemon, _) = start(&home);
    let status = deploy.wait().expect("our own child");
    assert!(status.success(), "{status}");
    assert_eq!(deployed().expect("a ledger"), "deployed\n");
    assert!(!home.path("deploy.id").exists());
}
