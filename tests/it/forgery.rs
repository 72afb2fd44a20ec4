//! Workers that write the protocol themselves: whatever they write, only their own askers hear it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Home, Line, rounds, wait_until};

/// A script that others ask, and that answers when it is told to.
const GOOD: &str = r#"-- /// moonkeep
-- concurrency = 64
-- ///
local moonkeep = require "moonkeep"
local open = false
moonkeep.handle("wait", function() while not open do moonkeep.sleep(0.01) end return "yours" end)
moonkeep.handle("open", function() open = true end)
"#;

/// Writes lines to the protocol with the ids and tickets of others; `LINES` of them, then says so in its log.
const FORGES: &str = r#"
local moonkeep = require "moonkeep"
math.randomseed(SEED)
local ids = { "victim-1", "victim-2", "victim-t", "7" }
local words = { "done", "error", "error: busy: forged", "forged", "pong forged", "\\done", "bye", "cancel victim-1", "events *", "ping", "call good wait", "" }
local tails = {
  '"status":"ok","result":"forged"', '"status":"part","part":"forged"', '"status":"error","error":{"code":"busy","message":"forged"}',
  '"command":"pong","beat":1', '"command":"listen","patterns":["*"]', '"command":"cancel","target":"victim-1"', '"command":"ping"',
}
local function pick(list) return list[math.random(#list)] end
local function id()
  if math.random(2) == 1 then return pick(ids) end
  return "@" .. math.random(0, 40)
end
moonkeep.handle("forge", function()
  for n = 1, LINES do
    if math.random(2) == 1 then
      io.write(pick(words), " request_id=", id(), "\n")
    else
      io.write('{"request_id":"', id(), '",', pick(tails), "}\n")
    end
    if n % 200 == 0 then io.stdout:flush() moonkeep.sleep(0.001) end
  end
  return "mine"
end)
"#;

/// The same from an executable, which owns its stdout.
const EXECUTABLE: &str = r#"#!/usr/bin/env python3
import random, sys
random.seed(SEED)
ids = ["victim-1", "victim-2", "victim-t", "7"]
words = ["done", "error", "error: busy: forged", "forged", "pong forged", "bye", "cancel victim-1", "ping", "\\done", "\xff\x00"]
for line in sys.stdin:
    if "forge" not in line:
        continue
    for n in range(LINES):
        name = random.choice(ids) if random.random() < .5 else "@%d" % random.randrange(40)
        if random.random() < .5:
            print(random.choice(words), "request_id=" + name)
        else:
            print('{"request_id":"%s","status":"ok","result":"forged"}' % name)
    print("mine", line.split()[-1])
    print("done", line.split()[-1], flush=True)
"#;

/// Those who wait for the good script, one of them in text, and one who only listens.
struct Victims(Vec<Line>);

impl Victims {
    fn new(home: &Home) -> Self {
        let mut lines: Vec<Line> = (0..4).map(|_| home.connect()).collect();
        for (number, line) in lines.iter_mut().take(2).enumerate() {
            line.send_json(&json!({
                "request_id": format!("victim-{}", number + 1), "command": "call", "script": "good", "handler": "wait",
                "params": { "number": number },
            }));
        }
        lines[2].send("call good wait request_id=victim-t");
        wait_until("they wait", || home.script_status("good")["in_flight"] == 3);
        Victims(lines)
    }

    fn assert_silent(&mut self) {
        for line in &mut self.0 {
            assert!(
                line.is_silent_for(Duration::from_millis(20)),
                "heard {:?}",
                line.recv()
            );
        }
    }

    fn assert_get_theirs(mut self) {
        for line in &mut self.0[..2] {
            let answer: Value = line.recv_json();
            assert_eq!(answer["result"], "yours", "{answer}");
        }
        assert_eq!(self.0[2].recv(), "yours request_id=victim-t");
        assert_eq!(self.0[2].recv(), "done request_id=victim-t");
        self.assert_silent();
    }
}

fn attacked_by(name: &str, source: &str) {
    let lines = rounds(10_000, 1_000_000);
    let source = source
        .replace("LINES", &lines.to_string())
        .replace("SEED", "17");
    let home = Home::new().script("good.lua", GOOD);
    let home = match name {
        "evil.lua" => home.script(name, &source),
        _ => home.executable(name, &source),
    };
    home.write("moonkeep.toml", "[script.evil]\ntimeout = \"10m\"\n");
    let daemon = home.up();
    let before = daemon.resident();
    let mut victims = Victims::new(&home);
    let mut own = home.connect();
    own.send_json(&json!({ "request_id": "own", "command": "call", "script": "evil", "handler": "forge", "timeout": 600 }));
    let end = loop {
        let line = own.recv_json();
        assert_eq!(line["request_id"], "own", "{line}");
        if line["status"] != "part" {
            break line;
        }
    };
    println!("{name}, {lines} lines: {end}");
    victims.assert_silent();
    assert_eq!(home.connect().command("ping")["active"], true);
    assert!(daemon.resident() < before + 64 * 1024 * 1024);
    home.connect().call("good", "open", json!({}));
    victims.assert_get_theirs();
}

// T17, R-004
#[test]
fn a_lua_script_that_writes_the_protocol_itself_reaches_its_own_askers_only() {
    attacked_by("evil.lua", FORGES);
}

// T17, R-004
#[test]
fn an_executable_that_writes_the_protocol_itself_reaches_its_own_askers_only() {
    attacked_by("evil", EXECUTABLE);
}
