//! What is known of the checks and survives the daemon: `state/checks.db`. It decides nothing about them.
//!
//! The core hands over what is to be kept, once a turn; a thread of its own writes it, all that has come since the last
//! time in one transaction, and says how much of all is done with. What cannot be written stays in its hands and is
//! tried again: the fault is told once, and nothing waits for it. A home without checks has neither file nor thread.

mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

use tokio::sync::watch;

use self::store::{Changes, OpenFault, Store};
use crate::limits;
use crate::monitor::alphabet::{Keep, Kept};
use crate::paths::Home;

/// What the thread says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// So many changes of all are done with: written, or waiting for the disk to take them.
    pub(super) count: u64,
    /// Why what waits cannot be written.
    pub(super) fault: Option<String>,
}

/// The core's side.
#[derive(Debug)]
pub(super) struct Checkbook {
    path: PathBuf,
    /// Of this turn.
    turn: Vec<Keep>,
    thread: Option<Thread>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Thread {
    batches: Sender<Vec<Keep>>,
    handle: JoinHandle<()>,
}

/// What a start found.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) kept: Kept,
    /// What somebody should know of it.
    pub(super) note: Option<String>,
}

impl Checkbook {
    /// Reads what is kept. What cannot be read is set aside, or left alone, and said.
    pub(super) fn open(home: &Home) -> (Self, Opened) {
        let path = home.checks();
        let opened = match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Opened::default(),
            Ok(_) | Err(_) => read(&path),
        };
        let book = Checkbook {
            path,
            turn: Vec::new(),
            thread: None,
            progress: watch::channel(Progress::default()).0,
        };
        (book, opened)
    }

    /// How far it is: changes are seen by whoever waits.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Takes a change, to be written after [`Checkbook::commit`].
    pub(super) fn keep(&mut self, keep: Keep) {
        self.turn.push(keep);
    }

    /// Hands this turn's changes to the thread. Never waits.
    pub(super) fn commit(&mut self) {
        if self.turn.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.turn);
        let count = batch.len() as u64;
        let taken = match self.thread() {
            Ok(thread) => thread.batches.send(batch).is_ok(),
            Err(_) => false,
        };
        if !taken {
            // Without a thread nothing is kept, and nothing waits for that.
            self.progress.send_modify(|progress| {
                progress.count += count;
                progress.fault = Some(format!(
                    "the states of the checks are not kept in {}: there is no thread for it; see `ulimit -u`, and restart the daemon",
                    self.path.display()
                ));
            });
        }
    }

    /// Writes what is left, as far as that is possible now, and ends the thread. May wait for the disk.
    pub(super) fn close(mut self) {
        self.commit();
        if let Some(Thread { batches, handle }) = self.thread.take() {
            drop(batches);
            // A panic of the thread was printed by its hook; the daemon is leaving anyway.
            let _panicked = handle.join();
        }
    }

    fn thread(&mut self) -> io::Result<&Thread> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => {
                let (batches, received) = channel();
                let writer = Writer {
                    path: self.path.clone(),
                    store: None,
                    changes: Changes::new(),
                    progress: self.progress.clone(),
                };
                let handle = std::thread::Builder::new()
                    .name("checks".to_owned())
                    .spawn(move || writer.run(&received))?;
                Thread { batches, handle }
            }
        };
        Ok(self.thread.insert(thread))
    }
}

fn read(path: &Path) -> Opened {
    let found = Store::open(path).and_then(|store| {
        store
            .load()
            .map_err(|error| OpenFault::Damaged(error.into()))
    });
    let shown = path.display();
    match found {
        Ok((kept, 0)) => Opened { kept, note: None },
        Ok((kept, unread)) => Opened {
            kept,
            note: Some(format!(
                "{unread} rows of {shown} could not be read: these checks begin anew"
            )),
        },
        Err(OpenFault::Damaged(error)) => {
            let note = match store::set_aside(path) {
                Ok(aside) => format!(
                    "{shown} was damaged ({error:#}) and is now {}: what was known of the checks is lost, they begin anew",
                    aside.display()
                ),
                Err(why) => format!("{shown} is damaged ({error:#}), and {why:#}"),
            };
            Opened {
                kept: Kept::default(),
                note: Some(note),
            }
        }
        Err(OpenFault::Refused(error)) => Opened {
            kept: Kept::default(),
            note: Some(format!(
                "{shown} cannot be opened: {error:#}; the checks begin anew"
            )),
        },
    }
}

/// The thread's side.
struct Writer {
    path: PathBuf,
    /// Opened with the first change.
    store: Option<Store>,
    /// Not written yet.
    changes: Changes,
    progress: watch::Sender<Progress>,
}

impl Writer {
    /// Works until the core's side is dropped and what was left was tried once more.
    fn run(mut self, batches: &Receiver<Vec<Keep>>) {
        loop {
            let waits = !self.changes.is_empty();
            let next = match waits {
                true => batches.recv_timeout(limits::CHECKBOOK_RETRY),
                false => batches.recv().map_err(RecvTimeoutError::from),
            };
            let taken = match next {
                Ok(batch) => {
                    let more = std::iter::from_fn(|| batches.try_recv().ok());
                    let all: Vec<Keep> = std::iter::once(batch).chain(more).flatten().collect();
                    let count = all.len() as u64;
                    self.changes.extend(all.into_iter().map(store::change_of));
                    count
                }
                Err(RecvTimeoutError::Timeout) => 0,
                Err(RecvTimeoutError::Disconnected) => {
                    if waits {
                        let _told_before = self.write();
                    }
                    return;
                }
            };
            let fault = self.write().err();
            self.progress.send_modify(|progress| {
                progress.count += taken;
                progress.fault = fault;
            });
        }
    }

    /// # Errors
    /// Why what waits is not written, for the log.
    fn write(&mut self) -> Result<(), String> {
        let cannot = |why: String| {
            format!(
                "the states of the checks cannot be written to {}: {why}; free space on that disk, or mend what is in the way; it is tried again every {} s, and what is not written is lost with the daemon",
                self.path.display(),
                limits::CHECKBOOK_RETRY.as_secs()
            )
        };
        let mut store = match self.store.take() {
            Some(store) => store,
            None => Store::open(&self.path).map_err(|fault| match fault {
                OpenFault::Damaged(error) | OpenFault::Refused(error) => {
                    cannot(format!("{error:#}"))
                }
            })?,
        };
        // After a fault it is opened anew: the file may be another by then.
        store
            .write(&self.changes)
            .map_err(|error| cannot(error.to_string()))?;
        self.changes.clear();
        self.store = Some(store);
        Ok(())
    }
}
