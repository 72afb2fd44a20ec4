//! The reference: what may be said to whom, and how often anything may start. It shares no code with the engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::SCRIPTS;
use crate::engine::alphabet::Moment;
use crate::proto::ids::*;
use crate::proto::messages::*;

#[derive(Debug, Default)]
pub(super) struct Checker {
    sessions: BTreeMap<SessionId, Asked>,
    closed: BTreeSet<SessionId>,
    workers: BTreeMap<(WorkerId, String), i64>,
    /// Starts of each command, by its parameters, which are its own.
    starts: BTreeMap<String, Vec<RequestIdOrNone>>,
    /// Commands that were told that they never ran.
    never_ran: BTreeSet<String>,
    nonce: u64,
    /// What kinds of ends there were, so that a run can show that it was a real one.
    pub(super) kinds: BTreeMap<String, u64>,
}

type RequestIdOrNone = Option<String>;

/// What a session has asked and not heard the end of.
#[derive(Debug, Default)]
struct Asked {
    named: BTreeMap<String, Vec<Open>>,
    idless: VecDeque<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    params: Option<String>,
    handler: String,
    stream: bool,
    since: Moment,
}

impl Checker {
    /// Parameters that no other command has.
    pub(super) fn fresh(&mut self, handler: &str) -> String {
        self.nonce += 1;
        format!("{{\"n\":{},\"h\":\"{handler}\"}}", self.nonce)
    }

    pub(super) fn opened(&mut self, session: SessionId) {
        self.sessions.insert(session, Asked::default());
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.closed.insert(session);
    }

    pub(super) fn asked(
        &mut self,
        session: SessionId,
        id: Option<&RequestId>,
        command: &Command,
        now: Moment,
    ) {
        let Some(asked) = self.sessions.get_mut(&session) else {
            return;
        };
        let (params, handler) = match command {
            Command::Call(call) => (
                call.params
                    .as_ref()
                    .map(|params| params.as_str().to_owned()),
                call.handler.to_string(),
            ),
            _ => (None, String::new()),
        };
        let open = Open {
            params,
            handler,
            stream: matches!(command, Command::Events { .. }),
            since: now,
        };
        match id {
            Some(id) => asked
                .named
                .entry(id.as_str().to_owned())
                .or_default()
                .push(open),
            None => asked.idless.push_back(open),
        }
    }

    pub(super) fn answer(&mut self, session: SessionId, answer: &Answer, now: Moment) {
        assert!(
            !self.closed.contains(&session),
            "{session:?} is closed and hears {answer:?}"
        );
        let asked = self
            .sessions
            .get_mut(&session)
            .unwrap_or_else(|| panic!("{session:?} never was and hears {answer:?}"));
        let ends = answer.body.is_end();
        let open = match &answer.id {
            None => {
                let first = asked.idless.front().cloned();
                if ends {
                    asked.idless.pop_front();
                }
                first
            }
            Some(id) => {
                let open = asked.named.entry(id.as_str().to_owned()).or_default();
                // The same id twice: a conflict is the newest one's, told at once.
                let newest = open.len().saturating_sub(1);
                let matching = match &answer.body {
                    Body::Error(refusal) if refusal.code == ErrorCode::IdConflict => Some(newest),
                    _ => open.iter().position(|open| Self::fits(open, answer)),
                };
                let matching = matching.or(Some(0)).filter(|index| *index < open.len());
                matching.map(|index| {
                    if ends {
                        open.remove(index)
                    } else {
                        open[index].clone()
                    }
                })
            }
        };
        let open = open.unwrap_or_else(|| panic!("{session:?} asked nothing and hears {answer:?}"));
        self.judge(&open, answer, now);
    }

    fn fits(open: &Open, answer: &Answer) -> bool {
        match &answer.body {
            Body::Ok {
                result: Payload::Json(result),
                ..
            } => open.params.as_deref() == Some(result.as_str()),
            _ => true,
        }
    }

    fn judge(&mut self, open: &Open, answer: &Answer, now: Moment) {
        if let Some(kind) = kind(&answer.body) {
            *self.kinds.entry(kind).or_default() += 1;
        }
        let late = now.since(open.since).as_secs();
        assert!(open.stream || late < 60, "{open:?} waited {late} s");
        let Some(params) = &open.params else {
            return;
        };
        match &answer.body {
            Body::Ok { result, .. } => {
                let Payload::Json(result) = result else {
                    panic!("{answer:?} is no echo");
                };
                assert_eq!(result.as_str(), params, "the answer is its own");
                assert!(self.starts.contains_key(params), "done means that it ran");
            }
            Body::Error(refusal) => self.judge_refusal(open, params, refusal),
            Body::Accepted | Body::Running | Body::Part(_) => {}
        }
    }

    fn judge_refusal(&mut self, open: &Open, params: &str, refusal: &Refusal) {
        let own = params.contains("\"n\"");
        let never = refusal.message.contains("never ran");
        if own && never && open.handler == "o" {
            assert!(
                !self.starts.contains_key(params),
                "{params} was told that it never ran: {refusal:?}"
            );
            if refusal.code == ErrorCode::Cancelled {
                self.never_ran.insert(params.to_owned());
            }
        }
    }

    /// A worker begins a command.
    pub(super) fn started(&mut self, handler: &str, params: &str, dispatch: &Dispatch) {
        if !params.contains("\"n\"") {
            self.starts.entry(params.to_owned()).or_default();
            return;
        }
        let starts = self.starts.entry(params.to_owned()).or_default();
        starts.push(dispatch.id.as_ref().map(|id| id.as_str().to_owned()));
        let most = match handler {
            "o" => 1,
            "i" => 3,
            _ => usize::MAX,
        };
        assert!(
            starts.len() <= most,
            "{handler} {params} started {starts:?}"
        );
        assert!(
            !self.never_ran.contains(params),
            "{params} was cancelled for good and starts"
        );
    }

    pub(super) fn concurrency(&self, script: &ScriptName, running: usize) {
        let limit = SCRIPTS
            .iter()
            .find(|(name, _)| *name == script.as_str())
            .map_or(0, |(_, limit)| *limit as usize);
        assert!(running <= limit, "{script} runs {running} at once");
    }

    pub(super) fn worker_asked(&mut self, worker: &WorkerId, id: &RequestId) {
        *self
            .workers
            .entry((worker.clone(), id.as_str().to_owned()))
            .or_default() += 1;
    }

    pub(super) fn worker_answer(&mut self, worker: &WorkerId, answer: &Answer) {
        if !answer.body.is_end() {
            return;
        }
        let id = answer.id.as_ref().map_or("", |id| id.as_str()).to_owned();
        let open = self.workers.entry((worker.clone(), id)).or_default();
        *open -= 1;
        assert!(*open >= 0, "{worker} asked nothing and hears {answer:?}");
    }

    /// Nothing hangs: whoever is still there has heard the end of everything but streams.
    pub(super) fn all_ended(&self) {
        for (session, asked) in &self.sessions {
            let named = asked
                .named
                .iter()
                .filter(|(_, open)| open.iter().any(|open| !open.stream));
            let left: Vec<_> = named.collect();
            assert!(left.is_empty(), "{session:?} still waits for {left:?}");
            assert!(
                asked.idless.is_empty(),
                "{session:?} waits: {:?}",
                asked.idless
            );
        }
    }

    /// The daemon has left: everybody was told.
    pub(super) fn left(&self) {
        assert!(
            self.sessions.is_empty(),
            "connected still: {:?}",
            self.sessions
        );
    }
}

/// `done`, `replayed`, or the code of an error; `None` for what is no end.
fn kind(body: &Body) -> Option<String> {
    match body {
        Body::Ok { replayed: true, .. } => Some("replayed".into()),
        Body::Ok { .. } => Some("done".into()),
        Body::Error(refusal) => Some(refusal.code.to_string()),
        Body::Accepted | Body::Running | Body::Part(_) => None,
    }
}
