//! The daemon and the simulator run the same engine: a recorded run replays to the same effects.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use moonkeep::daemon::transcript::{Entry, VARIABLE};
use moonkeep::engine::Engine;
use moonkeep::engine::alphabet::Effect;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Home, Line, kill, wait_until};

const SCRIPT: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("double", function(request) return request.params.n * 2 end)
moonkeep.handle("slow", function(request)
  request:part("begun")
  moonkeep.sleep(0.05)
  return "slow"
end)
moonkeep.handle("fails", function() error("on purpose") end)
"#;

#[test]
fn a_recorded_life_of_a_daemon_replays_to_the_same_effects_byte_for_byte() {
    let home = Home::new().script("work.lua", SCRIPT);
    let record = home.path("transcript");
    let mut daemon = home
        .moonkeep(&["up"])
        .env(VARIABLE, &record)
        .into_command()
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("it serves", || Line::try_connect(&home.socket()).is_ok());
    wait_until("the script is ready", || {
        home.status()["scripts"][0]["state"] == "ready"
    });
    live(&home);
    kill(i32::try_from(daemon.id()).expect("a pid"), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
    let effects = replay(&record);
    assert!(effects > 40, "only {effects} effects were recorded");
}

/// A bit of everything: calls, errors, text, garbage, a crash, a reload, somebody who leaves early.
fn live(home: &Home) {
    let mut line = home.connect();
    for n in 0..20 {
        assert_eq!(line.call("work", "double", json!({ "n": n })), n * 2);
    }
    line.call("work", "slow", json!({}));
    line.try_call("work", "fails", json!({}));
    line.try_call("nobody", "x", json!({}));
    line.ask("status");
    line.ask("no such command");
    line.send_bytes(b"{\"broken\n\xff\xfe\n");
    let mut early = home.connect();
    early.send(r#"{"request_id":1,"command":"call","script":"work","handler":"slow"}"#);
    drop(early);
    let pid = home.script_status("work")["pid"].as_i64().expect("a pid");
    kill(i32::try_from(pid).expect("a pid"), Signal::KILL);
    wait_until("it serves again", || {
        home.script_status("work")["generation"] == 2
            && home.script_status("work")["state"] == "ready"
    });
    home.replace("scripts/work.lua", &format!("{SCRIPT}\n-- changed\n"));
    wait_until("it has reloaded", || {
        home.script_status("work")["generation"] == 3
            && home.script_status("work")["state"] == "ready"
    });
}

/// Steps a fresh engine through the record; gives how many effects it compared.
fn replay(record: &Path) -> usize {
    let lines = BufReader::new(fs::File::open(record).expect("a record"))
        .lines()
        .map(|line| line.expect("UTF-8"));
    let mut engine = None;
    let mut wanted: Vec<Effect> = Vec::new();
    let mut compared = 0;
    for (number, line) in lines.enumerate() {
        let entry = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("line {}: {error}: {line}", number + 1));
        match entry {
            Entry::Identity { identity } => engine = Some(Engine::new(identity)),
            Entry::Input { at, input } => {
                assert!(
                    wanted.is_empty(),
                    "line {}: not done then: {wanted:?}",
                    number + 1
                );
                let engine = engine.as_mut().expect("the identity comes first");
                engine.handle(at, input);
                wanted.extend(std::iter::from_fn(|| engine.poll_effect()));
                wanted.reverse();
            }
            Entry::Effect { .. } => {
                let again = wanted.pop().expect("an effect that was wanted then");
                let again = serde_json::to_string(&Entry::Effect { effect: again });
                assert_eq!(again.expect("data"), line, "line {}", number + 1);
                compared += 1;
            }
        }
    }
    compared
}
