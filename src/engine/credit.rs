//! How much waits for one peer that the kernel has not taken yet.
//!
//! The engine adds what it sends, the shell reports what was flushed; the difference is the outbox.

use super::alphabet::Moment;
use crate::limits;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: u64,
    /// When the kernel last took something, or when something began to wait.
    moved: Moment,
}

impl Outbox {
    pub(super) fn add(&mut self, cost: u64, now: Moment) {
        if self.waiting == 0 {
            self.moved = now;
        }
        self.waiting = self.waiting.saturating_add(cost);
    }

    pub(super) fn flushed(&mut self, cost: u64, now: Moment) {
        self.moved = now;
        self.waiting = self.waiting.saturating_sub(cost);
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// When a peer that takes nothing is given up; `None` while nothing waits for it.
    pub(super) fn stalls_at(&self) -> Option<Moment> {
        (self.waiting > 0).then(|| self.moved.after(limits::WRITE_DEADLINE))
    }
}
