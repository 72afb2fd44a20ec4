//! The JSON envelope: the top level of one object, its values left where they lie.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use memchr::memchr2_iter;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bad;
use super::fields::{Field, Fields, Value};
use crate::limits;
use crate::proto::messages::Refusal;

/// Reads the top level of `line` into `fields`. What was read before a fault stays in `fields`.
pub(super) fn read<'a>(line: &'a str, fields: &mut Fields<'a>) -> Result<(), Refusal> {
    let mut source = serde_json::Deserializer::from_str(line);
    Envelope(fields)
        .deserialize(&mut source)
        .and_then(|()| source.end())
        .map_err(|error| {
            bad(format!(
                "this is no JSON object that can be read: {error}; send one complete object a line, each key once"
            ))
        })?;
    // The envelope itself is one level.
    if too_deep(line.as_bytes(), limits::JSON_DEPTH + 1) {
        return Err(bad(format!(
            "the JSON is nested too deeply: a value may have {} levels; flatten it, or send it as a string",
            limits::JSON_DEPTH
        )));
    }
    Ok(())
}

/// Whether valid JSON has more than `most` levels. Mostly one fast look for brackets.
pub(super) fn too_deep(json: &[u8], most: usize) -> bool {
    let enough = 2 * (most + 1);
    json.len() >= enough
        && memchr2_iter(b'{', b'[', json).take(most + 1).count() > most
        && depth(json) > most
}

fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Envelope<'f, 'a>(&'f mut Fields<'a>);

impl<'de> DeserializeSeed<'de> for Envelope<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Unknown keys are ignored, but may not stand twice either.
        let mut unknown: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::Known(field) => {
                    let raw: &'de RawValue = map.next_value()?;
                    if !self.0.insert(field, Value::Raw(raw)) {
                        return Err(twice(field.name()));
                    }
                }
                Key::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if let Some(name) = unknown.replace(name) {
                        return Err(twice(&name));
                    }
                }
            }
        }
        Ok(())
    }
}

fn twice<E: Error>(name: &str) -> E {
    let shown: String = name.chars().take(40).collect();
    E::custom(format_args!("the key {shown:?} stands twice"))
}

enum Key<'a> {
    Known(Field),
    Other(Cow<'a, str>),
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Key<'de>, D::Error> {
        source.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Key<'de>, E> {
        Ok(Field::of(name).map_or(Key::Other(Cow::Borrowed(name)), Key::Known))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key<'de>, E> {
        Ok(Field::of(name).map_or_else(|| Key::Other(Cow::Owned(name.to_owned())), Key::Known))
    }
}
