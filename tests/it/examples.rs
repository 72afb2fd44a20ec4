//! The examples run as they stand: the stock scripts, the home that watches a log, the clients.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::harness::{BINARY, Home, Program, installed, wait_for, wait_until};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of a folder of the repository, copied into a home.
fn copied(mut home: Home, from: &Path, to: &str) -> Home {
    for entry in fs::read_dir(from)
        .expect("a folder of the repository")
        .flatten()
    {
        let name = format!("{to}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            home = copied(home, &entry.path(), &format!("{name}/"));
        } else {
            let text = fs::read_to_string(entry.path()).expect("a text file");
            home = home.file(&name, &text);
        }
    }
    home
}

/// A home with the scripts that the repository ships.
fn stock() -> Home {
    copied(Home::new(), &top().join("scripts"), "scripts/")
}

fn log_of(home: &Home, script: &str) -> String {
    fs::read_to_string(home.path(&format!("logs/scripts/{script}.log"))).unwrap_or_default()
}

#[test]
fn every_stock_script_is_ready_and_answers() {
    let home = stock();
    let _daemon = home.up();
    let status = home.status();
    for script in status["scripts"].as_array().expect("scripts") {
        assert_eq!(script["state"], "ready", "{script}");
    }
    let mut client = home.connect();
    assert_eq!(
        client.call("greeter", "greet", json!({ "name": "Ada" })),
        "hello Ada"
    );
    let params = json!({ "text": "hi", "list": [1, 2.5, null, true], "deep": { "a": [] } });
    assert_eq!(client.call("echo", "echo", params.clone()), params);
    assert!(client.call("clock", "now", json!({}))["unix"].is_i64());
    let parts = client.ask_json(json!({
        "command": "call", "script": "echo", "handler": "parts", "params": { "count": 2 },
    }));
    let parts: Vec<&Value> = parts.iter().map(|line| &line["part"]["number"]).collect();
    assert_eq!(parts, [&json!(1), &json!(2), &Value::Null]);
}

// a script that asks as well as answers, over plain lines.
#[test]
fn the_health_script_says_success_and_stays_alive() {
    let home = stock();
    let _daemon = home.up();
    wait_until("SUCCESS in its log", || {
        log_of(&home, "api-health").contains("SUCCESS: Health monitoring commands working")
    });
    let script = home.script_status("api-health");
    assert_eq!(
        (&script["state"], &script["restarts"]),
        (&json!("ready"), &json!(0))
    );
}

#[test]
fn the_counter_keeps_its_count_over_a_reload() {
    let home = stock();
    let _daemon = home.up();
    let mut client = home.connect();
    client.call("counter", "add", json!({ "by": 5 }));
    let text = home.read("scripts/counter.lua");
    home.replace("scripts/counter.lua", &format!("{text}\n-- saved again\n"));
    let value = wait_for("the new generation", || {
        let value = client.call("counter", "value", json!({}));
        (value["generation"] != 1).then_some(value)
    });
    assert_eq!(value["count"], 5);
}

#[test]
fn the_log_watcher_tells_of_new_trouble_once() {
    let home =
        copied(Home::new(), &top().join("examples/logwatch"), "").file("app.log", "old ERROR\n");
    let _daemon = home.up();
    let mut client = home.connect();
    wait_until("it watches", || {
        client.call("logwatch", "status", json!({}))["offset"] == "old ERROR\n".len()
    });
    let mut log = String::from("old ERROR\n");
    for line in ["all is well", "ERROR one", "ERROR two"] {
        log += &format!("{line}\n");
        home.write("app.log", &log);
    }
    wait_until("both lines are told", || {
        client.call("notify", "recent", json!({})) == json!(["ERROR one", "ERROR two"])
    });
    home.write("app.log", "ERROR after rotation\n");
    wait_until("a shorter file is read from its start", || {
        client.call("notify", "recent", json!({ "count": 1 })) == json!(["ERROR after rotation"])
    });
}

#[test]
fn the_check_of_the_log_watcher_counts_trouble() {
    let home = copied(Home::new(), &top().join("examples/logwatch"), "").file("app.log", "fine\n");
    let report = home.run(&["check", "logfile", "-f", "json"]).json();
    assert_eq!(report["state"], "ok", "{report}");
    home.write("app.log", "an ERROR\n");
    home.run(&["check", "logfile"]).expect_code(1);
    home.remove("app.log");
    home.run(&["check", "logfile"]).expect_code(2);
}

fn client(home: &Home, program: &str, arguments: &[&str]) -> Program {
    let path: PathBuf = top().join("examples/clients").join(program);
    let socket = home.socket();
    let socket = socket.to_str().expect("a plain path");
    home.program(&path).args(&[&[socket], arguments].concat())
}

#[test]
fn the_python_client_gets_answers_and_errors() {
    if !installed("python3", "the_python_client_gets_answers_and_errors") {
        return;
    }
    let home = stock();
    let daemon = home.up();
    let run = |arguments: &[&str]| client(&home, "client.py", arguments).run();
    assert_eq!(run(&["greeter", "greet", "name=Ada"]).ok(), "hello Ada\n");
    run(&["greeter", "gret"])
        .expect_code(1)
        .expect_stderr("unknown_handler");
    daemon.stop();
}

#[test]
fn the_python_client_waits_for_a_daemon_that_is_restarted() {
    if !installed(
        "python3",
        "the_python_client_waits_for_a_daemon_that_is_restarted",
    ) {
        return;
    }
    let home = stock();
    let waiting = client(&home, "client.py", &["greeter", "greet", "name=late"]).spawn();
    let _daemon = home.up();
    let output = waiting.wait_with_output().expect("our own child");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello late\n");
}

/// `cargo test` builds the examples beside the binary under test; with `--test it` it does not.
#[test]
fn the_rust_client_gets_answers_and_errors() {
    let example = Path::new(BINARY).with_file_name("examples").join("client");
    if !example.is_file() {
        eprintln!(
            "skipped: {} is not built; run the whole of cargo test",
            example.display()
        );
        return;
    }
    let home = stock();
    let _daemon = home.up();
    let socket = home.socket();
    let socket = socket.to_str().expect("a plain path");
    let run = |words: &[&str]| {
        home.program(&example)
            .args(&[&[socket], words].concat())
            .run()
    };
    assert_eq!(run(&["greeter", "greet", "name=Ada"]).ok(), "hello Ada\n");
    run(&["greeter", "gret"])
        .expect_code(1)
        .expect_stderr("unknown_handler");
}

#[test]
fn the_shell_client_gets_answers_and_errors() {
    if !installed("nc", "the_shell_client_gets_answers_and_errors") {
        return;
    }
    let home = stock();
    let _daemon = home.up();
    let run = |arguments: &[&str]| client(&home, "client.sh", arguments).run();
    assert_eq!(
        run(&["greeter", "greet", "name=Ada \"L\""]).ok(),
        "hello Ada \"L\"\n"
    );
    run(&["greeter", "gret"])
        .expect_code(1)
        .expect_stderr("unknown_handler");
}
