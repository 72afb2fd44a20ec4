//! What every asker has, session or worker: open questions, their order, the outbox, the ack state.

use std::collections::hash_map::Entry;

use super::alphabet::{LogAsk, Moment, Peer};
use super::controls::ControlKey;
use super::credit::Outbox;
use super::hash::FastMap;
use super::inorder::{InOrder, Place};
use super::requests::RequestKey;
use super::rising::Rising;
use crate::limits;
use crate::monitor::alphabet::CheckAsk;
use crate::proto::ids::RequestId;
use crate::proto::messages::{Answer, Body, Encoding};

/// Names one open question of one peer. Never reused, so a late answer finds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) peer: Peer,
    pub(super) number: u64,
}

/// What an open question waits for.
#[derive(Clone, Debug)]
pub(super) enum What {
    Request(RequestKey),
    Control(ControlKey),
    Log(LogAsk),
    Events { pattern: String, missed: u64 },
    Check(CheckAsk),
}

/// How a question was asked: all that its answers need.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) encoding: Encoding,
    pub(super) id: Option<RequestId>,
    pub(super) ack: bool,
}

#[derive(Debug)]
struct Open {
    manner: Manner,
    place: Option<Place>,
    what: What,
}

/// Answers that may be sent now.
#[derive(Debug)]
pub(super) enum Released {
    One(Answer),
    Many(Vec<Answer>),
}

/// Invariant: an open question is in `open`; if it has an id, `named` finds the newest of that id.
#[derive(Debug, Default)]
pub(super) struct Asker {
    open: Rising<u64, Open>,
    named: FastMap<RequestId, u64>,
    next: u64,
    order: InOrder,
    pub(super) outbox: Outbox,
    pub(super) acks_off: bool,
    pub(super) progress: bool,
    pub(super) paused: bool,
}

impl Asker {
    /// Opens a question: the only way in.
    pub(super) fn open(&mut self, manner: Manner, what: What) -> u64 {
        let number = self.next;
        self.next += 1;
        let place = match &manner.id {
            Some(id) => {
                self.named.insert(id.clone(), number);
                None
            }
            None => Some(self.order.enter()),
        };
        self.open.push_back(
            number,
            Open {
                manner,
                place,
                what,
            },
        );
        number
    }

    /// A piece of the answer to an open question; an end closes it, and then nothing finds it any more.
    pub(super) fn piece(&mut self, number: u64, body: Body) -> Option<Released> {
        if !body.is_end() {
            let open = self.open.get(number)?;
            let answer = answer(open.manner.clone(), body);
            return Some(match open.place {
                None => Released::One(answer),
                Some(place) => Released::Many(self.order.add(place, answer)),
            });
        }
        let open = self.open.remove(number)?;
        if let Some(id) = &open.manner.id
            && let Entry::Occupied(named) = self.named.entry(id.clone())
            && *named.get() == number
        {
            named.remove();
        }
        let answer = answer(open.manner, body);
        Some(match open.place {
            None => Released::One(answer),
            Some(place) => Released::Many(self.order.add(place, answer)),
        })
    }

    /// A question that is answered in the step that asked it.
    pub(super) fn at_once(&mut self, manner: Manner, body: Body) -> Released {
        let answer = answer(manner, body);
        if answer.id.is_some() || self.order.is_empty() {
            return Released::One(answer);
        }
        let place = self.order.enter();
        Released::Many(self.order.add(place, answer))
    }

    /// The newest open question of this id.
    pub(super) fn find(&self, id: &RequestId) -> Option<(u64, &What)> {
        let number = *self.named.get(id)?;
        Some((number, &self.open.get(number)?.what))
    }

    pub(super) fn what(&self, number: u64) -> Option<&What> {
        self.open.get(number).map(|open| &open.what)
    }

    pub(super) fn encoding(&self, number: u64) -> Option<Encoding> {
        self.open.get(number).map(|open| open.manner.encoding)
    }

    pub(super) fn id(&self, number: u64) -> Option<&RequestId> {
        self.open.get(number)?.manner.id.as_ref()
    }

    pub(super) fn what_mut(&mut self, number: u64) -> Option<&mut What> {
        self.open.get_mut(number).map(|open| &mut open.what)
    }

    pub(super) fn whats(&self) -> impl Iterator<Item = (u64, &What)> {
        self.open.iter().map(|(number, open)| (number, &open.what))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.open.len().max(self.order.len())
    }

    /// What waits for this peer: in the outbox, and for its turn.
    pub(super) fn waiting(&self) -> u64 {
        self.outbox.waiting().saturating_add(self.order.held())
    }

    pub(super) fn should_pause(&self) -> bool {
        self.in_flight() >= limits::IN_FLIGHT_PER_SESSION
            || self.waiting() >= limits::OUTBOX_PAUSE_BYTES
    }

    /// Well below both limits: a peer at the edge is not switched on and off with each answer.
    pub(super) fn may_resume(&self) -> bool {
        self.in_flight() <= limits::IN_FLIGHT_PER_SESSION / 4 * 3
            && self.waiting() <= limits::OUTBOX_PAUSE_BYTES / 2
    }

    pub(super) fn sent(&mut self, cost: u64, now: Moment) {
        self.outbox.add(cost, now);
    }
}

fn answer(manner: Manner, body: Body) -> Answer {
    Answer {
        encoding: manner.encoding,
        id: manner.id,
        ack: manner.ack,
        body,
    }
}
