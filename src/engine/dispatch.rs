//! From the queue to a worker: the slot is claimed in the step that dispatches.

use std::sync::Arc;

use super::Engine;
use super::alphabet::{Effect, Moment};
use super::generation::Handlers;
use super::requests::{RequestKey, Run, State};
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

    /// Gives a request to the serving worker. The slot says that it may.
    fn start(&mut self, name: &ScriptName, key: RequestKey, slot: Slot, kind: &Kind) {
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
        let own_limit = own.is_some_and(|own| own < request.deadline);
        let until = own.map_or(request.deadline, |own| own.min(request.deadline));
        request.delivery = kind.delivery;
        request.starts += 1;
        request.state = State::Running(Run {
            slot,
            generation: worker.id.generation,
            ticket,
            until,
            own_limit,
        });
        worker.live.push_back(ticket, key);
        let message = ToWorker::Request(Dispatch {
            ticket,
            script: name.clone(),
            work: request.work.clone(),
            id: request.id.clone(),
            client: request.client,
            timeout: until.since(self.now),
            record: false,
        });
        worker.asker.sent(message.cost(), self.now);
        self.effects.push_back(Effect::ToWorker {
            worker: worker.id.clone(),
            message,
        });
        let due = request.due();
        self.timers.arm(Timer::Request(key), due);
        self.tell_running(key);
    }

    /// `running`, for those who asked for it.
    fn tell_running(&mut self, key: RequestKey) {
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
            self.tell(&ask, Body::Running);
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
