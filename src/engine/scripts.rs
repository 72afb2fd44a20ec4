//! A script: what is wanted of it, its phase, its queue and its workers.

use std::sync::Arc;
use std::time::Duration;

use super::alphabet::{Moment, ScriptSpec};
use super::controls::Wanting;
use super::generation::{Stage, Worker};
use super::rate::Bucket;
use super::refusals;
use super::requests::{Queue, Run};
use super::restart::Restarts;
use super::slots::Slots;
use crate::limits;
use crate::options::Protocol;
use crate::proto::ids::{Generation, ScriptName, WorkerId};
use crate::proto::messages::{CheckSpec, Json, Refusal};

/// What a script as a whole is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Stopped,
    /// A worker of an earlier daemon still runs it: it starts when that is gone.
    Awaiting,
    Starting(Generation),
    /// This generation serves; `Reload` says whether another is on its way.
    Ready(Generation, Reload),
    /// Workers are leaving; then something follows.
    Draining(Then),
    Backoff,
    /// Given up after too many restarts, or faulty.
    Failed {
        retries: bool,
    },
}

/// What follows when the workers are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Stop,
    Start,
    Remove,
    /// The one that served was killed: as the restart policy says, when this one is gone.
    Crashed(Generation),
}

/// A newer generation on its way, beside the one that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    None,
    /// The serving one was asked for its state. `again`: the file has changed since.
    Asking {
        again: bool,
    },
    /// The candidate starts. `again`: the file has changed since.
    Trying {
        candidate: Generation,
        again: bool,
    },
    /// `stop-first`: the serving one ends what it holds and takes nothing new. Its state follows.
    Emptying,
}

/// Invariant: `Phase` and the workers' stages fit (see `invariants.rs`); one worker serves at most.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: ScriptName,
    /// As the last good look at the home found it.
    pub(super) spec: Option<Arc<ScriptSpec>>,
    /// Why it cannot be run as it stands now.
    pub(super) fault: Option<String>,
    /// A plugin's with a fault: what stands in the place of its checks.
    pub(super) stand_ins: Vec<CheckSpec>,
    /// An operator stopped it: changes of its file do not start it.
    pub(super) held: bool,
    pub(super) phase: Phase,
    pub(super) workers: Vec<Worker>,
    pub(super) queue: Queue,
    pub(super) slots: Slots,
    pub(super) bucket: Option<Bucket>,
    pub(super) restarts: Restarts,
    /// Starts in a row that found another content than the last look.
    pub(super) outdated: u32,
    pub(super) generation: Generation,
    pub(super) last_error: Option<String>,
    pub(super) controls: Vec<Wanting>,
    /// State of a stopped generation for the next one (`stop-first`).
    pub(super) handover: Option<Json>,
    /// Its first start has succeeded or failed: `None` until then.
    pub(super) settled: Option<bool>,
    pub(super) awake: bool,
}

impl Script {
    pub(super) fn new(name: ScriptName, generation: Generation) -> Self {
        Script {
            name,
            spec: None,
            fault: None,
            stand_ins: Vec::new(),
            held: false,
            phase: Phase::Stopped,
            workers: Vec::new(),
            queue: Queue::default(),
            slots: Slots::new(limits::CONCURRENCY),
            bucket: None,
            restarts: Restarts::default(),
            outdated: 0,
            generation,
            last_error: None,
            controls: Vec::new(),
            handover: None,
            settled: None,
            awake: false,
        }
    }

    /// Takes a new look's settings: limits hold from now on.
    pub(super) fn adopt(&mut self, spec: Arc<ScriptSpec>, now: Moment) {
        let settings = &spec.settings;
        let limit = match settings.protocol {
            Protocol::Ids => settings.concurrency.clamp(1, limits::CONCURRENCY_MOST),
            Protocol::Legacy => 1,
        };
        self.slots.resize(limit);
        let same = self.bucket.as_ref().map(Bucket::rate) == settings.rate;
        if !same {
            self.bucket = settings.rate.map(|rate| Bucket::full(rate, now));
        }
        self.fault = None;
        self.stand_ins.clear();
        self.spec = Some(spec);
    }

    pub(super) fn timeout(&self) -> Duration {
        self.spec
            .as_ref()
            .map_or(limits::REQUEST_TIMEOUT, |spec| spec.settings.timeout)
    }

    pub(super) fn stop_timeout(&self) -> Duration {
        self.spec
            .as_ref()
            .map_or(limits::STOP_TIMEOUT, |spec| spec.settings.stop_timeout)
    }

    pub(super) fn queue_limit(&self) -> usize {
        self.spec
            .as_ref()
            .map_or(limits::QUEUE_ITEMS, |spec| spec.settings.queue)
    }

    /// The worker that takes requests.
    pub(super) fn serving(&self) -> Option<&Worker> {
        let generation = self.serving_generation()?;
        self.worker(generation)
            .filter(|worker| worker.stage == Stage::Serving)
    }

    pub(super) fn serving_mut(&mut self) -> Option<&mut Worker> {
        let generation = self.serving_generation()?;
        self.worker_mut(generation)
            .filter(|worker| worker.stage == Stage::Serving)
    }

    fn serving_generation(&self) -> Option<Generation> {
        match &self.phase {
            Phase::Ready(generation, _) => Some(*generation),
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => None,
        }
    }

    pub(super) fn worker(&self, generation: Generation) -> Option<&Worker> {
        self.workers
            .iter()
            .find(|worker| worker.id.generation == generation)
    }

    pub(super) fn worker_mut(&mut self, generation: Generation) -> Option<&mut Worker> {
        self.workers
            .iter_mut()
            .find(|worker| worker.id.generation == generation)
    }

    /// The next generation's worker. A generation is never used twice.
    pub(super) fn mint_worker(&mut self, spec: &Arc<ScriptSpec>, now: Moment) -> WorkerId {
        self.generation = self.generation.next();
        let id = WorkerId {
            script: self.name.clone(),
            generation: self.generation,
        };
        self.workers
            .push(Worker::new(id.clone(), Arc::clone(spec), now));
        id
    }

    /// The end of a run: its ticket is dead, its slot free, or parked until its killed worker is gone.
    pub(super) fn take_back(&mut self, run: Run) {
        if let Some(worker) = self.worker_mut(run.generation) {
            worker.live.remove(run.ticket);
            if worker.is_killed() {
                worker.parked.push(run.slot);
                return;
            }
        }
        self.slots.give_back(run.slot);
    }

    pub(super) fn is_going_for_good(&self) -> bool {
        matches!(self.phase, Phase::Draining(Then::Stop | Then::Remove))
    }

    pub(super) fn not_ready(&self) -> Refusal {
        let error = self.fault.as_deref().or(self.last_error.as_deref());
        refusals::not_ready(&self.name, self.state(), error)
    }

    /// The word for `status`.
    pub(super) fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Stopped => "stopped",
            Phase::Awaiting | Phase::Starting(_) => "starting",
            Phase::Ready(..) => "ready",
            Phase::Draining(_) => "draining",
            Phase::Backoff => "backoff",
            Phase::Failed { .. } => "failed",
        }
    }

    /// The worker that `status` shows: the one that serves or starts, else the newest.
    pub(super) fn shown(&self) -> Option<&Worker> {
        match &self.phase {
            Phase::Ready(generation, _) | Phase::Starting(generation) => self.worker(*generation),
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => self.workers.last(),
        }
    }

    /// Whether a worker of it ends what it holds.
    pub(super) fn is_draining(&self) -> bool {
        self.workers
            .iter()
            .any(|worker| worker.stage == Stage::Draining)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.workers.iter().map(|worker| worker.live.len()).sum()
    }

    /// Whether it is meant to run: it is switched on, or would be if its file were sound.
    pub(super) fn is_wanted(&self) -> bool {
        let enabled = |spec: &Arc<ScriptSpec>| spec.settings.enabled;
        self.fault.is_some() || self.spec.as_ref().is_some_and(enabled)
    }

    /// Whether a worker of it may start now.
    pub(super) fn may_start(&self) -> bool {
        self.fault.is_none() && self.spec.is_some()
    }
}
