//! What a worker leaves behind for the next daemon: the record of what it began and how that ended, and a lock
//! that says that it still lives.
//!
//! A request's beginning is in the file before anything of it runs; its end is there before the answer's first
//! byte leaves. Ends wait in memory until [`Records::flush`], so that many share one write. The file survives the
//! worker and the daemon, not a loss of power: nothing here waits for a disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::FdFlags;
use uuid::Uuid;

use crate::limits;
use crate::lua::host::Outbox;
use crate::lua::log;
use crate::paths;
use crate::proto::codec;
use crate::proto::messages::{Body, Dispatch, ErrorCode, Notice, Refusal, Setup};
use crate::proto::outcome::{self, Header};
use crate::weakenings::{Weakened, Weakening};

/// Between two attempts at the lock.
const LOCK_LOOK: Duration = Duration::from_millis(10);
/// Heartbeats that are kept in mind. The daemon sends none that is older than the one before the last, unless its
/// journal is in trouble.
const BEATS: usize = 64;
/// Only the owner, who is the daemon's user.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// See the module.
#[derive(Debug)]
pub(super) struct Records {
    /// Held until the process is gone.
    lock: Option<OwnedFd>,
    /// `None`: nothing is written down.
    file: Option<File>,
    header: Option<Header>,
    /// Lines for the next write.
    waiting: RefCell<Vec<u8>>,
    /// Bytes of whole lines in the file.
    size: Cell<u64>,
    /// What has begun and not ended.
    open: RefCell<BTreeSet<Uuid>>,
    /// The last heartbeats: their numbers, and the file's size when they were answered.
    beats: RefCell<VecDeque<(u64, u64)>>,
    /// The last write failed; that has been said.
    failing: Cell<bool>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending<'a> {
    Body(&'a Body),
    /// A result that is one value of JSON on one line.
    Result(&'a [u8]),
}

/// The name under which a request is recorded; `None`: it is not.
pub(super) fn key(dispatch: &Dispatch) -> Option<Uuid> {
    let id = dispatch.id.as_ref().filter(|_| dispatch.record)?;
    id.key()
}

impl Records {
    /// Takes the lock and makes the file, with its first line. Before anything of the script is loaded.
    ///
    /// # Errors
    /// If another process holds the lock for itself for longer than [`limits::SCRIPT_LOCK_TIMEOUT`], or if lock or
    /// file cannot be made.
    pub(super) async fn open(setup: &Setup, weakened: Weakened) -> anyhow::Result<Self> {
        let mut records = Records::nowhere();
        if !weakened.has(Weakening::NoLocks) {
            records.lock = Some(take_lock(&setup.lock).await?);
        }
        if !weakened.has(Weakening::NoRecords) {
            let file = make_file(&setup.outcomes).with_context(|| {
                format!(
                    "cannot make the outcome record {}; make its folder yours alone and free space",
                    setup.outcomes.display()
                )
            })?;
            records.file = Some(file);
            let header = header()?;
            records.header = Some(header);
            outcome::print_header(header, &mut records.waiting.borrow_mut());
            records.write().with_context(|| {
                format!(
                    "cannot write the outcome record {}; free space",
                    setup.outcomes.display()
                )
            })?;
        }
        Ok(records)
    }

    /// Writes nothing, holds nothing.
    pub(super) fn nowhere() -> Self {
        Records {
            lock: None,
            file: None,
            header: None,
            waiting: RefCell::default(),
            size: Cell::new(0),
            open: RefCell::default(),
            beats: RefCell::default(),
            failing: Cell::new(false),
        }
    }

    /// Starts a child that holds the lock too: should it outlive this process, the script is still running.
    pub(super) fn with_lock_inherited<T>(&self, start: impl FnOnce() -> T) -> T {
        let mark = |flags| {
            if let Some(lock) = &self.lock {
                // The descriptor is ours and open.
                let _ = rustix::io::fcntl_setfd(lock, flags);
            }
        };
        mark(FdFlags::empty());
        let started = start();
        mark(FdFlags::CLOEXEC);
        started
    }

    /// Writes down that these begin; those that are not to be recorded are passed over.
    ///
    /// # Errors
    /// None of them may run: their answer.
    pub(super) fn begin(&self, requests: &[Dispatch]) -> Result<(), Refusal> {
        if self.file.is_none() {
            return Ok(());
        }
        for id in requests.iter().filter_map(key) {
            outcome::print_begun(id, &mut self.waiting.borrow_mut());
            self.open.borrow_mut().insert(id);
        }
        self.write().map_err(|error| {
            for id in requests.iter().filter_map(key) {
                self.open.borrow_mut().remove(&id);
            }
            Refusal::new(
                ErrorCode::Internal,
                format!(
                    "it did not run: the worker cannot write its outcome record ({error}); free space, then ask again with a new id"
                ),
            )
        })
    }

    /// Notes an end; [`Records::flush`] writes it. That nobody knows how it ended is not worth a line: it follows
    /// from there being none.
    pub(super) fn end(&self, id: Uuid, ending: Ending<'_>) {
        if self.file.is_none() {
            return;
        }
        self.open.borrow_mut().remove(&id);
        let waiting = &mut *self.waiting.borrow_mut();
        match ending {
            Ending::Body(Body::Error(refusal)) if refusal.code == ErrorCode::OutcomeUnknown => {}
            Ending::Body(body) => outcome::print_ended(id, body, waiting),
            Ending::Result(result) => outcome::print_result(id, result, waiting),
        }
    }

    /// Writes the ends that wait. To be called before their answers leave, with the box in which these wait. After a
    /// failure the daemon hears first that they stand nowhere: then it writes them down before it passes them on.
    pub(super) fn flush(&self, outbox: &Outbox) {
        if self.write().is_err() {
            outbox.push_first(|out| codec::encode_notice(&Notice::Unrecorded, out));
        }
    }

    /// The worker leaves in good order: nothing follows.
    pub(super) fn close(&self) {
        if self.file.is_some() {
            outcome::print_closed(&mut self.waiting.borrow_mut());
            let _said_already = self.write();
        }
    }

    /// A heartbeat is about to be answered. What was answered before that of `settled` is in the journal, so the
    /// record may forget it; it does once enough has come together.
    pub(super) fn settle(&self, beat: u64, settled: Option<u64>) {
        let mut beats = self.beats.borrow_mut();
        let known = beats.partition_point(|(earlier, _)| Some(*earlier) <= settled);
        let needless = beats.drain(..known).next_back();
        if let Some((earlier, size)) = needless {
            if size < limits::OUTCOME_SPARE_BYTES {
                beats.push_front((earlier, size));
            } else if self.forget(size).is_ok_and(|forgotten| forgotten) {
                beats.clear();
            }
        }
        if beats.len() > BEATS {
            beats.pop_back();
        }
        beats.push_back((beat, self.size.get()));
    }

    /// Writes the record anew, at its own beginning: the header, the beginnings of what runs, and what follows the
    /// first `needless` bytes. That must all fit into these bytes (`false`: it does not yet). So a worker that is
    /// killed meanwhile leaves what followed where it was, behind a torn line that makes its record incomplete.
    fn forget(&self, needless: u64) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let mut kept = Vec::new();
        if let Some(header) = self.header {
            outcome::print_header(header, &mut kept);
        }
        for id in self.open.borrow().iter() {
            outcome::print_begun(*id, &mut kept);
        }
        let rest = self.size.get() - needless;
        if kept.len() as u64 + rest > needless {
            return Ok(false);
        }
        let begin = kept.len();
        kept.resize(begin + usize::try_from(rest).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut kept[begin..], needless)?;
        file.write_all_at(&kept, 0)?;
        self.size.set(kept.len() as u64);
        file.set_len(kept.len() as u64)?;
        Ok(true)
    }

    /// One write. What cannot be written whole is taken back, and forgotten.
    fn write(&self) -> io::Result<()> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(file) = self.file.as_ref().filter(|_| !waiting.is_empty()) else {
            return Ok(());
        };
        let written = file.write_all_at(&waiting, self.size.get());
        let bytes = waiting.len() as u64;
        waiting.clear();
        waiting.shrink_to(limits::READ_BYTES);
        match &written {
            Ok(()) => {
                self.size.set(self.size.get() + bytes);
                self.failing.set(false);
            }
            Err(error) => {
                // Else the next line would continue a torn one; behind a newline it at least stands alone.
                if file.set_len(self.size.get()).is_err() {
                    waiting.push(b'\n');
                }
                self.complain(error);
            }
        }
        written
    }

    /// Once until it works again.
    fn complain(&self, error: &io::Error) {
        if !self.failing.replace(true) {
            log::line(
                "error",
                &format!(
                    "the outcome record cannot be written ({error}): if the daemon ends now, what ran counts as unknown; free space"
                ),
            );
        }
    }
}

async fn take_lock(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let lock = rustix::fs::open(path, flags | OFlags::CLOEXEC, PRIVATE)
        .with_context(|| format!("cannot open the script's lock {}", path.display()))?;
    let facts = rustix::fs::fstat(&lock)?;
    anyhow::ensure!(
        FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile,
        "the script's lock {} is no file; remove it",
        path.display()
    );
    let begun = Instant::now();
    while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
        anyhow::ensure!(
            error == rustix::io::Errno::WOULDBLOCK && begun.elapsed() < limits::SCRIPT_LOCK_TIMEOUT,
            "cannot take the script's lock {}: {error}; does another daemon look after an earlier worker of it?",
            path.display()
        );
        tokio::time::sleep(LOCK_LOOK).await;
    }
    Ok(lock)
}

fn make_file(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        paths::make_private(folder)?;
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = rustix::fs::open(path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, PRIVATE)?;
    Ok(File::from(file))
}

/// Who writes here.
fn header() -> anyhow::Result<Header> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("boot_id")?;
    Ok(Header {
        pid: std::process::id(),
        started: started(&stat).context("/proc/self/stat does not say when this process began")?,
        boot: Uuid::try_parse(boot.trim()).context("boot_id is no id")?,
    })
}

/// The 22nd field. The second is a name in parentheses that may hold anything.
fn started(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests;
