//! Executables that speak words and lines: their requests, and their lines joined into answers.

use std::collections::BTreeMap;

use super::questions::{call_words, text_end};
use super::worker::{no_reason, split_ticket};
use super::{answers, text, write};
use crate::limits;
use crate::proto::ids::Ticket;
use crate::proto::messages::{Body, Dispatch, ErrorCode, Payload, Refusal, Work};

/// Appends a request for an executable that speaks text with ids.
pub fn encode_text_request(dispatch: &Dispatch, out: &mut Vec<u8>) {
    match &dispatch.work {
        Work::Call { handler, params } => {
            out.extend_from_slice(b"call");
            call_words(out, Some(&dispatch.script), handler, params.as_ref());
        }
        Work::Eval { code } => {
            out.extend_from_slice(b"eval ");
            text::write_value(out, dispatch.script.as_str(), true);
            out.push(b' ');
            text::write_value(out, code, true);
        }
    }
    out.extend_from_slice(b" request_id=");
    write::ticket(out, dispatch.ticket);
    text_end(out, None);
}

/// Appends a request for an executable that speaks no ids: `HANDLER key=value ...`.
pub fn encode_legacy_request(dispatch: &Dispatch, out: &mut Vec<u8>) {
    let mut line = Vec::new();
    match &dispatch.work {
        Work::Call { handler, params } => call_words(&mut line, None, handler, params.as_ref()),
        Work::Eval { code } => text::write_value(&mut line, code, true),
    }
    out.extend_from_slice(line.trim_ascii_start());
    text_end(out, None);
}

/// Joins the text lines of an executable into answers: one result for all payload lines of a ticket.
///
/// Lines of tickets that are not open are not its affair. It holds at most [`limits::LINE_BYTES`] a ticket.
#[derive(Debug, Default)]
pub struct Outcomes {
    open: BTreeMap<Ticket, Joining>,
}

#[derive(Debug, Default)]
struct Joining {
    lines: Option<String>,
    why: Option<Refusal>,
    overflow: bool,
}

/// What a line was.
#[derive(Clone, Debug, PartialEq)]
pub enum Joined {
    /// It carries no open ticket: a command of the script's own, or a forgery.
    Other,
    /// It belongs to an answer that goes on.
    More,
    /// It ended the answer.
    End { ticket: Ticket, body: Body },
}

impl Outcomes {
    /// A request was handed out.
    pub fn open(&mut self, ticket: Ticket) {
        self.open.entry(ticket).or_default();
    }

    /// It was ended otherwise.
    pub fn close(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
    }

    /// Takes a line that carries its ticket in its last word.
    pub fn line(&mut self, line: &str) -> Joined {
        match split_ticket(line) {
            (payload, Some(ticket)) => self.piece(ticket, payload),
            (_, None) => Joined::Other,
        }
    }

    /// Takes a line without an id, of a script that has one request at a time.
    pub fn legacy_line(&mut self, line: &str) -> Joined {
        match self.open.keys().next().copied() {
            Some(ticket) => self.piece(ticket, line),
            None => Joined::Other,
        }
    }

    fn piece(&mut self, ticket: Ticket, payload: &str) -> Joined {
        let Some(joining) = self.open.get_mut(&ticket) else {
            return Joined::Other;
        };
        let failed = match payload {
            "done" => false,
            "error" => true,
            other => {
                match other.strip_prefix("error: ") {
                    Some(why) => joining.why = Some(answers::read_why(why)),
                    None => joining.add(text::read_payload_line(other, true)),
                }
                return Joined::More;
            }
        };
        let joining = self.open.remove(&ticket).unwrap_or_default();
        Joined::End {
            ticket,
            body: joining.end(failed),
        }
    }
}

impl Joining {
    fn add(&mut self, line: &str) {
        let held = self.lines.as_ref().map_or(0, String::len);
        self.overflow |= held + line.len() >= limits::LINE_BYTES;
        if self.overflow {
            self.lines = None;
            return;
        }
        match &mut self.lines {
            Some(lines) => {
                lines.push('\n');
                lines.push_str(line);
            }
            None => self.lines = Some(line.to_owned()),
        }
    }

    fn end(self, failed: bool) -> Body {
        if failed {
            return Body::Error(self.why.unwrap_or_else(no_reason));
        }
        if self.overflow {
            return Body::Error(Refusal::new(
                ErrorCode::TooLarge,
                format!(
                    "the script's answer is longer than {} bytes; have it answer less, or write a file",
                    limits::LINE_BYTES
                ),
            ));
        }
        Body::Ok {
            result: self
                .lines
                .map_or(Payload::Empty, |lines| Payload::Lines(lines.into())),
            replayed: false,
        }
    }
}
