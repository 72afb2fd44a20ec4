//! The thread that does for the journal what can wait for the disk: syncs, checkpoints, repairs, the reserve.
//!
//! It syncs beside the core, which goes on writing; for everything else the core hands it the store and is
//! without one until it comes back. It decides nothing about requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::Notify;

use super::files::Reserve;
use super::outcomes;
use super::store::{Barrier, Store, Trouble};
use crate::engine::records::Mark;
use crate::limits;

/// How long the thread rests when nothing is due: any time will do.
const REST: Duration = Duration::from_secs(3_600);

/// What the core wants done.
#[derive(Debug)]
pub(super) enum Job<S> {
    /// Sync what is written by now.
    Sync,
    /// Do this to the store, then give it back.
    Treat(S, Treatment),
    /// Remove these outcome records.
    Remove(Vec<PathBuf>),
}

/// Why the store was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its log is long enough.
    Checkpoint,
    /// It had no room for a batch.
    MakeRoom,
    /// Somebody else was writing.
    AwaitLock,
    /// A write or a sync failed.
    Repair,
}

/// What the thread has done.
#[derive(Debug)]
pub(super) enum Report<S> {
    /// All up to here survives a power loss.
    Synced(Mark),
    /// What was not synced before may be lost.
    SyncFailed(Trouble),
    /// The store, ready for more.
    Treated {
        store: S,
        /// All that it has written is synced.
        synced: bool,
    },
    /// The treatment goes on, but does not succeed.
    StillFailing(Trouble),
    /// Whether there is space for the ends of what runs; if not, why.
    Reserve(Result<(), String>),
}

/// The core's end.
#[derive(Debug)]
pub(super) struct Syncer<S> {
    jobs: Sender<Job<S>>,
    reports: Receiver<Report<S>>,
    shared: Arc<Shared>,
}

/// What both threads look at.
#[derive(Debug, Default)]
struct Shared {
    /// The newest mark that is written.
    written: AtomicU64,
    /// Rung for each report.
    bell: Notify,
}

impl<S: Store> Syncer<S> {
    /// Starts the thread. It ends when this value is dropped and nothing is left to do.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(barrier: S::Barrier, reserve: Reserve) -> std::io::Result<Self> {
        let (jobs, to_do) = channel();
        let (done, reports) = channel();
        let shared = Arc::<Shared>::default();
        let hand = Hand {
            to_do,
            done,
            shared: Arc::clone(&shared),
            reserve,
            barrier: Some(barrier),
        };
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || hand.run())?;
        Ok(Syncer {
            jobs,
            reports,
            shared,
        })
    }

    /// Lends the thread a job. It is there as long as this value is.
    pub(super) fn give(&self, job: Job<S>) {
        let _always_there = self.jobs.send(job);
    }

    pub(super) fn note_written(&self, mark: Mark) {
        self.shared.written.store(mark.0, Ordering::Release);
    }

    /// The next report, if there is one.
    pub(super) fn report(&self) -> Option<Report<S>> {
        self.reports.try_recv().ok()
    }

    /// Waits until there may be a report. Cancel safe: a ring that nobody waited for is remembered.
    pub(super) async fn stirred(&self) {
        self.shared.bell.notified().await;
    }
}

/// The thread's end.
struct Hand<S: Store> {
    to_do: Receiver<Job<S>>,
    done: Sender<Report<S>>,
    shared: Arc<Shared>,
    reserve: Reserve,
    /// `None` after an error: it is never used again, and the store has to be opened anew.
    barrier: Option<S::Barrier>,
}

/// The core is gone.
struct Over;

impl<S: Store> Hand<S> {
    fn run(mut self) {
        self.keep_reserve();
        loop {
            let rest = match self.reserve.is_held() {
                true => REST,
                false => limits::JOURNAL_ROOM_EVERY,
            };
            match self.to_do.recv_timeout(rest) {
                Ok(Job::Sync) => self.sync(),
                Ok(Job::Treat(store, treatment)) => {
                    if self.treat(store, treatment).is_err() {
                        return;
                    }
                }
                Ok(Job::Remove(records)) => outcomes::remove(&records),
                Err(RecvTimeoutError::Timeout) => self.keep_reserve(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn say(&self, report: Report<S>) {
        let _core_is_gone = self.done.send(report);
        self.shared.bell.notify_one();
    }

    /// Makes the reserve if it is missing, and tells of a change.
    fn keep_reserve(&mut self) {
        if !self.reserve.is_held() {
            let made = self.reserve.make().map_err(|error| format!("{error:#}"));
            self.say(Report::Reserve(made));
        }
    }

    fn sync(&mut self) {
        let Some(barrier) = &mut self.barrier else {
            // The core was told, and is going to hand the store over.
            return;
        };
        // Read before the sync begins: what is written meanwhile may or may not be in it.
        let written = Mark(self.shared.written.load(Ordering::Acquire));
        match barrier.sync() {
            Ok(()) => self.say(Report::Synced(written)),
            Err(trouble) => {
                self.barrier = None;
                self.say(Report::SyncFailed(trouble));
            }
        }
    }

    fn treat(&mut self, store: S, treatment: Treatment) -> Result<(), Over> {
        if self.barrier.is_none() {
            return self.repair(store);
        }
        match treatment {
            Treatment::Repair => self.repair(store),
            Treatment::Checkpoint => self.checkpoint(store),
            Treatment::MakeRoom => self.make_room(store),
            Treatment::AwaitLock => self.await_lock(store),
        }
    }

    fn give_back(&self, store: S, synced: bool) -> Result<(), Over> {
        self.say(Report::Treated { store, synced });
        Ok(())
    }

    fn checkpoint(&mut self, mut store: S) -> Result<(), Over> {
        match store.checkpoint() {
            Ok(()) => self.give_back(store, true),
            // It needs space, or the lock, only now and then: later is as good.
            Err(Trouble::Full(_) | Trouble::Locked(_)) => self.give_back(store, false),
            Err(trouble @ (Trouble::Failed(_) | Trouble::Lost(_))) => {
                self.say(Report::StillFailing(trouble));
                self.repair(store)
            }
        }
    }

    /// Gives the reserve up, or, if that was done before, waits for others to make room.
    fn make_room(&mut self, mut store: S) -> Result<(), Over> {
        let given_up = self.reserve.give_up();
        self.say(Report::Reserve(Err("its reserve is in use".to_owned())));
        if !given_up {
            self.rest(limits::JOURNAL_ROOM_EVERY)?;
        }
        // The log holds many versions of the same pages: begun anew, it has room of its own.
        match store.checkpoint() {
            Ok(()) => self.give_back(store, true),
            Err(Trouble::Full(_) | Trouble::Locked(_)) => self.give_back(store, false),
            Err(trouble @ (Trouble::Failed(_) | Trouble::Lost(_))) => {
                self.say(Report::StillFailing(trouble));
                self.repair(store)
            }
        }
    }

    fn await_lock(&mut self, mut store: S) -> Result<(), Over> {
        while let Err(trouble) = store.await_lock() {
            self.say(Report::StillFailing(trouble));
            self.rest(limits::JOURNAL_ROOM_EVERY)?;
        }
        self.give_back(store, false)
    }

    /// Opens the store anew until it is sound and all of it is on the disk.
    fn repair(&mut self, store: S) -> Result<(), Over> {
        self.barrier = None;
        let mut shut = store.shut();
        loop {
            let trouble = match self.open_again(&shut) {
                Ok(store) => return self.give_back(store, true),
                Err((None, trouble)) => trouble,
                Err((Some(store), trouble)) => {
                    self.barrier = None;
                    shut = store.shut();
                    trouble
                }
            };
            self.say(Report::StillFailing(trouble));
            self.rest(limits::JOURNAL_REOPEN_EVERY)?;
        }
    }

    fn open_again(&mut self, shut: &S::Shut) -> Result<S, (Option<S>, Trouble)> {
        let opened = match S::open_again(shut) {
            Err(Trouble::Lost(text)) => {
                self.say(Report::StillFailing(Trouble::Lost(text)));
                S::start_over(shut)
            }
            other => other,
        };
        let mut store = opened.map_err(|trouble| (None, trouble))?;
        match store.checkpoint().and_then(|()| store.barrier()) {
            Ok(barrier) => {
                self.barrier = Some(barrier);
                Ok(store)
            }
            Err(trouble) => Err((Some(store), trouble)),
        }
    }

    /// Waits without a store, so that nothing but the core's end can come in.
    fn rest(&mut self, time: Duration) -> Result<(), Over> {
        match self.to_do.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) | Ok(Job::Sync) => Ok(()),
            Ok(Job::Remove(records)) => {
                outcomes::remove(&records);
                Ok(())
            }
            Ok(Job::Treat(..)) => {
                debug_assert!(false, "the core has no store to hand over");
                Ok(())
            }
            Err(RecvTimeoutError::Disconnected) => Err(Over),
        }
    }
}
