//! From the queue to a worker: the slot is claimed in the step that dispatches.

use std::sync::Arc;

use super::Engine;
use super::alphabet::{Effect, Moment};
use super::generation::{Handlers, Stage};
use super::journaling::Start;
use super::requests::{Request, RequestKey, Run, State};
use super::slots::Slot;
use super::timers::Timer;
use crate::limits;
use crate::proto::ids::{ScriptName, Ticket, WorkerId};
use crate::proto::messages::{Body, Delivery, Dispatch, Refusal, ToWorker, Work};

/// What a script can start now.
enum Next {
    Nothing,
    /// Its rate limit gives a turn then.
    Later(Moment),
    Refuse(RequestKey, Refusal),
    Start(RequestKey, Slot, Kind),
}

/// What the generation that will run it says of the request.
struct Kind {
    delivery: Delivery,
    timeout: Option<std::time::Duration>,
}

impl Engine {
    /// Looks at a script's queue at the end of this step.
    pub(super) fn wake(&mut self, name: &ScriptName) {
        if let Some(script) = self.scripts.get_mut(name)
            && !script.awake
        {
            script.awake = true;
            self.awake.push(name.clone());
        }
    }

    /// Starts what can start. Called once a step for each script that was woken.
    pub(super) fn pump(&mut self, name: &ScriptName) {
        loop {
            match self.next_start(name) {
                Next::Nothing => return,
                Next::Later(at) => {
                    self.timers.arm(Timer::Rate(name.clone()), at);
                    return;
                }
                Next::Refuse(key, refusal) => self.refuse(key, refusal),
                Next::Start(key, slot, kind) => self.start(name, key, slot, &kind),
            }
        }
    }

    fn next_start(&mut self, name: &ScriptName) -> Next {
        let Some(script) = self.scripts.get_mut(name) else {
            return Next::Nothing;
        };
        let Some(key) = script.queue.first() else {
            return Next::Nothing;
        };
        let Some(worker) = script.serving() else {
            return Next::Nothing;
        };
        let Some(request) = self.requests.get(key) else {
            return Next::Nothing;
        };
        let kind = match (&request.work, &worker.handlers) {
            (Work::Eval { .. }, _) | (_, Handlers::Any) => Kind {
                delivery: Delivery::Once,
                timeout: None,
            },
            (Work::Call { handler, .. }, Handlers::Known(known)) => match known.get(&**handler) {
                Some(found) => Kind {
                    delivery: found.delivery,
                    timeout: found.timeout,
                },
                None => return Next::Refuse(key, worker.unknown_handler(handler)),
            },
        };
        if worker.asker.outbox.waiting() >= limits::WORKER_OUTBOX_BYTES || !script.slots.has_free()
        {
            return Next::Nothing;
        }
        if let Some(bucket) = &mut script.bucket
            && let Err(at) = bucket.take(self.now)
        {
            return Next::Later(at);
        }
        match script.slots.claim() {
            Some(slot) => Next::Start(key, slot, kind),
            None => Next::Nothing,
        }
    }

    /// Gives a request to the serving worker. The slot says that it may; what the journal is to know is sent
    /// when its start is safe.
    fn start(&mut self, name: &ScriptName, key: RequestKey, slot: Slot, kind: &Kind) {
        self.adopt_kind(name, key, kind);
        let (Some(script), Some(request)) =
            (self.scripts.get_mut(name), self.requests.get_mut(key))
        else {
            return;
        };
        let State::Queued(position) = request.state else {
            script.slots.give_back(slot);
            return;
        };
        script.queue.remove(position, request.work.bytes());
        let Some(worker) = script.serving_mut() else {
            script.slots.give_back(slot);
            return;
        };
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let own = kind.timeout.map(|limit| self.now.after(limit));
        let run = Run {
            slot,
            generation: worker.id.generation,
            ticket,
            until: own.map_or(request.deadline, |own| own.min(request.deadline)),
            own_limit: own.is_some_and(|own| own < request.deadline),
        };
        request.starts += 1;
        worker.live.push_back(ticket, key);
        if request.entry.is_some() {
            request.state = State::Starting(run);
            self.record_start(key);
            return;
        }
        let message = ToWorker::Request(request.dispatch(&run, self.now));
        request.state = State::Running(run);
        worker.asker.sent(message.cost(), self.now);
        self.effects.push_back(Effect::ToWorker {
            worker: worker.id.clone(),
            message,
        });
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        self.tell_progress(key, &Body::Running);
    }

    /// The generation that will run it says what its delivery is. One that was no query's when it was admitted,
    /// and is now, is the journal's from here on.
    fn adopt_kind(&mut self, name: &ScriptName, key: RequestKey, kind: &Kind) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if request.delivery == kind.delivery {
            return;
        }
        let was = std::mem::replace(&mut request.delivery, kind.delivery);
        let (identity, known) = (request.identity(), request.entry.is_some());
        if was != Delivery::Query || known {
            return;
        }
        self.part_from_sharers(key);
        if let Some(level) = self.level_of(name, identity, kind.delivery) {
            self.will_be_journaled(key, level);
        }
    }

    /// The start is safe: the first byte goes out, unless it has ended or its worker leaves.
    pub(super) fn send_started(&mut self, start: Start) {
        let (now, key) = (self.now, start.key);
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let State::Starting(run) = &request.state else {
            return;
        };
        if run.ticket != start.ticket {
            return;
        }
        let worker = self
            .scripts
            .get_mut(&request.script)
            .and_then(|script| script.worker_mut(run.generation))
            .filter(|worker| matches!(worker.stage, Stage::Serving | Stage::Draining));
        let Some(worker) = worker else {
            self.queue_again(key);
            return;
        };
        let message = ToWorker::Request(request.dispatch(run, now));
        worker.asker.sent(message.cost(), now);
        self.effects.push_back(Effect::ToWorker {
            worker: worker.id.clone(),
            message,
        });
        request.sent();
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        if start.accepts {
            self.tell_progress(key, &Body::Accepted);
        }
        self.tell_progress(key, &Body::Running);
    }

    /// `accepted` or `running`, for those who asked for it.
    pub(super) fn tell_progress(&mut self, key: RequestKey, word: &Body) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        // Mostly nobody: then nothing is allocated.
        let asks: Vec<_> = request
            .waiters
            .iter()
            .filter(|waiter| self.wants_progress(&waiter.ask))
            .map(|waiter| waiter.ask.clone())
            .collect();
        for ask in asks {
            self.tell(&ask, word.clone());
        }
    }

    /// Tells a worker something that is no answer, and counts it.
    pub(super) fn tell_worker(&mut self, id: &WorkerId, message: ToWorker) {
        let now = self.now;
        if let Some(worker) = self.worker_mut(id) {
            worker.asker.sent(message.cost(), now);
            self.effects.push_back(Effect::ToWorker {
                worker: id.clone(),
                message,
            });
        }
    }

    /// Starts a process for the script's next generation.
    pub(super) fn spawn(
        &mut self,
        name: &ScriptName,
        handover: Option<crate::proto::messages::Json>,
    ) -> Option<WorkerId> {
        let now = self.now;
        let script = self.scripts.get_mut(name)?;
        let spec = Arc::clone(script.spec.as_ref()?);
        let id = script.mint_worker(&spec, now);
        if let Some(worker) = script.worker_mut(id.generation) {
            worker.handover.clone_from(&handover);
        }
        self.timers.arm(
            Timer::Ready(id.clone()),
            now.after(spec.settings.ready_timeout),
        );
        self.effects.push_back(Effect::Spawn {
            worker: id.clone(),
            spec,
            handover,
        });
        Some(id)
    }
}

impl Request {
    /// The worker has it.
    fn sent(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Unplaced) {
            State::Starting(run) => State::Running(run),
            other @ (State::Unplaced
            | State::Queued(_)
            | State::Running(_)
            | State::Cancelling { .. }
            | State::Elsewhere
            | State::Ending(_)) => other,
        };
    }

    fn dispatch(&self, run: &Run, now: Moment) -> Dispatch {
        Dispatch {
            ticket: run.ticket,
            script: self.script.clone(),
            work: self.work.clone(),
            id: self.id.clone(),
            client: self.client,
            timeout: run.until.since(now),
            record: self.entry.is_some(),
        }
    }
}
