//! What is due when. Each timer is armed at most once; arming it again moves it.
//!
//! Timers that are due at the same moment fire in the order of [`Timer`]: a replay fires them alike.

use std::collections::BTreeSet;

use super::alphabet::Moment;
use super::controls::ControlKey;
use super::hash::FastMap;
use super::requests::RequestKey;
use crate::proto::ids::{ScriptName, SessionId, WorkerId};

/// Everything that waits for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A deadline, a cancel's grace, or the end of the resume window.
    Request(RequestKey),
    /// A session that announced pings has been silent.
    Idle(SessionId),
    /// A session's answers are not read.
    Write(SessionId),
    /// A line has begun and not ended.
    Line(SessionId),
    /// A script's bucket has a token again.
    Rate(ScriptName),
    /// A worker should have become ready.
    Ready(WorkerId),
    /// The next step of a worker's stop.
    Leave(WorkerId),
    /// A worker should have handed over its state.
    Handover(WorkerId),
    /// A worker should have finished what it holds.
    Drain(WorkerId),
    /// The back-off, or the slow retry of a failed script, is over.
    Restart(ScriptName),
    /// Time to ping all workers.
    Heartbeat,
    /// A control command has waited long enough.
    Control(ControlKey),
    /// The daemon leaves, whatever still runs.
    LastResort,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Moment, Timer)>,
    due: FastMap<Timer, Moment>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Moment) {
        if let Some(before) = self.due.insert(timer.clone(), at) {
            if before == at {
                return;
            }
            self.order.remove(&(before, timer.clone()));
        }
        self.order.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.due.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due, with the moment at which it was.
    pub(super) fn pop(&mut self, now: Moment) -> Option<(Moment, Timer)> {
        if self.next()? > now {
            return None;
        }
        let (at, timer) = self.order.pop_first()?;
        self.due.remove(&timer);
        Some((at, timer))
    }

    pub(super) fn is_armed(&self, timer: &Timer) -> bool {
        self.due.contains_key(timer)
    }
}
