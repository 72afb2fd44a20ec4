//! Workers of earlier daemons: which may still run, what those that are gone have written, the end of those that
//! do not go.
//!
//! A worker holds its script's lock, shared, for as long as it or a child of it lives. Whoever gets that lock
//! alone knows that none is left. A process is killed only if the kernel says that it is the one that wrote its
//! number into the record, or one of its group that holds the lock's file open: never a stranger.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::{clock, outcomes};
use crate::engine::records::{Entry, EntryState, Outcomes};
use crate::limits;
use crate::paths::Home;
use crate::proto::ids::ScriptName;
use crate::proto::outcome::Header;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of scripts whose workers are gone.
    pub(super) outcomes: BTreeMap<ScriptName, Outcomes>,
    pub(super) held: Vec<Held>,
    /// Records that were read.
    pub(super) read: Vec<PathBuf>,
}

/// A script that a worker of an earlier daemon still runs.
#[derive(Debug)]
pub(in crate::daemon) struct Held {
    pub(in crate::daemon) script: ScriptName,
    lock: PathBuf,
    records: Vec<PathBuf>,
}

/// Looks for what earlier daemons have left.
///
/// # Errors
/// If the folder of the records is something else.
pub(super) fn look(home: &Home, entries: &[Entry]) -> anyhow::Result<Found> {
    let mut records = outcomes::list(&home.outcomes(), limits::OUTCOME_FILES)?;
    let mut scripts: BTreeSet<ScriptName> = records.keys().cloned().collect();
    scripts.extend(entries.iter().filter_map(|entry| match entry.state {
        EntryState::Started(_) => Some(entry.request.script.clone()),
        EntryState::Accepted | EntryState::Ended { .. } => None,
    }));
    let boot = clock::boot_id();
    let mut found = Found::default();
    for script in scripts {
        let lock = home.script_lock(script.as_str());
        let records = records.remove(&script).unwrap_or_default();
        if is_held(&lock) {
            found.held.push(Held {
                script,
                lock,
                records,
            });
        } else {
            let joined = read_all(&records, boot.as_deref());
            found.outcomes.insert(script, joined);
            found.read.extend(records);
        }
    }
    Ok(found)
}

/// Whether a worker lives. A lock that cannot be opened is held by nobody: workers do not start without it.
fn is_held(lock: &Path) -> bool {
    let opened = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(lock);
    match opened.map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        // Given back at once: until the engine knows the outcomes no worker is started, and we are the only daemon.
        Ok(Ok(()) | Err(TryLockError::Error(_))) | Err(_) => false,
    }
}

/// What all these records say. What was written before the machine was started again may lack lines.
fn read_all(records: &[PathBuf], boot: Option<&str>) -> Outcomes {
    Outcomes::joined(records.iter().map(|path| {
        let found = outcomes::look(path);
        let mut outcomes = found.outcomes;
        outcomes.complete &= found.header.is_some_and(|header| is_of_boot(&header, boot));
        outcomes
    }))
}

fn is_of_boot(header: &Header, boot: Option<&str>) -> bool {
    boot.is_some_and(|boot| boot == header.boot.to_string())
}

impl Held {
    /// Waits until the last worker is gone, killing it if it takes longer than it may, and gives what they wrote.
    /// Goes on until it is over. Cancel safe.
    pub(in crate::daemon) async fn wait(&self, mut complain: impl FnMut(String)) -> Outcomes {
        let begun = Instant::now();
        let mut kills = 0_u32;
        while is_held(&self.lock) {
            if begun.elapsed() >= limits::OLD_WORKER_WAIT {
                if kills == 0 {
                    complain(format!(
                        "a worker of an earlier daemon still runs the script {}; it is killed",
                        self.script
                    ));
                }
                if kills == KILLS_BEFORE_COMPLAINT {
                    complain(format!(
                        "the script {} cannot start: a process that is none of ours to kill, or does not die, holds {}; `fuser` on that file names it",
                        self.script,
                        self.lock.display()
                    ));
                }
                let (lock, records) = (self.lock.clone(), self.records.clone());
                let _looked =
                    tokio::task::spawn_blocking(move || kill_writers(&records, &lock)).await;
                kills = kills.saturating_add(1);
            }
            sleep(limits::OLD_WORKER_LOOK).await;
        }
        let records = self.records.clone();
        let read =
            tokio::task::spawn_blocking(move || read_all(&records, clock::boot_id().as_deref()));
        read.await.unwrap_or_default()
    }

    /// Its records, which may go once what follows from them is safe.
    pub(in crate::daemon) fn records(&self) -> &[PathBuf] {
        &self.records
    }
}

/// Kills the processes that wrote these records, if they run in this boot, and those of their groups that hold the lock.
fn kill_writers(records: &[PathBuf], lock: &Path) {
    let boot = clock::boot_id();
    let headers: Vec<Header> = records
        .iter()
        .filter_map(|path| outcomes::look(path).header)
        .filter(|header| is_of_boot(header, boot.as_deref()))
        .collect();
    if headers.is_empty() {
        return;
    }
    for pid in processes() {
        kill_if_of(pid, &headers, lock);
    }
}

/// After so many looks in vain somebody has to be told.
const KILLS_BEFORE_COMPLAINT: u32 = 20;

fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// Kills one process if it is a recorded one or of the group of one. The descriptor is taken first: what is read
/// after that is about the process that it names, or the signal reaches nobody.
fn kill_if_of(pid: Pid, headers: &[Header], lock: &Path) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let Some(facts) = Facts::of(pid) else {
        return;
    };
    let is_worker = |header: &Header| {
        u32::try_from(pid.as_raw_nonzero().get()) == Ok(header.pid)
            && facts.started == header.started
    };
    let is_of_group =
        |header: &Header| facts.group == header.pid && facts.started >= header.started;
    let ours =
        headers.iter().any(is_worker) || (headers.iter().any(is_of_group) && has_open(pid, lock));
    if ours {
        let _gone_already = pidfd_send_signal(process, Signal::KILL);
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug)]
struct Facts {
    group: u32,
    started: u64,
}

impl Facts {
    fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The second field is a name in parentheses that may hold anything; what follows begins with the third.
        let (_, behind_name) = stat.rsplit_once(") ")?;
        let field = |number: usize| behind_name.split(' ').nth(number - 3);
        Some(Facts {
            group: field(5)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }
}

/// Whether the process has this very file open.
fn has_open(pid: Pid, file: &Path) -> bool {
    let Ok(wanted) = fs::metadata(file) else {
        return false;
    };
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    open.into_iter().flatten().flatten().any(|entry| {
        fs::metadata(entry.path())
            .is_ok_and(|facts| (facts.dev(), facts.ino()) == (wanted.dev(), wanted.ino()))
    })
}
