//! Sessions: one connection of one client each. [`Engine::leave`] is the only way out.

use std::collections::BTreeMap;

use super::alphabet::{Effect, Level, Moment, Peer};
use super::asking::{Asker, What};
use super::hash::FastMap;
use super::requests::RequestKey;
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::proto::ids::{ClientId, ScriptName, SessionId};
use crate::proto::messages::{Answer, Body, Command, Encoding, ErrorCode, Hello, Refusal};

/// What a session's client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Client,
    /// A process of a script; which one may be unknown.
    Script(Option<ScriptName>),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ClientId,
    pub(super) asker: Asker,
    /// It said `hello`, and in what encoding.
    pub(super) encoding: Encoding,
    pub(super) pings: bool,
    pub(super) heard: Moment,
    pub(super) origin: Origin,
}

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It said so: what it had queued is cancelled.
    Bye,
    /// The connection is gone: what has a UUIDv7 is kept for its return.
    Gone(String),
    /// We end it, and say why.
    Dropped { code: ErrorCode, message: String },
    /// The daemon leaves.
    Shutdown,
}

/// Invariant: `by_client` names a session of the table that has said `hello` with that id.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) table: BTreeMap<SessionId, Session>,
    by_client: FastMap<ClientId, SessionId>,
}

impl Sessions {
    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.table.get_mut(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Engine {
    pub(super) fn connected(&mut self, id: SessionId, fresh: ClientId) {
        if self.sessions.table.contains_key(&id) {
            self.senseless("a session that is already connected");
            return;
        }
        if self.life.is_leaving() || self.sessions.len() >= limits::SESSIONS {
            let refusal = if self.life.is_leaving() {
                refusals::shutting_down()
            } else {
                refusals::too_many_sessions()
            };
            self.effects.push_back(Effect::Disconnect {
                session: id,
                why: refusal.message.clone(),
                last: Some(last_word(Encoding::Text, refusal)),
            });
            return;
        }
        let session = Session {
            client: fresh,
            asker: Asker::default(),
            encoding: Encoding::Text,
            pings: false,
            heard: self.now,
            origin: Origin::Client,
        };
        self.sessions.table.insert(id, session);
    }

    /// The session's client is a process of a script. One that was refused at once is in no table.
    pub(super) fn belongs(&mut self, id: SessionId, script: Option<ScriptName>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.origin = Origin::Script(script);
        }
    }

    /// Why this peer may not send such a command: it is a process of a script, and its script may not control.
    pub(super) fn control_refusal(&self, peer: &Peer, command: &Command) -> Option<Refusal> {
        let of_plugin = matches!(command, Command::Call(call) if call.script.is_plugin());
        if !command.controls() && !of_plugin {
            return None;
        }
        let name = match peer {
            Peer::Session(id) => match &self.sessions.table.get(id)?.origin {
                Origin::Client => return None,
                Origin::Script(name) => name.as_ref(),
            },
            Peer::Worker(id) => Some(&id.script),
            Peer::Monitor => return None,
        };
        let script = name.and_then(|name| self.scripts.get(name));
        let spec = script.and_then(|script| script.spec.as_ref());
        let may = spec.is_some_and(|spec| spec.settings.allow_control);
        (!may).then(|| refusals::may_not_control(name))
    }

    /// `hello`: the client's own id from now on. An older session of the same client is closed.
    pub(super) fn hello(&mut self, id: SessionId, hello: &Hello) -> bool {
        let before = self.sessions.by_client.insert(hello.client, id);
        let replaced = before.filter(|other| *other != id);
        if let Some(other) = replaced {
            self.leave(
                other,
                Leaving::Dropped {
                    code: ErrorCode::Cancelled,
                    message: "replaced: the same client has connected again; this older connection is closed".into(),
                },
            );
            // Leaving removes the name that is ours by now.
            self.sessions.by_client.insert(hello.client, id);
        }
        if let Some(session) = self.sessions.get_mut(id) {
            let former = std::mem::replace(&mut session.client, hello.client);
            session.pings = hello.pings;
            session.asker.progress = hello.progress;
            if former != hello.client && self.sessions.by_client.get(&former) == Some(&id) {
                self.sessions.by_client.remove(&former);
            }
        }
        if hello.pings {
            self.timers
                .arm(Timer::Idle(id), self.now.after(limits::SESSION_IDLE));
        } else {
            self.timers.disarm(Timer::Idle(id));
        }
        replaced.is_some()
    }

    /// The only way a session ends. A second call finds nothing.
    pub(super) fn leave(&mut self, id: SessionId, why: Leaving) {
        let Some(session) = self.sessions.table.remove(&id) else {
            return;
        };
        if self.sessions.by_client.get(&session.client) == Some(&id) {
            self.sessions.by_client.remove(&session.client);
        }
        for timer in [Timer::Idle(id), Timer::Write(id), Timer::Line(id)] {
            self.timers.disarm(timer);
        }
        self.subscribers.remove(&Peer::Session(id));
        self.close_questions(&Peer::Session(id), &session.asker, why == Leaving::Bye);
        self.say_goodbye(id, session.encoding, why);
    }

    /// Takes a peer that is gone out of everything that it waited for.
    pub(super) fn close_questions(&mut self, peer: &Peer, asker: &Asker, bye: bool) {
        let mut requests: Vec<RequestKey> = Vec::new();
        for (number, what) in asker.whats() {
            match what {
                What::Request(key) => {
                    self.remove_waiter(*key, peer, number);
                    if !requests.contains(key) {
                        requests.push(*key);
                    }
                }
                What::Control(key) => self.forget_control(*key),
                What::Log(ask) => {
                    self.logs.remove(ask);
                }
                What::Check(ask) => self.forget_check(*ask),
                What::Events { .. } => {}
            }
        }
        for key in requests {
            self.abandon(key, bye);
        }
    }

    fn say_goodbye(&mut self, id: SessionId, encoding: Encoding, why: Leaving) {
        let (last, why) = match why {
            Leaving::Bye => (None, "bye".to_owned()),
            Leaving::Gone(why) => {
                self.note(Level::Debug, || format!("session {} is gone: {why}", id.0));
                return;
            }
            Leaving::Dropped { code, message } => {
                self.note(Level::Info, || {
                    format!("session {} closed: {message}", id.0)
                });
                let refusal = Refusal::new(code, message.clone());
                (Some(last_word(encoding, refusal)), message)
            }
            Leaving::Shutdown => (None, "the daemon is shutting down".to_owned()),
        };
        self.effects.push_back(Effect::Disconnect {
            session: id,
            last,
            why,
        });
    }

    /// A session that announced pings has not been heard for a while.
    pub(super) fn idle(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if !session.pings {
            return;
        }
        // After a suspension of the machine everybody seems silent: one more ping's time.
        let overslept = self.late >= limits::OVERSLEPT;
        let due = session.heard.after(limits::SESSION_IDLE);
        if overslept || due > self.now {
            let at = if overslept {
                self.now.after(limits::PING_EVERY)
            } else {
                due
            };
            self.timers.arm(Timer::Idle(id), at);
            return;
        }
        self.leave(
            id,
            Leaving::Dropped {
                code: ErrorCode::Timeout,
                message: format!(
                    "idle: nothing was heard for {} s although pings were announced; connect again and send the same ids",
                    limits::SESSION_IDLE.as_secs()
                ),
            },
        );
    }

    /// A line has begun, or has ended at last.
    pub(super) fn partial(&mut self, id: SessionId, begun: bool) {
        if !self.sessions.table.contains_key(&id) {
            return;
        }
        if begun {
            self.timers
                .arm(Timer::Line(id), self.now.after(limits::LINE_DEADLINE));
        } else {
            self.timers.disarm(Timer::Line(id));
        }
    }

    pub(super) fn line_too_slow(&mut self, id: SessionId) {
        if self.late >= limits::OVERSLEPT {
            self.partial(id, true);
            return;
        }
        self.leave(
            id,
            Leaving::Dropped {
                code: ErrorCode::Timeout,
                message: format!(
                    "a line was begun and not ended within {} s; send whole lines",
                    limits::LINE_DEADLINE.as_secs()
                ),
            },
        );
    }

    /// The kernel has taken nothing for a session for a while.
    pub(super) fn write_stalled(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let Some(due) = session.asker.outbox.stalls_at() else {
            return;
        };
        let overslept = self.late >= limits::OVERSLEPT;
        if due > self.now || overslept {
            let at = due.max(self.now.after(limits::OVERSLEPT));
            self.timers.arm(Timer::Write(id), at);
            return;
        }
        self.leave(
            id,
            Leaving::Dropped {
                code: ErrorCode::Timeout,
                message: format!(
                    "slow: its answers were not read for {} s; read them, or ask for less at once",
                    limits::WRITE_DEADLINE.as_secs()
                ),
            },
        );
    }
}

/// A line that answers no question: the last one of a session.
fn last_word(encoding: Encoding, refusal: Refusal) -> Answer {
    Answer {
        encoding,
        id: None,
        ack: true,
        body: Body::Error(refusal),
    }
}
