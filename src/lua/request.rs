//! What a handler gets, and how it sends parts of its answer.

use std::time::Instant;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Value};

use super::errors::ApiError;
use super::host::Host;
use super::json;
use crate::limits;
use crate::proto::codec;
use crate::proto::ids::{ClientId, RequestId, Ticket};
use crate::proto::messages::{Body, Payload};

/// A request on its way into Lua: the arguments of api.lua's `serve`.
#[derive(Debug)]
pub struct Request {
    pub params: Value,
    pub ticket: Ticket,
    pub deadline: Instant,
    pub id: Option<RequestId>,
    pub client: Option<ClientId>,
}

impl IntoLuaMulti for Request {
    fn into_lua_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let id = match &self.id {
            Some(id) => Value::String(lua.create_string(id.as_str())?),
            None => Value::Nil,
        };
        let client = match self.client {
            Some(client) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                Value::String(lua.create_string(client.0.hyphenated().encode_lower(&mut text))?)
            }
            None => Value::Nil,
        };
        let ticket = i64::try_from(self.ticket.0).unwrap_or(i64::MAX);
        Ok(MultiValue::from_vec(vec![
            self.params,
            Value::Integer(ticket),
            Value::Number(seconds_from_start(self.deadline)),
            id,
            client,
        ]))
    }
}

/// Lua keeps a deadline as seconds since the process's first look at the clock.
fn seconds_from_start(moment: Instant) -> f64 {
    moment.saturating_duration_since(start()).as_secs_f64()
}

fn start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// `left(deadline)`: seconds, never below 0.
pub(super) fn left(lua: &Lua) -> mlua::Result<Function> {
    start();
    lua.create_function(|_, deadline: f64| {
        Ok((deadline - seconds_from_start(Instant::now())).max(0.0))
    })
}

/// `part(ticket, value)`: sends one piece of an answer. Waits while the daemon does not read.
pub(super) fn part(lua: &Lua) -> mlua::Result<Function> {
    lua.create_async_function(|lua, (ticket, value): (i64, Value)| async move {
        let host = Host::of(&lua)?;
        host.outbox.room().await;
        let ticket = Ticket(u64::try_from(ticket).unwrap_or_default());
        let part = json::to_json(&lua, "part", &value).map_err(mlua::Error::external)?;
        if part.as_str().len() + LINE_ROOM > limits::LINE_BYTES {
            return Err(too_large("a part of an answer"));
        }
        let body = Body::Part(Payload::Json(part));
        host.outbox
            .push(|out| codec::encode_outcome(ticket, &body, out));
        Ok(())
    })
}

/// What a line needs beside its payload, in bytes.
pub(super) const LINE_ROOM: usize = 256;

pub(super) fn too_large(what: &str) -> mlua::Error {
    ApiError::new(
        "too_large",
        format!(
            "{what} would make a line of more than {} bytes; send it in several, or put it into a file and send its path",
            limits::LINE_BYTES
        ),
    )
    .into()
}
