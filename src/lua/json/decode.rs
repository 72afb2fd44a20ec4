//! Bytes to Lua values: serde_json reads, a visitor builds the tables.

use std::cell::{Cell, OnceCell};
use std::fmt;

use mlua::{Lua, Table, Value};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Fault, array_metatable, null};
use crate::limits;

/// Reads one JSON document.
///
/// # Errors
/// What is wrong and at which line and column; also too deep, too many values, an integer beyond 64 bits, or
/// Lua's memory limit.
pub fn decode(lua: &Lua, bytes: &[u8]) -> Result<Value, Fault> {
    let builder = Builder {
        lua,
        array: OnceCell::new(),
        nodes: Cell::new(0),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        builder: &builder,
        depth: 0,
        absent: Value::Nil,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| whole(&error))
}

fn whole(error: &dyn fmt::Display) -> Fault {
    Fault {
        place: String::new(),
        what: format!("not readable as JSON: {error}"),
    }
}

struct Builder<'a> {
    lua: &'a Lua,
    /// The array metatable, once an array has been met.
    array: OnceCell<Table>,
    nodes: Cell<usize>,
}

impl Builder<'_> {
    fn array(&self) -> mlua::Result<Table> {
        if let Some(array) = self.array.get() {
            return Ok(array.clone());
        }
        let array = array_metatable(self.lua)?;
        Ok(self.array.get_or_init(|| array).clone())
    }
}

struct Seed<'a> {
    builder: &'a Builder<'a>,
    depth: usize,
    /// What `null` becomes here.
    absent: Value,
}

impl Seed<'_> {
    fn inside<E: serde::de::Error>(&self) -> Result<usize, E> {
        let depth = self.depth + 1;
        if depth > limits::JSON_DEPTH {
            return Err(E::custom(format_args!(
                "nested deeper than {} levels; send it flatter",
                limits::JSON_DEPTH
            )));
        }
        Ok(depth)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let nodes = self.builder.nodes.get() + 1;
        self.builder.nodes.set(nodes);
        if nodes > limits::JSON_NODES {
            return Err(D::Error::custom(format_args!(
                "more than {} values; send them in several documents",
                limits::JSON_NODES
            )));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| {
            E::custom(format_args!(
                "the integer {value} does not fit Lua's 64 bits; send it as a string"
            ))
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        let text = self.builder.lua.create_string(value).map_err(E::custom)?;
        Ok(Value::String(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(self.absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let table = self.builder.lua.create_table().map_err(A::Error::custom)?;
        let mut position: i64 = 0;
        while let Some(item) = items.next_element_seed(Seed {
            builder: self.builder,
            depth,
            absent: null(),
        })? {
            position += 1;
            table.raw_set(position, item).map_err(A::Error::custom)?;
        }
        table
            .set_metatable(Some(self.builder.array().map_err(A::Error::custom)?))
            .map_err(A::Error::custom)?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.inside()?;
        let table = self.builder.lua.create_table().map_err(A::Error::custom)?;
        while let Some(key) = entries.next_key_seed(Key(self.builder.lua))? {
            let value = entries.next_value_seed(Seed {
                builder: self.builder,
                depth,
                absent: Value::Nil,
            })?;
            table.raw_set(key, value).map_err(A::Error::custom)?;
        }
        Ok(Value::Table(table))
    }
}

/// A key goes from the bytes into Lua without a copy of ours.
struct Key<'a>(&'a Lua);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = mlua::LuaString;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = mlua::LuaString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        self.0.create_string(key).map_err(E::custom)
    }
}
