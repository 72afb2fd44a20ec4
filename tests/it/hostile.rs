//! Clients that send what nobody should, or never read: told or dropped, the others unaffected.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Home, Line, rounds, wait_until};

/// More than this a hostile client may not cost.
const GROWTH: u64 = 48 * 1024 * 1024;
/// A ping takes no longer, whatever others do. Generous: the machine may be busy.
const PROMPT: Duration = Duration::from_secs(5);

fn assert_prompt(other: &mut Line) {
    let begun = Instant::now();
    assert!(other.ask("ping")[0].starts_with("pong "));
    let took = begun.elapsed();
    assert!(took < PROMPT, "a ping of somebody else took {took:?}");
}

/// The code of an answer, in either encoding.
fn code(answer: &str) -> &str {
    let text = answer
        .strip_prefix("error: ")
        .map(|rest| rest.split(':').next());
    match text {
        Some(Some(code)) => code,
        Some(None) | None => answer
            .split("\"code\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or(answer),
    }
}

// R-135, R-147 (4.1), T14: each faulty line is answered, and the connection stays.
#[test]
fn faulty_lines_are_answered_and_the_connection_stays() {
    let home = Home::new();
    let _daemon = home.up();
    let mut line = home.connect();
    let deep = |count: usize| {
        format!(
            "{{\"command\":\"ping\",\"x\":{}{}}}",
            "[".repeat(count),
            "]".repeat(count)
        )
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"bogus".to_vec(), "unknown_command"),
        (b"\x00\x01\x02".to_vec(), "unknown_command"),
        (b"ping \xff\xfe".to_vec(), "bad_request"),
        (
            b"{\"command\":\"ping\",\"x\":\"\xc3\x28\"}".to_vec(),
            "bad_request",
        ),
        (b"{".to_vec(), "bad_request"),
        (b"{}".to_vec(), "bad_request"),
        (
            b"{\"command\":\"ping\",\"command\":\"ping\"}".to_vec(),
            "bad_request",
        ),
        (deep(100_000).into_bytes(), "bad_request"),
        (b"call a b x:=[".to_vec(), "bad_request"),
        (
            format!("call {}", "x ".repeat(5_000)).into_bytes(),
            "bad_request",
        ),
        (
            format!("call {} h", "x".repeat(5_000)).into_bytes(),
            "bad_request",
        ),
        (
            format!("ping request_id={}", "x".repeat(5_000)).into_bytes(),
            "bad_request",
        ),
        (vec![b'a'; 2 * 1024 * 1024], "too_large"),
        (
            [b"{\"command\":\"".to_vec(), vec![b'a'; 2 * 1024 * 1024]].concat(),
            "too_large",
        ),
    ];
    for (bytes, expected) in cases {
        line.send_bytes(&bytes);
        line.send_bytes(b"\n");
        let said = line.recv();
        assert_eq!(code(&said), expected, "{said}");
        if !said.starts_with('{') {
            assert_eq!(line.recv(), "error");
        }
        assert_prompt(&mut line);
    }
}

// T9: 8 MiB and more without a newline cost nothing; the next line is read.
#[test]
fn an_endless_line_is_skipped_in_bounded_memory() {
    let home = Home::new();
    let daemon = home.up();
    let before = daemon.resident();
    let mut other = home.connect();
    let mut line = home.connect();
    let chunk = vec![b'x'; 64 * 1024];
    for _ in 0..rounds(8 * 16, 1024 * 16) {
        line.send_bytes(&chunk);
    }
    assert_prompt(&mut other);
    line.send_bytes(b"\n");
    assert_eq!(code(&line.recv()), "too_large");
    assert_eq!(line.recv(), "error");
    assert_prompt(&mut line);
    assert!(daemon.resident() < before + GROWTH);
}

// T10: a line that never ends by time is not waited for either.
#[test]
fn a_client_that_never_finishes_its_line_is_dropped() {
    let home = Home::new();
    let _daemon = home.up();
    let mut slow = home.connect();
    let mut other = home.connect();
    slow.send_bytes(b"pi");
    let begun = Instant::now();
    let said = String::from_utf8(slow.rest()).expect("UTF-8");
    assert!(begun.elapsed() >= Duration::from_secs(4), "{said}");
    assert_prompt(&mut other);
}

// silence of a client that had announced pings.
#[test]
fn a_client_that_announced_pings_and_is_silent_is_dropped() {
    let home = Home::new();
    let _daemon = home.up();
    let mut silent = home.connect();
    let mut without = home.connect();
    let hello = json!({
        "command": "hello", "client": "0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d", "features": ["pings"],
    });
    assert_eq!(silent.end_of(hello)["status"], "ok");
    let begun = Instant::now();
    let said = String::from_utf8(silent.rest()).expect("UTF-8");
    let took = begun.elapsed();
    assert!((14..18).contains(&took.as_secs()), "{took:?}: {said}");
    assert_prompt(&mut without);
}

// T11, FI-7, R-123, DESIGN 7: those who never read cost a bounded amount and nobody's time.
#[test]
fn clients_that_never_read_are_dropped_in_bounded_memory() {
    let home = Home::new();
    let daemon = home.up();
    let before = daemon.resident();
    let mut other = home.connect();
    let question = "help\n".repeat(2_000);
    let silent: Vec<Line> = (0..rounds(20, 100)).map(|_| home.connect()).collect();
    for client in &silent {
        client.stream().set_nonblocking(true).expect("a socket");
    }
    let begun = Instant::now();
    let mut broken = 0;
    while broken < silent.len() && begun.elapsed() < Duration::from_secs(25) {
        broken = 0;
        for client in &silent {
            let mut stream = client.stream();
            match stream.write(question.as_bytes()) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => broken += 1,
            }
        }
        assert_prompt(&mut other);
        let now = daemon.resident();
        assert!(now < before + 2 * GROWTH, "{before} bytes, then {now}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(broken, silent.len(), "dropped");
    drop(silent);
    wait_until("nobody is left", || home.status()["clients"] == 2);
}

// FI-5, R-135: random bytes from many clients; whoever is well behaved notices nothing.
#[test]
fn random_bytes_harm_nobody() {
    let home = Home::new();
    let daemon = home.up();
    let mut other = home.connect();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..rounds(40, 2_000) {
        let client = home.connect();
        let mut bytes = Vec::with_capacity(20_000);
        for _ in 0..20_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.push(match seed % 29 {
                0 => b'\n',
                1 => b'{',
                2 => b'"',
                _ => (seed >> 32) as u8,
            });
        }
        // It may be dropped while it sends.
        client.stream().write_all(&bytes).ok();
        drop(client);
        assert_prompt(&mut other);
    }
    assert!(daemon.descriptors() < 64);
}
