//! What the daemon and a worker say to each other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Body, CheckDefaults, CheckSpec, Encoding, FRAME_COST, Json, Malformed, PluginInstance,
    Question, Refusal,
};
use crate::proto::ids::{ClientId, Generation, RequestId, ScriptName, Ticket};

/// What is known of one handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handler {
    pub name: Box<str>,
    #[serde(default)]
    pub delivery: Delivery,
    /// The handler's own time limit, in seconds on the wire; a caller's shorter one wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// What may happen to a request when things fail. `once` unless the script says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// No effect: may run again, may be shared by those who ask the same at the same time.
    Query,
    /// May be dispatched again under the same id.
    Idempotent,
    /// Never started twice.
    #[default]
    Once,
}

/// What the daemon says to a worker, always in JSON; `Answer` in the encoding of the worker's question.
///
/// On the wire: a line with a `command` key, or, for `Answer`, an answer as a client gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first line of all: what to run and how.
    Setup(Box<Setup>),
    Request(Dispatch),
    /// Stop this one; a worker always ends the ticket, with the result if that came first.
    Cancel {
        ticket: Ticket,
    },
    /// Heartbeat: the main loop answers with the same number.
    Ping {
        beat: u64,
        /// Whatever the worker had answered before it answered this earlier beat is in the journal: its records are
        /// no longer needed.
        settled: Option<u64>,
    },
    Event {
        event: String,
        data: Option<Json>,
        from: Option<ScriptName>,
    },
    /// Run `on_handover` and send [`Notice::Handover`].
    Handover,
    /// Finish what runs, run `on_shutdown`, leave within this time.
    Shutdown {
        grace: Duration,
    },
    Answer(Answer),
}

impl ToWorker {
    /// As [`Answer::cost`].
    #[must_use]
    pub fn cost(&self) -> u64 {
        match self {
            ToWorker::Answer(answer) => answer.cost(),
            ToWorker::Request(dispatch) => FRAME_COST + dispatch.work.bytes() as u64,
            ToWorker::Event { event, data, .. } => {
                FRAME_COST
                    + (event.len() + data.as_ref().map_or(0, |json| json.as_str().len())) as u64
            }
            ToWorker::Setup(_)
            | ToWorker::Cancel { .. }
            | ToWorker::Ping { .. }
            | ToWorker::Handover
            | ToWorker::Shutdown { .. } => FRAME_COST,
        }
    }
}

/// A request as a worker sees it: `{"request_id":"@17","command":"call","handler":...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispatch {
    pub ticket: Ticket,
    pub script: ScriptName,
    pub work: Work,
    /// The sender's own id, for `request.id`.
    pub id: Option<RequestId>,
    pub client: Option<ClientId>,
    /// What is left of the request's time.
    pub timeout: Duration,
    /// The worker writes its beginning and its end into its outcome record, under the key of `id`.
    pub record: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    Call {
        handler: Arc<str>,
        params: Option<Json>,
    },
    Eval {
        code: String,
    },
}

impl Work {
    /// Bytes it takes on the wire and in a queue, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Work::Call { handler, params } => {
                handler.len() + params.as_ref().map_or(0, |json| json.as_str().len())
            }
            Work::Eval { code } => code.len(),
        }
    }
}

/// What a worker process needs to know before it runs anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    pub script: ScriptName,
    pub generation: Generation,
    pub home: PathBuf,
    pub socket: PathBuf,
    /// The file to run: a Lua file, or an executable.
    pub path: PathBuf,
    /// Lua: blake3 (hex) of what the daemon saw there. It runs that, or says [`Notice::Outdated`].
    #[serde(default)]
    pub content: Option<String>,
    pub exec: bool,
    pub args: Vec<String>,
    pub concurrency: u32,
    pub memory_bytes: usize,
    /// `false`: `limits.cpu = "off"`, no preemption hook.
    pub preempt: bool,
    /// Processes that the script leaves behind in its group live on.
    pub keep_children: bool,
    pub files: u64,
    /// Executables: the encoding they speak.
    pub encoding: Encoding,
    /// Executables: they speak no ids, one request at a time.
    pub legacy: bool,
    /// What the generation before handed over.
    pub handover: Option<Json>,
    /// The file that this worker makes and writes its outcomes into.
    pub outcomes: PathBuf,
    /// The file on which it holds a shared lock for as long as it lives.
    pub lock: PathBuf,
    /// Whom it becomes before it loads anything.
    #[serde(default)]
    pub user: Option<RunAs>,
    /// What the process may do, beyond what every worker may.
    #[serde(default)]
    pub confinement: Confinement,
    /// A plugin worker: what it loads in the place of `path`. It answers requests whose handler is the name of a check
    /// with that check's outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginInstance>,
    /// A plugin worker: `[checks]`.
    #[serde(default)]
    pub check_defaults: CheckDefaults,
}

/// How a worker is confined before it runs anything of its script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    pub mode: SandboxMode,
    /// `false`: Landlock is left out even where the kernel has it (`MOONKEEP_LANDLOCK=off`).
    pub landlock: bool,
    pub allow: Allow,
}

/// Whether a worker is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxMode {
    /// As far as the kernel can.
    On,
    /// It does not start where the kernel cannot.
    Required,
    #[default]
    Off,
}

impl SandboxMode {
    /// As it is written in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SandboxMode::On => "on",
            SandboxMode::Required => "required",
            SandboxMode::Off => "off",
        }
    }
}

/// What a script may reach, beyond its home (read) and its state folder (write).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allow {
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub net: Vec<String>,
    pub unix: Vec<String>,
    pub run: Vec<String>,
    pub env: Vec<String>,
}

/// How a worker is confined in fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    pub mode: SandboxMode,
    pub level: SandboxLevel,
    /// The version of Landlock that is in force; 0: none.
    pub landlock: u32,
    pub seccomp: bool,
    /// Why it is not the whole, and entries of `allow` that name nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How much of the sandbox the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxLevel {
    /// Files, TCP ports, system calls.
    Full,
    /// Less than that: `notes` says what is missing.
    Partial,
    Off,
}

impl SandboxLevel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SandboxLevel::Full => "full",
            SandboxLevel::Partial => "partial",
            SandboxLevel::Off => "off",
        }
    }
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// What comes from a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// A command of its own.
    Question(Question),
    /// A piece of an answer to a ticket: only `Part`, `Ok` and `Error` occur.
    Answer {
        ticket: Ticket,
        body: Body,
    },
    Notice(Notice),
    Malformed(Malformed),
}

/// What the worker program itself (not the script) tells the daemon; never answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// The script serves. `handlers: None`: it takes any (executables).
    Ready {
        handlers: Option<Vec<Handler>>,
        handover: bool,
        memory_bytes: u64,
    },
    /// The handlers have changed since.
    Handlers {
        handlers: Vec<Handler>,
        handover: bool,
    },
    /// All files that the script has loaded so far, with the blake3 hash (hex) of what was loaded. An empty hash:
    /// it looked there and found no file.
    Loaded {
        files: Vec<LoadedFile>,
    },
    Pong {
        beat: u64,
        memory_bytes: u64,
    },
    Handover {
        state: Option<Json>,
    },
    /// It listens for events that fit these patterns (the whole set, replacing the one before).
    Listen {
        patterns: Vec<String>,
    },
    /// A plugin worker's checks, before [`Notice::Ready`]. Several add up: many checks do not fit into one line.
    Declared {
        checks: Vec<CheckSpec>,
    },
    /// Sent before anything of the script runs: what the process may not do any more.
    Confined {
        sandbox: Sandbox,
    },
    /// The script could not be started: file:line and what is wrong. Its exit follows.
    Failed {
        refusal: Refusal,
    },
    /// Its file is not what the setup says: somebody has written it since, or still does. Nothing of it ran. Its exit
    /// follows.
    Outdated,
    /// It could not write the ends that follow into its outcome record: they stand nowhere else.
    Unrecorded,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LoadedFile {
    pub path: PathBuf,
    pub hash: String,
}
