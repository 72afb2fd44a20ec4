//! Reading what Lua code hands over: tables of named options, times. Misuse is told with what was expected.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::time::Duration;

use mlua::{FromLua, Lua, Table, Value};

use super::modules::misuse;
use crate::nearest::nearest;
use crate::options::value::duration_text;

/// A table of named options whose keys have been checked.
#[derive(Debug)]
pub struct Named {
    what: &'static str,
    table: Option<Table>,
}

impl Named {
    /// `what` names the function for error texts; `known` are all the keys that it takes.
    ///
    /// # Errors
    /// If a key is not known; the message has the nearest one.
    pub fn new(what: &'static str, table: Option<Table>, known: &[&str]) -> mlua::Result<Self> {
        for pair in table.iter().flat_map(Table::pairs::<Value, Value>) {
            let (key, _) = pair?;
            let key = match &key {
                Value::String(text) => text.to_string_lossy(),
                _ => key.to_string()?,
            };
            if !known.contains(&key.as_str()) {
                let hint = nearest(&key, known.iter().copied())
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(misuse(format!(
                    "{what} knows no option `{key}`{hint}; it takes {}",
                    known.join(", ")
                )));
            }
        }
        Ok(Named { what, table })
    }

    /// # Errors
    /// If the value has another type than `T`.
    pub fn value<T: FromLua>(&self, lua: &Lua, key: &str) -> mlua::Result<Option<T>> {
        let Some(table) = &self.table else {
            return Ok(None);
        };
        let value: Value = table.raw_get(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        let kind = value.type_name();
        T::from_lua(value, lua)
            .map(Some)
            .map_err(|_| misuse(format!("{}: `{key}` cannot be a {kind}", self.what)))
    }

    /// A time: a number of seconds, or text like `"500ms"`, `"5s"`, `"1m30s"`.
    ///
    /// # Errors
    /// If it is neither, or negative.
    pub fn time(&self, key: &str) -> mlua::Result<Option<Duration>> {
        let Some(table) = &self.table else {
            return Ok(None);
        };
        let value: Value = table.raw_get(key)?;
        if value.is_nil() {
            return Ok(None);
        }
        duration(&value)
            .map(Some)
            .map_err(|why| misuse(format!("{}: `{key}` {why}", self.what)))
    }
}

/// A time as Lua code and configuration write it. The error begins with a verb.
///
/// # Errors
/// If it is no time.
pub fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Integer(seconds) => seconds_of(*seconds as f64),
        Value::Number(seconds) => seconds_of(*seconds),
        Value::String(text) => {
            duration_text(&text.to_string_lossy()).map_err(|why| format!("is no time: {why}"))
        }
        _ => Err(format!(
            "is a {}; a time is a number of seconds or text like \"30s\"",
            value.type_name()
        )),
    }
}

fn seconds_of(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("is {seconds}, which is no time; it must be 0 or more seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_text() {
        let text = |text: &str| {
            let lua = Lua::new();
            duration(&Value::String(lua.create_string(text).expect("memory")))
        };
        assert_eq!(text("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(
            duration(&Value::Number(0.5)),
            Ok(Duration::from_millis(500))
        );
        assert!(text("soon").is_err());
        assert!(duration(&Value::Integer(-1)).is_err());
        assert!(duration(&Value::Number(f64::NAN)).is_err());
    }

    #[test]
    fn an_unknown_option_is_told_with_the_nearest() {
        let lua = Lua::new();
        let table = lua.create_table_from([("timout", 1)]).expect("memory");
        let error = Named::new("f", Some(table), &["timeout", "body"]).expect_err("unknown");
        assert!(
            error.to_string().contains("did you mean `timeout`?"),
            "{error}"
        );
    }
}
