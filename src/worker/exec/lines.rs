//! Requests and answers in the executable's own encoding. Pure but for the outboxes that it writes to.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::lua::host::Outbox;
use crate::proto::codec::{self, Joined, Outcomes};
use crate::proto::ids::Ticket;
use crate::proto::messages::{
    Body, Dispatch, Encoding, ErrorCode, FromWorker, Refusal, ToWorker, Work,
};
use crate::worker::records::{self, Ending, Records};

/// What a line of the executable was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It belongs to a running request and has been passed on.
    Answer,
    /// A command of its own, to be passed on as it is.
    Command,
    /// A forged or late answer, or a notice that only this program may give.
    Dropped,
}

/// What runs, and how to speak of it.
#[derive(Debug)]
pub(super) struct Translator {
    encoding: Encoding,
    legacy: bool,
    running: BTreeMap<Ticket, Running>,
    /// The lines of text answers, joined.
    outcomes: Outcomes,
    dropped: u64,
    records: Rc<Records>,
}

/// A request that the executable was given.
#[derive(Clone, Copy, Debug)]
struct Running {
    deadline: Instant,
    /// Under which its end is recorded.
    key: Option<Uuid>,
}

impl Translator {
    pub(super) fn new(encoding: Encoding, legacy: bool, records: Rc<Records>) -> Self {
        Translator {
            records,
            encoding: if legacy { Encoding::Text } else { encoding },
            legacy,
            running: BTreeMap::new(),
            outcomes: Outcomes::default(),
            dropped: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Lines that answered nothing.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Without ids a late answer cannot be told from the next one: there the daemon's limit is the only one.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.legacy {
            return None;
        }
        self.running.values().map(|running| running.deadline).min()
    }

    pub(super) fn request(&mut self, mut dispatch: Dispatch, child: &Outbox, daemon: &Outbox) {
        let ticket = dispatch.ticket;
        if let Work::Call { params, .. } = &mut dispatch.work {
            // No words rather than one that says that there are none.
            params.take_if(|params| params.as_str() == "{}");
        }
        if matches!(dispatch.work, Work::Eval { .. }) {
            let refusal = Refusal::new(
                ErrorCode::BadRequest,
                "this script is an executable: Lua cannot be evaluated in it; use call",
            );
            return self.end(
                daemon,
                ticket,
                records::key(&dispatch),
                &Body::Error(refusal),
            );
        }
        let running = Running {
            deadline: Instant::now() + dispatch.timeout,
            key: records::key(&dispatch),
        };
        self.running.insert(ticket, running);
        if self.encoding == Encoding::Text {
            self.outcomes.open(ticket);
        }
        child.push(|out| match (self.legacy, self.encoding) {
            (true, _) => codec::encode_legacy_request(&dispatch, out),
            (false, Encoding::Text) => codec::encode_text_request(&dispatch, out),
            (false, Encoding::Json) => codec::encode_to_worker(&ToWorker::Request(dispatch), out),
        });
    }

    /// Ends a ticket; what the executable still says of it is dropped. Without ids it goes on until it ends.
    pub(super) fn cancel(&mut self, ticket: Ticket, daemon: &Outbox) {
        if self.legacy {
            return;
        }
        let Some(Running { key, .. }) = self.running.remove(&ticket) else {
            return;
        };
        self.outcomes.close(ticket);
        let refusal = Refusal::new(
            ErrorCode::Cancelled,
            "the request was cancelled while it ran; the executable was not told and may go on with it",
        );
        self.end(daemon, ticket, key, &Body::Error(refusal));
    }

    /// Ends what has run beyond its time.
    pub(super) fn expire(&mut self, now: Instant, daemon: &Outbox) {
        if self.legacy {
            return;
        }
        let late: Vec<(Ticket, Option<Uuid>)> = self
            .running
            .iter()
            .filter(|(_, running)| running.deadline <= now)
            .map(|(ticket, running)| (*ticket, running.key))
            .collect();
        for (ticket, key) in late {
            self.running.remove(&ticket);
            self.outcomes.close(ticket);
            let refusal = Refusal::new(
                ErrorCode::Timeout,
                "the executable had not answered when the request's time was up; give it more with `timeout`",
            );
            self.end(daemon, ticket, key, &Body::Error(refusal));
        }
    }

    /// The line that says that it should end.
    pub(super) fn shutdown(&self, grace: Duration, child: &Outbox) {
        child.push(|out| match self.encoding {
            Encoding::Text => out.extend_from_slice(b"shutdown\n"),
            Encoding::Json => codec::encode_to_worker(&ToWorker::Shutdown { grace }, out),
        });
    }

    /// Takes a line of the executable.
    pub(super) fn line(&mut self, line: &[u8], daemon: &Outbox) -> Said {
        let joined = match (self.encoding, std::str::from_utf8(line)) {
            (Encoding::Text, Ok(text)) if !text.starts_with('{') => self.join(text),
            (Encoding::Text | Encoding::Json, _) => Joined::Other,
        };
        match joined {
            Joined::More => Said::Answer,
            Joined::End { ticket, body } => {
                let running = self.running.remove(&ticket);
                self.end(
                    daemon,
                    ticket,
                    running.and_then(|running| running.key),
                    &body,
                );
                Said::Answer
            }
            Joined::Other => self.other(line, daemon),
        }
    }

    fn join(&mut self, text: &str) -> Joined {
        if self.legacy {
            self.outcomes.legacy_line(text)
        } else {
            self.outcomes.line(text)
        }
    }

    /// A whole JSON answer, a command, or nothing that concerns anybody.
    fn other(&mut self, line: &[u8], daemon: &Outbox) -> Said {
        match codec::decode_worker(line) {
            // What is malformed is answered by the daemon, as it is for any client.
            FromWorker::Question(_) | FromWorker::Malformed(_) => Said::Command,
            FromWorker::Answer { ticket, body } => match self.running.get(&ticket) {
                Some(Running { key, .. }) => {
                    let key = key.filter(|_| body.is_end());
                    if body.is_end() {
                        self.running.remove(&ticket);
                        self.outcomes.close(ticket);
                    }
                    self.end(daemon, ticket, key, &body);
                    Said::Answer
                }
                None => self.drop_line(),
            },
            FromWorker::Notice(_) => self.drop_line(),
        }
    }

    fn drop_line(&mut self) -> Said {
        self.dropped += 1;
        Said::Dropped
    }

    /// Passes a piece of an answer on; with a key it is the recorded end of its request.
    fn end(&self, daemon: &Outbox, ticket: Ticket, key: Option<Uuid>, body: &Body) {
        if let Some(key) = key {
            self.records.end(key, Ending::Body(body));
        }
        daemon.push(|out| codec::encode_outcome(ticket, body, out));
    }
}

#[cfg(test)]
mod tests;
