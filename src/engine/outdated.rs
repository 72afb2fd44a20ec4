//! A file that is written between the look that found it and the worker that loads it.
//!
//! What was looked at is what runs: a worker that finds another content runs nothing of it and leaves. What serves goes
//! on serving, nobody is told of a failure, and what the next look finds is started instead. Never decides what is
//! new: the looks do.

use super::Engine;
use super::alphabet::Level;
use super::generation::Stage;
use super::scripts::{Phase, Reload};
use super::timers::Timer;
use crate::limits;
use crate::proto::ids::WorkerId;
use crate::proto::messages::Json;

impl Engine {
    /// A starting worker says that its file is not what the last look found.
    pub(super) fn worker_outdated(&mut self, id: &WorkerId) {
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        match worker.stage {
            Stage::Starting => {}
            Stage::Leaving(_) => return,
            Stage::Serving | Stage::Draining => {
                self.senseless("an outdated start of a worker that has started");
                return;
            }
        }
        worker.outdated = true;
        let path = worker.spec.path.display();
        let text = format!("{path} changed while it was being loaded; it is looked at again");
        worker.error.get_or_insert_with(|| text.clone());
        self.note(Level::Info, || format!("{id} is not started: {text}"));
    }

    /// After the exit of such a worker: has its script started again, with what it was to be handed, when a look has
    /// found the change (what the worker read leads to a look), and soon in any case: it may have been undone.
    /// `false`: nothing waits for this start, or too many in a row have ended so.
    pub(super) fn start_anew(&mut self, id: &WorkerId, handover: Option<Json>) -> bool {
        let name = &id.script;
        let Some(script) = self.scripts.get_mut(name) else {
            return false;
        };
        let mut again = false;
        let next = match &script.phase {
            Phase::Starting(generation) if *generation == id.generation => Phase::Backoff,
            Phase::Ready(
                old,
                Reload::Trying {
                    candidate,
                    again: more,
                },
            ) if *candidate == id.generation => {
                again = *more;
                Phase::Ready(*old, Reload::None)
            }
            Phase::Stopped
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => return false,
        };
        if script.outdated >= limits::OUTDATED_STARTS {
            script.outdated = 0;
            return false;
        }
        script.outdated += 1;
        if next == Phase::Backoff {
            script.handover = handover;
        }
        script.phase = next;
        let at = self.now.after(limits::OUTDATED_RETRY);
        self.timers.arm(Timer::Restart(name.clone()), at);
        if again {
            self.reload(name);
        }
        true
    }
}
