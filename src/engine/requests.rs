//! Requests: each is one value in one state, from its admission to its one end.

use uuid::Uuid;

use super::alphabet::Moment;
use super::asking::Ask;
use super::coalesce::FlightKey;
use super::ends::Keep;
use super::hash::FastMap;
use super::records::{EntryId, Mark};
use super::rising::Rising;
use super::slots::Slot;
use crate::limits;
use crate::options::Durability;
use crate::proto::ids::{ClientId, Generation, RequestId, ScriptName, Ticket};
use crate::proto::messages::{Body, Delivery, Work};

/// Names one request inside the engine. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RequestKey(u64);

#[derive(Debug)]
pub(super) struct Request {
    pub(super) script: ScriptName,
    pub(super) work: Work,
    /// As the handler declares it; `once` until a generation has said otherwise.
    pub(super) delivery: Delivery,
    /// The first asker's own id, for `request.id`.
    pub(super) id: Option<RequestId>,
    pub(super) client: Option<ClientId>,
    /// UUIDv7 ids under which it was asked: its answer is kept under each.
    pub(super) identities: Vec<Uuid>,
    pub(super) waiters: Vec<Waiter>,
    /// The latest deadline that anybody gave it.
    pub(super) deadline: Moment,
    /// Nobody waits, but somebody may come back for it until then.
    pub(super) kept_until: Option<Moment>,
    pub(super) starts: u32,
    /// What others may join it by.
    pub(super) flight: Option<FlightKey>,
    /// `None`: the journal never hears of it.
    pub(super) entry: Option<JournalEntry>,
    pub(super) state: State,
}

/// A request's entry in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalEntry {
    pub(super) id: EntryId,
    pub(super) level: Durability,
    /// Its acceptance: `None` until that is in the journal's hands.
    pub(super) accepted: Option<Mark>,
}

/// Somebody who waits for the answer.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ask: Ask,
    pub(super) deadline: Moment,
    pub(super) identity: Option<Uuid>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Found in the journal, before its script was found in the home.
    Unplaced,
    Queued(Position),
    /// Its slot is claimed, its start is not yet safe: the worker has not been sent a byte.
    Starting(Run),
    Running(Run),
    /// The worker was asked to stop it.
    Cancelling {
        run: Run,
        why: Why,
        /// When the worker is killed for not ending it; once it was, when its exit is waited for no longer.
        kill_at: Moment,
        /// What is said of its outcome if that is unknown. Set when the worker was killed for it.
        killed: Option<Box<str>>,
    },
    /// A worker of an earlier daemon still has it.
    Elsewhere,
    /// It has ended, and its end is not yet safe.
    Ending(Ending),
}

/// The end of a request, until the journal has it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) body: Body,
    pub(super) keep: Keep,
    pub(super) since: Moment,
}

/// A request in a worker's hands.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) slot: Slot,
    pub(super) generation: Generation,
    pub(super) ticket: Ticket,
    /// When the worker stops it by itself.
    pub(super) until: Moment,
    /// `until` is the handler's own limit, not an asker's.
    pub(super) own_limit: bool,
}

/// Why a running request was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Deadline,
    Asked,
    /// Everybody who waited for it is gone.
    Abandoned,
}

impl Request {
    pub(super) fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Unplaced | State::Queued(_) | State::Elsewhere | State::Ending(_) => None,
            State::Starting(run) | State::Running(run) | State::Cancelling { run, .. } => Some(run),
        }
    }

    /// The key of its entry and of its outcome record.
    pub(super) fn identity(&self) -> Option<Uuid> {
        self.identities.first().copied()
    }

    /// Whether a worker was ever given it and may have begun it.
    pub(super) fn has_run(&self) -> bool {
        let before = match &self.state {
            State::Starting(_) => 1,
            State::Unplaced
            | State::Queued(_)
            | State::Running(_)
            | State::Cancelling { .. }
            | State::Elsewhere
            | State::Ending(_) => 0,
        };
        self.starts > before
    }

    fn first_deadline(&self) -> Option<Moment> {
        self.waiters.iter().map(|waiter| waiter.deadline).min()
    }

    /// When its timer has to fire next, if anything is to be done or said then.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.state {
            State::Unplaced | State::Queued(_) | State::Starting(_) => {
                let kept = self.kept_until.unwrap_or(self.deadline);
                Some(self.first_deadline().unwrap_or(kept).min(self.deadline))
            }
            State::Running(run) => {
                let first = self.first_deadline();
                let due = first.map_or(run.until, |first| first.min(run.until));
                Some(due.after(limits::DEADLINE_SLACK))
            }
            State::Cancelling { kill_at, .. } => Some(*kill_at),
            State::Elsewhere => self.first_deadline(),
            State::Ending(ending) => self
                .first_deadline()
                .map(|first| first.max(ending.since).after(limits::JOURNAL_SLACK)),
        }
    }
}

/// Invariant: keys are minted once and rise.
#[derive(Debug, Default)]
pub(super) struct Requests {
    table: FastMap<RequestKey, Request>,
    next: u64,
}

impl Requests {
    /// The only way in.
    pub(super) fn admit(&mut self, request: Request) -> RequestKey {
        let key = RequestKey(self.next);
        self.next += 1;
        self.table.insert(key, request);
        key
    }

    pub(super) fn get(&self, key: RequestKey) -> Option<&Request> {
        self.table.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: RequestKey) -> Option<&mut Request> {
        self.table.get_mut(&key)
    }

    /// For `finish` alone.
    pub(super) fn remove(&mut self, key: RequestKey) -> Option<Request> {
        self.table.remove(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// A place in a script's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(i64);

/// Requests that wait for one script, in the order of their admission; those that run again come first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: Rising<Position, RequestKey>,
    bytes: usize,
    front: i64,
    back: i64,
}

impl Queue {
    pub(super) fn push_back(&mut self, key: RequestKey, bytes: usize) -> Position {
        self.back += 1;
        let position = Position(self.back);
        self.items.push_back(position, key);
        self.bytes += bytes;
        position
    }

    pub(super) fn push_front(&mut self, key: RequestKey, bytes: usize) -> Position {
        self.front -= 1;
        let position = Position(self.front);
        self.items.push_front(position, key);
        self.bytes += bytes;
        position
    }

    pub(super) fn first(&self) -> Option<RequestKey> {
        self.items.first().copied()
    }

    pub(super) fn remove(&mut self, position: Position, bytes: usize) {
        if self.items.remove(position).is_some() {
            self.bytes -= bytes;
        }
    }

    pub(super) fn keys(&self) -> Vec<RequestKey> {
        self.items.values().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
