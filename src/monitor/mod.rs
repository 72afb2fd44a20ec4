//! In which state are the home's checks, and who is to be told? Pure, like the engine: `handle(now, Input)`, then
//! `poll_effect()` until empty, `next_timeout()`.
//!
//! The engine owns a [`Monitor`], hands it what plugins declare and what runs gave, and does what it wants: run a
//! check, keep something over a restart, deliver an alert. [`state`], [`result`], [`perfdata`] and [`range`] are also
//! what `moonkeep check` speaks without any daemon.
//!
//! | file | its one matter |
//! |---|---|
//! | [`alphabet`], [`view`] | everything that can happen and be wanted; what is shown |
//! | [`state`], [`result`], [`perfdata`], [`range`] | what one run gives |
//! | `check`, `declared` | one check; which checks there are |
//! | `clock`, `timers` | the time of day; what is due when |
//! | `schedule`, `cron`, `heartbeat` | when a check runs, or has to be heard of |
//! | `results`, `confirm`, `flapping`, `history` | what becomes of a result |
//! | `parents`, `quiet`, `alerts`, `deliveries` | what is told of it, and how it gets there |
//! | `record` | what the next daemon is to know |
//! | `requests`, `show` | what is asked for by words |

mod alerts;
pub mod alphabet;
pub mod answer;
mod check;
mod clock;
mod confirm;
mod cron;
mod declared;
mod deliveries;
mod flapping;
mod heartbeat;
mod history;
#[cfg(any(test, debug_assertions))]
mod invariants;
mod parents;
pub mod perfdata;
mod quiet;
pub mod range;
mod record;
mod requests;
pub mod result;
mod results;
mod schedule;
mod show;
pub mod state;
#[cfg(test)]
mod tests;
mod timers;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alphabet::{CheckAsk, Configured, Effect, Input};
use check::{Check, CheckKey, Origin};
use timers::Timer;

use crate::limits;
use crate::moment::Moment;
use crate::random::Random;

/// The machine. It owns the state of every check; nothing else changes it.
///
/// Nothing runs and nothing is alerted before the first [`Input::Clock`] and the first [`Input::Configured`]: without
/// them an alert would have no time and no way out. It asks for the clock by itself. All [`Effect::Keep`] of one step
/// belong in one transaction.
#[derive(Debug)]
pub struct Monitor {
    now: Moment,
    effects: VecDeque<Effect>,
    random: Random,
    clock: clock::Clock,
    timers: timers::Timers,
    configured: Option<Configured>,
    /// The clock and the configuration are known.
    is_ready: bool,
    /// Those that are not declared now are in here, too.
    checks: BTreeMap<CheckKey, Check>,
    names: BTreeMap<Box<str>, CheckKey>,
    next_check: u64,
    claims: declared::Claims,
    words: requests::Words,
    /// Declared checks that need others.
    with_needs: BTreeSet<CheckKey>,
    family: parents::Family,
    /// Checks that wait for a time of day.
    timed: BTreeSet<CheckKey>,
    schedule: schedule::Schedule,
    deliveries: deliveries::Deliveries,
    asked: BTreeMap<CheckAsk, requests::Asked>,
}

impl Monitor {
    /// `seed`: for the jitter of runs and of retries.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Monitor {
            now: Moment::default(),
            effects: VecDeque::new(),
            random: Random::new(seed),
            clock: clock::Clock::default(),
            timers: timers::Timers::default(),
            configured: None,
            is_ready: false,
            checks: BTreeMap::new(),
            names: BTreeMap::new(),
            next_check: 0,
            claims: declared::Claims::default(),
            words: requests::Words::default(),
            with_needs: BTreeSet::new(),
            family: parents::Family::default(),
            timed: BTreeSet::new(),
            schedule: schedule::Schedule::default(),
            deliveries: deliveries::Deliveries::default(),
            asked: BTreeMap::new(),
        }
    }

    /// One step. Timers that are due fire before the input. Never fails: an input that makes no sense is ignored.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.now = self.now.max(now);
        while let Some(timer) = self.timers.pop(self.now) {
            self.fire(timer);
        }
        self.take(input);
        self.start_ready();
        self.try_deliveries();
    }

    /// The next thing to be done, in order. Poll until `None`; several steps may come before.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is to be handed in at the latest, unless something else comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        self.timers.next()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => {}
            Input::Restored(kept) => {
                self.restore(*kept);
                self.arm_clock();
            }
            Input::Clock {
                unix_ms,
                offset_seconds,
            } => self.set_clock(unix_ms, offset_seconds),
            Input::Configured(configured) => self.configure(*configured),
            Input::Declared { plugin, checks } => self.declare(&Origin::Plugin(plugin), checks),
            Input::Withdrawn { plugin } => self.declare(&Origin::Plugin(plugin), Vec::new()),
            Input::Ended { run, outcome } => {
                self.run_has_ended(run, outcome.map(|outcome| *outcome))
            }
            Input::Beat {
                ask,
                check,
                beat,
                message,
            } => self.ask_beat(ask, &check, beat, message),
            Input::Downtime {
                ask,
                check,
                quiet,
                why,
            } => self.ask_downtime(ask, &check, quiet, why),
            Input::Check { ask, words } => self.ask_check(ask, &words),
            Input::Forgotten { ask } => self.forget_ask(ask),
            Input::Delivered { delivery, result } => self.attempt_has_ended(delivery, result),
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Clock => self.clock_is_due(),
            Timer::Run(key) => self.run_is_due(key),
            Timer::Late(key) => self.beat_is_late(key),
            Timer::Quiet(key) => self.quiet_is_over(key),
            Timer::Parents(key) => self.parents_are_missing(key),
            Timer::Save(key) => self.keep_now(key),
            Timer::Forget(key) => self.forget(key),
            // What is due is tried at the end of each step.
            Timer::Deliver => {}
        }
    }

    /// Whether the time of day and the configuration are known: before that nothing is run and nothing can be told.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn at_once(&self) -> usize {
        let configured = self.configured.as_ref();
        match configured.map(|configured| configured.at_once) {
            Some(0) | None => limits::CHECKS_AT_ONCE,
            Some(most) => most,
        }
    }

    fn note(&mut self, problem: bool, text: String) {
        self.effects.push_back(Effect::Note { problem, text });
    }
}
