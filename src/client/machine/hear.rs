//! What the daemon says, and whom it concerns.

use super::*;

impl Machine {
    pub(super) fn on_piece(&mut self, epoch: Epoch, piece: Piece) {
        match piece {
            Piece::Answer(answer) => self.on_answer(epoch, answer),
            Piece::Line { id, line } => {
                self.on_text(id, |_| Some(Body::Part(Payload::Lines(line.into()))));
            }
            Piece::Why { id, refusal } => self.on_text(id, |entry| {
                entry.why = Some(refusal);
                None
            }),
            Piece::Done { id } => self.on_text(id, |_| {
                Some(Body::Ok {
                    result: Payload::Empty,
                    replayed: false,
                })
            }),
            Piece::Failed { id } => self.on_text(id, |entry| {
                let silent = || Refusal::new(ErrorCode::Internal, "failed without a reason");
                Some(Body::Error(entry.why.take().unwrap_or_else(silent)))
            }),
        }
    }

    pub(super) fn on_text(
        &mut self,
        id: Option<RequestId>,
        read: impl FnOnce(&mut Entry) -> Option<Body>,
    ) {
        let token = id.and_then(|id| self.requests.find(&id));
        let entry = token.and_then(|token| self.requests.get_mut(token));
        if let (Some(token), Some(body)) = (token, entry.and_then(read)) {
            self.deliver(token, body);
        }
    }

    pub(super) fn on_answer(&mut self, epoch: Epoch, answer: Answer) {
        match answer.id {
            Some(id) if id.as_str().starts_with(OWN) => self.on_own(epoch, &id, answer.body),
            Some(id) => {
                // Late answers of requests that have ended find nothing.
                if let Some(token) = self.requests.find(&id) {
                    self.deliver(token, answer.body);
                }
            }
            None => self.on_said(answer.body),
        }
    }

    pub(super) fn on_said(&mut self, body: Body) {
        let Body::Error(refusal) = body else {
            return;
        };
        let message = refusal.message.clone();
        self.notice(Notice::Said(refusal));
        if matches!(self.link, Link::Handshake { .. }) {
            self.hang_up(message);
        }
    }

    /// An answer to a hello, ping, cancel or bye.
    pub(super) fn on_own(&mut self, epoch: Epoch, id: &RequestId, body: Body) {
        let pong = read_pong(&body);
        match &mut self.link {
            Link::Handshake { ping, .. } => match (ping == id, pong, body) {
                (true, Some(daemon), _) => self.on_up(epoch, daemon),
                (true, None, _) => self.hang_up("its pong has no UUID".to_owned()),
                (false, _, Body::Error(refusal)) => self.hang_up(refusal.message),
                (false, _, Body::Accepted | Body::Running | Body::Part(_) | Body::Ok { .. }) => {}
            },
            Link::Up(up) => {
                if up.pings.is_pong(id, pong.is_some())
                    && let Some(daemon) = pong
                {
                    self.learn(daemon);
                }
            }
            Link::Leaving { bye, .. } if bye == id => self.end(),
            Link::Leaving { .. } | Link::Left | Link::Idle { .. } | Link::Connecting { .. } => {}
        }
    }

    pub(super) fn deliver(&mut self, token: Token, body: Body) {
        let Some(entry) = self.requests.get(token) else {
            return;
        };
        if let Body::Error(refusal) = &body
            && let Some(at) = self.may_retry(entry, refusal)
        {
            let refusal = refusal.clone();
            self.refused(token, refusal, at);
            return;
        }
        if body.is_end() {
            self.requests.remove(token);
            self.send_backlog();
        }
        self.effects.push_back(Effect::Deliver(token, body));
    }

    /// When a refused request may be sent again, if there is time for it.
    pub(super) fn may_retry(&self, entry: &Entry, refusal: &Refusal) -> Option<Duration> {
        if !matches!(refusal.code, ErrorCode::Busy | ErrorCode::RateLimited) {
            return None;
        }
        let mut dice = self.dice.clone();
        let own = self.config.backoff.delay(entry.refusals, &mut dice);
        let wait = match refusal.retry_after {
            Some(asked) => asked.max(own / 2),
            None => own,
        };
        let end = entry.asked + entry.timeout.unwrap_or(limits::REQUEST_TIMEOUT);
        (self.now + wait < end).then_some(self.now + wait)
    }

    pub(super) fn refused(&mut self, token: Token, refusal: Refusal, at: Duration) {
        self.dice.roll();
        self.requests.stage(token, Stage::Refused);
        if let Some(entry) = self.requests.get_mut(token) {
            entry.refusals += 1;
            entry.why = Some(refusal);
        }
        self.requests.set_alarm(at, token, Alarm::Retry);
        self.send_backlog();
    }
}

/// The daemon's UUID in the result of a ping.
fn read_pong(body: &Body) -> Option<DaemonId> {
    #[derive(serde::Deserialize)]
    struct Pong {
        pong: uuid::Uuid,
    }
    match body {
        Body::Ok {
            result: Payload::Json(json),
            ..
        } => {
            let pong: Pong = serde_json::from_str(json.as_str()).ok()?;
            Some(DaemonId(pong.pong))
        }
        Body::Ok { .. } | Body::Accepted | Body::Running | Body::Part(_) | Body::Error(_) => None,
    }
}
