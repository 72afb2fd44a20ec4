//! A worker's outcome record: the lines of the file in which it notes what it began and how that ended.
//!
//! | line | when |
//! |---|---|
//! | `W PID START BOOT` | first of all: which process writes here |
//! | `B ID` | before anything of the request runs |
//! | `E ID BODY` | before a byte of the request's end leaves; BODY is the end as JSON |
//! | `X` | the worker has nothing more to say |
//!
//! A worker may be killed within a line: what has no newline was never said. Anything else that is not one of
//! these lines leaves the record readable but not [`Outcomes::complete`], so that nothing is concluded from
//! what it lacks. Facts only: what follows from them is the engine's to decide.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec;
use super::messages::Body;

/// What the workers of one script wrote into their outcome records: facts, not decisions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Received by a worker. A request that was sent and is not in here never began, if `complete`.
    pub began: BTreeSet<Uuid>,
    pub ended: BTreeMap<Uuid, Body>,
    /// The records were found and read whole (a torn last line is no fault: it was never finished).
    pub complete: bool,
}

impl Outcomes {
    /// What several records say together. Complete if there is one and all are; of two ends the first counts.
    #[must_use]
    pub fn joined(records: impl IntoIterator<Item = Outcomes>) -> Self {
        let mut all: Option<Outcomes> = None;
        for record in records {
            match &mut all {
                None => all = Some(record),
                Some(all) => all.absorb(record),
            }
        }
        all.unwrap_or_default()
    }

    fn absorb(&mut self, other: Outcomes) {
        self.began.extend(other.began);
        for (id, body) in other.ended {
            self.ended.entry(id).or_insert(body);
        }
        self.complete &= other.complete;
    }
}

/// The process that writes a record. Its number alone may have become another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// It leads a process group of the same number.
    pub pid: u32,
    /// Clock ticks from the machine's start to the process's, as `/proc/PID/stat` says in its 22nd field.
    pub started: u64,
    /// The machine's start during which it ran, as `/proc/sys/kernel/random/boot_id` says.
    pub boot: Uuid,
}

/// Appends the first line.
pub fn print_header(header: Header, out: &mut Vec<u8>) {
    let Header { pid, started, boot } = header;
    // Writing to memory cannot fail.
    let _ = writeln!(out, "W {pid} {started} {boot}");
}

/// Appends that a request begins.
pub fn print_begun(id: Uuid, out: &mut Vec<u8>) {
    let _ = writeln!(out, "B {id}");
}

/// Appends how a request ended.
pub fn print_ended(id: Uuid, body: &Body, out: &mut Vec<u8>) {
    begin_end(id, out);
    codec::encode_body(body, out);
    out.push(b'\n');
}

/// As [`print_ended`] of an `Ok`, for a result that is one value of JSON on one line already.
pub fn print_result(id: Uuid, result: &[u8], out: &mut Vec<u8>) {
    begin_end(id, out);
    codec::encode_ok_body(result, out);
    out.push(b'\n');
}

fn begin_end(id: Uuid, out: &mut Vec<u8>) {
    let _ = write!(out, "E {id} ");
}

/// Appends that nothing follows.
pub fn print_closed(out: &mut Vec<u8>) {
    out.extend_from_slice(b"X\n");
}

/// One line, as it was meant.
enum Line {
    Header(Header),
    Begun(Uuid),
    Ended(Uuid, Body),
    Closed,
}

/// Reads a record, whatever its bytes are. No header: the worker died before it had written one, or it is lost.
///
/// Takes time and memory in proportion to `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> (Option<Header>, Outcomes) {
    let whole = memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1);
    let mut header = None;
    let mut outcomes = Outcomes {
        complete: true,
        ..Outcomes::default()
    };
    for (number, line) in bytes[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
    {
        match read(&line[..line.len() - 1]) {
            Some(Line::Header(found)) if number == 0 => header = Some(found),
            Some(Line::Begun(id)) => {
                outcomes.began.insert(id);
            }
            Some(Line::Ended(id, body)) => {
                outcomes.ended.entry(id).or_insert(body);
            }
            Some(Line::Closed) => {}
            Some(Line::Header(_)) | None => outcomes.complete = false,
        }
    }
    outcomes.complete &= header.is_some() || whole == 0;
    (header, outcomes)
}

fn read(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?;
    if line == "X" {
        return Some(Line::Closed);
    }
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "W" => read_header(rest).map(Line::Header),
        "B" => read_id(rest).map(Line::Begun),
        "E" => {
            let (id, body) = rest.split_once(' ')?;
            let body = codec::decode_body(body).ok().filter(Body::is_end)?;
            Some(Line::Ended(read_id(id)?, body))
        }
        _ => None,
    }
}

fn read_header(text: &str) -> Option<Header> {
    let mut words = text.split(' ');
    let header = Header {
        pid: words.next()?.parse().ok()?,
        started: words.next()?.parse().ok()?,
        boot: read_id(words.next()?)?,
    };
    words.next().is_none().then_some(header)
}

/// Only the form in which ids are printed.
fn read_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    let mut printed = Uuid::encode_buffer();
    (id.hyphenated().encode_lower(&mut printed) == text).then_some(id)
}

#[cfg(test)]
mod tests;
