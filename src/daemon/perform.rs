//! Does what the engine wants, without ever waiting.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::accept::Sessions;
use super::attend::{self, WorkerHandle};
use super::checkbook::Checkbook;
use super::child::Nursery;
use super::clock;
use super::deliveries::Deliveries;
use super::http::Desk;
use super::inbox::Inbox;
use super::journal::Journal;
use super::lane::{Lane, Scratch};
use super::logs::{self, Logs};
use super::watch::Watch;
use crate::engine::alphabet::{Effect, Input, Kill, Level, LogAsk, Peer, ScriptSpec};
use crate::limits;
use crate::monitor::alphabet::{self as monitor, Delivery};
use crate::paths::Home;
use crate::proto::codec;
use crate::proto::ids::{ScriptName, SessionId, WorkerId};
use crate::proto::messages::{Answer, Json, ToWorker};

/// Numbers that `up` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) ready: usize,
    pub(super) failed: usize,
}

/// What an effect means for the core itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    Report(Settled),
    Exit,
}

/// What an input passes on of earlier daemons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Legacy {
    Nothing,
    /// All but what their living workers may still write.
    Rest,
    /// What the last of them wrote for a script.
    Of(ScriptName),
}

impl Legacy {
    pub(super) fn of(input: &Input) -> Self {
        if let Input::Recovered(_) = input {
            Legacy::Rest
        } else if let Input::Freed { script, .. } = input {
            Legacy::Of(script.clone())
        } else {
            Legacy::Nothing
        }
    }
}

/// Outcome records of earlier daemons' workers, until they are removed.
#[derive(Debug, Default)]
pub(super) struct Estate {
    /// Handed to the engine with what was recovered.
    pub(super) read: Vec<PathBuf>,
    /// Handed in when the script's last worker is gone.
    pub(super) held: HashMap<ScriptName, Vec<PathBuf>>,
}

/// Everything that effects act on.
pub(super) struct Hands {
    pub(super) home: Home,
    pub(super) inbox: Rc<Inbox>,
    pub(super) logs: Logs,
    pub(super) scratch: Scratch,
    pub(super) sessions: Sessions,
    pub(super) workers: HashMap<WorkerId, WorkerHandle>,
    pub(super) nursery: Nursery,
    pub(super) watch: Watch,
    pub(super) deliveries: Deliveries,
    pub(super) desk: Rc<Desk>,
    /// The workers' tasks, the readings of logs, and the deliveries.
    pub(super) tasks: JoinSet<()>,
    pub(super) journal: Journal,
    pub(super) checkbook: Checkbook,
    /// Outcome records of earlier daemons' workers.
    pub(super) estate: Estate,
    /// Peers whose outboxes have something new.
    pub(super) unflushed: Vec<(Peer, Rc<Lane>)>,
}

impl Hands {
    pub(super) fn perform(&mut self, effect: Effect) -> Then {
        match effect {
            Effect::ToClient { session, answer } => self.tell_client(session, &answer),
            Effect::ToWorker { worker, message } => self.tell_worker(worker, &message),
            Effect::Disconnect { session, last, why } => self.disconnect(session, last, &why),
            Effect::Pause { peer } => self.pause(&peer, true),
            Effect::Resume { peer } => self.pause(&peer, false),
            Effect::Spawn {
                worker,
                spec,
                handover,
            } => self.spawn(worker, &spec, handover),
            Effect::Signal { worker, kill } => self.signal(&worker, kill),
            Effect::ReadLog { ask, script, lines } => self.read_log(ask, script.as_ref(), lines),
            Effect::Rescan { look } => self.watch.look(look),
            Effect::Journal {
                mark,
                level,
                record,
                late,
            } => self.journal.append(mark, level, record, late),
            Effect::DropOutcomes { worker } => {
                let record = self.nursery.outcomes(&worker);
                self.journal.remove(record);
            }
            Effect::Follow { script, files } => self.watch.follow(&script, files),
            Effect::Monitor(effect) => self.obey_monitor(effect),
            Effect::Note { level, text } => self.logs.note(level, text),
            Effect::Shown { ask, view, facts } => self.desk.shown(ask, *view, *facts),
            Effect::Settled { ready, failed } => return Then::Report(Settled { ready, failed }),
            Effect::Exit => return Then::Exit,
        }
        Then::GoOn
    }

    /// Sends what waits, as far as the kernel takes it, and tells the engine what went.
    pub(super) fn flush(&mut self) {
        for (peer, lane) in self.unflushed.drain(..) {
            let cost = lane.flush();
            if cost > 0 {
                self.inbox.push(Input::Flushed { peer, cost });
            }
        }
    }

    /// The engine was told that a worker is gone: nothing more is to be done with it.
    pub(super) fn forget(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(panic) = ended {
                let text = format!("a worker's task failed: {panic}; please report it");
                self.logs.note(Level::Error, text);
            }
        }
    }

    /// The engine has heard of these outcomes, and all that it wants written because of them is with the journal.
    pub(super) fn inherited(&mut self, legacy: Legacy) {
        match legacy {
            Legacy::Nothing => {}
            Legacy::Rest => {
                self.journal.settle();
                self.journal.spend(std::mem::take(&mut self.estate.read));
            }
            Legacy::Of(script) => {
                let records = self.estate.held.remove(&script).unwrap_or_default();
                self.journal.spend(records);
            }
        }
    }

    fn obey_monitor(&mut self, effect: monitor::Effect) {
        match effect {
            monitor::Effect::Keep(keep) => self.checkbook.keep(keep),
            monitor::Effect::AskClock => self.inbox.push(clock::now()),
            monitor::Effect::Deliver(delivery) => self.deliver(*delivery),
            // These the engine performs itself.
            monitor::Effect::Run { .. }
            | monitor::Effect::Told { .. }
            | monitor::Effect::Emit { .. }
            | monitor::Effect::Note { .. } => {}
        }
    }

    fn tell_client(&mut self, session: SessionId, answer: &Answer) {
        let lane = self.sessions.borrow().get(&session).map(Rc::clone);
        if let Some(lane) = lane {
            if answer.body.is_end() {
                lane.paid();
            }
            if lane.push(answer.cost(), |out| codec::encode_answer(answer, out)) {
                self.unflushed.push((Peer::Session(session), lane));
            }
        }
    }

    fn tell_worker(&mut self, worker: WorkerId, message: &ToWorker) {
        if let Some(handle) = self.workers.get(&worker) {
            let lane = Rc::clone(&handle.lane);
            if lane.push(message.cost(), |out| codec::encode_to_worker(message, out)) {
                self.unflushed.push((Peer::Worker(worker), lane));
            }
        }
    }

    fn disconnect(&mut self, session: SessionId, last: Option<Answer>, why: &str) {
        if let Some(answer) = last {
            self.tell_client(session, &answer);
        }
        if let Some(lane) = self.sessions.borrow().get(&session) {
            lane.close();
            self.logs
                .note(Level::Debug, format!("session {}: {why}", session.0));
        }
    }

    fn pause(&self, peer: &Peer, paused: bool) {
        match peer {
            Peer::Session(session) => {
                if let Some(lane) = self.sessions.borrow().get(session) {
                    lane.pause(paused);
                }
            }
            Peer::Worker(worker) => {
                if let Some(handle) = self.workers.get(worker) {
                    handle.lane.pause(paused);
                }
            }
            // Nobody sends it more than it asks for.
            Peer::Monitor => {}
        }
    }

    fn spawn(&mut self, worker: WorkerId, spec: &Arc<ScriptSpec>, handover: Option<Json>) {
        let born = self
            .nursery
            .spawn(&worker, spec)
            .and_then(|(process, pipes, user)| {
                let pid = process.id();
                let (handle, attendant) = attend::attend(worker.clone(), process, pipes)?;
                Ok((pid, handle, attendant, user))
            });
        let (pid, handle, attendant, user) = match born {
            Ok(born) => born,
            Err(error) => {
                self.inbox.push(Input::SpawnFailed {
                    worker,
                    error: format!("{error:#}"),
                });
                return;
            }
        };
        let setup = self.nursery.setup(&worker, spec, handover, user);
        let message = ToWorker::Setup(Box::new(setup));
        self.workers.insert(worker.clone(), handle);
        // Not the engine's message, so its cost is none of the engine's credit.
        if let Some(handle) = self.workers.get(&worker)
            && handle
                .lane
                .push(0, |out| codec::encode_to_worker(&message, out))
        {
            let lane = Rc::clone(&handle.lane);
            self.unflushed.push((Peer::Worker(worker.clone()), lane));
        }
        self.inbox.push(Input::Spawned {
            worker: worker.clone(),
            pid,
        });
        let record = self.nursery.outcomes(&worker);
        let log = self.logs.of(worker);
        self.tasks.spawn_local(attendant.run(
            Rc::clone(&self.inbox),
            self.scratch.clone(),
            log,
            record,
        ));
    }

    fn signal(&self, worker: &WorkerId, kill: Kill) {
        if let Some(handle) = self.workers.get(worker) {
            handle.signal(kill);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let program = self.nursery.program();
        let inbox = Rc::clone(&self.inbox);
        let attempt = self.deliveries.begin(program, &self.home, delivery, inbox);
        self.tasks.spawn_local(attempt);
    }

    fn read_log(&mut self, ask: LogAsk, script: Option<&ScriptName>, lines: u32) {
        let path = self.home.log(script.map(ScriptName::as_str));
        let inbox = Rc::clone(&self.inbox);
        self.tasks.spawn_local(async move {
            let shown = path.display().to_string();
            let read = tokio::task::spawn_blocking(move || {
                logs::tail(&path, lines, limits::LOG_TAIL_BYTES)
            });
            let lines = match read.await {
                Ok(Ok(text)) => Ok(text),
                Ok(Err(error)) => Err(format!("cannot read the log {shown}: {error}")),
                Err(_) => Err(format!("reading the log {shown} failed; try again")),
            };
            inbox.push(Input::LogRead { ask, lines });
        });
    }
}
