//! The simulation's worker processes: most work, some hang, die, forge or answer late.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::driver::handler;
use super::{Happening, World};
use crate::engine::alphabet::*;
use crate::proto::ids::*;
use crate::proto::messages::*;

/// What a process does of its own at a moment.
#[derive(Debug)]
pub(super) enum Doing {
    Ready,
    Outdated,
    Answer(Ticket, Body),
    Die(Exit),
    Forge(Ticket),
    Ask,
}

#[derive(Debug)]
struct Process {
    id: WorkerId,
    alive: bool,
    /// Hears nothing any more: only SIGKILL ends it.
    hung: bool,
    running: BTreeMap<Ticket, String>,
    past: Vec<Ticket>,
    asked: u64,
}

#[derive(Debug, Default)]
pub(super) struct Workers(Vec<Process>);

impl Workers {
    fn find(&self, id: &WorkerId) -> Option<usize> {
        self.0.iter().position(|process| process.id == *id)
    }

    /// Requests that run in processes of this script, whatever their generation.
    fn running(&self, script: &ScriptName) -> usize {
        self.0
            .iter()
            .filter(|process| process.id.script == *script && process.alive)
            .map(|process| process.running.len())
            .sum()
    }
}

impl World {
    pub(super) fn spawn(&mut self, id: WorkerId, _spec: &ScriptSpec) {
        assert!(self.workers.find(&id).is_none(), "{id} is spawned once");
        if self.chance(30) {
            let error = "no such file".to_owned();
            self.plan(
                Duration::from_millis(1),
                Happening::Input(Input::SpawnFailed { worker: id, error }),
            );
            return;
        }
        let index = self.workers.0.len();
        let hung = self.chance(25);
        self.workers.0.push(Process {
            id: id.clone(),
            alive: true,
            hung,
            running: BTreeMap::new(),
            past: Vec::new(),
            asked: 0,
        });
        self.plan(
            Duration::from_micros(300),
            Happening::Input(Input::Spawned { worker: id, pid: 7 }),
        );
        let wait = self.soon(30) + Duration::from_micros(400);
        if self.chance(12) {
            self.plan(wait, Happening::Worker(index, Doing::Die(Exit::Code(1))));
        } else if self.chance(6) {
            self.plan(wait, Happening::Worker(index, Doing::Outdated));
        } else {
            self.plan(wait, Happening::Worker(index, Doing::Ready));
        }
        if self.chance(4) {
            let wait = self.soon(5000);
            let exit = if self.below(2) == 0 {
                Exit::Signal(11)
            } else {
                Exit::Code(0)
            };
            self.plan(wait, Happening::Worker(index, Doing::Die(exit)));
        }
        let wait = self.soon(2000);
        self.plan(wait, Happening::Worker(index, Doing::Ask));
    }

    pub(super) fn worker_hears(&mut self, id: &WorkerId, message: ToWorker) {
        let Some(index) = self.workers.find(id) else {
            return;
        };
        if !self.workers.0[index].alive {
            return;
        }
        match message {
            ToWorker::Request(dispatch) => self.begin(index, &dispatch),
            ToWorker::Cancel { ticket } => {
                let ignored = self.workers.0[index].hung || self.chance(10);
                if !ignored {
                    let refusal = Refusal::new(ErrorCode::Cancelled, "stopped");
                    let wait = self.soon(20);
                    let doing = Doing::Answer(ticket, Body::Error(refusal));
                    self.plan(wait, Happening::Worker(index, doing));
                }
            }
            ToWorker::Ping { beat, .. } => {
                if !self.workers.0[index].hung {
                    self.notice(
                        index,
                        Notice::Pong {
                            beat,
                            memory_bytes: 5,
                        },
                    );
                }
            }
            ToWorker::Handover => {
                if !self.chance(3) {
                    let state = Some(Json::of("state"));
                    self.notice(index, Notice::Handover { state });
                }
            }
            ToWorker::Shutdown { .. } => {
                if !self.workers.0[index].hung && !self.chance(6) {
                    let wait = self.soon(300);
                    self.plan(wait, Happening::Worker(index, Doing::Die(Exit::Code(0))));
                }
            }
            ToWorker::Answer(answer) => self.checker.worker_answer(id, &answer),
            ToWorker::Event { .. } | ToWorker::Setup(_) => {}
        }
    }

    fn notice(&mut self, index: usize, notice: Notice) {
        let worker = self.workers.0[index].id.clone();
        let message = FromWorker::Notice(notice);
        let wait = self.soon(5);
        self.plan(
            wait,
            Happening::Input(Input::FromWorker { worker, message }),
        );
    }

    fn begin(&mut self, index: usize, dispatch: &Dispatch) {
        let id = self.workers.0[index].id.clone();
        let params = match &dispatch.work {
            Work::Call { handler, params } => {
                let params = params.as_ref().map_or("null", |params| params.as_str());
                self.checker.started(handler, params, dispatch);
                params.to_owned()
            }
            Work::Eval { code } => code.clone(),
        };
        let ticket = dispatch.ticket;
        self.workers.0[index].running.insert(ticket, params.clone());
        self.checker
            .concurrency(&id.script, self.workers.running(&id.script));
        let ok = Body::Ok {
            result: Payload::Json(Json::parse(&params).unwrap()),
            replayed: false,
        };
        if self.workers.0[index].hung || self.chance(30) {
            return;
        }
        if self.chance(5) {
            let part = Body::Part(Payload::Json(Json::of(&0.5)));
            let wait = self.soon(20);
            self.plan(wait, Happening::Worker(index, Doing::Answer(ticket, part)));
        }
        let most = if self.chance(10) { 4000 } else { 200 };
        let wait = self.soon(most);
        // A worker stops a handler at its time limit.
        let (wait, body) = if wait > dispatch.timeout {
            let refusal = Refusal::new(ErrorCode::Timeout, "time limit");
            (dispatch.timeout, Body::Error(refusal))
        } else {
            (wait, ok)
        };
        self.plan(wait, Happening::Worker(index, Doing::Answer(ticket, body)));
        if self.chance(20) {
            let wait = self.soon(3000);
            self.plan(wait, Happening::Worker(index, Doing::Forge(ticket)));
        }
        if self.chance(60) {
            let wait = self.soon(100);
            let doing = Doing::Die(Exit::Signal(9));
            self.plan(wait, Happening::Worker(index, doing));
        }
    }

    pub(super) fn signal(&mut self, id: &WorkerId, kill: Kill) {
        let Some(index) = self.workers.find(id) else {
            return;
        };
        let (number, heeds) = match kill {
            Kill::Term => (15, !self.workers.0[index].hung && !self.chance(5)),
            Kill::Kill => (9, true),
        };
        if heeds {
            let wait = self.soon(3);
            let doing = Doing::Die(Exit::Signal(number));
            self.plan(wait, Happening::Worker(index, doing));
        }
    }

    pub(super) fn worker_does(&mut self, index: usize, doing: Doing) {
        let process = &mut self.workers.0[index];
        if !process.alive {
            return;
        }
        let worker = process.id.clone();
        match doing {
            Doing::Ready => {
                if !process.hung {
                    self.become_ready(index);
                }
            }
            Doing::Outdated => {
                if process.hung {
                    return;
                }
                let message = FromWorker::Notice(Notice::Outdated);
                self.input(Input::FromWorker { worker, message });
                let wait = self.soon(5);
                self.plan(wait, Happening::Worker(index, Doing::Die(Exit::Code(1))));
            }
            Doing::Answer(ticket, body) => {
                if process.hung {
                    return;
                }
                if body.is_end() && process.running.remove(&ticket).is_some() {
                    process.past.push(ticket);
                }
                let message = FromWorker::Answer { ticket, body };
                self.input(Input::FromWorker { worker, message });
            }
            Doing::Forge(near) => self.forge(index, near),
            Doing::Die(exit) => {
                process.alive = false;
                process.running.clear();
                let stderr = vec!["last words".to_owned()];
                self.input(Input::Exited {
                    worker,
                    exit,
                    stderr,
                    outcomes: crate::engine::records::Outcomes::default(),
                });
            }
            Doing::Ask => self.worker_asks(index),
        }
    }

    fn become_ready(&mut self, index: usize) {
        let worker = self.workers.0[index].id.clone();
        let mut handlers = vec![
            handler("q", Delivery::Query),
            handler("i", Delivery::Idempotent),
            handler("o", Delivery::Once),
        ];
        if self.below(5) == 0 {
            handlers[0].timeout = Some(Duration::from_millis(150));
        }
        let handover = self.below(3) == 0;
        let message = FromWorker::Notice(Notice::Ready {
            handlers: Some(handlers),
            handover,
            memory_bytes: 1,
        });
        self.input(Input::FromWorker { worker, message });
    }

    /// Answers with tickets that it does not hold: one that ended, one of somebody else, one that never was.
    fn forge(&mut self, index: usize, near: Ticket) {
        let process = &self.workers.0[index];
        let worker = process.id.clone();
        let mut tickets = vec![Ticket(near.0 + 1), Ticket(near.0 + 1_000_000)];
        tickets.extend(process.past.last());
        for ticket in tickets {
            if self.workers.0[index].running.contains_key(&ticket) {
                continue;
            }
            let body = Body::Ok {
                result: Payload::Json(Json::of("forged")),
                replayed: false,
            };
            let message = FromWorker::Answer { ticket, body };
            let worker = worker.clone();
            self.input(Input::FromWorker { worker, message });
        }
    }

    /// A script calls another one.
    fn worker_asks(&mut self, index: usize) {
        let process = &mut self.workers.0[index];
        if process.hung {
            return;
        }
        process.asked += 1;
        let number = process.asked;
        let worker = process.id.clone();
        let id = RequestId::number(number as i64);
        self.checker.worker_asked(&worker, &id);
        let params = self.checker.fresh("o");
        let command = Command::Call(Call {
            script: super::super::driver::name("u"),
            handler: "o".into(),
            params: Some(Json::parse(&params).unwrap()),
            timeout: Some(Duration::from_millis(800)),
        });
        let question = Question {
            encoding: Encoding::Json,
            id: Some(id),
            command,
        };
        let message = FromWorker::Question(question);
        self.input(Input::FromWorker { worker, message });
        if !self.calm {
            let wait = self.soon(1500);
            self.plan(wait, Happening::Worker(index, Doing::Ask));
        }
    }

    /// Hung processes stay hung; new ones are well.
    pub(super) fn calm_down(&mut self) {
        self.clients.unstall();
    }
}
