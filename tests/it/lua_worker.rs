//! Lua scripts in their worker: handlers, limits, errors, the core API.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::worker::{self, Worker};
use crate::harness::{Home, wait_until};

// FI-15
#[test]
fn a_worker_runs_nothing_of_a_file_that_is_not_what_the_daemon_saw() {
    let text = "require('moonkeep').handle('x', function() end) print 'it ran'";
    let home = Home::new().script("s.lua", text);
    for (content, runs) in [(text, true), ("", false), ("print 'another'", false)] {
        let mut setup = worker::setup(&home, "s.lua");
        setup.outcomes = home.path(&format!("state/outcomes/s.1.{}", content.len()));
        setup.content = Some(blake3::hash(content.as_bytes()).to_hex().to_string());
        let mut worker = Worker::spawn(&home, setup);
        if runs {
            worker.await_ready();
            worker.kill();
            continue;
        }
        // What it read is told too: the daemon compares it with what it finds then.
        let loaded = worker.hear(|line| line["command"] == "loaded");
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        assert_eq!(loaded["files"][0]["hash"], hash, "{loaded}");
        worker.hear(|line| line["command"] == "outdated");
        assert_eq!(worker.wait().code(), Some(1));
        assert!(!worker.log().contains("it ran"), "{}", worker.log());
    }
}

const RUNAWAYS: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("fine", function() return "fine" end)
moonkeep.handle("spin", function() while true do pcall(function() while true do end end) end end, { timeout = "300ms" })
moonkeep.handle("bomb", function() local t = {} for i = 1, math.huge do t[i] = ("x"):rep(1e5) .. i end end)
moonkeep.handle("recurse", function() local function f() return 1 + f() end return f() end)
moonkeep.handle("match", function() return (("a"):rep(60)):find(("a*"):rep(60) .. "b") end)
"#;

// FI-17, R-038: each ends with an error within its limits, the daemon answers meanwhile, the script serves again.
#[test]
fn a_runaway_handler_ends_with_an_error_and_the_script_serves_again() {
    let home = Home::new().script("run.lua", RUNAWAYS);
    let _daemon = home.up();
    for (handler, timeout, says) in [
        ("spin", 20, "scripts/run.lua:4: "),
        ("bomb", 20, "not enough memory"),
        // The stack's own limit or the memory's, whichever is first.
        ("recurse", 20, ""),
        ("match", 1, ""),
    ] {
        let mut asking = home.connect();
        asking.send_json(&json!({
            "request_id": "1", "command": "call", "script": "run", "handler": handler, "timeout": timeout,
        }));
        let mut pinging = home.connect();
        for _ in 0..5 {
            let start = Instant::now();
            assert!(pinging.ask("ping")[0].starts_with("pong "));
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "ping while {handler} ran"
            );
        }
        let answer = asking.recv_json();
        assert_eq!(answer["status"], "error", "{handler}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{handler}: {answer}");
        wait_until("the script serves again", || {
            home.connect().try_call("run", "fine", json!({}))["result"] == "fine"
        });
    }
}

// S-14: a script calls a script, and itself; a refusal is an error with its code.
#[test]
fn a_script_calls_a_script() {
    let home = Home::new()
        .script(
            "front.lua",
            r#"
            local moonkeep = require "moonkeep"
            moonkeep.handle("twice", function(r) return moonkeep.call("back", "double", { n = r.params.n }) end)
            moonkeep.handle("self", function() return moonkeep.call("front", "twice", { n = 4 }) end)
            moonkeep.handle("wrong", function()
              local ok, problem = pcall(moonkeep.call, "back", "duble")
              return { ok = ok, code = problem.code, text = tostring(problem) }
            end)"#,
        )
        .script(
            "back.lua",
            r#"
            local moonkeep = require "moonkeep"
            moonkeep.handle("double", function(r) return r.params.n * 2 end)"#,
        );
    let _daemon = home.up();
    let mut line = home.connect();
    assert_eq!(line.call("front", "twice", json!({ "n": 21 })), 42);
    assert_eq!(line.call("front", "self", json!({})), 8);
    let wrong = line.call("front", "wrong", json!({}));
    assert_eq!(wrong["ok"], false);
    assert_eq!(wrong["code"], "unknown_handler");
    assert!(
        wrong["text"]
            .as_str()
            .is_some_and(|text| text.contains("double")),
        "{wrong}"
    );
}

#[test]
fn events_timers_and_tasks_of_a_script_work_together() {
    let home = Home::new()
        .script(
            "teller.lua",
            r#"
            local moonkeep = require "moonkeep"
            moonkeep.every("20ms", function() moonkeep.emit("tick.fast", { at = os.time() }) end)"#,
        )
        .script(
            "hearer.lua",
            r#"
            local moonkeep = require "moonkeep"
            local heard, from, crons, late = 0, nil, 0, false
            moonkeep.on("tick.*", function(event) heard = heard + 1 from = event.from end)
            moonkeep.cron("* * * * * *", function() crons = crons + 1 end)
            moonkeep.after("10ms", function() late = true end)
            moonkeep.handle("facts", function()
              local task = moonkeep.spawn(function(n) moonkeep.sleep("5ms") return n + 1 end, 1)
              local stopped = moonkeep.spawn(function() moonkeep.sleep(60) end)
              stopped:cancel()
              local ok, problem = pcall(stopped.wait, stopped)
              return { heard = heard, from = from, crons = crons, late = late, task = task:wait(), ok = ok }
            end)"#,
        );
    let _daemon = home.up();
    let mut line = home.connect();
    wait_until("events, a cron and a timer", || {
        let facts = line.call("hearer", "facts", json!({}));
        assert_eq!(facts["task"], 2);
        assert_eq!(facts["ok"], false);
        facts["heard"].as_u64() > Some(2)
            && facts["from"] == "teller"
            && facts["crons"].as_u64() > Some(0)
            && facts["late"] == true
    });
}

// R-037: the Lua port of the report's script, which loops over io at its top level.
#[test]
fn a_script_over_plain_io_says_success() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scripts/api-health.lua"
    ))
    .expect("stock");
    let home = Home::new().script("api-health.lua", &text);
    let _daemon = home.up();
    wait_until("SUCCESS in its log", || {
        home.run(&["logs", "api-health"])
            .ok()
            .contains("SUCCESS: Health monitoring commands working")
    });
}

#[test]
fn a_waiting_handler_can_be_cancelled_and_cleans_up() {
    let home = Home::new().script(
        "slow.lua",
        r#"
        local moonkeep = require "moonkeep"
        local closed = 0
        moonkeep.handle("wait", function()
          local guard <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
          moonkeep.sleep(60)
        end)
        moonkeep.handle("closed", function() return closed end)"#,
    );
    let _daemon = home.up();
    let mut line = home.connect();
    line.send_json(
        &json!({ "request_id": "w", "command": "call", "script": "slow", "handler": "wait" }),
    );
    wait_until("it runs", || home.script_status("slow")["in_flight"] == 1);
    let mut other = home.connect();
    line.send_json(&json!({ "request_id": "c", "command": "cancel", "target": "w" }));
    let ends = [line.recv_json(), line.recv_json()];
    let waiting = ends
        .iter()
        .find(|end| end["request_id"] == "w")
        .expect("an end");
    // What has begun is never told as cancelled: only what never ran is.
    assert_eq!(waiting["error"]["code"], "script_error", "{waiting}");
    let told = waiting["error"]["message"].as_str().unwrap_or_default();
    assert!(told.contains("a part of it may have happened"), "{waiting}");
    wait_until("its variable is closed", || {
        other.call("slow", "closed", json!({})) == 1
    });
}
