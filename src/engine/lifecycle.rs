//! The life of a script: Stopped, Starting, Ready, Draining, Backoff, Failed, and what moves it on.

use super::Engine;
use super::alphabet::{Effect, Exit, Level, Peer};
use super::generation::{Handlers, Stage};
use super::lost::cause_of;
use super::records::Outcomes;
use super::restart::Verdict;
use super::scripts::{Phase, Reload, Script, Then};
use super::timers::Timer;
use crate::limits;
use crate::proto::ids::{Generation, ScriptName, WorkerId};
use crate::proto::messages::{Handler, Json};

/// What is said of a script that is restarted again and again although it ends well.
const ENDS_AT_ONCE: &str = "it ends with code 0 soon after each start; let it register a handler, a timer or a loop to stay, or set restart = \"on-failure\" if it is meant to end";

impl Engine {
    /// Starts a script that has no worker that serves or starts.
    pub(super) fn start_script(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        self.timers.disarm(Timer::Restart(name.clone()));
        if !script.may_start() {
            self.fail_script(name, false);
            return;
        }
        if self.recovery.held.contains(name) {
            script.phase = Phase::Awaiting;
            return;
        }
        let handover = script.handover.take();
        if let Some(id) = self.spawn(name, handover)
            && let Some(script) = self.scripts.get_mut(name)
        {
            script.phase = Phase::Starting(id.generation);
        }
    }

    /// `failed`: shown with its last error; whoever waits is told.
    pub(super) fn fail_script(&mut self, name: &ScriptName, retries: bool) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.phase = Phase::Failed { retries };
        if retries {
            let at = self.now.after(limits::FAILED_RETRY);
            self.timers.arm(Timer::Restart(name.clone()), at);
        }
        self.settle_first(name, false);
        self.announce(name, "failed");
        self.fail_queue(name);
        self.start_failed(name);
    }

    /// Nothing will serve what is queued: it is refused, having never run.
    pub(super) fn fail_queue(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let refusal = script.not_ready();
        for key in script.queue.keys() {
            self.turn_away(key, refusal.clone());
        }
    }

    /// The back-off, or a failed script's pause, is over; or a reload is to be tried again.
    pub(super) fn restart_due(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        match script.phase {
            Phase::Backoff | Phase::Failed { .. } => self.start_script(name),
            Phase::Ready(_, Reload::None) if script.outdated > 0 => self.reload(name),
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_) => {}
        }
    }

    pub(super) fn spawned(&mut self, id: &WorkerId, pid: u32) {
        match self.worker_mut(id) {
            Some(worker) => worker.pid = Some(pid),
            None => self.senseless("a process of an unknown worker"),
        }
    }

    /// The worker says that its script serves.
    pub(super) fn worker_ready(
        &mut self,
        id: &WorkerId,
        handlers: Option<Vec<Handler>>,
        hands_over: bool,
        memory_bytes: u64,
    ) {
        let now = self.now;
        let Some(worker) = self.worker_mut(id) else {
            self.senseless("readiness of an unknown worker");
            return;
        };
        if worker.stage != Stage::Starting {
            self.senseless("a second readiness");
            return;
        }
        worker.stage = Stage::Serving;
        worker.since = now;
        worker.handlers = Handlers::of(handlers);
        worker.hands_over = hands_over;
        worker.memory_bytes = memory_bytes;
        worker.handover = None;
        self.timers.disarm(Timer::Ready(id.clone()));
        self.start_heartbeat();
        self.promote(id);
    }

    /// A generation that has become ready serves from now on.
    fn promote(&mut self, id: &WorkerId) {
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        let (old, again) = match &script.phase {
            Phase::Starting(generation) if *generation == id.generation => (None, false),
            Phase::Ready(old, Reload::Trying { candidate, again })
                if *candidate == id.generation =>
            {
                (Some(*old), *again)
            }
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => return,
        };
        script.phase = Phase::Ready(id.generation, Reload::None);
        script.outdated = 0;
        if script.fault.is_none() {
            script.last_error = None;
        }
        self.note(Level::Info, || format!("{id} is ready"));
        if let Some(old) = old {
            self.drain(&WorkerId {
                script: id.script.clone(),
                generation: old,
            });
        }
        self.adopt_checks(id);
        self.settle_first(&id.script, true);
        self.announce(&id.script, "ready");
        self.wake(&id.script);
        if again {
            self.reload(&id.script);
        }
        self.review_controls(&id.script);
    }

    /// Not ready within its time: a failed start.
    pub(super) fn ready_due(&mut self, id: &WorkerId) {
        let limit = self.worker(id).map_or(limits::READY_TIMEOUT, |worker| {
            worker.spec.settings.ready_timeout
        });
        let text = format!(
            "not ready within {} s: its top level has not returned; see `moonkeep logs {}`, or set ready_timeout",
            limit.as_secs_f64(),
            id.script
        );
        self.kill_worker(id, text);
    }

    /// The process is gone for good: what it held ends or runs again, and its script goes on.
    pub(super) fn exited(
        &mut self,
        id: &WorkerId,
        exit: Option<Exit>,
        text: String,
        outcomes: &Outcomes,
    ) {
        let Some(script) = self.scripts.get_mut(&id.script) else {
            self.senseless("the exit of an unknown worker");
            return;
        };
        let Some(index) = script.workers.iter().position(|worker| worker.id == *id) else {
            self.senseless("the exit of an unknown worker");
            return;
        };
        // Requests find their worker gone; their slots come back one by one.
        let mut worker = script.workers.remove(index);
        for slot in worker.parked.drain(..) {
            script.slots.give_back(slot);
        }
        for timer in [
            Timer::Ready(id.clone()),
            Timer::Leave(id.clone()),
            Timer::Handover(id.clone()),
            Timer::Drain(id.clone()),
        ] {
            self.timers.disarm(timer);
        }
        let peer = Peer::Worker(id.clone());
        self.subscribers.remove(&peer);
        let cause = exit.map_or_else(|| "could not be started".to_owned(), cause_of);
        for key in worker.live.values().rev() {
            self.lost_with_worker(*key, exit, outcomes);
        }
        if exit.is_some() {
            self.journal.hold_outcomes(id.clone());
        }
        self.close_questions(&peer, &worker.asker, false);
        let expected = worker.outdated || (worker.is_leaving() && worker.error.is_none());
        let error = worker.error.take().unwrap_or(text);
        self.note(if expected { Level::Info } else { Level::Warn }, || {
            format!(
                "{id} {cause}{}",
                if expected { "" } else { " unexpectedly" }
            )
        });
        if !worker.outdated || !self.start_anew(id, worker.handover) {
            self.after_exit(id, exit, error, self.now.since(worker.since));
        }
        self.wake(&id.script);
        self.release_held();
        self.look_at_shutdown();
    }

    fn after_exit(
        &mut self,
        id: &WorkerId,
        exit: Option<Exit>,
        error: String,
        ran: std::time::Duration,
    ) {
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        match script.phase.clone() {
            Phase::Starting(generation) if generation == id.generation => {
                self.crashed(&id.script, exit, error, std::time::Duration::ZERO);
            }
            Phase::Ready(generation, reload) if generation == id.generation => match reload {
                Reload::None => self.crashed(&id.script, exit, error, ran),
                Reload::Asking { .. } | Reload::Emptying => self.start_script(&id.script),
                Reload::Trying { candidate, .. } => {
                    script.phase = Phase::Starting(candidate);
                }
            },
            Phase::Ready(_, Reload::Trying { candidate, .. }) if candidate == id.generation => {
                self.reload_failed(&id.script, error);
            }
            Phase::Draining(Then::Crashed(generation)) if generation == id.generation => {
                self.crashed(&id.script, exit, error, ran);
            }
            Phase::Draining(then) if script.workers.is_empty() => self.drained(&id.script, then),
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => {}
        }
    }

    /// An unexpected end of the one that served or started: the restart policy decides.
    fn crashed(
        &mut self,
        name: &ScriptName,
        exit: Option<Exit>,
        error: String,
        ran: std::time::Duration,
    ) {
        let now = self.now;
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        let well = exit == Some(Exit::Code(0)) && ran > std::time::Duration::ZERO;
        if !well {
            script.last_error = Some(error);
        }
        let policy = script
            .spec
            .as_ref()
            .map_or(crate::options::RestartPolicy::Never, |spec| {
                spec.settings.restart
            });
        let verdict = script
            .restarts
            .judge(policy, exit, ran, now, &mut self.random);
        if well && matches!(verdict, Verdict::After(_) | Verdict::Fail) {
            script.last_error = Some(ENDS_AT_ONCE.to_owned());
        }
        self.announce(name, "exited");
        match verdict {
            Verdict::Now => {
                self.settle_first(name, false);
                self.start_failed(name);
                self.start_script(name);
            }
            Verdict::After(delay) => {
                self.timers
                    .arm(Timer::Restart(name.clone()), now.after(delay));
                self.set_phase(name, Phase::Backoff);
                self.settle_first(name, false);
                self.start_failed(name);
            }
            Verdict::Fail => self.fail_script(name, true),
            Verdict::Stop if well => {
                self.settle_first(name, true);
                // An older generation may still drain.
                self.take_down(name, Then::Stop);
                self.review_controls(name);
            }
            Verdict::Stop => self.fail_script(name, false),
        }
    }

    pub(super) fn set_phase(&mut self, name: &ScriptName, phase: Phase) {
        if let Some(script) = self.scripts.get_mut(name) {
            script.phase = phase;
        }
    }

    /// The script's first start has an outcome: `up` waits for all of them.
    pub(super) fn settle_first(&mut self, name: &ScriptName, well: bool) {
        if let Some(script) = self.scripts.get_mut(name)
            && script.settled.is_none()
        {
            script.settled = Some(well);
            self.look_at_loaded();
            if name.is_plugin() {
                self.configure_checks();
            }
        }
    }

    /// Reports once, when every enabled script is ready or has failed.
    pub(super) fn look_at_loaded(&mut self) {
        if !self.loaded || self.settled {
            return;
        }
        let wanted = |script: &&Script| !script.name.is_plugin() && script.is_wanted();
        let all = self.scripts.values().filter(wanted);
        let (mut ready, mut failed) = (0, 0);
        for script in all {
            match script.settled {
                None => return,
                Some(true) => ready += 1,
                Some(false) => failed += 1,
            }
        }
        self.settled = true;
        self.effects.push_back(Effect::Settled { ready, failed });
    }

    /// A script that comes back continues to count its generations.
    pub(super) fn generation_of(&self, name: &ScriptName) -> Generation {
        self.removed.get(name).copied().unwrap_or(Generation(0))
    }

    /// The state that a generation hands over.
    pub(super) fn handed_over(&mut self, id: &WorkerId, state: Option<Json>) {
        let fits = state
            .as_ref()
            .is_none_or(|state| state.as_str().len() <= limits::HANDOVER_BYTES);
        if !fits {
            self.note(Level::Warn, || {
                format!(
                    "{id}: its handover is over {} bytes and is dropped; hand over less",
                    limits::HANDOVER_BYTES
                )
            });
        }
        self.go_on_after_handover(id, state.filter(|_| fits));
    }
}
