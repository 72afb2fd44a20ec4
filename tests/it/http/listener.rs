//! The listener of a real daemon: what it answers, whom it bears, how it comes and goes.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Answer, address, connect, get, rest, say};
use crate::harness::{Home, wait_until};

/// A home that serves on any port.
fn home() -> Home {
    Home::new().config("[http]\nlisten = \"127.0.0.1:0\"\n")
}

/// Sockets for a crowd.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit it is granted");
}

fn warnings(home: &Home) -> String {
    home.status()["warnings"].to_string()
}

#[test]
fn every_path_has_its_status_its_type_and_headers_that_let_nothing_else_in() {
    let home = home();
    let _daemon = home.up();
    let address = address(&home);
    for (path, status, kind, part) in [
        (
            "/",
            200,
            "text/html; charset=utf-8",
            "There are no checks yet",
        ),
        (
            "/metrics",
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "\nmoonkeep_uptime_seconds ",
        ),
        ("/checks.json", 200, "application/json", "\"checks\":[]"),
        (
            "/health",
            200,
            "application/health+json",
            "\"status\":\"pass\"",
        ),
        ("/livez", 200, "text/plain; charset=utf-8", "ok"),
        (
            "/readyz?verbose",
            200,
            "text/plain; charset=utf-8",
            "[+]scripts ok\nreadyz check passed\n",
        ),
        ("/livez/ping", 200, "text/plain; charset=utf-8", "ok"),
        ("/nope", 404, "text/plain; charset=utf-8", "/metrics"),
    ] {
        let answer = get(address, path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some(kind)),
            "{path}"
        );
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("connection"), Some("close"), "{path}");
        let cache = if path == "/health" {
            "max-age=1"
        } else {
            "no-store"
        };
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");
        let head = say(
            address,
            &format!("HEAD {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        );
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}");
        assert!(
            head.header("content-length")
                .is_some_and(|length| length != "0"),
            "{path}"
        );
    }
}

#[test]
fn other_methods_other_hosts_and_heads_without_end_are_refused() {
    let home =
        Home::new().config("[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"status.example.org\"]\n");
    let _daemon = home.up();
    let address = address(&home);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer = say(
            address,
            &format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
    for (head, status) in [
        (
            "GET /livez HTTP/1.1\r\nHost: status.example.org\r\n\r\n",
            200,
        ),
        ("GET /livez HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 200),
        // A probe of a proxy, which names nobody.
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
        ("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            403,
        ),
        (
            "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            403,
        ),
        ("GET /livez HTTP/1.1\r\nHost: \u{e9}vil\r\n\r\n", 403),
        ("GET /livez HTTP/9.9\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ] {
        assert_eq!(say(address, head).status, status, "{head}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(say(address, &long).status, 431);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(100));
    assert_eq!(say(address, &many).status, 431);
    assert_eq!(get(address, "/livez").status, 200);
}

#[test]
fn a_thousand_readers_at_once_are_all_served() {
    raise_descriptor_limit();
    let home = home();
    let daemon = home.up();
    let address = address(&home);
    let before = daemon.descriptors();
    let ask = |at: usize| {
        let mut stream = connect(address);
        let path = ["/", "/metrics", "/readyz", "/checks.json"][at % 4];
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream
            .write_all(head.as_bytes())
            .expect("it takes the head");
        stream
    };
    let readers: Vec<TcpStream> = (0..1_000).map(ask).collect();
    for reader in &readers {
        assert_eq!(Answer::parse(&rest(reader)).status, 200);
    }
    drop(readers);
    wait_until("all connections are gone", || {
        daemon.descriptors() <= before
    });
}

#[test]
fn a_thousand_silent_peers_keep_nobody_out_and_leave_nothing_behind() {
    raise_descriptor_limit();
    let home = home();
    let daemon = home.up();
    let address = address(&home);
    let before = (daemon.descriptors(), daemon.resident());
    let silent: Vec<TcpStream> = (0..1_000)
        .map(|at| {
            let mut stream = connect(address);
            if at < 500 {
                stream
                    .write_all(b"GET / HTTP/1.1\r\nX-Slow: ")
                    .expect("it takes a part");
            }
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(get(address, "/livez").status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    home.connect().command("ping");
    assert!(
        daemon.descriptors() < before.0 + 300,
        "the number of peers is bounded"
    );
    drop(silent);
    wait_until("all connections are gone", || {
        daemon.descriptors() <= before.0
    });
    let grown = daemon.resident().saturating_sub(before.1);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more than before");
}

#[test]
fn who_takes_longer_than_a_request_may_is_cut_off() {
    if std::env::var_os("MOONKEEP_LONG").is_none() {
        return;
    }
    let home = home();
    let _daemon = home.up();
    let address = address(&home);
    let begun = Instant::now();
    let mut slow = connect(address);
    slow.write_all(b"GET / HTTP/1.1\r\n")
        .expect("it takes a part");
    let other = slow.try_clone().expect("a second handle");
    let drip = std::thread::spawn(move || {
        let mut slow = slow;
        while slow.write_all(b"X: y\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    assert_eq!(rest(&other), b"", "half a request has no answer");
    assert!(
        (8..20).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
    drip.join().expect("it ends with the connection");
}

#[test]
fn a_port_in_use_is_a_warning_until_it_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let place = taken.local_addr().expect("bound");
    let home = Home::new().config(&format!("[http]\nlisten = \"{place}\"\n"));
    let _daemon = home.up();
    wait_until("the warning is there", || {
        warnings(&home).contains("cannot listen for HTTP at")
    });
    let said = warnings(&home);
    for part in [
        place.to_string().as_str(),
        "in use",
        "ss -ltnp",
        "tried again every 5 s",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    assert!(
        home.run(&["status"])
            .stdout
            .contains("cannot listen for HTTP")
    );
    assert!(
        home.run(&["logs"])
            .stdout
            .contains("cannot listen for HTTP")
    );
    drop(taken);
    assert_eq!(address(&home), place);
    assert_eq!(warnings(&home), "[]");
    assert_eq!(get(place, "/livez").status, 200);
    let told = home
        .read("logs/daemon.log")
        .matches("cannot listen for HTTP")
        .count();
    assert_eq!(told, 1, "it is said once, not with each try");
}

#[test]
fn moonkeep_toml_opens_moves_and_closes_the_listener() {
    let home = Home::new();
    let _daemon = home.up();
    assert!(home.status()["http"].is_null());
    let change = |text: &str| home.replace("moonkeep.toml", text);
    change("[http]\nlisten = \"127.0.0.1:0\"\n");
    let first = address(&home);
    let host = |at: SocketAddr| say(at, "GET /livez HTTP/1.1\r\nHost: a.example\r\n\r\n").status;
    assert_eq!(host(first), 403);
    // Another name: the address stays.
    change("[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"a.example\"]\n");
    wait_until("the name is known", || host(first) == 200);
    assert_eq!(address(&home), first);
    // A faulty file: what runs goes on.
    change("[http]\nlisten = \"nowhere\"\n");
    wait_until("the fault is told", || {
        warnings(&home).contains("http.listen")
    });
    assert_eq!(host(first), 200);
    // Another address: who is being served by the old one is served to the end.
    let mut late = connect(first);
    late.write_all(b"GET /livez HTTP/1.1\r\n")
        .expect("it takes a part");
    change("[http]\nlisten = \"[::1]:0\"\n");
    wait_until("it has moved", || address(&home) != first);
    assert!(
        TcpStream::connect(first).is_err(),
        "the old address is closed"
    );
    late.write_all(b"Host: localhost\r\n\r\n")
        .expect("it takes the rest");
    assert_eq!(Answer::parse(&rest(&late)).status, 200);
    let second = address(&home);
    assert_eq!(get(second, "/livez").status, 200);
    change("");
    wait_until("it is closed", || TcpStream::connect(second).is_err());
    wait_until("status says so", || home.status()["http"].is_null());
}

#[test]
fn an_address_that_others_reach_is_noted() {
    let home = Home::new().config("[http]\nlisten = \"0.0.0.0:0\"\n");
    let _daemon = home.up();
    let port = address(&home).port();
    assert_eq!(
        get(SocketAddr::from(([127, 0, 0, 1], port)), "/livez").status,
        200
    );
    wait_until("the log says so", || {
        home.read("logs/daemon.log")
            .contains("is not of this machine alone")
    });
}
