//! Health checks in the daemon, with real plugins, listeners, kills and restarts.

mod cost;
mod hostile;
mod restarts;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Home, Line, wait_for, wait_until};

/// One check as `checks` shows it; `None`: there is none of that name.
pub(super) fn look(line: &mut Line, name: &str) -> Option<Value> {
    let end = line.end_of(json!({ "command": "checks", "words": [name] }));
    let checks = end["result"]["checks"].as_array()?;
    checks.iter().find(|check| check["name"] == name).cloned()
}

/// Waits until a check is as it should be, and gives it.
#[track_caller]
pub(super) fn until(
    line: &mut Line,
    name: &str,
    what: &str,
    mut holds: impl FnMut(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let found = wait_for(&format!("{name}: {what}"), || {
        std::thread::sleep(Duration::from_millis(10));
        last = look(line, name)?;
        holds(&last).then(|| last.clone())
    });
    drop(last);
    found
}

#[track_caller]
pub(super) fn until_confirmed(line: &mut Line, name: &str, state: &str) -> Value {
    until(line, name, state, |check| check["confirmed"] == state)
}

/// A worker's entry among the plugins of `status`.
#[track_caller]
pub(super) fn plugin(home: &Home, name: &str) -> Value {
    let status = home.status();
    let plugins = status["plugins"].as_array().expect("a list of plugins");
    let found = plugins.iter().find(|plugin| plugin["name"] == name);
    found
        .cloned()
        .unwrap_or_else(|| panic!("no {name}: {status}"))
}

/// A listener that nobody accepts from: the kernel connects.
fn listen(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).expect("a free port")
}

/// The alerts that the hook of [`alerting`] has written.
fn alerts(home: &Home) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path("alerts")).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).expect("each alert is a line of JSON"))
        .collect()
}

/// A hook that writes each alert down in a line.
const ALERTING: &str = "[alert.log]\nexec = [\"/bin/sh\", \"-c\", \"cat >> alerts\"]\n";

#[test]
fn a_listener_that_is_killed_is_critical_after_fall_its_children_raise_nothing_and_two_alerts_go_out()
 {
    let listener = listen("127.0.0.1:0".parse().expect("an address"));
    let address = listener.local_addr().expect("bound");
    let section = |name: &str, needs: &str| {
        format!(
            "[check.{name}]\nplugin = \"tcp\"\naddress = \"{address}\"\nevery = \"300ms\"\nretry_every = \"100ms\"\n\
             timeout = \"2s\"\nfall = 3\nrise = 2\n{needs}\n"
        )
    };
    let needs = "needs = [\"listener\"]";
    let config = [
        ALERTING.to_owned(),
        section("listener", ""),
        section("one", needs),
        section("two", needs),
    ];
    let home = Home::new().config(&config.concat());
    let _daemon = home.up();
    let mut line = home.connect();
    for name in ["listener", "one", "two"] {
        until_confirmed(&mut line, name, "ok");
    }
    drop(listener);
    let fallen = until_confirmed(&mut line, "listener", "critical");
    let history = fallen["history"].as_array().expect("a history");
    let bad = history
        .iter()
        .rev()
        .take_while(|state| **state == "critical");
    assert!(bad.count() >= 3, "not before fall: {fallen}");
    for name in ["one", "two"] {
        let child = until_confirmed(&mut line, name, "critical");
        assert_eq!(child["quiet"], "parent listener", "{child}");
    }
    wait_until("the alert has arrived", || alerts(&home).len() == 1);
    let listener = listen(address);
    for name in ["listener", "one", "two"] {
        until_confirmed(&mut line, name, "ok");
    }
    wait_until("the recovery has arrived", || alerts(&home).len() == 2);
    // Every check once more: whatever else there was to be told is under way by then.
    let end = line.end_of(json!({ "command": "check", "words": [] }));
    assert_eq!(end["status"], "ok", "{end}");
    let told: Vec<(String, String)> = alerts(&home)
        .iter()
        .map(|alert| (alert["check"].to_string(), alert["kind"].to_string()))
        .collect();
    let told: Vec<(&str, &str)> = told
        .iter()
        .map(|(check, kind)| (check.trim_matches('"'), kind.trim_matches('"')))
        .collect();
    assert_eq!(told, [("listener", "problem"), ("listener", "recovery")]);
    drop(listener);
}

fn counting(revision: u32, name: &str) -> String {
    format!(
        "check('{name}', {{ every = '100ms', retry_every = '100ms' }}, function(c)\n\
         c.state.n = (c.state.n or 0) + 1\nreturn 'revision {revision} run ' .. c.state.n\nend)\n"
    )
}

fn run_of(check: &Value) -> (u64, u64) {
    let message = check["message"].as_str().expect("a message");
    let numbers: Vec<u64> = message
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_saved_plugin_serves_keeps_what_its_checks_remember_and_no_run_is_lost() {
    let home = Home::new()
        .file("plugins/count.lua", &counting(1, "count"))
        .file("plugins/other.lua", &counting(1, "other"))
        .config("[check.count]\ntags = [\"a\"]\n");
    let _daemon = home.up();
    let mut line = home.connect();
    let enough = |check: &Value| check["runs"][0].as_u64() > Some(5);
    let before = until(&mut line, "count", "some runs", enough);
    let (_, runs) = run_of(&before);
    home.replace("plugins/count.lua", &counting(2, "count"));
    let after = until(&mut line, "count", "the new code", |check| {
        run_of(check).0 == 2
    });
    assert!(run_of(&after).1 > runs, "it remembers: {before}, {after}");
    // A broken file replaces nothing.
    home.write("plugins/count.lua", "check('count', function(");
    wait_until("the error is shown", || {
        plugin(&home, "@count")["last_error"].is_string()
    });
    let counted = look(&mut line, "count").expect("it is there")["runs"][0].as_u64();
    until(&mut line, "count", "it goes on", |check| {
        check["runs"][0].as_u64() > counted
    });
    home.write("plugins/count.lua", &counting(3, "count"));
    until(&mut line, "count", "the newest code", |check| {
        run_of(check).0 == 3
    });
    // A section of one plugin reloads that one.
    home.write("moonkeep.toml", "[check.count]\ntags = [\"b\"]\n");
    until(&mut line, "count", "its section", |check| {
        check["tags"] == json!(["b"])
    });
    let end = look(&mut line, "count").expect("it is there");
    let others = [1, 2, 3].map(|state: usize| end["runs"][state].as_u64());
    assert_eq!(others, [Some(0); 3], "every run has ended well: {end}");
    assert_eq!(
        plugin(&home, "@other")["generation"],
        1,
        "the other is left alone"
    );
    home.remove("plugins/other.lua");
    wait_until("its check is gone", || look(&mut line, "other").is_none());
}

#[test]
fn a_home_without_plugins_has_no_worker_for_them_and_keeps_nothing() {
    let home = Home::new();
    let daemon = home.up();
    assert_eq!(home.status()["plugins"], json!([]));
    assert_eq!(home.connect().command("checks")["checks"], json!([]));
    assert!(daemon.stop().success());
    assert!(!home.path("state/checks.db").exists());
}

#[test]
fn a_plugin_worker_is_started_stopped_logged_and_confined_as_a_script_is() {
    let free = "print('hello from the top')\ncheck('free', { every = '1h' }, function() end)\n";
    let confined = "-- /// moonkeep\n-- allow.net = [\"127.0.0.1:1\"]\n-- ///\n\
                    check('confined', { every = '1h' }, function(c) io.open('/etc/hostname'):close() end)\n";
    let home = Home::new()
        .file("plugins/free.lua", free)
        .file("plugins/confined.lua", confined)
        .script(
            "nosy.lua",
            "local moonkeep = require 'moonkeep'\nmoonkeep.handle('ask', function() return moonkeep.call('@free', 'free') end)\n",
        );
    let _daemon = home.up();
    let mut line = home.connect();
    for name in ["@free", "@confined"] {
        wait_until(name, || plugin(&home, name)["state"] == "ready");
    }
    assert_eq!(plugin(&home, "@free")["sandbox"]["level"], "off");
    assert_ne!(plugin(&home, "@confined")["sandbox"]["level"], "off");
    let end = line.end_of(json!({ "command": "check", "words": ["confined"] }));
    let state = until(&mut line, "confined", "it has run", |check| {
        !check["last"].is_null()
    });
    assert_ne!(state["last"], "ok", "it may not read that: {end}");
    let refused = line.try_call("nosy", "ask", json!({}));
    assert!(refused.to_string().contains("denied"), "{refused}");
    assert_eq!(line.call("@free", "free", json!({}))["state"], "ok");
    wait_until("its log", || {
        let logs = home.run(&["logs", "@free"]);
        logs.stdout.contains("hello from the top")
    });
    let done = line.end_of(json!({ "command": "stop", "script": "@free" }));
    assert_eq!(done["status"], "ok", "{done}");
    assert_eq!(look(&mut line, "free"), None, "its checks went with it");
    let done = line.end_of(json!({ "command": "start", "script": "@free" }));
    assert_eq!(done["status"], "ok", "{done}");
    until(&mut line, "free", "it is back", |_| true);
}
