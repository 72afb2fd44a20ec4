//! One daemon for a home: the lock that is held for life, the socket and the pid file that follow from it.
//!
//! The kernel's lock on `state/daemon.lock` decides, nothing else does: no pid is ever looked at to
//! learn whether a daemon lives, and no process is ever signalled here. The lock file is never
//! removed. Only the holder touches the socket and the pid file, so what lies at their paths when the
//! lock is won is debris, whatever it is; it is replaced or moved aside without being followed.
//!
//! The lock file's text says to losers who holds it. It is written for people and never believed.

mod debris;
mod lock;
mod socket;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use rustix::fs::OFlags;

use crate::limits;
use crate::paths::{self, Home, Runtime};
use crate::proto::ids::DaemonId;

pub use debris::Stale;
pub use lock::Holder;
use lock::Lock;
pub(crate) use socket::Listening;

/// Why a daemon cannot have the home.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("Daemon startup already in progress. Wait a moment and try again.")]
    Starting,
    #[error("already running (pid {pid}, uuid {uuid})")]
    Running { pid: u32, uuid: String },
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// The right to be the daemon of a home, from [`Claim::take`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lock: Lock,
    home: Home,
    runtime: Runtime,
    daemon: DaemonId,
}

/// A claim whose files are cleared away and whose lock is still held.
#[derive(Debug)]
pub(crate) struct Released {
    _lock: Lock,
}

/// What a look at our files found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ours,
    /// The socket is not ours any more, or gone: bind again.
    SocketLost,
    /// Another daemon holds the lock file that is at its path now: leave.
    Replaced,
}

impl Claim {
    /// Takes the lock of `home` and marks it "starting".
    ///
    /// # Errors
    /// Who has it, or what is in the way and what to do about it. Nothing is left changed then.
    pub(crate) fn take(home: &Home, daemon: DaemonId) -> Result<Self, ClaimError> {
        Claim::take_in(home, home.runtime(), daemon)
    }

    fn take_in(home: &Home, runtime: Runtime, daemon: DaemonId) -> Result<Self, ClaimError> {
        paths::make_private(&home.state()).with_context(|| {
            format!(
                "cannot create {}; make the home writable for this user",
                home.state().display()
            )
        })?;
        let mut lock = take_lock(home, &runtime)?;
        lock.say("starting").with_context(|| {
            format!("cannot write {}; is the disk full?", home.lock().display())
        })?;
        runtime.create()?;
        Ok(Claim {
            lock,
            home: home.clone(),
            runtime,
            daemon,
        })
    }

    /// Binds the socket and puts it and the pid file in their places. The folder is created again
    /// should it have gone.
    ///
    /// # Errors
    /// If the runtime folder is not ours alone, or the system refuses.
    pub(crate) fn listen(&mut self) -> anyhow::Result<Listening> {
        self.runtime.create()?;
        let listening = socket::listen(&self.runtime)?;
        self.write_pid_file()?;
        // Only for those whose environment leads elsewhere: without it they are told how to look.
        let _note = self.note_socket();
        self.say_running()?;
        Ok(listening)
    }

    /// Looks whether lock and socket are still what they were.
    ///
    /// A lock file that somebody deleted is made again and locked, if nobody was faster.
    pub(crate) fn look(&mut self, listening: &Listening) -> Standing {
        if !self.lock.is_in_place(&self.home.lock()) {
            match Lock::take(&self.home.lock()) {
                Ok(fresh) => {
                    self.lock = fresh;
                    // Only the text for losers: without it they are told "starting".
                    let _text = self.say_running();
                }
                Err(_) => return Standing::Replaced,
            }
        }
        if listening.is_in_place(&self.runtime) {
            Standing::Ours
        } else {
            Standing::SocketLost
        }
    }

    /// Removes socket and pid file. The lock is given back when the result is dropped: last of all, so
    /// that whoever waits for the lock finds nothing of us left.
    #[must_use]
    pub(crate) fn release(mut self, listening: &Listening) -> Released {
        if !self.lock.is_in_place(&self.home.lock()) {
            return Released { _lock: self.lock };
        }
        if listening.is_in_place(&self.runtime) {
            let _gone = std::fs::remove_file(self.runtime.socket());
        }
        let _gone = std::fs::remove_file(self.runtime.pid_file());
        let _gone = std::fs::remove_file(self.home.socket_note());
        let _text = self.lock.say("stopped");
        Released { _lock: self.lock }
    }

    fn say_running(&mut self) -> anyhow::Result<()> {
        let text = format!("running {} {}", std::process::id(), self.daemon);
        self.lock.say(&text).with_context(|| {
            format!(
                "cannot write {}; is the disk full?",
                self.home.lock().display()
            )
        })
    }

    fn note_socket(&self) -> io::Result<()> {
        let path = self.home.socket_note();
        debris::clear(&path)?;
        create_new(&path)?.write_all(self.runtime.socket().as_os_str().as_encoded_bytes())
    }

    fn write_pid_file(&self) -> anyhow::Result<()> {
        let path = self.runtime.pid_file();
        let write = || -> io::Result<()> {
            let fresh = self
                .runtime
                .folder()
                .join(format!("p.{}", std::process::id()));
            debris::clear(&fresh)?;
            let mut file = create_new(&fresh)?;
            writeln!(file, "{}", std::process::id())?;
            debris::clear_folder(&path)?;
            std::fs::rename(&fresh, &path)
        };
        write().with_context(|| format!("cannot write the pid file {}", path.display()))
    }
}

/// Takes the lock. A daemon that is killed while it starts a worker leaves a copy of the lock's descriptor in a
/// process that has not become the worker yet, and closes it by becoming one: a lock that somebody holds without
/// serving is soon free.
fn take_lock(home: &Home, runtime: &Runtime) -> Result<Lock, ClaimError> {
    let until = Instant::now() + limits::DEAD_HOLDER;
    let is_served = || {
        [runtime.socket(), locate(home)]
            .iter()
            .any(|path| socket::is_served(path))
    };
    loop {
        match Lock::take(&home.lock()) {
            Err(ClaimError::Running { .. }) if Instant::now() < until && !is_served() => {}
            taken => return taken,
        }
    }
}

/// Removes what a dead daemon left behind, if no daemon lives: the lock is taken first, so that a
/// daemon that starts at the same moment never loses its socket. `None`: there was nothing to remove,
/// or a daemon lives.
#[must_use]
pub fn clean_stale(home: &Home) -> Option<Stale> {
    clean_stale_in(home, &home.runtime())
}

fn clean_stale_in(home: &Home, runtime: &Runtime) -> Option<Stale> {
    if !runtime.folder().is_dir() || !home.state().is_dir() {
        return None;
    }
    let _lock = Lock::take(&home.lock()).ok()?;
    debris::remove_stale(runtime)
}

/// Where to reach the daemon of `home`: the place that this environment leads to, or, if nothing is
/// there, the one that a daemon which was started in another environment has noted.
#[must_use]
pub fn locate(home: &Home) -> PathBuf {
    let usual = home.runtime().socket();
    if usual.exists() {
        return usual;
    }
    match debris::read_path(&home.socket_note()) {
        Some(noted) if noted.exists() => noted,
        _ => usual,
    }
}

/// Who holds the home's lock now, if anybody does. For texts; stale as soon as it is said.
#[must_use]
pub fn holder(home: &Home) -> Option<Holder> {
    lock::holder(&home.lock())
}

fn create_new(path: &Path) -> io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Names a file for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(facts: &std::fs::Metadata) -> Self {
        Inode {
            device: facts.dev(),
            number: facts.ino(),
        }
    }

    /// Of what is at `path` itself, links not followed.
    fn at(path: &Path) -> Option<Self> {
        std::fs::symlink_metadata(path)
            .ok()
            .map(|facts| Inode::of(&facts))
    }
}

#[cfg(test)]
mod tests;
