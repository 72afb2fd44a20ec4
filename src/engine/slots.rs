//! The right to run. A [`Slot`] cannot be copied, so nothing runs that has not claimed one.

/// The right of one request to run at one script. Given back to the [`Slots`] that granted it.
#[derive(Debug)]
#[must_use = "a slot that is dropped is lost: give it back"]
pub(super) struct Slot(());

/// The slots of one script, over all its generations: `used <= limit` whenever one is claimed.
#[derive(Debug)]
pub(super) struct Slots {
    limit: u32,
    used: u32,
}

impl Slots {
    pub(super) fn new(limit: u32) -> Self {
        Slots { limit, used: 0 }
    }

    /// A lower limit takes nothing away; it holds for the next claim.
    pub(super) fn resize(&mut self, limit: u32) {
        self.limit = limit;
    }

    pub(super) fn claim(&mut self) -> Option<Slot> {
        if self.used >= self.limit {
            return None;
        }
        self.used += 1;
        Some(Slot(()))
    }

    pub(super) fn give_back(&mut self, slot: Slot) {
        let Slot(()) = slot;
        self.used -= 1;
    }

    pub(super) fn has_free(&self) -> bool {
        self.used < self.limit
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn used(&self) -> u32 {
        self.used
    }
}
