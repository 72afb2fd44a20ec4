//! The one way into the core: everything that happens is pushed here and taken in batches.
//!
//! A lane whose read has filled its buffer waits with [`Inbox::taken`] until the core has it (after a
//! shorter read the kernel has no more, and the core runs before the kernel is asked again), so the inbox
//! never holds more than one read of every lane.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

use super::bell::Bell;
use crate::engine::alphabet::Input;

/// What has happened and was not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: RefCell<Vec<Input>>,
    filled: Bell,
    emptied: Notify,
    /// Counts the batches taken.
    batch: Cell<u64>,
}

impl Inbox {
    pub(crate) fn push(&self, input: Input) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push(input);
        if waiting.len() == 1 {
            self.filled.ring();
        }
    }

    /// Swaps the waiting inputs into `batch`, which must be empty and lends its memory, and lets the lanes go on.
    pub(crate) fn take(&self, batch: &mut Vec<Input>) {
        debug_assert!(batch.is_empty(), "the batch before was not worked off");
        std::mem::swap(&mut *self.waiting.borrow_mut(), batch);
        self.batch.set(self.batch.get() + 1);
        self.emptied.notify_waiters();
    }

    /// Waits until something was pushed since the last [`Inbox::take`]. Cancel safe: a push that nobody
    /// waited for is remembered.
    pub(crate) async fn filled(&self) {
        // What the core pushed itself has rung too, and may have been taken since.
        while self.waiting.borrow().is_empty() {
            self.filled.heard().await;
        }
    }

    /// Waits until the core has taken what was pushed before the call. Cancel safe.
    pub(crate) async fn taken(&self) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let pushed_in = self.batch.get();
        while self.batch.get() == pushed_in {
            self.emptied.notified().await;
        }
    }
}
