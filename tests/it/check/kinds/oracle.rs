//! The monitoring plugins as a second opinion: state and numbers of ours are those of theirs.

use serde_json::Value;

use super::fakes::lines;
use super::programs::nginx;
use super::tls::Authority;
use super::{expect_in, measure};
use crate::check::closed;
use crate::harness::{Home, installed};

const FOLDER: &str = "/usr/lib/nagios/plugins";

fn there(plugin: &str, test: &str) -> bool {
    installed(&format!("{FOLDER}/{plugin}"), test)
}

/// Runs theirs and ours at the same time, both in the state that is named.
#[track_caller]
fn both(home: &Home, command: &str, ours: &str, state: &str) -> (Value, Value) {
    let theirs = format!("plugin = \"nagios\"\ncommand = \"{command}\"");
    let mut checks = expect_in(home, &[(&theirs, state, ""), (ours, state, "")]);
    let ours = checks.pop().expect("two");
    (checks.pop().expect("two"), ours)
}

#[track_caller]
fn near(theirs: f64, ours: f64, tolerance: f64) {
    assert!(
        (theirs - ours).abs() <= tolerance,
        "theirs {theirs}, ours {ours}"
    );
}

/// The number behind some words of a message.
#[track_caller]
fn number(message: &str, before: &str) -> f64 {
    let rest = message.split(before).nth(1).unwrap_or_default();
    let digits: String = rest
        .chars()
        .take_while(|one| one.is_ascii_digit() || *one == '.')
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("a number after {before:?} in {message}"))
}

#[test]
fn tcp_agrees_with_check_tcp() {
    if !there("check_tcp", "tcp_agrees_with_check_tcp") {
        return;
    }
    let home = Home::new();
    let port = lines("220 ready\r\n", &[]).port();
    let none = closed().port();
    let ours =
        |port: u16, more: &str| format!("plugin = \"tcp\"\naddress = \"127.0.0.1:{port}\"\n{more}");
    let theirs = |port: u16, more: &str| format!("check_tcp -H 127.0.0.1 -p {port} {more}");
    let (a, b) = both(
        &home,
        &theirs(port, "-e 220"),
        &ours(port, "expect = \"220\""),
        "ok",
    );
    near(measure(&a, "time"), measure(&b, "time"), 2.0);
    both(&home, &theirs(none, ""), &ours(none, ""), "critical");
    both(
        &home,
        &theirs(port, "-w 0 -c 9"),
        &ours(port, "warn = 0\ncrit = 9"),
        "warning",
    );
    both(
        &home,
        &theirs(port, "-M crit -e 250"),
        &ours(port, "expect = \"250\""),
        "critical",
    );
}

#[test]
fn http_agrees_with_check_http() {
    let test = "http_agrees_with_check_http";
    let home = Home::new();
    if !there("check_http", test) || !installed("nginx", test) {
        return;
    }
    let web = nginx(&home);
    let port = web.address.port();
    let pairs = [
        ("-u /", "/", "", "ok"),
        ("-u / -s hello", "/", "contains = \"hello\"", "ok"),
        ("-u / -s moon", "/", "contains = \"moon\"", "critical"),
        ("-u /old -f follow", "/old", "", "ok"),
        ("-u /gone -e 404", "/gone", "status = 404", "ok"),
        ("-u /health", "/health", "", "critical"),
        ("-u / -w 0 -c 9", "/", "warn = 0\ncrit = 9", "warning"),
    ];
    for (options, path, more, state) in pairs {
        let ours = format!("plugin = \"http\"\nurl = \"http://127.0.0.1:{port}{path}\"\n{more}");
        let (a, b) = both(
            &home,
            &format!("check_http -I 127.0.0.1 -p {port} {options}"),
            &ours,
            state,
        );
        if state == "ok" {
            near(measure(&a, "time"), measure(&b, "time"), 2.0);
            // Theirs counts the headers too.
            assert!(measure(&a, "size") > measure(&b, "size"), "{a} {b}");
        }
    }
}

#[test]
fn tls_agrees_with_check_http() {
    let test = "tls_agrees_with_check_http";
    let home = Home::new();
    if !there("check_http", test) || !installed("openssl", test) {
        return;
    }
    let authority = Authority::new(&home);
    for (name, days, state) in [("a", 90, "ok"), ("b", 20, "warning"), ("c", 10, "critical")] {
        let service = authority.serve(name, "localhost", days);
        let port = service.address.port();
        let ours = format!(
            "plugin = \"tls\"\naddress = \"localhost:{port}\"\nca = \"{}\"\nwarn = \"30:\"\ncrit = \"14:\"",
            authority.ca()
        );
        let theirs = format!("check_http -S -H localhost -I 127.0.0.1 -p {port} -C 30,14");
        let (a, b) = both(&home, &theirs, &ours, state);
        let message = a["message"].as_str().expect("a text");
        // Far from its end theirs gives no number, only the date.
        if state != "ok" {
            near(number(message, " in "), measure(&b, "days_left"), 1.0);
        }
    }
}

#[test]
fn disk_load_processes_and_swap_agree_with_theirs() {
    let test = "disk_load_processes_and_swap_agree_with_theirs";
    let home = Home::new();
    if !["check_disk", "check_load", "check_procs", "check_swap"]
        .iter()
        .all(|plugin| there(plugin, test))
    {
        return;
    }
    let disk = "plugin = \"disk\"\npaths = \"/\"\ninodes_warn = \"\"\ninodes_crit = \"\"\n";
    let (a, b) = both(
        &home,
        "check_disk -w 0% -c 0% -p /",
        &format!("{disk}warn = 100\ncrit = 100"),
        "ok",
    );
    // DISK OK - free space: / 43211 MB (47.11% inode=97%);
    let message = a["message"].as_str().expect("a text");
    near(
        number(message, ": / "),
        measure(&b, "free") / 1_048_576.0,
        1500.0,
    );
    near(number(message, "("), 100.0 - measure(&b, "used"), 2.0);
    near(
        number(message, "inode="),
        100.0 - measure(&b, "inodes"),
        2.0,
    );
    both(
        &home,
        "check_disk -w 100% -c 0% -p /",
        &format!("{disk}warn = 0\ncrit = 100"),
        "warning",
    );
    both(
        &home,
        "check_disk -w 100% -c 100% -p /",
        &format!("{disk}crit = \"0\""),
        "critical",
    );

    let load = "plugin = \"load\"\nwarn = 1000\ncrit = 1000";
    let (a, b) = both(&home, "check_load -w 1000 -c 1000", load, "ok");
    for average in ["load1", "load5", "load15"] {
        near(measure(&a, average), measure(&b, average), 1.0);
    }

    let mark = format!("7{}", std::process::id());
    let mut sleeper = std::process::Command::new("sleep")
        .arg(&mark)
        .spawn()
        .expect("sleep");
    let ours = |count: &str| {
        format!("plugin = \"process\"\nname = \"sleep\"\nmatches = \"{mark}\"\ncount = \"{count}\"")
    };
    let theirs = |count: &str| format!("check_procs -C sleep -a {mark} -c {count}");
    let (a, b) = both(&home, &theirs("1:1"), &ours("1:1"), "ok");
    near(measure(&a, "procs"), measure(&b, "processes"), 0.0);
    both(&home, &theirs("2:"), &ours("2:"), "critical");
    let _ = sleeper.kill();
    let _ = sleeper.wait();

    let total = std::fs::read_to_string("/proc/meminfo").expect("Linux");
    if total.contains("SwapTotal:             0 kB") {
        both(
            &home,
            "check_swap -w 50% -c 20%",
            "plugin = \"swap\"\nrequired = true",
            "critical",
        );
    } else {
        let (a, b) = both(
            &home,
            "check_swap -w 0% -c 0%",
            "plugin = \"swap\"\nwarn = 100\ncrit = 100",
            "ok",
        );
        near(measure(&a, "swap") * 1_048_576.0, measure(&b, "free"), 64e6);
    }
}
