//! Connecting, the handshake, the loss of a connection, and when to try again.

use super::*;

impl Machine {
    pub(super) fn connect(&mut self, attempt: u32) {
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        self.link = Link::Connecting {
            epoch,
            attempt,
            until: self.now + self.config.handshake_timeout,
        };
        self.effects.push_back(Effect::Connect(epoch));
    }

    /// Says who we are; requests wait for the pong, which proves that somebody reads.
    pub(super) fn on_connected(&mut self, connected: Epoch) {
        let Link::Connecting { epoch, attempt, .. } = self.link else {
            return;
        };
        if epoch != connected {
            return;
        }
        let mut output = Vec::new();
        let hello = Command::Hello(Hello {
            client: self.config.client,
            version: self.config.version.clone(),
            pings: true,
            progress: self.config.progress,
        });
        self.write(&mut output, "hello", hello);
        let ping = self.write(&mut output, "ping", PING);
        self.link = Link::Handshake {
            epoch,
            attempt,
            until: self.now + self.config.handshake_timeout,
            ping,
            output,
        };
    }

    /// Appends a question of the machine's own; gives its id.
    pub(super) fn write(
        &mut self,
        output: &mut Vec<u8>,
        what: &str,
        command: Command,
    ) -> RequestId {
        self.serial += 1;
        let id = RequestId::new(&format!("{OWN}{what}-{}", self.serial))
            .expect("made of letters, digits and hyphens");
        let question = Question {
            encoding: Encoding::Json,
            id: Some(id.clone()),
            command,
        };
        codec::encode_question(&question, output);
        id
    }

    pub(super) fn on_up(&mut self, epoch: Epoch, daemon: DaemonId) {
        self.link = Link::up(epoch, self.now + self.config.ping_every);
        let again = self.daemon.is_some();
        self.learn(daemon);
        self.notice(Notice::Up { daemon, again });
        self.backlog.clear();
        for token in self.requests.tokens() {
            let stage = self.requests.get(token).map(|entry| entry.stage);
            if matches!(stage, Some(Stage::Fresh | Stage::Lost)) {
                self.backlog.push_back(token);
            }
        }
        self.send_backlog();
    }

    /// The only place where the daemon's UUID is set.
    pub(super) fn learn(&mut self, new: DaemonId) {
        if let Some(old) = self.daemon.replace(new).filter(|old| *old != new) {
            self.notice(Notice::Restarted { old, new });
        }
    }

    /// The connection, or the attempt at one, has ended; requests in flight will be sent again.
    pub(super) fn on_lost(&mut self, why: String) {
        let attempt = match &self.link {
            Link::Up(_) => {
                self.down_since = self.now;
                self.notice(Notice::Lost { why: why.clone() });
                0
            }
            Link::Connecting { attempt, .. } | Link::Handshake { attempt, .. } => {
                let attempt = attempt + 1;
                self.notice(Notice::Unreachable { why: why.clone() });
                attempt
            }
            Link::Idle { .. } => 0,
            Link::Leaving { .. } | Link::Left => {
                self.end();
                return;
            }
        };
        self.give_up_the_impatient(&why, attempt);
        self.rest(why, attempt);
    }

    /// Waits before the next attempt, or for somebody to ask.
    pub(super) fn rest(&mut self, why: String, attempt: u32) {
        self.backlog.clear();
        self.trouble = why;
        self.link = Link::idle();
        if self.config.keep || !self.requests.is_empty() {
            let delay = self.config.backoff.delay(attempt, &mut self.dice);
            self.link = Link::Idle {
                retry: Some((self.now + delay, attempt)),
            };
        }
    }

    /// The connection lives but is of no use.
    pub(super) fn hang_up(&mut self, why: String) {
        if let Some(epoch) = self.link.epoch() {
            self.effects.push_back(Effect::Close(epoch));
        }
        self.on_lost(why);
    }

    /// Nobody answers pings: only those who said how long they wait go on waiting.
    pub(super) fn on_dead(&mut self, missed: u32) {
        let why = format!(
            "it accepts connections but has not answered {missed} pings; see whether it hangs or is stopped"
        );
        self.notice(Notice::Dead { missed });
        if let Some(epoch) = self.link.epoch() {
            self.effects.push_back(Effect::Close(epoch));
        }
        self.down_since = self.now;
        for token in self.requests.tokens() {
            match self.requests.get(token).map(|entry| entry.patience) {
                Some(Patience::None | Patience::For(_)) => self.unavailable(token, &why),
                Some(Patience::Timeout) => self.requests.lose(token),
                None => {}
            }
        }
        self.rest(why, 0);
    }

    pub(super) fn give_up_the_impatient(&mut self, why: &str, attempt: u32) {
        for token in self.requests.tokens() {
            let Some(entry) = self.requests.get(token) else {
                continue;
            };
            let attempts = if entry.was_sent() {
                ATTEMPTS_IN_FLIGHT
            } else {
                1
            };
            let patience = entry.patience;
            self.requests.lose(token);
            match patience {
                Patience::None if attempt >= attempts => self.unavailable(token, why),
                Patience::For(time) if attempt == 0 => {
                    self.requests
                        .set_alarm(self.now + time, token, Alarm::Patience);
                }
                Patience::None | Patience::For(_) | Patience::Timeout => {}
            }
        }
    }

    pub(super) fn unavailable(&mut self, token: Token, why: &str) {
        let Some(entry) = self.requests.remove(token) else {
            return;
        };
        let failure = Failure::Unavailable {
            why: why.to_owned(),
            sent: entry.sent(),
        };
        self.effects.push_back(Effect::Fail(token, failure));
    }

    pub(super) fn end(&mut self) {
        if let Some(epoch) = self.link.epoch() {
            self.effects.push_back(Effect::Close(epoch));
        }
        self.link = Link::Left;
        self.effects.push_back(Effect::Gone);
    }
}
