//! Logs: the daemon's own and one for each script, written by one thread behind a bounded channel.
//!
//! What a script prints is always taken from its pipe. The channel is fair, so a script that prints
//! without end waits for the disk while the others' lines pass; if the disk itself hangs, lines are
//! dropped and counted, and the count stands in the log. `record` documents the format.

mod record;
mod rotate;
mod tail;
mod writer;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};

use crate::engine::alphabet::Level;
use crate::paths::Home;
use crate::proto::ids::WorkerId;

pub(crate) use rotate::{open_plain, rotated};
pub use tail::tail;

/// Chunks on their way to the thread, each at most one read.
const CHANNEL_ITEMS: usize = 64;
/// How long a chunk waits for room before its lines are dropped.
const ROOM_WITHIN: Duration = Duration::from_millis(500);

/// One thing to be written.
#[derive(Debug)]
enum Item {
    Note {
        level: Level,
        text: String,
    },
    /// What one read of a worker's standard error gave. `dropped`: lines lost before it.
    Chunk {
        worker: WorkerId,
        bytes: Vec<u8>,
        dropped: u64,
    },
    /// Nothing more comes from this worker.
    Ended {
        worker: WorkerId,
    },
    /// Nothing more comes at all.
    Stop,
}

/// The way to the writer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    items: Sender<Item>,
    notes_dropped: Rc<Cell<u64>>,
}

/// The thread; joined at the end so that nothing is lost.
#[derive(Debug)]
pub(crate) struct LogThread(JoinHandle<()>);

impl LogThread {
    /// Waits until all that was handed in is written; not for a disk that hangs.
    pub(crate) async fn finish(self, logs: Logs) {
        let stop = logs.items.send(Item::Stop);
        if let Ok(Ok(())) = tokio::time::timeout(ROOM_WITHIN, stop).await {
            // A panic of the thread was printed by its hook; the daemon is leaving anyway.
            let _panicked = self.0.join();
        }
    }
}

/// Starts the thread. `echo`: notes go to standard error too, if that is a terminal.
///
/// # Errors
/// If the system has no thread for us.
pub(crate) fn start(home: &Home, echo: bool) -> io::Result<(Logs, LogThread)> {
    let (items, received) = channel(CHANNEL_ITEMS);
    let home = home.clone();
    let thread = std::thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || writer::run(home, received, echo))?;
    let logs = Logs {
        items,
        notes_dropped: Rc::default(),
    };
    Ok((logs, LogThread(thread)))
}

impl Logs {
    /// Adds a line to the daemon's own log. Never waits: with a full channel the line is counted only.
    pub(crate) fn note(&self, level: Level, text: impl Into<String>) {
        let mut text = text.into();
        let dropped = self.notes_dropped.take();
        if dropped > 0 {
            text = format!("{text} [{dropped} lines before this dropped]");
        }
        if self.items.try_send(Item::Note { level, text }).is_err() {
            self.notes_dropped.set(dropped + 1);
        }
    }

    /// The log of one worker.
    pub(crate) fn of(&self, worker: WorkerId) -> WorkerLog {
        WorkerLog {
            logs: self.clone(),
            worker,
            dropped: 0,
        }
    }
}

/// Takes what one worker prints.
#[derive(Debug)]
pub(crate) struct WorkerLog {
    logs: Logs,
    worker: WorkerId,
    /// Lines lost since the last chunk that got through.
    dropped: u64,
}

impl WorkerLog {
    /// Hands over what one read gave; waits for room for a bounded time. Not cancel safe: a chunk whose
    /// wait is dropped is lost.
    pub(crate) async fn chunk(&mut self, bytes: &[u8]) {
        let room = if self.dropped == 0 {
            tokio::time::timeout(ROOM_WITHIN, self.logs.items.reserve())
                .await
                .ok()
                .and_then(Result::ok)
        } else {
            // The disk hangs: do not hold up the script for every chunk.
            self.logs.items.try_reserve().ok()
        };
        match room {
            Some(room) => room.send(Item::Chunk {
                worker: self.worker.clone(),
                bytes: bytes.to_vec(),
                dropped: std::mem::take(&mut self.dropped),
            }),
            None => self.dropped += memchr::memchr_iter(b'\n', bytes).count().max(1) as u64,
        }
    }

    /// Nothing more comes.
    pub(crate) async fn ended(self) {
        let worker = self.worker;
        let sent = self.logs.items.send(Item::Ended { worker });
        let _disk_hangs = tokio::time::timeout(ROOM_WITHIN, sent).await;
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    }
}
