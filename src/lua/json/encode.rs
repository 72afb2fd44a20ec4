//! Lua values to bytes, by a depth-first walk that refuses what JSON cannot say.

use std::ffi::c_void;

use mlua::{Lua, LuaString, Table, Value};

use super::{Fault, array_metatable};
use crate::limits;

/// Writes one value as one line of JSON. `root` begins the places of errors: `result`.
///
/// # Errors
/// The first thing that JSON cannot say, with its place.
pub fn encode(lua: &Lua, root: &str, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(128);
    encode_into(lua, root, value, &mut out)?;
    Ok(out)
}

/// As [`encode`], at the end of `out`; after an error `out` is as it was.
///
/// # Errors
/// See [`encode`].
pub fn encode_into(lua: &Lua, root: &str, value: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    let mut walk = Walk {
        lua,
        out,
        start,
        array: None,
        nodes: 0,
        above: Vec::new(),
    };
    let done = walk.value(value);
    if let Err(stop) = done {
        out.truncate(start);
        return Err(stop.at(root));
    }
    Ok(())
}

/// What stopped the walk; the place is gathered on the way out, innermost part first.
struct Stop {
    what: String,
    parts: Vec<String>,
}

impl Stop {
    fn new(what: impl Into<String>) -> Self {
        Stop {
            what: what.into(),
            parts: Vec::new(),
        }
    }

    fn in_field(mut self, key: &[u8]) -> Self {
        let key = String::from_utf8_lossy(key);
        let plain = !key.is_empty()
            && !key.starts_with(|c: char| c.is_ascii_digit())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        self.parts.push(if plain {
            format!(".{key}")
        } else {
            format!("[{key:?}]")
        });
        self
    }

    fn in_item(mut self, position: usize) -> Self {
        self.parts.push(format!("[{position}]"));
        self
    }

    fn at(self, root: &str) -> Fault {
        let mut place = root.to_owned();
        for part in self.parts.iter().rev() {
            place.push_str(part);
        }
        Fault {
            place,
            what: self.what,
        }
    }
}

impl From<mlua::Error> for Stop {
    fn from(error: mlua::Error) -> Self {
        Stop::new(error.to_string())
    }
}

struct Walk<'a> {
    lua: &'a Lua,
    out: &'a mut Vec<u8>,
    start: usize,
    /// The array metatable, once an empty table has been met.
    array: Option<Table>,
    nodes: usize,
    /// The tables that contain the present one.
    above: Vec<*const c_void>,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > limits::JSON_NODES {
            return Err(Stop::new(format!(
                "more than {} values; send them in parts",
                limits::JSON_NODES
            )));
        }
        self.room(0)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.scalar(number)?,
            Value::Number(number) if number.is_finite() => self.scalar(number)?,
            Value::Number(number) => {
                return Err(Stop::new(format!(
                    "{number} is no JSON number; test for it before"
                )));
            }
            Value::String(text) => self.string(text)?,
            Value::Table(table) => self.table(table)?,
            Value::LightUserData(pointer) if pointer.0.is_null() => {
                self.out.extend_from_slice(b"null");
            }
            Value::Function(_)
            | Value::Thread(_)
            | Value::UserData(_)
            | Value::LightUserData(_)
            | Value::Error(_)
            | Value::Other(_) => {
                return Err(Stop::new(format!(
                    "a {} cannot be written as JSON; give a table, string, number, boolean or nil",
                    value.type_name()
                )));
            }
        }
        Ok(())
    }

    /// Whether `more` bytes still fit into a line.
    fn room(&self, more: usize) -> Result<(), Stop> {
        if self.out.len() - self.start + more <= limits::LINE_BYTES {
            return Ok(());
        }
        Err(Stop::new(format!(
            "more than {} bytes of JSON; send it in parts",
            limits::LINE_BYTES
        )))
    }

    fn scalar<T: serde::Serialize>(&mut self, value: &T) -> Result<(), Stop> {
        serde_json::to_writer(&mut *self.out, value).map_err(|error| Stop::new(error.to_string()))
    }

    fn string(&mut self, text: &LuaString) -> Result<(), Stop> {
        let bytes = text.as_bytes();
        self.room(bytes.len())?;
        match std::str::from_utf8(&bytes) {
            // Escapes may make it six times as long.
            Ok(text) => self.scalar(&text).and_then(|()| self.room(0)),
            Err(error) => Err(Stop::new(format!(
                "a string that is not UTF-8 from its byte {} on; encode binary data as text (hex, base64) first",
                error.valid_up_to() + 1
            ))),
        }
    }

    fn table(&mut self, table: &Table) -> Result<(), Stop> {
        let pointer = table.to_pointer();
        if self.above.contains(&pointer) {
            return Err(Stop::new("a table that contains itself"));
        }
        if self.above.len() >= limits::JSON_DEPTH {
            return Err(Stop::new(format!(
                "nested deeper than {} levels; send it flatter",
                limits::JSON_DEPTH
            )));
        }
        self.above.push(pointer);
        let done = self.entries(table);
        self.above.pop();
        done
    }

    fn entries(&mut self, table: &Table) -> Result<(), Stop> {
        let length = table.raw_len();
        if length > 0 {
            return self.array(table, length);
        }
        let mut fields: Vec<(LuaString, Value)> = Vec::new();
        let mut other: Option<Value> = None;
        let room = limits::JSON_NODES.saturating_sub(self.nodes);
        table.for_each(|key: Value, value: Value| {
            if let (Value::String(name), true) = (&key, fields.len() <= room) {
                fields.push((name.clone(), value));
            } else {
                other = Some(key);
            }
            Ok(())
        })?;
        if let Some(key) = other {
            return Err(wrong_key(&key, fields.is_empty(), fields.len() > room));
        }
        if fields.is_empty() {
            let empty: &[u8] = if self.is_array(table)? { b"[]" } else { b"{}" };
            self.out.extend_from_slice(empty);
            return Ok(());
        }
        self.object(fields)
    }

    fn is_array(&mut self, table: &Table) -> Result<bool, Stop> {
        let Some(metatable) = table.metatable() else {
            return Ok(false);
        };
        if self.array.is_none() {
            self.array = Some(array_metatable(self.lua)?);
        }
        Ok(self.array.as_ref() == Some(&metatable))
    }

    fn array(&mut self, table: &Table, length: usize) -> Result<(), Stop> {
        let mut entries: usize = 0;
        let mut stray: Option<Value> = None;
        table.for_each(|key: Value, _: Value| {
            entries += 1;
            let inside =
                matches!(key, Value::Integer(n) if n >= 1 && n.unsigned_abs() <= length as u64);
            if !inside && stray.is_none() {
                stray = Some(key);
            }
            Ok(())
        })?;
        if let Some(key) = stray.filter(|key| !key.is_integer()) {
            return Err(mixed(&key));
        }
        if entries != length {
            return Err(gap(table)?);
        }
        self.out.push(b'[');
        for position in 1..=length {
            if position > 1 {
                self.out.push(b',');
            }
            let item: Value = table.raw_get(position)?;
            self.value(&item).map_err(|stop| stop.in_item(position))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, mut fields: Vec<(LuaString, Value)>) -> Result<(), Stop> {
        fields.sort_unstable_by_key(|field| field.0.as_bytes());
        self.out.push(b'{');
        for (position, (key, value)) in fields.iter().enumerate() {
            if position > 0 {
                self.out.push(b',');
            }
            self.string(key)
                .map_err(|stop| Stop::new(format!("a key: {}", stop.what)))?;
            self.out.push(b':');
            self.value(value)
                .map_err(|stop| stop.in_field(&key.as_bytes()))?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Names the first gap of an array, or a position before its first.
fn gap(table: &Table) -> mlua::Result<Stop> {
    let mut filled: Vec<i64> = Vec::new();
    table.for_each(|key: Value, _: Value| {
        filled.extend(key.as_integer());
        Ok(())
    })?;
    filled.sort_unstable();
    let mut before: i64 = 0;
    for position in filled {
        if position < 1 {
            return Ok(Stop::new(format!(
                "an array with the position {position}: arrays begin at 1; use the positions 1 to n, or string keys"
            )));
        }
        if position > before + 1 {
            return Ok(Stop::new(gap_between(before, position)));
        }
        before = position;
    }
    Ok(Stop::new(
        "an array with gaps; put json.null into them, or use string keys",
    ))
}

fn gap_between(before: i64, after: i64) -> String {
    let filled = match before {
        0 => format!("position {after} is filled"),
        _ => format!("positions {before} and {after} are filled"),
    };
    let (first, last) = (before + 1, after - 1);
    let empty = if first == last {
        format!("{first} is not")
    } else {
        format!("{first} to {last} are not")
    };
    format!("an array with gaps: {filled}, {empty}; put json.null there, or use string keys")
}

fn wrong_key(key: &Value, alone: bool, full: bool) -> Stop {
    if full {
        return Stop::new(format!(
            "more than {} values; send them in parts",
            limits::JSON_NODES
        ));
    }
    match (key.as_integer(), alone) {
        (Some(number), true) => Stop::new(format!(
            "a table whose first position is empty (it has the key {number}): arrays begin at 1, without gaps; \
             turn keys into strings for an object"
        )),
        _mixed => mixed(key),
    }
}

fn mixed(key: &Value) -> Stop {
    let shown = match (key.as_string(), key.as_number()) {
        (Some(text), _) => format!("{:?}", text.to_string_lossy()),
        (None, Some(number)) => number.to_string(),
        (None, None) => match key.as_integer() {
            Some(number) => number.to_string(),
            None => format!("of type {}", key.type_name()),
        },
    };
    Stop::new(format!(
        "a table with keys of both kinds, or of one that JSON lacks (the key {shown}): use the positions 1 to n alone, or strings alone"
    ))
}
