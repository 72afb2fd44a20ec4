//! The names of things. Each is a type of its own; none is ever reused.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits;

/// One connection of one client. A counter of the daemon's life, never a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// The router's own id for a dispatched request: all that a worker sees. Written `@17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Reads `@17`. Anything else, `@017` and `@+17` among it, is no ticket.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('@')?;
        let plain = digits == "0"
            || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
        if plain {
            digits.parse().ok().map(Ticket)
        } else {
            None
        }
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// Counts the workers that a script has had, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Generation(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a script: 1 to 64 of `[A-Za-z0-9_-]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScriptName(Arc<str>);

impl ScriptName {
    /// # Errors
    /// A sentence that says what a name may consist of.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty() && text.len() <= limits::SCRIPT_NAME_BYTES;
        if fits
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return Ok(ScriptName(text.into()));
        }
        let shown: String = text.chars().take(limits::SCRIPT_NAME_BYTES).collect();
        Err(format!(
            "{shown:?} cannot name a script: use 1 to {} of the letters A to Z, a to z, digits, '_' and '-'",
            limits::SCRIPT_NAME_BYTES
        ))
    }

    /// The worker of a plugin: `@` and the plugin's name, which no script can have.
    ///
    /// # Errors
    /// As [`ScriptName::new`].
    pub fn of_plugin(stem: &str) -> Result<Self, String> {
        let plain = ScriptName::new(stem)?;
        Ok(ScriptName(format!("@{plain}").into()))
    }

    /// A script's, or a plugin worker's with its `@`.
    ///
    /// # Errors
    /// As [`ScriptName::new`].
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(stem) => ScriptName::of_plugin(stem),
            None => ScriptName::new(text),
        }
    }

    #[must_use]
    pub fn is_plugin(&self) -> bool {
        self.0.starts_with('@')
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ScriptName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        ScriptName::parse(&text)
    }
}

impl From<ScriptName> for String {
    fn from(name: ScriptName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One worker: an answer belongs to it, never to a name alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId {
    pub script: ScriptName,
    pub generation: Generation,
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.script, self.generation)
    }
}

/// Whoever speaks to the daemon's socket; outlives its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientId(pub Uuid);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DaemonId(pub Uuid);

impl fmt::Display for DaemonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id that a sender gave its command. A JSON number stays a number in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId {
    text: Arc<str>,
    number: bool,
}

impl RequestId {
    /// An id given as text: 1 to 128 printable ASCII characters without blanks, quotes or backslashes, not
    /// beginning with `@` (tickets begin so).
    ///
    /// # Errors
    /// A sentence that says what an id may be.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.starts_with('@') {
            return Err("a request id cannot begin with '@': such ids are the daemon's tickets; choose another".into());
        }
        let fits = !text.is_empty() && text.len() <= limits::REQUEST_ID_BYTES;
        if fits
            && text
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        {
            return Ok(RequestId {
                text: text.into(),
                number: false,
            });
        }
        Err(format!(
            "a request id is 1 to {} printable ASCII characters without blanks, quotes or backslashes; shorten or change it",
            limits::REQUEST_ID_BYTES
        ))
    }

    /// An id given as a JSON integer.
    #[must_use]
    pub fn number(value: i64) -> Self {
        // Each request of a JSON client comes by here: no String on the way.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = value.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if value < 0 {
            at -= 1;
            digits[at] = b'-';
        }
        let text = std::str::from_utf8(&digits[at..]).unwrap_or_default();
        RequestId {
            text: text.into(),
            number: true,
        }
    }

    /// A fresh UUIDv7: an idempotency key of the home.
    #[must_use]
    pub fn from_uuid(id: Uuid) -> Self {
        RequestId {
            text: id.to_string().into(),
            number: false,
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the sender wrote it as a JSON number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.number
    }

    /// The idempotency key, if the id is a UUID of version 7 in its hyphenated form.
    #[must_use]
    pub fn key(&self) -> Option<Uuid> {
        if self.text.len() != 36 {
            return None;
        }
        let id = Uuid::try_parse(&self.text).ok()?;
        (id.get_version_num() == 7).then_some(id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_it_came() {
        for value in [0, 7, -7, 1_234_567_890, i64::MIN, i64::MAX] {
            assert_eq!(RequestId::number(value).as_str(), value.to_string());
        }
    }
}
