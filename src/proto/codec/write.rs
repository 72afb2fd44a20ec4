//! The pieces that all writers share: numbers, strings and keys, appended without an intermediate.

use std::time::Duration;

use crate::proto::ids::{RequestId, Ticket};

/// Appends a JSON string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))
    {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        other => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(other >> 4)]);
            out.push(HEX[usize::from(other & 15)]);
        }
    }
}

pub(super) fn integer(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Seconds with as many decimals as microseconds need, to the nearest one: what is read of it prints the same.
pub(super) fn seconds(out: &mut Vec<u8>, time: Duration) {
    let time = time.saturating_add(Duration::from_nanos(500));
    integer(out, time.as_secs());
    let micros = time.subsec_micros();
    if micros == 0 {
        return;
    }
    out.push(b'.');
    let mut digits = [b'0'; 6];
    let mut left = micros;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let end = digits.iter().rposition(|digit| *digit != b'0');
    out.extend_from_slice(&digits[..=end.unwrap_or(0)]);
}

/// An id in JSON: a number stays one. Ids hold nothing that needs escaping.
pub(super) fn json_id(out: &mut Vec<u8>, id: &RequestId) {
    if id.is_number() {
        out.extend_from_slice(id.as_str().as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(id.as_str().as_bytes());
        out.push(b'"');
    }
}

/// `@17`
pub(super) fn ticket(out: &mut Vec<u8>, ticket: Ticket) {
    out.push(b'@');
    integer(out, ticket.0);
}

/// Writes one JSON object: the braces, the commas, the keys.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, first: true }
    }

    /// Writes the key; the caller writes one value behind it.
    pub(super) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        string(self.key(name), value);
        self
    }

    /// A string that holds nothing to escape: names of scripts, codes.
    pub(super) fn raw_string(&mut self, name: &str, value: &str) -> &mut Self {
        let out = self.key(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
        self
    }

    pub(super) fn maybe_string(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.string(name, value);
        }
        self
    }

    /// A value that is JSON already, or that needs no escaping.
    pub(super) fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name).extend_from_slice(value.as_bytes());
        self
    }

    pub(super) fn maybe_raw(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.raw(name, value);
        }
        self
    }

    pub(super) fn integer(&mut self, name: &str, value: u64) -> &mut Self {
        integer(self.key(name), value);
        self
    }

    pub(super) fn seconds(&mut self, name: &str, value: Option<Duration>) -> &mut Self {
        if let Some(value) = value {
            seconds(self.key(name), value);
        }
        self
    }

    pub(super) fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    pub(super) fn id(&mut self, id: Option<&RequestId>) -> &mut Self {
        if let Some(id) = id {
            json_id(self.key("request_id"), id);
        }
        self
    }

    pub(super) fn ticket(&mut self, id: Ticket) -> &mut Self {
        let out = self.key("request_id");
        out.push(b'"');
        ticket(out, id);
        out.push(b'"');
        self
    }

    /// The members of another object, with its closing brace left away.
    pub(super) fn members(&mut self, object: &str) -> &mut Self {
        let members = object.strip_suffix('}').unwrap_or(object);
        if !members.is_empty() {
            self.out.push(b',');
            self.out.extend_from_slice(members.as_bytes());
        }
        self
    }

    /// Closes the object and ends the line.
    pub(super) fn end_line(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// Closes the object.
    pub(super) fn end(&mut self) {
        self.out.push(b'}');
    }
}
