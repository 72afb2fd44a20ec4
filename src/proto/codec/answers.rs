//! Answers: how the daemon writes them and a client reads them.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{Field, Fields, unquote};
use super::{ID_PREFIX, bad, encoding_of, json, text, write};
use crate::proto::ids::RequestId;
use crate::proto::messages::{Answer, Body, Encoding, ErrorCode, Json, Payload, Refusal};

/// Appends an answer, or a part of one: no line, one, or several.
pub fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer.encoding {
        Encoding::Json => json_answer(answer, out),
        Encoding::Text => text_answer(answer, out, text::write_payload_line),
    }
}

fn json_answer(answer: &Answer, out: &mut Vec<u8>) {
    let silent = match &answer.body {
        Body::Ok { result, .. } => matches!(result, Payload::Empty),
        Body::Accepted | Body::Running | Body::Part(_) | Body::Error(_) => false,
    };
    if silent && !answer.ack {
        return;
    }
    let mut object = write::Object::new(out);
    object.id(answer.id.as_ref());
    write_body(&mut object, &answer.body);
    object.end_line();
}

/// `"status":...` and what belongs to it.
pub(super) fn write_body(object: &mut write::Object<'_>, body: &Body) {
    match body {
        Body::Accepted => {
            object.raw("status", "\"accepted\"");
        }
        Body::Running => {
            object.raw("status", "\"running\"");
        }
        Body::Part(part) => {
            write_payload(object.raw("status", "\"part\"").key("part"), part);
        }
        Body::Ok { result, replayed } => {
            write_payload(object.raw("status", "\"ok\"").key("result"), result);
            if *replayed {
                object.bool("replayed", true);
            }
        }
        Body::Error(refusal) => {
            let out = object.raw("status", "\"error\"").key("error");
            write_refusal(out, refusal);
        }
    }
}

fn write_payload(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Empty => out.extend_from_slice(b"null"),
        Payload::Json(json) => out.extend_from_slice(json.as_str().as_bytes()),
        Payload::Lines(lines) => write::string(out, lines),
    }
}

pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    let mut object = write::Object::new(out);
    object
        .string("code", refusal.code.as_str())
        .string("message", &refusal.message)
        .seconds("retry_after", refusal.retry_after)
        .maybe_raw("data", refusal.data.as_ref().map(Json::as_str))
        .maybe_string("traceback", refusal.traceback.as_deref())
        .end();
}

/// Writes one payload line with the escapes that its reader undoes; told whether an id follows it.
pub(super) type PayloadLine = fn(&mut Vec<u8>, &str, bool);

pub(super) fn text_answer(answer: &Answer, out: &mut Vec<u8>, line: PayloadLine) {
    let id = answer.id.as_ref();
    match &answer.body {
        Body::Accepted | Body::Running => {}
        Body::Part(part) => write_lines(out, part, id, line),
        Body::Ok { result, .. } => {
            write_lines(out, result, id, line);
            if answer.ack {
                out.extend_from_slice(b"done");
                end_line(out, id);
            }
        }
        Body::Error(refusal) if answer.ack => {
            out.extend_from_slice(b"error: ");
            out.extend_from_slice(refusal.code.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend(refusal.message.bytes().map(|byte| match byte {
                b'\n' | b'\r' => b' ',
                other => other,
            }));
            end_line(out, id);
            out.extend_from_slice(b"error");
            end_line(out, id);
        }
        Body::Error(_) => {}
    }
}

fn write_lines(out: &mut Vec<u8>, payload: &Payload, id: Option<&RequestId>, line: PayloadLine) {
    for text in payload_text(payload)
        .iter()
        .flat_map(|text| text.split('\n'))
    {
        line(out, text, id.is_some());
        end_line(out, id);
    }
}

/// The characters of a payload; `None`: not even an empty line.
fn payload_text(payload: &Payload) -> Option<Cow<'_, str>> {
    match payload {
        Payload::Empty => None,
        Payload::Lines(lines) => Some(Cow::Borrowed(lines)),
        Payload::Json(json) if json.as_str() == "null" => None,
        Payload::Json(json) => Some(unquote(json.as_str()).unwrap_or(Cow::Borrowed(json.as_str()))),
    }
}

fn end_line(out: &mut Vec<u8>, id: Option<&RequestId>) {
    if let Some(id) = id {
        out.push(b' ');
        out.extend_from_slice(ID_PREFIX.as_bytes());
        out.extend_from_slice(id.as_str().as_bytes());
    }
    out.push(b'\n');
}

/// One line of an answer, as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// JSON: whole by itself.
    Answer(Answer),
    /// Text: a line of payload, unescaped.
    Line { id: Option<RequestId>, line: String },
    /// Text: why the `error` that follows will end the answer.
    Why {
        id: Option<RequestId>,
        refusal: Refusal,
    },
    /// Text: `done`.
    Done { id: Option<RequestId> },
    /// Text: `error`; the line before said why.
    Failed { id: Option<RequestId> },
}

/// Reads a line of the daemon, given without its newline.
///
/// # Errors
/// A sentence about a line that is no answer: the daemon is of another kind or version.
pub fn decode_answer(line: &[u8]) -> Result<Piece, String> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err("the daemon sent a line that is not UTF-8; is it moonkeep's socket?".into());
    };
    // A payload that looks like JSON ends in its id, so it is not taken for a JSON answer.
    if encoding_of(line.as_bytes()) == Encoding::Json && line.ends_with('}') {
        return json_piece(line).map_err(|refusal| refusal.message);
    }
    Ok(text_piece(line))
}

fn json_piece(line: &str) -> Result<Piece, Refusal> {
    let mut fields = Fields::default();
    json::read(line, &mut fields)?;
    Ok(Piece::Answer(Answer {
        encoding: Encoding::Json,
        id: fields.id()?,
        ack: true,
        body: read_body(&fields)?,
    }))
}

/// What [`write_body`] wrote.
pub(super) fn read_body(fields: &Fields<'_>) -> Result<Body, Refusal> {
    let usage = "{\"request_id\":ID,\"status\":\"ok\",\"result\":RESULT}";
    let status = fields.required(Field::Status, usage)?;
    match status.as_ref() {
        "ok" => Ok(Body::Ok {
            result: payload(fields.json(Field::Result)),
            replayed: fields.parsed(Field::Replayed)?.unwrap_or(false),
        }),
        "part" => Ok(Body::Part(payload(fields.json(Field::Part)))),
        "error" => read_refusal(fields).map(Body::Error),
        "accepted" => Ok(Body::Accepted),
        "running" => Ok(Body::Running),
        other => {
            let shown: String = other.chars().take(40).collect();
            Err(bad(format!(
                "there is no status {shown:?}; an answer is \"part\", \"ok\" or \"error\""
            )))
        }
    }
}

fn payload(json: Option<Json>) -> Payload {
    json.map_or(Payload::Empty, Payload::Json)
}

#[derive(Deserialize)]
struct RefusalOnTheWire<'a> {
    code: Option<String>,
    message: Option<String>,
    retry_after: Option<f64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    traceback: Option<String>,
}

/// What [`write_refusal`] wrote. A code that is unknown here counts as `internal`.
pub(super) fn read_refusal(fields: &Fields<'_>) -> Result<Refusal, Refusal> {
    let Some(error) = fields.json(Field::Error) else {
        return Ok(Refusal::new(
            ErrorCode::ScriptError,
            "the script answered with an error and did not say which",
        ));
    };
    let wire: RefusalOnTheWire<'_> = serde_json::from_str(error.as_str()).map_err(|fault| {
        bad(format!(
            "\"error\" is faulty: {fault}; write {{\"code\":\"script_error\",\"message\":\"...\"}}"
        ))
    })?;
    let code = wire.code.as_deref();
    let known = ErrorCode::ALL
        .into_iter()
        .find(|known| Some(known.as_str()) == code);
    Ok(Refusal {
        code: match (known, code) {
            (Some(known), _) => known,
            (None, None) => ErrorCode::ScriptError,
            (None, Some(_)) => ErrorCode::Internal,
        },
        message: wire.message.unwrap_or_default(),
        retry_after: wire
            .retry_after
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        data: wire.data.map(Json::from_raw),
        traceback: wire.traceback,
    })
}

fn text_piece(line: &str) -> Piece {
    let (payload, id) = match text::split_id(line) {
        (payload, Some(id)) => match RequestId::new(id) {
            Ok(id) => (payload, Some(id)),
            Err(_) => (line, None),
        },
        (payload, None) => (payload, None),
    };
    match payload {
        "done" => Piece::Done { id },
        "error" => Piece::Failed { id },
        other => match other.strip_prefix("error: ") {
            Some(why) => Piece::Why {
                id,
                refusal: read_why(why),
            },
            None => Piece::Line {
                line: text::read_payload_line(other, id.is_some()).to_owned(),
                id,
            },
        },
    }
}

/// `CODE: MESSAGE`, or, from a script, a message alone.
pub(super) fn read_why(why: &str) -> Refusal {
    let coded = why.split_once(": ").and_then(|(code, message)| {
        let known = ErrorCode::ALL
            .into_iter()
            .find(|known| known.as_str() == code)?;
        Some(Refusal::new(known, message))
    });
    coded.unwrap_or_else(|| Refusal::new(ErrorCode::ScriptError, why))
}
