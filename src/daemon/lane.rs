//! One peer's two directions, as far as clients and workers have them in common.
//!
//! The core pushes answers into a lane's outbox and flushes it once a batch, without waiting. What the
//! kernel does not take at once is sent by the lane's own task, which also reads.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::{OwnedWriteHalf, pipe};

use super::bell::Bell;
use super::outbox::Outbox;
use crate::limits;

/// The writing side of a peer.
#[derive(Debug)]
pub(crate) enum Writer {
    Socket(OwnedWriteHalf),
    Pipe(pipe::Sender),
}

impl Writer {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Socket(socket) => socket.try_write(bytes),
            Writer::Pipe(pipe) => pipe.try_write(bytes),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Writer::Socket(socket) => socket.writable().await,
            Writer::Pipe(pipe) => pipe.writable().await,
        }
    }
}

/// How far a lane's sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Whatever is pushed goes out with the next flush.
    Free,
    /// The peer has to read first; the lane's task waits for that.
    Blocked,
    /// The peer reads no more. What is pushed is thrown away.
    Broken,
}

/// What the core and the task of one peer share.
#[derive(Debug)]
pub(crate) struct Lane {
    writer: Writer,
    outbox: RefCell<Outbox>,
    sending: Cell<Sending>,
    paused: Cell<bool>,
    /// Whether it is on the core's list of lanes to flush.
    listed: Cell<bool>,
    closing: Cell<bool>,
    /// Ends of answers that the peer is still owed; a peer that has shut down its sending side gets them.
    owed: Cell<u64>,
    /// The peer has shut down its sending side: its task waits for the last debt.
    parting: Cell<bool>,
    changed: Bell,
}

impl Lane {
    pub(crate) fn new(writer: Writer) -> Rc<Self> {
        Rc::new(Lane {
            writer,
            outbox: RefCell::default(),
            sending: Cell::new(Sending::Free),
            paused: Cell::new(false),
            listed: Cell::new(false),
            closing: Cell::new(false),
            owed: Cell::new(0),
            parting: Cell::new(false),
            changed: Bell::default(),
        })
    }

    /// Adds a message. `true`: the lane is to be put on the list of those to flush.
    pub(crate) fn push(&self, cost: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.sending.get() == Sending::Broken {
            return false;
        }
        self.outbox.borrow_mut().push(cost, write);
        !self.listed.replace(true)
    }

    /// Sends what the kernel takes at once; gives the cost of the messages that went whole.
    pub(crate) fn flush(&self) -> u64 {
        self.listed.set(false);
        if self.sending.get() == Sending::Broken {
            return 0;
        }
        let flushed = self
            .outbox
            .borrow_mut()
            .flush(|bytes| self.writer.try_write(bytes));
        match flushed {
            Ok(flushed) => {
                let sending = if flushed.blocked {
                    Sending::Blocked
                } else {
                    Sending::Free
                };
                if self.sending.replace(sending) != sending {
                    self.changed.ring();
                }
                flushed.cost
            }
            Err(_) => {
                self.sending.set(Sending::Broken);
                self.changed.ring();
                0
            }
        }
    }

    pub(crate) fn pause(&self, paused: bool) {
        if self.paused.replace(paused) != paused {
            self.changed.ring();
        }
    }

    /// No more is read; what waits is sent for a bounded time, then the connection is closed.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.changed.ring();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.sending.get() == Sending::Blocked
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.sending.get() == Sending::Broken
    }

    /// Whether all has been sent that ever will be.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_broken() || self.outbox.borrow().is_empty()
    }

    /// The peer has asked something that will be answered.
    pub(crate) fn owe(&self) {
        self.owed.set(self.owed.get() + 1);
    }

    /// The end of an answer was pushed.
    pub(crate) fn paid(&self) {
        self.owed.set(self.owed.get().saturating_sub(1));
        if self.owed.get() == 0 && self.parting.get() {
            self.changed.ring();
        }
    }

    /// The peer sends no more: from now on the end of its debts is a change.
    pub(crate) fn part(&self) {
        self.parting.set(true);
    }

    pub(crate) fn owes_nothing(&self) -> bool {
        self.owed.get() == 0
    }

    /// Waits until pause, closing, blocking or debts may have changed. Cancel safe; a change that nobody
    /// waited for is remembered.
    pub(crate) async fn changed(&self) {
        self.changed.heard().await;
    }

    /// Waits until the peer has read something. Cancel safe.
    pub(crate) async fn writable(&self) {
        // An error shows in the flush that follows.
        let _shown_later = self.writer.writable().await;
    }
}

/// One buffer for all reads: they are used up within the poll that made them.
#[derive(Clone, Debug)]
pub(crate) struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch(Rc::new(RefCell::new(
            vec![0; limits::READ_BYTES].into_boxed_slice(),
        )))
    }

    /// Reads once and hands the bytes to `with`; gives how many there were, 0 at the end. Cancel safe:
    /// `with` has run if and only if bytes were taken from the kernel.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn read(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        mut with: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        poll_fn(|context| {
            let mut bytes = self.0.borrow_mut();
            let mut buffer = ReadBuf::new(&mut bytes);
            // Through poll_read, not try_read: it knows from a short read that the kernel has no more
            // and saves the read that would only say so.
            ready!(Pin::new(&mut *reader).poll_read(context, &mut buffer))?;
            let filled = buffer.filled();
            if !filled.is_empty() {
                with(filled);
            }
            Poll::Ready(Ok(filled.len()))
        })
        .await
    }
}
