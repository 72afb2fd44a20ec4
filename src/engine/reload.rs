//! Changes of files: new scripts start, changed ones get a new generation, deleted ones stop.
//!
//! `overlap`: the candidate starts beside the serving one and replaces it when it is ready; if it fails,
//! the serving one stays and `last_error` says why. A change during a reload leads to one more.

use std::path::Path;
use std::sync::Arc;

use super::Engine;
use super::alphabet::{Effect, Level, ScriptChange, ScriptSpec};
use super::generation::Stage;
use super::scripts::{Phase, Reload, Script, Then};
use super::timers::Timer;
use crate::limits;
use crate::options::ReloadMode;
use crate::proto::ids::{ScriptName, WorkerId};
use crate::proto::messages::{CheckSpec, Json, LoadedFile, ToWorker};

impl Engine {
    /// Only the newest code says which files matter: an older generation may load some still while it drains.
    pub(super) fn follow(&mut self, id: &WorkerId, files: Vec<LoadedFile>) {
        let newest = self.scripts.get(&id.script).map(|script| script.generation);
        if newest == Some(id.generation) {
            self.effects.push_back(Effect::Follow {
                script: id.script.clone(),
                files: files.into_iter().take(limits::MODULES_PER_SCRIPT).collect(),
            });
        }
    }

    pub(super) fn script_change(&mut self, change: ScriptChange) {
        if self.life.is_leaving() {
            return;
        }
        let concerned = match &change {
            ScriptChange::Changed { spec, .. } => spec.name.clone(),
            ScriptChange::Removed { name, .. } | ScriptChange::Faulty { name, .. } => name.clone(),
        };
        match change {
            ScriptChange::Changed { spec, because } => self.script_changed(&spec, &because),
            ScriptChange::Removed { name, because } => {
                self.note(Level::Info, || {
                    format!("{name} stops: {} is gone", because.display())
                });
                self.take_down(&name, Then::Remove);
            }
            ScriptChange::Faulty {
                name,
                path,
                error,
                checks,
            } => self.script_faulty(&name, &path, error, checks),
        }
        self.place_recovered(&concerned);
    }

    fn script_changed(&mut self, spec: &Arc<ScriptSpec>, because: &Path) {
        let now = self.now;
        let name = &spec.name;
        let generation = self.generation_of(name);
        if !self.scripts.contains_key(name) {
            if self.scripts.len() >= limits::SCRIPTS {
                self.note(Level::Error, || {
                    format!(
                        "{name} is not taken: {} scripts are the limit",
                        limits::SCRIPTS
                    )
                });
                return;
            }
            self.scripts
                .insert(name.clone(), Script::new(name.clone(), generation));
        }
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.adopt(Arc::clone(spec), now);
        script.restarts.reset();
        script.outdated = 0;
        if script.held {
            return;
        }
        if !spec.settings.enabled {
            self.disabled(name);
            return;
        }
        let known = script.settled.is_some();
        if known {
            self.note(Level::Info, || {
                format!("{name} reloads: {} changed", because.display())
            });
        }
        self.renew(name);
    }

    /// The settings say that it does not run by itself.
    fn disabled(&mut self, name: &ScriptName) {
        let phase = self.scripts.get(name).map(|script| script.phase.clone());
        match phase {
            None | Some(Phase::Stopped | Phase::Draining(Then::Stop)) => {}
            Some(
                Phase::Awaiting
                | Phase::Starting(_)
                | Phase::Ready(..)
                | Phase::Draining(_)
                | Phase::Backoff
                | Phase::Failed { .. },
            ) => self.take_down(name, Then::Stop),
        }
        self.settle_first(name, true);
    }

    /// Makes the newest code serve, from whatever phase.
    pub(super) fn renew(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        match script.phase.clone() {
            Phase::Stopped | Phase::Awaiting | Phase::Backoff | Phase::Failed { .. } => {
                self.start_script(name);
            }
            Phase::Ready(..) => self.reload(name),
            Phase::Starting(generation) => {
                let old = WorkerId {
                    script: name.clone(),
                    generation,
                };
                self.ask_to_leave(&old);
                if self.is_stop_first(name) {
                    self.take_down(name, Then::Start);
                } else {
                    self.start_script(name);
                }
            }
            Phase::Draining(Then::Stop | Then::Remove | Then::Crashed(_)) => {
                self.take_down(name, Then::Start);
            }
            Phase::Draining(Then::Start) => {}
        }
    }

    fn is_stop_first(&self, name: &ScriptName) -> bool {
        self.scripts
            .get(name)
            .and_then(|script| script.spec.as_ref())
            .is_some_and(|spec| spec.settings.reload == ReloadMode::StopFirst)
    }

    /// A new generation for a script that serves. During a reload: one more after it.
    pub(super) fn reload(&mut self, name: &ScriptName) {
        let stop_first = self.is_stop_first(name);
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        let generation = match &mut script.phase {
            Phase::Ready(_, Reload::Asking { again } | Reload::Trying { again, .. }) => {
                *again = true;
                return;
            }
            Phase::Ready(_, Reload::Emptying) => return,
            Phase::Ready(generation, Reload::None) => *generation,
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => return,
        };
        let hands_over = script
            .worker(generation)
            .is_some_and(|worker| worker.hands_over);
        let id = WorkerId {
            script: name.clone(),
            generation,
        };
        if hands_over {
            script.phase = Phase::Ready(generation, Reload::Asking { again: false });
            let at = self.now.after(limits::HANDOVER_TIMEOUT);
            self.timers.arm(Timer::Handover(id.clone()), at);
            self.tell_worker(&id, ToWorker::Handover);
        } else if stop_first {
            self.empty(&id);
        } else {
            self.try_candidate(&id, None);
        }
    }

    /// `stop-first`: the serving one ends what it holds and leaves; then the next one starts.
    fn empty(&mut self, id: &WorkerId) {
        if let Some(script) = self.scripts.get_mut(&id.script) {
            script.phase = Phase::Ready(id.generation, Reload::Emptying);
        }
        let at = self.now.after(limits::DRAIN_TIMEOUT);
        self.timers.arm(Timer::Drain(id.clone()), at);
        self.drain(id);
    }

    /// It holds requests for longer than an exclusive script may: it has to leave now.
    pub(super) fn drain_due(&mut self, id: &WorkerId) {
        self.ask_to_leave(id);
    }

    /// `overlap`: the next generation starts beside the serving one.
    fn try_candidate(&mut self, old: &WorkerId, handover: Option<Json>) {
        let may = self.scripts.get(&old.script).is_some_and(Script::may_start);
        if !may {
            let error = self
                .scripts
                .get(&old.script)
                .and_then(|script| script.fault.clone())
                .unwrap_or_default();
            self.reload_failed(&old.script, error);
            return;
        }
        let Some(new) = self.spawn(&old.script, handover) else {
            return;
        };
        if let Some(script) = self.scripts.get_mut(&old.script) {
            script.phase = Phase::Ready(
                old.generation,
                Reload::Trying {
                    candidate: new.generation,
                    again: false,
                },
            );
        }
    }

    /// The serving one has handed over its state, or has not in time.
    pub(super) fn go_on_after_handover(&mut self, id: &WorkerId, state: Option<Json>) {
        self.timers.disarm(Timer::Handover(id.clone()));
        let stop_first = self.is_stop_first(&id.script);
        let Some(script) = self.scripts.get_mut(&id.script) else {
            return;
        };
        match &script.phase {
            Phase::Ready(generation, Reload::Asking { .. }) if *generation == id.generation => {}
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => return,
        }
        // The candidate loads the file as it is now: an earlier change is part of it.
        if stop_first {
            script.handover = state;
            self.empty(id);
        } else {
            self.try_candidate(id, state);
        }
    }

    /// The candidate failed: the serving one stays, and the error is shown.
    pub(super) fn reload_failed(&mut self, name: &ScriptName, error: String) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        let Phase::Ready(generation, reload) = &script.phase else {
            return;
        };
        let again = matches!(
            reload,
            Reload::Trying { again: true, .. } | Reload::Asking { again: true }
        );
        script.phase = Phase::Ready(*generation, Reload::None);
        script.last_error = Some(error.clone());
        self.note(Level::Warn, || {
            format!("{name}: the reload failed, the running generation stays: {error}")
        });
        self.announce(name, "reload_failed");
        self.reload_refused(name, &error);
        if again {
            self.reload(name);
        }
    }

    /// It cannot be run as it stands; what serves goes on serving.
    fn script_faulty(
        &mut self,
        name: &ScriptName,
        path: &Path,
        error: String,
        checks: Vec<CheckSpec>,
    ) {
        let generation = self.generation_of(name);
        self.note(Level::Warn, || {
            format!("{name} ({}) cannot run: {error}", path.display())
        });
        let script = self
            .scripts
            .entry(name.clone())
            .or_insert_with(|| Script::new(name.clone(), generation));
        script.fault = Some(error.clone());
        script.stand_ins = checks;
        script.last_error = Some(error);
        let serves = script
            .workers
            .iter()
            .any(|worker| matches!(worker.stage, Stage::Serving | Stage::Starting));
        match script.phase {
            Phase::Stopped if script.held => {}
            Phase::Stopped | Phase::Awaiting | Phase::Backoff | Phase::Failed { .. } if !serves => {
                self.timers.disarm(Timer::Restart(name.clone()));
                self.fail_script(name, false);
            }
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => self.settle_first(name, true),
        }
    }
}
