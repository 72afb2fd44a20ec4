//! The engine's alphabet: everything that can happen to it, everything that it can want.
//!
//! Both are data: a recorded run of inputs replays to the same effects, byte for byte.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::records::{JournalFault, Mark, Outcomes, Record, Recovered};
pub use crate::moment::Moment;
use crate::monitor::alphabet as monitor;
use crate::monitor::view::{ChecksView, Facts};
use crate::options::{Durability, Settings};
use crate::proto::ids::{ClientId, DaemonId, ScriptName, SessionId, WorkerId};
use crate::proto::messages::{
    Answer, CheckDefaults, CheckSpec, FromClient, FromWorker, Json, PluginInstance, ToWorker,
};

/// What the engine is born with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub daemon: DaemonId,
    pub pid: u32,
    pub version: String,
    pub home: PathBuf,
    pub socket: PathBuf,
    /// Seed of the back-off's jitter.
    pub seed: u64,
    /// Milliseconds since 1970 at the engine's moment 0: ids (UUIDv7) carry wall time.
    pub started_unix_ms: u64,
    /// The daemon is root's: scripts without a `user` of their own are too.
    #[serde(default)]
    pub is_roots: bool,
}

/// Who a line goes to or comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Session(SessionId),
    Worker(WorkerId),
    /// The engine's own health checks: they ask plugin workers, and nobody else.
    Monitor,
}

/// A script as the last look at the home found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptSpec {
    pub name: ScriptName,
    /// The file in `scripts/`, not resolved.
    pub path: PathBuf,
    /// Lua: blake3 (hex) of the file's bytes. A worker that finds others runs nothing of them.
    #[serde(default)]
    pub content: Option<String>,
    pub kind: ScriptKind,
    pub settings: Settings,
    /// A plugin worker: the instances that live in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginInstance>,
    /// A plugin worker: what `moonkeep.toml` says for all checks.
    #[serde(default)]
    pub check_defaults: CheckDefaults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptKind {
    Lua,
    Executable,
}

/// What changed in the home, decided by content, not by time stamps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScriptChange {
    /// New, or its file, header, settings or a file that it has loaded is different now.
    Changed {
        spec: Arc<ScriptSpec>,
        because: PathBuf,
    },
    /// Gone, and still gone after settling.
    Removed { name: ScriptName, because: PathBuf },
    /// It cannot be run as it stands (two files of one name, a faulty header, writable by others ...).
    /// What serves goes on serving; `error` is shown.
    Faulty {
        name: ScriptName,
        path: PathBuf,
        error: String,
        /// A plugin's: what stands in the place of its checks, if it has none.
        #[serde(default)]
        checks: Vec<CheckSpec>,
    },
}

/// What `moonkeep.toml` says about checks and alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sections {
    pub configured: monitor::Configured,
    /// As its `faults`, but only if no plugin turns out to have a check of that name.
    pub unclaimed: Vec<(String, String)>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Time has passed: look at the timers.
    Tick,
    /// A client has connected. `fresh` is its id until a `hello` says another.
    Connected {
        session: SessionId,
        uid: u32,
        fresh: ClientId,
    },
    /// The client is a process of a script; which one may be unknown. Said before its first command that controls.
    Belongs {
        session: SessionId,
        script: Option<ScriptName>,
    },
    FromClient {
        session: SessionId,
        message: FromClient,
    },
    /// The client's side is gone; `why` for the log.
    Gone {
        session: SessionId,
        why: String,
    },
    /// The kernel has taken messages of this much [`Answer::cost`] (or [`ToWorker::cost`]) altogether.
    Flushed {
        peer: Peer,
        cost: u64,
    },
    /// A line has begun and not ended (`true`), or ended at last (`false`).
    Partial {
        session: SessionId,
        begun: bool,
    },
    /// The first look at the home is over and was handed in as `Changed`: `up` may report.
    Loaded,
    Script(ScriptChange),
    /// A look that began after [`Effect::Rescan`] asked for this one (and all before) is over; what it found was
    /// handed in before.
    Looked {
        look: u64,
    },
    Spawned {
        worker: WorkerId,
        pid: u32,
    },
    SpawnFailed {
        worker: WorkerId,
        error: String,
    },
    FromWorker {
        worker: WorkerId,
        message: FromWorker,
    },
    /// The process has been waited for, and its group is gone. `stderr` holds the last lines, `outcomes` what
    /// the worker wrote into its record.
    Exited {
        worker: WorkerId,
        exit: Exit,
        stderr: Vec<String>,
        #[serde(default)]
        outcomes: Outcomes,
    },
    /// What the journal holds of earlier daemons. Before everything else, at most once.
    Recovered(Box<Recovered>),
    /// The last worker of an earlier daemon that ran this script is gone; what it wrote down.
    Freed {
        script: ScriptName,
        outcomes: Outcomes,
    },
    /// All records up to `written` survive the daemon's death, all up to `synced` a power loss too. After a
    /// fault this says that the journal works again.
    Journaled {
        written: Mark,
        synced: Mark,
    },
    /// The journal cannot take records now. What it was given stays in its hands, and is written in order
    /// as soon as that works again.
    JournalFailed(JournalFault),
    /// The text that [`Effect::ReadLog`] asked for.
    LogRead {
        ask: LogAsk,
        lines: Result<String, String>,
    },
    /// `moonkeep.toml` was read: `None`, or what is wrong with it (the running configuration stays).
    Configured {
        fault: Option<String>,
    },
    /// What `moonkeep.toml` says about checks and alerts, at the start and when it has changed.
    Sections(Box<Sections>),
    /// What the monitor has to know of the world: what was kept, the clock, ends of deliveries.
    Monitor(monitor::Input),
    /// So many of all `Keep`s that were wanted survive the daemon now, or could not be written down for the time being.
    Kept {
        count: u64,
    },
    /// Somebody wants to see the checks. The answer is [`Effect::Shown`], in the same step.
    Show {
        ask: ViewAsk,
    },
    /// Where the HTTP listener listens now, or what keeps it from that; neither: it is not configured.
    Listening {
        address: Option<String>,
        fault: Option<String>,
    },
    /// SIGTERM, SIGINT (the second one skips the grace).
    Terminate {
        why: String,
    },
}

/// Names one look at the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ViewAsk(pub u64);

/// Names one reading of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogAsk(pub u64);

/// Everything that the engine can want done. The shell does it without waiting.
#[must_use]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    ToClient {
        session: SessionId,
        answer: Answer,
    },
    ToWorker {
        worker: WorkerId,
        message: ToWorker,
    },
    /// Send what waits, then close. `last` is one more line for it.
    Disconnect {
        session: SessionId,
        last: Option<Answer>,
        why: String,
    },
    /// Read no more from this peer, until `Resume`.
    Pause {
        peer: Peer,
    },
    Resume {
        peer: Peer,
    },
    /// Write this down. [`Input::Journaled`] says when it is safe; `level` says what safe means.
    Journal {
        mark: Mark,
        level: Durability,
        record: Record,
        /// Nothing waits for it, and it stands elsewhere too: it may be written with a later one, soon.
        #[serde(default)]
        late: bool,
    },
    /// Everything in this worker's outcome record is in the journal: the record may go.
    DropOutcomes {
        worker: WorkerId,
    },
    /// Start a process for this worker and write its `Setup` line.
    Spawn {
        worker: WorkerId,
        spec: Arc<ScriptSpec>,
        handover: Option<Json>,
    },
    /// Signal the worker's process group.
    Signal {
        worker: WorkerId,
        kill: Kill,
    },
    ReadLog {
        ask: LogAsk,
        script: Option<ScriptName>,
        lines: u32,
    },
    /// Look at the home and `moonkeep.toml` now, without waiting for an event, and say [`Input::Looked`] after
    /// what that look found.
    Rescan {
        look: u64,
    },
    /// Follow these files for this script, as the worker loaded them.
    Follow {
        script: ScriptName,
        files: Vec<crate::proto::messages::LoadedFile>,
    },
    /// What the monitor wants that is done outside: `Keep`, `Deliver` and `AskClock`, no other.
    Monitor(monitor::Effect),
    /// A line for the daemon's own log.
    Note {
        level: Level,
        text: String,
    },
    /// What [`Input::Show`] asked for.
    Shown {
        ask: ViewAsk,
        view: Box<ChecksView>,
        facts: Box<Facts>,
    },
    /// First generation of every enabled script is ready or has failed: `up` reports now.
    Settled {
        ready: usize,
        failed: usize,
    },
    /// All workers are gone, all clients told: leave.
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kill {
    Term,
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}
