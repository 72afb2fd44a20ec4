//! The delivery protocol as a small model, explored state by state.
//!
//! A client that repeats its request, a daemon, a journal with what is written and what is synced, workers
//! with their outcome records and their lock; and at every moment any of the faults: the daemon or a worker
//! is killed, the power fails, the script is saved, the request is cancelled or its time is over, its answer
//! is pruned, its client leaves content with `accepted`. Within its bounds ([`Bounds`]) every order of all
//! these is looked at, so a promise that holds here holds for each of them. And each rule of the protocol has
//! to be there: leave one out ([`Weakening`]), and a promise breaks in a way that is printed step by step.
//!
//! The exploration is our own ([`search`]): breadth first, so that a counterexample is a shortest one. It
//! needs no further crate, and instead of "always in the end" it asks that each quiet world has ended everything.
//!
//! What the model leaves out: the bytes (lines, encodings, sizes); time, but for "it is over"; queues, bounds
//! and `busy`, refusals after an acceptance; more than one script, and more than two requests; a third start
//! of an `idempotent` request that is given up; `query`, which leaves no trace here; faults of the disk other
//! than losing what was not synced; ids that conflict. The engine's simulation, the journal's own tests and
//! the campaigns on real processes have these. The model says that the rules suffice, they say that the
//! program follows the rules.

mod action;
mod rules;
mod search;
mod state;

use std::time::Instant;

use action::{Broken, Weakening};
use rules::Rules;
use search::explore;
use state::{Bounds, Delivery, Faults, Level};

use crate::harness::long;

const NONE: Faults = Faults {
    daemon_kills: 0,
    worker_kills: 0,
    power_losses: 0,
    reloads: 0,
    cancels: 0,
    timeouts: 0,
    prunings: 0,
    leavings: 0,
};

/// One request of this class, at this level, under these faults.
fn one(delivery: Delivery, level: Level, faults: Faults) -> Bounds {
    Bounds {
        requests: 1,
        delivery,
        level,
        faults,
        again: 1,
    }
}

const CRASHES: Faults = Faults {
    daemon_kills: 2,
    worker_kills: 1,
    ..NONE
};
const POWER: Faults = Faults {
    daemon_kills: 1,
    power_losses: 1,
    leavings: 1,
    ..NONE
};
const CANCELS: Faults = Faults {
    daemon_kills: 1,
    worker_kills: 1,
    cancels: 1,
    ..NONE
};
const TIME: Faults = Faults {
    daemon_kills: 1,
    worker_kills: 1,
    timeouts: 1,
    prunings: 1,
    ..NONE
};
const RELOADS: Faults = Faults {
    daemon_kills: 1,
    worker_kills: 1,
    reloads: 1,
    ..NONE
};
const POWER_AND_CANCELS: Faults = Faults {
    worker_kills: 1,
    power_losses: 1,
    cancels: 1,
    ..NONE
};
const TWO: Faults = Faults {
    daemon_kills: 1,
    ..NONE
};
const ALL: [Faults; 6] = [CRASHES, POWER, CANCELS, TIME, RELOADS, POWER_AND_CANCELS];

/// For `MOONKEEP_LONG=1`: several million worlds.
const MANY: [Faults; 2] = [
    Faults {
        daemon_kills: 2,
        worker_kills: 1,
        power_losses: 1,
        cancels: 1,
        prunings: 1,
        leavings: 1,
        ..NONE
    },
    Faults {
        daemon_kills: 1,
        worker_kills: 1,
        power_losses: 1,
        reloads: 1,
        cancels: 1,
        timeouts: 1,
        prunings: 1,
        leavings: 1,
    },
];

#[track_caller]
fn assert_holds(bounds: Bounds) {
    let begun = Instant::now();
    let explored = explore(
        &Rules {
            bounds,
            without: None,
        },
        |_| true,
    );
    eprintln!(
        "model: {} worlds, {} steps in {:.1} s: {bounds:?}",
        explored.worlds,
        explored.steps,
        begun.elapsed().as_secs_f32()
    );
    if let Some(counterexample) = explored.broken {
        panic!("{bounds:?}\n{}", counterexample.text());
    }
    assert!(explored.worlds > 1_000, "it looked at next to nothing");
}

// FI-12, FI-20, R-008
#[test]
fn once_requests_keep_every_promise_at_the_level_process() {
    for faults in ALL {
        assert_holds(one(Delivery::Once, Level::Process, faults));
    }
}

// FI-12, FI-20, R-008
#[test]
fn once_requests_keep_every_promise_at_the_level_power() {
    for faults in [CRASHES, POWER, CANCELS, POWER_AND_CANCELS] {
        assert_holds(one(Delivery::Once, Level::Power, faults));
    }
}

// FI-12, FI-20
#[test]
fn idempotent_requests_keep_every_promise() {
    for faults in [POWER, CANCELS, POWER_AND_CANCELS] {
        assert_holds(one(Delivery::Idempotent, Level::Process, faults));
    }
    assert_holds(one(Delivery::Idempotent, Level::Power, POWER));
}

#[test]
fn two_requests_on_one_worker_keep_every_promise() {
    assert_holds(Bounds {
        requests: 2,
        again: 0,
        ..one(Delivery::Once, Level::Process, TWO)
    });
}

/// All classes and levels under all faults together: minutes, and some gigabytes.
#[test]
fn larger_worlds_keep_every_promise() {
    if !long() {
        eprintln!("model: the larger worlds are explored with MOONKEEP_LONG=1");
        return;
    }
    for delivery in [Delivery::Once, Delivery::Idempotent] {
        for level in [Level::Process, Level::Power] {
            for faults in ALL.into_iter().chain(MANY) {
                assert_holds(one(delivery, level, faults));
            }
            let bounds = one(delivery, level, TWO);
            assert_holds(Bounds {
                requests: 2,
                again: 0,
                ..bounds
            });
        }
    }
}

/// What is left out, under which faults that shows, and which promise it breaks.
const WEAKENINGS: [(Weakening, Bounds, Broken); 15] = {
    use Delivery::{Idempotent, Once};
    use Level::{Power, Process};
    const fn of(delivery: Delivery, level: Level, faults: Faults) -> Bounds {
        Bounds {
            requests: 1,
            delivery,
            level,
            faults,
            again: 1,
        }
    }
    [
        (
            Weakening::SendBeforeStarted,
            of(Once, Process, CRASHES),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::StartedUnsynced,
            of(Once, Power, POWER),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::AcceptedUnsynced,
            of(Once, Process, POWER),
            Broken::AcknowledgedAndNeverEnded,
        ),
        (
            Weakening::DoneUnsynced,
            of(Once, Power, POWER),
            Broken::ContradictingAnswers,
        ),
        (
            Weakening::StartedRunAgain,
            of(Once, Process, CRASHES),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::AcceptedNotResumed,
            of(Once, Process, POWER),
            Broken::AcknowledgedAndNeverEnded,
        ),
        (
            Weakening::NoLowWater,
            of(Once, Process, TIME),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::CancelledAfterStart,
            of(Once, Process, CANCELS),
            Broken::RefusedWithEffect,
        ),
        (
            Weakening::NoWaitNoUnknown,
            of(Once, Process, CRASHES),
            Broken::ContradictingAnswers,
        ),
        (
            Weakening::NoLocks,
            of(Once, Process, CRASHES),
            Broken::UnknownWithoutReason,
        ),
        (
            Weakening::NoRecords,
            of(Once, Process, CRASHES),
            Broken::UnknownWithoutReason,
        ),
        (
            Weakening::ResumedAfterReboot,
            of(Once, Process, POWER),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::RecordsDroppedEarly,
            of(Once, Process, CRASHES),
            Broken::UnknownWithoutReason,
        ),
        (
            Weakening::BootedTooEarly,
            of(Once, Process, POWER),
            Broken::OnceBegunTwice,
        ),
        (
            Weakening::CancelledBetweenStarts,
            of(Idempotent, Process, CANCELS),
            Broken::RefusedWithEffect,
        ),
    ]
};

// FI-20: each rule that is left out breaks a promise, and the shortest way there can be read.
#[test]
fn each_rule_that_is_left_out_breaks_a_promise() {
    for (weakening, bounds, broken) in WEAKENINGS {
        let rules = Rules {
            bounds,
            without: Some(weakening),
        };
        let explored = explore(&rules, |found| found == broken);
        let Some(counterexample) = explored.broken else {
            panic!("without {weakening:?} nothing breaks: {bounds:?}");
        };
        assert!(counterexample.way.iter().any(|step| step.is_fault()));
        eprintln!("model: without {weakening:?}: {}", counterexample.text());
    }
}
