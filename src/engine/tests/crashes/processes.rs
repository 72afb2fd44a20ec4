//! The simulation's worker processes. They outlive their daemon, hold their script's lock, and write down what
//! they begin and what they end.

use std::collections::BTreeMap;

use super::super::driver::handler;
use super::{Happening, World};
use crate::engine::alphabet::*;
use crate::engine::records::Outcomes;
use crate::proto::ids::*;
use crate::proto::messages::*;
use crate::weakenings::Weakening;

/// What a process does of its own at a moment.
#[derive(Debug)]
pub(super) enum Doing {
    Ready,
    /// A line comes out of its stdin.
    Read(Box<Dispatch>),
    Effect(Ticket),
    End(Ticket, Body),
    Die(Exit),
    /// Its stdin has ended, and what it ran is over, or has had its time.
    Leave {
        at_last: bool,
    },
}

#[derive(Debug)]
pub(super) struct Process {
    daemon: u64,
    id: WorkerId,
    alive: bool,
    hung: bool,
    /// Its daemon is dead.
    orphan: bool,
    lock: bool,
    /// Commands in its hands, from the moment at which they are on their way.
    running: BTreeMap<Ticket, Job>,
    /// Its outcome record; `None`: it was removed, or never made.
    pub(super) outcomes: Option<Outcomes>,
}

#[derive(Debug)]
struct Job {
    number: usize,
    began: bool,
}

/// The end of stdin leaves this long for what runs, in microseconds.
const GRACE: u64 = 150_000;

impl World {
    fn find(&self, daemon: u64, id: &WorkerId) -> Option<usize> {
        self.processes
            .iter()
            .position(|process| process.daemon == daemon && process.id == *id)
    }

    pub(super) fn spawn(&mut self, daemon: u64, id: WorkerId) {
        let beside =
            |process: &Process| process.alive && process.orphan && process.id.script == id.script;
        if self.processes.iter().any(beside) {
            let text = format!("{id} starts beside a worker of an earlier daemon");
            self.checker.broken(text);
        }
        let index = self.processes.len();
        let records = !self.weakened.has(Weakening::NoRecords);
        let hung = self.chance(20);
        self.processes.push(Process {
            daemon,
            id: id.clone(),
            alive: true,
            hung,
            orphan: false,
            lock: !self.weakened.has(Weakening::NoLocks),
            running: BTreeMap::new(),
            outcomes: records.then(|| Outcomes {
                complete: true,
                ..Outcomes::default()
            }),
        });
        let spawned = Input::Spawned { worker: id, pid: 7 };
        self.plan(100, Happening::Input(daemon, spawned));
        let doing = if self.chance(15) {
            Doing::Die(Exit::Code(1))
        } else {
            Doing::Ready
        };
        let wait = 200 + self.below(15_000);
        self.plan(wait, Happening::Process(index, doing));
        if self.chance(3) {
            let doing = Doing::Die(Exit::Signal(11));
            self.soon(900_000, Happening::Process(index, doing));
        }
    }

    /// A script is held while a worker of an earlier daemon has its lock.
    pub(super) fn is_held(&self, script: &ScriptName) -> bool {
        let current = self.daemon.as_ref().map(|daemon| daemon.number);
        self.processes.iter().any(|process| {
            process.alive
                && process.lock
                && process.id.script == *script
                && Some(process.daemon) != current
        })
    }

    /// What all earlier workers of a script wrote down, and whose records that were.
    pub(super) fn read_outcomes(&self, script: &ScriptName) -> Option<(Outcomes, Vec<usize>)> {
        let current = self.daemon.as_ref().map(|daemon| daemon.number);
        let mut all = Outcomes {
            complete: true,
            ..Outcomes::default()
        };
        let mut files = Vec::new();
        for (index, process) in self.processes.iter().enumerate() {
            let old = process.id.script == *script && Some(process.daemon) != current;
            if let (true, Some(outcomes)) = (old, &process.outcomes) {
                all.began.extend(&outcomes.began);
                all.ended.extend(outcomes.ended.clone());
                files.push(index);
            }
        }
        (!files.is_empty()).then_some((all, files))
    }

    pub(super) fn drop_outcomes(&mut self, daemon: u64, id: &WorkerId) {
        if let Some(index) = self.find(daemon, id) {
            assert!(
                !self.processes[index].alive,
                "{id} lives and loses its record"
            );
            self.processes[index].outcomes = None;
        }
    }

    pub(super) fn process_is_told(&mut self, daemon: u64, id: &WorkerId, message: ToWorker) {
        let Some(index) = self.find(daemon, id) else {
            return;
        };
        let process = &mut self.processes[index];
        if !process.alive {
            return;
        }
        match message {
            ToWorker::Request(dispatch) => {
                let job = Job {
                    number: number_of(&dispatch.work),
                    began: false,
                };
                process.running.insert(dispatch.ticket, job);
                let slow = self.chance(10);
                let most = if slow { 20_000 } else { 300 };
                self.soon(
                    most,
                    Happening::Process(index, Doing::Read(Box::new(dispatch))),
                );
            }
            ToWorker::Cancel { ticket } => {
                let ignored = process.hung || self.chance(4);
                if !ignored {
                    let refusal = Refusal::new(ErrorCode::Cancelled, "stopped while it ran");
                    let doing = Doing::End(ticket, Body::Error(refusal));
                    self.soon(5_000, Happening::Process(index, doing));
                }
            }
            ToWorker::Ping { beat, .. } => {
                if !process.hung {
                    let pong = Notice::Pong {
                        beat,
                        memory_bytes: 1,
                    };
                    self.says(index, FromWorker::Notice(pong));
                }
            }
            ToWorker::Shutdown { .. } => {
                if !process.hung {
                    let doing = Doing::Leave { at_last: false };
                    self.soon(2_000, Happening::Process(index, doing));
                }
            }
            ToWorker::Setup(_)
            | ToWorker::Event { .. }
            | ToWorker::Handover
            | ToWorker::Answer(_) => {}
        }
    }

    /// A line on its stdout, which reaches a daemon that lives.
    fn says(&mut self, index: usize, message: FromWorker) {
        self.says_all(index, [message]);
    }

    /// Lines in this order.
    fn says_all(&mut self, index: usize, messages: impl IntoIterator<Item = FromWorker>) {
        let process = &self.processes[index];
        let (daemon, worker) = (process.daemon, process.id.clone());
        let wait = self.below(400) + 1;
        for message in messages {
            let worker = worker.clone();
            let input = Input::FromWorker { worker, message };
            self.plan(wait, Happening::Input(daemon, input));
        }
    }

    pub(super) fn signal(&mut self, daemon: u64, id: &WorkerId, kill: Kill) {
        let Some(index) = self.find(daemon, id) else {
            return;
        };
        let number = match kill {
            Kill::Term if self.processes[index].hung => return,
            Kill::Term => 15,
            Kill::Kill => 9,
        };
        // Its askers may hear of the kill before it has happened.
        for job in self.processes[index].running.values() {
            self.checker.worker_died_with(job.number);
        }
        let doing = Doing::Die(Exit::Signal(number));
        self.soon(800, Happening::Process(index, doing));
    }

    /// A daemon has died: its workers see the end of their stdin.
    pub(super) fn orphans(&mut self, daemon: u64) {
        for index in 0..self.processes.len() {
            let process = &mut self.processes[index];
            if process.daemon != daemon || !process.alive {
                continue;
            }
            process.orphan = true;
            if !process.hung {
                let doing = Doing::Leave { at_last: false };
                self.soon(3_000, Happening::Process(index, doing));
                let doing = Doing::Leave { at_last: true };
                self.plan(GRACE, Happening::Process(index, doing));
            }
        }
    }

    pub(super) fn kill_old(&mut self, script: &ScriptName) {
        for index in 0..self.processes.len() {
            let process = &self.processes[index];
            if process.alive && process.orphan && process.id.script == *script {
                self.dies(index, Exit::Signal(9));
            }
        }
    }

    pub(super) fn all_processes_vanish(&mut self) {
        for process in &mut self.processes {
            process.alive = false;
            process.outcomes = None;
            process.running.clear();
        }
    }

    pub(super) fn process_does(&mut self, index: usize, doing: Doing) {
        if !self.processes[index].alive {
            return;
        }
        match doing {
            Doing::Ready => self.becomes_ready(index),
            Doing::Read(dispatch) => self.reads(index, &dispatch),
            Doing::Effect(ticket) => {
                if let Some(job) = self.processes[index].running.get(&ticket) {
                    let number = job.number;
                    self.checker.takes_effect(number);
                }
            }
            Doing::End(ticket, body) => self.ends(index, ticket, body),
            Doing::Die(exit) => self.dies(index, exit),
            Doing::Leave { at_last } => {
                let busy = self.processes[index].running.values().any(|job| job.began);
                if at_last || !busy {
                    self.dies(index, Exit::Code(0));
                }
            }
        }
    }

    fn becomes_ready(&mut self, index: usize) {
        let handlers = vec![
            handler("q", Delivery::Query),
            handler("i", Delivery::Idempotent),
            handler("o", Delivery::Once),
        ];
        let ready = Notice::Ready {
            handlers: Some(handlers),
            handover: false,
            memory_bytes: 1,
        };
        if !self.processes[index].hung || self.below(2) == 0 {
            self.says(index, FromWorker::Notice(ready));
        }
    }

    fn reads(&mut self, index: usize, dispatch: &Dispatch) {
        let process = &mut self.processes[index];
        let Some(job) = process.running.get_mut(&dispatch.ticket) else {
            return;
        };
        if process.hung {
            return;
        }
        job.began = true;
        let number = job.number;
        let id = dispatch.id.as_ref().and_then(RequestId::key);
        if dispatch.record
            && let (Some(outcomes), Some(id)) = (&mut process.outcomes, id)
        {
            outcomes.began.insert(id);
        }
        self.checker.begins(number);
        let ticket = dispatch.ticket;
        let most = match self.below(12) {
            0 if !self.calm => 600_000,
            1..4 => 30_000,
            _ => 3_000,
        };
        let (one, two) = (self.below(most), self.below(most));
        // A worker stops a handler at its time limit.
        let limit = u64::try_from(dispatch.timeout.as_micros()).unwrap_or(u64::MAX);
        let body = if one.max(two) > limit {
            Body::Error(Refusal::new(
                ErrorCode::Timeout,
                "the handler's time is over",
            ))
        } else {
            Body::Ok {
                result: Payload::Json(Json::parse(&format!("{{\"n\":{number}}}")).unwrap()),
                replayed: false,
            }
        };
        self.plan(
            one.min(two) + 1,
            Happening::Process(index, Doing::Effect(ticket)),
        );
        let end = one.max(two).min(limit) + 2;
        self.plan(end, Happening::Process(index, Doing::End(ticket, body)));
        if self.chance(40) {
            let doing = Doing::Die(Exit::Signal(9));
            self.soon(end, Happening::Process(index, doing));
        }
    }

    /// The end goes into the record, then onto the pipe.
    fn ends(&mut self, index: usize, ticket: Ticket, body: Body) {
        let process = &mut self.processes[index];
        let began = process.running.get(&ticket).is_some_and(|job| job.began);
        if !began || process.hung {
            return;
        }
        let Some(job) = process.running.remove(&ticket) else {
            return;
        };
        let orphan = process.orphan;
        let unrecorded = self.chance(30);
        let process = &mut self.processes[index];
        if !unrecorded
            && let Some(outcomes) = &mut process.outcomes
            && let Ok(id) = uuid::Uuid::try_parse(&self.checker.cases[job.number].id)
            && outcomes.began.contains(&id)
        {
            outcomes.ended.insert(id, body.clone());
        }
        if unrecorded {
            // Nobody but a daemon that hears it knows how it ended.
            self.checker.worker_died_with(job.number);
        }
        let failed = unrecorded.then_some(FromWorker::Notice(Notice::Unrecorded));
        let answer = FromWorker::Answer { ticket, body };
        self.says_all(index, failed.into_iter().chain([answer]));
        if orphan {
            let doing = Doing::Leave { at_last: false };
            self.soon(500, Happening::Process(index, doing));
        }
    }

    fn dies(&mut self, index: usize, exit: Exit) {
        let process = &mut self.processes[index];
        process.alive = false;
        for job in std::mem::take(&mut process.running).into_values() {
            self.checker.worker_died_with(job.number);
        }
        let worker = process.id.clone();
        let (daemon, outcomes) = (process.daemon, process.outcomes.clone());
        let input = Input::Exited {
            worker,
            exit,
            stderr: Vec::new(),
            outcomes: outcomes.unwrap_or_default(),
        };
        let wait = 500 + self.below(1_500);
        self.plan(wait, Happening::Input(daemon, input));
    }
}

/// Which command it is: its parameters are its own.
fn number_of(work: &Work) -> usize {
    let Work::Call {
        params: Some(params),
        ..
    } = work
    else {
        panic!("every command has parameters");
    };
    let digits: String = params
        .as_str()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}
