//! What the user of a client wants: ask, cancel, abandon, leave.

use super::*;

impl Machine {
    pub(super) fn on_ask(&mut self, token: Token, request: Request) {
        if matches!(self.link, Link::Leaving { .. } | Link::Left) {
            self.effects.push_back(Effect::Fail(token, Failure::Closed));
            return;
        }
        let effect = Effectful::of(&request.command);
        let question = Question {
            encoding: request.encoding,
            id: Some(request.id.clone()),
            command: request.command,
        };
        let mut line = Vec::new();
        codec::encode_question(&question, &mut line);
        let entry = Entry {
            line: line.into(),
            asked: self.now,
            timeout: request.timeout,
            patience: request.patience,
            stage: Stage::Fresh,
            effect,
            refusals: 0,
            why: None,
            id: request.id,
        };
        if entry.id.as_str().starts_with(OWN) || !self.requests.insert(token, entry) {
            self.effects
                .push_back(Effect::Fail(token, Failure::IdInUse));
            return;
        }
        match self.link {
            Link::Up(_) => {
                self.backlog.push_back(token);
                self.send_backlog();
            }
            // Whoever asks does not wait for a delay that others have run up.
            Link::Idle { retry } => self.connect(retry.map_or(0, |(_, attempt)| attempt)),
            Link::Connecting { .. } | Link::Handshake { .. } => {}
            Link::Leaving { .. } | Link::Left => unreachable!("looked at above"),
        }
        self.limit_patience(token, request.patience);
    }

    /// Its patience begins now unless a daemon is there; it is looked at when it ends.
    pub(super) fn limit_patience(&mut self, token: Token, patience: Patience) {
        match (patience, &self.link) {
            (_, Link::Up(_)) | (Patience::None | Patience::Timeout, _) => {}
            (Patience::For(time), _) => {
                self.requests
                    .set_alarm(self.now + time, token, Alarm::Patience);
            }
        }
    }

    pub(super) fn on_cancel(&mut self, token: Token) {
        let Some(entry) = self.requests.get(token) else {
            return;
        };
        if matches!(entry.stage, Stage::Sent(_)) {
            self.send_cancel(entry.id.clone());
            return;
        }
        let sent = entry.sent();
        self.requests.remove(token);
        let failure = Failure::Cancelled { sent };
        self.effects.push_back(Effect::Fail(token, failure));
    }

    pub(super) fn on_abandon(&mut self, token: Token) {
        if let Some(entry) = self.requests.remove(token) {
            if matches!(entry.stage, Stage::Sent(_)) {
                self.send_cancel(entry.id);
            }
            self.send_backlog();
        }
    }

    pub(super) fn send_cancel(&mut self, target: RequestId) {
        let mut bytes = Vec::new();
        self.write(&mut bytes, "cancel", Command::Cancel { target });
        self.link.send(&bytes);
    }

    pub(super) fn on_leave(&mut self) {
        for token in self.requests.tokens() {
            self.requests.remove(token);
            self.effects.push_back(Effect::Fail(token, Failure::Closed));
        }
        match std::mem::replace(&mut self.link, Link::Left) {
            Link::Up(mut up) => {
                let bye = self.write(&mut up.output, "bye", Command::Bye);
                self.link = Link::Leaving {
                    epoch: up.epoch,
                    bye,
                    until: self.now + BYE_TIMEOUT,
                    output: up.output,
                };
            }
            leaving @ Link::Leaving { .. } => self.link = leaving,
            Link::Connecting { epoch, .. } | Link::Handshake { epoch, .. } => {
                self.effects.push_back(Effect::Close(epoch));
                self.effects.push_back(Effect::Gone);
            }
            Link::Idle { .. } => self.effects.push_back(Effect::Gone),
            Link::Left => {}
        }
    }

    /// Sends what waits, as long as the daemon would read it: a session that has too much in flight is not
    /// read, its pings neither.
    pub(super) fn send_backlog(&mut self) {
        let Link::Up(up) = &mut self.link else {
            return;
        };
        while self.requests.sent() < MOST_IN_FLIGHT
            && let Some(token) = self.backlog.pop_front()
        {
            let Some(entry) = self.requests.get(token) else {
                continue;
            };
            if matches!(entry.stage, Stage::Fresh | Stage::Lost) {
                up.output.extend_from_slice(&entry.line);
                self.requests.stage(token, Stage::Sent(up.epoch));
            }
        }
    }
}
