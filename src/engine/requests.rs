//! Requests: each is one value in one state, from its admission to its one end.

use uuid::Uuid;

use super::alphabet::Moment;
use super::asking::Ask;
use super::coalesce::FlightKey;
use super::hash::FastMap;
use super::rising::Rising;
use super::slots::Slot;
use crate::limits;
use crate::proto::ids::{ClientId, Generation, RequestId, ScriptName, Ticket};
use crate::proto::messages::{Delivery, Work};

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
    pub(super) state: State,
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
    Queued(Position),
    Running(Run),
    /// The worker was asked to stop it.
    Cancelling {
        run: Run,
        why: Why,
        /// When the worker is killed for not ending it.
        kill_at: Moment,
    },
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
            State::Queued(_) => None,
            State::Running(run) | State::Cancelling { run, .. } => Some(run),
        }
    }

    /// When its timer has to fire next.
    pub(super) fn due(&self) -> Moment {
        match &self.state {
            State::Queued(_) => {
                let first = self.waiters.iter().map(|waiter| waiter.deadline).min();
                let kept = self.kept_until.unwrap_or(self.deadline);
                first.unwrap_or(kept).min(self.deadline)
            }
            State::Running(run) => {
                let first = self.waiters.iter().map(|waiter| waiter.deadline).min();
                first
                    .map_or(run.until, |first| first.min(run.until))
                    .after(limits::DEADLINE_SLACK)
            }
            State::Cancelling { kill_at, .. } => *kill_at,
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
