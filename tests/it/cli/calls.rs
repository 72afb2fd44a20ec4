//! Commands with a daemon: their output, their JSON, their exit codes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::TALKER;
use crate::harness::{Home, wait_for, wait_until};

fn talking() -> Home {
    Home::new().script("talker.lua", TALKER)
}

#[test]
fn a_result_is_a_string_as_it_is_or_json() {
    let home = talking();
    let _daemon = home.up();
    for (arguments, expected) in [
        (&["text", "name=Ada"][..], "hello Ada\n"),
        (
            &["params", "a=1", "b:=[1,2]"],
            "{\"a\":\"1\",\"b\":[1,2]}\n",
        ),
        (
            &["params", "--json-body", "{\"x\": {\"y\": true}}"],
            "{\"x\":{\"y\":true}}\n",
        ),
        (&["nothing"], ""),
    ] {
        let words = [&["call", "talker"], arguments].concat();
        assert_eq!(home.run(&words).ok(), expected, "{arguments:?}");
    }
}

#[test]
fn parts_come_before_the_result_and_progress_stays_off_stdout() {
    let home = talking();
    let _daemon = home.up();
    let finished = home.run(&["call", "talker", "parts"]).expect_code(0);
    assert_eq!(finished.stdout, "one\n{\"two\":2}\nend\n");
    assert_eq!(finished.stderr, "50 % half\n");
    assert_eq!(
        home.run(&["-q", "call", "talker", "parts"])
            .expect_code(0)
            .stderr,
        ""
    );
    let lines = home.run(&["--json", "call", "talker", "parts"]).ok();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("one object a line"))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[2]["part"]["progress"], 0.5);
    assert_eq!(
        (&lines[3]["status"], &lines[3]["result"]),
        (&"ok".into(), &"end".into())
    );
}

#[test]
fn what_a_script_raises_is_told_with_its_code() {
    let home = talking();
    let _daemon = home.up();
    let finished = home.run(&["call", "talker", "fail"]).expect_code(1);
    assert!(
        finished.stderr.contains("script_error"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("no luck today"),
        "{}",
        finished.stderr
    );
    let bug = home.run(&["-v", "call", "talker", "bug"]).expect_code(1);
    assert!(bug.stderr.contains("talker.lua:13"), "{}", bug.stderr);
    assert!(bug.stderr.contains("traceback"), "{}", bug.stderr);
    let json = home
        .run(&["--json", "call", "talker", "fail"])
        .expect_code(1);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("one document");
    assert_eq!(json["error"]["code"], "script_error");
    for (words, part) in [
        (&["call", "talkr", "text"][..], "unknown_script"),
        (&["call", "talker", "txt"], "unknown_handler"),
        (&["reload", "talkr"], "unknown_script"),
    ] {
        home.run(words).expect_code(1).expect_stderr(part);
    }
}

#[test]
fn a_time_limit_exits_124() {
    let home = talking();
    let _daemon = home.up();
    let finished = home
        .run(&["call", "talker", "slow", "--timeout", "200ms"])
        .expect_code(124);
    assert!(finished.took < Duration::from_secs(5), "{finished:?}");
    assert!(finished.stderr.contains("timeout"), "{}", finished.stderr);
}

#[test]
fn bytes_stay_as_they_are_in_a_pipe() {
    // T8
    let home = talking();
    let _daemon = home.up();
    let out = home.run(&["call", "talker", "escape"]).ok();
    assert_eq!(out, "\u{1b}]52;c;aGk=\u{7}\u{1b}[31mred\n");
}

#[test]
fn status_and_list_show_the_scripts() {
    let home = talking().script("broken.lua", "this is not Lua\n");
    let daemon = home.up();
    let status = home.run(&["status", "--json"]).json();
    for key in [
        "version",
        "uuid",
        "pid",
        "uptime_seconds",
        "home",
        "socket",
        "clients",
    ] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
    assert_eq!(status["pid"], daemon.pid());
    let text = home.run(&["status"]).ok();
    let uuid = status["uuid"].as_str().expect("a uuid");
    for part in [
        &format!("UUID: {uuid}"),
        &format!("PID: {}", daemon.pid()),
        "talker",
        "broken.lua:1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let list = home.run(&["list"]).ok();
    assert!(list.contains("talker") && list.contains("params"), "{list}");
    assert!(
        list.contains("broken: ") && list.contains("broken.lua:1"),
        "{list}"
    );
    home.run(&["list", "--json"]).json();
    // What is wrong with a header is a warning and the script's error: it is told once.
    home.write(
        "scripts/header.lua",
        "-- /// moonkeep\n-- nonsense = 1\n-- ///\n",
    );
    let text = wait_for("the faulty header", || {
        let text = home.run(&["status"]).ok();
        text.contains("nonsense").then_some(text)
    });
    assert_eq!(text.matches("nonsense").count(), 1, "{text}");
}

#[test]
fn up_in_the_background_returns_and_down_waits() {
    // S-02
    let home = talking().script("broken.lua", "error('never')\n");
    let line = "out=$(\"$0\" up -d) && echo \"$out\"";
    let finished = home
        .program(std::path::Path::new("/bin/sh"))
        .args(&["-c", line, env!("CARGO_BIN_EXE_moonkeep")])
        .run();
    assert!(finished.took < Duration::from_secs(20), "{finished:?}");
    let out = finished.ok();
    for part in ["pid ", "uuid ", "1 ready, 1 failed", "broken: ", "never"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    //
    let second = home.run(&["up", "-d"]).expect_code(1);
    assert!(
        second.stderr.contains("already running (pid "),
        "{}",
        second.stderr
    );
    home.run(&["up"])
        .expect_code(1)
        .expect_stderr("already running (pid ");
    assert_eq!(home.run(&["down"]).ok(), "moonkeep has stopped\n");
    assert!(home.processes().is_empty(), "down waits until all are gone");
    assert!(!home.socket().exists() && !home.pid_file().exists());
}

#[test]
fn controls_say_what_became_of_the_script() {
    let home = talking();
    let _daemon = home.up();
    assert!(
        home.run(&["stop", "talker"])
            .ok()
            .contains("talker stopped")
    );
    assert!(
        home.run(&["start", "talker"])
            .ok()
            .contains("talker ready (generation 2)")
    );
    assert!(
        home.run(&["reload"])
            .ok()
            .contains("talker ready (generation 3)")
    );
    assert!(
        home.run(&["restart", "talker"])
            .ok()
            .contains("talker ready (generation 4)")
    );
    let json = home.run(&["--json", "reload", "talker"]).json();
    assert_eq!(json["scripts"][0]["generation"], 5, "{json}");
}

#[test]
fn logs_are_printed_and_followed() {
    let home = talking();
    let _daemon = home.up();
    wait_until("the first line", || {
        home.run(&["logs", "talker"])
            .ok()
            .contains("talker has loaded")
    });
    let json = home.run(&["--json", "logs", "-n", "1", "talker"]).json();
    let line = json["line"].as_str().expect("a line");
    assert!(line.ends_with("talker has loaded"), "{line}");
    let mut follower = home.moonkeep(&["logs", "-f", "talker"]).spawn();
    let stdout = follower.stdout.take().expect("piped");
    let lines = lines_of(stdout);
    let first = lines
        .recv_timeout(crate::harness::PATIENCE)
        .expect("the stored line");
    assert!(first.contains("talker has loaded"), "{first}");
    home.run(&["eval", "talker", "print('something new')"]).ok();
    let next = lines
        .recv_timeout(crate::harness::PATIENCE)
        .expect("the new line");
    assert!(next.contains("something new"), "{next}");
    follower.kill().expect("our own child");
    follower.wait().expect("our own child");
    assert!(
        home.run(&["logs"]).ok().contains("serves"),
        "the daemon's own log"
    );
}

/// Lines as they come.
fn lines_of(stream: impl std::io::Read + Send + 'static) -> std::sync::mpsc::Receiver<String> {
    use std::io::BufRead;
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
        {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn events_are_one_a_line_until_interrupted() {
    let home = talking();
    let _daemon = home.up();
    let mut listener = home.moonkeep(&["events", "news.*", "--json"]).spawn();
    let lines = lines_of(listener.stdout.take().expect("piped"));
    let first = wait_for("an event", || {
        home.run(&["eval", "talker", "moonkeep.emit('news.big', { n = 1 })"]);
        lines.recv_timeout(Duration::from_millis(200)).ok()
    });
    let event: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(event["event"], "news.big", "{event}");
    interrupt(&listener);
    assert_eq!(listener.wait().expect("our own child").code(), Some(130));
}

fn interrupt(child: &std::process::Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, Signal::INT).expect("our own child");
}

#[test]
fn ctrl_c_cancels_the_request_at_the_daemon() {
    let home = talking();
    let _daemon = home.up();
    let mut caller = home.moonkeep(&["call", "talker", "slow"]).spawn();
    wait_until("the request runs", || {
        home.script_status("talker")["in_flight"] == 1
    });
    interrupt(&caller);
    assert_eq!(caller.wait().expect("our own child").code(), Some(130));
    wait_until("the request has ended", || {
        home.script_status("talker")["in_flight"] == 0
    });
}

#[test]
fn a_call_with_a_limit_waits_for_a_daemon_to_come() {
    let home = talking();
    let begun = Instant::now();
    home.run(&["call", "talker", "text"]).expect_code(69);
    assert!(
        begun.elapsed() > Duration::from_millis(1_500),
        "it waits 2 s"
    );
    let caller = home
        .moonkeep(&["call", "talker", "text", "--timeout", "20s"])
        .spawn();
    let _daemon = home.up();
    let output = caller.wait_with_output().expect("our own child");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello world\n");
}

#[test]
fn a_repeated_id_gets_the_stored_answer() {
    let home = talking().script(
        "counter.lua",
        "local moonkeep = require 'moonkeep'\nlocal n = 0\nmoonkeep.handle('add', function() n = n + 1 return n end)\n",
    );
    let _daemon = home.up();
    for _ in 0..2 {
        let id = uuid::Uuid::now_v7().to_string();
        for _ in 0..2 {
            home.run(&["call", "counter", "add", "--id", &id]).ok();
        }
    }
    assert_eq!(home.run(&["call", "counter", "add"]).ok(), "3\n");
}

#[test]
fn racing_first_commands_start_one_daemon_where_that_is_configured() {
    // S-01 R-105
    let home = talking().config("autostart = true\n");
    let callers: Vec<_> = (0..8)
        .map(|_| home.moonkeep(&["call", "talker", "text"]).spawn())
        .collect();
    for caller in callers {
        let output = caller.wait_with_output().expect("our own child");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "hello world\n",
            "{output:?}"
        );
    }
    home.run(&["down"]).ok();
}

#[test]
fn ctrl_c_makes_down_skip_the_grace() {
    let home = Home::new().script(
        "stubborn.lua",
        "-- /// moonkeep\n-- stop_timeout = \"1h\"\n-- ///\nlocal moonkeep = require 'moonkeep'\nmoonkeep.on_shutdown(function() moonkeep.sleep(3000) end)\n",
    );
    let daemon = home.up();
    let leaver = home.moonkeep(&["down"]).spawn();
    wait_until("the script drains", || {
        home.run(&["logs"])
            .ok()
            .contains("leaving: asked to shut down")
    });
    interrupt(&leaver);
    let output = leaver.wait_with_output().expect("our own child");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    daemon.wait();
}
