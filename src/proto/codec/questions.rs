//! Questions: how a client, or a worker for itself, writes them.

use super::text::write_value;
use super::{ID_PREFIX, checks, params, write};
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{AckMode, Command, Encoding, Hello, Json, Question};

/// Appends a question as one line.
pub fn encode_question(question: &Question, out: &mut Vec<u8>) {
    match question.encoding {
        Encoding::Json => {
            let mut object = write::Object::new(out);
            object.id(question.id.as_ref());
            json_command(&mut object, &question.command);
            object.end_line();
        }
        Encoding::Text => {
            text_command(out, &question.command);
            text_end(out, question.id.as_ref());
        }
    }
}

/// The name under which a command goes; nothing for an empty line.
#[must_use]
pub fn name_of(command: &Command) -> &'static str {
    match command {
        Command::Nothing => "",
        Command::Ping { .. } => "ping",
        Command::Hello(_) => "hello",
        Command::Bye => "bye",
        Command::Status => "status",
        Command::List => "list",
        Command::Version => "version",
        Command::Help => "help",
        Command::Shutdown => "shutdown",
        Command::Call(_) => "call",
        Command::Eval { .. } => "eval",
        Command::Cancel { .. } => "cancel",
        Command::Control { verb, .. } => verb.as_str(),
        Command::Logs { .. } => "logs",
        Command::Events { .. } => "events",
        Command::Emit { .. } => "emit",
        Command::Ack(_) => "ack",
        Command::Check { .. } => "check",
        Command::Checks { .. } => "checks",
        Command::Heartbeat { .. } => "heartbeat",
        Command::Downtime { .. } => "downtime",
        Command::Peers => "peer list",
    }
}

fn mode(mode: AckMode) -> &'static str {
    match mode {
        AckMode::Enable => "enable",
        AckMode::Disable => "disable",
        AckMode::Silence => "silence",
    }
}

fn json_command(object: &mut write::Object<'_>, command: &Command) {
    object.string("command", name_of(command));
    match command {
        Command::Nothing
        | Command::Bye
        | Command::Status
        | Command::List
        | Command::Version
        | Command::Help
        | Command::Shutdown
        | Command::Peers => {}
        Command::Ping { client, timestamp } => {
            let client = client.map(|client| client.to_string());
            object
                .maybe_string("client", client.as_deref())
                .maybe_string("timestamp", timestamp.as_deref());
        }
        Command::Hello(hello) => json_hello(object, hello),
        Command::Call(call) => {
            object
                .raw_string("script", call.script.as_str())
                .string("handler", &call.handler)
                .maybe_raw("params", call.params.as_ref().map(Json::as_str))
                .seconds("timeout", call.timeout);
        }
        Command::Eval {
            script,
            code,
            timeout,
        } => {
            object
                .raw_string("script", script.as_str())
                .string("code", code)
                .seconds("timeout", *timeout);
        }
        Command::Cancel { target } => write::json_id(object.key("target"), target),
        Command::Control { script, .. } => {
            object.maybe_string("script", script.as_ref().map(ScriptName::as_str));
        }
        Command::Logs { script, lines } => {
            object
                .maybe_string("script", script.as_ref().map(ScriptName::as_str))
                .integer("lines", u64::from(*lines));
        }
        Command::Events { pattern } => {
            object.string("pattern", pattern);
        }
        Command::Emit { event, data } => {
            object
                .string("event", event)
                .maybe_raw("data", data.as_ref().map(Json::as_str));
        }
        Command::Ack(ack) => {
            object.string("mode", mode(*ack));
        }
        Command::Check { words } | Command::Checks { words } => checks::json_words(object, words),
        Command::Heartbeat {
            check,
            beat,
            message,
        } => checks::json_heartbeat(object, check, *beat, message.as_deref()),
        Command::Downtime { check, quiet, why } => {
            checks::json_downtime(object, check, *quiet, why.as_deref());
        }
    }
}

fn features(hello: &Hello) -> Vec<&'static str> {
    let mut features = Vec::new();
    if hello.pings {
        features.push("pings");
    }
    if hello.progress {
        features.push("progress");
    }
    features
}

fn json_hello(object: &mut write::Object<'_>, hello: &Hello) {
    object
        .string("client", &hello.client.to_string())
        .maybe_string("version", hello.version.as_deref());
    let quoted: Vec<String> = features(hello)
        .into_iter()
        .map(|feature| format!("\"{feature}\""))
        .collect();
    object.raw("features", &format!("[{}]", quoted.join(",")));
}

fn text_command(out: &mut Vec<u8>, command: &Command) {
    out.extend_from_slice(name_of(command).as_bytes());
    match command {
        Command::Nothing
        | Command::Bye
        | Command::Status
        | Command::List
        | Command::Version
        | Command::Help
        | Command::Shutdown
        | Command::Peers => {}
        Command::Ping { client, timestamp } => {
            keyed(
                out,
                "client",
                client.map(|client| client.to_string()).as_deref(),
            );
            keyed(out, "timestamp", timestamp.as_deref());
        }
        Command::Hello(hello) => {
            word(out, &hello.client.to_string());
            keyed(out, "version", hello.version.as_deref());
            let features = features(hello).join(",");
            keyed(out, "features", (!features.is_empty()).then_some(&features));
        }
        Command::Call(call) => {
            option(out, call.timeout);
            call_words(out, Some(&call.script), &call.handler, call.params.as_ref());
        }
        Command::Eval {
            script,
            code,
            timeout,
        } => {
            option(out, *timeout);
            word(out, script.as_str());
            word(out, code);
        }
        Command::Cancel { target } => word(out, target.as_str()),
        Command::Control { script, .. } => maybe_word(out, script.as_ref()),
        Command::Logs { script, lines } => {
            maybe_word(out, script.as_ref());
            keyed(out, "lines", Some(&lines.to_string()));
        }
        Command::Events { pattern } => word(out, pattern),
        Command::Emit { event, data } => {
            let at = out.len();
            word(out, event);
            if let Some(data) = data {
                rest(out, at, "--data", data);
            }
        }
        Command::Ack(ack) => word(out, mode(*ack)),
        Command::Check { words } | Command::Checks { words } => {
            words.iter().for_each(|name| word(out, name));
        }
        Command::Heartbeat {
            check,
            beat,
            message,
        } => {
            word(out, check);
            word(out, &checks::beat_word(*beat));
            keyed(out, "message", message.as_deref());
        }
        Command::Downtime { check, quiet, why } => {
            word(out, check);
            word(out, &checks::quiet_word(*quiet));
            keyed(out, "why", why.as_deref());
        }
    }
}

/// ` SCRIPT HANDLER key=value ...`
pub(super) fn call_words(
    out: &mut Vec<u8>,
    script: Option<&ScriptName>,
    handler: &str,
    given: Option<&Json>,
) {
    let at = out.len();
    maybe_word(out, script);
    word(out, handler);
    if let Some(params) = given {
        rest(out, at, "--params", params);
    }
}

/// The entries of an object as words; what words cannot say, as an option at `at`.
fn rest(out: &mut Vec<u8>, at: usize, name: &str, json: &Json) {
    if !params::write_params(out, json) {
        let option = format!(" {name}:={}", json.as_str());
        out.splice(at..at, option.into_bytes());
    }
}

fn word(out: &mut Vec<u8>, value: &str) {
    out.push(b' ');
    write_value(out, value, true);
}

fn maybe_word(out: &mut Vec<u8>, script: Option<&ScriptName>) {
    if let Some(script) = script {
        word(out, script.as_str());
    }
}

fn keyed(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push(b' ');
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        write_value(out, value, false);
    }
}

fn option(out: &mut Vec<u8>, timeout: Option<std::time::Duration>) {
    if let Some(timeout) = timeout {
        out.extend_from_slice(b" --timeout=");
        write::seconds(out, timeout);
    }
}

pub(super) fn text_end(out: &mut Vec<u8>, id: Option<&RequestId>) {
    if let Some(id) = id {
        out.push(b' ');
        out.extend_from_slice(ID_PREFIX.as_bytes());
        out.extend_from_slice(id.as_str().as_bytes());
    }
    out.push(b'\n');
}
