//! What is said about health checks on the wire: names, beats, quiet times.

use std::time::Duration;

use super::bad;
use super::fields::{Field, Fields, missing};
use super::write::{self, Object};
use crate::limits;
use crate::proto::messages::{Beat, Command, Quiet, Refusal};
use crate::timespan::duration_text;

pub(super) const CHECK_USAGE: &str = "check [NAME|TAG ...]";
pub(super) const CHECKS_USAGE: &str = "checks [NAME|TAG ...]";
pub(super) const HEARTBEAT_USAGE: &str = "heartbeat NAME [start|ok|fail|CODE] [message=TEXT]";
pub(super) const DOWNTIME_USAGE: &str = "downtime NAME 2h|until-ok|off [why=TEXT]";

pub(super) fn check(fields: &Fields<'_>) -> Result<Command, Refusal> {
    words(fields).map(|words| Command::Check { words })
}

pub(super) fn checks(fields: &Fields<'_>) -> Result<Command, Refusal> {
    words(fields).map(|words| Command::Checks { words })
}

/// Names and tags; one alone may be written as a string.
fn words(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let words: Vec<String> = match fields.parsed(Field::Words) {
        Ok(list) => list.unwrap_or_default(),
        Err(faulty) => match fields.string(Field::Words) {
            Ok(one) => one.map(|word| word.into_owned()).into_iter().collect(),
            Err(_) => return Err(faulty),
        },
    };
    if words.len() > limits::CHECK_WORDS {
        return Err(bad(format!(
            "{} names and tags are more than {}; give fewer, or a tag that they share",
            words.len(),
            limits::CHECK_WORDS
        )));
    }
    match words.iter().find(|word| !is_name(word)) {
        Some(_) => Err(bad(format!(
            "names and tags of checks have 1 to {} bytes and no control characters; shorten or change them",
            limits::CHECK_NAME_BYTES
        ))),
        None => Ok(words),
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= limits::CHECK_NAME_BYTES
        && !word.chars().any(char::is_control)
}

fn name(fields: &Fields<'_>, usage: &str) -> Result<String, Refusal> {
    let name = fields.name(Field::Check, limits::CHECK_NAME_BYTES)?;
    name.map(|name| name.into_owned())
        .ok_or_else(|| missing(Field::Check, usage))
}

pub(super) fn heartbeat(fields: &Fields<'_>) -> Result<Command, Refusal> {
    Ok(Command::Heartbeat {
        check: name(fields, HEARTBEAT_USAGE)?,
        beat: match fields.word(Field::Beat)? {
            Some(word) => read_beat(word)?,
            None => Beat::Ok,
        },
        message: said(fields, Field::Message)?,
    })
}

pub(super) fn downtime(fields: &Fields<'_>) -> Result<Command, Refusal> {
    let check = name(fields, DOWNTIME_USAGE)?;
    let quiet = fields.word(Field::Quiet)?;
    Ok(Command::Downtime {
        check,
        quiet: read_quiet(quiet.ok_or_else(|| missing(Field::Quiet, DOWNTIME_USAGE))?)?,
        why: said(fields, Field::Why)?,
    })
}

/// What people say of it: anything, but not too much of it.
fn said(fields: &Fields<'_>, field: Field) -> Result<Option<String>, Refusal> {
    let Some(text) = fields.string(field)? else {
        return Ok(None);
    };
    if text.len() > limits::CHECK_OUTPUT_BYTES {
        return Err(bad(format!(
            "\"{}\" has {} bytes, at most {} are kept; shorten it",
            field.name(),
            text.len(),
            limits::CHECK_OUTPUT_BYTES
        )));
    }
    Ok(Some(text.into_owned()))
}

fn read_beat(word: &str) -> Result<Beat, Refusal> {
    match word {
        "start" => Ok(Beat::Start),
        "ok" => Ok(Beat::Ok),
        "fail" => Ok(Beat::Fail),
        code => code.parse().map(Beat::Code).map_err(|_| {
            let shown: String = code.chars().take(40).collect();
            bad(format!(
                "{shown:?} is no beat: start, ok, fail, or an exit code; write: {HEARTBEAT_USAGE}"
            ))
        }),
    }
}

fn read_quiet(word: &str) -> Result<Quiet, Refusal> {
    match word {
        "until-ok" => return Ok(Quiet::UntilOk),
        "off" => return Ok(Quiet::Off),
        _ => {}
    }
    let shown: String = word.chars().take(40).collect();
    let time = duration_text(word).map_err(|_| {
        bad(format!(
            "{shown:?} is no downtime: a time such as 2h, until-ok, or off; write: {DOWNTIME_USAGE}"
        ))
    })?;
    if time.is_zero() || time > limits::QUIET_MOST {
        return Err(bad(format!(
            "a downtime of {shown} is not between a moment and {} days; write: {DOWNTIME_USAGE}",
            limits::QUIET_MOST.as_secs() / 86_400
        )));
    }
    Ok(Quiet::For(whole_micros(time)))
}

/// The wire has microseconds: what is finer would be printed otherwise, what is shorter as nothing.
fn whole_micros(time: Duration) -> Duration {
    let nearest = time.saturating_add(Duration::from_nanos(500)).as_micros();
    Duration::from_micros(u64::try_from(nearest).unwrap_or(u64::MAX).max(1))
}

pub(super) fn beat_word(beat: Beat) -> String {
    match beat {
        Beat::Start => "start".to_owned(),
        Beat::Ok => "ok".to_owned(),
        Beat::Fail => "fail".to_owned(),
        Beat::Code(code) => code.to_string(),
    }
}

pub(super) fn quiet_word(quiet: Quiet) -> String {
    match quiet {
        Quiet::For(time) => {
            let mut out = Vec::new();
            write::seconds(&mut out, time);
            String::from_utf8_lossy(&out).into_owned()
        }
        Quiet::UntilOk => "until-ok".to_owned(),
        Quiet::Off => "off".to_owned(),
    }
}

pub(super) fn json_words(object: &mut Object<'_>, words: &[String]) {
    if words.is_empty() {
        return;
    }
    let out = object.key("words");
    for (at, word) in words.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        write::string(out, word);
    }
    out.push(b']');
}

pub(super) fn json_heartbeat(object: &mut Object<'_>, check: &str, beat: Beat, said: Option<&str>) {
    object.string("check", check);
    match beat {
        Beat::Code(code) => object.raw("beat", &code.to_string()),
        Beat::Start | Beat::Ok | Beat::Fail => object.string("beat", &beat_word(beat)),
    }
    .maybe_string("message", said);
}

pub(super) fn json_downtime(
    object: &mut Object<'_>,
    check: &str,
    quiet: Quiet,
    said: Option<&str>,
) {
    object.string("check", check);
    match quiet {
        Quiet::For(_) => object.raw("quiet", &quiet_word(quiet)),
        Quiet::UntilOk | Quiet::Off => object.string("quiet", &quiet_word(quiet)),
    }
    .maybe_string("why", said);
}
