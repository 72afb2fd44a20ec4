//! Scripts that turn against their own daemon: its socket, its protocol, other scripts.

use serde_json::{Value, json};

use crate::harness::{BINARY, Home, wait_until};

const VICTIM: &str = "require('moonkeep').handle('h', function() return 1 end)\n";

/// Speaks to the daemon's socket with Python, from a process below the script, which tries to lose its trace.
const ATTACKER: &str = r#"#!/usr/bin/env python3
import os, socket, sys
if len(sys.argv) > 1 and sys.argv[1] == 'detach':
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    os.environ.clear()
path = os.environ.get('MOONKEEP_SOCKET') or sys.argv[2]
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect(path)
s.settimeout(20)
said = b''
for command in [b'ping', b'stop victim', b'shutdown', b'eval victim "1"', b'restart', b'reload', b'list']:
    s.sendall(command + b'\n')
    while True:
        line = b''
        while not line.endswith(b'\n'):
            piece = s.recv(1)
            if not piece: break
            line += piece
        said += line
        if line in (b'', b'done\n', b'error\n'): break
open(sys.argv[3], 'wb').write(said)
"#;

fn five_refused(said: &str) {
    let denied = said
        .lines()
        .filter(|line| line.starts_with("error: denied: "))
        .count();
    assert_eq!(denied, 5, "{said}");
    assert!(said.starts_with("pong "), "{said}");
    assert!(said.contains("victim ready"), "{said}");
}

// T16
#[test]
fn a_scripts_program_may_ask_but_not_control_however_it_detaches() {
    if !crate::harness::installed("python3", "a_scripts_program_may_ask") {
        return;
    }
    for detach in ["stay", "detach"] {
        let home = Home::new().script("victim.lua", VICTIM);
        let attack = home.write("attack.py", ATTACKER);
        let out = home.path(&format!("{detach}.out"));
        let (attack, socket) = (attack.display(), home.socket());
        let run = format!(
            "exec python3 '{attack}' {detach} '{}' '{}'",
            socket.display(),
            out.display()
        );
        let home = home.executable("bad.run", &format!("#!/bin/sh\n{run} < /dev/null\n"));
        home.write(
            "moonkeep.toml",
            "[script.bad]\nrestart = \"never\"\nkeep_children = true\n",
        );
        let _daemon = home.up();
        wait_until("it has tried", || {
            out.metadata().is_ok_and(|facts| facts.len() > 0)
        });
        five_refused(&home.read(&format!("{detach}.out")));
        assert_eq!(home.script_status("victim")["state"], "ready");
    }
}

// T16: in both classes, by the socket and by its own pipe.
#[test]
fn a_confined_script_cannot_control_either() {
    let script = format!(
        r#"
local moonkeep, process = require "moonkeep", require "moonkeep.process"
moonkeep.handle("cli", function() return process.run({{ "{BINARY}", "stop", "victim" }}) end)
io.write("stop victim\n")
moonkeep.log.info("heard: " .. io.read())
"#
    );
    let home = Home::new()
        .script("victim.lua", VICTIM)
        .script("bad.lua", &script);
    home.write(
        "moonkeep.toml",
        &format!("[script.bad]\nallow.run = [{BINARY:?}]\nallow.unix = [\"*\"]\n"),
    );
    let daemon = home.up();
    wait_until("its pipe is answered", || {
        home.run(&["logs", "bad"]).ok().contains("heard: ")
    });
    assert!(
        home.run(&["logs", "bad"]).ok().contains("denied"),
        "{}",
        home.run(&["logs", "bad"]).ok()
    );
    let result: Value = home.connect().call("bad", "cli", json!({}));
    assert_ne!(result["code"], 0, "{result}");
    assert_eq!(home.script_status("victim")["state"], "ready");
    daemon.stop();
}

// T16: whoever is meant to may.
#[test]
fn a_script_that_is_allowed_to_controls() {
    let script = "local moonkeep = require 'moonkeep'\nio.write('stop victim\\n')\nio.read()\nmoonkeep.handle('h', function() return 1 end)\n";
    let home = Home::new()
        .script("victim.lua", VICTIM)
        .script("good.lua", script)
        .config("[script.good]\nallow_control = true\n");
    let _daemon = home.up();
    wait_until("the victim is stopped", || {
        home.script_status("victim")["state"] == "stopped"
    });
}
