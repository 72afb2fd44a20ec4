//! What went wrong in a script, as a value: message with file:line, code, data, cleaned traceback.
//!
//! Scripts are called through a trampoline whose message handler makes a [`Failure`] while the stack still stands.

use std::fmt;

use mlua::{Lua, Table, UserData, Value};

use super::json;
use crate::proto::messages::{ErrorCode, Json, Refusal};

mod suggest;

/// Chunks of our own have this name: their lines say nothing to a script's author.
pub(crate) const INTERNAL_CHUNK: &str = "=[moonkeep]";
/// mlua's name for its async wrapper. The coroutine shim takes it too, so that dropping a call also drops what
/// nested coroutines wait for.
pub(super) const SHIM_CHUNK: &str = "=__mlua_async_poll";
/// The code of errors that mean "the world said no": a refused connection, a missing file.
pub const FAILURE_CODE: &str = "failure";
/// Stands between what a failed `require` says and the list of places where it looked.
pub(super) const PLACES: &str = "\nlooked at:\n\t";
const NOTED_KEY: &str = "moonkeep.noted";
/// Longest traceback, in lines; the middle is left out.
const TRACEBACK_LINES: usize = 24;

/// Why a function of a script did not return.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// It raised an error.
    Raised(Raised),
    /// Its time was up; where it was, if it was computing.
    TimedOut {
        place: Option<String>,
        traceback: Option<String>,
    },
}

/// An error as a script raised it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raised {
    /// With `file:line:` in front where Lua knows it. May hold line breaks.
    pub message: String,
    /// `error{ code = ... }`, or the code of a host function's refusal.
    pub code: Option<String>,
    /// The table that was raised, as far as JSON can say it.
    pub data: Option<Json>,
    pub traceback: Option<String>,
}

impl Failure {
    pub(crate) fn told(text: impl Into<String>) -> Self {
        Failure::Raised(Raised {
            message: text.into(),
            ..Raised::default()
        })
    }

    /// Whether Lua had no memory left, or something in the script said so.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(self, Failure::Raised(raised) if raised.message.contains("not enough memory"))
    }

    /// As it goes over the wire. `what` names what was running: `handler greet`.
    #[must_use]
    pub fn refusal(self, what: &str) -> Refusal {
        match self {
            Failure::Raised(raised) => Refusal {
                code: ErrorCode::ScriptError,
                message: one_line(&raised.message),
                retry_after: None,
                data: raised.data,
                traceback: raised.traceback,
            },
            Failure::TimedOut { place, traceback } => {
                let (place, doing) = match &place {
                    Some(place) => (format!("{place}: "), "was still computing there"),
                    None => (String::new(), "was still waiting"),
                };
                let message = format!(
                    "{place}{what} {doing} when its time was up; give it more with `timeout`, or make it shorter"
                );
                let mut refusal = Refusal::new(ErrorCode::Timeout, message);
                refusal.traceback = traceback;
                refusal
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Raised(raised) => {
                f.write_str(&raised.message)?;
                raised
                    .traceback
                    .iter()
                    .try_for_each(|trace| write!(f, "\n{trace}"))
            }
            Failure::TimedOut { place, traceback } => {
                if let Some(place) = place {
                    write!(f, "{place}: ")?;
                }
                f.write_str("its time was up")?;
                traceback
                    .iter()
                    .try_for_each(|trace| write!(f, "\n{trace}"))
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Carries a [`Raised`] from the message handler through Lua to us.
pub(super) struct Parcel(pub(super) Raised);

impl UserData for Parcel {}

/// What the hook raises at a deadline.
#[derive(Debug)]
pub(super) struct TimeIsUp;

impl fmt::Display for TimeIsUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its time was up")
    }
}

impl std::error::Error for TimeIsUp {}

/// An error of a host function that scripts can tell by its code: `pcall` gives a table with `code` and `message`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub code: String,
    /// What happened, why, what to do next.
    pub message: String,
    pub data: Option<Json>,
    pub retry_after: Option<std::time::Duration>,
}

impl ApiError {
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        ApiError {
            code: code.into(),
            message: message.into(),
            data: None,
            retry_after: None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl From<ApiError> for mlua::Error {
    fn from(error: ApiError) -> Self {
        mlua::Error::external(error)
    }
}

/// The innermost line of a script's own code at or above `level`: `scripts/x.lua:7`.
pub(crate) fn place(lua: &Lua, level: usize) -> Option<String> {
    for level in level..level + 64 {
        let found = lua.inspect_stack(level, |frame| {
            let source = frame.source();
            let line = frame.current_line()?;
            let name = source.source?.strip_prefix('@')?.to_owned();
            Some(format!("{name}:{line}"))
        })?;
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The present traceback without the frames that are ours.
pub(super) fn traceback(lua: &Lua, level: usize) -> String {
    match lua.traceback(None, level) {
        Ok(text) => clean(&text.to_string_lossy()),
        Err(_) => String::from("stack traceback: (no memory to make one)"),
    }
}

/// Leaves out C frames, the async wrapper and our own chunks; shortens very long ones.
fn clean(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            let line = &line.trim_start();
            !line.starts_with("[C]")
                && !line.starts_with("__mlua_")
                && !line.starts_with("[moonkeep]")
                && *line != "(...tail calls...)"
        })
        .collect();
    if lines.len() > TRACEBACK_LINES {
        let tail = lines.split_off(lines.len() - TRACEBACK_LINES / 2);
        lines.truncate(TRACEBACK_LINES / 2);
        lines.push("\t...");
        lines.extend(tail);
    }
    lines.join("\n")
}

/// The message handler's work: any error value to a [`Raised`].
pub(super) fn describe(lua: &Lua, value: &Value) -> Raised {
    let mut raised = describe_value(lua, value);
    if let Some(hint) = suggest::for_message(lua, &raised.message) {
        raised.message.push_str(&hint);
    }
    let inner = noted(lua).filter(|(noted, _)| noted == value);
    raised.traceback = Some(match inner {
        Some((_, inner)) => format!(
            "{inner}\n{}",
            traceback(lua, 1).replacen("stack traceback", "resumed from", 1)
        ),
        None => traceback(lua, 1),
    });
    move_places(&mut raised);
    raised
}

/// Moves the places of a failed `require` from the message, which is one line for callers, to the traceback.
fn move_places(raised: &mut Raised) {
    if let (Some(at), Some(trace)) = (raised.message.find(PLACES), &mut raised.traceback) {
        let places = raised.message.split_off(at);
        *trace = format!("{}\n{trace}", places.trim_start());
    }
}

/// Remembers the traceback of an error that is about to leave one of the script's own coroutines.
pub(super) fn note(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let entry = lua.create_table()?;
    entry.raw_set(1, value.clone())?;
    entry.raw_set(2, traceback(lua, 1))?;
    lua.set_named_registry_value(NOTED_KEY, entry)?;
    Ok(value)
}

/// The last error that left a coroutine, with its traceback.
pub(super) fn noted(lua: &Lua) -> Option<(Value, String)> {
    let entry: Table = lua.named_registry_value(NOTED_KEY).ok()?;
    Some((entry.raw_get(1).ok()?, entry.raw_get(2).ok()?))
}

fn describe_value(lua: &Lua, value: &Value) -> Raised {
    match value {
        Value::String(text) => Raised {
            message: text.to_string_lossy(),
            ..Raised::default()
        },
        Value::Table(table) => describe_table(lua, table),
        Value::Error(error) => describe_error(lua, error),
        Value::Nil => plain("error(nil): an error without a message".to_owned()),
        Value::Boolean(_)
        | Value::LightUserData(_)
        | Value::Integer(_)
        | Value::Number(_)
        | Value::Function(_)
        | Value::Thread(_)
        | Value::UserData(_)
        | Value::Other(_) => plain(shown(value)),
    }
}

fn plain(message: String) -> Raised {
    Raised {
        message,
        ..Raised::default()
    }
}

fn shown(value: &Value) -> String {
    value.to_string().unwrap_or_else(|_| {
        format!(
            "an error of type {} that cannot be shown",
            value.type_name()
        )
    })
}

fn describe_table(lua: &Lua, table: &Table) -> Raised {
    let field = |name: &str| match table.raw_get::<Value>(name) {
        Ok(Value::String(text)) => Some(text.to_string_lossy()),
        _other => None,
    };
    let code = field("code");
    let said = field("message");
    let value = Value::Table(table.clone());
    let message = match (&said, &code) {
        (Some(message), _) => match field("at") {
            Some(at) => format!("{at}: {message}"),
            None => message.clone(),
        },
        (None, _) if has_tostring(table) => shown(&value),
        (None, Some(code)) => code.clone(),
        (None, None) => {
            "an error table without `message`: raise error{ code = ..., message = ... }".to_owned()
        }
    };
    Raised {
        message,
        code,
        data: json::to_json(lua, "error", &value).ok(),
        traceback: None,
    }
}

fn has_tostring(table: &Table) -> bool {
    table
        .metatable()
        .is_some_and(|meta| !matches!(meta.raw_get("__tostring"), Ok(Value::Nil)))
}

/// An error of a Rust function.
fn describe_error(lua: &Lua, error: &mlua::Error) -> Raised {
    let (message, api) = explain(error);
    let message = match place(lua, 1) {
        Some(place) if !message.starts_with(&place) => format!("{place}: {message}"),
        _other => message,
    };
    Raised {
        message,
        code: api.as_ref().map(|api| api.code.clone()),
        data: api.and_then(|api| api.data),
        traceback: None,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "mlua may add kinds of errors"
)]
/// The sentence of an error of mlua's, without its traceback and kind, and our own error inside it.
pub(crate) fn explain(error: &mlua::Error) -> (String, Option<ApiError>) {
    match error {
        mlua::Error::CallbackError { cause, .. } => explain(cause),
        mlua::Error::WithContext { context, cause } => {
            let (message, api) = explain(cause);
            (format!("{context}: {message}"), api)
        }
        mlua::Error::ExternalError(inner) => match inner.downcast_ref::<ApiError>() {
            Some(api) => (api.message.clone(), Some(api.clone())),
            None => (inner.to_string(), None),
        },
        mlua::Error::RuntimeError(message) | mlua::Error::MemoryError(message) => {
            (message.clone(), None)
        }
        mlua::Error::SyntaxError { message, .. } => (message.clone(), None),
        mlua::Error::BadArgument {
            pos, name, cause, ..
        } => {
            let (message, api) = explain(cause);
            let which = name.clone().unwrap_or_else(|| format!("#{pos}"));
            (format!("bad argument {which}: {message}"), api)
        }
        mlua::Error::FromLuaConversionError { from, to, message } => {
            let more = message
                .as_ref()
                .map(|text| format!(" ({text})"))
                .unwrap_or_default();
            (format!("expected {}, got {from}{more}", lua_kind(to)), None)
        }
        other => (other.to_string(), None),
    }
}

/// mlua names Rust types; authors of scripts know Lua's.
fn lua_kind(rust: &str) -> &str {
    match rust {
        "f64" | "f32" | "Number" => "a number",
        "i64" | "i32" | "u64" | "u32" | "usize" | "Integer" => "an integer",
        "String" | "LuaString" | "string" | "&str" => "a string",
        "bool" => "true or false",
        "Table" | "table" => "a table",
        "Function" | "function" => "a function",
        other => other,
    }
}

/// Messages on the wire are one line.
fn one_line(message: &str) -> String {
    if message.contains(['\n', '\r']) {
        message
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    } else {
        message.to_owned()
    }
}

#[cfg(test)]
mod tests;
