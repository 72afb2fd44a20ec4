//! The benchmarks: `cargo bench` prints one table. `cargo bench -- pipelined start` runs what fits one of the words.
//!
//! Throughput and latency are ratios to a floor measured in the same run, turn by turn: a plain echo over the
//! same hops ([`floor`]). The program plays the floor's two processes itself, when started with their names.
//! A peer that is not installed is skipped with a line.

mod checks;
mod durable;
mod engine;
mod floor;
mod idle;
mod life;
mod load;
mod monitor;
mod redis;
mod rows;
mod throughput;

#[expect(
    dead_code,
    unused_imports,
    clippy::print_stderr,
    reason = "written for the integration tests, which use all of it"
)]
#[path = "../it/harness/mod.rs"]
mod harness;

use rows::Table;

/// One group of measurements; adds its rows to the table.
type Group = (&'static str, fn(&mut Table));

const GROUPS: &[Group] = &[
    ("engine", engine::run),
    ("monitor", monitor::run),
    ("round trip: sequential pipelined clients", throughput::run),
    ("pushed commands of a script", throughput::pushed),
    ("durable: once process power", durable::run),
    ("start status spawn crash", life::start),
    ("save reload", life::save),
    ("memory size", idle::memory),
    ("health checks", checks::run),
    ("idle processor", idle::processor),
    ("system calls", idle::system_calls),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some(floor::DAEMON) => return floor::daemon(&words[1]),
        Some(floor::CHILD) => return floor::child(),
        Some(_) | None => {}
    }
    // `cargo bench` adds its own word.
    let asked: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let mut table = Table::default();
    for (name, measure) in GROUPS {
        if asked.is_empty() || asked.iter().any(|word| name.contains(word.as_str())) {
            measure(&mut table);
        }
    }
    table.end();
}
