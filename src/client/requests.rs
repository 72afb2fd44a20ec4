//! The requests that a client has not finished: what was asked, how far it got, when it ends.
//!
//! A request is stored before its first byte is sent and leaves by one door, [`Requests::remove`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use crate::proto::ids::RequestId;
use crate::proto::messages::{Command, Encoding, Refusal};

/// Names a request within its client. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Numbers the connections of a client, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// What is asked, and how long the asker waits for what.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub command: Command,
    pub encoding: Encoding,
    /// A UUIDv7 makes repeats safe; any other id names the request within its connection.
    pub id: RequestId,
    /// From the moment of asking; the daemon is told the same limit by `command`. `None`: as long as the
    /// daemon takes, for streams and for limits that only the script knows.
    pub timeout: Option<Duration>,
    pub patience: Patience,
}

/// How long a request waits for a daemon that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all; if it was sent already, for three attempts to connect again.
    None,
    /// This long from the moment of asking or from the loss of the connection.
    For(Duration),
    /// Until its timeout, also through a daemon that has stopped answering.
    Timeout,
}

/// What a request without an answer may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was never sent: nothing ran.
    No,
    /// It was sent, and has no effect that matters: a question about states, say.
    Harmless,
    /// It was sent, and may have run or be running.
    MayHaveRun,
}

/// An end that did not come from the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No daemon, or it does not answer.
    Unavailable { why: String, sent: Sent },
    /// Its time is over.
    TimedOut { sent: Sent },
    /// Cancelled while no daemon could be told.
    Cancelled { sent: Sent },
    /// The client has left.
    Closed,
    /// A request of the same id is in flight here.
    IdInUse,
    /// Its reader took the parts too slowly.
    Overrun,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unavailable {
                why,
                sent: Sent::No | Sent::Harmless,
            } => write!(f, "no daemon answers: {why}"),
            Failure::Unavailable {
                why,
                sent: Sent::MayHaveRun,
            } => write!(
                f,
                "the daemon is gone: {why}; the command was sent and may have run: repeat it with the same --id to find out"
            ),
            Failure::TimedOut { sent: Sent::No } => f.write_str(
                "timed out before it was sent: nothing ran; start the daemon or allow more time with --timeout",
            ),
            Failure::TimedOut {
                sent: Sent::Harmless,
            } => f.write_str("timed out without an answer; allow more time with --timeout"),
            Failure::TimedOut { sent: Sent::MayHaveRun } => f.write_str(
                "timed out without an answer; it may have run or still be running: repeat it with the same --id to find out",
            ),
            Failure::Cancelled {
                sent: Sent::No | Sent::Harmless,
            } => f.write_str("cancelled: nothing ran"),
            Failure::Cancelled { sent: Sent::MayHaveRun } => f.write_str(
                "cancelled while the daemon was gone; it may have run: repeat it with the same --id to find out",
            ),
            Failure::Closed => f.write_str("this client has left; connect anew"),
            Failure::IdInUse => f.write_str(
                "a request with this id is already in flight on this connection; wait for it or choose another id",
            ),
            Failure::Overrun => f.write_str(
                "the parts of the answer came faster than they were read; the request was cancelled: read faster, or ask for less",
            ),
        }
    }
}

impl std::error::Error for Failure {}

/// Whether a command changes anything, so that an asker without an answer has something to worry about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effectful {
    Yes,
    No,
}

impl Effectful {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Call(_)
            | Command::Eval { .. }
            | Command::Control { .. }
            | Command::Emit { .. }
            | Command::Shutdown => Effectful::Yes,
            Command::Nothing
            | Command::Ping { .. }
            | Command::Hello(_)
            | Command::Bye
            | Command::Status
            | Command::List
            | Command::Version
            | Command::Help
            | Command::Cancel { .. }
            | Command::Logs { .. }
            | Command::Events { .. }
            | Command::Ack(_)
            | Command::Peers
            // Said twice, they mean what they mean once.
            | Command::Check { .. }
            | Command::Checks { .. }
            | Command::Heartbeat { .. }
            | Command::Downtime { .. } => Effectful::No,
        }
    }
}

/// How far a request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Never sent.
    Fresh,
    /// Sent over this connection, which lives.
    Sent(Epoch),
    /// Sent over a connection that was lost; to be sent again.
    Lost,
    /// Refused for now (nothing ran); to be sent again by its timer.
    Refused,
}

/// One request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: RequestId,
    /// As it was first written: a repeat sends the same bytes.
    pub(super) line: Box<[u8]>,
    pub(super) asked: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) patience: Patience,
    pub(super) stage: Stage,
    /// What it may have done if it was sent.
    pub(super) effect: Effectful,
    /// How often it was refused.
    pub(super) refusals: u32,
    /// Text: why the `error` to come; or the last refusal that is being retried.
    pub(super) why: Option<Refusal>,
}

impl Entry {
    pub(super) fn was_sent(&self) -> bool {
        match self.stage {
            Stage::Fresh | Stage::Refused => false,
            Stage::Sent(_) | Stage::Lost => true,
        }
    }

    /// What its asker must reckon with, if there is no answer.
    pub(super) fn sent(&self) -> Sent {
        match (self.was_sent(), self.effect) {
            (false, _) => Sent::No,
            (true, Effectful::No) => Sent::Harmless,
            (true, Effectful::Yes) => Sent::MayHaveRun,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.timeout.map(|timeout| self.asked + timeout)
    }
}

/// What a timer of a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// Its time is over.
    Deadline,
    /// Its time, and the daemon's chance to say so itself, are over.
    Overdue,
    /// Its patience without a daemon is over.
    Patience,
    /// A refused one may be sent again.
    Retry,
}

/// All requests of one client, by token and by id, with their timers.
#[derive(Debug, Default)]
pub(super) struct Requests {
    entries: BTreeMap<Token, Entry>,
    ids: HashMap<RequestId, Token>,
    /// Timers of requests that are gone find nothing.
    alarms: BTreeSet<(Duration, Token, Alarm)>,
    /// Those in [`Stage::Sent`].
    sent: usize,
}

impl Requests {
    /// `false`: its id is taken, and nothing was stored.
    #[must_use]
    pub(super) fn insert(&mut self, token: Token, entry: Entry) -> bool {
        if self.ids.contains_key(&entry.id) {
            return false;
        }
        self.ids.insert(entry.id.clone(), token);
        if let Some(deadline) = entry.deadline() {
            self.alarms.insert((deadline, token, Alarm::Deadline));
        }
        let earlier = self.entries.insert(token, entry);
        debug_assert!(earlier.is_none(), "tokens are never reused");
        true
    }

    /// The only way out.
    pub(super) fn remove(&mut self, token: Token) -> Option<Entry> {
        let entry = self.entries.remove(&token)?;
        self.ids.remove(&entry.id);
        if let Some(deadline) = entry.deadline() {
            self.alarms.remove(&(deadline, token, Alarm::Deadline));
        }
        self.count(entry.stage, false);
        Some(entry)
    }

    pub(super) fn stage(&mut self, token: Token, stage: Stage) {
        if let Some(entry) = self.entries.get_mut(&token) {
            let before = std::mem::replace(&mut entry.stage, stage);
            self.count(before, false);
            self.count(stage, true);
        }
    }

    /// Its connection is gone: if it was sent, it will have to be sent again.
    pub(super) fn lose(&mut self, token: Token) {
        if let Some(Stage::Sent(_)) = self.get(token).map(|entry| entry.stage) {
            self.stage(token, Stage::Lost);
        }
    }

    fn count(&mut self, stage: Stage, more: bool) {
        match (stage, more) {
            (Stage::Sent(_), true) => self.sent += 1,
            (Stage::Sent(_), false) => self.sent -= 1,
            (Stage::Fresh | Stage::Lost | Stage::Refused, _) => {}
        }
    }

    pub(super) fn find(&self, id: &RequestId) -> Option<Token> {
        self.ids.get(id).copied()
    }

    pub(super) fn get(&self, token: Token) -> Option<&Entry> {
        self.entries.get(&token)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Entry> {
        self.entries.get_mut(&token)
    }

    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In the order in which they were asked.
    pub(super) fn tokens(&self) -> Vec<Token> {
        self.entries.keys().copied().collect()
    }

    pub(super) fn set_alarm(&mut self, at: Duration, token: Token, alarm: Alarm) {
        self.alarms.insert((at, token, alarm));
    }

    pub(super) fn next_alarm(&self) -> Option<Duration> {
        self.alarms.first().map(|(at, _, _)| *at)
    }

    /// Takes one timer that is over, if there is one.
    pub(super) fn rung(&mut self, now: Duration) -> Option<(Token, Alarm)> {
        let (at, _, _) = self.alarms.first()?;
        if *at > now {
            return None;
        }
        self.alarms
            .pop_first()
            .map(|(_, token, alarm)| (token, alarm))
    }
}
