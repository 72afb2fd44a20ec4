//! What can be done to a store: arguments from Lua in, an answer for Lua out, and between them nothing of Lua, so that it
//! can be done on another thread.

use mlua::{FromLua, IntoLua, Lua, LuaString, MultiValue, Value};

use super::database::{Database, Trouble};
use crate::limits;
use crate::lua::json;
use crate::lua::modules::misuse;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Set,
    Delete,
    Keys,
    Incr,
}

impl Verb {
    pub(super) const ALL: [Verb; 5] = [Verb::Get, Verb::Set, Verb::Delete, Verb::Keys, Verb::Incr];

    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Set => "set",
            Verb::Delete => "delete",
            Verb::Keys => "keys",
            Verb::Incr => "incr",
        }
    }
}

/// A number as Lua has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Real(f64),
}

/// One thing to do.
#[derive(Debug)]
pub(super) enum Work {
    Get {
        key: String,
        default: Option<Vec<u8>>,
    },
    Set {
        key: String,
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
    Keys {
        prefix: String,
    },
    Incr {
        key: String,
        by: Number,
    },
}

/// What came of it. Values are JSON.
#[derive(Debug)]
pub(super) enum Answer {
    Nothing,
    Value(Vec<u8>),
    Was(bool),
    Keys(Vec<String>),
    Sum(Number),
}

impl Work {
    /// # Errors
    /// If the arguments are none for this.
    pub(super) fn new(lua: &Lua, verb: Verb, mut arguments: MultiValue) -> mlua::Result<Self> {
        let mut next = || arguments.pop_front().unwrap_or(Value::Nil);
        if verb == Verb::Keys {
            let prefix = Option::<LuaString>::from_lua(next(), lua)?;
            let prefix = prefix.map_or_else(String::new, |prefix| prefix.to_string_lossy());
            return Ok(Work::Keys { prefix });
        }
        let key = key(verb, &next())?;
        Ok(match verb {
            Verb::Get => {
                let default = next();
                let default = (!default.is_nil()).then(|| value(lua, verb, &default));
                Work::Get {
                    key,
                    default: default.transpose()?,
                }
            }
            Verb::Set => {
                let given = next();
                if given.is_nil() {
                    return Ok(Work::Delete { key });
                }
                Work::Set {
                    key,
                    value: value(lua, verb, &given)?,
                }
            }
            Verb::Delete | Verb::Keys => Work::Delete { key },
            Verb::Incr => Work::Incr {
                key,
                by: step(&next())?,
            },
        })
    }

    pub(super) fn perform(self, database: &mut Database) -> Result<Answer, Trouble> {
        Ok(match self {
            Work::Get { key, default } => match database.get(&key)?.or(default) {
                Some(value) => Answer::Value(value),
                None => Answer::Nothing,
            },
            Work::Set { key, value } => {
                database.set(&key, &value)?;
                Answer::Nothing
            }
            Work::Delete { key } => Answer::Was(database.delete(&key)?),
            Work::Keys { prefix } => Answer::Keys(database.keys(&prefix)?),
            Work::Incr { key, by } => Answer::Sum(database.incr(&key, by)?),
        })
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]
fn key(verb: Verb, value: &Value) -> mlua::Result<String> {
    let text = match value {
        Value::String(text) => text.to_str().ok().map(|text| text.to_owned()),
        _ => None,
    };
    text.filter(|text| (1..=limits::STORE_KEY_BYTES).contains(&text.len()))
        .ok_or_else(|| {
            misuse(format!(
                "store.{}: a key is a text of 1 to {} bytes of UTF-8",
                verb.name(),
                limits::STORE_KEY_BYTES
            ))
        })
}

fn value(lua: &Lua, verb: Verb, value: &Value) -> mlua::Result<Vec<u8>> {
    let bytes = json::encode(lua, "value", value)
        .map_err(|fault| misuse(format!("store.{}: {fault}", verb.name())))?;
    if bytes.len() > limits::STORE_VALUE_BYTES {
        return Err(misuse(format!(
            "store.{}: the value has {} bytes as JSON; at most {} are kept, so split it over several keys, or write a file",
            verb.name(),
            bytes.len(),
            limits::STORE_VALUE_BYTES
        )));
    }
    Ok(bytes)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]
fn step(value: &Value) -> mlua::Result<Number> {
    match value {
        Value::Nil => Ok(Number::Whole(1)),
        Value::Integer(by) => Ok(Number::Whole(*by)),
        Value::Number(by) if by.is_finite() => Ok(Number::Real(*by)),
        _ => Err(misuse("store.incr: what is added is a finite number")),
    }
}

impl Answer {
    pub(super) fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Answer::Nothing => Ok(Value::Nil),
            Answer::Value(json) => json::decode(lua, &json).map_err(mlua::Error::external),
            Answer::Was(was) => Ok(Value::Boolean(was)),
            Answer::Keys(keys) => keys.into_lua(lua),
            Answer::Sum(Number::Whole(sum)) => Ok(Value::Integer(sum)),
            Answer::Sum(Number::Real(sum)) => Ok(Value::Number(sum)),
        }
    }
}
