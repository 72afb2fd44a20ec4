//! Every kind of check that moonkeep brings, against the real thing where it is installed, else against a small
//! server of the test: what is well, what is not and with which sentence, wrong parameters, and targets that hang.

#![expect(
    clippy::too_many_lines,
    reason = "a test here is a table of cases, a line or more for each"
)]

mod fakes;
mod machine;
mod network;
mod oracle;
mod programs;
mod time_limits;
mod tls;
mod traces;
mod wrong;

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::Home;

/// One check: its section of `moonkeep.toml` without the first line, its state, and a part of its message.
type Case<'a> = (&'a str, &'a str, &'a str);

/// Makes a home with a section for each case.
fn home_of(cases: &[Case<'_>]) -> Home {
    let home = Home::new();
    configure(&home, cases);
    home
}

fn configure(home: &Home, cases: &[Case<'_>]) {
    let mut config = String::new();
    for (at, (section, _, _)) in cases.iter().enumerate() {
        let patience = patient(section);
        write!(config, "[check.c{at}]\n{section}\n{patience}").expect("a text");
    }
    home.write("moonkeep.toml", &config);
}

/// Thresholds of time that a busy machine does not break, for a section that has none of its own.
fn patient(section: &str) -> String {
    const TIMED: [&str; 9] = [
        "tcp", "http", "udp", "unix", "dns", "ssh", "smtp", "redis", "postgres",
    ];
    let is_plugin = |name: &&str| section.starts_with(&format!("plugin = \"{name}\""));
    let lacks = |key: &str| !section.lines().any(|line| line.starts_with(key));
    let mut more = String::new();
    if TIMED.iter().any(is_plugin) {
        for (key, line) in [("warn", "warn = 60\n"), ("crit", "crit = 90\n")] {
            more += if lacks(key) { line } else { "" };
        }
    } else if is_plugin(&"tls") {
        more += "slow = 60\n";
    }
    more
}

/// Runs all cases at once and compares; gives the checks for a closer look.
#[track_caller]
fn expect(cases: &[Case<'_>]) -> Vec<Value> {
    let home = home_of(cases);
    expect_in(&home, cases)
}

#[track_caller]
fn expect_in(home: &Home, cases: &[Case<'_>]) -> Vec<Value> {
    configure(home, cases);
    compare(cases, &home.run(&["check", "-f", "json"]).stdout)
}

#[track_caller]
fn compare(cases: &[Case<'_>], output: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(output).expect("JSON");
    let checks = report["checks"].as_array().expect("a list");
    let mut found = Vec::new();
    for (at, (section, state, part)) in cases.iter().enumerate() {
        let name = format!("c{at}");
        let check = checks
            .iter()
            .find(|check| check["name"] == name.as_str())
            .unwrap_or_else(|| panic!("{section} made no check: {report}"));
        let message = check["message"].as_str().expect("a text");
        assert_eq!(check["state"], *state, "{section}\n{message}");
        assert!(
            message.contains(part),
            "{part:?} in {message:?} of\n{section}"
        );
        found.push(check.clone());
    }
    found
}

/// The value of a measure.
#[track_caller]
fn measure(check: &Value, name: &str) -> f64 {
    check["measures"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|measure| measure["name"] == name)
        .and_then(|measure| measure["value"].as_f64())
        .unwrap_or_else(|| panic!("{name} is measured in {check}"))
}
