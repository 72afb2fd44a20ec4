//! Text lines: words, quoting, `key=value`, the id at the end, and the escaping of payload lines.
//!
//! Words are divided by blanks or tabs. A word, or the value behind `key=`, may be quoted, with the
//! escapes `\" \\ \n \t \r`; behind `key:=` stands one JSON value, blanks and all. One `\r` at the end of
//! a line is ignored, so that `nc -C` and telnet-like clients work.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::commands::{self, Found, Spec};
use super::fields::{Field, Fields, Value};
use super::params::{self, Params};
use super::{ID_PREFIX, bad, tail_id};
use crate::limits;
use crate::proto::ids::RequestId;
use crate::proto::messages::{Command, Encoding, Question, Refusal};

/// One word of a line.
pub(super) struct Word<'a> {
    /// What stands before `=` or `:=`.
    pub(super) key: Option<&'a str>,
    pub(super) value: Content<'a>,
}

pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Json(&'a RawValue),
}

/// A question in text, or what is wrong with it, with its id as far as that can be read.
pub(super) fn question(line: &str) -> Result<Question, (Option<RequestId>, Refusal)> {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let plain = line.trim_start_matches([' ', '\t']);
    if plain.is_empty() || plain.starts_with('#') {
        return Ok(Question {
            encoding: Encoding::Text,
            id: None,
            command: Command::Nothing,
        });
    }
    let tail = || tail_id(line.as_bytes());
    let mut words = words(line).map_err(|refusal| (tail(), refusal))?;
    let mut id = take_id(&mut words).map_err(|refusal| (None, refusal))?;
    match command(&words, &mut id) {
        Ok(command) => Ok(Question {
            encoding: Encoding::Text,
            id,
            command,
        }),
        Err(refusal) => Err((id, refusal)),
    }
}

/// The id is read at one place only: the last word.
fn take_id(words: &mut Vec<Word<'_>>) -> Result<Option<RequestId>, Refusal> {
    let key = ID_PREFIX.trim_end_matches('=');
    match words.last() {
        Some(Word {
            key: Some(name),
            value: Content::Text(id),
        }) if *name == key => {
            let id = RequestId::new(id).map_err(bad)?;
            words.pop();
            Ok(Some(id))
        }
        Some(_) | None => Ok(None),
    }
}

fn command(words: &[Word<'_>], id: &mut Option<RequestId>) -> Result<Command, Refusal> {
    let bare: Vec<&str> = words.iter().map_while(Word::bare).take(3).collect();
    let Found {
        spec,
        words: taken,
        value,
    } = commands::find_words(&bare)?;
    let mut fields = Fields::default();
    if let Some((field, value)) = value {
        put(&mut fields, spec, field, Value::Text(value))?;
    }
    let mut rest = Params::default();
    let mut many = Vec::new();
    let words = cut_many(&words[taken..], spec, &mut many);
    sort(words, spec, &mut fields, &mut rest, id)?;
    let list = params::list(&many);
    if let (Some(list), Some(field)) = (&list, spec.many) {
        put(&mut fields, spec, field, Value::Raw(list))?;
    }
    let object = rest.object();
    if let (Some(object), Some(field)) = (&object, spec.rest) {
        put(&mut fields, spec, field, Value::Raw(object))?;
    }
    (spec.build)(&fields)
}

/// Takes the bare words of a command that has any number of them; what is left has keys.
fn cut_many<'a>(words: &'a [Word<'a>], spec: &Spec, many: &mut Vec<&'a str>) -> &'a [Word<'a>] {
    if spec.many.is_some() {
        many.extend(words.iter().map_while(Word::bare));
    }
    &words[many.len()..]
}

/// Puts each word where the command wants it.
fn sort<'a>(
    words: &'a [Word<'a>],
    spec: &Spec,
    fields: &mut Fields<'a>,
    rest: &mut Params,
    id: &mut Option<RequestId>,
) -> Result<(), Refusal> {
    let mut places = spec.words.iter().copied();
    // What an alias stands for has taken its place.
    let mut next = move |fields: &Fields<'_>| places.by_ref().find(|field| !fields.has(*field));
    let mut started = false;
    for word in words {
        let Some(key) = word.key else {
            started = true;
            match next(fields) {
                Some(field) => put(fields, spec, field, word.value())?,
                None => third_word_of_ping(word, spec, id)?,
            }
            continue;
        };
        let option = key.strip_prefix("--").and_then(Field::of);
        match (option, Field::of(key)) {
            (Some(field), _) if !started && spec.options.contains(&field) => {
                put(fields, spec, field, word.value())?;
            }
            (_, Some(field)) if spec.keys.contains(&field) => {
                put(fields, spec, field, word.value())?;
            }
            _ if spec.rest.is_some() && !key.starts_with("--") => rest.add(key, &word.value)?,
            _ => return Err(unexpected(key, spec)),
        }
    }
    Ok(())
}

/// ExaBGP writes the id of a ping as its third word.
fn third_word_of_ping(
    word: &Word<'_>,
    spec: &Spec,
    id: &mut Option<RequestId>,
) -> Result<(), Refusal> {
    match word.bare() {
        Some(text) if spec.name == "ping" && id.is_none() => {
            *id = Some(RequestId::new(text).map_err(bad)?);
            Ok(())
        }
        Some(text) => Err(unexpected(text, spec)),
        None => Err(unexpected("a word", spec)),
    }
}

fn put<'a>(
    fields: &mut Fields<'a>,
    spec: &Spec,
    field: Field,
    value: Value<'a>,
) -> Result<(), Refusal> {
    if fields.insert(field, value) {
        return Ok(());
    }
    Err(bad(format!(
        "\"{}\" stands twice; write: {}",
        field.name(),
        spec.usage
    )))
}

fn unexpected(word: &str, spec: &Spec) -> Refusal {
    let shown: String = word.chars().take(40).collect();
    bad(format!(
        "{shown:?} has no place here; write: {}",
        spec.usage
    ))
}

impl<'a> Word<'a> {
    /// The word, if it is no `key=value`.
    fn bare(&self) -> Option<&str> {
        match (&self.key, &self.value) {
            (None, Content::Text(text)) => Some(text),
            (Some(_), _) | (None, Content::Json(_)) => None,
        }
    }

    fn value(&'a self) -> Value<'a> {
        match &self.value {
            Content::Text(text) => Value::Text(text),
            Content::Json(raw) => Value::Raw(raw),
        }
    }
}

/// Cuts a line into its words.
fn words(line: &str) -> Result<Vec<Word<'_>>, Refusal> {
    let mut words = Vec::new();
    let mut rest = line.trim_matches(BLANK);
    while !rest.is_empty() {
        if words.len() == limits::TEXT_WORDS {
            return Err(bad(format!(
                "a text line has at most {} words; send the rest in one JSON value",
                limits::TEXT_WORDS
            )));
        }
        let (word, after) = word(rest)?;
        if !after.is_empty() && !after.starts_with(BLANK) {
            return Err(bad(
                "a quoted or JSON value must be followed by a blank or the end of the line; add one",
            ));
        }
        words.push(word);
        rest = after.trim_start_matches(BLANK);
    }
    Ok(words)
}

const BLANK: [char; 2] = [' ', '\t'];

/// The first word of `line`, and what follows it.
fn word(line: &str) -> Result<(Word<'_>, &str), Refusal> {
    let (key, json, body) = split_key(line);
    if json {
        let mut values = serde_json::Deserializer::from_str(body);
        let raw = <&RawValue>::deserialize(&mut values).map_err(|error| {
            bad(format!(
                "behind {}:= stands no JSON: {error}; for a plain string write key=value",
                key.unwrap_or_default()
            ))
        })?;
        if super::json::too_deep(raw.get().as_bytes(), limits::JSON_DEPTH) {
            return Err(bad("the JSON is nested too deeply; flatten it"));
        }
        let lead = body.len() - body.trim_start().len();
        let value = Content::Json(raw);
        return Ok((Word { key, value }, &body[lead + raw.get().len()..]));
    }
    if let Some(quoted) = body.strip_prefix('"') {
        let (text, after) = unquote(quoted)?;
        let value = Content::Text(text);
        return Ok((Word { key, value }, after));
    }
    let (text, after) = body.split_at(body.find(BLANK).unwrap_or(body.len()));
    let value = Content::Text(Cow::Borrowed(text));
    Ok((Word { key, value }, after))
}

/// `key=` or `key:=` at the beginning of a word; whether JSON follows; the rest.
fn split_key(line: &str) -> (Option<&str>, bool, &str) {
    let end = line.find(|c: char| matches!(c, '=' | ':' | '"') || c.is_whitespace());
    match end {
        Some(at) if at > 0 && line[at..].starts_with(":=") => {
            (Some(&line[..at]), true, &line[at + 2..])
        }
        Some(at) if at > 0 && line[at..].starts_with('=') => {
            (Some(&line[..at]), false, &line[at + 1..])
        }
        Some(_) | None => (None, false, line),
    }
}

/// Whether [`split_key`] reads `key` back.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty()
        && !key
            .contains(|c: char| matches!(c, '=' | ':' | '"') || c.is_whitespace() || c.is_control())
}

/// The characters up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> Result<(Cow<'_, str>, &str), Refusal> {
    let mut text: Cow<'_, str> = Cow::Borrowed("");
    let mut rest = quoted;
    loop {
        let Some(at) = rest.find(['"', '\\']) else {
            return Err(bad(
                "a quote is not closed; end the value with \" and write \\\" for a quote inside it",
            ));
        };
        if text.is_empty() {
            text = Cow::Borrowed(&rest[..at]);
        } else {
            text.to_mut().push_str(&rest[..at]);
        }
        if rest[at..].starts_with('"') {
            return Ok((text, &rest[at + 1..]));
        }
        let escaped = rest[at + 1..].chars().next();
        text.to_mut().push(match escaped {
            Some(c @ ('"' | '\\')) => c,
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(_) | None => {
                return Err(bad(
                    "a quoted value knows the escapes \\\" \\\\ \\n \\t \\r only; write \\\\ for a backslash",
                ));
            }
        });
        rest = &rest[at + 2..];
    }
}

/// Appends one word so that [`words`] reads it back, quoted where it must be.
pub(super) fn write_value(out: &mut Vec<u8>, value: &str, bare: bool) {
    let plain = !value.is_empty()
        && !value.contains(|c: char| c == '"' || c.is_whitespace() || c.is_control())
        && (!bare || (split_key(value).0.is_none() && !value.starts_with('#')));
    if plain {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in value.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

/// Whether a payload line, or its escaped form, reads as the end of an answer.
fn reads_as_end(line: &str) -> bool {
    let bare = line.trim_start_matches('\\');
    bare == "done" || bare == "error" || bare.starts_with("error: ")
}

/// Whether a payload line of an answer without an id would read as the end of an answer with one.
fn reads_as_foreign_end(line: &str) -> bool {
    let bare = line.trim_start_matches('\\');
    let mut fields = Fields::default();
    let (payload, id) = split_id(bare);
    id.is_some_and(|id| RequestId::new(id).is_ok()) && reads_as_end(payload)
        || bare.starts_with('{')
            && bare.ends_with('}')
            && super::json::read(bare, &mut fields).is_ok()
            && fields.has(Field::Status)
            && fields.has(Field::RequestId)
}

/// Appends a payload line; one that would read as an end gets a backslash more. `named`: the id of its answer
/// follows it, so that it cannot be taken for a line of another.
pub(super) fn write_payload_line(out: &mut Vec<u8>, line: &str, named: bool) {
    if reads_as_end(line) || !named && reads_as_foreign_end(line) {
        out.push(b'\\');
    }
    out.extend_from_slice(line.as_bytes());
}

/// The payload that [`write_payload_line`] wrote.
pub(super) fn read_payload_line(line: &str, named: bool) -> &str {
    match line.strip_prefix('\\') {
        Some(bare) if reads_as_end(line) || !named && reads_as_foreign_end(line) => bare,
        Some(_) | None => line,
    }
}

/// Cuts the id off a line of an answer.
pub(super) fn split_id(line: &str) -> (&str, Option<&str>) {
    let cut = line
        .rfind(' ')
        .and_then(|at| Some((&line[..at], line[at + 1..].strip_prefix(ID_PREFIX)?)));
    match cut {
        Some((payload, id)) => (payload, Some(id)),
        None => (line, None),
    }
}
