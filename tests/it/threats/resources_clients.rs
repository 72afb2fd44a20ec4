//! Clients that send endless lines, send slowly, read slowly or come in masses.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::leeway;
use crate::harness::{BINARY, Home, Line, installed, kill, long, rounds, ticks, wait_until};

/// 1 MiB.
const MIB: u64 = 1024 * 1024;
/// The time of a ping of somebody else, whatever others do.
const PROMPT: Duration = Duration::from_millis(100);

/// The times that a well-behaved client waits for its answers.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn take(&mut self, work: impl FnOnce()) {
        let begun = Instant::now();
        work();
        self.0.push(begun.elapsed());
    }

    /// A client that has just come: connect, ask, be answered.
    fn newcomer(&mut self, home: &Home) {
        self.take(|| assert_eq!(home.connect().ask("ping").len(), 2));
    }

    fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
    }
}

fn megabytes(line: &mut Line, count: u64) {
    let chunk = vec![b'x'; MIB as usize];
    for _ in 0..count {
        line.send_bytes(&chunk);
    }
}

// T9
#[test]
fn a_line_of_a_gigabyte_from_a_client_costs_no_memory_and_one_answer() {
    let home = Home::new();
    let daemon = home.up();
    let mut other = home.connect();
    let mut line = home.connect();
    // What a full buffer and one long line cost is paid once.
    megabytes(&mut line, 2);
    line.send("");
    assert!(line.recv().starts_with("error: too_large"));
    assert_eq!(line.recv(), "error");
    let before = daemon.resident();
    let mut waits = Waits::default();
    let begun = Instant::now();
    let count = if long() { 16 } else { 4 };
    for _ in 0..16 {
        megabytes(&mut line, count * 4);
        waits.take(|| assert_eq!(other.ask("ping").len(), 2));
    }
    let took = begun.elapsed();
    let after = daemon.resident();
    eprintln!(
        "{} MiB in {took:?}, {before} -> {after} bytes, ping p99 {:?}",
        count * 64,
        waits.p99()
    );
    assert!(after < before + 4 * MIB, "{before} bytes, then {after}");
    line.send("");
    let said = line.recv();
    assert!(said.starts_with("error: too_large"), "{said}");
    assert!(said.contains(&(count * 64 * MIB).to_string()), "{said}");
    assert_eq!(line.recv(), "error");
    assert_eq!(line.ask("ping").len(), 2, "the connection goes on");
    assert!(waits.p99() < leeway() * PROMPT, "{:?}", waits.p99());
}

// T9
#[test]
fn a_line_of_a_gigabyte_from_a_script_costs_no_memory_and_the_script_goes_on() {
    let megabytes = rounds(256, 1_024);
    let endless = format!(
        "#!/bin/sh\nread -r go\nhead -c {megabytes}M /dev/zero | tr '\\0' x\necho\nread -r said\nread -r end\necho \"$said\" > said\necho ping\nread -r pong\necho \"$pong\" > pong\nwhile read -r line; do :; done\n"
    );
    let home = Home::new().executable("endless.sh", &endless);
    let daemon = home.up();
    let mut other = home.connect();
    let before = daemon.resident();
    let mut waits = Waits::default();
    home.connect().send("call endless go");
    let mut most = before;
    wait_until("the script goes on", || {
        waits.take(|| assert_eq!(other.ask("ping").len(), 2));
        most = most.max(daemon.resident());
        home.path("pong").exists()
    });
    eprintln!(
        "{megabytes} MiB, {before} -> {most} bytes, ping p99 {:?}",
        waits.p99()
    );
    assert!(most < before + 4 * MIB, "{before} bytes, then {most}");
    let said = home.read("said");
    assert!(said.contains("too_large"), "{said}");
    wait_until("its ping is answered", || {
        home.read("pong").starts_with("pong ")
    });
    assert!(waits.p99() < leeway() * PROMPT, "{:?}", waits.p99());
}

// T10, FI-8
#[test]
fn many_that_send_a_byte_a_second_hold_up_no_newcomer_and_are_dropped() {
    let home = Home::new();
    let _daemon = home.up();
    let mut slow: Vec<UnixStream> = (0..rounds(200, 1_000))
        .map(|_| UnixStream::connect(home.socket()).expect("taken"))
        .collect();
    for stream in &slow {
        stream.set_nonblocking(true).expect("a flag");
    }
    let begun = Instant::now();
    let mut waits = Waits::default();
    let mut first_drop = None;
    while !slow.is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{} are left",
            slow.len()
        );
        slow.retain_mut(|stream| stream.write(b"p").is_ok());
        if slow.len() < 200 && first_drop.is_none() {
            first_drop = Some(begun.elapsed());
        }
        let round = Instant::now();
        while round.elapsed() < Duration::from_secs(1) && !slow.is_empty() {
            waits.newcomer(&home);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    eprintln!(
        "newcomers {}, p99 {:?}, first drop after {first_drop:?}",
        waits.0.len(),
        waits.p99()
    );
    assert!(first_drop >= Some(Duration::from_secs(4)), "{first_drop:?}");
    assert!(waits.p99() < leeway() * PROMPT, "{:?}", waits.p99());
    wait_until("they are forgotten", || home.status()["clients"] == 1);
}

/// Emits 10 KiB a thousand times a second, and answers.
const EMITS: &str = r#"
local moonkeep = require "moonkeep"
local data = ("x"):rep(10 * 1024)
local sent = 0
moonkeep.every(0.01, function()
  for _ = 1, 10 do sent = sent + 1; moonkeep.emit("flood", { number = sent, data = data }) end
end)
moonkeep.handle("sent", function() return sent end, { delivery = "query" })
moonkeep.handle("big", function() return data end, { delivery = "query" })
"#;

// T11, FI-7
#[test]
fn clients_that_never_read_cost_bounded_memory_and_nobody_elses_time() {
    let home = Home::new().script("emits.lua", EMITS);
    let daemon = home.up();
    let mut other = home.connect();
    let mut alone = Waits::default();
    for _ in 0..100 {
        alone.take(|| assert_eq!(other.ask("ping").len(), 2));
    }
    let before = daemon.resident();
    let subscribe = "{\"command\":\"events\",\"events\":[\"flood\"]}\n";
    let silent: Vec<UnixStream> = (0..120)
        .map(|_| {
            let mut stream = UnixStream::connect(home.socket()).expect("taken");
            stream.write_all(subscribe.as_bytes()).expect("taken");
            stream
        })
        .collect();
    let mut waits = Waits::default();
    let mut most = before;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        waits.take(|| assert_eq!(other.ask("ping").len(), 2));
        most = most.max(daemon.resident());
        if waits.0.len().is_multiple_of(32) {
            read_a_byte_each(&silent[..20]);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = home.connect().call("emits", "sent", json!({}));
    eprintln!(
        "{sent} events, {before} -> {most} bytes, alone p99 {:?}, p99 {:?}",
        alone.p99(),
        waits.p99()
    );
    assert!(most < before + 64 * MIB, "{before} bytes, then {most}");
    assert!(waits.p99() < 3 * leeway() * PROMPT, "{:?}", waits.p99());
    wait_until("they are dropped", || home.status()["clients"] == 2);
    drop(silent);
}

fn read_a_byte_each(streams: &[UnixStream]) {
    for mut stream in streams {
        stream.set_nonblocking(true).expect("a flag");
        // Dropped ones, and those for whom nothing is there, are as good.
        let _nothing = stream.read(&mut [0]);
    }
}

// T11: what a slow reader misses of events is counted, and no answer is missed.
#[test]
fn a_slow_reader_misses_events_by_count_and_no_answer() {
    let home = Home::new().script("emits.lua", EMITS);
    let _daemon = home.up();
    let mut line = home.connect();
    line.send_json(&json!({"request_id": "flood", "command": "events", "events": ["flood"]}));
    for number in 0..50 {
        line.send_json(&json!({
            "request_id": format!("big{number}"), "command": "call", "script": "emits", "handler": "big",
        }));
    }
    // Nothing is read meanwhile.
    wait_until("more was emitted than is kept", || {
        home.connect().call("emits", "sent", json!({})).as_u64() > Some(300)
    });
    let (mut answers, mut next, mut missed) = (0, 1, 0);
    while answers < 50 || missed == 0 {
        let said = line.recv_json();
        if said["request_id"] != "flood" {
            assert_eq!(said["status"], "ok", "{said}");
            answers += 1;
        } else if said["part"]["event"] == "moonkeep.gap" {
            let gap = said["part"]["data"]["missed"].as_u64().expect("a number");
            missed += gap;
            next += gap;
        } else {
            let number = said["part"]["data"]["number"].as_u64();
            if next > 1 {
                assert_eq!(number, Some(next), "an event is missing without a word");
            }
            next = number.expect("a number") + 1;
        }
    }
    eprintln!("{missed} events missed and counted, 50 answers");
}

/// A daemon with few descriptors, or under another program.
fn start(home: &Home, command: &str) -> (Child, i32) {
    let daemon = home
        .program("/bin/sh".as_ref())
        .args(&["-c", command])
        .into_command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    wait_until("it serves", || {
        Line::try_connect(&home.socket()).is_ok_and(|mut line| is_served(&mut line))
    });
    let pid = home.connect().command("status")["pid"].as_i64();
    (daemon, i32::try_from(pid.expect("a pid")).expect("a pid"))
}

fn is_served(line: &mut Line) -> bool {
    line.stream().write_all(b"ping\n").is_ok()
        && line
            .next_line()
            .is_some_and(|said| said.starts_with("pong"))
}

#[track_caller]
fn end(mut daemon: Child, pid: i32) {
    kill(pid, Signal::TERM);
    assert!(daemon.wait().expect("our own child").success());
}

// R-124, T12, FI-9
#[test]
fn a_full_daemon_serves_again_a_moment_after_somebody_has_left() {
    let home = Home::new();
    let (daemon, pid) = start(&home, &format!("ulimit -n 64; exec {BINARY} up"));
    for _ in 0..rounds(5, 50) {
        let clients: Vec<UnixStream> = (0..200)
            .map(|_| UnixStream::connect(home.socket()).expect("queued by the kernel"))
            .collect();
        wait_until("it is full", || {
            let mut line = home.connect();
            !is_served(&mut line)
        });
        let before = ticks(pid);
        std::thread::sleep(Duration::from_millis(500));
        let used = ticks(pid) - before;
        assert!(used <= 5, "{used} ticks in half a second while it is full");
        drop(clients);
        let begun = Instant::now();
        wait_until("it serves", || {
            Line::try_connect(&home.socket()).is_ok_and(|mut line| is_served(&mut line))
        });
        let took = begun.elapsed();
        assert!(
            took < leeway() * Duration::from_millis(100),
            "served after {took:?}"
        );
    }
    end(daemon, pid);
}

/// strace, attached to a daemon, that lets each `accept4` fail with `error`; what it sees goes to `trace`.
fn failing_accepts(home: &Home, pid: i32, error: &str) -> Option<Child> {
    let trace = home.path("trace");
    let inject = format!("inject=accept4:error={error}");
    let arguments = [
        "-f",
        "-qq",
        "-e",
        "trace=accept4",
        "-e",
        &inject,
        "-p",
        &pid.to_string(),
        "-o",
    ];
    let strace = home
        .program("strace".as_ref())
        .args(&arguments)
        .args(&[trace.to_str().expect("UTF-8")])
        .into_command()
        .stderr(Stdio::null())
        .spawn();
    let mut strace = strace.ok()?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        // It fails for somebody once it is attached.
        let _woken = UnixStream::connect(home.socket());
        if failures(home) > 0 {
            return Some(strace);
        }
        if matches!(strace.try_wait(), Ok(Some(_))) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    strace.kill().ok();
    strace.wait().ok();
    None
}

fn failures(home: &Home) -> usize {
    let text = std::fs::read_to_string(home.path("trace")).unwrap_or_default();
    text.matches("(INJECTED)").count()
}

// FI-9, T12: no error of accept makes it spin, and the next good one is taken at once.
#[test]
fn errors_of_accept_neither_spin_nor_end_the_daemon() {
    let name = "errors_of_accept_neither_spin_nor_end_the_daemon";
    if !installed("strace", name) {
        return;
    }
    for error in ["EMFILE", "ENFILE", "ENOMEM"] {
        let home = Home::new();
        let daemon = home.up();
        let Some(mut strace) = failing_accepts(&home, daemon.pid(), error) else {
            eprintln!("{name}: skipped, strace cannot attach here");
            return;
        };
        let (before, ticks_before) = (failures(&home), ticks(daemon.pid()));
        std::thread::sleep(Duration::from_millis(500));
        let (calls, used) = (failures(&home) - before, ticks(daemon.pid()) - ticks_before);
        kill(i32::try_from(strace.id()).expect("a pid"), Signal::INT);
        strace.wait().expect("our own child");
        let begun = Instant::now();
        assert_eq!(home.connect().ask("ping").len(), 2);
        let took = begun.elapsed();
        eprintln!(
            "{error}: {calls} failed calls, {used} ticks in half a second, served after {took:?}"
        );
        assert!(calls <= 25, "{error}: {calls} calls in half a second");
        assert!(used <= 5, "{error}: {used} ticks in half a second");
        assert!(
            took < leeway() * Duration::from_millis(100),
            "{error}: served after {took:?}"
        );
    }
}

// R-125: more clients than sessions; the client's own retries bring everybody in.
#[test]
fn more_clients_than_sessions_are_all_served_in_the_end() {
    let home = Home::new().script(
        "slow.lua",
        "local moonkeep = require \"moonkeep\"\nmoonkeep.handle(\"work\", function() moonkeep.sleep(0.05) return \"done\" end)\n",
    );
    let (daemon, pid) = start(&home, &format!("ulimit -n 64; exec {BINARY} up"));
    let begun = Instant::now();
    let calls: Vec<Child> = (0..rounds(40, 200))
        .map(|_| {
            home.moonkeep(&["call", "--timeout", "30", "slow", "work"])
                .spawn()
        })
        .collect();
    for call in calls {
        let output = call.wait_with_output().expect("our own child");
        assert!(output.status.success(), "{output:?}");
    }
    eprintln!("all calls after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(30));
    end(daemon, pid);
}

// R-125, on the wire: a refusal says `busy` and when to come again; whoever does so is served.
#[test]
fn a_thousand_connections_to_a_hundred_sessions_are_all_served_within_half_a_minute() {
    let home = Home::new();
    let (daemon, pid) = start(&home, &format!("ulimit -n 264; exec {BINARY} up"));
    let begun = Instant::now();
    let refused = std::sync::atomic::AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..200 {
            threads.spawn(|| {
                for _ in 0..rounds(5, 25) {
                    while !comes_in(&home) {
                        refused.fetch_add(1, Ordering::Relaxed);
                        if begun.elapsed() > Duration::from_secs(30) {
                            failed.store(true, Ordering::Relaxed);
                            return;
                        }
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
    });
    eprintln!("all after {:?}, {refused:?} times refused", begun.elapsed());
    assert!(
        !failed.load(Ordering::Relaxed),
        "not all were served within 30 s"
    );
    assert!(
        refused.load(Ordering::Relaxed) > 0,
        "nobody was refused: the test is too weak"
    );
    end(daemon, pid);
}

/// Asks once and stays a moment. `false`: told to come again.
fn comes_in(home: &Home) -> bool {
    let mut line = match Line::try_connect(&home.socket()) {
        Ok(line) => line,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
        Err(error) => panic!("{error}"),
    };
    if line.stream().write_all(b"ping\n").is_err() {
        return false;
    }
    let said = line.next_line();
    let served = said.as_ref().is_some_and(|said| said.starts_with("pong"));
    assert!(served || said.is_none_or(|said| said.contains("busy")));
    if served {
        std::thread::sleep(Duration::from_millis(20));
    }
    served
}
