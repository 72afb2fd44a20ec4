//! A pair of pipes, to the daemon or to a child: many lines a read, many lines a write.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context as Turn, Poll, Waker};

use anyhow::Context;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::limits;
use crate::lua::host::Outbox;
use crate::proto::framer::{Frame, Framer};

/// The pipes' real ends, moved away from 0 and 1.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
}

/// Takes the pipes and leaves `/dev/null` as standard input and the log as standard output, so that neither a
/// script's child nor a stray write can touch the protocol. First thing of all.
pub(super) fn claim() -> anyhow::Result<Ends> {
    let told = "cannot set up standard input and output";
    let read = fcntl_dupfd_cloexec(stdin(), 3).context(told)?;
    let write = fcntl_dupfd_cloexec(stdout(), 3).context(told)?;
    let nothing = std::fs::File::open("/dev/null").context(told)?;
    dup2_stdin(nothing.as_fd()).context(told)?;
    dup2_stdout(stderr()).context(told)?;
    Ok(Ends { read, write })
}

/// Both directions of a pair of pipes, to the daemon or to a child, without waiting unless asked to.
#[derive(Debug)]
pub(super) struct Pipes {
    receiver: Receiver,
    /// `None`: closed, by us.
    sender: Option<Sender>,
    framer: Framer,
    buffer: Box<[u8]>,
    /// What came in one read with the first line, and has not been looked at.
    early: Vec<u8>,
    /// On its way out, and how much of it is gone.
    leaving: Vec<u8>,
    gone: usize,
    broken: bool,
    /// First byte and length of an over-long line that was skipped.
    skipped: Option<(u8, usize)>,
}

/// What one look at the daemon's pipe brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    More,
    /// Nothing is there now.
    Nothing,
    End,
}

impl Pipes {
    pub(super) fn new(ends: Ends) -> anyhow::Result<Self> {
        let told = "standard input and output must be pipes: `moonkeep worker` is started by the daemon, not by hand; use `moonkeep run FILE`";
        Ok(Pipes {
            receiver: Receiver::from_owned_fd(ends.read).context(told)?,
            sender: Some(Sender::from_owned_fd(ends.write).context(told)?),
            framer: Framer::new(2 * limits::LINE_BYTES),
            buffer: vec![0; limits::READ_BYTES].into_boxed_slice(),
            early: Vec::new(),
            leaving: Vec::new(),
            gone: 0,
            broken: false,
            skipped: None,
        })
    }

    /// Waits until there may be something to read. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if !self.early.is_empty() {
            return Ok(());
        }
        self.receiver.readable().await
    }

    /// Takes what is there now, at most one buffer full, and gives each line to `each`.
    pub(super) fn take(&mut self, mut each: impl FnMut(&[u8])) -> Input {
        let early = std::mem::take(&mut self.early);
        let mut bytes = early.as_slice();
        if early.is_empty() {
            let count = match read_now(&mut self.receiver, &mut self.buffer) {
                Poll::Ready(Ok(0) | Err(_)) => return Input::End,
                Poll::Ready(Ok(count)) => count,
                Poll::Pending => return Input::Nothing,
            };
            bytes = &self.buffer[..count];
        }
        while let Some(frame) = self.framer.next(&mut bytes) {
            match frame {
                Frame::Line(line) => each(line),
                Frame::TooLong { first, dropped } => self.skipped = Some((first, dropped)),
            }
        }
        Input::More
    }

    /// The over-long line that the last [`Pipes::take`] skipped: its first byte, and its length. The daemon's own
    /// lines have a limit below ours.
    pub(super) fn skipped(&mut self) -> Option<(u8, usize)> {
        self.skipped.take()
    }

    /// The first line. What came with it is given by the next [`Pipes::take`]. `None`: the daemon has gone.
    pub(super) async fn first_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            self.readable().await?;
            let count = match read_now(&mut self.receiver, &mut self.buffer) {
                Poll::Ready(Ok(0)) => return Ok(None),
                Poll::Ready(count) => count.context("cannot read the daemon's first line")?,
                Poll::Pending => continue,
            };
            let mut bytes = &self.buffer[..count];
            match self.framer.next(&mut bytes) {
                None => {}
                Some(Frame::Line(line)) => {
                    let line = line.to_vec();
                    self.early = bytes.to_vec();
                    return Ok(Some(line));
                }
                Some(Frame::TooLong { .. }) => {
                    anyhow::bail!("the daemon's first line is too long")
                }
            }
        }
    }

    /// Whether something waits to be written for which the pipe has had no room.
    pub(super) fn is_stuck(&self) -> bool {
        self.gone < self.leaving.len()
    }

    /// Waits until the pipe has room. Cancel safe.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match &self.sender {
            Some(sender) => sender.writable().await,
            None => std::future::pending().await,
        }
    }

    /// The other end sees the end once what has been written is read. What was not written yet is lost.
    pub(super) fn close_writing(&mut self) {
        self.sender = None;
    }

    /// Writes as much as fits. When the daemon is gone, everything is thrown away.
    pub(super) fn send(&mut self, outbox: &Outbox) {
        loop {
            if !self.is_stuck() {
                if outbox.is_empty() {
                    return;
                }
                outbox.swap(&mut self.leaving);
                self.gone = 0;
            }
            let Some(sender) = self.sender.as_ref().filter(|_| !self.broken) else {
                self.gone = self.leaving.len();
                continue;
            };
            match sender.try_write(&self.leaving[self.gone..]) {
                Ok(count) => self.gone += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.broken = true,
            }
        }
    }

    /// Writes everything that waits, for as long as the pipe takes it within `limits::WRITE_DEADLINE`.
    pub(super) async fn flush(&mut self, outbox: &Outbox) {
        let all = async {
            loop {
                self.send(outbox);
                if !self.is_stuck() || self.writable().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(limits::WRITE_DEADLINE, all).await;
    }
}

/// What is there now. Unlike `try_read`, this knows from a read that did not fill the buffer that the pipe is
/// empty, so that no second read has to find that out.
fn read_now(receiver: &mut Receiver, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(buffer);
    // Nobody needs to be woken: whoever waits does so in `readable`.
    let mut nobody = Turn::from_waker(Waker::noop());
    Pin::new(receiver)
        .poll_read(&mut nobody, &mut room)
        .map_ok(|()| room.filled().len())
}
