//! Promises that concern the whole house: what stays answered, what stays apart, what belongs to whom.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::{BINARY, Home, wait_for, wait_until};

const SLOW: &str = r#"-- /// moonkeep
-- concurrency = 4
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("wait", function(request) moonkeep.sleep(60) end)
"#;

// R-020, R-038, R-127: what the daemon knows itself it says at once, however busy the scripts are.
#[test]
fn ping_and_status_are_answered_while_every_slot_is_taken() {
    let home = Home::new().script("slow.lua", SLOW);
    let _daemon = home.up();
    let mut busy = home.connect();
    for number in 0..20 {
        busy.send_json(&json!({
            "request_id": number, "command": "call", "script": "slow", "handler": "wait",
            "params": { "number": number },
        }));
    }
    let script = wait_for("the slots are taken", || {
        let script = home.script_status("slow");
        (script["in_flight"] == 4).then_some(script)
    });
    assert_eq!(script["queued"], 16, "{script}");
    let mut client = home.connect();
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.command("ping")["active"], true);
        assert_eq!(client.command("status")["scripts"][0]["generation"], 1);
    }
    let each = begun.elapsed() / 400;
    assert!(each < Duration::from_millis(20), "{each:?} for each");
}

const NAMED: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("generation", function() return moonkeep.generation end, { delivery = "query" })
"#;

// S-13
#[test]
fn a_setting_of_one_script_leaves_its_neighbours_alone() {
    let home = Home::new().script("a.lua", NAMED).script("b.lua", NAMED);
    let _daemon = home.up();
    let mut client = home.connect();
    home.replace("moonkeep.toml", "[script.a]\nconcurrency = 3\n");
    wait_until("a runs with its new setting", || {
        client.call("a", "generation", json!({})) == 2
    });
    assert_eq!(client.call("b", "generation", json!({})), 1);
}

// S-14
#[test]
fn a_script_may_run_a_command_line_that_calls_the_script() {
    let script = format!(
        r#"
local moonkeep = require "moonkeep"
local process = require "moonkeep.process"
moonkeep.handle("inner", function() return "inside" end)
moonkeep.handle("outer", function()
  return process.run({{ "{BINARY}", "call", "self", "inner" }}, {{ timeout = "20s", env = {{ XDG_RUNTIME_DIR = os.getenv "RUNTIME" }} }}).stdout
end)
"#
    );
    let home = Home::new().script("self.lua", &script);
    let runtime = home.runtime();
    let base = runtime
        .ancestors()
        .nth(2)
        .expect("the runtime folder lies two deep");
    home.write(
        "moonkeep.toml",
        &format!(
            "[script.self]\nallow.run = [\"{BINARY}\"]\nallow.unix = [\"*\"]\nenv = {{ RUNTIME = \"{}\" }}\n",
            base.display()
        ),
    );
    let _daemon = home.up();
    assert_eq!(home.connect().call("self", "outer", json!({})), "inside\n");
}

fn ticking(version: u32) -> String {
    format!(
        r#"
local moonkeep = require "moonkeep"
moonkeep.handle("version", function() return {version} end, {{ delivery = "query" }})
moonkeep.every("20ms", function() moonkeep.emit("tick", {{ version = {version} }}) end)
"#
    )
}

// S-15
#[test]
fn timers_end_with_their_generation() {
    let home = Home::new().script("ticker.lua", &ticking(1));
    let _daemon = home.up();
    let mut listener = home.connect();
    listener.send(r#"{"request_id":"e","command":"events","pattern":"tick"}"#);
    let version = |line: &Value| line["part"]["data"]["version"].as_u64();
    assert_eq!(version(&listener.recv_json()), Some(1));
    home.replace("scripts/ticker.lua", &ticking(2));
    wait_until("only the new generation is there", || {
        home.connect().call("ticker", "version", json!({})) == 2
            && home
                .processes()
                .iter()
                .filter(|one| one.arguments.contains(" worker "))
                .count()
                == 1
    });
    wait_until("the new generation ticks", || {
        version(&listener.recv_json()) == Some(2)
    });
    // What the old one had said before it left has arrived by now.
    for _ in 0..20 {
        assert_eq!(version(&listener.recv_json()), Some(2));
    }
}

const ECHO: &str = r#"-- /// moonkeep
-- concurrency = 64
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request) return request.params end)
"#;

// R-091, R-030
// R-147 case 4.2
#[test]
fn many_large_answers_all_arrive_whole() {
    const COUNT: usize = 4_000;
    const AT_ONCE: usize = 500;
    let home = Home::new().script("echo.lua", ECHO);
    let _daemon = home.up();
    let mut client = home.connect();
    let mut left: BTreeSet<usize> = (0..COUNT).collect();
    for batch in 0..COUNT / AT_ONCE {
        for number in batch * AT_ONCE..(batch + 1) * AT_ONCE {
            let params = format!("{number:01024}");
            client.send_json(&json!({
                "request_id": number, "command": "call", "script": "echo", "handler": "echo",
                "params": params,
            }));
        }
        for _ in 0..AT_ONCE {
            let line = client.recv_json();
            let number = line["request_id"].as_u64().expect("an id as it was sent");
            assert_eq!(line["result"], format!("{number:01024}"));
            assert!(
                left.remove(&usize::try_from(number).expect("small")),
                "twice: {number}"
            );
        }
    }
    assert_eq!(left, BTreeSet::new());
}

// R-009
#[test]
fn minted_ids_differ_and_rise() {
    let ids: Vec<uuid::Uuid> = (0..100_000).map(|_| uuid::Uuid::now_v7()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
}

// R-011, R-023
#[test]
fn every_sign_of_life_names_the_same_daemon() {
    let home = Home::new();
    let _daemon = home.up();
    let mut client = home.connect();
    let text = client.ask("ping");
    let uuid = text[0].split(' ').nth(1).expect("pong UUID").to_owned();
    assert_eq!(text, [format!("pong {uuid} active=true"), "done".into()]);
    assert_eq!(
        client.command("ping"),
        json!({ "pong": uuid, "active": true })
    );
    let status = client.ask("status");
    assert!(status.contains(&format!("UUID: {uuid}")), "{status:?}");
    assert_eq!(home.status()["uuid"], uuid.as_str());
}
