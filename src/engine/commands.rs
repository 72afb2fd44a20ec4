//! What each command leads to. Sessions and workers ask alike.

use serde_json::json;

use super::alphabet::{Effect, LogAsk, Peer};
use super::asking::{Ask, Manner, What};
use super::calls::Asked;
use super::sessions::Leaving;
use super::{Engine, refusals, view};
use crate::limits;
use crate::proto::ids::{ClientId, ScriptName};
use crate::proto::messages::{
    AckMode, Body, Command, Encoding, ErrorCode, FromClient, Hello, Json, Payload, Question,
    Refusal, Work,
};

impl Engine {
    pub(super) fn client_says(&mut self, id: crate::proto::ids::SessionId, message: FromClient) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else {
            self.senseless("a message of a session that is gone");
            return;
        };
        session.heard = now;
        let peer = Peer::Session(id);
        match message {
            FromClient::Question(question) => {
                session.encoding = question.encoding;
                self.question(&peer, question);
            }
            FromClient::Malformed(malformed) => self.malformed(&peer, malformed),
        }
    }

    /// A line that could not be read: it is answered, and the connection stays.
    pub(super) fn malformed(&mut self, peer: &Peer, malformed: crate::proto::messages::Malformed) {
        let manner = self.manner(peer, malformed.encoding, malformed.id);
        self.answer_at_once(peer, manner, Body::Error(malformed.refusal));
    }

    fn manner(
        &self,
        peer: &Peer,
        encoding: Encoding,
        id: Option<crate::proto::ids::RequestId>,
    ) -> Manner {
        let off = self.asker(peer).is_some_and(|asker| asker.acks_off);
        Manner {
            encoding,
            id,
            ack: !off,
        }
    }

    pub(super) fn question(&mut self, peer: &Peer, question: Question) {
        let manner = self.manner(peer, question.encoding, question.id);
        if let Some(refusal) = self.control_refusal(peer, &question.command) {
            return self.answer_at_once(peer, manner, Body::Error(refusal));
        }
        match question.command {
            Command::Call(call) => self.call(Asked {
                peer: peer.clone(),
                manner,
                script: call.script,
                work: Work::Call {
                    handler: call.handler,
                    params: call.params,
                },
                timeout: call.timeout,
            }),
            Command::Eval {
                script,
                code,
                timeout,
            } => self.call(Asked {
                peer: peer.clone(),
                manner,
                script,
                work: Work::Eval { code },
                timeout,
            }),
            Command::Control { verb, script } => self.control(peer, manner, verb, script),
            Command::Logs { script, lines } => self.read_log(peer, manner, script, lines),
            Command::Events { pattern } => self.subscribe(peer, manner, pattern),
            Command::Cancel { target } => {
                let found = self.cancel(peer, &target);
                let result = flag(manner.encoding, "cancelled", found);
                self.answer_at_once(peer, manner, ok(result));
            }
            Command::Ack(mode) => self.acks(peer, manner, mode),
            Command::Hello(hello) => self.greet(peer, manner, &hello),
            Command::Bye => self.bye(peer, manner),
            Command::Emit { event, data } => {
                self.emitted(peer, &event, data.as_ref());
                self.answer_at_once(peer, manner, ok(Payload::Empty));
            }
            Command::Shutdown => {
                self.answer_at_once(peer, manner, ok(Payload::Empty));
                // Asked a second time (`down` and Ctrl-C), it skips the grace as a second signal does.
                self.terminate("asked to shut down");
            }
            Command::Ping { client, timestamp } => {
                let result = self.pong_payload(manner.encoding, client, timestamp);
                self.answer_at_once(peer, manner, ok(result));
            }
            Command::Nothing => self.answer_at_once(peer, manner, ok(Payload::Empty)),
            Command::Status => self.show(peer, manner, view::status),
            Command::List => self.show(peer, manner, view::list),
            Command::Version => self.show(peer, manner, view::version),
            Command::Help => self.show(peer, manner, |_, encoding| view::help(encoding)),
            Command::Check { words } => self.check_command(peer, manner, words),
            Command::Checks { words } => self.checks_command(peer, manner, &words),
            Command::Heartbeat {
                check,
                beat,
                message,
            } => self.heartbeat_command(peer, manner, check, beat, message),
            Command::Downtime { check, quiet, why } => {
                self.downtime_command(peer, manner, check, quiet, why);
            }
            Command::Peers => self.show(peer, manner, no_peers),
        }
    }

    fn show(&mut self, peer: &Peer, manner: Manner, view: fn(&Engine, Encoding) -> Payload) {
        let result = view(self, manner.encoding);
        self.answer_at_once(peer, manner, ok(result));
    }

    /// From a snapshot: no script, no queue is touched, and none can hold it up.
    fn pong_payload(
        &self,
        encoding: Encoding,
        _client: Option<ClientId>,
        timestamp: Option<String>,
    ) -> Payload {
        let daemon = self.identity.daemon;
        match (encoding, timestamp) {
            (Encoding::Text, None) => Payload::Lines(format!("pong {daemon} active=true").into()),
            (Encoding::Text, Some(timestamp)) => {
                Payload::Lines(format!("pong {daemon} active=true timestamp={timestamp}").into())
            }
            (Encoding::Json, None) => Payload::Json(Json::of(
                &json!({ "pong": daemon.to_string(), "active": true }),
            )),
            (Encoding::Json, Some(timestamp)) => Payload::Json(Json::of(
                &json!({ "pong": daemon.to_string(), "active": true, "timestamp": timestamp }),
            )),
        }
    }

    fn acks(&mut self, peer: &Peer, mut manner: Manner, mode: AckMode) {
        manner.ack = match mode {
            AckMode::Enable | AckMode::Disable => true,
            AckMode::Silence => false,
        };
        if let Some(asker) = self.asker_mut(peer) {
            asker.acks_off = mode != AckMode::Enable;
        }
        self.answer_at_once(peer, manner, ok(Payload::Empty));
    }

    fn greet(&mut self, peer: &Peer, manner: Manner, hello: &Hello) {
        let Peer::Session(id) = peer else {
            // A worker is who it is: nothing to say beyond the daemon's own name.
            let result = self.welcome(manner.encoding, 0, false);
            self.answer_at_once(peer, manner, ok(result));
            return;
        };
        let resumed = self.hello(*id, hello);
        let result = self.welcome(manner.encoding, id.0, resumed);
        self.answer_at_once(peer, manner, ok(result));
    }

    fn welcome(&self, encoding: Encoding, session: u64, resumed: bool) -> Payload {
        let daemon = self.identity.daemon.to_string();
        let version = &self.identity.version;
        match encoding {
            Encoding::Json => Payload::Json(Json::of(&json!({
                "daemon": daemon, "version": version, "session": session, "resumed": resumed,
            }))),
            Encoding::Text => Payload::Lines(
                format!("hello {daemon} version={version} session={session} resumed={resumed}")
                    .into(),
            ),
        }
    }

    fn bye(&mut self, peer: &Peer, manner: Manner) {
        self.answer_at_once(peer, manner, ok(Payload::Empty));
        if let Peer::Session(id) = peer {
            self.leave(*id, Leaving::Bye);
        }
    }

    fn read_log(&mut self, peer: &Peer, manner: Manner, script: Option<ScriptName>, lines: u32) {
        if let Some(name) = &script
            && !self.scripts.contains_key(name)
        {
            let known = self.scripts.keys().map(ScriptName::as_str);
            let refusal = refusals::unknown_script(name, known);
            self.answer_at_once(peer, manner, Body::Error(refusal));
            return;
        }
        let ask = LogAsk(self.next_log);
        self.next_log += 1;
        let Some(number) = self.open_question(peer, manner, What::Log(ask)) else {
            return;
        };
        let asker = Ask {
            peer: peer.clone(),
            number,
        };
        self.logs.insert(ask, asker);
        self.want(Effect::ReadLog { ask, script, lines });
    }

    pub(super) fn log_read(&mut self, ask: LogAsk, lines: Result<String, String>) {
        let Some(asker) = self.logs.remove(&ask) else {
            return;
        };
        let body = match lines {
            Ok(text) if text.is_empty() => ok(Payload::Empty),
            Ok(text) => ok(Payload::Lines(text.into())),
            Err(why) => Body::Error(Refusal::new(ErrorCode::Internal, why)),
        };
        self.tell(&asker, body);
    }

    fn subscribe(&mut self, peer: &Peer, manner: Manner, pattern: String) {
        if self.count_subscriptions(peer) >= limits::SUBSCRIPTIONS_PER_PEER {
            let refusal = Refusal::new(
                ErrorCode::Busy,
                format!(
                    "{} subscriptions are open, which is the limit; cancel one, or use a wider pattern",
                    limits::SUBSCRIPTIONS_PER_PEER
                ),
            );
            self.answer_at_once(peer, manner, Body::Error(refusal));
            return;
        }
        let what = What::Events { pattern, missed: 0 };
        let Some(number) = self.open_question(peer, manner, what) else {
            return;
        };
        self.review_subscriber(peer);
        let ask = Ask {
            peer: peer.clone(),
            number,
        };
        self.progress(&ask, Body::Accepted);
    }
}

fn no_peers(_: &Engine, encoding: Encoding) -> Payload {
    match encoding {
        Encoding::Json => Payload::Json(Json::of(&json!([]))),
        Encoding::Text => Payload::Lines("[]".into()),
    }
}

pub(super) fn ok(result: Payload) -> Body {
    Body::Ok {
        result,
        replayed: false,
    }
}

fn flag(encoding: Encoding, name: &str, value: bool) -> Payload {
    match encoding {
        Encoding::Json => Payload::Json(Json::of(&json!({ name: value }))),
        Encoding::Text => Payload::Lines(format!("{name}={value}").into()),
    }
}
