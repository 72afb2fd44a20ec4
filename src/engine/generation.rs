//! One generation of one script: its worker process, what it holds and what it said of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alphabet::{Moment, ScriptSpec};
use super::asking::Asker;
use super::records::Mark;
use super::refusals;
use super::requests::RequestKey;
use super::rising::Rising;
use super::slots::Slot;
use crate::proto::ids::{Ticket, WorkerId};
use crate::proto::messages::{CheckSpec, Handler, Json, Refusal, Sandbox};

/// How far a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Starting,
    Serving,
    /// A newer generation serves; this one ends what it holds.
    Draining,
    Leaving(Step),
}

/// How a worker is made to leave: each step has its time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Notice,
    Term,
    Kill,
}

/// What a worker answers to.
#[derive(Clone, Debug)]
pub(super) enum Handlers {
    /// An executable: it is asked whatever the caller names.
    Any,
    Known(BTreeMap<Box<str>, Handler>),
}

impl Handlers {
    pub(super) fn of(list: Option<Vec<Handler>>) -> Self {
        match list {
            None => Handlers::Any,
            Some(list) => Handlers::Known(
                list.into_iter()
                    .take(crate::limits::HANDLERS_PER_SCRIPT)
                    .map(|handler| (handler.name.clone(), handler))
                    .collect(),
            ),
        }
    }
}

/// Invariant: every ticket in `live` is a request that runs on this worker, and there is no other.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) spec: Arc<ScriptSpec>,
    pub(super) pid: Option<u32>,
    pub(super) stage: Stage,
    pub(super) since: Moment,
    pub(super) handlers: Handlers,
    pub(super) hands_over: bool,
    pub(super) memory_bytes: u64,
    pub(super) live: Rising<Ticket, RequestKey>,
    /// Slots of requests that ended before the process that may still run them: back at its exit.
    pub(super) parked: Vec<Slot>,
    pub(super) asker: Asker,
    pub(super) beat: u64,
    pub(super) beats_missed: u32,
    /// It writes its ends down before it says them; `false` once it could not.
    pub(super) records: bool,
    /// The last beat that it answered, and the last record by then: of all that it had answered before.
    pub(super) answered: Option<(u64, Mark)>,
    pub(super) listens: Vec<String>,
    pub(super) events_missed: u64,
    /// What it said of its confinement.
    pub(super) sandbox: Option<Sandbox>,
    /// What it, or we, said of its end.
    pub(super) error: Option<String>,
    /// It found another content than the last look: nothing of its script ran.
    pub(super) outdated: bool,
    /// A plugin's: the checks that it has declared, until it serves.
    pub(super) checks: Vec<CheckSpec>,
    /// What it was given of the generation before, until it is ready.
    pub(super) handover: Option<Json>,
}

impl Worker {
    pub(super) fn new(id: WorkerId, spec: Arc<ScriptSpec>, now: Moment) -> Self {
        Worker {
            id,
            spec,
            pid: None,
            stage: Stage::Starting,
            since: now,
            handlers: Handlers::Known(BTreeMap::new()),
            hands_over: false,
            memory_bytes: 0,
            live: Rising::default(),
            parked: Vec::new(),
            asker: Asker::default(),
            beat: 0,
            beats_missed: 0,
            records: true,
            answered: None,
            listens: Vec::new(),
            events_missed: 0,
            sandbox: None,
            error: None,
            outdated: false,
            checks: Vec::new(),
            handover: None,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving(_))
    }

    pub(super) fn is_killed(&self) -> bool {
        self.stage == Stage::Leaving(Step::Kill)
    }

    pub(super) fn killed(&mut self, text: String) {
        self.stage = Stage::Leaving(Step::Kill);
        self.error.get_or_insert(text);
    }

    pub(super) fn unknown_handler(&self, handler: &str) -> Refusal {
        let known = match &self.handlers {
            Handlers::Any => Vec::new(),
            Handlers::Known(known) => known.keys().map(AsRef::as_ref).collect(),
        };
        refusals::unknown_handler(&self.id.script, handler, known.iter().copied())
    }
}
