//! What the world of the model consists of. Small values: a run holds hundreds of thousands of them.

use std::fmt;

/// Most requests of one world. A configuration says how many of them exist.
pub(super) const REQUESTS: usize = 2;

/// One bound of the exploration: who the requests are, and how often each fault may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) requests: usize,
    pub(super) delivery: Delivery,
    pub(super) level: Level,
    pub(super) faults: Faults,
    /// How often a client asks for an answer that it has already heard.
    pub(super) again: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Once,
    Idempotent,
}

/// What a record must survive before anything is built on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// The daemon's death.
    Process,
    /// The machine's too.
    Power,
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    pub(super) daemon_kills: u8,
    pub(super) worker_kills: u8,
    pub(super) power_losses: u8,
    pub(super) reloads: u8,
    pub(super) cancels: u8,
    pub(super) timeouts: u8,
    pub(super) prunings: u8,
    pub(super) leavings: u8,
}

/// An end that says what became of a request. `Failed` is a handler that was stopped or has failed: part of
/// it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum End {
    Done,
    Failed,
    /// It never ran.
    Cancelled,
    /// It never ran.
    TimedOut,
    Unknown,
}

impl End {
    pub(super) fn never_ran(self) -> bool {
        match self {
            End::Cancelled | End::TimedOut => true,
            End::Done | End::Failed | End::Unknown => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Done => "done",
            End::Failed => "failed",
            End::Cancelled => "cancelled (never ran)",
            End::TimedOut => "timed out (never ran)",
            End::Unknown => "unknown",
        })
    }
}

/// Counts workers over all daemons. Never reused.
pub(super) type WorkerNumber = u8;

/// What the journal says of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    #[default]
    None,
    /// `tried`: an earlier start of it may have done something.
    Accepted {
        tried: bool,
    },
    Started {
        worker: WorkerNumber,
        tried: bool,
    },
    Ended(End),
}

/// One change of the journal. The number is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    Accepted(usize),
    AcceptedAndStarted(usize, WorkerNumber),
    Started(usize, WorkerNumber),
    Back {
        request: usize,
        tried: bool,
    },
    Ended(usize, End),
    /// The entry goes, and the low-water mark rises to it.
    Pruned(usize),
    /// What a reboot leads to was written down: the next daemon need not do it again.
    Booted {
        low_water: bool,
    },
}

/// The journal's content at one point of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) entries: [Entry; REQUESTS],
    pub(super) low_water: [bool; REQUESTS],
    /// The machine was started since this was written.
    pub(super) rebooted: bool,
}

impl Table {
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Accepted(request) => {
                self.entries[request] = Entry::Accepted { tried: false };
            }
            Record::AcceptedAndStarted(request, worker) => {
                let tried = false;
                self.entries[request] = Entry::Started { worker, tried };
            }
            Record::Started(request, worker) => {
                let tried = self.entries[request] == Entry::Accepted { tried: true };
                self.entries[request] = Entry::Started { worker, tried };
            }
            Record::Back { request, tried } => self.entries[request] = Entry::Accepted { tried },
            Record::Ended(request, end) => self.entries[request] = Entry::Ended(end),
            Record::Pruned(request) => {
                self.entries[request] = Entry::None;
                for lower in 0..=request {
                    self.low_water[lower] = true;
                }
            }
            Record::Booted { low_water } => {
                self.rebooted = false;
                if low_water {
                    self.low_water = [true; REQUESTS];
                }
            }
        }
    }
}

/// What a worker's outcome record says of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Line {
    #[default]
    None,
    Began,
    Ended(End),
}

/// The outcome record of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct OutcomeFile {
    pub(super) worker: WorkerNumber,
    pub(super) lines: [Line; REQUESTS],
}

/// What survives the daemon. Of `tail` a power loss leaves any beginning; a daemon's death leaves what is
/// `written`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) synced: Table,
    pub(super) tail: Vec<Record>,
    pub(super) written: usize,
    pub(super) files: Vec<OutcomeFile>,
}

impl Disk {
    pub(super) fn table(&self, upto: usize) -> Table {
        let mut table = self.synced;
        for record in &self.tail[..upto] {
            table.apply(*record);
        }
        table
    }

    pub(super) fn file(&self, worker: WorkerNumber) -> Option<&OutcomeFile> {
        self.files.iter().find(|file| file.worker == worker)
    }

    pub(super) fn file_mut(&mut self, worker: WorkerNumber) -> Option<&mut OutcomeFile> {
        self.files.iter_mut().find(|file| file.worker == worker)
    }
}

/// A request as the daemon holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Held {
    #[default]
    Nothing,
    Queued {
        tried: bool,
    },
    /// It has its slot; no byte of it was sent.
    Claimed {
        worker: WorkerNumber,
        tried: bool,
    },
    Sent {
        worker: WorkerNumber,
        tried: bool,
    },
    /// A worker of an earlier daemon has it, and lives.
    Elsewhere {
        worker: WorkerNumber,
        tried: bool,
    },
    Ended(End),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Daemon {
    pub(super) held: [Held; REQUESTS],
    pub(super) low_water: [bool; REQUESTS],
    /// Who asked over this daemon and has not heard an end.
    pub(super) waiting: [bool; REQUESTS],
    /// The worker that gets new requests.
    pub(super) current: Option<WorkerNumber>,
}

/// How far a worker is with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Job {
    #[default]
    None,
    /// In its pipe; it has not read it.
    Piped,
    /// `B` is written, the handler runs.
    Began,
    /// The effect has happened.
    Acted,
    /// `E` is written.
    Recorded(End),
    /// The answer is in the daemon's pipe.
    Answered(End),
}

/// A live process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) number: WorkerNumber,
    /// The daemon that started it lives, so its pipes are open.
    pub(super) attached: bool,
    pub(super) jobs: [Job; REQUESTS],
    /// It was asked to stop that one.
    pub(super) stop: [bool; REQUESTS],
}

impl Worker {
    /// Nothing that its end would lose.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.iter().all(|job| *job == Job::None)
    }
}

/// One request's asker, and what was ever told under its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asker {
    pub(super) asked: bool,
    pub(super) gone: bool,
    pub(super) accepted: bool,
    /// Of each daemon's life and each repeat; sorted, no end twice.
    pub(super) heard: Vec<End>,
    pub(super) expired: bool,
    pub(super) repeats: u8,
}

/// What really happened to one request: nobody in the model reads it but the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Deed {
    /// At most 2 is counted.
    pub(super) begun: u8,
    pub(super) acted: bool,
    /// Its time is over.
    pub(super) over: bool,
    /// A worker died while it ran it, or power was lost after its start.
    pub(super) excused: bool,
    /// Power was lost, and its level does not promise to survive that: its answer may be forgotten.
    pub(super) forgettable: bool,
    /// It had ended, and nobody came for the answer in its time.
    pub(super) pruned: bool,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) daemon: Option<Daemon>,
    pub(super) workers: Vec<Worker>,
    pub(super) next_worker: WorkerNumber,
    pub(super) askers: [Asker; REQUESTS],
    pub(super) deeds: [Deed; REQUESTS],
    pub(super) left: Faults,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        World {
            disk: Disk::default(),
            daemon: Some(Daemon::default()),
            workers: Vec::new(),
            next_worker: 1,
            askers: Default::default(),
            deeds: Default::default(),
            left: bounds.faults,
        }
    }

    pub(super) fn worker(&self, number: WorkerNumber) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.number == number)
    }

    pub(super) fn worker_mut(&mut self, number: WorkerNumber) -> Option<&mut Worker> {
        self.workers
            .iter_mut()
            .find(|worker| worker.number == number)
    }

    /// Workers of dead daemons.
    pub(super) fn has_orphans(&self) -> bool {
        self.workers.iter().any(|worker| !worker.attached)
    }
}
