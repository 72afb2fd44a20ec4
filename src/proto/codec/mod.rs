//! Lines to messages and back, in both encodings. Pure.
//!
//! A line is JSON if its first byte is `{`, else text. Each direction has one function to read and
//! one to write it; writers append whole lines, newline included, and cannot fail. What only passes
//! through (`params`, `result`, ...) is validated where it lies and copied, never parsed into a tree.
//!
//! | direction | read | write |
//! |---|---|---|
//! | client to daemon | [`decode_client`] | [`encode_question`] |
//! | daemon to client | [`decode_answer`] | [`encode_answer`] |
//! | worker to daemon | [`decode_worker`] | [`encode_notice`], [`encode_outcome`], [`encode_result`], [`encode_question`] |
//! | daemon to worker | [`decode_daemon`] | [`encode_to_worker`] |
//! | outcome records | [`decode_body`] | [`encode_body`], [`encode_ok_body`] |
//! | executables | [`Outcomes`] | [`encode_text_request`], [`encode_legacy_request`] |

mod answers;
mod checks;
mod commands;
mod executables;
mod fields;
mod json;
mod notices;
mod params;
mod questions;
mod text;
mod worker;
mod write;

#[cfg(test)]
mod tests;

pub use answers::{Piece, decode_answer, encode_answer};
pub use commands::{COMMANDS, Spec, complete};
pub use executables::{Joined, Outcomes, encode_legacy_request, encode_text_request};
pub use notices::encode_notice;
pub use questions::{encode_question, name_of};
pub use worker::{
    FromDaemon, decode_body, decode_daemon, decode_worker, encode_body, encode_ok_body,
    encode_outcome, encode_result, encode_to_worker,
};

use super::ids::RequestId;
use super::messages::{Command, Encoding, ErrorCode, FromClient, Malformed, Question, Refusal};
use fields::Fields;

/// Reads a line of a client, given without its newline.
#[must_use]
pub fn decode_client(line: &[u8]) -> FromClient {
    match question(line) {
        Ok(question) => FromClient::Question(question),
        Err(malformed) => FromClient::Malformed(malformed),
    }
}

/// The answer to a line that the framer skipped: `first` is its first byte, `cap` the limit.
#[must_use]
pub fn too_long(first: u8, dropped: usize, cap: usize) -> Malformed {
    Malformed {
        encoding: encoding_of(&[first]),
        id: None,
        refusal: Refusal::new(
            ErrorCode::TooLarge,
            format!(
                "a line of {dropped} bytes was skipped: a line has at most {cap} bytes; send less, or in pieces"
            ),
        ),
    }
}

/// Everything wrong with a line is told with the id that it carries, as far as that can be read.
fn question(line: &[u8]) -> Result<Question, Malformed> {
    let encoding = encoding_of(line);
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(encoding, line, error.valid_up_to())),
    };
    match encoding {
        Encoding::Json => {
            let mut fields = Fields::default();
            let read = json::read(text, &mut fields);
            read.and_then(|()| json_question(&fields))
                .map_err(|refusal| Malformed {
                    encoding,
                    id: fields.id().ok().flatten(),
                    refusal,
                })
        }
        Encoding::Text => text::question(text).map_err(|(id, refusal)| Malformed {
            encoding,
            id,
            refusal,
        }),
    }
}

/// The question that an envelope holds.
fn json_question(fields: &Fields<'_>) -> Result<Question, Refusal> {
    Ok(Question {
        encoding: Encoding::Json,
        id: fields.id()?,
        command: json_command(fields)?,
    })
}

fn json_command(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let Some(name) = fields.string(fields::Field::Command)? else {
        return Err(bad(
            "the object has no \"command\"; send for instance {\"command\":\"ping\"}",
        ));
    };
    match commands::find(&name) {
        Some(spec) => (spec.build)(fields),
        None => commands::by_alias(&name, fields),
    }
}

fn encoding_of(line: &[u8]) -> Encoding {
    if line.first() == Some(&b'{') {
        Encoding::Json
    } else {
        Encoding::Text
    }
}

fn not_utf8(encoding: Encoding, line: &[u8], at: usize) -> Malformed {
    Malformed {
        encoding,
        id: tail_id(line),
        refusal: bad(format!(
            "the line is not UTF-8 from byte {at} on; send UTF-8, and other bytes in an encoding such as base64"
        )),
    }
}

/// The id at the end of a text line that is broken elsewhere.
fn tail_id(line: &[u8]) -> Option<RequestId> {
    let start = memchr::memrchr(b' ', line)? + 1;
    let id = line[start..].strip_prefix(ID_PREFIX.as_bytes())?;
    RequestId::new(std::str::from_utf8(id).ok()?).ok()
}

/// Begins the word that carries the id in text.
const ID_PREFIX: &str = "request_id=";

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, message)
}
