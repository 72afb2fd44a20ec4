//! From the const tables to Lua tables: what `require "moonkeep.json"` returns.

use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};

use super::errors::{self, ApiError};
use super::{Context, Module, objects, own, request};

use crate::nearest::nearest;

/// api.lua's functions.
#[derive(Clone, Debug)]
pub(super) struct Guards {
    guard: Function,
    seal: Function,
}

impl Guards {
    /// Also returns the trampolines through which everything of a script is called: `call(f, ...)` and
    /// `serve(f, params, ticket, deadline, id, client)`.
    pub(super) fn new(lua: &Lua, capture: &Function) -> mlua::Result<(Self, Function, Function)> {
        let convert = lua.create_function(|lua, (name, error): (mlua::LuaString, Value)| {
            convert(lua, &name.to_string_lossy(), error)
        })?;
        let unknown =
            lua.create_function(|_, (name, module, key): (mlua::LuaString, Table, Value)| {
                Ok(unknown(&name.to_string_lossy(), &module, &key))
            })?;
        let (guard, seal, call, serve) = own::load(
            lua,
            errors::INTERNAL_CHUNK,
            include_str!("api.lua"),
        )?
        .call::<(Function, Function, Function, Function)>((
            convert,
            unknown,
            capture.clone(),
            request::part(lua)?,
            request::left(lua)?,
        ))?;
        objects::keep_guard(lua, &guard)?;
        Ok((Guards { guard, seal }, call, serve))
    }

    /// Builds a module's table.
    pub(super) fn build(
        &self,
        lua: &Lua,
        context: &Rc<Context>,
        module: &Module,
    ) -> mlua::Result<Table> {
        let root = lua.create_table()?;
        let absent = lua.create_table()?;
        let mut inner: Vec<(&str, Table)> = Vec::new();
        for row in module.functions {
            let mut value = (row.make)(lua, context)?;
            if let Value::Function(function) = &value {
                let full = format!("{}.{}", module.name, row.name);
                value = self.guard.call((full, function))?;
            }
            if value.is_nil() {
                absent.raw_set(row.name, true)?;
            }
            match row.name.split_once('.') {
                None => root.raw_set(row.name, value)?,
                Some((group, name)) => {
                    let known = inner
                        .iter()
                        .find(|(known, _)| *known == group)
                        .map(|(_, table)| table.clone());
                    let table = match known {
                        Some(table) => table,
                        None => {
                            let table = lua.create_table()?;
                            inner.push((group, table.clone()));
                            table
                        }
                    };
                    table.raw_set(name, value)?;
                }
            }
        }
        for (group, table) in inner {
            let sealed: Table = self
                .seal
                .call((format!("{}.{group}", module.name), table))?;
            root.raw_set(group, sealed)?;
        }
        self.seal.call((module.name, root, absent))
    }
}

/// What a host function's error becomes for the script: a table, so that `pcall` gives something to look into.
/// What is no error of ours (a value that the script raised in a callback, the hook's) passes as it is.
fn convert(lua: &Lua, name: &str, error: Value) -> mlua::Result<Value> {
    let Value::Error(inner) = &error else {
        return Ok(error);
    };
    if is_time_is_up(inner) || matches!(**inner, mlua::Error::MemoryError(_)) {
        return Ok(error);
    }
    let (message, api) = errors::explain(inner);
    let table = lua.create_table()?;
    match api {
        Some(api) => {
            table.raw_set("code", api.code)?;
            table.raw_set("message", api.message)?;
            if let Some(wait) = api.retry_after {
                table.raw_set("retry_after", wait.as_secs_f64())?;
            }
            if let Some(data) = api.data {
                let data = super::json::decode(lua, data.as_str().as_bytes())
                    .map_err(mlua::Error::external)?;
                table.raw_set("data", data)?;
            }
        }
        None => {
            table.raw_set("code", "bad_request")?;
            let bare = matches!(
                root(inner),
                mlua::Error::RuntimeError(_) | mlua::Error::ExternalError(_)
            );
            let message = if bare {
                message
            } else {
                format!("{name}: {message}")
            };
            table.raw_set("message", message)?;
        }
    }
    table.raw_set("at", errors::place(lua, 1))?;
    Ok(Value::Table(table))
}

fn is_time_is_up(error: &mlua::Error) -> bool {
    matches!(root(error), mlua::Error::ExternalError(inner) if inner.is::<errors::TimeIsUp>())
}

fn root(mut error: &mlua::Error) -> &mlua::Error {
    while let mlua::Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    error
}

fn unknown(name: &str, module: &Table, key: &Value) -> String {
    let key = match key.as_string() {
        Some(key) => key.to_string_lossy(),
        None => format!("{key:?}"),
    };
    let mut known = Vec::new();
    let _ = module.for_each(|key: Value, _: Value| {
        if let Value::String(key) = key {
            known.push(key.to_string_lossy());
        }
        Ok(())
    });
    known.sort_unstable();
    let hint = match nearest(&key, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean '{name}.{near}'?"),
        None => format!("it has {}", known.join(", ")),
    };
    format!("{name} has nothing named '{key}'; {hint}")
}

/// An error about a misused argument: what was expected.
#[must_use]
pub fn misuse(what: impl Into<String>) -> mlua::Error {
    ApiError::new("bad_request", what).into()
}
