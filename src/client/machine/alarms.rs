//! What the clock brings: pings, deadlines, the ends of patience and of delays.

use super::*;

impl Machine {
    pub(super) fn ring(&mut self) {
        self.ring_link();
        while let Some((token, alarm)) = self.requests.rung(self.now) {
            match alarm {
                Alarm::Deadline => self.on_deadline(token),
                Alarm::Overdue => self.on_overdue(token),
                Alarm::Patience => self.on_patience(token),
                Alarm::Retry => self.on_retry(token),
            }
        }
    }

    pub(super) fn ring_link(&mut self) {
        let now = self.now;
        match &self.link {
            Link::Idle {
                retry: Some((at, attempt)),
            } if *at <= now => {
                let attempt = *attempt;
                if self.config.keep || !self.requests.is_empty() {
                    self.connect(attempt);
                } else {
                    self.link = Link::idle();
                }
            }
            Link::Connecting { until, .. } if *until <= now => {
                self.hang_up("it does not accept connections".to_owned());
            }
            Link::Handshake { until, .. } if *until <= now => {
                let waited = self.config.handshake_timeout;
                self.hang_up(format!(
                    "it accepts connections but has not answered within {} s; see whether it hangs or is stopped",
                    waited.as_secs_f64()
                ));
            }
            Link::Leaving { until, .. } if *until <= now => self.end(),
            Link::Up(_) => self.ring_pings(),
            Link::Idle { .. }
            | Link::Connecting { .. }
            | Link::Handshake { .. }
            | Link::Leaving { .. }
            | Link::Left => {}
        }
    }

    pub(super) fn ring_pings(&mut self) {
        let (now, every) = (self.now, self.config.ping_every);
        while let Link::Up(up) = &mut self.link {
            match up.pings.due(now, every) {
                Due::Nothing => return,
                Due::Ping => {
                    let mut bytes = Vec::new();
                    let id = self.write(&mut bytes, "ping", PING);
                    self.link.send(&bytes);
                    if let Link::Up(up) = &mut self.link {
                        up.pings.sent(id, now + self.config.ping_timeout);
                    }
                }
                Due::Missed(missed) => {
                    let of = self.config.pings_missed;
                    self.notice(Notice::PingMissed { missed, of });
                    if missed >= of {
                        self.on_dead(missed);
                    }
                }
            }
        }
    }

    /// If the daemon has it, the daemon may say what became of it.
    pub(super) fn on_deadline(&mut self, token: Token) {
        match self.requests.get(token).map(|entry| entry.stage) {
            Some(Stage::Sent(_)) => {
                let at = self.now + OVERDUE;
                self.requests.set_alarm(at, token, Alarm::Overdue);
            }
            Some(Stage::Fresh | Stage::Lost | Stage::Refused) => self.time_out(token),
            None => {}
        }
    }

    pub(super) fn on_overdue(&mut self, token: Token) {
        if let Some(entry) = self.requests.get(token) {
            if matches!(entry.stage, Stage::Sent(_)) {
                self.send_cancel(entry.id.clone());
            }
            self.time_out(token);
        }
    }

    pub(super) fn time_out(&mut self, token: Token) {
        let Some(entry) = self.requests.remove(token) else {
            return;
        };
        let sent = entry.sent();
        self.effects.push_back(match (entry.stage, entry.why) {
            (Stage::Refused, Some(refusal)) => Effect::Deliver(token, Body::Error(refusal)),
            _ => Effect::Fail(token, Failure::TimedOut { sent }),
        });
        self.send_backlog();
    }

    pub(super) fn on_patience(&mut self, token: Token) {
        let up = matches!(self.link, Link::Up(_));
        let due = self
            .requests
            .get(token)
            .and_then(|entry| match entry.patience {
                Patience::For(time) => Some(entry.asked.max(self.down_since) + time),
                Patience::None | Patience::Timeout => None,
            });
        if !up && due.is_some_and(|due| due <= self.now) {
            let why = self.trouble.clone();
            self.unavailable(token, &why);
        }
    }

    pub(super) fn on_retry(&mut self, token: Token) {
        if self.requests.get(token).map(|entry| entry.stage) == Some(Stage::Refused) {
            self.requests.stage(token, Stage::Fresh);
            self.backlog.push_back(token);
            self.send_backlog();
        }
    }
}
