//! What a client decides: when to connect, what to send again, when a daemon counts as dead.
//!
//! Pure: `handle(now, input)`, then [`Machine::poll_effect`] until empty, then wait until
//! [`Machine::next_timeout`]. `now` is the time since the machine's making. Every connection has an
//! [`Epoch`]; what belongs to an earlier one finds nothing. The daemon's UUID is learned in one place
//! ([`Machine::learn`]), so that a restart is told exactly once.

mod alarms;
mod ask;
mod connection;
mod hear;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits;
use crate::proto::codec::{self, Piece};
use crate::proto::ids::{ClientId, DaemonId, RequestId};
use crate::proto::messages::{
    Answer, Body, Command, Encoding, ErrorCode, Hello, Payload, Question, Refusal,
};

use super::backoff::{Backoff, Dice};
use super::link::{Due, Link};
use super::requests::{
    Alarm, Effectful, Entry, Epoch, Failure, Patience, Request, Requests, Stage, Token,
};

/// What a client is born with. Times are configurable for tests.
#[derive(Clone, Debug)]
pub struct Config {
    pub client: ClientId,
    /// Told to the daemon.
    pub version: Option<String>,
    /// Connect, and connect again, also while nothing is asked.
    pub keep: bool,
    /// Ask for `accepted` and `running`.
    pub progress: bool,
    pub ping_every: Duration,
    pub ping_timeout: Duration,
    pub pings_missed: u32,
    pub handshake_timeout: Duration,
    pub backoff: Backoff,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Config {
    /// The times of `limits`.
    #[must_use]
    pub fn new(client: ClientId, seed: u64) -> Self {
        Config {
            client,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            keep: false,
            progress: false,
            ping_every: limits::PING_EVERY,
            ping_timeout: limits::PING_TIMEOUT,
            pings_missed: limits::PINGS_MISSED,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            backoff: Backoff {
                first: limits::RETRY_FIRST,
                most: limits::RETRY_MOST,
            },
            seed,
        }
    }
}

/// Everything that can happen to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// `Effect::Connect` has succeeded.
    Connected(Epoch),
    /// A line of the daemon, as [`codec::decode_answer`] read it.
    Heard(Epoch, Piece),
    /// `Effect::Connect` has failed, the connection has ended, or a line was no answer.
    Lost(Epoch, String),
    Ask(Token, Request),
    /// Ask the daemon to cancel; the request ends as the daemon says.
    Cancel(Token),
    /// Nobody waits for it any more; it was too slow to be read if `overrun`.
    Abandon(Token),
    /// Say `bye` and end.
    Leave,
}

/// Everything that a client can want done.
#[must_use]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Connect; whatever connection was there is closed.
    Connect(Epoch),
    /// Send these bytes, whole lines, over the connection.
    Send(Epoch, Vec<u8>),
    /// Close the connection at once.
    Close(Epoch),
    /// A piece of an answer; nothing follows one that [ends](Body::is_end).
    Deliver(Token, Body),
    /// The request ends without an answer.
    Fail(Token, Failure),
    Notice(Notice),
    /// All is over: bye was said, or could not be.
    Gone,
}

/// What a person at a prompt wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The first connection, or one again; only after a pong.
    Up {
        daemon: DaemonId,
        again: bool,
    },
    /// The daemon's UUID has changed. Once a change.
    Restarted {
        old: DaemonId,
        new: DaemonId,
    },
    PingMissed {
        missed: u32,
        of: u32,
    },
    /// No ping was answered in time: the daemon counts as dead.
    Dead {
        missed: u32,
    },
    /// The connection has ended.
    Lost {
        why: String,
    },
    /// An attempt to connect has failed.
    Unreachable {
        why: String,
    },
    /// What the daemon said to nobody in particular, as it does before it disconnects.
    Said(Refusal),
}

/// The pure half of a client.
#[derive(Debug)]
pub struct Machine {
    config: Config,
    now: Duration,
    link: Link,
    /// Of the last connection, whether or not it lives. Set by `learn` alone.
    daemon: Option<DaemonId>,
    requests: Requests,
    /// Those that may be sent, in order, as soon as there is room.
    backlog: VecDeque<Token>,
    effects: VecDeque<Effect>,
    epochs: u64,
    serial: u64,
    dice: Dice,
    /// Why there is no connection, and since when.
    trouble: String,
    down_since: Duration,
}

/// Begins the ids of the machine's own questions; a user's may not.
const OWN: &str = "~moonkeep-";
/// Attempts to connect again for a request in flight whose asker has no patience.
const ATTEMPTS_IN_FLIGHT: u32 = 3;
/// Requests in flight. Fewer than the daemon reads, so that pings and cancels always get through.
const MOST_IN_FLIGHT: usize = limits::IN_FLIGHT_PER_SESSION - 24;
/// What the daemon gets to say itself that a request has timed out.
const OVERDUE: Duration = Duration::from_secs(1);
/// For the answer to `bye`.
const BYE_TIMEOUT: Duration = Duration::from_millis(250);
const PING: Command = Command::Ping {
    client: None,
    timestamp: None,
};

impl Machine {
    #[must_use]
    pub fn new(config: Config) -> Self {
        let dice = Dice::new(config.seed);
        let mut machine = Machine {
            config,
            now: Duration::ZERO,
            link: Link::idle(),
            daemon: None,
            requests: Requests::default(),
            backlog: VecDeque::new(),
            effects: VecDeque::new(),
            epochs: 0,
            serial: 0,
            dice,
            trouble: String::new(),
            down_since: Duration::ZERO,
        };
        if machine.config.keep {
            machine.connect(0);
        }
        machine
    }

    /// Takes in what has happened. `now` never goes back.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Connected(epoch) => self.on_connected(epoch),
            Input::Heard(epoch, piece) if self.link.is(epoch) => self.on_piece(epoch, piece),
            Input::Lost(epoch, why) if self.link.is(epoch) => self.on_lost(why),
            Input::Heard(..) | Input::Lost(..) => {}
            Input::Ask(token, request) => self.on_ask(token, request),
            Input::Cancel(token) => self.on_cancel(token),
            Input::Abandon(token) => self.on_abandon(token),
            Input::Leave => self.on_leave(),
        }
        self.ring();
    }

    /// What is to be done next; `None`: wait.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front().or_else(|| {
            self.link
                .take_output()
                .map(|(epoch, bytes)| Effect::Send(epoch, bytes))
        })
    }

    /// When `Tick` is due, if nothing else happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        let link = self.link.next_timeout();
        match (link, self.requests.next_alarm()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The daemon, while connected to it.
    #[must_use]
    pub fn daemon(&self) -> Option<DaemonId> {
        match &self.link {
            Link::Up(_) => self.daemon,
            Link::Idle { .. } | Link::Connecting { .. } | Link::Handshake { .. } => None,
            Link::Leaving { .. } | Link::Left => None,
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }
}
