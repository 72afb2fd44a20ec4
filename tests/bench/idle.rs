//! What moonkeep takes when it does nothing, and how many system calls a request costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::harness::{Home, Line, installed};
use super::rows::{Row, Table, Target};

const WORKERS: u32 = 100;
const WATCHED: Duration = Duration::from_secs(10);

const IDLE: &str = "local moonkeep = require \"moonkeep\"\n\
    moonkeep.handle(\"ask\", function(request) return request.params end, { delivery = \"query\" })\n";

fn status_field(pid: i64, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    field_of(&text, field)
}

fn field_of(text: &str, field: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(field));
    let value = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {field} in {text}"))
}

fn workers(home: &Home) -> Vec<i64> {
    let status = home.status();
    let scripts = status["scripts"].as_array().expect("scripts");
    scripts
        .iter()
        .filter_map(|script| script["pid"].as_i64())
        .collect()
}

fn row(table: &mut Table, what: &str, value: f64, unit: &'static str, most: f64) {
    table.row(&Row {
        what,
        figure: format!("{value:.2} {unit}"),
        floor: String::new(),
        value,
        target: Target::AtMost(most, unit),
    });
}

pub(crate) fn memory(table: &mut Table) {
    let home = Home::new();
    let daemon = home.up();
    let alone = status_field(daemon.pid().into(), "VmRSS:");
    row(
        table,
        "daemon without scripts, resident",
        alone / 1024.0,
        "MiB",
        8.0,
    );
    drop(daemon);

    let mut home = Home::new();
    for number in 0..WORKERS {
        home = home.script(&format!("s{number}.lua"), IDLE);
    }
    let daemon = home.up();
    let pss = |pid: i64| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
        field_of(&text, "Pss:")
    };
    let all = workers(&home);
    assert_eq!(all.len(), WORKERS as usize, "every script has a worker");
    let mean = all.iter().map(|pid| pss(*pid)).sum::<f64>() / f64::from(WORKERS);
    row(
        table,
        "worker of 100, proportional set size",
        mean / 1024.0,
        "MiB",
        0.8,
    );
    let full = status_field(daemon.pid().into(), "VmRSS:");
    let growth = (full - alone).max(0.0) / f64::from(WORKERS);
    row(
        table,
        "daemon's growth for each idle worker",
        growth,
        "kB",
        30.0,
    );
    drop(daemon);

    let size = fs::metadata(super::harness::BINARY)
        .expect("the binary")
        .len();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let size = size as f64 / (1024.0 * 1024.0);
    row(table, "the binary", size, "MiB", 12.0);
}

/// Wake-ups over some seconds, from the context switches that the kernel counts.
pub(crate) fn processor(table: &mut Table) {
    let home = Home::new().script("a.lua", IDLE).script("b.lua", IDLE);
    let daemon = home.up();
    let mut watched = workers(&home);
    watched.push(daemon.pid().into());
    let count = |pids: &[i64]| -> f64 {
        let threads = pids.iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
            tasks.flatten().map(|task| task.path().join("status"))
        });
        threads
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|text| field_of(&text, "voluntary_ctxt_switches:"))
            .sum()
    };
    let ticks = || super::harness::ticks(daemon.pid());
    let (before, used) = (count(&watched), ticks());
    std::thread::sleep(WATCHED);
    let rate = (count(&watched) - before) / WATCHED.as_secs_f64();
    row(
        table,
        "wake-ups, daemon and 2 workers, idle",
        rate,
        "/s",
        1.2,
    );
    #[expect(clippy::cast_precision_loss, reason = "a few ticks")]
    let share = (ticks() - used) as f64 / WATCHED.as_secs_f64();
    row(table, "processor, daemon, idle", share, "%", 0.1);
    drop(daemon);
}

/// Calls of the daemon and of the worker for one request, counted by strace over many.
pub(crate) fn system_calls(table: &mut Table) {
    if !installed("strace", "system calls") {
        table.skip("strace: not installed, system calls skipped");
        return;
    }
    let home = Home::new().script("a.lua", IDLE);
    let daemon = home.up();
    let worker = workers(&home)[0];
    for (what, pid, in_flight, most) in [
        (
            "daemon, one at a time",
            i64::from(daemon.pid()),
            1,
            6.0 * 1.2,
        ),
        ("worker, one at a time", worker, 1, 3.0 * 1.2),
        (
            "daemon, 64 in flight",
            i64::from(daemon.pid()),
            64,
            0.09 * 1.2,
        ),
        ("worker, 64 in flight", worker, 64, 0.05 * 1.2),
    ] {
        match traced(&home, pid, in_flight) {
            Some(calls) => {
                row(
                    table,
                    &format!("system calls a request: {what}"),
                    calls,
                    "calls",
                    most,
                );
            }
            None => table.skip("strace could not attach, system calls skipped"),
        }
    }
    drop(daemon);
}

fn traced(home: &Home, pid: i64, in_flight: u32) -> Option<f64> {
    const REQUESTS: u32 = 6_400;
    let summary: PathBuf = home.temporary().join("strace.txt");
    fs::remove_file(&summary).ok();
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-qq", "-o"])
        .arg(&summary)
        .args(["-p", &pid.to_string()])
        .spawn()
        .ok()?;
    let attached = super::harness::wait_for("strace attaches or gives up", || {
        let ended = strace.try_wait().ok()?.is_some();
        let tracer = status_field(pid, "TracerPid:") > 0.0;
        (ended || tracer).then_some(tracer)
    });
    if !attached {
        return None;
    }
    let mut client = home.connect();
    for _ in 0..REQUESTS / in_flight {
        batch(&mut client, in_flight);
    }
    let tracer = i32::try_from(strace.id()).ok()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(tracer)?,
        rustix::process::Signal::INT,
    )
    .ok()?;
    strace.wait().ok()?;
    Some(total(&summary)? / f64::from(REQUESTS))
}

fn batch(client: &mut Line, count: u32) {
    let mut text = String::new();
    for number in 0..count {
        let question = json!({
            "request_id": number, "command": "call", "script": "a", "handler": "ask",
            "params": { "number": number },
        });
        text += &format!("{question}\n");
    }
    client.send_bytes(text.as_bytes());
    for _ in 0..count {
        client.recv();
    }
}

/// The calls of strace's last line: `100.00 0.1 12 3456 total`.
fn total(summary: &Path) -> Option<f64> {
    let text = fs::read_to_string(summary).ok()?;
    let line = text.lines().rev().find(|line| line.ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
