//! Request ids that are UUIDv7, home-wide: running, ended with a kept answer, or too old to be known.
//!
//! What is pruned moves the low-water mark, and an unknown id at or below it is refused, never run.
//! Ids are pruned in the order of their own time, so that one id from the future expires nobody else's. Ages are
//! counted in wall time: they outlive the daemon. The mark counts once the journal has it, so that no id is
//! refused today and run tomorrow.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::hash::FastMap;
use super::journaling::Held;
use super::records::{EntryId, Record};
use super::requests::RequestKey;
use super::{Engine, refusals};
use crate::limits;
use crate::options::Durability;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Body, Payload, Work};

/// What is known of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Live(RequestKey),
    Ended,
    Expired,
    /// Unknown, and from before the machine's start: only a journal on the disk would know it.
    BeforeBoot,
}

#[derive(Debug)]
enum Entry {
    Live(RequestKey),
    Ended(Ended),
}

/// A kept answer.
#[derive(Debug)]
pub(super) struct Ended {
    script: ScriptName,
    work: Work,
    body: Body,
    bytes: usize,
    /// `None`: the journal does not know it.
    entry: Option<EntryId>,
}

impl Ended {
    pub(super) fn new(script: ScriptName, work: Work, body: Body, entry: Option<EntryId>) -> Self {
        Ended {
            bytes: ENTRY_BYTES + work.bytes() + bytes_of(&body),
            script,
            work,
            body,
            entry,
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) answers: usize,
    pub(super) bytes: usize,
    /// In milliseconds.
    pub(super) age: u64,
    /// How many more than needed go at one time.
    pub(super) at_once: usize,
    /// By how much the oldest may be too old, in milliseconds.
    pub(super) slack: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Retention {
            answers: limits::STORED_ANSWERS,
            bytes: limits::STORED_BYTES,
            age: ms(limits::STORED_FOR),
            at_once: limits::PRUNED_AT_ONCE,
            slack: ms(limits::PRUNE_EVERY),
        }
    }
}

/// Invariant: `by_time` (when each ended, in milliseconds since 1970) and `bytes` are exactly the ended entries'.
#[derive(Debug, Default)]
pub(super) struct Stored {
    table: FastMap<Uuid, Entry>,
    by_time: BTreeMap<(u64, Uuid), u64>,
    bytes: usize,
    /// How many of them the journal knows.
    entries: u64,
    /// The time of the latest id that was pruned, in milliseconds since 1970.
    low_water: Option<u64>,
    /// When the machine started, if that was after an earlier daemon's life.
    boot: Option<u64>,
    pruning: Option<Pruning>,
    pub(super) retention: Retention,
}

/// Answers that go when the journal has that: until then they are given still, and afterwards their ids are
/// refused by every daemon to come.
#[derive(Debug)]
struct Pruning {
    ids: Vec<Uuid>,
    low_water: u64,
}

/// What an entry takes beside its payload.
const ENTRY_BYTES: usize = 256;

impl Stored {
    pub(super) fn look(&self, id: Uuid) -> Known {
        match self.table.get(&id) {
            Some(Entry::Live(key)) => Known::Live(*key),
            Some(Entry::Ended(_)) => Known::Ended,
            None if self.low_water.is_some_and(|mark| time_of(id) <= mark) => Known::Expired,
            None if self.boot.is_some_and(|boot| time_of(id) <= boot) => Known::BeforeBoot,
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

    /// What an earlier daemon knew.
    pub(super) fn found(&mut self, low_water: Option<u64>, boot: Option<u64>) {
        self.low_water = low_water;
        self.boot = boot;
    }

    /// `at`: when it ended, in milliseconds since 1970.
    pub(super) fn keep(&mut self, id: Uuid, ended: Ended, at: u64) {
        self.bytes += ended.bytes;
        self.entries += u64::from(ended.entry.is_some());
        self.by_time.insert((time_of(id), id), at);
        self.table.insert(id, Entry::Ended(ended));
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

    /// Chooses what is too much or too old: many at once, so that the journal is told seldom.
    fn begin_pruning(&mut self, now: u64) -> Option<Record> {
        let most = self.retention;
        if self.pruning.is_some() || !self.is_over(now, most, self.bytes) {
            return None;
        }
        let (mut count, mut bytes) = (self.by_time.len(), self.bytes);
        let (mut ids, mut entries, mut low_water) = (Vec::new(), Vec::new(), self.low_water);
        for ((time, id), ended_at) in &self.by_time {
            let old = now.saturating_sub(*ended_at) > most.age;
            if !old && count + most.at_once <= most.answers && bytes <= most.bytes {
                break;
            }
            if let Some(Entry::Ended(ended)) = self.table.get(id) {
                bytes -= ended.bytes;
                entries.extend(ended.entry);
            }
            count -= 1;
            ids.push(*id);
            low_water = low_water.max(Some(*time));
        }
        let low_water = low_water?;
        self.pruning = Some(Pruning { ids, low_water });
        Some(Record::Pruned { entries, low_water })
    }

    /// The journal has it: they are gone.
    fn end_pruning(&mut self) {
        let Some(pruning) = self.pruning.take() else {
            return;
        };
        self.low_water = self.low_water.max(Some(pruning.low_water));
        for id in pruning.ids {
            self.by_time.remove(&(time_of(id), id));
            if let Some(Entry::Ended(ended)) = self.table.remove(&id) {
                self.bytes -= ended.bytes;
                self.entries -= u64::from(ended.entry.is_some());
            }
        }
    }

    /// The journal does not take what is to be forgotten: what need not be kept is not.
    fn is_stuck(&self) -> bool {
        self.pruning.is_some()
            && (self.by_time.len() > self.retention.answers + self.retention.at_once
                || self.bytes > self.retention.bytes.saturating_mul(2))
    }

    fn is_over(&self, now: u64, most: Retention, bytes: usize) -> bool {
        if self.by_time.len() > most.answers || bytes > most.bytes {
            return true;
        }
        self.by_time
            .first_key_value()
            .is_some_and(|(_, ended)| now.saturating_sub(*ended) > most.age + most.slack)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn low_water(&self) -> Option<u64> {
        self.low_water
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}

impl Engine {
    /// Keeps an answer for repeats of its id; what is too much or too old goes, when the journal has that.
    pub(super) fn keep(&mut self, id: Uuid, ended: Ended, at_unix_ms: u64) {
        if ended.entry.is_none() && self.stored.is_stuck() {
            self.stored.forget(id);
            return;
        }
        self.stored.keep(id, ended, at_unix_ms);
        self.prune();
    }

    fn prune(&mut self) {
        if let Some(record) = self.stored.begin_pruning(self.unix_ms()) {
            // The mark is for ids of every script, so it has to survive what the most careful one survives.
            let mark = self.write_down(Durability::Power, record);
            self.journal.hold(Durability::Power, mark, Held::Pruning);
        }
    }

    /// The low-water mark is safe.
    pub(super) fn pruned(&mut self) {
        self.stored.end_pruning();
        // During a fault more may have come than went.
        self.prune();
    }
}

/// Milliseconds since 1970, from the id's first 48 bits.
fn time_of(id: Uuid) -> u64 {
    let bytes = id.as_u128() >> 80;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The answer as it is kept: one that is too large becomes a refusal that says so.
pub(super) fn retained(body: &Body) -> Body {
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
