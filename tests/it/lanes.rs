//! Many clients at once: every answer reaches who asked, and nobody else.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{BINARY, Home, Line, kill, rounds, ticks, wait_until};

/// Answers with what it was given, some at once, some later.
const ECHO: &str = r#"
-- /// moonkeep
-- concurrency = 256
-- queue = 8000
-- ///
local moonkeep = require "moonkeep"
moonkeep.handle("echo", function(request)
  if request.params.wait > 0 then moonkeep.sleep(request.params.wait) end
  return request.params.nonce
end, { delivery = "query" })
"#;

/// A small generator of its own: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn echo(id: &str, nonce: &str, wait: f64) -> String {
    json!({
        "request_id": id, "command": "call", "script": "echo", "handler": "echo",
        "params": { "nonce": nonce, "wait": wait },
    })
    .to_string()
}

// R-001, R-002, R-016 (g) (h) (i), FI-6
#[test]
fn clients_with_the_same_ids_each_get_their_own_answers_and_all_of_them() {
    let home = Home::new().script("echo.lua", ECHO);
    let _daemon = home.up();
    let requests = rounds(50, 100);
    std::thread::scope(|threads| {
        for client in 0..48_u64 {
            let home = &home;
            threads.spawn(move || {
                let mut random = Random(0x9e37_79b9 + client);
                let mut line = home.connect();
                let mut expected = BTreeMap::new();
                for number in 0..requests {
                    let nonce = format!("{:016x}{:016x}", random.next(), random.next());
                    let wait = (random.next() % 20) as f64 / 1_000.0;
                    line.send(&echo(&number.to_string(), &nonce, wait));
                    expected.insert(number.to_string(), nonce);
                }
                while !expected.is_empty() {
                    let answer = line.recv_json();
                    assert_eq!(answer["status"], "ok", "{answer}");
                    let id = answer["request_id"].as_str().expect("an id");
                    let nonce = expected.remove(id).expect("answered once");
                    assert_eq!(answer["result"], nonce, "a stranger's answer");
                }
                assert!(
                    line.is_silent_for(Duration::from_millis(50)),
                    "an answer too many"
                );
            });
        }
    });
}

// R-005, R-088, R-090
#[test]
fn clients_that_leave_early_never_make_a_stranger_hear_their_answers() {
    let home = Home::new().script("echo.lua", ECHO);
    let daemon = home.up();
    home.connect()
        .call("echo", "echo", json!({ "nonce": "warm", "wait": 0 }));
    let before = daemon.descriptors();
    for number in 0..rounds(500, 5_000) {
        let mut early = home.connect();
        early.send(&echo("same", &format!("early-{number}"), 0.002));
        drop(early);
        let mut next = home.connect();
        let own = format!("own-{number}");
        next.send(&echo("same", &own, 0.0));
        assert_eq!(next.recv_json()["result"], own, "a stranger's answer");
    }
    wait_until("the descriptors are given back", || {
        daemon.descriptors() <= before + 2
    });
    wait_until("nobody is left", || home.status()["clients"] == 1);
}

// R-120, R-142
#[test]
fn a_hundred_one_shot_calls_at_once_all_succeed() {
    let home = Home::new().script("echo.lua", ECHO);
    let _daemon = home.up();
    for _ in 0..3 {
        let calls: Vec<_> = (0..100)
            .map(|number| {
                let nonce = format!("nonce=n{number}");
                home.moonkeep(&["call", "echo", "echo", &nonce, "wait:=0.01"])
                    .spawn()
            })
            .collect();
        for (number, call) in calls.into_iter().enumerate() {
            let output = call.wait_with_output().expect("our own child");
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said.trim(), format!("n{number}"), "{output:?}");
        }
    }
}

// R-121
#[test]
fn a_client_that_says_nothing_holds_up_nobody() {
    let home = Home::new();
    let _daemon = home.up();
    let silent: Vec<Line> = (0..100).map(|_| home.connect()).collect();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(home.connect().ask("ping").len(), 2);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    drop(silent);
}

// R-124, R-125, T12, FI-9
#[test]
fn with_few_descriptors_clients_are_served_or_told_busy_and_the_daemon_does_not_spin() {
    let home = Home::new();
    let mut daemon = home
        .program("/bin/sh".as_ref())
        .args(&["-c", &format!("ulimit -n 64; exec {BINARY} up")])
        .into_command()
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let pid = i32::try_from(daemon.id()).expect("a pid");
    wait_until("it serves", || Line::try_connect(&home.socket()).is_ok());
    let clients: Vec<UnixStream> = (0..200)
        .map(|_| UnixStream::connect(home.socket()).expect("queued by the kernel"))
        .collect();
    let before = ticks(pid);
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(pid) - before;
    assert!(used <= 10, "{used} ticks in a second while it is full");
    let busy = clients
        .iter()
        .filter(|client| was_told_busy(client))
        .count();
    assert!(busy >= 100, "{busy} of 200 were told busy");
    drop(clients);
    wait_until("it serves again", || {
        let Ok(mut line) = Line::try_connect(&home.socket()) else {
            return false;
        };
        line.stream().write_all(b"ping\n").is_ok()
            && line
                .next_line()
                .is_some_and(|said| said.starts_with("pong"))
    });
    kill(pid, Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
}

fn was_told_busy(client: &UnixStream) -> bool {
    use std::io::Read;
    client.set_nonblocking(true).expect("a flag");
    let mut said = [0; 512];
    let mut reader = client;
    matches!(reader.read(&mut said), Ok(length) if said[..length].windows(4).any(|part| part == b"busy"))
}

// A client such as `printf 'status\n' | nc -N` shuts down its sending side and then reads.
#[test]
fn a_client_that_sends_no_more_still_gets_what_it_is_owed() {
    let home = Home::new().script("echo.lua", ECHO);
    let _daemon = home.up();
    let mut line = home.connect();
    line.send(&echo("1", "late", 0.2));
    line.send("ping");
    line.stream()
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    let rest = String::from_utf8(line.rest()).expect("UTF-8");
    assert!(rest.contains("pong "), "{rest}");
    assert!(rest.contains("late"), "{rest}");
}

// Promise 7
#[test]
fn a_thousand_requests_in_flight_on_one_connection_are_all_answered() {
    let home = Home::new().script("echo.lua", ECHO);
    let _daemon = home.up();
    let mut line = home.connect();
    let requests = 1_024;
    let mut all = String::new();
    for number in 0..requests {
        all += &echo(&number.to_string(), &format!("n{number}"), 0.0);
        all.push('\n');
    }
    line.send_bytes(all.as_bytes());
    let mut answered = vec![false; requests];
    for _ in 0..requests {
        let answer = line.recv_json();
        let id: usize = answer["request_id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a number");
        assert_eq!(answer["result"], format!("n{id}"));
        assert!(
            !std::mem::replace(&mut answered[id], true),
            "answered twice"
        );
    }
}
