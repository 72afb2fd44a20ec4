//! Reading what Lua code hands over: tables of named options, times. Misuse is told with what was expected.

use std::time::Duration;

use mlua::{FromLua, Lua, Table, Value};

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
                other => other.to_string()?,
            };
            if !known.contains(&key.as_str()) {
                return Err(misuse(format!(
                    "{what} knows no option `{key}`{}; it takes {}",
                    did_you_mean(&key, known.iter().copied()),
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

/// An error for wrong use of the API.
#[must_use]
pub fn misuse(message: impl std::fmt::Display) -> mlua::Error {
    mlua::Error::runtime(message)
}

/// A time as Lua code and configuration write it. The error begins with a verb.
///
/// # Errors
/// If it is no time.
pub fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Integer(seconds) => seconds_of(*seconds as f64),
        Value::Number(seconds) => seconds_of(*seconds),
        Value::String(text) => duration_of_text(&text.to_string_lossy()),
        other => Err(format!(
            "is a {}; a time is a number of seconds or text like \"30s\"",
            other.type_name()
        )),
    }
}

/// `"500ms"`, `"30s"`, `"1m"`, `"1h30m"`. The error begins with a verb.
///
/// # Errors
/// If it is no time.
pub fn duration_of_text(text: &str) -> Result<Duration, String> {
    let bare = text.trim().parse::<f64>().ok();
    match bare {
        Some(seconds) => seconds_of(seconds),
        None => text
            .trim()
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .ok_or_else(|| {
                format!("is \"{text}\", which is no time; write for example \"500ms\", \"30s\" or \"1m\"")
            }),
    }
}

fn seconds_of(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| format!("is {seconds}, which is no time; it must be 0 or more seconds"))
}

/// `; did you mean `x`?` with the nearest of `names`, or nothing if none is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, names) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

/// The name that `word` was probably meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_friendly_text() {
        let read = |text: &str| duration_of_text(text);
        assert_eq!(read("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(read("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(read("2"), Ok(Duration::from_secs(2)));
        assert!(read("soon").is_err());
        assert!(read("-5s").is_err());
        assert!(read("nan").is_err());
    }

    #[test]
    fn the_nearest_name_is_offered_and_nothing_far_off() {
        assert_eq!(nearest("timout", ["timeout", "every"]), Some("timeout"));
        assert_eq!(nearest("xyz", ["timeout", "every"]), None);
    }
}
