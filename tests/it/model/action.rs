//! What can happen in the model, what can be left out of it, and what can be found broken.

use std::fmt;

use super::state::WorkerNumber;

/// A rule that is left out, to see that its absence is noticed. The names are those of `MOONKEEP_WEAKEN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakening {
    SendBeforeStarted,
    StartedUnsynced,
    AcceptedUnsynced,
    DoneUnsynced,
    StartedRunAgain,
    AcceptedNotResumed,
    NoLowWater,
    CancelledAfterStart,
    NoWaitNoUnknown,
    NoLocks,
    NoRecords,
    /// Of the model alone: below `power`, what was accepted before a reboot is resumed.
    ResumedAfterReboot,
    /// Of the model alone: outcome records go as soon as they were read.
    RecordsDroppedEarly,
    /// Of the model alone: a reboot is taken for dealt with before what it leads to is written.
    BootedTooEarly,
    /// Of the model alone: an `idempotent` request that waits for its second start ends as `cancelled`.
    CancelledBetweenStarts,
}

/// One thing that can happen. The first number is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Ask(usize),
    TellAccepted(usize),
    TellEnd(usize),
    Write,
    Sync,
    StartDaemon,
    Spawn,
    Dispatch(usize),
    Send(usize),
    ReadAnswer(usize),
    /// The daemon sees that the worker which holds this request is dead.
    SeeDeath(usize),
    /// The last worker of earlier daemons is gone: what it left is read.
    Free(usize),
    /// The daemon sees that the time of this request is over.
    SeeTime(usize),
    DropFile(WorkerNumber),
    Receive(WorkerNumber, usize),
    Act(WorkerNumber, usize),
    Finish(WorkerNumber, usize),
    /// It ends the handler in the middle, as it was asked to.
    Interrupt(WorkerNumber, usize),
    Answer(WorkerNumber, usize),
    Leave(WorkerNumber),
    KillDaemon,
    KillWorker(WorkerNumber),
    /// How many records of the tail the disk kept.
    LosePower(usize),
    Reload,
    Cancel(usize),
    TimeOver(usize),
    Prune(usize),
    ClientLeaves(usize),
}

impl Action {
    /// Whether it happens to the system, and may as well never happen.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Action::KillDaemon
            | Action::KillWorker(_)
            | Action::LosePower(_)
            | Action::Reload
            | Action::Cancel(_)
            | Action::TimeOver(_)
            | Action::Prune(_)
            | Action::ClientLeaves(_) => true,
            Action::Ask(_)
            | Action::TellAccepted(_)
            | Action::TellEnd(_)
            | Action::Write
            | Action::Sync
            | Action::StartDaemon
            | Action::Spawn
            | Action::Dispatch(_)
            | Action::Send(_)
            | Action::ReadAnswer(_)
            | Action::SeeDeath(_)
            | Action::Free(_)
            | Action::SeeTime(_)
            | Action::DropFile(_)
            | Action::Receive(..)
            | Action::Act(..)
            | Action::Finish(..)
            | Action::Interrupt(..)
            | Action::Answer(..)
            | Action::Leave(_) => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Ask(r) => write!(f, "client: asks for request {r}"),
            Action::TellAccepted(r) => write!(f, "daemon: tells `accepted` of request {r}"),
            Action::TellEnd(r) => write!(f, "daemon: tells the end of request {r}"),
            Action::Write => write!(f, "journal: writes the next record"),
            Action::Sync => write!(f, "journal: syncs what is written"),
            Action::StartDaemon => write!(f, "daemon: the next one starts"),
            Action::Spawn => write!(f, "daemon: starts a worker"),
            Action::Dispatch(r) => write!(f, "daemon: gives request {r} a slot"),
            Action::Send(r) => write!(f, "daemon: sends request {r} to its worker"),
            Action::ReadAnswer(r) => write!(f, "daemon: reads the answer to request {r}"),
            Action::SeeDeath(r) => write!(f, "daemon: sees that the worker of request {r} is dead"),
            Action::Free(r) => write!(f, "daemon: reads what an old worker left of request {r}"),
            Action::SeeTime(r) => write!(f, "daemon: sees that the time of request {r} is over"),
            Action::DropFile(w) => write!(f, "daemon: removes the outcome record of worker {w}"),
            Action::Receive(w, r) => write!(f, "worker {w}: writes B, begins request {r}"),
            Action::Act(w, r) => write!(f, "worker {w}: the effect of request {r} happens"),
            Action::Finish(w, r) => write!(f, "worker {w}: writes E of request {r}"),
            Action::Interrupt(w, r) => write!(f, "worker {w}: stops request {r}, writes E"),
            Action::Answer(w, r) => write!(f, "worker {w}: answers request {r}"),
            Action::Leave(w) => write!(f, "worker {w}: leaves in order"),
            Action::KillDaemon => write!(f, "FAULT: the daemon is killed"),
            Action::KillWorker(w) => write!(f, "FAULT: worker {w} is killed"),
            Action::LosePower(n) => {
                write!(f, "FAULT: power is lost; {n} unsynced records survive")
            }
            Action::Reload => write!(f, "the script is saved: a reload"),
            Action::Cancel(r) => write!(f, "client: cancels request {r}"),
            Action::TimeOver(r) => write!(f, "the time of request {r} is over"),
            Action::Prune(r) => write!(f, "daemon: prunes request {r}"),
            Action::ClientLeaves(r) => write!(f, "client of request {r} is content and leaves"),
        }
    }
}

/// A promise that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    AcknowledgedAndNeverEnded,
    OnceBegunTwice,
    ContradictingAnswers,
    RefusedWithEffect,
    UnknownWithoutReason,
    DoneWithoutEffect,
    RunAfterExpired,
}
