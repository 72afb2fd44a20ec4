//! The simulation's clients: they ask, lose their connection, come back, and ask again under the same ids.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::driver::{name, v7};
use super::checker::Meaning;
use super::{Happening, SCRIPTS, World};
use crate::engine::alphabet::*;
use crate::options::Durability;
use crate::proto::ids::*;
use crate::proto::messages::*;

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) session: Option<SessionId>,
    /// Commands whose end it waits for, by id, with the number of the last time it asked.
    waits: BTreeMap<String, usize>,
    /// Ids that it has asked with on this connection and not heard the end of.
    asked: BTreeMap<String, ()>,
}

impl World {
    pub(super) fn client_acts(&mut self, index: usize) {
        let most = if self.calm { 200_000 } else { 24_000 };
        self.soon(most, Happening::Client(index));
        if self.daemon.is_none() {
            return;
        }
        if self.clients[index].session.is_none() {
            self.connect(index);
            return;
        }
        if self.calm || self.below(6) == 0 {
            self.ask_again(index);
        }
        if self.calm {
            return;
        }
        match self.below(20) {
            0 => self.drop_connection(index),
            1 => self.bye(index),
            2 => self.cancel(index),
            3 | 4 => self.look_back(index),
            _ => self.ask_anew(index),
        }
    }

    fn connect(&mut self, index: usize) {
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let client = &mut self.clients[index];
        client.session = Some(session);
        client.asked.clear();
        let fresh = ClientId(uuid::Uuid::from_u128(u128::from(session.0) + 1000));
        self.input(Input::Connected {
            session,
            uid: 0,
            fresh,
        });
        let hello = Hello {
            client: ClientId(uuid::Uuid::from_u128(index as u128 + 1)),
            version: None,
            pings: false,
            progress: true,
        };
        self.says_to_daemon(session, "hello".to_owned(), Command::Hello(hello));
        self.ask_again(index);
    }

    fn says_to_daemon(&mut self, session: SessionId, id: String, command: Command) {
        let message = FromClient::Question(Question {
            encoding: Encoding::Json,
            id: RequestId::new(&id).ok(),
            command,
        });
        self.input(Input::FromClient { session, message });
    }

    fn ask_anew(&mut self, index: usize) {
        let (script, level) = SCRIPTS[self.below(2) as usize];
        let handler = ["o", "o", "i", "q"][self.below(4) as usize];
        let number = self.checker.cases.len();
        let id = v7(self.unix_ms(), number as u64);
        let power = level == Durability::Power;
        let number = self.checker.new_case(id.clone(), script, handler, power);
        self.clients[index].waits.insert(id, number);
        self.send(index, number);
    }

    fn send(&mut self, index: usize, number: usize) {
        let Some(session) = self.clients[index].session else {
            return;
        };
        let case = self.checker.cases[number].clone();
        self.clients[index].asked.insert(case.id.clone(), ());
        let wait = if self.calm { 3 } else { self.below(4) };
        let limits = [80, 400, 1500, 20_000];
        let command = Command::Call(Call {
            script: name(case.script),
            handler: case.handler.into(),
            params: Some(Json::parse(&case.params).unwrap()),
            timeout: Some(Duration::from_millis(limits[wait as usize])),
        });
        self.checker.sent(number);
        self.says_to_daemon(session, case.id, command);
    }

    /// Everything that it waits for and has not asked on this connection.
    fn ask_again(&mut self, index: usize) {
        let client = &self.clients[index];
        let open = client.waits.iter();
        let missing: Vec<usize> = open
            .filter(|(id, _)| !client.asked.contains_key(*id))
            .map(|(_, number)| *number)
            .collect();
        for number in missing {
            self.send(index, number);
        }
    }

    /// Asks once more for something that is over.
    fn look_back(&mut self, index: usize) {
        let many = self.checker.cases.len() as u64;
        if many == 0 {
            return;
        }
        let number = many - 1 - self.below(many.min(50));
        let id = self.checker.cases[number as usize].id.clone();
        let waits_elsewhere = self
            .clients
            .iter()
            .any(|client| client.waits.contains_key(&id));
        if !waits_elsewhere {
            self.clients[index].waits.insert(id, number as usize);
        }
    }

    fn drop_connection(&mut self, index: usize) {
        if let Some(session) = self.clients[index].session.take() {
            let number = self.daemons;
            let why = "reset".to_owned();
            self.soon(
                2_000,
                Happening::Input(number, Input::Gone { session, why }),
            );
        }
    }

    fn bye(&mut self, index: usize) {
        if let Some(session) = self.clients[index].session.take() {
            self.says_to_daemon(session, "bye".to_owned(), Command::Bye);
        }
    }

    fn cancel(&mut self, index: usize) {
        let client = &self.clients[index];
        let open: Vec<&String> = client.asked.keys().collect();
        let Some(session) = client.session else {
            return;
        };
        if open.is_empty() {
            return;
        }
        let choice = open.len() as u64;
        let target = open[(self.random.next() % choice) as usize].clone();
        let target = RequestId::new(&target).unwrap();
        self.says_to_daemon(session, "cancel".to_owned(), Command::Cancel { target });
    }

    pub(super) fn client_is_told(&mut self, session: SessionId, answer: Answer) {
        let found = self
            .clients
            .iter()
            .position(|client| client.session == Some(session));
        if let Some(index) = found {
            self.soon(400, Happening::Hears(index, session, answer));
        }
    }

    pub(super) fn disconnected(&mut self, session: SessionId) {
        for client in &mut self.clients {
            if client.session == Some(session) {
                client.session = None;
            }
        }
    }

    pub(super) fn client_hears(&mut self, index: usize, session: SessionId, answer: &Answer) {
        if self.clients[index].session != Some(session) {
            return;
        }
        let Some(id) = answer.id.as_ref().map(|id| id.as_str().to_owned()) else {
            return;
        };
        let Some(number) = self.clients[index].waits.get(&id).copied() else {
            return;
        };
        match &answer.body {
            Body::Accepted | Body::Running => self.checker.acknowledged(number),
            Body::Part(_) => {}
            body @ (Body::Ok { .. } | Body::Error(_)) => {
                let key = uuid::Uuid::try_parse(&id).unwrap();
                let pruned = self.disk.pruned.contains(&key);
                let meaning = self.checker.hears(number, body, pruned);
                let client = &mut self.clients[index];
                client.asked.remove(&id);
                if meaning == Meaning::End {
                    client.waits.remove(&id);
                }
            }
        }
    }

    /// Every command is asked for once more: what was acknowledged must be over by now.
    pub(super) fn audit(&mut self) {
        self.disk.look();
        self.checker.audit = true;
        for number in 0..self.checker.cases.len() {
            let id = self.checker.cases[number].id.clone();
            let waits = self
                .clients
                .iter()
                .any(|client| client.waits.contains_key(&id));
            if !waits {
                let index = number % self.clients.len();
                self.clients[index].waits.insert(id, number);
            }
        }
    }

    pub(super) fn all_ended(&mut self) {
        let left = self
            .clients
            .iter()
            .flat_map(|client| client.waits.iter().next())
            .next();
        if let Some((_, number)) = left {
            let case = self.checker.cases[*number].clone();
            self.checker.broken(format!("hears no end: {case:?}"));
        }
    }
}
