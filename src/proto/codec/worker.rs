//! The pipes of a worker: what the daemon writes to it, what it writes to the daemon.
//!
//! A line for the worker program is an object with a `command`; any other line is an answer to one of
//! its questions. A text answer's payload could look like such an object, so on this hop a payload line
//! that begins with `{` (behind any backslashes) carries one backslash more, which [`decode_daemon`] takes off.

use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Field, Fields};
use super::notices::read_notice;
use super::{answers, bad, encoding_of, json, json_question, text, write};
use crate::limits;
use crate::proto::ids::{ClientId, RequestId, Ticket};
use crate::proto::messages::{
    Body, Dispatch, Encoding, ErrorCode, FromClient, FromWorker, Json, Malformed, Payload, Refusal,
    Setup, ToWorker, Work,
};

/// What a worker program reads.
#[derive(Clone, Debug, PartialEq)]
pub enum FromDaemon<'a> {
    /// For the program itself; never [`ToWorker::Answer`].
    Message(ToWorker),
    /// A line of an answer to one of its questions. A JSON line is whole by itself and [`super::decode_answer`]
    /// reads it; text answers belong to the script, which gets `line` as it is.
    Answer {
        encoding: Encoding,
        id: Option<RequestId>,
        line: &'a [u8],
    },
}

/// Appends a message to a worker.
pub fn encode_to_worker(message: &ToWorker, out: &mut Vec<u8>) {
    let answer = match message {
        ToWorker::Answer(answer) => answer,
        ToWorker::Setup(_)
        | ToWorker::Request(_)
        | ToWorker::Cancel { .. }
        | ToWorker::Ping { .. }
        | ToWorker::Event { .. }
        | ToWorker::Handover
        | ToWorker::Shutdown { .. } => return encode_message(message, out),
    };
    match answer.encoding {
        Encoding::Json => answers::encode_answer(answer, out),
        Encoding::Text => answers::text_answer(answer, out, write_hop_line),
    }
}

fn write_hop_line(out: &mut Vec<u8>, line: &str, named: bool) {
    if line.trim_start_matches('\\').starts_with('{') {
        out.push(b'\\');
    }
    text::write_payload_line(out, line, named);
}

fn read_hop_line(line: &str) -> &str {
    match line.strip_prefix('\\') {
        Some(bare) if bare.trim_start_matches('\\').starts_with('{') => bare,
        Some(_) | None => line,
    }
}

fn encode_message(message: &ToWorker, out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    match message {
        ToWorker::Setup(setup) => write_setup(&mut object, setup),
        ToWorker::Request(dispatch) => write_dispatch(&mut object, dispatch),
        ToWorker::Cancel { ticket } => {
            object.ticket(*ticket).raw_string("command", "cancel");
        }
        ToWorker::Ping { beat, settled } => {
            object.raw_string("command", "ping").integer("beat", *beat);
            if let Some(settled) = settled {
                object.integer("settled", *settled);
            }
        }
        ToWorker::Event { event, data, from } => {
            object
                .raw_string("command", "event")
                .string("event", event)
                .maybe_raw("data", data.as_ref().map(Json::as_str))
                .maybe_string("from", from.as_ref().map(|script| script.as_str()));
        }
        ToWorker::Handover => {
            object.raw_string("command", "handover");
        }
        ToWorker::Shutdown { grace } => {
            object
                .raw_string("command", "shutdown")
                .seconds("grace", Some(*grace));
        }
        ToWorker::Answer(_) => unreachable!("encode_to_worker writes answers itself"),
    }
    object.end_line();
}

fn write_dispatch(object: &mut write::Object<'_>, dispatch: &Dispatch) {
    object.ticket(dispatch.ticket);
    match &dispatch.work {
        Work::Call { handler, params } => object
            .raw_string("command", "call")
            .raw_string("script", dispatch.script.as_str())
            .string("handler", handler)
            .maybe_raw("params", params.as_ref().map(Json::as_str)),
        Work::Eval { code } => object
            .raw_string("command", "eval")
            .raw_string("script", dispatch.script.as_str())
            .string("code", code),
    };
    if let Some(id) = &dispatch.id {
        write::json_id(object.key("id"), id);
    }
    if let Some(client) = dispatch.client {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        object.raw_string("client", client.0.hyphenated().encode_lower(&mut text));
    }
    object.seconds("timeout", Some(dispatch.timeout));
    object.maybe_raw("record", dispatch.record.then_some("true"));
}

/// Once a worker, so serde may do it. Paths that are not UTF-8 are written lossily: such a home does not work.
fn write_setup(object: &mut write::Object<'_>, setup: &Setup) {
    let readable = |path: &PathBuf| PathBuf::from(path.to_string_lossy().into_owned());
    let mut plugins = setup.plugins.clone();
    for plugin in &mut plugins {
        plugin.path = plugin.path.as_ref().map(readable);
    }
    let setup = Setup {
        plugins,
        home: readable(&setup.home),
        socket: readable(&setup.socket),
        path: readable(&setup.path),
        outcomes: readable(&setup.outcomes),
        lock: readable(&setup.lock),
        ..setup.clone()
    };
    let json = Json::of(&setup);
    let (command, fields) = json.as_str().split_at(1);
    debug_assert_eq!(command, "{", "a struct is an object");
    object.raw_string("command", "setup").members(fields);
}

/// Reads a line of the daemon, given without its newline.
///
/// # Errors
/// A sentence about a line that is none of the daemon's: its version is another, or the pipe is not its own.
pub fn decode_daemon(line: &[u8]) -> Result<FromDaemon<'_>, String> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err("a line of the daemon is not UTF-8".into());
    };
    if encoding_of(line.as_bytes()) == Encoding::Text {
        let line = read_hop_line(line);
        let id = text::split_id(line).1;
        return Ok(FromDaemon::Answer {
            encoding: Encoding::Text,
            id: id.and_then(|id| RequestId::new(id).ok()),
            line: line.as_bytes(),
        });
    }
    let mut fields = Fields::default();
    json::read(line, &mut fields)
        .and_then(|()| daemon_object(line, &fields))
        .map_err(|refusal| refusal.message)
}

fn daemon_object<'a>(line: &'a str, fields: &Fields<'a>) -> Result<FromDaemon<'a>, Refusal> {
    let Some(command) = fields.string(Field::Command)? else {
        return Ok(FromDaemon::Answer {
            encoding: Encoding::Json,
            id: fields.id()?,
            line: line.as_bytes(),
        });
    };
    let message = match command.as_ref() {
        "call" | "eval" => ToWorker::Request(read_dispatch(&command, fields)?),
        "cancel" => ToWorker::Cancel {
            ticket: ticket(fields)?,
        },
        "ping" => ToWorker::Ping {
            beat: fields.whole(Field::Beat)?.unwrap_or(0),
            settled: fields.whole(Field::Settled)?,
        },
        "event" => ToWorker::Event {
            event: fields.required(Field::Event, "event NAME")?.into_owned(),
            data: fields.json(Field::Data),
            from: fields.parsed(Field::From)?,
        },
        "handover" => ToWorker::Handover,
        "shutdown" => ToWorker::Shutdown {
            grace: fields.seconds(Field::Grace)?.unwrap_or(Duration::ZERO),
        },
        "setup" => {
            let setup: Setup = serde_json::from_str(line)
                .map_err(|error| bad(format!("the setup line is faulty: {error}")))?;
            ToWorker::Setup(Box::new(setup))
        }
        other => return Err(bad(format!("the daemon has no command {other:?}"))),
    };
    Ok(FromDaemon::Message(message))
}

fn read_dispatch(command: &str, fields: &Fields<'_>) -> Result<Dispatch, Refusal> {
    let work = if command == "eval" {
        Work::Eval {
            code: fields.required(Field::Code, "eval")?.into_owned(),
        }
    } else {
        Work::Call {
            handler: fields.required(Field::Handler, "call")?.into(),
            params: fields.json(Field::Params),
        }
    };
    let client = fields.string(Field::Client)?;
    Ok(Dispatch {
        ticket: ticket(fields)?,
        script: fields
            .script()?
            .ok_or_else(|| bad("\"script\" is missing"))?,
        work,
        id: fields.id_in(Field::Id)?,
        client: client.and_then(|id| id.parse().ok()).map(ClientId),
        timeout: fields
            .seconds(Field::Timeout)?
            .unwrap_or(limits::REQUEST_TIMEOUT),
        record: fields.parsed(Field::Record)?.unwrap_or(false),
    })
}

fn ticket(fields: &Fields<'_>) -> Result<Ticket, Refusal> {
    let written = fields.string(Field::RequestId)?.unwrap_or_default();
    Ticket::parse(&written).ok_or_else(|| {
        let shown: String = written.chars().take(40).collect();
        bad(format!(
            "{shown:?} is no ticket: an answer carries the request_id of its request, such as \"@17\""
        ))
    })
}

/// Appends a piece of an answer to a ticket: only `Part`, `Ok` and `Error` occur.
pub fn encode_outcome(ticket: Ticket, body: &Body, out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    answers::write_body(object.ticket(ticket), body);
    object.end_line();
}

/// As [`encode_outcome`] of an `Ok`, for a result that is one value of JSON on one line already.
pub fn encode_result(ticket: Ticket, result: &[u8], out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    object
        .ticket(ticket)
        .raw("status", "\"ok\"")
        .key("result")
        .extend_from_slice(result);
    object.end_line();
}

/// Appends an end as one JSON object, without a ticket and without a newline: what an outcome record keeps.
pub fn encode_body(body: &Body, out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    answers::write_body(&mut object, body);
    object.end();
}

/// As [`encode_body`] of an `Ok`, for a result that is one value of JSON on one line already.
pub fn encode_ok_body(result: &[u8], out: &mut Vec<u8>) {
    let mut object = write::Object::new(out);
    object
        .raw("status", "\"ok\"")
        .key("result")
        .extend_from_slice(result);
    object.end();
}

/// Reads what [`encode_body`] wrote.
///
/// # Errors
/// What is wrong with it.
pub fn decode_body(text: &str) -> Result<Body, Refusal> {
    let mut fields = Fields::default();
    json::read(text, &mut fields)?;
    answers::read_body(&fields)
}

/// Reads a line of a worker, given without its newline.
#[must_use]
pub fn decode_worker(line: &[u8]) -> FromWorker {
    let Ok(text) = std::str::from_utf8(line) else {
        return from_client(super::decode_client(line));
    };
    // First: the payload of a text answer may look like JSON.
    if let (payload, Some(ticket)) = split_ticket(text) {
        return text_outcome(payload, ticket);
    }
    if encoding_of(line) == Encoding::Text {
        return from_client(super::decode_client(line));
    }
    let mut fields = Fields::default();
    json::read(text, &mut fields)
        .and_then(|()| worker_object(&fields))
        .unwrap_or_else(|refusal| {
            FromWorker::Malformed(Malformed {
                encoding: Encoding::Json,
                id: fields.id().ok().flatten(),
                refusal,
            })
        })
}

fn worker_object(fields: &Fields<'_>) -> Result<FromWorker, Refusal> {
    if fields.has(Field::Status) {
        let ticket = ticket(fields)?;
        let body = answers::read_body(fields)?;
        return match body {
            Body::Accepted | Body::Running => Err(bad(
                "a worker answers with the status \"part\", \"ok\" or \"error\"; the others are the daemon's",
            )),
            Body::Part(_) | Body::Ok { .. } | Body::Error(_) => {
                Ok(FromWorker::Answer { ticket, body })
            }
        };
    }
    match read_notice(fields)? {
        Some(notice) => Ok(FromWorker::Notice(notice)),
        None => json_question(fields).map(FromWorker::Question),
    }
}

fn from_client(message: FromClient) -> FromWorker {
    match message {
        FromClient::Question(question) => FromWorker::Question(question),
        FromClient::Malformed(malformed) => FromWorker::Malformed(malformed),
    }
}

pub(super) fn split_ticket(line: &str) -> (&str, Option<Ticket>) {
    match text::split_id(line) {
        (payload, Some(id)) => match Ticket::parse(id) {
            Some(ticket) => (payload, Some(ticket)),
            None => (line, None),
        },
        (_, None) => (line, None),
    }
}

/// One line says one thing here: payload lines are parts. `error: WHY` ends the ticket, so the `error`
/// that follows finds none. [`super::Outcomes`] joins lines instead.
fn text_outcome(payload: &str, ticket: Ticket) -> FromWorker {
    let body = match payload {
        "done" => Body::Ok {
            result: Payload::Empty,
            replayed: false,
        },
        "error" => Body::Error(no_reason()),
        other => match other.strip_prefix("error: ") {
            Some(why) => Body::Error(answers::read_why(why)),
            None => Body::Part(Payload::Lines(text::read_payload_line(other, true).into())),
        },
    };
    FromWorker::Answer { ticket, body }
}

pub(super) fn no_reason() -> Refusal {
    Refusal::new(
        ErrorCode::ScriptError,
        "the script answered `error` and did not say why; have it write `error: WHY` before",
    )
}
