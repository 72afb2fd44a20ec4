//! `key=value key:=JSON ...` as one JSON object, and back.

use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::text::{Content, is_key, write_value};
use super::{bad, fields, write};
use crate::proto::messages::{Json, Refusal};

/// An object in the making.
#[derive(Debug, Default)]
pub(super) struct Params {
    json: Vec<u8>,
    keys: HashSet<String>,
}

impl Params {
    pub(super) fn add(&mut self, key: &str, value: &Content<'_>) -> Result<(), Refusal> {
        if !self.keys.insert(key.to_owned()) {
            let shown: String = key.chars().take(40).collect();
            return Err(bad(format!(
                "the key {shown:?} stands twice; give it once, or a list with key:=[...]"
            )));
        }
        self.json
            .push(if self.json.is_empty() { b'{' } else { b',' });
        write::string(&mut self.json, key);
        self.json.push(b':');
        match value {
            Content::Text(text) => write::string(&mut self.json, text),
            Content::Json(raw) => self.json.extend_from_slice(raw.get().as_bytes()),
        }
        Ok(())
    }

    /// `None` if nothing was added.
    pub(super) fn object(mut self) -> Option<Box<RawValue>> {
        if self.json.is_empty() {
            return None;
        }
        self.json.push(b'}');
        let text = String::from_utf8(self.json).ok()?;
        RawValue::from_string(text).ok()
    }
}

/// Words as one JSON list; `None` if there are none.
pub(super) fn list(words: &[&str]) -> Option<Box<RawValue>> {
    if words.is_empty() {
        return None;
    }
    let mut json = vec![b'['];
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        write::string(&mut json, word);
    }
    json.push(b']');
    let text = String::from_utf8(json).ok()?;
    RawValue::from_string(text).ok()
}

/// Appends ` key=value ...` for each entry of an object. `false`: nothing was written, because `params`
/// is no object or has a key that text cannot write.
#[must_use]
pub(super) fn write_params(out: &mut Vec<u8>, params: &Json) -> bool {
    let Ok(Entries(entries)) = serde_json::from_str(params.as_str()) else {
        return false;
    };
    let mut seen = HashSet::new();
    // The last word would be read as the id of the question.
    let writable = |key: &str| is_key(key) && !key.starts_with('-') && key != "request_id";
    if entries.is_empty()
        || !entries
            .iter()
            .all(|(key, _)| writable(key) && seen.insert(key.as_str()))
    {
        return false;
    }
    for (key, value) in &entries {
        out.push(b' ');
        out.extend_from_slice(key.as_bytes());
        match fields::unquote(value.get()) {
            Some(text) => {
                out.push(b'=');
                write_value(out, &text, false);
            }
            None => {
                out.extend_from_slice(b":=");
                out.extend_from_slice(value.get().as_bytes());
            }
        }
    }
    true
}

/// The entries of an object in their order.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(EntriesVisitor).map(Entries)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
