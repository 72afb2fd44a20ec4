//! What was seen last, and what counts: a state is confirmed when it was seen often enough in a row.

use super::state::State;

/// A check's confirmed state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Option<State>,
    pub(super) to: State,
}

/// Invariant: `seen` is 0 exactly while the last result is the confirmed state, or there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Confirm {
    last: Option<State>,
    confirmed: Option<State>,
    /// Results in a row that are not the confirmed state and agree on whether all is well.
    seen: u32,
}

impl Confirm {
    /// Of an earlier daemon. Counts that make no sense are forgotten.
    pub(super) fn restored(last: Option<State>, confirmed: Option<State>, seen: u32) -> Self {
        let last = last.or(confirmed);
        let seen = if last == confirmed { 0 } else { seen.max(1) };
        Confirm {
            last,
            confirmed,
            seen,
        }
    }

    pub(super) fn last(&self) -> Option<State> {
        self.last
    }

    pub(super) fn confirmed(&self) -> Option<State> {
        self.confirmed
    }

    pub(super) fn seen(&self) -> u32 {
        self.seen
    }

    /// The last result is not what is confirmed: the next is wanted soon.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.last != self.confirmed
    }

    /// Confirmed ok, and nothing says otherwise.
    pub(super) fn is_well(&self) -> bool {
        self.confirmed == Some(State::Ok) && !self.is_in_doubt()
    }

    /// Forgets what was seen and is not confirmed.
    pub(super) fn forget_doubt(&mut self) {
        (self.last, self.seen) = (self.confirmed, 0);
    }

    /// Results in a row that confirm `state`. The first good one of a new check needs no second.
    pub(super) fn needed(&self, state: State, rise: u32, fall: u32) -> u32 {
        match (self.confirmed, state) {
            (None, State::Ok) => 1,
            (Some(_), State::Ok) => rise.max(1),
            (_, State::Warning | State::Unknown | State::Critical) => fall.max(1),
        }
    }

    /// A result. Bad ones of different kinds count together: that a check is bad is confirmed by `fall` of them, and
    /// how bad by the last.
    pub(super) fn hear(&mut self, state: State, rise: u32, fall: u32) -> Option<Change> {
        if self.confirmed == Some(state) {
            (self.last, self.seen) = (Some(state), 0);
            return None;
        }
        let goes_on = self.seen > 0 && self.last.map(State::is_ok) == Some(state.is_ok());
        self.seen = if goes_on {
            self.seen.saturating_add(1)
        } else {
            1
        };
        self.last = Some(state);
        if self.seen < self.needed(state, rise, fall) {
            return None;
        }
        self.settle(state)
    }

    /// What needs no second look.
    pub(super) fn settle(&mut self, state: State) -> Option<Change> {
        let from = self.confirmed.replace(state);
        (self.last, self.seen) = (Some(state), 0);
        (from != Some(state)).then_some(Change { from, to: state })
    }
}
