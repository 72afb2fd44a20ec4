//! What is due when. Each timer is armed at most once; arming it again moves it.
//!
//! Timers of one moment fire in the order of [`Timer`]: a replay fires them alike.

use std::collections::{BTreeMap, BTreeSet};

use super::check::CheckKey;
use crate::moment::Moment;

/// Everything that waits for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The wall clock is to be read again.
    Clock,
    /// A check is to run.
    Run(CheckKey),
    /// A heartbeat should have been heard.
    Late(CheckKey),
    /// A downtime ends.
    Quiet(CheckKey),
    /// A parent that nobody has declared has been missing for long enough.
    Parents(CheckKey),
    /// A check's results are to be written.
    Save(CheckKey),
    /// The record of a check that is gone is no longer needed.
    Forget(CheckKey),
    /// An alert is to be tried.
    Deliver,
}

/// Invariant: `order` and `armed` hold the same timers with the same moments.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Moment, Timer)>,
    armed: BTreeMap<Timer, Moment>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Moment) {
        if let Some(before) = self.armed.insert(timer, at) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
    }

    pub(super) fn set(&mut self, timer: Timer, at: Option<Moment>) {
        match at {
            Some(at) => self.arm(timer, at),
            None => self.disarm(timer),
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(before) = self.armed.remove(&timer) {
            self.order.remove(&(before, timer));
        }
    }

    pub(super) fn is_armed(&self, timer: Timer) -> bool {
        self.armed.contains_key(&timer)
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Moment) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.armed.remove(&timer);
        Some(timer)
    }
}
