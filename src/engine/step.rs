//! One step of the machine: due timers, the input, then what the step itself has made due.

use std::time::Duration;

use super::Engine;
use super::alphabet::{Effect, Input, Level, Moment, Peer};
use super::records::Outcomes;
use super::sessions::Leaving;
use super::timers::Timer;
use crate::limits;
use crate::monitor::alphabet as monitor;
use crate::proto::ids::{SessionId, WorkerId};
use crate::proto::messages::{FromWorker, Notice};

impl Engine {
    pub(super) fn fire_timers(&mut self) {
        while let Some((at, timer)) = self.timers.pop(self.now) {
            self.late = self.now.since(at);
            self.fire(timer);
            self.late = Duration::ZERO;
            self.finish_step();
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Request(key) => self.request_due(key),
            Timer::Idle(session) => self.idle(session),
            Timer::Write(session) => self.write_stalled(session),
            Timer::Line(session) => self.line_too_slow(session),
            Timer::Rate(name) => self.wake(&name),
            Timer::Ready(worker) => self.ready_due(&worker),
            Timer::Leave(worker) => self.leave_due(&worker),
            Timer::Handover(worker) => self.go_on_after_handover(&worker, None),
            Timer::Drain(worker) => self.drain_due(&worker),
            Timer::Restart(name) => self.restart_due(&name),
            Timer::Heartbeat => self.heartbeat(),
            Timer::Monitor => self.tell_monitor(monitor::Input::Tick),
            Timer::Kept => self.go_on_unkept(),
            Timer::Control(key) => self.control_due(key),
            Timer::LastResort => self.last_resort(),
        }
    }

    pub(super) fn take(&mut self, input: Input) {
        self.look_at_healing();
        match input {
            Input::Tick => {}
            Input::Connected { session, fresh, .. } => self.connected(session, fresh),
            Input::Belongs { session, script } => self.belongs(session, script),
            Input::FromClient { session, message } => self.client_says(session, message),
            Input::Gone { session, why } => self.leave(session, Leaving::Gone(why)),
            Input::Flushed { peer, cost } => self.flushed(&peer, cost),
            Input::Partial { session, begun } => self.partial(session, begun),
            Input::Loaded => {
                self.loaded = true;
                self.place_the_rest();
                self.look_at_loaded();
                self.configure_checks();
            }
            Input::Script(change) => self.script_change(change),
            Input::Looked { look } => self.looked(look),
            Input::Spawned { worker, pid } => self.spawned(&worker, pid),
            Input::SpawnFailed { worker, error } => {
                let text = format!("could not be started: {error}");
                self.exited(&worker, None, text, &Outcomes::default());
            }
            Input::FromWorker { worker, message } => self.worker_says(&worker, message),
            Input::Recovered(found) => self.recovered(*found),
            Input::Freed { script, outcomes } => self.freed(&script, &outcomes),
            Input::Journaled { written, synced } => self.journaled(written, synced),
            Input::JournalFailed(fault) => self.journal_failed(fault),
            Input::Exited {
                worker,
                exit,
                stderr,
                outcomes,
            } => {
                let text = exit_text(exit, &stderr);
                self.exited(&worker, Some(exit), text, &outcomes);
            }
            Input::LogRead { ask, lines } => self.log_read(ask, lines),
            Input::Configured { fault } => self.configured(fault),
            Input::Sections(sections) => self.sections_changed(*sections),
            Input::Monitor(input) => self.tell_monitor(input),
            Input::Kept { count } => self.kept(count),
            Input::Show { ask } => self.shown(ask),
            Input::Listening { address, fault } => self.listening(address, fault),
            Input::Terminate { why } => self.terminate(&why),
        }
    }

    fn configured(&mut self, fault: Option<String>) {
        if let Some(fault) = &fault {
            self.note(Level::Error, || {
                format!("moonkeep.toml is not taken, the running configuration stays: {fault}")
            });
        }
        self.config_fault = fault;
    }

    fn worker_says(&mut self, id: &WorkerId, message: FromWorker) {
        let Some(worker) = self.worker(id) else {
            self.senseless("a message of an unknown worker");
            return;
        };
        match message {
            FromWorker::Answer { ticket, body } => match worker.live.get(ticket).copied() {
                Some(key) if self.was_sent(key) => self.worker_answer(key, body),
                Some(_) | None => self.stray(id, ticket),
            },
            FromWorker::Question(question) => self.question(&Peer::Worker(id.clone()), question),
            FromWorker::Malformed(malformed) => {
                self.malformed(&Peer::Worker(id.clone()), malformed);
            }
            FromWorker::Notice(notice) => self.notice(id, notice),
        }
    }

    fn notice(&mut self, id: &WorkerId, notice: Notice) {
        match notice {
            Notice::Ready {
                handlers,
                handover,
                memory_bytes,
            } => self.worker_ready(id, handlers, handover, memory_bytes),
            Notice::Handlers { handlers, handover } => {
                if let Some(worker) = self.worker_mut(id) {
                    worker.handlers = super::generation::Handlers::of(Some(handlers));
                    worker.hands_over = handover;
                }
                self.wake(&id.script);
            }
            Notice::Loaded { files } => self.follow(id, files),
            Notice::Pong { beat, memory_bytes } => self.pong(id, beat, memory_bytes),
            Notice::Handover { state } => self.handed_over(id, state),
            Notice::Listen { patterns } => self.listen(id, patterns),
            Notice::Declared { checks } => self.declared(id, checks),
            Notice::Confined { sandbox } => {
                if let Some(worker) = self.worker_mut(id) {
                    worker.sandbox = Some(sandbox);
                }
            }
            Notice::Failed { refusal } => {
                if let Some(worker) = self.worker_mut(id) {
                    let text = refusal.traceback.map_or_else(
                        || refusal.message.clone(),
                        |traceback| format!("{}\n{traceback}", refusal.message),
                    );
                    worker.error.get_or_insert(text);
                }
            }
            Notice::Outdated => self.worker_outdated(id),
            Notice::Unrecorded => {
                if let Some(worker) = self.worker_mut(id) {
                    worker.records = false;
                }
            }
        }
    }

    fn flushed(&mut self, peer: &Peer, cost: u64) {
        let now = self.now;
        let Some(asker) = self.asker_mut(peer) else {
            return;
        };
        asker.outbox.flushed(cost, now);
        if let Peer::Worker(id) = peer {
            self.wake(&id.script);
        }
        self.report_gaps(peer);
        self.review_pause(peer);
    }

    pub(super) fn arm_write_deadline(&mut self, session: SessionId, at: Moment) {
        let timer = Timer::Write(session);
        if !self.timers.is_armed(&timer) {
            self.timers.arm(timer, at);
        }
    }

    /// Pauses or resumes a peer by what it has open and what waits for it.
    pub(super) fn review_pause(&mut self, peer: &Peer) {
        if *peer == Peer::Monitor {
            return;
        }
        let Some(asker) = self.asker_mut(peer) else {
            return;
        };
        if asker.waiting() > limits::OUTBOX_DROP_BYTES {
            if !self.overfull.contains(peer) {
                self.overfull.push(peer.clone());
            }
            return;
        }
        if !asker.paused && asker.should_pause() {
            asker.paused = true;
            self.effects.push_back(Effect::Pause { peer: peer.clone() });
        } else if asker.paused && asker.may_resume() {
            asker.paused = false;
            self.effects
                .push_back(Effect::Resume { peer: peer.clone() });
        }
    }

    /// What the step has made due: peers that are too full leave, queues move, drained workers go.
    pub(super) fn finish_step(&mut self) {
        loop {
            if let Some(peer) = self.overfull.pop() {
                self.too_much_waiting(&peer);
            } else if let Some(name) = self.awake.pop() {
                let Some(script) = self.scripts.get_mut(&name) else {
                    continue;
                };
                script.awake = false;
                let drains = script.is_draining();
                if script.queue.first().is_some() {
                    self.pump(&name);
                }
                if drains {
                    self.look_at_draining(&name);
                }
            } else if let Some(input) = self.checking.next_input() {
                self.step_monitor(input);
            } else {
                self.record_admitted();
                return;
            }
        }
    }
}

/// `exited with code 1: last line of stderr`.
fn exit_text(exit: super::alphabet::Exit, stderr: &[String]) -> String {
    let cause = super::lost::cause_of(exit);
    if stderr.is_empty() {
        return cause;
    }
    format!("{cause}: {}", stderr.join("\n"))
}
