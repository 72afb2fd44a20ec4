//! The tokio half of a client: a socket, a clock and the waiters, driven by [`super::machine`].
//!
//! One task owns the socket, reads and writes many lines at a time, and ends when its [`Client`] is
//! closed or dropped. It decides nothing. Works in any tokio runtime; nothing here blocks.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::proto::ids::{ClientId, DaemonId, RequestId};
use crate::proto::messages::{Body, Command, Encoding};

use super::driver::{Driver, Order, Sink};
use super::machine::{Config, Notice};
use super::requests::{Failure, Patience, Request, Sent, Token};

/// Overrides the time between two pings, in milliseconds. For tests.
pub const PING_INTERVAL_VARIABLE: &str = "MOONKEEP_PING_INTERVAL_MS";
/// Pieces of one answer that may wait to be read; beyond it the request is cancelled.
pub const STREAM_PIECES: usize = 4_096;

/// Where to connect, and as whom.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub socket: PathBuf,
    pub config: Config,
}

impl ConnectOptions {
    /// A fresh client of the daemon behind this socket, with the usual times.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        let uuid = Uuid::now_v7();
        let (_, seed) = uuid.as_u64_pair();
        let mut config = Config::new(ClientId(uuid), seed);
        let interval = std::env::var(PING_INTERVAL_VARIABLE).ok();
        if let Some(interval) = interval.and_then(|text| text.parse().ok()) {
            config.ping_every = Duration::from_millis(interval);
            config.ping_timeout = config.ping_every;
        }
        ConnectOptions { socket, config }
    }

    /// The same for a second connection: a client of its own.
    #[must_use]
    pub(super) fn another(&self) -> Self {
        let fresh = ConnectOptions::new(self.socket.clone());
        ConnectOptions {
            socket: self.socket.clone(),
            config: Config {
                client: fresh.config.client,
                seed: fresh.config.seed,
                ..self.config.clone()
            },
        }
    }

    /// Connect at once and again after each loss, whether or not anything is asked.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.config.keep = true;
        self
    }

    /// Receive `accepted` and `running`.
    #[must_use]
    pub fn progress(mut self) -> Self {
        self.config.progress = true;
        self
    }
}

/// How one request is made.
#[derive(Clone, Debug)]
pub struct RequestOptions {
    /// `None`: a fresh UUIDv7, with which a repeat never runs twice.
    pub id: Option<RequestId>,
    /// The whole time, waiting for a daemon included. `call` and `eval` tell it to the daemon.
    pub timeout: Option<Duration>,
    pub patience: Patience,
    pub encoding: Encoding,
}

impl Default for RequestOptions {
    fn default() -> Self {
        RequestOptions {
            id: None,
            timeout: None,
            patience: Patience::None,
            encoding: Encoding::Json,
        }
    }
}

/// The connection, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// No attempt has been made or ended.
    Unknown,
    Up(DaemonId),
    Down(String),
}

/// A handle on one kept connection. Dropping it says `bye` as soon as its task runs again.
#[derive(Debug)]
pub struct Client {
    orders: mpsc::UnboundedSender<Order>,
    notices: Option<mpsc::Receiver<Notice>>,
    status: watch::Receiver<Status>,
    tokens: AtomicU64,
    task: JoinSet<()>,
}

impl Client {
    /// Starts the connection's task; connects when something is asked, or at once with
    /// [`ConnectOptions::keep`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect(options: ConnectOptions) -> Self {
        let (orders, taken) = mpsc::unbounded_channel();
        let (told, notices) = mpsc::channel(NOTICES);
        let (changed, status) = watch::channel(Status::Unknown);
        let driver = Driver::new(options, taken, told, changed);
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        Client {
            orders,
            notices: Some(notices),
            status,
            tokens: AtomicU64::new(1),
            task,
        }
    }

    /// Waits for the outcome of the first attempt to connect, with [`ConnectOptions::keep`]. Cancel safe.
    ///
    /// # Errors
    /// Why there is no daemon.
    pub async fn ready(&self) -> Result<DaemonId, Failure> {
        let mut status = self.status.clone();
        let known = status.wait_for(|status| *status != Status::Unknown).await;
        match known.as_deref() {
            Ok(Status::Up(daemon)) => Ok(*daemon),
            Ok(Status::Down(why)) => Err(Failure::Unavailable {
                why: why.clone(),
                sent: Sent::No,
            }),
            Ok(Status::Unknown) | Err(_) => Err(Failure::Closed),
        }
    }

    /// The connection as it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// What a person wants to know, once: the second call gives `None`. Those that nobody reads are dropped.
    pub fn notices(&mut self) -> Option<mpsc::Receiver<Notice>> {
        self.notices.take()
    }

    /// Asks; the pieces of the answer come out of what it returns.
    pub fn request(&self, command: Command, options: RequestOptions) -> Responses {
        let (sink, pieces) = mpsc::channel(STREAM_PIECES);
        let ticket = self.ask(command, options, Sink::Stream(sink));
        Responses {
            pieces,
            ticket,
            ended: false,
        }
    }

    /// Asks and waits for the end, without the parts. Not waiting for it cancels the request.
    ///
    /// # Errors
    /// If no answer comes. A refusal is an answer: [`Body::Error`].
    pub async fn call(&self, command: Command, options: RequestOptions) -> Result<Body, Failure> {
        let (sink, end) = oneshot::channel();
        let mut ticket = self.ask(command, options, Sink::End(sink));
        let end = end.await;
        ticket.open = false;
        end.unwrap_or(Err(Failure::Closed))
    }

    /// Says `bye` and waits until the connection is closed, at most 250 ms. What is in flight fails.
    pub async fn close(mut self) {
        // A driver that is gone is as closed as can be.
        let _gone = self.orders.send(Order::Leave);
        while self.task.join_next().await.is_some() {}
    }

    fn ask(&self, command: Command, options: RequestOptions, sink: Sink) -> Ticket {
        let token = Token(self.tokens.fetch_add(1, Ordering::Relaxed));
        let fresh = || RequestId::from_uuid(Uuid::now_v7());
        let request = Request {
            command: with_timeout(command, options.timeout),
            encoding: options.encoding,
            id: options.id.unwrap_or_else(fresh),
            timeout: options.timeout,
            patience: options.patience,
        };
        // Without a driver the sink is dropped, which its waiter reads as `Closed`.
        let _closed = self.orders.send(Order::Ask(token, Box::new(request), sink));
        Ticket {
            token,
            orders: self.orders.clone(),
            open: true,
        }
    }
}

impl Drop for Client {
    /// The task sees that nobody can ask any more, says `bye` and ends.
    fn drop(&mut self) {
        let _gone = self.orders.send(Order::Leave);
        self.task.detach_all();
    }
}

const NOTICES: usize = 256;

fn with_timeout(mut command: Command, limit: Option<Duration>) -> Command {
    if let Command::Call(call) = &mut command {
        call.timeout = call.timeout.or(limit);
    } else if let Command::Eval { timeout, .. } = &mut command {
        *timeout = timeout.or(limit);
    }
    command
}

/// A request in flight: given up when it is dropped.
#[derive(Debug)]
struct Ticket {
    token: Token,
    orders: mpsc::UnboundedSender<Order>,
    open: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            let _gone = self.orders.send(Order::Abandon(self.token));
        }
    }
}

/// The answer to one request, piece by piece. Dropping it before its end cancels the request.
#[derive(Debug)]
pub struct Responses {
    pieces: mpsc::Receiver<Result<Body, Failure>>,
    ticket: Ticket,
    ended: bool,
}

impl Responses {
    /// The next piece; `None` after the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Body, Failure>> {
        if self.ended {
            return None;
        }
        let piece = self.pieces.recv().await.unwrap_or(Err(Failure::Overrun));
        self.ended = match &piece {
            Ok(body) => body.is_end(),
            Err(_) => true,
        };
        self.ticket.open = !self.ended;
        Some(piece)
    }

    /// Asks the daemon to cancel; the end still comes, as a result if that was first.
    pub fn cancel(&self) {
        let _gone = self.ticket.orders.send(Order::Cancel(self.ticket.token));
    }
}
