//! The daemon's leaving: all scripts in parallel, each with its limits; a second signal skips the grace.

use super::Engine;
use super::alphabet::{Effect, Kill, Level};
use super::asking::What;
use super::generation::{Stage, Step};
use super::refusals;
use super::requests::State;
use super::scripts::Then;
use super::sessions::Leaving;
use super::timers::Timer;
use crate::limits;
use crate::proto::ids::{ScriptName, SessionId, WorkerId};

/// Whether the daemon serves or leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Life {
    #[default]
    Serving,
    /// Workers are leaving; `forced`: without grace.
    Leaving {
        forced: bool,
    },
    Left,
}

impl Life {
    pub(super) fn is_leaving(self) -> bool {
        self != Life::Serving
    }
}

impl Engine {
    pub(super) fn terminate(&mut self, why: &str) {
        match self.life {
            Life::Serving => {
                self.note(Level::Info, || format!("leaving: {why}"));
                self.begin_shutdown();
            }
            Life::Leaving { forced: false } => {
                self.note(Level::Warn, || format!("leaving at once: {why} again"));
                self.force_shutdown();
            }
            Life::Leaving { forced: true } | Life::Left => {}
        }
    }

    pub(super) fn begin_shutdown(&mut self) {
        if self.life.is_leaving() {
            return;
        }
        self.life = Life::Leaving { forced: false };
        self.stop_checking();
        self.controls_at_shutdown();
        self.refuse_unplaced();
        let names: Vec<ScriptName> = self.scripts.keys().cloned().collect();
        let mut longest = std::time::Duration::ZERO;
        for name in &names {
            self.refuse_queue(name);
            if let Some(script) = self.scripts.get(name) {
                longest = longest.max(script.stop_timeout());
            }
            self.take_down(name, Then::Stop);
        }
        let last = longest * 2 + limits::EXIT_GRACE;
        self.timers.arm(Timer::LastResort, self.now.after(last));
        self.look_at_shutdown();
    }

    fn refuse_queue(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        for key in script.queue.keys() {
            self.refuse(key, refusals::shutting_down());
        }
    }

    fn force_shutdown(&mut self) {
        self.life = Life::Leaving { forced: true };
        let ids: Vec<WorkerId> = self
            .scripts
            .values()
            .flat_map(|script| script.workers.iter().map(|worker| worker.id.clone()))
            .collect();
        for id in ids {
            let Some(worker) = self.worker_mut(&id) else {
                continue;
            };
            worker.stage = Stage::Leaving(Step::Kill);
            self.timers
                .arm(Timer::Leave(id.clone()), self.now.after(limits::EXIT_GRACE));
            self.want(Effect::Signal {
                worker: id,
                kill: Kill::Kill,
            });
        }
        self.timers
            .arm(Timer::LastResort, self.now.after(limits::EXIT_GRACE));
        self.look_at_shutdown();
    }

    /// When the last worker is gone, the clients are told and the daemon leaves.
    pub(super) fn look_at_shutdown(&mut self) {
        let gone = self
            .scripts
            .values()
            .all(|script| script.workers.is_empty());
        if matches!(self.life, Life::Leaving { .. }) && gone && self.journal.is_quiet() {
            self.leave_for_good();
        }
    }

    /// Something did not leave though it was killed: it is left behind, and said so.
    pub(super) fn last_resort(&mut self) {
        let text = if self.journal.is_quiet() {
            "leaving although a killed worker has not ended; look for it with ps".to_owned()
        } else {
            "leaving although the journal has not taken everything; what is missing will be told under the same ids, or is unknown".to_owned()
        };
        self.note(Level::Error, || text);
        self.leave_for_good();
    }

    fn leave_for_good(&mut self) {
        if self.life == Life::Left {
            return;
        }
        self.life = Life::Left;
        self.timers.disarm(Timer::LastResort);
        let sessions: Vec<SessionId> = self.sessions.table.keys().copied().collect();
        for id in &sessions {
            self.refuse_open(*id);
        }
        for id in sessions {
            self.leave(id, Leaving::Shutdown);
        }
        self.want(Effect::Exit);
    }

    /// Every open question of a session ends: the daemon answers none any more.
    fn refuse_open(&mut self, id: SessionId) {
        let peer = super::alphabet::Peer::Session(id);
        let open: Vec<(u64, bool)> = self
            .asker(&peer)
            .map(|asker| {
                let whats = asker.whats();
                whats
                    .map(|(number, what)| (number, self.may_have_run(what)))
                    .collect()
            })
            .unwrap_or_default();
        for (number, ran) in open {
            let ask = super::asking::Ask {
                peer: peer.clone(),
                number,
            };
            let refusal = if ran {
                refusals::leaves_unrecorded()
            } else {
                refusals::shutting_down()
            };
            self.tell(&ask, crate::proto::messages::Body::Error(refusal));
        }
    }

    fn may_have_run(&self, what: &What) -> bool {
        match what {
            What::Request(key) => self.requests.get(*key).is_some_and(|request| {
                request.has_run() || matches!(request.state, State::Elsewhere | State::Ending(_))
            }),
            What::Control(_) | What::Log(_) | What::Events { .. } | What::Check(_) => false,
        }
    }
}
