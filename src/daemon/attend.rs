//! The task of one worker: reads its lines, sends what the core could not, keeps its log, sees it die.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::process::Pid;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::child::{self, Ends, Process};
use super::inbox::Inbox;
use super::journal::outcomes;
use super::lane::{Lane, Scratch, Writer};
use super::logs::WorkerLog;
use crate::engine::alphabet::{Input, Kill, Peer};
use crate::limits;
use crate::proto::codec;
use crate::proto::framer::{Frame, Framer};
use crate::proto::ids::WorkerId;
use crate::proto::messages::FromWorker;
use crate::sys;

/// What the core holds of a worker.
#[derive(Debug)]
pub(super) struct WorkerHandle {
    pub(super) lane: Rc<Lane>,
    group: Rc<Cell<Option<Pid>>>,
}

impl WorkerHandle {
    /// Signals the worker's group; after its death nothing.
    pub(super) fn signal(&self, kill: Kill) {
        if let Some(group) = self.group.get() {
            child::signal(group, kill);
        }
    }
}

/// The task's half.
pub(super) struct Attendant {
    worker: WorkerId,
    process: Process,
    death: AsyncFd<OwnedFd>,
    /// `None` once the process is reaped: the number may be another's then.
    group: Rc<Cell<Option<Pid>>>,
    lane: Rc<Lane>,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    framer: Framer,
}

/// Joins a process and its pipes to the runtime.
///
/// # Errors
/// If the runtime cannot watch the pipes; the process is killed then.
pub(super) fn attend(
    worker: WorkerId,
    process: Process,
    ends: Ends,
) -> io::Result<(WorkerHandle, Attendant)> {
    let joined = || -> io::Result<_> {
        Ok((
            sys::watch(ends.death)?,
            pipe::Sender::from_owned_fd(ends.stdin)?,
            pipe::Receiver::from_owned_fd(ends.stdout)?,
            pipe::Receiver::from_owned_fd(ends.stderr)?,
        ))
    };
    let (death, stdin, stdout, stderr) = match joined() {
        Ok(joined) => joined,
        Err(error) => {
            child::signal(process.group(), Kill::Kill);
            process.bury();
            return Err(error);
        }
    };
    let lane = Lane::new(Writer::Pipe(stdin));
    let group = Rc::new(Cell::new(Some(process.group())));
    let handle = WorkerHandle {
        lane: Rc::clone(&lane),
        group: Rc::clone(&group),
    };
    let attendant = Attendant {
        worker,
        process,
        death,
        group,
        lane,
        stdout,
        stderr,
        framer: Framer::new(limits::LINE_BYTES),
    };
    Ok((handle, attendant))
}

impl Attendant {
    /// Attends the worker to its death, and tells the core of it last of all.
    pub(super) async fn run(
        self,
        inbox: Rc<Inbox>,
        scratch: Scratch,
        log: WorkerLog,
        record: PathBuf,
    ) {
        let Attendant {
            worker,
            process,
            death,
            group,
            lane,
            stdout,
            stderr,
            framer,
        } = self;
        let tail = Rc::new(RefCell::new(Tail::default()));
        let mut printing = JoinSet::new();
        printing.spawn_local(follow(stderr, scratch.clone(), log, Rc::clone(&tail)));
        let mut speech = Speech {
            worker: &worker,
            stdout: Some(stdout),
            framer,
            filled: false,
        };
        speech.hear_until(&death, &lane, &inbox, &scratch).await;
        group.set(None);
        let exit = process.bury();
        // Something that outlived the group may hold the pipes for ever: what is in them now is all we want.
        let until = Instant::now() + limits::DRAIN_AT_EXIT;
        speech.hear_rest(&inbox, &scratch, until).await;
        let _outlived = timeout_at(until, printing.join_next()).await;
        let stderr = tail.borrow().lines();
        let reading = spawn_blocking(move || outcomes::read(&record));
        let outcomes = reading.await.unwrap_or_default();
        inbox.push(Input::Exited {
            worker: worker.clone(),
            exit,
            stderr,
            outcomes,
        });
    }
}

/// A worker's standard output.
struct Speech<'w> {
    worker: &'w WorkerId,
    /// `None`: it has closed it.
    stdout: Option<pipe::Receiver>,
    framer: Framer,
    /// The last read filled the buffer: there is more, and the core has to take this first.
    filled: bool,
}

impl Speech<'_> {
    async fn hear_until(
        &mut self,
        death: &AsyncFd<OwnedFd>,
        lane: &Lane,
        inbox: &Inbox,
        scratch: &Scratch,
    ) {
        loop {
            self.let_core_take(inbox).await;
            let listens = self.stdout.is_some() && !lane.is_paused();
            tokio::select! {
                biased;
                // Cancel safe: it only waits. The pidfd stays readable, so nothing is lost either way.
                _ready = death.readable() => return,
                // Cancel safe: a change that nobody waited for is remembered.
                () = lane.changed() => {}
                // Cancel safe: it only waits.
                () = lane.writable(), if lane.is_blocked() => {
                    let cost = lane.flush();
                    if cost > 0 {
                        inbox.push(Input::Flushed { peer: Peer::Worker(self.worker.clone()), cost });
                    }
                }
                // Cancel safe: see `Scratch::read`.
                () = self.hear(inbox, scratch), if listens => {}
            }
        }
    }

    /// Takes in what is left in the pipe.
    async fn hear_rest(&mut self, inbox: &Inbox, scratch: &Scratch, until: Instant) {
        while self.stdout.is_some() {
            self.let_core_take(inbox).await;
            if timeout_at(until, self.hear(inbox, scratch)).await.is_err() {
                return;
            }
        }
    }

    /// Reads once. Cancel safe.
    async fn hear(&mut self, inbox: &Inbox, scratch: &Scratch) {
        let Some(stdout) = &mut self.stdout else {
            return;
        };
        let (worker, framer) = (self.worker, &mut self.framer);
        let read = scratch.read(stdout, |bytes| take_in(worker, framer, inbox, bytes));
        match read.await {
            Ok(count @ 1..) => self.filled = count == limits::READ_BYTES,
            Ok(0) | Err(_) => self.stdout = None,
        }
    }

    async fn let_core_take(&mut self, inbox: &Inbox) {
        if std::mem::take(&mut self.filled) {
            inbox.taken().await;
        }
    }
}

fn take_in(worker: &WorkerId, framer: &mut Framer, inbox: &Inbox, mut bytes: &[u8]) {
    while let Some(frame) = framer.next(&mut bytes) {
        let message = match frame {
            Frame::Line(line) => codec::decode_worker(line),
            Frame::TooLong { first, dropped } => {
                FromWorker::Malformed(codec::too_long(first, dropped, limits::LINE_BYTES))
            }
        };
        inbox.push(Input::FromWorker {
            worker: worker.clone(),
            message,
        });
    }
}

/// Takes what a worker prints from its pipe, for its log and its last lines.
async fn follow(
    mut stderr: pipe::Receiver,
    scratch: Scratch,
    mut log: WorkerLog,
    tail: Rc<RefCell<Tail>>,
) {
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        let read = scratch.read(&mut stderr, |bytes| chunk.extend_from_slice(bytes));
        if !matches!(read.await, Ok(1..)) {
            break;
        }
        tail.borrow_mut().add(&chunk);
        log.chunk(&chunk).await;
        // One that prints without end must not keep the others from their turn.
        tokio::task::yield_now().await;
    }
    log.ended().await;
}

/// The end of what a worker has printed.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

/// Bytes of it that are kept.
const TAIL_BYTES: usize = 16 * 1024;

impl Tail {
    fn add(&mut self, chunk: &[u8]) {
        let kept = &chunk[chunk.len().saturating_sub(TAIL_BYTES)..];
        let beyond = (self.0.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.0.drain(..beyond.min(self.0.len()));
        self.0.extend(kept);
    }

    fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let skipped = lines.len().saturating_sub(limits::STDERR_TAIL_LINES);
        lines[skipped..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines_in_bounded_memory() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        tail.add(&vec![b'x'; TAIL_BYTES / 2]);
        assert!(tail.0.len() <= TAIL_BYTES);
        let lines = tail.lines();
        assert_eq!(lines.len(), limits::STDERR_TAIL_LINES);
        assert_eq!(lines[lines.len() - 2], "line 9999");
    }
}
