//! The task of one client's connection: reads and frames its lines, sends what the core could not.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::lane::{Lane, Scratch, Writer};
use super::origin::{self, Origin};
use crate::engine::alphabet::{Input, Peer};
use crate::limits;
use crate::proto::codec;
use crate::proto::framer::{Frame, Framer};
use crate::proto::ids::SessionId;
use crate::proto::messages::{Command, FromClient};

/// Between two looks whether a client that sends no more has gone altogether: no event tells that.
const HALF_CLOSED_LOOK: Duration = Duration::from_secs(1);

/// A session's own half of what it shares with the core.
pub(super) struct Session {
    id: SessionId,
    lane: Rc<Lane>,
    reader: OwnedReadHalf,
    framer: Framer,
    /// Bytes of the last read that wait for their turn: not more than one read.
    rest: Vec<u8>,
    told: Told,
    reading: Reading,
    /// The last read filled the buffer: there is more, and the core has to take this first.
    filled: bool,
}

/// What the engine was last told of a session.
struct Told {
    /// A line has begun.
    begun: Cell<bool>,
    /// The client's process, until the engine knows whose it is: asked only for those that want to control, because
    /// it takes longer than to answer a ping.
    unknown: Cell<Option<i32>>,
}

impl Told {
    fn examine(&self, session: SessionId, message: &FromClient, inbox: &Inbox) {
        let controls =
            matches!(message, FromClient::Question(question) if question.command.controls());
        if controls
            && let Some(peer) = self.unknown.take()
            && let Origin::Script(script) = origin::of_process(peer)
        {
            inbox.push(Input::Belongs { session, script });
        }
    }
}

/// How a session's reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// The client has shut down its sending side and waits for what it is owed.
    HalfClosed,
}

/// Divides a connection: the lane for the core, the rest for [`Session::serve`].
pub(super) fn open(id: SessionId, stream: UnixStream) -> (Rc<Lane>, Session) {
    // A process of another PID namespace has no number here, and no ancestor of ours.
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let (reader, writer) = stream.into_split();
    let lane = Lane::new(Writer::Socket(writer));
    let session = Session {
        id,
        lane: Rc::clone(&lane),
        reader,
        framer: Framer::new(limits::LINE_BYTES),
        rest: Vec::new(),
        told: Told {
            begun: Cell::new(false),
            unknown: Cell::new(peer),
        },
        reading: Reading::Open,
        filled: false,
    };
    (lane, session)
}

impl Session {
    /// Serves the connection to its end, and says why it ended.
    pub(super) async fn serve(mut self, inbox: Rc<Inbox>, scratch: Scratch) -> String {
        self.run(&inbox, &scratch).await
    }

    async fn run(&mut self, inbox: &Inbox, scratch: &Scratch) -> String {
        loop {
            if std::mem::take(&mut self.filled) {
                inbox.taken().await;
            }
            if self.lane.is_closing() {
                self.drain(inbox).await;
                return "closed by the daemon".to_owned();
            }
            if self.lane.is_broken() {
                return "it reads no more".to_owned();
            }
            let done = match self.reading {
                Reading::Open => self.step_open(inbox, scratch).await,
                Reading::HalfClosed => self.step_half_closed(inbox).await,
            };
            if let Some(why) = done {
                return why;
            }
        }
    }

    /// One event of a connection that is open both ways. `Some`: it is over, and why.
    async fn step_open(&mut self, inbox: &Inbox, scratch: &Scratch) -> Option<String> {
        let Session {
            id,
            lane,
            reader,
            framer,
            rest,
            told,
            ..
        } = self;
        if !rest.is_empty() && !lane.is_paused() {
            let bytes = std::mem::take(rest);
            take_in(*id, lane, framer, told, inbox, &bytes, rest);
            self.filled = true;
            return None;
        }
        tokio::select! {
            biased;
            // Cancel safe: a change that nobody waited for is remembered.
            () = lane.changed() => None,
            // Cancel safe: it only waits.
            () = lane.writable(), if lane.is_blocked() => { flush(*id, lane, inbox); None }
            // Cancel safe: see `Scratch::read`.
            read = scratch.read(reader, |bytes| take_in(*id, lane, framer, told, inbox, bytes, rest)),
                if !lane.is_paused() => match read {
                    Ok(0) => self.end_of_input(),
                    Ok(count) => {
                        self.filled = count == limits::READ_BYTES || !self.rest.is_empty();
                        None
                    }
                    Err(error) => Some(format!("reading failed: {error}")),
                },
        }
    }

    /// The client sends no more. If it has gone altogether, or is owed nothing, that is the end.
    fn end_of_input(&mut self) -> Option<String> {
        if self.lane.owes_nothing() || hung_up(&self.reader) {
            return Some("closed by the client".to_owned());
        }
        self.lane.part();
        self.reading = Reading::HalfClosed;
        None
    }

    async fn step_half_closed(&mut self, inbox: &Inbox) -> Option<String> {
        if hung_up(&self.reader) || (self.lane.owes_nothing() && self.lane.is_drained()) {
            return Some("closed by the client".to_owned());
        }
        tokio::select! {
            biased;
            // Cancel safe: a change that nobody waited for is remembered.
            () = self.lane.changed() => {}
            // Cancel safe: it only waits.
            () = self.lane.writable(), if self.lane.is_blocked() => flush(self.id, &self.lane, inbox),
            // Cancel safe: it only waits.
            () = tokio::time::sleep(HALF_CLOSED_LOOK) => {}
        }
        None
    }

    /// Sends what waits, for a bounded time.
    async fn drain(&mut self, inbox: &Inbox) {
        let until = Instant::now() + limits::FLUSH_AT_CLOSE;
        flush(self.id, &self.lane, inbox);
        while !self.lane.is_drained() {
            let writable = tokio::time::timeout_at(until, self.lane.writable());
            if writable.await.is_err() {
                return;
            }
            flush(self.id, &self.lane, inbox);
        }
    }
}

fn flush(id: SessionId, lane: &Lane, inbox: &Inbox) {
    let cost = lane.flush();
    if cost > 0 {
        inbox.push(Input::Flushed {
            peer: Peer::Session(id),
            cost,
        });
    }
}

/// Frames and decodes what one read gave, one turn's worth of lines; the others go into `rest`, so that a
/// read full of short questions with long answers is not answered whole before its session can be paused.
fn take_in(
    session: SessionId,
    lane: &Lane,
    framer: &mut Framer,
    told: &Told,
    inbox: &Inbox,
    mut bytes: &[u8],
    rest: &mut Vec<u8>,
) {
    let mut ended = false;
    let mut lines = 0;
    while let Some(frame) = framer.next(&mut bytes) {
        ended = true;
        lines += 1;
        let message = match frame {
            Frame::Line(line) => codec::decode_client(line),
            Frame::TooLong { first, dropped } => {
                FromClient::Malformed(codec::too_long(first, dropped, limits::LINE_BYTES))
            }
        };
        if is_answered(&message) {
            lane.owe();
        }
        told.examine(session, &message, inbox);
        inbox.push(Input::FromClient { session, message });
        if lines == limits::LINES_PER_TURN {
            rest.extend_from_slice(bytes);
            break;
        }
    }
    // A line's time limit runs from its first byte, so the end of one and the begin of the next are told apart.
    if told.begun.get() && ended {
        told.begun.set(false);
        inbox.push(Input::Partial {
            session,
            begun: false,
        });
    }
    if framer.has_begun() && !told.begun.replace(true) {
        inbox.push(Input::Partial {
            session,
            begun: true,
        });
    }
}

/// Whether an end of an answer will come. `events` ends only when it is cancelled: nobody waits for that.
fn is_answered(message: &FromClient) -> bool {
    match message {
        FromClient::Question(question) => !matches!(question.command, Command::Events { .. }),
        FromClient::Malformed(_) => true,
    }
}

/// Whether the other side has closed both directions.
fn hung_up(reader: &OwnedReadHalf) -> bool {
    let stream: &UnixStream = reader.as_ref();
    let mut polled = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&at_once)).is_ok()
        && polled[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR)
}
