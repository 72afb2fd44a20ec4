//! Campaigns: real processes, hurt at random, under load, for as long as it takes; then the books are
//! compared.
//!
//! Handlers write down what they do, clients what they sent and heard ([`load`]), and a [`checker`] that shares
//! no code with moonkeep says whether every request came to its one end, and whether that end is true. Each
//! campaign prints its seed and its figures; `MOONKEEP_SEED` plays the same choices again (the machine's own
//! timing is not in the seed). `MOONKEEP_LONG=1` runs the full counts. A run that fails leaves its home behind.

mod checker;
mod crowds;
mod daemon_kills;
mod hangs;
mod load;
mod saves;
mod scripts;
mod storms;
mod worker_kills;

use std::time::{Duration, Instant};

use crate::harness::Home;

/// Choices that can be made again (splitmix64).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// The seed of this run, said once for each campaign.
fn seed(campaign: &str) -> u64 {
    let given = std::env::var("MOONKEEP_SEED").ok();
    let seed = given
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
    eprintln!("{campaign}: MOONKEEP_SEED={seed}");
    seed
}

/// Times of one kind, and what share of them was how long.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that so many of a hundred do not exceed.
    fn percentile(&self, share: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        sorted.get(last * share / 100).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most, all] =
            [50, 99, 100].map(|share| self.percentile(share).as_secs_f64() * 1e3);
        write!(f, "p50 {half:.1} ms, p99 {most:.1} ms, longest {all:.1} ms")
    }
}

/// What was accepted of clients that have left may still wait for its turn.
fn wait_for_those_that_left(home: &Home, clients: &str) -> checker::Verdict {
    let begun = Instant::now();
    loop {
        let verdict = checker::check(clients, &scripts::ledger(home));
        if verdict.lost.is_empty() || begun.elapsed() > TO_RUN {
            return verdict;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How long what was accepted may wait for its turn when nothing else is asked any more.
const TO_RUN: Duration = Duration::from_secs(10);

/// Compares the books of a campaign that is over, and keeps them in the home.
#[track_caller]
fn settle(campaign: &str, home: &Home, clients: &str, unknown_allowed: bool) -> checker::Verdict {
    home.write("clients.log", clients);
    let verdict = wait_for_those_that_left(home, clients);
    eprintln!("{campaign}: {verdict}");
    let broken = verdict.is_broken() || (!unknown_allowed && !verdict.unknown.is_empty());
    assert!(
        !broken,
        "{campaign}: a promise was broken: {verdict}\n{}\nthe clients' log is clients.log of the home, the effects' ledgers are in state/scripts",
        verdict.examples()
    );
    verdict
}
