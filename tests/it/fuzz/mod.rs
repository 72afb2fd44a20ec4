//! Fuzzing in this process: seeded, by grammar and by mutation, counted.
//!
//! Each parser has a campaign: [`ROUNDS`] inputs, or ten million with `MOONKEEP_LONG=1` (in a release build:
//! `MOONKEEP_LONG=1 cargo test --release --test it fuzz -- --nocapture`). A failing input is printed with what
//! plays it again: `MOONKEEP_SEED=... MOONKEEP_ROUND=...`. Coverage-guided targets for the same parsers are in
//! `tests/fuzz`.

mod codec;
mod config;
mod differential;
mod inputs;
mod json_suite;
mod lua;
mod outcomes;
pub(crate) mod random;
mod streams;
mod values;

use std::time::{Duration, Instant};

use random::Random;

use crate::harness::{long, resident};

/// Executions of a campaign with `MOONKEEP_LONG=1`.
const MANY: u64 = 10_000_000;
/// No input may take longer. Generous: the machine may be busy.
const PROMPT: Duration = Duration::from_secs(5);
/// By this much the process may grow in a campaign: other tests run in it at the same time.
const GROWTH: u64 = 256 * 1024 * 1024;

/// A number that the environment gives.
fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What plays a round again, told if it fails.
struct Replay<'a> {
    name: &'a str,
    seed: u64,
    round: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay { name, seed, round } = self;
            eprintln!("{name} failed; again: MOONKEEP_SEED={seed} MOONKEEP_ROUND={round}");
        }
    }
}

/// Runs `each` for `usual` rounds, or for [`MANY`]; each round has a seed of its own.
///
/// # Panics
/// If a round panics or takes longer than [`PROMPT`], or the process grows beyond measure.
fn campaign(name: &str, usual: u64, mut each: impl FnMut(&mut Random)) {
    let seed = given("MOONKEEP_SEED").unwrap_or(if long() { fresh() } else { 1 });
    let rounds = match given("MOONKEEP_ROUND") {
        Some(round) => round..round + 1,
        None => 0..if long() { MANY } else { usual },
    };
    let count = rounds.end - rounds.start;
    let (begun, before) = (Instant::now(), resident_here());
    let mut slowest = Duration::ZERO;
    let mut replay = Replay {
        name,
        seed,
        round: 0,
    };
    for round in rounds {
        replay.round = round;
        let start = Instant::now();
        each(&mut Random::new(seed, round));
        slowest = slowest.max(start.elapsed());
        assert!(slowest < PROMPT, "one input took {slowest:?}");
    }
    let grown = resident_here().saturating_sub(before);
    assert!(grown < GROWTH, "grown by {grown} bytes");
    let took = begun.elapsed();
    println!("fuzz {name}: seed {seed}, {count} executions in {took:.1?}, slowest {slowest:.1?}");
}

fn resident_here() -> u64 {
    resident(std::process::id().cast_signed())
}

/// A seed that nobody chose.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |time| time.as_micros() as u64)
}

/// For messages: bytes as text.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
