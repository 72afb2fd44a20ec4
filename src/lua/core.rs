//! `moonkeep`: handlers, calls, events, the script's own facts.

use std::rc::Rc;

use mlua::{Function as LuaFunction, Lua, Table, Value};

use super::arguments::Named;
use super::errors::ApiError;
use super::host::{Host, Registered, Surroundings};
use super::modules::misuse;
use super::{Context, Function, Module, Param, json, log, request, timers};
use crate::limits;
use crate::proto::codec;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{
    Body, Call, Command, Delivery, Encoding, Json, Payload, Question, Refusal,
};

mod rows;

pub use rows::MODULE;

/// `moonkeep.handle(name, function, options?)`.
fn handle(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (name, function, options): (Value, Value, Option<Table>)| {
        let host = Host::of(lua)?;
        let name = named("moonkeep.handle", "name", &name)?;
        let Some(function) = function.as_function() else {
            return Err(misuse(format!(
                "moonkeep.handle(\"{name}\", ...): expected a function as the second argument, got {}; \
                 write: moonkeep.handle(\"{name}\", function(request) ... end)",
                function.type_name()
            )));
        };
        let options = Named::new("moonkeep.handle", options, &["delivery", "timeout"])?;
        let registered = Registered {
            function: function.clone(),
            delivery: delivery(options.value::<String>(lua, "delivery")?)?,
            timeout: options.time("timeout")?,
        };
        let mut handlers = host.registry.handlers.borrow_mut();
        if handlers.contains_key(name.as_str()) {
            return Err(misuse(format!(
                "moonkeep.handle: there is already a handler \"{name}\"; give this one another name"
            )));
        }
        if handlers.len() >= limits::HANDLERS_PER_SCRIPT {
            return Err(misuse(format!(
                "moonkeep.handle: a script has at most {} handlers; use one with a parameter",
                limits::HANDLERS_PER_SCRIPT
            )));
        }
        handlers.insert(name.into(), Rc::new(registered));
        host.registry.handlers_changed.set(true);
        host.bell.notify_one();
        Ok(())
    };
    lua.create_function(function).map(Value::Function)
}

fn named(function: &str, what: &str, value: &Value) -> mlua::Result<String> {
    let text = value.as_string().map(mlua::LuaString::to_string_lossy);
    match text {
        Some(text)
            if !text.is_empty()
                && text.len() <= limits::HANDLER_NAME_BYTES
                && !text.contains(char::is_whitespace) =>
        {
            Ok(text)
        }
        Some(text) => Err(misuse(format!(
            "{function}: {text:?} cannot be a {what}: use 1 to {} characters without blanks",
            limits::HANDLER_NAME_BYTES
        ))),
        None => Err(misuse(format!(
            "{function}: expected a string as the {what}, got {}",
            value.type_name()
        ))),
    }
}

fn delivery(name: Option<String>) -> mlua::Result<Delivery> {
    match name.as_deref() {
        None | Some("once") => Ok(Delivery::Once),
        Some("idempotent") => Ok(Delivery::Idempotent),
        Some("query") => Ok(Delivery::Query),
        Some(other) => Err(misuse(format!(
            "moonkeep.handle: delivery is \"once\", \"idempotent\" or \"query\", not {other:?}"
        ))),
    }
}

/// `moonkeep.call(script, handler, params?, options?)`.
fn call(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_async_function(
        |lua, (script, handler, params, options): (Value, Value, Value, Option<Table>)| async move {
            let host = Host::of(&lua)?;
            let options = Named::new("moonkeep.call", options, &["timeout"])?;
            let call = Call {
                script: ScriptName::parse(&named("moonkeep.call", "script", &script)?)
                    .map_err(misuse)?,
                handler: named("moonkeep.call", "handler", &handler)?.into(),
                params: parameters(&lua, &params)?,
                timeout: options.time("timeout")?,
            };
            let body = ask(&host, Command::Call(call)).await?;
            answer(&lua, body)
        },
    )?;
    Ok(Value::Function(function))
}

fn parameters(lua: &Lua, params: &Value) -> mlua::Result<Option<Json>> {
    match params {
        Value::Nil => Ok(None),
        Value::Table(_) => {
            let json = json::to_json(lua, "params", params).map_err(mlua::Error::external)?;
            if json.as_str().len() + 2 * request::LINE_ROOM > limits::LINE_BYTES {
                return Err(request::too_large("moonkeep.call: the parameters"));
            }
            Ok(Some(json))
        }
        Value::Boolean(_)
        | Value::LightUserData(_)
        | Value::Integer(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Function(_)
        | Value::Thread(_)
        | Value::UserData(_)
        | Value::Error(_)
        | Value::Other(_) => Err(misuse(format!(
            "moonkeep.call: expected a table of parameters, got {}; write {{ name = \"Ada\" }}",
            params.type_name()
        ))),
    }
}

/// Sends a question of the script's; gives the end of its answer. Dropping it cancels the request.
async fn ask(host: &Rc<Host>, command: Command) -> mlua::Result<Body> {
    if host.surroundings == Surroundings::Terminal {
        return Err(ApiError::new(
            "not_ready",
            "there is no daemon in `moonkeep run`; start one with `moonkeep up` and put the script into its home",
        )
        .into());
    }
    host.outbox.room().await;
    let (_, id, receiver) = host.expect_answer();
    send(host, &id, command)?;
    let mut pending = Cancels {
        host: Rc::clone(host),
        id: Some(id),
    };
    let body = receiver.await;
    pending.id = None;
    body.map_err(|_| {
        ApiError::new(
            "shutting_down",
            "the daemon has gone before it answered; nobody knows whether the request ran",
        )
        .into()
    })
}

fn send(host: &Host, id: &str, command: Command) -> mlua::Result<()> {
    let question = Question {
        encoding: Encoding::Json,
        id: Some(RequestId::new(id).map_err(misuse)?),
        command,
    };
    host.outbox
        .push(|out| codec::encode_question(&question, out));
    Ok(())
}

/// Cancels a request whose caller was dropped.
struct Cancels {
    host: Rc<Host>,
    id: Option<String>,
}

impl Drop for Cancels {
    fn drop(&mut self) {
        if let Some(target) = self.id.take().and_then(|id| RequestId::new(&id).ok()) {
            let (_, id, _forgotten) = self.host.expect_answer();
            let _ = send(&self.host, &id, Command::Cancel { target });
        }
    }
}

fn answer(lua: &Lua, body: Body) -> mlua::Result<Value> {
    match body {
        Body::Ok { result, .. } => value_of(lua, result),
        Body::Error(refusal) => Err(refused(refusal)),
        Body::Accepted | Body::Running | Body::Part(_) => Ok(Value::Nil),
    }
}

fn value_of(lua: &Lua, payload: Payload) -> mlua::Result<Value> {
    match payload {
        Payload::Empty => Ok(Value::Nil),
        Payload::Json(json) => {
            json::decode(lua, json.as_str().as_bytes()).map_err(mlua::Error::external)
        }
        Payload::Lines(lines) => lua.create_string(lines.as_bytes()).map(Value::String),
    }
}

fn refused(refusal: Refusal) -> mlua::Error {
    ApiError {
        code: refusal.code.as_str().to_owned(),
        message: refusal.message,
        data: refusal.data,
        retry_after: refusal.retry_after,
    }
    .into()
}

/// `moonkeep.emit(event, data?)`.
fn emit(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = lua.create_async_function(|lua, (event, data): (Value, Value)| async move {
        let host = Host::of(&lua)?;
        let event = named("moonkeep.emit", "event's name", &event)?;
        let data = (!data.is_nil())
            .then(|| json::to_json(&lua, "data", &data).map_err(mlua::Error::external))
            .transpose()?;
        if host.surroundings == Surroundings::Terminal {
            log::line(
                "event",
                &format!("{event} {}", data.as_ref().map_or("", Json::as_str)),
            );
            return Ok(());
        }
        host.outbox.room().await;
        let (_, id, _forgotten) = host.expect_answer();
        send(&host, &id, Command::Emit { event, data })
    })?;
    Ok(Value::Function(function))
}

/// `moonkeep.on(pattern, function)`.
fn on(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, (pattern, function): (Value, LuaFunction)| {
        let host = Host::of(lua)?;
        let pattern = named("moonkeep.on", "pattern", &pattern)?;
        let mut subscriptions = host.registry.subscriptions.borrow_mut();
        if subscriptions.len() >= limits::SUBSCRIPTIONS_PER_PEER {
            return Err(misuse(format!(
                "moonkeep.on: a script has at most {} subscriptions; use a wider pattern such as \"disk.*\"",
                limits::SUBSCRIPTIONS_PER_PEER
            )));
        }
        subscriptions.push((pattern.into(), function));
        host.registry.subscriptions_changed.set(true);
        host.bell.notify_one();
        Ok(())
    };
    lua.create_function(function).map(Value::Function)
}

fn on_handover(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, function: LuaFunction| {
        let host = Host::of(lua)?;
        *host.registry.on_handover.borrow_mut() = Some(function);
        host.registry.handlers_changed.set(true);
        Ok(())
    };
    lua.create_function(function).map(Value::Function)
}

fn on_shutdown(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    let function = |lua: &Lua, function: LuaFunction| {
        Host::of(lua)?
            .registry
            .on_shutdown
            .borrow_mut()
            .push(function);
        Ok(())
    };
    lua.create_function(function).map(Value::Function)
}

fn handover(lua: &Lua, _: &Rc<Context>) -> mlua::Result<Value> {
    match Host::of(lua).ok().and_then(|host| host.handover.clone()) {
        Some(state) => json::decode(lua, state.as_str().as_bytes()).map_err(mlua::Error::external),
        None => Ok(Value::Nil),
    }
}

fn log_at(lua: &Lua, level: &'static str) -> mlua::Result<Value> {
    let function = lua.create_function(move |_, values: mlua::Variadic<Value>| {
        log::line(level, &log::joined(&values)?);
        Ok(())
    })?;
    Ok(Value::Function(function))
}

fn text(lua: &Lua, text: impl AsRef<[u8]>) -> mlua::Result<Value> {
    lua.create_string(text).map(Value::String)
}
