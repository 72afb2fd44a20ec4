//! A small world around the engine: clients and workers that do exactly what a test says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::alphabet::*;
use crate::engine::records::*;
use crate::monitor::alphabet as monitor;
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;

pub(super) fn identity() -> Identity {
    Identity {
        daemon: DaemonId(Uuid::from_u128(0xda3)),
        pid: 4242,
        version: "0.1.0".into(),
        home: PathBuf::from("/home/lab"),
        socket: PathBuf::from("/run/lab/daemon.sock"),
        seed: 7,
        started_unix_ms: 1_760_000_000_000,
        is_roots: false,
    }
}

pub(super) fn name(text: &str) -> ScriptName {
    ScriptName::parse(text).unwrap()
}

pub(super) fn worker(script: &str, generation: u64) -> WorkerId {
    WorkerId {
        script: name(script),
        generation: Generation(generation),
    }
}

/// A UUIDv7 of this millisecond and number.
pub(super) fn v7(ms: u64, number: u64) -> String {
    let bits = (u128::from(ms) << 80) | (0x7 << 76) | (0x2 << 62) | u128::from(number);
    Uuid::from_u128(bits).to_string()
}

pub(super) fn handler(name: &str, delivery: Delivery) -> Handler {
    Handler {
        name: name.into(),
        delivery,
        timeout: None,
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Moment,
    /// Every effect so far; `take` cuts it.
    pub(super) seen: Vec<Effect>,
    /// Nobody reads: what is sent stays in the outboxes until a test says that it was flushed.
    pub(super) stalled: bool,
    /// The home is looked at as soon as the engine asks for it.
    pub(super) looks: bool,
    /// The journal takes every record at once. Else a test says when, by [`World::journaled`].
    pub(super) journals: bool,
    /// What is to be kept of the checks is written at once.
    pub(super) keeps: bool,
    /// How much that was.
    pub(super) kept: u64,
    next_session: u64,
}

impl World {
    pub(super) fn new() -> Self {
        World {
            engine: Engine::new(identity()),
            now: Moment(0),
            seen: Vec::new(),
            stalled: false,
            looks: true,
            journals: true,
            keeps: true,
            kept: 0,
            next_session: 1,
        }
    }

    /// A world with one ready script `s` whose handlers are `q` (query), `i` (idempotent), `o` (once).
    pub(super) fn with_script(settings: Settings) -> Self {
        let mut world = World::new();
        world.changed("s", settings);
        world.ready(&worker("s", 1));
        world.take();
        world
    }

    pub(super) fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.engine.check_invariants();
        while let Some(mark) = self.drain() {
            if !self.journals {
                return;
            }
            let (written, synced) = (mark, mark);
            self.engine
                .handle(self.now, Input::Journaled { written, synced });
            self.engine.check_invariants();
        }
    }

    /// Takes what the engine wants; gives the last record's mark.
    fn drain(&mut self) -> Option<Mark> {
        let mut last = None;
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Journal { mark, .. } = &effect {
                last = Some(*mark);
            }
            let sent = match &effect {
                Effect::ToClient { session, answer } => {
                    Some((Peer::Session(*session), answer.cost()))
                }
                Effect::ToWorker { worker, message } => {
                    Some((Peer::Worker(worker.clone()), message.cost()))
                }
                _ => None,
            };
            if let Effect::Rescan { look } = effect
                && self.looks
            {
                self.engine.handle(self.now, Input::Looked { look });
            }
            if let Effect::Monitor(monitor::Effect::Keep(_)) = &effect {
                self.kept += 1;
                if self.keeps {
                    self.engine
                        .handle(self.now, Input::Kept { count: self.kept });
                }
            }
            self.seen.push(effect);
            if let Some((peer, cost)) = sent
                && !self.stalled
            {
                self.engine.handle(self.now, Input::Flushed { peer, cost });
            }
        }
        last
    }

    /// Every record so far.
    pub(super) fn records(&self) -> Vec<Record> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::Journal { record, .. } => Some(record.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.seen)
    }

    /// Forgets the requests seen so far, and only them.
    pub(super) fn take_dispatches(&mut self) {
        self.seen.retain(|effect| {
            !matches!(
                effect,
                Effect::ToWorker {
                    message: ToWorker::Request(_),
                    ..
                }
            )
        });
    }

    /// Lets time pass, timer by timer, as the shell does.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(due) = self.engine.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.input(Input::Tick);
        }
        self.now = end;
        self.input(Input::Tick);
    }

    /// Goes from timer to timer until this worker's process is wanted.
    pub(super) fn until_spawned(&mut self, id: &WorkerId) {
        while !self.spawned().contains(&id.to_string()) {
            self.now = self.engine.next_timeout().expect("something is due");
            self.input(Input::Tick);
        }
    }

    pub(super) fn changed(&mut self, script: &str, settings: Settings) {
        let spec = Arc::new(ScriptSpec {
            plugins: Vec::new(),
            check_defaults: CheckDefaults::default(),
            name: name(script),
            path: PathBuf::from(format!("/home/lab/scripts/{script}.lua")),
            content: None,
            kind: ScriptKind::Lua,
            settings,
        });
        let because = spec.path.clone();
        self.input(Input::Script(ScriptChange::Changed { spec, because }));
    }

    pub(super) fn ready(&mut self, id: &WorkerId) {
        self.ready_with(
            id,
            vec![
                handler("q", Delivery::Query),
                handler("i", Delivery::Idempotent),
                handler("o", Delivery::Once),
            ],
            false,
        );
    }

    pub(super) fn ready_with(&mut self, id: &WorkerId, handlers: Vec<Handler>, handover: bool) {
        let worker = id.clone();
        self.input(Input::Spawned { worker, pid: 99 });
        self.notice(
            id,
            Notice::Ready {
                handlers: Some(handlers),
                handover,
                memory_bytes: 1000,
            },
        );
    }

    pub(super) fn notice(&mut self, id: &WorkerId, notice: Notice) {
        self.input(Input::FromWorker {
            worker: id.clone(),
            message: FromWorker::Notice(notice),
        });
    }

    pub(super) fn exited(&mut self, id: &WorkerId, exit: Exit) {
        self.input(Input::Exited {
            worker: id.clone(),
            exit,
            stderr: Vec::new(),
            outcomes: crate::engine::records::Outcomes::default(),
        });
    }

    pub(super) fn connect(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.input(Input::Connected {
            session,
            uid: 0,
            fresh: ClientId(Uuid::from_u128(u128::from(session.0))),
        });
        session
    }

    pub(super) fn ask(&mut self, session: SessionId, id: Option<&str>, command: Command) {
        self.input(Input::FromClient {
            session,
            message: FromClient::Question(Question {
                encoding: Encoding::Json,
                id: id.map(|id| RequestId::new(id).unwrap()),
                command,
            }),
        });
    }

    pub(super) fn call(&mut self, session: SessionId, id: &str, handler: &str) {
        self.ask(session, Some(id), call("s", handler, None));
    }

    /// Ends a ticket with this JSON.
    pub(super) fn done(&mut self, id: &WorkerId, ticket: Ticket, result: &str) {
        self.answer(
            id,
            ticket,
            Body::Ok {
                result: Payload::Json(Json::parse(result).unwrap()),
                replayed: false,
            },
        );
    }

    pub(super) fn answer(&mut self, id: &WorkerId, ticket: Ticket, body: Body) {
        self.input(Input::FromWorker {
            worker: id.clone(),
            message: FromWorker::Answer { ticket, body },
        });
    }

    /// Tickets dispatched to a worker since the last look, in order.
    pub(super) fn tickets(&self, id: &WorkerId) -> Vec<Ticket> {
        self.dispatches(id)
            .iter()
            .map(|dispatch| dispatch.ticket)
            .collect()
    }

    pub(super) fn dispatches(&self, id: &WorkerId) -> Vec<Dispatch> {
        self.to_worker(id)
            .into_iter()
            .filter_map(|message| match message {
                ToWorker::Request(dispatch) => Some(dispatch),
                _ => None,
            })
            .collect()
    }

    pub(super) fn to_worker(&self, id: &WorkerId) -> Vec<ToWorker> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::ToWorker { worker, message } if worker == id => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    /// Answers to a session since the last look, as short words: `7: ok "x"`, `7: error busy`.
    pub(super) fn heard(&self, session: SessionId) -> Vec<String> {
        self.answers(session).iter().map(short).collect()
    }

    pub(super) fn answers(&self, session: SessionId) -> Vec<Answer> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::ToClient {
                    session: to,
                    answer,
                } if *to == session => Some(answer.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn spawned(&self) -> Vec<String> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::Spawn { worker, .. } => Some(worker.to_string()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn signals(&self) -> Vec<String> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::Signal { worker, kill } => Some(format!("{worker} {kill:?}")),
                _ => None,
            })
            .collect()
    }

    /// The script's part of `status`.
    pub(super) fn status(&mut self, script: &str) -> serde_json::Value {
        let session = self.connect();
        let before = self.take();
        self.ask(session, Some("status"), Command::Status);
        let answer = self.answers(session).remove(0);
        self.seen = before;
        let Body::Ok {
            result: Payload::Json(json),
            ..
        } = answer.body
        else {
            panic!("status answers")
        };
        self.input(Input::Gone {
            session,
            why: "done".into(),
        });
        let status: serde_json::Value = serde_json::from_str(json.as_str()).unwrap();
        if script.is_empty() {
            return status;
        }
        let scripts = status["scripts"].as_array().unwrap();
        scripts
            .iter()
            .find(|found| found["name"] == script)
            .cloned()
            .unwrap_or(serde_json::Value::Null)
    }

    pub(super) fn state(&mut self, script: &str) -> String {
        self.status(script)["state"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

pub(super) fn call(script: &str, handler: &str, timeout: Option<Duration>) -> Command {
    Command::Call(Call {
        script: name(script),
        handler: handler.into(),
        params: None,
        timeout,
    })
}

pub(super) fn short(answer: &Answer) -> String {
    let id = answer.id.as_ref().map_or("-", |id| id.as_str());
    let body = match &answer.body {
        Body::Accepted => "accepted".to_owned(),
        Body::Running => "running".to_owned(),
        Body::Part(payload) => format!("part {}", text(payload)),
        Body::Ok { result, replayed } => {
            let again = if *replayed { " replayed" } else { "" };
            format!("ok {}{again}", text(result))
        }
        Body::Error(refusal) => format!("error {}", refusal.code),
    };
    format!("{id}: {body}")
}

fn text(payload: &Payload) -> String {
    match payload {
        Payload::Empty => "-".into(),
        Payload::Json(json) => json.as_str().into(),
        Payload::Lines(lines) => lines.to_string(),
    }
}
