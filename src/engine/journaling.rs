//! The journal as the engine sees it: marks, what waits for them, and whether it takes records now.
//!
//! Nothing in here decides what is written. It mints, keeps the order, and gives back what has become safe.

use std::collections::VecDeque;

use super::alphabet::Moment;
use super::records::{EntryId, FaultKind, JournalFault, Mark};
use super::requests::RequestKey;
use crate::options::Durability;
use crate::proto::ids::{Ticket, WorkerId};

/// What waits for a record to be safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// `accepted`, for those who wait for it.
    Accepted(RequestKey),
    /// The first byte to the worker, for this start of it.
    Start(Start),
    /// The end, for those who wait and for all repeats.
    End(RequestKey),
    /// Answers that are to be forgotten.
    Pruning,
    /// The leave to remove a worker's outcome record; synced must be up to the mark.
    Outcomes(WorkerId, Mark),
}

/// One start of one request. The queue may hold an older one of it, which finds its ticket dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) key: RequestKey,
    pub(super) ticket: Ticket,
    /// Its record is that of its acceptance too: nobody has heard `accepted` yet.
    pub(super) accepts: bool,
}

/// Invariant: both queues rise by mark, and what is in them waits for a mark that is not safe yet.
#[derive(Debug, Default)]
pub(super) struct Journaling {
    last: Mark,
    last_power: Mark,
    last_entry: u64,
    written: Mark,
    synced: Mark,
    for_written: VecDeque<(Mark, Held)>,
    for_synced: VecDeque<(Mark, Held)>,
    /// Requests with an entry that are not concluded.
    pub(super) live: u64,
    /// Admitted in this step, and not yet in the journal's hands.
    pub(super) admitted: Vec<RequestKey>,
    pub(super) fault: Option<JournalFault>,
    /// A fault that is over, since when, and nobody has been told: it may come back at once, while ends are written
    /// into the reserve.
    pub(super) healed: Option<(Moment, FaultKind)>,
    /// What an operator must know of the journal that was found.
    pub(super) warning: Option<String>,
}

impl Journaling {
    pub(super) fn mint_entry(&mut self) -> EntryId {
        self.last_entry += 1;
        EntryId(self.last_entry)
    }

    /// This entry was minted by an earlier daemon.
    pub(super) fn found(&mut self, entry: EntryId) {
        self.last_entry = self.last_entry.max(entry.0);
    }

    pub(super) fn mint(&mut self, level: Durability) -> Mark {
        self.last.0 += 1;
        if level == Durability::Power {
            self.last_power = self.last;
        }
        self.last
    }

    pub(super) fn hold(&mut self, level: Durability, mark: Mark, what: Held) {
        let queue = match level {
            Durability::Power => &mut self.for_synced,
            Durability::Process | Durability::Off => &mut self.for_written,
        };
        debug_assert!(queue.back().is_none_or(|(last, _)| *last <= mark));
        queue.push_back((mark, what));
    }

    /// What is to be held until every record so far is safe at its own level.
    pub(super) fn hold_outcomes(&mut self, worker: WorkerId) {
        let held = Held::Outcomes(worker, self.last_power);
        self.for_written.push_back((self.last, held));
    }

    /// Gives back what is held for the disk if that has it, else holds it on.
    pub(super) fn when_synced(&mut self, worker: WorkerId, mark: Mark) -> Option<WorkerId> {
        if mark <= self.synced {
            return Some(worker);
        }
        let last = self
            .for_synced
            .back()
            .map_or(mark, |(last, _)| mark.max(*last));
        self.for_synced
            .push_back((last, Held::Outcomes(worker, mark)));
        None
    }

    pub(super) fn is_safe(&self, level: Durability, mark: Mark) -> bool {
        match level {
            Durability::Power => mark <= self.synced,
            Durability::Process | Durability::Off => mark <= self.written,
        }
    }

    /// The last record that there is.
    pub(super) fn last(&self) -> Mark {
        self.last
    }

    pub(super) fn is_written(&self, mark: Mark) -> bool {
        mark <= self.written
    }

    /// So far has the journal come. `false`: it speaks of records that it was never given.
    pub(super) fn advance(&mut self, written: Mark, synced: Mark) -> bool {
        self.written = self.written.max(written.min(self.last));
        self.synced = self.synced.max(synced.min(self.last));
        written <= self.last && synced <= self.last
    }

    /// The next thing that has become safe.
    pub(super) fn release(&mut self) -> Option<Held> {
        for (queue, safe) in [
            (&mut self.for_written, self.written),
            (&mut self.for_synced, self.synced),
        ] {
            if queue.front().is_some_and(|(mark, _)| *mark <= safe) {
                return queue.pop_front().map(|(_, held)| held);
            }
        }
        None
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (Mark, &Held)> {
        let both = self.for_written.iter().chain(&self.for_synced);
        both.map(|(mark, held)| (*mark, held))
    }

    /// Nothing waits for a record.
    pub(super) fn is_quiet(&self) -> bool {
        self.for_written.is_empty() && self.for_synced.is_empty()
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        assert!(
            self.admitted.is_empty(),
            "a step left an admission unrecorded"
        );
        assert!(self.written <= self.last && self.synced <= self.last);
        for (queue, safe) in [
            (&self.for_written, self.written),
            (&self.for_synced, self.synced),
        ] {
            let marks = queue.iter().map(|(mark, _)| *mark);
            assert!(marks.is_sorted(), "what is held is held in order");
            for (mark, held) in queue {
                assert!(
                    *mark > safe && *mark <= self.last,
                    "{held:?} waits for {mark:?}"
                );
            }
        }
    }
}
