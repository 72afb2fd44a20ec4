//! The named values of one line, before anybody knows what they mean together.
//!
//! Both encodings are brought into this form, so that a command is built by one function however it
//! was written. Values stay where they lie in the line.

use std::borrow::Cow;
use std::time::Duration;

use memchr::memchr;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::bad;
use crate::limits;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{Json, Refusal};

macro_rules! fields {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// Every name that may stand at the top level of a line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant),* }

        impl Field {
            pub(super) const ALL: &[Field] = &[$(Field::$variant),*];

            pub(super) fn of(name: &str) -> Option<Field> {
                match name {
                    $($name => Some(Field::$variant),)*
                    _ => None,
                }
            }

            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Field::$variant => $name),*
                }
            }
        }
    };
}

fields! {
    RequestId "request_id", Command "command", Script "script", Handler "handler", Params "params",
    Timeout "timeout", Target "target", Lines "lines", Pattern "pattern", Event "event",
    Data "data", Code "code", Mode "mode", Client "client", Version "version",
    Timestamp "timestamp", Features "features", Status "status", Result "result", Part "part",
    Error "error", Replayed "replayed", Id "id", From "from", Grace "grace", Beat "beat", Settled "settled",
    Handlers "handlers", Handover "handover", MemoryBytes "memory_bytes", Files "files",
    State "state", Patterns "patterns", Record "record", Sandbox "sandbox",
    Checks "checks",
    Check "check", Words "words", Message "message", Quiet "quiet", Why "why",
}

/// A value as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Raw(&'a RawValue),
    /// The characters themselves.
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// The characters as they stand in the line.
    fn written(self) -> &'a str {
        match self {
            Value::Raw(raw) => raw.get(),
            Value::Text(text) => text,
        }
    }
}

/// At most one value a field.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    slots: [Option<Value<'a>>; Field::ALL.len()],
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Fields {
            slots: [None; Field::ALL.len()],
        }
    }
}

impl<'a> Fields<'a> {
    /// Puts a value in; `false` if there was one, which then stays.
    #[must_use]
    pub(super) fn insert(&mut self, field: Field, value: Value<'a>) -> bool {
        let slot = &mut self.slots[field as usize];
        let free = slot.is_none();
        if free {
            *slot = Some(value);
        }
        free
    }

    /// A copy with one more value, for aliases that stand for a value as well.
    pub(super) fn with(&self, field: Field, value: &'a str) -> Fields<'a> {
        let mut slots = self.slots;
        slots[field as usize] = Some(Value::Text(value));
        Fields { slots }
    }

    /// JSON `null` counts as nothing.
    pub(super) fn value(&self, field: Field) -> Option<Value<'a>> {
        self.slots[field as usize]
            .filter(|value| !matches!(value, Value::Raw(raw) if raw.get() == "null"))
    }

    /// Whether the field was written at all, be it as `null`.
    pub(super) fn has(&self, field: Field) -> bool {
        self.slots[field as usize].is_some()
    }

    pub(super) fn string(&self, field: Field) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(Value::Raw(raw)) => match unquote(raw.get()) {
                Some(text) => Ok(Some(text)),
                None => Err(mistyped(field, "a string of Unicode characters", raw.get())),
            },
        }
    }

    /// A word: a string without escapes, or a number, as it was written.
    pub(super) fn word(&self, field: Field) -> Result<Option<&'a str>, Refusal> {
        let Some(written) = self.value(field).map(Value::written) else {
            return Ok(None);
        };
        let bare = written
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(written);
        if bare.contains(['"', '\\']) {
            return Err(mistyped(field, "a word or a number", written));
        }
        Ok(Some(bare))
    }

    /// A string that must be there.
    pub(super) fn required(&self, field: Field, usage: &str) -> Result<Cow<'a, str>, Refusal> {
        self.string(field)?.ok_or_else(|| missing(field, usage))
    }

    /// A string of at most `most` bytes without control characters, not empty.
    pub(super) fn name(&self, field: Field, most: usize) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(text) = self.string(field)? else {
            return Ok(None);
        };
        if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
            return Err(bad(format!(
                "\"{}\" must have 1 to {most} bytes and no control characters; shorten or change it",
                field.name()
            )));
        }
        Ok(Some(text))
    }

    pub(super) fn script(&self) -> Result<Option<ScriptName>, Refusal> {
        match self.string(Field::Script)? {
            Some(text) => ScriptName::parse(&text).map(Some).map_err(bad),
            None => Ok(None),
        }
    }

    /// The sender's id: a string or an integer.
    pub(super) fn id(&self) -> Result<Option<RequestId>, Refusal> {
        self.id_in(Field::RequestId)
    }

    pub(super) fn id_in(&self, field: Field) -> Result<Option<RequestId>, Refusal> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Raw(raw)) if !raw.get().starts_with('"') => {
                match raw.get().parse::<i64>() {
                    Ok(number) => Ok(Some(RequestId::number(number))),
                    Err(_) => Err(mistyped(field, "a string or a 64-bit integer", raw.get())),
                }
            }
            Some(Value::Raw(_) | Value::Text(_)) => match self.string(field)? {
                Some(text) => RequestId::new(&text).map(Some).map_err(bad),
                None => Ok(None),
            },
        }
    }

    /// Seconds, more than none and at most [`limits::REQUEST_TIMEOUT_MOST`].
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Refusal> {
        let most = limits::REQUEST_TIMEOUT_MOST;
        match self.seconds(Field::Timeout)? {
            Some(time) if time.is_zero() || time > most => Err(bad(format!(
                "\"timeout\" must be more than 0 and at most {} seconds; change it",
                most.as_secs()
            ))),
            // The wire has microseconds: what is shorter would be printed as nothing.
            other => Ok(other.map(|time| time.max(Duration::from_micros(1)))),
        }
    }

    /// Seconds with a fraction.
    pub(super) fn seconds(&self, field: Field) -> Result<Option<Duration>, Refusal> {
        let Some(written) = self.value(field).map(Value::written) else {
            return Ok(None);
        };
        let time = written.parse().ok().map(Duration::try_from_secs_f64);
        match time {
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(_)) | None => Err(mistyped(field, "a number of seconds", written)),
        }
    }

    pub(super) fn whole(&self, field: Field) -> Result<Option<u64>, Refusal> {
        let Some(written) = self.value(field).map(Value::written) else {
            return Ok(None);
        };
        match written.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(mistyped(field, "a whole number, 0 or more", written)),
        }
    }

    /// Any JSON, as it stands; text counts as a string.
    pub(super) fn json(&self, field: Field) -> Option<Json> {
        self.value(field).map(|value| match value {
            Value::Raw(raw) => Json::from_raw(raw),
            Value::Text(text) => Json::of(text),
        })
    }

    /// A value of a serde type, for what is rare and has structure.
    pub(super) fn parsed<T: DeserializeOwned>(&self, field: Field) -> Result<Option<T>, Refusal> {
        match self.value(field) {
            None => Ok(None),
            Some(Value::Raw(raw)) => serde_json::from_str(raw.get()).map(Some).map_err(|error| {
                bad(format!(
                    "\"{}\" is faulty: {error}; correct it",
                    field.name()
                ))
            }),
            Some(Value::Text(text)) => Err(mistyped(field, "JSON", text)),
        }
    }
}

/// The characters of a JSON string; `None` if `raw` is none, or has an escape that is no character.
pub(super) fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}

pub(super) fn missing(field: Field, usage: &str) -> Refusal {
    bad(format!("\"{}\" is missing; write: {usage}", field.name()))
}

fn mistyped(field: Field, wanted: &str, written: &str) -> Refusal {
    let shown: String = written.chars().take(40).collect();
    bad(format!(
        "\"{}\" must be {wanted}, not {shown}; correct it",
        field.name()
    ))
}
