//! What the journal is told, and what it tells after a restart. Data only; `docs/reliability.md` has the reasons.
//!
//! The engine mints a [`Mark`] for each record and holds back whatever depends on it (the first byte to a
//! worker, `accepted`, an answer) until [`Input::Journaled`](super::alphabet::Input::Journaled) says that the
//! mark is safe at the record's level. The journal keeps the records' order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::options::Durability;
use crate::proto::ids::{ClientId, Generation, ScriptName};
use crate::proto::messages::{Body, Delivery, Work};
pub use crate::proto::outcome::Outcomes;

/// Counts the journal's records, from 1. Minted by the engine, of one daemon's life.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Mark(pub u64);

/// Names one request in the journal. Rises over the daemons' lives; never reused.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId(pub u64);

/// What is written down of a request when it is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its idempotency key.
    pub id: Uuid,
    pub script: ScriptName,
    pub work: Work,
    /// As far as it is known; a start says it for good.
    pub delivery: Delivery,
    pub client: Option<ClientId>,
    pub durability: Durability,
    /// Milliseconds since 1970.
    pub accepted_unix_ms: u64,
    /// Milliseconds since 1970.
    pub deadline_unix_ms: u64,
}

/// One change of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A new entry. `started`: it was given to that generation in the same step, so one record says both.
    Accepted {
        entry: EntryId,
        request: Box<Recorded>,
        started: Option<Generation>,
    },
    /// The first byte goes to a worker once this is safe.
    Started {
        entry: EntryId,
        generation: Generation,
        delivery: Delivery,
    },
    /// It is provably not running and may start (again).
    Back { entry: EntryId },
    /// Its one end: done, failed, cancelled, expired or unknown, as the body says.
    Ended {
        entry: EntryId,
        body: Body,
        /// Milliseconds since 1970.
        at_unix_ms: u64,
    },
    /// It was refused and never ran: the entry goes, its id is free again.
    Freed { entry: EntryId },
    /// Retention: the entries go, and ids of up to this time (milliseconds since 1970) are never run again.
    Pruned {
        entries: Vec<EntryId>,
        low_water: u64,
    },
}

/// How far an entry of the journal is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EntryState {
    Accepted,
    Started(Generation),
    Ended { body: Body, at_unix_ms: u64 },
}

/// An entry, as a restarted daemon finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub entry: EntryId,
    pub request: Recorded,
    /// How often it was given to a worker.
    pub starts: u32,
    pub state: EntryState,
}

/// What a daemon finds of its predecessors. Handed in before anything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// By rising id.
    pub entries: Vec<Entry>,
    /// Ids of up to this time (milliseconds since 1970) that are not in `entries` are never run.
    pub low_water: Option<u64>,
    /// The machine was started since, at this time (milliseconds since 1970): what was not on the disk is lost.
    pub rebooted_unix_ms: Option<u64>,
    /// Outcomes of scripts whose old workers are gone. A script that is neither here nor in `held` left none.
    pub outcomes: BTreeMap<ScriptName, Outcomes>,
    /// Scripts of which an old worker still runs: nothing of theirs starts before [`Input::Freed`](super::alphabet::Input::Freed).
    pub held: Vec<ScriptName>,
    /// Something an operator must know: a journal that was damaged and set aside.
    pub warning: Option<String>,
}

/// Why the journal does not take records just now. It goes on trying, in order, and forgets nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalFault {
    pub kind: FaultKind,
    /// What happened, why, what to do next.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// No space: nothing of what was refused was written.
    DiskFull,
    /// A write or a sync failed: what is on the disk is uncertain.
    Failed,
}
