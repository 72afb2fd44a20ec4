//! `moonkeep.time`: clocks and times as text.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mlua::{Lua, Value};

use super::arguments::duration;
use super::modules::misuse;
use super::{Function, Module, Param};

/// `moonkeep.time`
pub const MODULE: Module = Module {
    name: "moonkeep.time",
    summary: "Clocks, and times as text.",
    types: "",
    functions: &[
        Function {
            name: "now",
            params: &[],
            returns: &["number"],
            doc: "Seconds since 1970, UTC, with fractions.",
            yields: false,
            make: |lua, _| {
                let now = |_: &Lua, ()| Ok(Timestamp::now().as_duration().as_secs_f64());
                lua.create_function(now).map(Value::Function)
            },
        },
        Function {
            name: "monotonic",
            params: &[],
            returns: &["number"],
            doc: "Seconds from some fixed moment; never goes back. For measuring.",
            yields: false,
            make: |lua, _| {
                let start = Instant::now();
                let elapsed = move |_: &Lua, ()| Ok(start.elapsed().as_secs_f64());
                lua.create_function(elapsed).map(Value::Function)
            },
        },
        Function {
            name: "sleep",
            params: &[TIME],
            returns: &[],
            doc: "Waits; other coroutines run meanwhile.",
            yields: true,
            make: |lua, _| {
                let sleep = |_: Lua, time: Value| async move {
                    tokio::time::sleep(checked("time.sleep", &time)?).await;
                    Ok(())
                };
                lua.create_async_function(sleep).map(Value::Function)
            },
        },
        Function {
            name: "seconds",
            params: &[TIME],
            returns: &["number"],
            doc: "The seconds in a time like `\"1m30s\"`.",
            yields: false,
            make: |lua, _| {
                let seconds =
                    |_: &Lua, time: Value| Ok(checked("time.seconds", &time)?.as_secs_f64());
                lua.create_function(seconds).map(Value::Function)
            },
        },
        Function {
            name: "iso",
            params: &[Param {
                name: "seconds?",
                kind: "number",
                doc: "since 1970; default: now",
            }],
            returns: &["string"],
            doc: "The moment as `2026-11-20T21:18:03Z`, UTC.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|_, seconds: Option<f64>| iso(seconds))
                    .map(Value::Function)
            },
        },
        Function {
            name: "parse",
            params: &[Param {
                name: "text",
                kind: "string",
                doc: "`2026-11-20T21:18:03Z` or with an offset",
            }],
            returns: &["number"],
            doc: "Seconds since 1970 of a moment written as ISO 8601; an error if it is none.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|_, text: String| parse(&text))
                    .map(Value::Function)
            },
        },
    ],
};

const TIME: Param = Param {
    name: "time",
    kind: "number|string",
    doc: "seconds, or text like `\"500ms\"`, `\"1m\"`",
};

fn checked(what: &str, time: &Value) -> mlua::Result<Duration> {
    duration(time).map_err(|why| misuse(format!("{what}: the time {why}")))
}

fn iso(seconds: Option<f64>) -> mlua::Result<String> {
    let moment = match seconds {
        None => Some(Timestamp::now()),
        Some(seconds) => jiff::SignedDuration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|since| Timestamp::from_duration(since).ok()),
    };
    moment
        .map(|moment| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .ok_or_else(|| misuse("time.iso: that many seconds lie outside the calendar"))
}

fn parse(text: &str) -> mlua::Result<f64> {
    text.parse::<Timestamp>()
        .map(|moment| moment.as_duration().as_secs_f64())
        .map_err(|_| {
            misuse(format!(
                "time.parse: `{text}` is no moment with a zone; write for example 2026-11-20T21:18:03Z"
            ))
        })
}
