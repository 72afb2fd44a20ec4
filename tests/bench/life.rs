//! The life of a daemon and of a script: start, one command, spawn, crash, save.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::harness::{Daemon, Home, Line, wait_for, wait_until};
use super::rows::{Row, Table, Target, median, milliseconds};

const ROUNDS: usize = 9;

/// What waiting for a save to settle costs by intention.
const SETTLE: Duration = moonkeep::limits::SETTLE;

fn answering(text: &str) -> String {
    format!(
        "local moonkeep = require \"moonkeep\"\n\
         moonkeep.handle(\"ask\", function() return \"{text}\" end, {{ delivery = \"query\" }})\n"
    )
}

/// The median of what `measure` gives in milliseconds.
fn rounds(mut measure: impl FnMut(usize) -> Duration) -> f64 {
    median(
        (0..ROUNDS)
            .map(|round| milliseconds(measure(round)))
            .collect(),
    )
}

fn row(table: &mut Table, what: &str, time: f64, floor: &str, most: f64) {
    table.row(&Row {
        what,
        figure: format!("{time:.2} ms"),
        floor: floor.to_owned(),
        value: time,
        target: Target::AtMost(most, "ms"),
    });
}

/// Tries until somebody listens; without a pause, since the pause would be measured too.
fn connect_at_once(socket: &Path) -> Line {
    let begun = Instant::now();
    loop {
        if let Ok(line) = Line::try_connect(socket) {
            return line;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody listens");
        std::thread::sleep(Duration::from_micros(100));
    }
}

pub(crate) fn start(table: &mut Table) {
    let time = rounds(|_| {
        let home = Home::new().script("a.lua", &answering("one"));
        let begun = Instant::now();
        let daemon = Daemon::spawn(&home);
        let mut client = connect_at_once(&home.socket());
        client.call("a", "ask", json!({}));
        let time = begun.elapsed();
        daemon.stop();
        time
    });
    row(
        table,
        "daemon: start to the first answered call",
        time,
        "",
        15.0,
    );

    let home = Home::new().script("a.lua", &answering("one"));
    let daemon = home.up();
    let time = rounds(|_| home.run(&["status"]).expect_code(0).took);
    let nothing = rounds(|_| home.program(Path::new("/bin/true")).run().took);
    let floor = format!("{nothing:.2} ms (`true`)");
    row(
        table,
        "one-shot `moonkeep status`, start to exit",
        time,
        &floor,
        3.0,
    );

    let mut client = home.connect();
    let time = rounds(|_| {
        client.end_of(json!({ "command": "stop", "script": "a" }));
        wait_until("it has stopped", || {
            home.script_status("a")["state"] == "stopped"
        });
        let begun = Instant::now();
        client.send(r#"{"request_id":"s","command":"start","script":"a"}"#);
        client.call("a", "ask", json!({}));
        begun.elapsed()
    });
    row(
        table,
        "worker: `start` to the first answered call",
        time,
        "",
        3.0,
    );

    drop(daemon);
    crashes(table);
}

/// A fresh daemon for each: only the first restart of a script is immediate.
fn crashes(table: &mut Table) {
    let time = rounds(|_| {
        let home = Home::new().script("a.lua", &answering("one"));
        let daemon = home.up();
        let mut client = home.connect();
        crash(&home);
        let begun = Instant::now();
        client.call("a", "ask", json!({}));
        let time = begun.elapsed();
        daemon.stop();
        time
    });
    row(table, "worker: crash to serving again", time, "", 10.0);
}

/// Kills the worker once it is ready, and waits until it is gone.
fn crash(home: &Home) {
    let pid = wait_for("a worker", || {
        let script = home.script_status("a");
        (script["state"] == "ready").then(|| script["pid"].as_i64())?
    });
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    kill_process(pid, Signal::KILL).expect("our own worker");
    wait_until("it is gone", || kill_process(pid, Signal::CONT).is_err());
}

pub(crate) fn save(table: &mut Table) {
    let home = Home::new().script("a.lua", &answering("start"));
    let daemon = home.up();
    let mut client = home.connect();
    let time = rounds(|round| {
        let text = format!("version {round}");
        let begun = Instant::now();
        home.replace("scripts/a.lua", &answering(&text));
        loop {
            if client.call("a", "ask", json!({})) == text.as_str() {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the save is not served"
            );
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    let settle = milliseconds(SETTLE);
    row(
        table,
        "save to new code serving",
        time,
        &format!("{settle} ms (settling)"),
        settle + 15.0,
    );
    drop(daemon);
}
