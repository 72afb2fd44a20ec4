//! What the daemon knows of requests, and survives it: `state/journal.db`. It decides nothing about requests.
//!
//! The engine wants records written, in its order, and holds back what depends on them. After each batch of
//! inputs the core's thread writes all of them in one transaction ([`Journal::commit`]) and tells the engine at
//! once. That is a write into the kernel's memory, which survives the daemon's death, and takes microseconds.
//! Everything that can wait for the disk is done by another thread, the [`syncer`].
//!
//! ```text
//! Here ──batch──> Here          a write, about 10 us; power: and a nudge for the syncer, which says Synced
//!  │                            log long enough, no room, locked by somebody, failed:
//!  └──Job::Treat──> Away ──Report::Treated──> Here
//! ```
//!
//! While the store is away the records wait here, in order; requests that need them wait with them, all others
//! go on. If that lasts because of a fault, the engine is told, and refuses new ones.
//!
//! # Why it is sound
//!
//! SQLite in WAL mode appends each transaction to `journal.db-wal`; a checkpoint copies the pages into `journal.db`,
//! after which the log begins anew. Each frame of the log carries a sum over all frames before it, so what is
//! read back after a crash is always the beginning of what was written, up to some transaction.
//!
//! - *The writer never syncs* (`synchronous=OFF`, no automatic checkpoints): commits survive the process, and of
//!   the machine's memory whatever `fdatasync` on the log was called for. That the call comes from another
//!   descriptor and thread makes no difference: it covers what was written before it began. The first one also
//!   syncs the database file and the folder, as SQLite made both without.
//! - *Only the syncer's thread checkpoints*, with `synchronous=FULL` and with the store in its hands, so nobody
//!   writes meanwhile: log synced, pages copied, database synced. Nothing is in the log then that is not on the disk elsewhere.
//! - *The writer never begins the log anew*. Without a sync of the new header before the first new frame, a power
//!   loss could leave the old header with some of the old frames and bring back old pages (SQLite's ticket
//!   ff5be73dee). A writer does that only if the whole log is copied; so the checkpoint ends with one transaction
//!   of its own, still at `FULL`: it begins the log anew, header synced first, and leaves a frame that is not copied.
//!   If a reader (somebody's `sqlite3`) keeps the log from beginning anew, that frame is appended, with the same effect.
//! - *The log is not emptied at the end*, which would wait for the disk; the next start reads it.
//! - *After a failed sync* nothing is tried again on that descriptor. The store is closed, its index over the log
//!   forgotten, the log read again and its sums checked; only if all that was written is there is it copied and synced.
//! - What others may do: read (`sqlite3 -readonly`). Whoever writes, or checkpoints, gives up the second and third point.
//!
//! | module | what it owns |
//! |---|---|
//! | [`table`] | the tables, a row's way there and back |
//! | [`store`], [`sqlite`], [`hold`] | what is asked of a store; the one that is a file; a read that it leaves open |
//! | [`syncer`], [`barrier`] | the thread that may wait for the disk; its sync of the log |
//! | [`faults`], [`anew`] | what the engine is told of a store's trouble; a start in the place of a damaged file |
//! | [`files`], [`clock`] | looks at files before they are opened, the reserve; now, this boot |
//! | [`predecessors`], [`outcomes`] | workers of earlier daemons, what workers have written |

mod anew;
mod barrier;
mod clock;
mod faults;
pub(super) mod files;
mod hold;
pub(super) mod outcomes;
mod predecessors;
mod sqlite;
mod store;
mod syncer;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use self::anew::begin_anew;
use self::faults::{disk_full, fault_of};
use self::files::Reserve;
pub(super) use self::predecessors::Held;
use self::sqlite::{OpenFault, Sqlite};
use self::store::{Item, Store, Trouble};
use self::syncer::{Job, Report, Syncer, Treatment};
use crate::engine::alphabet::{Input, Moment};
use crate::engine::records::{JournalFault, Mark, Record, Recovered};
use crate::limits;
use crate::options::Durability;
use crate::paths::Home;

/// The core's side of the journal. `S` is where the records are kept.
#[derive(Debug)]
pub(super) struct Journal<S: Store = Sqlite> {
    store: Place<S>,
    /// Not written yet, in order. The engine takes no new requests while they cannot be.
    waiting: Vec<Item>,
    /// Some of what waits may not be late.
    urgent: bool,
    /// What waits and may be late is written then, if nothing was written before.
    due: Option<Moment>,
    syncer: Syncer<S>,
    safe: Safe,
    asked: Asked,
    look: Look,
    fault: Option<JournalFault>,
    reserve: Result<(), String>,
    told: Told,
    boot: Boot,
    /// The last mark that was appended.
    newest: Mark,
    /// Outcome records, to be removed when all up to the mark is synced.
    spent: Vec<(Mark, Vec<PathBuf>)>,
}

#[derive(Debug)]
enum Place<S> {
    Here(S),
    /// In the syncer's hands.
    Away,
}

/// How far what was given to the journal is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Safe {
    written: Mark,
    synced: Mark,
}

/// What the engine knows.
#[derive(Debug, Default)]
struct Told {
    safe: Safe,
    fault: Option<JournalFault>,
}

/// Syncs that the syncer was asked for and has not reported. One runs; one more covers all that was written
/// since that one began, however much it is.
#[derive(Debug, Default)]
struct Asked(u8);

const SYNCS_ASKED: u8 = 2;

/// Which boot of the machine stands in the journal. Ours only when all that follows from another one is written,
/// so that a daemon that dies before that leaves it to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boot {
    BeforeOurs,
    /// To be written behind what waits.
    OursNext,
    Ours,
}

/// When the log's length is looked at next, and from which length on it is shortened.
#[derive(Debug)]
struct Look {
    commits: u32,
    threshold: u64,
}

/// What the engine has to be told. In this order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    safe: Option<Safe>,
    fault: Option<JournalFault>,
}

impl News {
    pub(in crate::daemon) fn is_none(&self) -> bool {
        self.safe.is_none() && self.fault.is_none()
    }

    /// As the engine hears it.
    pub(super) fn into_inputs(self) -> impl Iterator<Item = Input> {
        let safe = self
            .safe
            .map(|Safe { written, synced }| Input::Journaled { written, synced });
        safe.into_iter().chain(self.fault.map(Input::JournalFailed))
    }
}

impl<S: Store> Journal<S> {
    /// # Errors
    /// If there can be no syncer.
    fn new(store: S, reserve: Reserve) -> anyhow::Result<Self> {
        let barrier = match store.barrier() {
            Ok(barrier) => barrier,
            Err(trouble) => bail!("cannot sync the journal: {}", trouble.text()),
        };
        Ok(Journal {
            syncer: Syncer::start(barrier, reserve)
                .context("cannot start a thread; see `ulimit -u`")?,
            store: Place::Here(store),
            waiting: Vec::new(),
            urgent: false,
            due: None,
            safe: Safe::default(),
            asked: Asked::default(),
            look: Look {
                commits: 0,
                threshold: limits::JOURNAL_LOG_BYTES,
            },
            fault: None,
            // Until it is said otherwise, which is soon.
            reserve: Ok(()),
            told: Told::default(),
            boot: Boot::BeforeOurs,
            newest: Mark::default(),
            spent: Vec::new(),
        })
    }

    /// Takes a record, to be written with the next [`Journal::commit`]. Marks rise. One that may be `late` is written
    /// with the next that may not, or [`limits::LATE_RECORDS`] later.
    pub(super) fn append(&mut self, mark: Mark, level: Durability, record: Record, late: bool) {
        self.newest = mark;
        self.urgent |= !late;
        self.waiting.push(Item {
            mark,
            level,
            record,
        });
    }

    /// The end of a turn of the core: [`Journal::commit`], unless all that waits may be late and is not due.
    pub(super) fn turn(&mut self, now: Moment) -> News {
        self.hear_all();
        if self.rests(now) {
            return self.tell();
        }
        self.commit()
    }

    /// Writes what waits, and says what the engine has to know. Never waits for the disk.
    pub(super) fn commit(&mut self) -> News {
        self.hear_all();
        self.due = None;
        self.write();
        self.urgent = !self.waiting.is_empty();
        self.write_boot();
        self.remove_spent();
        self.tell()
    }

    /// When [`Journal::turn`] has something to write, though nothing else happens.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    fn rests(&mut self, now: Moment) -> bool {
        if self.urgent || self.waiting.is_empty() || self.waiting.len() >= limits::LATE_RECORDS_MOST
        {
            return false;
        }
        now < *self.due.get_or_insert(now.after(limits::LATE_RECORDS))
    }

    fn hear_all(&mut self) {
        while let Some(report) = self.syncer.report() {
            self.hear(report);
        }
    }

    /// The engine has drawn its conclusions from what was recovered, and all its records of them are appended.
    pub(super) fn settle(&mut self) {
        if self.boot == Boot::BeforeOurs {
            self.boot = Boot::OursNext;
        }
    }

    /// The engine knows what stands in these outcome records, and has wanted written what follows from them: once
    /// that is synced they go.
    pub(super) fn spend(&mut self, records: Vec<PathBuf>) {
        if !records.is_empty() {
            self.spent.push((self.newest, records));
        }
    }

    /// Removes an outcome record, some time soon.
    pub(super) fn remove(&self, record: PathBuf) {
        self.syncer.give(Job::Remove(vec![record]));
    }

    /// Waits until there may be something to tell. Cancel safe.
    pub(super) async fn stirred(&self) {
        self.syncer.stirred().await;
    }

    /// Closes it in order. Does not wait for the disk: what is written is written.
    pub(super) fn close(self) {
        match self.store {
            Place::Here(store) => store.close(),
            // Whatever the syncer does with it is sound at every moment.
            Place::Away => {}
        }
    }

    fn hear(&mut self, report: Report<S>) {
        match report {
            Report::Synced(mark) => {
                self.asked.0 = self.asked.0.saturating_sub(1);
                self.safe.synced = self.safe.synced.max(mark);
            }
            Report::SyncFailed(trouble) => {
                self.fault = Some(fault_of(&trouble));
                self.hand_over(Treatment::Repair);
            }
            Report::StillFailing(trouble) => self.fault = Some(fault_of(&trouble)),
            Report::Reserve(reserve) => {
                self.reserve = reserve;
                self.see_to_fault();
            }
            Report::Treated { store, synced } => self.take_back(store, synced),
        }
    }

    fn take_back(&mut self, store: S, synced: bool) {
        let log = store.log_bytes();
        self.store = Place::Here(store);
        self.asked = Asked::default();
        if synced {
            self.safe.synced = self.safe.written;
        }
        // Somebody who reads keeps a log from being shortened: it is given as much again.
        let grown = log.saturating_add(limits::JOURNAL_LOG_BYTES);
        self.look = Look {
            commits: 0,
            threshold: match log < limits::JOURNAL_LOG_BYTES {
                true => limits::JOURNAL_LOG_BYTES,
                false => grown,
            },
        };
        self.see_to_fault();
    }

    /// A fault is over when the store is here, which it is only if it is sound, and the reserve with it.
    fn see_to_fault(&mut self) {
        self.fault = match (&self.store, &self.reserve) {
            (Place::Here(_), Ok(())) => None,
            (Place::Here(_), Err(cause)) => Some(disk_full(cause)),
            (Place::Away, _) => self.fault.take(),
        };
    }

    fn hand_over(&mut self, treatment: Treatment) {
        match std::mem::replace(&mut self.store, Place::Away) {
            Place::Here(store) => self.syncer.give(Job::Treat(store, treatment)),
            // It looks after the store already.
            Place::Away => {}
        }
    }

    fn write(&mut self) {
        let (Place::Here(store), Some(last)) = (&mut self.store, self.waiting.last()) else {
            return;
        };
        let last = last.mark;
        if let Err(trouble) = store.write(&self.waiting) {
            self.not_written(&trouble);
            return;
        }
        self.safe.written = last;
        self.syncer.note_written(last);
        if self
            .waiting
            .iter()
            .any(|item| item.level == Durability::Power)
        {
            self.ask_for_sync();
        }
        self.waiting.clear();
        self.look_at_log();
    }

    fn write_boot(&mut self) {
        if let (Place::Here(store), Boot::OursNext) = (&mut self.store, self.boot)
            && self.waiting.is_empty()
            && store.settle().is_ok()
        {
            self.boot = Boot::Ours;
        }
    }

    fn remove_spent(&mut self) {
        if self.spent.is_empty() {
            return;
        }
        let synced = self.safe.synced;
        let (safe, rest) = std::mem::take(&mut self.spent)
            .into_iter()
            .partition(|(mark, _)| *mark <= synced);
        self.spent = rest;
        for (_, records) in safe {
            self.syncer.give(Job::Remove(records));
        }
        // Nobody else may ask for it.
        if !self.spent.is_empty() && self.asked.0 == 0 && matches!(self.store, Place::Here(_)) {
            self.ask_for_sync();
        }
    }

    fn ask_for_sync(&mut self) {
        if self.asked.0 < SYNCS_ASKED {
            self.asked.0 += 1;
            self.syncer.give(Job::Sync);
        }
    }

    fn not_written(&mut self, trouble: &Trouble) {
        let treatment = match trouble {
            Trouble::Full(_) => {
                self.fault = Some(fault_of(trouble));
                Treatment::MakeRoom
            }
            // Mostly over in a moment: the engine is told only if it is not.
            Trouble::Locked(_) => Treatment::AwaitLock,
            Trouble::Failed(_) | Trouble::Lost(_) => {
                self.fault = Some(fault_of(trouble));
                Treatment::Repair
            }
        };
        self.hand_over(treatment);
    }

    fn look_at_log(&mut self) {
        let Place::Here(store) = &self.store else {
            return;
        };
        self.look.commits += 1;
        if self.look.commits < limits::JOURNAL_LOOK_EVERY {
            return;
        }
        self.look.commits = 0;
        if store.log_bytes() >= self.look.threshold {
            self.hand_over(Treatment::Checkpoint);
        }
    }

    fn tell(&mut self) -> News {
        let moved = self.told.safe != self.safe;
        let cleared = self.fault.is_none() && self.told.fault.is_some();
        let safe = (moved || cleared).then_some(self.safe);
        // What is safe also says that the journal works: while it does not, that is said again.
        let again = safe.is_some() || self.told.fault != self.fault;
        self.told.safe = self.safe;
        self.told.fault.clone_from(&self.fault);
        News {
            safe,
            fault: if again { self.fault.clone() } else { None },
        }
    }
}

/// A journal that was opened, with all that a start has to know.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) journal: Journal,
    /// For the engine, before anything else.
    pub(super) recovered: Recovered,
    /// Scripts to be waited for.
    pub(super) held: Vec<Held>,
    /// Outcome records whose contents are in `recovered`.
    pub(super) read: Vec<PathBuf>,
}

/// Opens the home's journal and reads what earlier daemons and their workers have left; a journal that is
/// damaged is set aside. Waits for no sync.
///
/// # Errors
/// If it cannot be opened for another reason: which, and what to do.
pub(super) fn open(home: &Home) -> anyhow::Result<Opened> {
    let (journal, mut recovered) = open_file(&home.journal(), &home.journal_reserve())?;
    let found = predecessors::look(home, &recovered.entries)?;
    recovered.outcomes = found.outcomes;
    recovered.held = found.held.iter().map(|held| held.script.clone()).collect();
    Ok(Opened {
        journal,
        recovered,
        held: found.held,
        read: found.read,
    })
}

fn open_file(path: &Path, reserve: &Path) -> anyhow::Result<(Journal, Recovered)> {
    files::check_file(reserve)?;
    let boot = clock::boot_id();
    let (store, found, warning) = match Sqlite::open(path) {
        Ok((store, found)) => (store, found, None),
        Err(OpenFault::Refused(error)) => return Err(error),
        Err(OpenFault::Damaged(error)) => {
            let (store, found, warning) = begin_anew(path, &error)?;
            (store, found, Some(warning))
        }
    };
    let rebooted = match (&found.boot, &boot) {
        (Some(then), Some(now)) if then != now => Some(clock::booted_unix_ms()),
        (Some(_) | None, Some(_) | None) => None,
    };
    let recovered = Recovered {
        entries: found.entries,
        low_water: found.low_water,
        rebooted_unix_ms: rebooted,
        warning,
        ..Recovered::default()
    };
    let reserve = Reserve::at(reserve.to_owned());
    Ok((Journal::new(store, reserve)?, recovered))
}

#[cfg(test)]
mod tests;
