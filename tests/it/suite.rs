//! The cases of a debugging daemon's own suite that no other test holds. The others name their case: R-147 case 1.1 to 7.2.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Home, kill, wait_until};

const SCRIPT: &str = r#"
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request) return request.params end)
moonkeep.handle("pid", function() return moonkeep.pid end)
moonkeep.on_shutdown(function() io.stderr:write("the last words\n") end)
"#;

// R-147 case 1.2: a start while the old one is stopping is told so, or waits its turn; there are never two.
#[test]
fn a_start_while_the_daemon_stops_leads_to_one_daemon() {
    let home = Home::new().script("echo.lua", SCRIPT);
    for _ in 0..5 {
        let daemon = home.up();
        daemon.signal(Signal::TERM);
        let second = home.moonkeep(&["up", "-d"]).run();
        assert!(daemon.wait().success());
        match second.code() {
            Some(0) => drop(home.run(&["down"]).ok()),
            Some(1) => assert!(second.stderr.contains("already"), "{second:?}"),
            other => panic!("{other:?}: {second:?}"),
        }
    }
}

// R-147 case 2.1: five clients at once, each with its own answers.
#[test]
fn five_clients_at_once_get_their_own_answers() {
    let home = Home::new().script("echo.lua", SCRIPT);
    let _daemon = home.up();
    std::thread::scope(|scope| {
        for client in 0..5 {
            let home = &home;
            scope.spawn(move || {
                for number in 0..5 {
                    let body = json!({ "client": client, "number": number });
                    assert_eq!(home.connect().call("echo", "echo", body.clone()), body);
                }
            });
        }
    });
}

// R-147 case 4.4: a stopped worker is a timeout with a sentence, and others are served meanwhile.
#[test]
fn a_call_to_a_stopped_worker_times_out_and_says_so() {
    let home = Home::new()
        .script("echo.lua", SCRIPT)
        .script("other.lua", SCRIPT);
    let _daemon = home.up();
    let pid = home.script_status("echo")["pid"].as_i64().expect("a pid") as i32;
    kill(pid, Signal::STOP);
    let begun = Instant::now();
    let finished = home
        .run(&["--timeout", "0.5", "call", "echo", "echo"])
        .expect_code(124);
    assert!(begun.elapsed() < Duration::from_secs(10), "{finished:?}");
    assert!(finished.stderr.contains("time"), "{finished:?}");
    assert_eq!(
        home.connect().call("other", "echo", json!({ "a": 1 })),
        json!({ "a": 1 })
    );
    kill(pid, Signal::CONT);
}

// R-147 cases 4.3, 5.1, 5.2: after many short connections there are as many descriptors as before, and no more memory.
#[test]
fn many_short_connections_leave_no_descriptor_and_no_memory() {
    let home = Home::new().script("echo.lua", SCRIPT);
    let daemon = home.up();
    let cycle = |count: usize| {
        for number in 0..count {
            let mut line = home.connect();
            assert_eq!(
                line.call("echo", "echo", json!({ "n": number }))["n"],
                number
            );
        }
        wait_until("all sessions are gone", || home.status()["clients"] == 1);
    };
    cycle(50);
    let (descriptors, memory) = (daemon.descriptors(), daemon.resident());
    cycle(300);
    assert!(
        daemon.descriptors() <= descriptors + 1,
        "{descriptors}, then {}",
        daemon.descriptors()
    );
    assert!(
        daemon.resident() < memory + 8 * 1024 * 1024,
        "{memory}, then {}",
        daemon.resident()
    );
}

// R-147 cases 3.2, 6.1, 6.2, 6.3: what cannot be meant is refused with a sentence and the code of its kind.
#[test]
fn arguments_that_cannot_be_meant_are_refused_with_a_sentence() {
    let home = Home::new().script("echo.lua", SCRIPT);
    let _daemon = home.up();
    let long = "x".repeat(5_000);
    for arguments in [
        &["--timeout", "-1", "call", "echo", "echo"][..],
        &["--timeout", "1e99", "call", "echo", "echo"],
        &["--timeout", "nan", "call", "echo", "echo"],
        &["logs", "-n", "-5", "echo"],
        &["call", &long, "echo"],
        &["call", "echo", &long],
        &["call", "../../etc", "echo"],
        &["call", "echo\u{1b}[2J", "echo"],
        &["call", "", "echo"],
        &["call", "echo", "echo", "--id", &long],
        &["call", "echo", "echo", "--json-body", "{"],
    ] {
        let finished = home.run(arguments);
        let code = finished.code().expect("no signal");
        assert!([1, 2].contains(&code), "{arguments:?}: {finished:?}");
        assert!(
            !finished.stderr.trim().is_empty() && finished.stderr.len() < 2_000,
            "{finished:?}"
        );
        assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    }
    // What is only unusual is taken.
    let body = json!({ "k \u{1f600}": "a \"b\" 'c' $d\n" });
    let text = body.to_string();
    assert_eq!(
        home.run(&["call", "echo", "echo", "--json-body", &text])
            .json(),
        body
    );
}

// R-147 cases 7.1, 7.2: SIGTERM and SIGINT end it in order; what a script says last is in its log.
#[test]
fn both_signals_end_the_daemon_in_order_with_the_scripts_last_words() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new().script("echo.lua", SCRIPT);
        let daemon = home.up();
        daemon.signal(signal);
        assert!(daemon.wait().success());
        let log = home.run(&["logs", "echo"]).ok();
        assert!(log.contains("the last words"), "{signal:?}: {log}");
    }
}

// R-130: with MOONKEEP_LOG=debug the log has each frame, and nothing that frames carry.
#[test]
fn the_log_traces_frames_and_tells_no_secret() {
    let home = Home::new().script("echo.lua", SCRIPT);
    let mut daemon = home
        .moonkeep(&["up"])
        .env("MOONKEEP_LOG", "debug")
        .into_command()
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("it serves", || {
        crate::harness::Line::try_connect(&home.socket()).is_ok()
    });
    wait_until("the script is ready", || {
        home.script_status("echo")["state"] == "ready"
    });
    let answer = home
        .connect()
        .call("echo", "echo", json!({ "password": "SECRET" }));
    assert_eq!(answer["password"], "SECRET");
    kill(daemon.id().cast_signed(), Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
    let log = home.run(&["logs"]).ok();
    for part in [
        "> call echo.echo 21 bytes id=h1",
        "echo#1 < request @",
        "echo#1 > ok 21 bytes @",
        "< ok 21 bytes id=h1",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    assert!(!log.contains("SECRET"), "{log}");
}
