//! Executables in their worker: text encoding, ExaBGP's scripts, the legacy protocol.

use serde_json::json;

use crate::harness::{Home, installed, wait_until};

/// The report's script, but for its imports' order.
const API_HEALTH: &str = r#"#!/usr/bin/env python3
import sys, time

def send(command):
    sys.stdout.write(command + '\n')
    sys.stdout.flush()

def read_line():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return line.rstrip('\n')

send('ping')
pong = read_line()
if not pong.startswith('pong '):
    sys.stderr.write('FAIL: ' + pong + '\n')
    sys.exit(1)
uuid = pong.split()[1]
if read_line() != 'done':
    sys.exit(1)

send('status')
lines = []
while True:
    line = read_line()
    if line == 'done':
        break
    lines.append(line)
text = '\n'.join(lines)
if uuid not in text or 'PID' not in text:
    sys.stderr.write('FAIL: ' + text + '\n')
    sys.exit(1)
sys.stderr.write('SUCCESS: Health monitoring commands working\n')
sys.stderr.flush()
while True:
    time.sleep(1)
"#;

// R-037
#[test]
fn the_reports_python_script_says_success() {
    if !installed("python3", "the_reports_python_script_says_success") {
        return;
    }
    let home = Home::new()
        .executable("api-health.run", API_HEALTH)
        .config("[script.api-health]\nstop_timeout = \"200ms\"\n");
    let _daemon = home.up();
    wait_until("SUCCESS in its log", || {
        home.run(&["logs", "api-health"])
            .ok()
            .contains("SUCCESS: Health monitoring commands working")
    });
    assert_eq!(home.script_status("api-health")["state"], "ready");
}

// R-002, ExaBGP's .run scripts: commands of their own, acknowledgements, comments, shutdown.
#[test]
fn a_shell_script_asks_what_exabgps_scripts_ask() {
    let home = Home::new().executable(
        "old.run",
        r#"#!/bin/sh
ask() {
  echo "$1"
  while read -r line; do
    echo "$1 -> $line" >&2
    case $line in done | error) return ;; esac
  done
  exit 0
}
ask 'version'
ask 'session ping'
ask '# a comment'
ask 'peer list'
ask 'show neighbor json'
ask 'nonsense'
echo 'disable-ack'
read -r line
ask2() { echo "$1"; read -r line; echo "$1 -> $line" >&2; }
ask2 'session ping'
echo ALL-ASKED >&2
while read -r line; do [ "$line" = shutdown ] && exit 0; done
"#,
    );
    let daemon = home.up();
    wait_until("everything is asked", || {
        home.run(&["logs", "old"]).ok().contains("ALL-ASKED")
    });
    let log = home.run(&["logs", "old"]).ok();
    for expected in [
        "session ping -> pong ",
        "# a comment -> done",
        "peer list -> done",
        "nonsense -> error",
    ] {
        assert!(log.contains(expected), "{expected:?} in:\n{log}");
    }
    drop(daemon);
}

#[test]
fn an_executable_answers_in_text_and_in_json_and_without_ids() {
    let home = Home::new()
        .executable(
            "text.run",
            "#!/bin/sh\nwhile read -r line; do id=${line##* }; echo \"got ${line% *} $id\"; echo \"done $id\"; done\n",
        )
        .executable(
            "legacy.run",
            "#!/bin/sh\nwhile read -r line; do [ \"$line\" = fail ] && { echo 'error: no'; echo error; continue; }; echo \"got $line\"; echo done; done\n",
        )
        .config("[script.legacy]\nprotocol = \"legacy\"\n");
    let _daemon = home.up();
    let mut line = home.connect();
    assert_eq!(
        line.call("text", "greet", json!({ "name": "Ada L" })),
        "got call text greet name=\"Ada L\""
    );
    assert_eq!(
        line.call("legacy", "greet", json!({ "n": 1 })),
        "got greet n:=1"
    );
    let failed = line.try_call("legacy", "fail", json!({}));
    assert_eq!(failed["status"], "error", "{failed}");
    assert_eq!(line.call("legacy", "again", json!({})), "got again");
}

// T17, R-004: a script that answers tickets that it does not hold reaches nobody.
#[test]
fn a_script_that_forges_tickets_reaches_nobody() {
    let home = Home::new()
        .executable(
            "forger.run",
            r#"#!/bin/sh
while :; do
  for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do
    echo "FORGED request_id=@$n"
    echo "done request_id=@$n"
    echo "{\"request_id\":\"@$n\",\"status\":\"ok\",\"result\":\"FORGED\"}"
  done
  sleep 0.01
done
"#,
        )
        .script(
            "honest.lua",
            "local moonkeep = require 'moonkeep'\n\
             moonkeep.handle('slow', function(r) moonkeep.sleep(0.05) return r.params.n end)\n",
        )
        .config("[script.forger]\nstop_timeout = \"200ms\"\n");
    let _daemon = home.up();
    let mut line = home.connect();
    for n in 0..10 {
        assert_eq!(line.call("honest", "slow", json!({ "n": n })), n);
    }
}
