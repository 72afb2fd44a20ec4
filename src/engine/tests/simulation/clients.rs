//! The simulation's clients: they connect, ask, repeat, cancel, stall and vanish.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::super::driver::{name, v7};
use super::{Happening, SCRIPTS, World};
use crate::engine::alphabet::*;
use crate::proto::ids::*;
use crate::proto::messages::*;

#[derive(Debug, Default)]
pub(super) struct Clients {
    open: Vec<SessionId>,
    stalled: BTreeSet<SessionId>,
    last_session: u64,
    last_id: u64,
    /// UUIDv7 ids in use, with what was asked under them.
    keys: Vec<(String, Call)>,
    /// Ids that each session has asked with.
    used: BTreeMap<SessionId, Vec<String>>,
}

impl Clients {
    pub(super) fn closed(&mut self, session: SessionId) {
        self.open.retain(|open| *open != session);
    }

    pub(super) fn is_stalled(&self, session: SessionId) -> bool {
        self.stalled.contains(&session)
    }

    pub(super) fn unstall(&mut self) {
        self.stalled.clear();
    }
}

impl World {
    pub(super) fn client_acts(&mut self) {
        if self.calm {
            return;
        }
        if self.clients.open.is_empty() || (self.clients.open.len() < 6 && self.below(12) == 0) {
            self.connect();
            return;
        }
        let index = self.below(self.clients.open.len() as u64) as usize;
        let session = self.clients.open[index];
        match self.below(40) {
            0 => self.vanish(session),
            1 => self.bye(session),
            2 => self.hello(session),
            3 => self.control(session),
            4 | 5 => self.cancel(session),
            6 => {
                self.clients.stalled.insert(session);
            }
            7 => self.subscribe(session),
            8..=11 => self.idless(session),
            12..=17 => self.repeat(session),
            18 => self.emit(session),
            _ => self.ask(session),
        }
    }

    fn connect(&mut self) {
        self.clients.last_session += 1;
        let session = SessionId(self.clients.last_session);
        self.clients.open.push(session);
        self.checker.opened(session);
        let fresh = ClientId(Uuid::from_u128(u128::from(session.0) + 1000));
        self.input(Input::Connected {
            session,
            uid: 0,
            fresh,
        });
    }

    pub(super) fn vanish(&mut self, session: SessionId) {
        self.clients.closed(session);
        self.checker.closed(session);
        let why = "reset".to_owned();
        self.input(Input::Gone { session, why });
    }

    fn question(&mut self, session: SessionId, id: Option<&str>, command: Command) {
        let id = id.map(|id| RequestId::new(id).unwrap());
        self.checker.asked(session, id.as_ref(), &command, self.now);
        let message = FromClient::Question(Question {
            encoding: Encoding::Json,
            id,
            command,
        });
        self.input(Input::FromClient { session, message });
    }

    fn fresh_id(&mut self) -> String {
        self.clients.last_id += 1;
        format!("n{}", self.clients.last_id)
    }

    fn bye(&mut self, session: SessionId) {
        let id = self.fresh_id();
        self.question(session, Some(&id), Command::Bye);
    }

    fn hello(&mut self, session: SessionId) {
        let id = self.fresh_id();
        let client = ClientId(Uuid::from_u128(u128::from(self.below(4)) + 1));
        let hello = Hello {
            client,
            version: None,
            pings: self.below(3) == 0,
            progress: self.below(2) == 0,
        };
        self.question(session, Some(&id), Command::Hello(hello));
    }

    fn control(&mut self, session: SessionId) {
        let id = self.fresh_id();
        let verbs = [
            Verb::Start,
            Verb::Start,
            Verb::Stop,
            Verb::Restart,
            Verb::Reload,
        ];
        let verb = verbs[self.below(5) as usize];
        let script = match self.below(4) {
            3 => None,
            index => Some(name(SCRIPTS[index as usize].0)),
        };
        self.question(session, Some(&id), Command::Control { verb, script });
        // What somebody stops, somebody starts again.
        let id = self.fresh_id();
        if verb == Verb::Stop && self.below(3) > 0 {
            let verb = Verb::Start;
            self.question(session, Some(&id), Command::Control { verb, script: None });
        }
    }

    fn cancel(&mut self, session: SessionId) {
        let used = self.clients.used.get(&session).cloned().unwrap_or_default();
        if used.is_empty() {
            return;
        }
        let target = &used[self.below(used.len() as u64) as usize];
        let target = RequestId::new(target).unwrap();
        let id = self.fresh_id();
        self.question(session, Some(&id), Command::Cancel { target });
    }

    fn subscribe(&mut self, session: SessionId) {
        let id = self.fresh_id();
        let pattern = "*".to_owned();
        self.question(session, Some(&id), Command::Events { pattern });
    }

    fn emit(&mut self, session: SessionId) {
        let id = self.fresh_id();
        let event = "noise".to_owned();
        let data = Some(Json::of(&"x".repeat(20_000)));
        self.question(session, Some(&id), Command::Emit { event, data });
    }

    /// Questions without ids, pipelined: their answers must come in this order.
    fn idless(&mut self, session: SessionId) {
        for _ in 0..=self.below(3) {
            let command = match self.below(3) {
                0 => Command::Call(self.some_call()),
                1 => Command::Logs {
                    script: None,
                    lines: 1,
                },
                _ => Command::Ping {
                    client: None,
                    timestamp: None,
                },
            };
            self.question(session, None, command);
        }
    }

    fn ask(&mut self, session: SessionId) {
        let call = self.some_call();
        let id = if self.below(2) == 0 {
            self.clients.last_id += 1;
            let id = v7(1_760_000_000_000 + self.now.0 / 1000, self.clients.last_id);
            self.clients.keys.push((id.clone(), call.clone()));
            id
        } else {
            self.fresh_id()
        };
        self.clients
            .used
            .entry(session)
            .or_default()
            .push(id.clone());
        self.question(session, Some(&id), Command::Call(call));
        if self.chance(50) {
            let wait = self.soon(30);
            self.plan(wait, Happening::Vanish(session));
        }
    }

    /// An id that was used before: with the same command, or rarely with another.
    fn repeat(&mut self, session: SessionId) {
        if self.clients.keys.is_empty() {
            return;
        }
        let newest = self.clients.keys.len() as u64;
        let index = newest - 1 - self.below(newest.min(8));
        let (id, mut call) = self.clients.keys[index as usize].clone();
        if self.chance(12) {
            call.params = Some(Json::of("another"));
        }
        self.question(session, Some(&id), Command::Call(call));
    }

    fn some_call(&mut self) -> Call {
        let script = match self.below(30) {
            0 => "nobody",
            number => SCRIPTS[number as usize % 3].0,
        };
        let handler = match self.below(20) {
            0 => "unknown",
            number => ["q", "i", "o", "o"][number as usize % 4],
        };
        // Queries repeat each other, so that they are shared.
        let params = if handler == "q" && self.below(3) > 0 {
            format!("{{\"shared\":{}}}", self.below(3))
        } else {
            self.checker.fresh(handler)
        };
        let limits = [50, 300, 1000, 2500];
        Call {
            script: name(script),
            handler: handler.into(),
            params: Some(Json::parse(&params).unwrap()),
            timeout: Some(Duration::from_millis(limits[self.below(4) as usize])),
        }
    }
}
