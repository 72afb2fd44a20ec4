//! What the matrix does not ask: facts of certificates, stores over a SIGKILL, pings.

use std::path::Path;

use super::peers::{self, on_tls, place};
use super::{Bench, Expect};
use crate::harness::worker::{Worker, setup};
use crate::harness::{BINARY, Home, PATIENCE, installed};

#[test]
fn a_certificate_that_nobody_should_trust_is_looked_at_and_told_why() {
    let home = Home::new();
    let mut bench = Bench::start(&home, "free", false);
    let server = |name| on_tls(name, peers::closing, peers::echo);
    let (good, expired) = (server("server.pem"), server("expired.pem"));
    let alone = server("selfsigned.pem");
    let ca = place("ca.pem");
    for (address, options, verified, why) in [
        (&good, format!("{{ca='{ca}'}}"), true, "nil"),
        (&expired, format!("{{ca='{ca}'}}"), false, "expired"),
        (&alone, format!("{{ca='{ca}'}}"), false, "self-signed"),
        (
            &good,
            format!("{{ca='{ca}', server_name='other.example'}}"),
            false,
            "not for other.example, but for localhost, 127.0.0.1",
        ),
        (&good, "nil".to_owned(), false, ""),
    ] {
        let code = format!(
            "local c = tls.certificate('{address}', {options}); return tostring(c.verified) .. ' ' .. tostring(c.why)"
        );
        let told = bench.run(&code);
        let told = told["text"].as_str().unwrap_or_default().to_owned();
        assert!(
            told.starts_with(&format!("{verified} {why}")),
            "{code}: {told}: {}",
            bench.run(&format!(
                "return json.encode(tls.certificate('{address}', {options}))"
            ))
        );
    }
    let facts = bench.run(&format!(
        "local c = tls.certificate('{expired}'); return table.concat({{ c.subject, c.issuer, c.not_before, c.not_after, \
         tostring(c.days_left < 0), #c.sha256, #c.chain, tostring(c.self_signed) }}, '|')"
    ));
    assert_eq!(
        facts["text"],
        "CN=localhost|CN=moonkeep test authority|1577836800|1609459200|true|64|1|false"
    );
}

#[test]
fn what_a_store_has_taken_outlives_a_kill() {
    let home = Home::new();
    let mut bench = Bench::start(&home, "keeper", false);
    bench.begin(
        "for n = 1, 1e9 do store.set('n', n); fs.write(moonkeep.state_dir .. '/said', tostring(n)) end",
        PATIENCE,
    );
    let said = || -> Option<u64> {
        let text = std::fs::read_to_string(home.path("state/scripts/keeper/said")).ok()?;
        text.parse().ok()
    };
    crate::harness::wait_until("some have been set", || said().is_some_and(|n| n > 20));
    bench.worker.kill();
    let said = said().expect("a number");
    let mut again = Bench::start(&home, "keeper", false);
    let kept = again.run("return store.get('n')");
    let kept: u64 = kept["text"]
        .as_str()
        .unwrap_or_default()
        .parse()
        .expect("a number");
    assert!(kept >= said, "{said} was said to be kept, {kept} was");
}

#[test]
fn two_workers_that_count_in_one_store_lose_nothing() {
    let home = Home::new();
    let mut one = Bench::start(&home, "counter", false);
    // As the next generation during a reload: the same script, the same folder.
    let mut two = Bench::start(&home, "counter", false);
    let code =
        "for _ = 1, 50 do store.incr('n'); store.transaction(function(tx) tx.incr('n') end) end";
    let (first, second) = (one.begin(code, PATIENCE), two.begin(code, PATIENCE));
    for (bench, ticket) in [(&mut one, first), (&mut two, second)] {
        let end = bench.worker.end_of(ticket);
        assert!(end["result"]["code"].is_null(), "{end}");
    }
    assert_eq!(one.run("return store.get('n')")["text"], "200");
}

/// A network of its own in which pings are allowed, with an address that swallows them.
const NETWORK: &str = r#"
ip link set lo up && ip link add hole type dummy && ip addr add 192.0.2.1/24 dev hole && ip link set hole up &&
ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev hole && echo "0 0" > /proc/sys/net/ipv4/ping_group_range && exec "$@"
"#;

#[test]
fn a_ping_is_answered_or_says_why_not() {
    const TEST: &str = "a_ping_is_answered_or_says_why_not";
    let home = Home::new();
    let mut bench = Bench::start(&home, "free", false);
    let told = bench.run("return icmp.ping('127.0.0.1').received");
    if told["code"] == "failure" {
        let text = told["text"].as_str().unwrap_or_default();
        assert!(text.contains("net.ipv4.ping_group_range"), "{told}");
    } else {
        assert_eq!(told["text"], "1", "{told}");
    }
    let probe = std::process::Command::new("unshare")
        .args(["-Urn", "sh", "-c", NETWORK, "sh", "true"])
        .output();
    if !installed("unshare", TEST) || !installed("ip", TEST) {
        return;
    }
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("{TEST}: skipped in part, no network of our own can be made here");
        return;
    }
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-Urn", "sh", "-c", NETWORK, "sh"])
        .arg(home.program(Path::new(BINARY)).into_command().get_program());
    for (name, value) in home.program(Path::new(BINARY)).into_command().get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    home.write("scripts/pinger.lua", super::RUNNER);
    let mut worker = Worker::spawn_by(command, &home, setup(&home, "pinger.lua"));
    worker.await_ready();
    let mut bench = Bench::around(worker);
    let names = std::collections::BTreeMap::new();
    for (what, case) in [
        (
            "success",
            super::Case::Ends(
                "local r = icmp.ping('127.0.0.1', {count=3, every=0.01, size=1000}); return r.received .. '/' .. r.sent .. r.peer",
                Expect::Gives("3/3127.0.0.1"),
            ),
        ),
        (
            "six",
            super::Case::Ends("return icmp.ping('::1').peer", Expect::Gives("::1")),
        ),
        (
            "timeout",
            super::Case::Ends(
                "return icmp.ping('192.0.2.2', {wait=0.1})",
                Expect::Fails("does not answer one echo request within 0.1 s"),
            ),
        ),
        (
            "cancel",
            super::Case::Hangs("return icmp.ping('192.0.2.2', {wait=20, timeout=20})"),
        ),
        (
            "peer fails",
            super::Case::Ends(
                "return icmp.ping('198.51.100.1')",
                Expect::Fails("cannot ping 198.51.100.1: network is unreachable"),
            ),
        ),
    ] {
        bench
            .check(&case, &names)
            .unwrap_or_else(|why| panic!("{what}: {why}"));
    }
}

#[test]
fn the_suites_in_lua_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lua");
    let suites = std::fs::read_dir(folder).expect("tests/lua");
    let mut count = 0;
    for suite in suites.flatten() {
        let name = suite.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(suite.path()).expect("a suite");
        let home = Home::new().script(&name, &text);
        let _ = home
            .run(&[
                "run",
                &home.path(&format!("scripts/{name}")).display().to_string(),
            ])
            .expect_code(0);
        count += 1;
    }
    assert!(count >= 4, "{count} suites");
}
