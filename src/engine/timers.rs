//! What is due when. Each timer is armed at most once; arming it again moves it.
//!
//! Timers that are due at the same moment fire in the order of [`Timer`]: a replay fires them alike.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

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
    /// The monitor has something to do.
    Monitor,
    /// What the monitor wants kept takes long to be written down.
    Kept,
    /// A control command has waited long enough.
    Control(ControlKey),
    /// The daemon leaves, whatever still runs.
    LastResort,
}

/// What is armed, and which of the entries is its own.
#[derive(Debug)]
struct Armed {
    due: Moment,
    entry: u64,
}

/// Invariant: each armed timer has one live entry in `order`, due when the timer is or before; the first
/// entry of all is live and exact. What was disarmed leaves its entry behind until that is the first, or
/// until most of them are dead.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BinaryHeap<Reverse<(Moment, Timer, u64)>>,
    armed: FastMap<Timer, Armed>,
    entries: u64,
}

/// Dead entries that are never worth a look through all.
const FEW_DEAD: usize = 1024;

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Moment) {
        match self.armed.get_mut(&timer) {
            // The entry is moved when its turn comes: mostly the timer is disarmed before.
            Some(armed) if armed.due <= at => armed.due = at,
            Some(armed) => {
                self.entries += 1;
                (armed.due, armed.entry) = (at, self.entries);
                self.order.push(Reverse((at, timer, self.entries)));
            }
            None => {
                self.entries += 1;
                let entry = self.entries;
                self.armed.insert(timer.clone(), Armed { due: at, entry });
                self.order.push(Reverse((at, timer, entry)));
            }
        }
        self.settle();
    }

    /// Arms it, or disarms it if nothing is due.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Moment>) {
        match at {
            Some(at) => self.arm(timer, at),
            None => self.disarm(timer),
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if self.armed.remove(&timer).is_some() {
            self.settle();
        }
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the first timer that is due, with the moment at which it was.
    pub(super) fn pop(&mut self, now: Moment) -> Option<(Moment, Timer)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((at, timer, _)) = self.order.pop()?;
        self.armed.remove(&timer);
        self.settle();
        Some((at, timer))
    }

    pub(super) fn is_armed(&self, timer: &Timer) -> bool {
        self.armed.contains_key(timer)
    }

    /// Makes the first entry a live and exact one, and keeps the dead ones from outgrowing the others.
    fn settle(&mut self) {
        while let Some(mut first) = self.order.peek_mut() {
            let Reverse((at, timer, entry)) = &mut *first;
            match self.armed.get(timer) {
                Some(armed) if armed.entry != *entry => drop(PeekMut::pop(first)),
                None => drop(PeekMut::pop(first)),
                Some(armed) if armed.due == *at => break,
                Some(armed) => *at = armed.due,
            }
        }
        if self.order.len() > 2 * self.armed.len() + FEW_DEAD {
            let armed = &self.armed;
            self.order.retain(|Reverse((_, timer, entry))| {
                armed.get(timer).is_some_and(|armed| armed.entry == *entry)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(session: u64) -> Timer {
        Timer::Line(SessionId(session))
    }

    #[test]
    fn a_timer_fires_once_when_it_was_armed_last() {
        let mut timers = Timers::default();
        for at in [10, 20, 5, 10, 5, 30] {
            timers.arm(line(1), Moment(at));
        }
        assert_eq!(timers.next(), Some(Moment(30)));
        assert_eq!(timers.pop(Moment(29)), None);
        assert_eq!(timers.pop(Moment(30)), Some((Moment(30), line(1))));
        assert_eq!(timers.pop(Moment(99)), None);
        assert!(!timers.is_armed(&line(1)));
    }

    #[test]
    fn timers_of_one_moment_fire_in_their_order() {
        let mut timers = Timers::default();
        timers.arm(line(2), Moment(7));
        timers.arm(line(1), Moment(3));
        timers.arm(line(1), Moment(7));
        timers.arm(Timer::Idle(SessionId(9)), Moment(7));
        let order: Vec<Timer> = std::iter::from_fn(|| timers.pop(Moment(7)))
            .map(|(_, timer)| timer)
            .collect();
        assert_eq!(order, [Timer::Idle(SessionId(9)), line(1), line(2)]);
    }

    #[test]
    fn what_was_disarmed_is_forgotten() {
        let mut timers = Timers::default();
        timers.arm(line(0), Moment(1));
        for session in 1..10 * FEW_DEAD as u64 {
            timers.arm(line(session), Moment(session));
            timers.disarm(line(session));
            assert!(timers.order.len() <= FEW_DEAD + 4);
        }
        timers.disarm(line(0));
        assert_eq!(timers.next(), None);
        assert!(timers.order.is_empty());
    }
}
