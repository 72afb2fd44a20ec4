//! How the simulations go through their seeds: 200, 10,000 with `MOONKEEP_LONG=1`, or the one of `MOONKEEP_SEED`.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, resume_unwind};

/// How often each kind of end was seen.
pub(super) type Kinds = BTreeMap<String, u64>;

/// The one seed that is asked for.
pub(super) fn chosen() -> Option<u64> {
    std::env::var("MOONKEEP_SEED").ok()?.parse().ok()
}

/// How many seeds a run has.
pub(super) fn count() -> u64 {
    if std::env::var_os("MOONKEEP_LONG").is_some_and(|value| value == "1") {
        10_000
    } else {
        200
    }
}

/// One seed; says which it was if it panics.
pub(super) fn run<T>(seed: u64, live: impl FnOnce(u64) -> T + std::panic::UnwindSafe) -> T {
    match catch_unwind(|| live(seed)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            eprintln!("simulation failed at seed {seed}; MOONKEEP_SEED={seed} runs it alone");
            resume_unwind(panic);
        }
    }
}

pub(super) fn add(kinds: &mut Kinds, more: Kinds) {
    for (kind, count) in more {
        *kinds.entry(kind).or_default() += count;
    }
}

/// A run of all seeds was a real one: long enough, with each of these ends in it.
pub(super) fn was_real(steps: u64, kinds: &Kinds, wanted: &[&str]) {
    assert!(steps >= 1_000 * count(), "{steps} steps are no real test");
    for kind in wanted {
        assert!(
            kinds.contains_key(*kind),
            "no request ended in {kind}: {kinds:?}"
        );
    }
}
