//! Request ids that are UUIDv7, home-wide: running, ended with a kept answer, or too old to be known.
//!
//! What is pruned moves the low-water mark, and an unknown id at or below it is refused, never run.
//! Ids are pruned in the order of their own time, so that one id from the future expires nobody else's.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::alphabet::Moment;
use super::hash::FastMap;
use super::refusals;
use super::requests::RequestKey;
use crate::limits;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Body, Payload, Work};

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Live(RequestKey),
    Ended,
    Expired,
}

#[derive(Debug)]
enum Entry {
    Live(RequestKey),
    Ended(Ended),
}

#[derive(Debug)]
struct Ended {
    script: ScriptName,
    work: Work,
    body: Body,
    bytes: usize,
}

/// Invariant: `by_time` (when each ended) and `bytes` are exactly the ended entries'.
#[derive(Debug, Default)]
pub(super) struct Stored {
    table: FastMap<Uuid, Entry>,
    by_time: BTreeMap<(u64, Uuid), Moment>,
    bytes: usize,
    /// The time of the latest id that was pruned, in milliseconds since 1970.
    low_water: Option<u64>,
}

/// What an entry takes beside its payload.
const ENTRY_BYTES: usize = 256;

impl Stored {
    pub(super) fn look(&self, id: Uuid) -> Known {
        match self.table.get(&id) {
            Some(Entry::Live(key)) => Known::Live(*key),
            Some(Entry::Ended(_)) => Known::Ended,
            None if self.low_water.is_some_and(|mark| time_of(id) <= mark) => Known::Expired,
            None => Known::Nothing,
        }
    }

    pub(super) fn begin(&mut self, id: Uuid, key: RequestKey) {
        self.table.insert(id, Entry::Live(key));
    }

    /// The request ended without having been accepted for good: its id is free again.
    pub(super) fn forget(&mut self, id: Uuid) {
        if let Some(Entry::Live(_)) = self.table.get(&id) {
            self.table.remove(&id);
        }
    }

    pub(super) fn keep(
        &mut self,
        id: Uuid,
        script: ScriptName,
        work: Work,
        body: &Body,
        now: Moment,
    ) {
        let body = retained(body);
        let bytes = ENTRY_BYTES + work.bytes() + bytes_of(&body);
        let ended = Ended {
            script,
            work,
            body,
            bytes,
        };
        self.table.insert(id, Entry::Ended(ended));
        self.by_time.insert((time_of(id), id), now);
        self.bytes += bytes;
        self.prune(now);
    }

    /// The kept answer, if the id was used for the same command.
    pub(super) fn replay(&self, id: Uuid, script: &ScriptName, work: &Work) -> Option<Body> {
        let Some(Entry::Ended(ended)) = self.table.get(&id) else {
            return None;
        };
        (ended.script == *script && ended.work == *work).then(|| match &ended.body {
            Body::Ok { result, .. } => Body::Ok {
                result: result.clone(),
                replayed: true,
            },
            Body::Accepted | Body::Running | Body::Part(_) | Body::Error(_) => ended.body.clone(),
        })
    }

    fn prune(&mut self, now: Moment) {
        while self.is_over(now) {
            let Some(((time, id), _)) = self.by_time.pop_first() else {
                return;
            };
            if let Some(Entry::Ended(ended)) = self.table.remove(&id) {
                self.bytes -= ended.bytes;
            }
            self.low_water = self.low_water.max(Some(time));
        }
    }

    fn is_over(&self, now: Moment) -> bool {
        if self.by_time.len() > limits::STORED_ANSWERS || self.bytes > limits::STORED_BYTES {
            return true;
        }
        self.by_time
            .first_key_value()
            .is_some_and(|(_, ended)| now.since(*ended) > limits::STORED_FOR)
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}

/// Milliseconds since 1970, from the id's first 48 bits.
fn time_of(id: Uuid) -> u64 {
    let bytes = id.as_u128() >> 80;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn retained(body: &Body) -> Body {
    match body {
        Body::Ok { result, .. } if result.bytes() > limits::STORED_RESULT_BYTES => {
            Body::Error(refusals::not_retained(result.bytes()))
        }
        Body::Accepted | Body::Running | Body::Part(_) | Body::Ok { .. } | Body::Error(_) => {
            body.clone()
        }
    }
}

fn bytes_of(body: &Body) -> usize {
    match body {
        Body::Ok { result, .. } | Body::Part(result) => Payload::bytes(result),
        Body::Error(refusal) => {
            let data = refusal.data.as_ref().map_or(0, |data| data.as_str().len());
            let traceback = refusal.traceback.as_ref().map_or(0, String::len);
            refusal.message.len() + data + traceback
        }
        Body::Accepted | Body::Running => 0,
    }
}
