//! The task behind a [`Client`](super::wire::Client): it owns the socket and steps the machine.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{Interest, Ready};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::limits;
use crate::paths::SocketAddress;
use crate::proto::codec;
use crate::proto::framer::{Frame, Framer};
use crate::proto::messages::Body;

use super::machine::{Effect, Input, Machine, Notice};
use super::requests::{Epoch, Failure, Request, Token};
use super::wire::{ConnectOptions, Status};

/// What the handles tell their task.
#[derive(Debug)]
pub(super) enum Order {
    Ask(Token, Box<Request>, Sink),
    Cancel(Token),
    Abandon(Token),
    Leave,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum Sink {
    End(oneshot::Sender<Result<Body, Failure>>),
    Stream(mpsc::Sender<Result<Body, Failure>>),
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<UnixStream>> + Send>>;

/// The socket, in each of its states.
enum Socket {
    None,
    Connecting(Epoch, Connecting),
    Open(Box<Open>),
}

struct Open {
    epoch: Epoch,
    stream: UnixStream,
    framer: Framer,
    unsent: Vec<u8>,
    /// How much of `unsent` the kernel has.
    taken: usize,
}

pub(super) struct Driver {
    machine: Machine,
    path: PathBuf,
    start: Instant,
    socket: Socket,
    orders: mpsc::UnboundedReceiver<Order>,
    batch: Vec<Order>,
    waiters: HashMap<Token, Sink>,
    notices: mpsc::Sender<Notice>,
    status: watch::Sender<Status>,
    scratch: Box<[u8]>,
    gone: bool,
    /// Pieces have gone into streams since the last wait.
    streamed: bool,
}

/// Orders taken in at a time.
const BATCH: usize = 1_024;
/// Longer than any timer: without one, sleep until something happens.
const FAR: Duration = Duration::from_secs(3600);

enum Event {
    Orders(usize),
    Connected(Epoch, io::Result<UnixStream>),
    Ready(io::Result<Ready>),
    Time,
}

impl Driver {
    pub(super) fn new(
        options: ConnectOptions,
        orders: mpsc::UnboundedReceiver<Order>,
        notices: mpsc::Sender<Notice>,
        status: watch::Sender<Status>,
    ) -> Self {
        Driver {
            machine: Machine::new(options.config),
            path: options.socket,
            start: Instant::now(),
            socket: Socket::None,
            orders,
            batch: Vec::new(),
            waiters: HashMap::new(),
            notices,
            status,
            scratch: vec![0; limits::READ_BYTES].into(),
            gone: false,
            streamed: false,
        }
    }

    pub(super) async fn run(mut self) {
        self.perform();
        while !self.gone {
            let event = self.next_event().await;
            self.take_in(event);
            self.perform();
            if std::mem::take(&mut self.streamed) {
                // A reader that is willing gets its turn before its channel is full.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let wait = self.machine.next_timeout().unwrap_or(FAR);
        let due = self.start + wait;
        // A closed channel is always ready, with nothing in it.
        let asked = !(self.orders.is_closed() && self.orders.is_empty());
        tokio::select! {
            // Cancel safe: readiness stays until it is used up.
            event = socket_event(&mut self.socket) => event,
            // Cancel safe: recv_many takes nothing before it is ready.
            count = self.orders.recv_many(&mut self.batch, BATCH), if asked => Event::Orders(count),
            // Cancel safe: made anew each time.
            () = sleep_until(due) => Event::Time,
        }
    }

    fn take_in(&mut self, event: Event) {
        let now = self.start.elapsed();
        match event {
            Event::Orders(0) => self.machine.handle(now, Input::Leave),
            Event::Orders(_) => {
                let mut batch = std::mem::take(&mut self.batch);
                for order in batch.drain(..) {
                    self.obey(now, order);
                }
                self.batch = batch;
            }
            Event::Connected(epoch, Ok(stream)) => {
                self.socket = Socket::Open(Box::new(Open::new(epoch, stream)));
                self.machine.handle(now, Input::Connected(epoch));
            }
            Event::Connected(epoch, Err(error)) => {
                self.socket = Socket::None;
                let why = why_no_connection(&self.path, &error);
                self.machine.handle(now, Input::Lost(epoch, why));
            }
            Event::Ready(ready) => self.on_ready(now, ready),
            Event::Time => self.machine.handle(now, Input::Tick),
        }
    }

    fn obey(&mut self, now: Duration, order: Order) {
        let input = match order {
            Order::Ask(token, request, sink) => {
                self.waiters.insert(token, sink);
                Input::Ask(token, *request)
            }
            Order::Cancel(token) => Input::Cancel(token),
            Order::Abandon(token) => {
                self.waiters.remove(&token);
                Input::Abandon(token)
            }
            Order::Leave => Input::Leave,
        };
        self.machine.handle(now, input);
    }

    fn on_ready(&mut self, now: Duration, ready: io::Result<Ready>) {
        let Socket::Open(open) = &mut self.socket else {
            return;
        };
        let (epoch, machine) = (open.epoch, &mut self.machine);
        let done = ready.and_then(|ready| {
            if ready.is_writable() {
                open.write()?;
            }
            if ready.is_readable() || ready.is_read_closed() {
                open.read(&mut self.scratch, |piece| {
                    machine.handle(now, Input::Heard(epoch, piece));
                })?;
            }
            Ok(())
        });
        if let Err(error) = done {
            self.lose(epoch, &error);
        }
    }

    /// A socket that has ended stays readable for ever: it goes before the machine hears of it.
    fn lose(&mut self, epoch: Epoch, error: &io::Error) {
        self.socket = Socket::None;
        let now = self.start.elapsed();
        self.machine
            .handle(now, Input::Lost(epoch, error.to_string()));
    }

    /// Does what the machine wants, without waiting.
    fn perform(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Connect(epoch) => {
                    self.socket = Socket::Connecting(epoch, Box::pin(connect(self.path.clone())));
                }
                Effect::Send(epoch, bytes) => self.send(epoch, &bytes),
                Effect::Close(_) => self.close(),
                Effect::Deliver(token, body) => self.deliver(token, Ok(body)),
                Effect::Fail(token, failure) => self.deliver(token, Err(failure)),
                Effect::Notice(notice) => self.tell(notice),
                Effect::Gone => self.gone = true,
            }
        }
    }

    fn send(&mut self, epoch: Epoch, bytes: &[u8]) {
        let Socket::Open(open) = &mut self.socket else {
            return;
        };
        open.unsent.extend_from_slice(bytes);
        if let Err(error) = open.write() {
            self.lose(epoch, &error);
        }
    }

    /// The last lines (a `bye`, a `cancel`) get their chance; nothing is waited for.
    fn close(&mut self) {
        if let Socket::Open(open) = &mut self.socket {
            let _unsent = open.write();
        }
        self.socket = Socket::None;
    }

    fn deliver(&mut self, token: Token, piece: Result<Body, Failure>) {
        let end = match &piece {
            Ok(body) => body.is_end(),
            Err(_) => true,
        };
        let overrun = match self.waiters.get(&token) {
            Some(Sink::Stream(sink)) => {
                self.streamed = true;
                // A waiter that is gone sends `Abandon`.
                matches!(
                    sink.try_send(piece),
                    Err(mpsc::error::TrySendError::Full(_))
                )
            }
            Some(Sink::End(_)) if end => {
                if let Some(Sink::End(sink)) = self.waiters.remove(&token) {
                    let _abandoned = sink.send(piece);
                }
                return;
            }
            Some(Sink::End(_)) | None => false,
        };
        if end || overrun {
            self.waiters.remove(&token);
        }
        if overrun && !end {
            let now = self.start.elapsed();
            self.machine.handle(now, Input::Abandon(token));
        }
    }

    fn tell(&mut self, notice: Notice) {
        match &notice {
            Notice::Up { daemon, .. } => {
                self.status.send_replace(Status::Up(*daemon));
            }
            Notice::Lost { why } | Notice::Unreachable { why } => {
                self.status.send_replace(Status::Down(why.clone()));
            }
            Notice::Dead { .. } => {
                let why = "it does not answer pings".to_owned();
                self.status.send_replace(Status::Down(why));
            }
            Notice::Restarted { .. } | Notice::PingMissed { .. } | Notice::Said(_) => {}
        }
        // Nobody has to listen.
        let _unheard = self.notices.try_send(notice);
    }
}

/// Connects to a socket whose path may be longer than an address holds.
async fn connect(path: PathBuf) -> io::Result<UnixStream> {
    let address = SocketAddress::of_path(&path)?;
    UnixStream::connect(address.path()).await
}

/// Cancel safe: a connecting future stays in its place, readiness is only looked at.
async fn socket_event(socket: &mut Socket) -> Event {
    match socket {
        Socket::None => pending().await,
        Socket::Connecting(epoch, connecting) => {
            let stream = connecting.as_mut().await;
            Event::Connected(*epoch, stream)
        }
        Socket::Open(open) => {
            let interest = if open.unsent.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            Event::Ready(open.stream.ready(interest).await)
        }
    }
}

fn why_no_connection(path: &std::path::Path, error: &io::Error) -> String {
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    ) {
        "no daemon runs for this home; start it with: moonkeep up -d".to_owned()
    } else if kind == io::ErrorKind::WouldBlock {
        // A full backlog: it runs, and has too much to do.
        "the daemon has too many connections waiting; try again".to_owned()
    } else {
        format!("cannot connect to {}: {error}", path.display())
    }
}

impl Open {
    fn new(epoch: Epoch, stream: UnixStream) -> Self {
        Open {
            epoch,
            stream,
            framer: Framer::new(limits::LINE_BYTES + FRAME_BYTES),
            unsent: Vec::new(),
            taken: 0,
        }
    }

    /// Gives the kernel what it takes.
    fn write(&mut self) -> io::Result<()> {
        while self.taken < self.unsent.len() {
            match self.stream.try_write(&self.unsent[self.taken..]) {
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent.clear();
        self.unsent.shrink_to(limits::READ_BYTES);
        self.taken = 0;
        Ok(())
    }

    /// Reads what is there, at most one buffer full: others want their turn.
    fn read(&mut self, scratch: &mut [u8], mut hear: impl FnMut(codec::Piece)) -> io::Result<()> {
        let count = match self.stream.try_read(scratch) {
            Ok(0) => return Err(io::Error::other("the daemon closed the connection")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if count < scratch.len() {
            self.forget_readiness();
        }
        let mut rest = &scratch[..count];
        while let Some(frame) = self.framer.next(&mut rest) {
            match frame {
                Frame::Line(line) => hear(codec::decode_answer(line).map_err(io::Error::other)?),
                Frame::TooLong { dropped, .. } => {
                    let why = format!("the daemon sent a line of {dropped} bytes");
                    return Err(io::Error::other(why));
                }
            }
        }
        Ok(())
    }

    /// A short read says that the kernel has no more: saves the read that would only say so again.
    fn forget_readiness(&self) {
        let drained = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _always_would_block = self.stream.try_io(Interest::READABLE, drained);
    }
}

/// What an answer's line holds beside a payload of the longest kind.
const FRAME_BYTES: usize = 4 * 1024;
