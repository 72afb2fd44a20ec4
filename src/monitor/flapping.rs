//! Does a check change its state so often that each change is no news? By Nagios' formula.
//!
//! Recorded are results that are confirmed, and good ones; a bad one that is not yet confirmed is not. Of the possible
//! changes among the last [`limits::CHECK_HISTORY`] of them, number x (1 is the oldest) weighs `0.75 + (x - 1) * 0.5 / 19`.

use std::collections::VecDeque;

use super::state::State;
use crate::limits;

/// Percent of change at which flapping begins.
const START: f64 = 20.0;
/// Percent of change at which it ends.
const STOP: f64 = 5.0;

/// Invariant: never more than [`limits::CHECK_HISTORY`] results, and `percent` is theirs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Flapping {
    recorded: VecDeque<State>,
    percent: f64,
    is_on: bool,
}

impl Flapping {
    /// Of an earlier daemon.
    pub(super) fn restored(recorded: Vec<State>, is_on: bool) -> Self {
        let spare = recorded.len().saturating_sub(limits::CHECK_HISTORY);
        let recorded: VecDeque<State> = recorded.into_iter().skip(spare).collect();
        let percent = percent_of(&recorded);
        Flapping {
            recorded,
            percent,
            is_on,
        }
    }

    pub(super) fn recorded(&self) -> impl Iterator<Item = State> {
        self.recorded.iter().copied()
    }

    pub(super) fn percent(&self) -> f64 {
        self.percent
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The worst of what is recorded.
    pub(super) fn worst(&self) -> State {
        self.recorded().fold(State::Ok, State::worst)
    }

    /// A result that counts.
    pub(super) fn record(&mut self, state: State) {
        if self.recorded.len() == limits::CHECK_HISTORY {
            self.recorded.pop_front();
        }
        self.recorded.push_back(state);
        self.percent = percent_of(&self.recorded);
        if self.percent >= START {
            self.is_on = true;
        } else if self.percent <= STOP {
            self.is_on = false;
        }
    }
}

/// What is missing at the beginning counts as no change.
fn percent_of(recorded: &VecDeque<State>) -> f64 {
    const CHANGES: usize = limits::CHECK_HISTORY - 1;
    let missing = limits::CHECK_HISTORY - recorded.len();
    let pairs = recorded.iter().zip(recorded.iter().skip(1));
    let sum: f64 = pairs
        .enumerate()
        .filter(|(_, (before, after))| before != after)
        .map(|(index, _)| weight(missing + index))
        // The sum of nothing would be -0.0.
        .fold(0.0, |sum, weight| sum + weight);
    100.0 * sum / CHANGES as f64
}

/// Of the change with that index, 0 being the oldest.
fn weight(index: usize) -> f64 {
    0.75 + index as f64 * 0.5 / (limits::CHECK_HISTORY as f64 - 2.0)
}
