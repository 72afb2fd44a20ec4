//! The lock file: opened without following anything, locked by the kernel, never removed.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::fs::OFlags;

use super::{ClaimError, Inode, debris};

/// Every text is this long, blanks at its end: one write replaces it whole, so a reader never sees half of two.
const TEXT_BYTES: usize = 96;
/// How long a try goes on. A `status` that cleans up holds the lock for less; whoever starts holds it longer.
const PATIENCE: Duration = Duration::from_millis(20);
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

/// Who holds a lock, as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Starting,
    Running { pid: u32, uuid: String },
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    inode: Inode,
}

impl Lock {
    /// # Errors
    /// Who holds it, or why the file cannot be used.
    pub(super) fn take(path: &Path) -> Result<Self, ClaimError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match try_take(path)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() < until => std::thread::sleep(BETWEEN_TRIES),
                None => return Err(held(path)),
            }
        }
    }

    /// Whether the file at `path` is the one that is locked.
    pub(super) fn is_in_place(&self, path: &Path) -> bool {
        Inode::at(path) == Some(self.inode)
    }

    /// Replaces the text that losers are shown.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let line = format!("{text:<width$}\n", width = TEXT_BYTES - 1);
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)
    }
}

/// Who holds the lock at `path`; `None` if nobody does. Takes the lock for a moment to find out.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    let file = open(path, false).ok()?;
    match file.try_lock() {
        Ok(()) | Err(TryLockError::Error(_)) => None,
        Err(TryLockError::WouldBlock) => Some(read_holder(&file)),
    }
}

/// `None`: somebody has it, or it changed under us; worth another try.
fn try_take(path: &Path) -> Result<Option<Lock>, ClaimError> {
    let cannot = || {
        format!(
            "cannot open the lock {}; make its folder writable for this user",
            path.display()
        )
    };
    if debris::is_no_lock(path) {
        debris::clear_lock(path).with_context(cannot)?;
    }
    let file = match open(path, true) {
        Ok(file) => file,
        // Something was put there since the look.
        Err(_) if debris::is_no_lock(path) => return Ok(None),
        Err(error) => return Err(ClaimError::Failed(anyhow!(error).context(cannot()))),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => {
            return Err(ClaimError::Failed(anyhow!(error).context(format!(
                "cannot lock {}; put the home on a file system that has locks",
                path.display()
            ))));
        }
    }
    let facts = file.metadata().with_context(cannot)?;
    let inode = Inode::of(&facts);
    // Replaced, or linked to from elsewhere, between look and lock: this lock would guard nothing.
    let sound = Inode::at(path) == Some(inode) && !debris::is_no_lock(path);
    Ok(sound.then_some(Lock { file, inode }))
}

/// Never follows a link, never waits for the other end of a FIFO, never passed on to a child (std
/// opens close-on-exec).
fn open(path: &Path, create: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

fn held(path: &Path) -> ClaimError {
    let text = open(path, false).map_or(Holder::Starting, |file| read_holder(&file));
    match text {
        Holder::Starting => ClaimError::Starting,
        Holder::Running { pid, uuid } => ClaimError::Running { pid, uuid },
    }
}

/// Anything but a well-formed `running PID UUID` is somebody who has not come so far yet.
fn read_holder(mut file: &File) -> Holder {
    let mut text = [0; TEXT_BYTES];
    let length = file.read(&mut text).unwrap_or(0);
    let words: Vec<&str> = std::str::from_utf8(&text[..length])
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    match words.as_slice() {
        ["running", pid, uuid] => match pid.parse() {
            Ok(pid) => Holder::Running {
                pid,
                uuid: (*uuid).to_owned(),
            },
            Err(_) => Holder::Starting,
        },
        _ => Holder::Starting,
    }
}
