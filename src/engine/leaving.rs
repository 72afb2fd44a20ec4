//! How workers are made to leave: drained, noticed, terminated, killed; and what follows.

use super::alphabet::{Effect, Kill, Level};
use super::generation::{Stage, Step};
use super::scripts::{Phase, Reload, Then};
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::proto::ids::{ScriptName, WorkerId};
use crate::proto::messages::ToWorker;

impl Engine {
    /// The old generation ends what it holds, then leaves.
    pub(super) fn drain(&mut self, id: &WorkerId) {
        if let Some(worker) = self.worker_mut(id)
            && worker.stage == Stage::Serving
        {
            worker.stage = Stage::Draining;
            self.wake(&id.script);
        }
    }

    /// Workers that have nothing left to end are asked to leave. Looked at in each step that woke the script.
    pub(super) fn look_at_draining(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let empty: Vec<WorkerId> = script
            .workers
            .iter()
            .filter(|worker| worker.stage == Stage::Draining && worker.live.is_empty())
            .map(|worker| worker.id.clone())
            .collect();
        for id in empty {
            self.ask_to_leave(&id);
        }
    }

    /// First step of a stop: the notice. SIGTERM and SIGKILL follow, each at its time.
    pub(super) fn ask_to_leave(&mut self, id: &WorkerId) {
        let now = self.now;
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        let grace = script.stop_timeout();
        let Some(worker) = script.worker_mut(id.generation) else {
            return;
        };
        if worker.is_leaving() {
            return;
        }
        let starting = worker.stage == Stage::Starting;
        worker.stage = Stage::Leaving(Step::Notice);
        for timer in [
            Timer::Ready(id.clone()),
            Timer::Handover(id.clone()),
            Timer::Drain(id.clone()),
        ] {
            self.timers.disarm(timer);
        }
        // One that is still starting holds nothing: it is not waited for.
        let wait = if starting {
            std::time::Duration::ZERO
        } else {
            grace
        };
        self.timers.arm(Timer::Leave(id.clone()), now.after(wait));
        self.tell_worker(id, ToWorker::Shutdown { grace });
    }

    /// The next step of a stop.
    pub(super) fn leave_due(&mut self, id: &WorkerId) {
        let now = self.now;
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        let grace = script.stop_timeout();
        let Some(worker) = script.worker_mut(id.generation) else {
            return;
        };
        let (step, kill, wait) = match worker.stage {
            Stage::Leaving(Step::Notice) => (Step::Term, Kill::Term, grace),
            Stage::Leaving(Step::Term) => (Step::Kill, Kill::Kill, limits::EXIT_GRACE),
            Stage::Leaving(Step::Kill) => (Step::Kill, Kill::Kill, limits::EXIT_GRACE),
            Stage::Starting | Stage::Serving | Stage::Draining => return,
        };
        worker.stage = Stage::Leaving(step);
        self.timers.arm(Timer::Leave(id.clone()), now.after(wait));
        self.effects.push_back(Effect::Signal {
            worker: id.clone(),
            kill,
        });
    }

    /// The one that served is being killed: nothing new goes to it.
    pub(super) fn lost_to_kill(&mut self, id: &WorkerId) {
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        let Phase::Ready(generation, reload) = &script.phase else {
            return;
        };
        if *generation != id.generation {
            return;
        }
        script.phase = match reload {
            Reload::None => Phase::Draining(Then::Crashed(id.generation)),
            Reload::Trying { candidate, .. } => Phase::Starting(*candidate),
            Reload::Asking { .. } | Reload::Emptying => Phase::Draining(Then::Start),
        };
    }

    /// All workers are gone: what was to follow.
    pub(super) fn drained(&mut self, name: &ScriptName, then: Then) {
        match then {
            Then::Stop => {
                self.set_phase(name, Phase::Stopped);
                self.withdraw_checks(name);
                self.fail_queue(name);
                self.announce(name, "stopped");
                self.review_controls(name);
            }
            Then::Start => self.start_script(name),
            Then::Crashed(_) => self.start_script(name),
            Then::Remove => self.remove_script(name),
        }
    }

    /// Takes all workers of a script down; `then` follows when they are gone.
    pub(super) fn take_down(&mut self, name: &ScriptName, then: Then) {
        self.timers.disarm(Timer::Restart(name.clone()));
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.phase = Phase::Draining(then);
        let ids: Vec<WorkerId> = script
            .workers
            .iter()
            .map(|worker| worker.id.clone())
            .collect();
        for id in &ids {
            self.ask_to_leave(id);
        }
        if matches!(then, Then::Stop | Then::Remove) {
            self.fail_queue(name);
        }
        if ids.is_empty() {
            self.drained(name, then);
        }
    }

    fn remove_script(&mut self, name: &ScriptName) {
        self.set_phase(name, Phase::Stopped);
        let names: Vec<String> = self
            .scripts
            .keys()
            .filter(|other| *other != name)
            .map(ToString::to_string)
            .collect();
        let refusal = refusals::unknown_script(name, names.iter().map(String::as_str));
        self.end_controls(name, |_| Err(refusal.clone()));
        self.fail_queue(name);
        self.withdraw_checks(name);
        if let Some(script) = self.scripts.remove(name) {
            self.removed.insert(name.clone(), script.generation);
            self.timers.disarm(Timer::Rate(name.clone()));
            self.note(Level::Info, || format!("{name} is removed"));
        }
        self.look_at_loaded();
    }
}
