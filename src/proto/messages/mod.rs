//! What can be said: one closed enum for each direction.
//!
//! A [`Question`] is a command with the id and the encoding of its sender; an [`Answer`] goes back in
//! the same encoding. A worker hears [`ToWorker`] and says [`FromWorker`]; a client says [`FromClient`]
//! and hears [`Answer`]s. Errors on the wire are data ([`Refusal`]), not Rust errors.

mod checks;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ids::{ClientId, RequestId, ScriptName};

pub use checks::{Beat, CheckDefaults, CheckKind, CheckSpec, PluginInstance, Quiet};
pub use worker::{
    Allow, Confinement, Delivery, Dispatch, FromWorker, Handler, LoadedFile, Notice, RunAs,
    Sandbox, SandboxLevel, SandboxMode, Setup, ToWorker, Work,
};

/// One line of valid JSON. Cheap to clone; never parsed where it only passes through.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Json(Arc<str>);

impl Json {
    /// A value that has already been validated, as it stood on its line.
    #[must_use]
    pub fn from_raw(raw: &RawValue) -> Self {
        Json(raw.get().into())
    }

    /// # Panics
    /// If `value` cannot be JSON (a map with keys that are no strings): our own types can.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Json(
            serde_json::to_string(value)
                .expect("our own types serialize")
                .into(),
        )
    }

    /// # Errors
    /// serde_json's, if `text` is not one JSON value. White space around tokens is removed where it
    /// holds a line break, so that the result is one line.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        if raw.get().contains(['\n', '\r']) {
            let value: serde_json::Value = serde_json::from_str(text)?;
            return Ok(Json::of(&value));
        }
        Ok(Json::from_raw(raw))
    }

    /// What one of our own writers wrote: one value on one line. Nobody looks at it again.
    pub(crate) fn written(text: &str) -> Self {
        debug_assert!(serde_json::from_str::<&RawValue>(text).is_ok() && !text.contains('\n'));
        Json(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a line was written. An answer comes in the encoding of its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Text,
    Json,
}

/// A command as it was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub encoding: Encoding,
    pub id: Option<RequestId>,
    pub command: Command,
}

/// Everything that a client or a worker can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// An empty line or a comment: answered `done`.
    Nothing,
    Ping {
        client: Option<ClientId>,
        timestamp: Option<String>,
    },
    Hello(Hello),
    Bye,
    Status,
    List,
    Version,
    Help,
    Shutdown,
    Call(Call),
    /// Evaluate Lua in the live worker of a script, under `call`'s rules; never stored or coalesced.
    Eval {
        script: ScriptName,
        code: String,
        timeout: Option<Duration>,
    },
    /// Cancel the request of this session (or, for a UUIDv7, of the home) that has this id.
    Cancel {
        target: RequestId,
    },
    /// `None`: every script.
    Control {
        verb: Verb,
        script: Option<ScriptName>,
    },
    /// The last lines of a script's log, or, without a name, of the daemon's.
    Logs {
        script: Option<ScriptName>,
        lines: u32,
    },
    /// Events whose name fits the pattern (`*` stands for any run of characters), as parts, until cancelled.
    Events {
        pattern: String,
    },
    /// Tell an event to everybody who listens. From workers; a client's is as good.
    Emit {
        event: String,
        data: Option<Json>,
    },
    Ack(AckMode),
    /// Run these checks now, by name or tag; without words all. The answer is their outcomes.
    Check {
        words: Vec<String>,
    },
    /// The states of these checks, by name or tag; without words of all. The answer is a `ChecksView`.
    Checks {
        words: Vec<String>,
    },
    /// A job says that it lives.
    Heartbeat {
        check: String,
        beat: Beat,
        message: Option<String>,
    },
    /// Whether a check may raise alerts.
    Downtime {
        check: String,
        quiet: Quiet,
        why: Option<String>,
    },
    /// ExaBGP's `peer list` and `show neighbor json`: there are none here.
    Peers,
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub client: ClientId,
    pub version: Option<String>,
    /// It will ping; silence of 15 s then ends the session.
    pub pings: bool,
    /// It wants `accepted` and `running` lines (JSON only).
    pub progress: bool,
}

/// A request to a handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub script: ScriptName,
    pub handler: Arc<str>,
    /// A JSON object, or what the sender gave; `None` stands for `{}`.
    pub params: Option<Json>,
    pub timeout: Option<Duration>,
}

impl Command {
    /// Whether it changes what runs or who is told, or runs code in a script of the sender's choice.
    #[must_use]
    pub fn controls(&self) -> bool {
        match self {
            Command::Control { .. }
            | Command::Eval { .. }
            | Command::Downtime { .. }
            | Command::Shutdown => true,
            Command::Call(_)
            | Command::Logs { .. }
            | Command::Events { .. }
            | Command::Cancel { .. }
            | Command::Ack(_)
            | Command::Check { .. }
            | Command::Checks { .. }
            | Command::Heartbeat { .. }
            | Command::Hello(_)
            | Command::Bye
            | Command::Emit { .. }
            | Command::Ping { .. }
            | Command::Nothing
            | Command::Status
            | Command::List
            | Command::Version
            | Command::Help
            | Command::Peers => false,
        }
    }
}

/// What `start stop restart reload` have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
}

impl Verb {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Reload => "reload",
        }
    }
}

/// Whether `done` and `error` lines are sent, for one session or worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AckMode {
    Enable,
    /// No `done`/`error` from the next command on; this one is still acknowledged.
    Disable,
    /// As disable, and this one is not acknowledged either.
    Silence,
}

/// A line that could not be read as a message. The connection stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Malformed {
    pub encoding: Encoding,
    /// The id, where it could be read all the same.
    pub id: Option<RequestId>,
    pub refusal: Refusal,
}

/// What comes from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromClient {
    Question(Question),
    Malformed(Malformed),
}

/// What goes to whoever asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub encoding: Encoding,
    pub id: Option<RequestId>,
    /// `false`: the asker has switched acknowledgements off, so text leaves out the closing `done` or `error`.
    pub ack: bool,
    pub body: Body,
}

impl Answer {
    /// What the engine and the lanes count for it as credit: about its bytes on the wire.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let body = match &self.body {
            Body::Accepted | Body::Running => 0,
            Body::Part(payload)
            | Body::Ok {
                result: payload, ..
            } => payload.bytes(),
            Body::Error(refusal) => refusal.bytes(),
        };
        FRAME_COST + body as u64
    }
}

/// What is counted for a line beside its payload.
const FRAME_COST: u64 = 96;

/// One piece of an answer; `Ok` and `Error` end it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Not sent in text.
    Accepted,
    /// Not sent in text.
    Running,
    Part(Payload),
    Ok {
        result: Payload,
        replayed: bool,
    },
    Error(Refusal),
}

impl Body {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Body::Ok { .. } | Body::Error(_))
    }
}

/// What an answer carries.
///
/// In text, `Lines` are written as they are, a `Json` string as its characters, any other `Json` as one
/// line of JSON. In JSON, `Lines` are one string.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// JSON `null`; no line in text.
    Empty,
    Json(Json),
    Lines(Arc<str>),
}

impl Payload {
    /// Bytes it takes on the wire, about: what the engine counts as credit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Payload::Empty => 0,
            Payload::Json(json) => json.as_str().len(),
            Payload::Lines(lines) => lines.len(),
        }
    }
}

/// An answer that the daemon, or a failing script, gives instead of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: ErrorCode,
    /// What happened, why, what to do next. One line.
    pub message: String,
    /// After how long a repeat may succeed. Seconds on the wire.
    pub retry_after: Option<Duration>,
    /// What the script said beyond the message (`error{...}`), as it said it.
    pub data: Option<Json>,
    /// The Lua traceback, several lines.
    pub traceback: Option<String>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Refusal {
            code,
            message: message.into(),
            retry_after: None,
            data: None,
            traceback: None,
        }
    }

    fn bytes(&self) -> usize {
        let data = self.data.as_ref().map_or(0, |json| json.as_str().len());
        self.message.len() + data + self.traceback.as_ref().map_or(0, String::len)
    }
}

/// The closed set of errors on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    BadRequest,
    UnknownCommand,
    UnknownScript,
    UnknownHandler,
    NotReady,
    Busy,
    RateLimited,
    Timeout,
    Cancelled,
    OutcomeUnknown,
    IdConflict,
    ExpiredId,
    ScriptError,
    TooLarge,
    Denied,
    ShuttingDown,
    Internal,
}

impl ErrorCode {
    /// All of them, in the order of the reference.
    pub const ALL: [ErrorCode; 17] = [
        ErrorCode::BadRequest,
        ErrorCode::UnknownCommand,
        ErrorCode::UnknownScript,
        ErrorCode::UnknownHandler,
        ErrorCode::NotReady,
        ErrorCode::Busy,
        ErrorCode::RateLimited,
        ErrorCode::Timeout,
        ErrorCode::Cancelled,
        ErrorCode::OutcomeUnknown,
        ErrorCode::IdConflict,
        ErrorCode::ExpiredId,
        ErrorCode::ScriptError,
        ErrorCode::TooLarge,
        ErrorCode::Denied,
        ErrorCode::ShuttingDown,
        ErrorCode::Internal,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::UnknownCommand => "unknown_command",
            ErrorCode::UnknownScript => "unknown_script",
            ErrorCode::UnknownHandler => "unknown_handler",
            ErrorCode::NotReady => "not_ready",
            ErrorCode::Busy => "busy",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Timeout => "timeout",
            ErrorCode::Cancelled => "cancelled",
            ErrorCode::OutcomeUnknown => "outcome_unknown",
            ErrorCode::IdConflict => "id_conflict",
            ErrorCode::ExpiredId => "expired_id",
            ErrorCode::ScriptError => "script_error",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::Denied => "denied",
            ErrorCode::ShuttingDown => "shutting_down",
            ErrorCode::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
