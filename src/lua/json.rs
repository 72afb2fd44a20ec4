//! JSON <-> Lua, straight between bytes and Lua values, with a limit on everything.
//!
//! Reading: `null` in an object is an absent field, in an array [`null`]; arrays carry the array metatable, so
//! that an empty one stays one. Writing: what JSON cannot say (functions, mixed or sparse tables, NaN, invalid
//! UTF-8, cycles) is an error that names its place (`result.users[3].name`). Keys are written in order, so that
//! equal tables give equal bytes. Never goes through a tree of its own.

use std::fmt;

use mlua::{Lua, Table, Value};

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{encode, encode_into};

use super::{Context, Function, Module, Param};
use crate::proto::messages::Json;

/// The registry's name for the metatable that marks arrays.
const ARRAY_KEY: &str = "moonkeep.json.array";

/// Why a value could not pass, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// `result.users[3].name`; empty where the document as a whole is meant.
    pub place: String,
    pub what: String,
}

impl Fault {
    /// What is wrong, without the line and column: for text that nobody saw as it was read.
    #[must_use]
    pub fn without_position(&self) -> &str {
        match self.what.rfind(" at line ") {
            Some(end) => &self.what[..end],
            None => &self.what,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.place, self.what)
        }
    }
}

impl std::error::Error for Fault {}

/// Makes the array metatable of a fresh state. Call once, before anything is decoded.
///
/// # Errors
/// Lua's, if memory is short.
pub fn prepare(lua: &Lua) -> mlua::Result<()> {
    let array = lua.create_table_from([("__name", "json.array")])?;
    lua.set_named_registry_value(ARRAY_KEY, array)
}

/// What stands for `null` where a position must not be empty.
#[must_use]
pub fn null() -> Value {
    Value::NULL
}

fn array_metatable(lua: &Lua) -> mlua::Result<Table> {
    lua.named_registry_value(ARRAY_KEY)
}

/// Writes one value as a line of JSON. `root` begins the places of errors.
///
/// # Errors
/// The first thing that JSON cannot say, with its place.
pub fn to_json(lua: &Lua, root: &str, value: &Value) -> Result<Json, Fault> {
    let bytes = encode(lua, root, value)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Fault {
        place: root.to_owned(),
        what: error.to_string(),
    })?;
    Ok(Json::written(text))
}

/// `moonkeep.json`.
pub const MODULE: Module = Module {
    name: "moonkeep.json",
    summary: "JSON text from Lua values and back, without silent losses.",
    types: "",
    functions: FUNCTIONS,
};

const FUNCTIONS: &[Function] = &[
    Function {
        name: "encode",
        params: &[Param {
            name: "value",
            kind: "any",
            doc: "a table, string, number, boolean, nil or `json.null`",
        }],
        returns: &["string"],
        doc: "Writes a value as one line of JSON, keys in order. A table with the keys 1 to n is an array, one with \
              string keys an object, an empty one an object unless made by `json.array`. Raises an error that names \
              the place for what JSON cannot say: functions, mixed or sparse tables, NaN, infinities, invalid UTF-8, \
              tables that contain themselves, more than 64 levels or 100,000 values.",
        yields: false,
        make: make_encode,
    },
    Function {
        name: "decode",
        params: &[Param {
            name: "text",
            kind: "string",
            doc: "one JSON document",
        }],
        returns: &["any"],
        doc: "Reads JSON. `null` in an object leaves the field out; in an array it is `json.null`. Numbers without a \
              fraction become integers. Raises an error with line and column.",
        yields: false,
        make: make_decode,
    },
    Function {
        name: "array",
        params: &[Param {
            name: "values?",
            kind: "any[]",
            doc: "a table that is to be an array even when it is empty; a new one if left out",
        }],
        returns: &["any[]"],
        doc: "Marks a table as an array: `json.array{}` is written `[]`.",
        yields: false,
        make: make_array,
    },
    Function {
        name: "null",
        params: &[],
        returns: &["lightuserdata"],
        doc: "Stands for `null` in arrays, and wherever a `null` is to be written. It is a value, so `if json.null` holds.",
        yields: false,
        make: |_, _| Ok(null()),
    },
];

fn make_encode(lua: &Lua, _: &std::rc::Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_function(|lua, value: Value| {
        let bytes = encode(lua, "value", &value).map_err(mlua::Error::external)?;
        lua.create_string(&bytes)
    })?;
    Ok(Value::Function(function))
}

fn make_decode(lua: &Lua, _: &std::rc::Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_function(|lua, text: mlua::LuaString| {
        decode(lua, &text.as_bytes()).map_err(mlua::Error::external)
    })?;
    Ok(Value::Function(function))
}

fn make_array(lua: &Lua, _: &std::rc::Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_function(|lua, values: Option<Table>| {
        let values = match values {
            Some(values) => values,
            None => lua.create_table()?,
        };
        values.set_metatable(Some(array_metatable(lua)?))?;
        Ok(values)
    })?;
    Ok(Value::Function(function))
}

#[cfg(test)]
mod tests;
