//! The globals of a plugin: `check`, `heartbeat`, `on_change`, `param`, `nagios`, and the modules under their short
//! names. What they declare is collected in a [`Draft`] while the plugin's file runs.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use mlua::{FromLua, Function, IntoLua, Lua, LuaString, Table, Value};

use super::command;
use super::options::{CheckOptions, Given, OF_CHECKS, OF_HEARTBEATS};
use super::params::{Params, Written};
use super::plugin::{Check, Heartbeat};
use super::probe::Said;
use crate::limits;
use crate::lua::arguments::Named;
use crate::lua::errors;
use crate::lua::modules::misuse;
use crate::lua::{MODULES, own};

/// What declarations collect while a file runs.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) params: Params,
    pub(super) checks: Vec<Check>,
    pub(super) heartbeats: Vec<Heartbeat>,
    pub(super) hooks: Vec<Function>,
    /// `nagios(...)` that no `check` has taken yet, with the name of its program.
    pub(super) wrapped: Vec<(String, Function)>,
    closed: bool,
}

impl Draft {
    pub(super) fn new(written: BTreeMap<String, Written>) -> Self {
        Draft {
            params: Params::new(written),
            ..Draft::default()
        }
    }
}

/// Takes what was declared: from here on a declaration is an error, and no function of the state is held by it.
pub(super) fn close(draft: &Rc<RefCell<Draft>>) -> Draft {
    draft.replace(Draft {
        closed: true,
        ..Draft::default()
    })
}

/// Sets the globals; the function returned freezes them.
pub(super) fn set(lua: &Lua, draft: &Rc<RefCell<Draft>>, home: &Path) -> mlua::Result<Function> {
    let globals = lua.globals();
    let drafted = Rc::clone(draft);
    let check = lua.create_function(move |lua, arguments| declare(lua, &drafted, arguments))?;
    globals.raw_set("check", check)?;
    let drafted = Rc::clone(draft);
    let heartbeat = lua.create_function(move |lua, arguments| expect(lua, &drafted, arguments))?;
    globals.raw_set("heartbeat", heartbeat)?;
    let drafted = Rc::clone(draft);
    let on_change = lua.create_function(move |_, function: Value| hook(&drafted, function))?;
    globals.raw_set("on_change", on_change)?;
    let drafted = Rc::clone(draft);
    let param = lua.create_function(
        move |lua, (name, default, doc): (String, Value, Option<String>)| {
            let mut draft = drafted.borrow_mut();
            open(&draft, "param")?;
            let doc = doc.unwrap_or_default();
            draft.params.declare(lua, &name, &default, doc)
        },
    )?;
    globals.raw_set("param", param)?;
    globals.raw_set("nagios", nagios(lua, draft, home)?)?;
    let say = lua.create_function(|lua, line: LuaString| {
        if let Some(said) = lua.app_data_ref::<Said>() {
            said.push(line.to_string_lossy());
        }
        Ok(())
    })?;
    let modules = lua.create_table()?;
    for module in MODULES {
        // The core itself has no short name: it is about scripts.
        if let Some(short) = module.name.strip_prefix("moonkeep.") {
            modules.raw_set(short, module.name)?;
        }
    }
    own::load(lua, errors::INTERNAL_CHUNK, include_str!("prelude.lua"))?.call((modules, say))
}

fn nagios(lua: &Lua, draft: &Rc<RefCell<Draft>>, home: &Path) -> mlua::Result<Function> {
    let drafted = Rc::clone(draft);
    let plugins = home.join("plugins");
    lua.create_function(move |lua, command: Value| {
        let (name, function) = command::wrap(lua, command, plugins.clone())?;
        let mut draft = drafted.borrow_mut();
        if !draft.closed {
            draft.wrapped.push((name, function.clone()));
        }
        Ok(function)
    })
}

fn open(draft: &Draft, what: &str) -> mlua::Result<()> {
    if draft.closed {
        return Err(misuse(format!(
            "{what} is called while a check runs; call it at the top of the plugin's file"
        )));
    }
    Ok(())
}

/// `check(name, options, function)`, or without the options.
fn declare(
    lua: &Lua,
    draft: &Rc<RefCell<Draft>>,
    (name, options, function): (Value, Value, Value),
) -> mlua::Result<()> {
    let (options, function) = match (options, function) {
        (Value::Function(function), Value::Nil) => (None, function),
        (Value::Table(options), Value::Function(function)) => (Some(options), function),
        (Value::Nil, Value::Function(function)) => (None, function),
        _ => {
            return Err(misuse(
                "check takes a name, options and a function: check(\"web\", { every = \"30s\" }, function(c) ... end)",
            ));
        }
    };
    let mut draft = draft.borrow_mut();
    let name = name_of("check", &draft, &name)?;
    let check = Check {
        options: options_of("check", &name, options, OF_CHECKS)?,
        memory: lua.create_table()?,
        function,
        name,
    };
    draft
        .wrapped
        .retain(|(_, wrapped)| *wrapped != check.function);
    draft.checks.push(check);
    Ok(())
}

/// `heartbeat(name, options)`
fn expect(
    _: &Lua,
    draft: &Rc<RefCell<Draft>>,
    (name, options): (Value, Value),
) -> mlua::Result<()> {
    let options = match options {
        Value::Nil => None,
        Value::Table(options) => Some(options),
        _ => {
            return Err(misuse(
                "heartbeat takes a name and options: heartbeat(\"backup\", { every = \"1d\", grace = \"1h\" })",
            ));
        }
    };
    let mut draft = draft.borrow_mut();
    let name = name_of("heartbeat", &draft, &name)?;
    let options = options_of("heartbeat", &name, options, OF_HEARTBEATS)?;
    draft.heartbeats.push(Heartbeat { name, options });
    Ok(())
}

/// `on_change(function)`
fn hook(draft: &Rc<RefCell<Draft>>, function: Value) -> mlua::Result<()> {
    let mut draft = draft.borrow_mut();
    open(&draft, "on_change")?;
    let Value::Function(function) = function else {
        return Err(misuse(
            "on_change takes a function: on_change(function(change) print(change.check, change.to) end)",
        ));
    };
    draft.hooks.push(function);
    Ok(())
}

/// The name of a new check. It is also the name by which the daemon asks for it.
fn name_of(what: &str, draft: &Draft, name: &Value) -> mlua::Result<String> {
    open(draft, what)?;
    let Value::String(name) = name else {
        return Err(misuse(format!("{what}: the name is a text")));
    };
    let name = name.to_string_lossy();
    let fits = !name.is_empty() && !name.starts_with('@') && !name.chars().any(char::is_control);
    if !fits || name.len() > limits::CHECK_NAME_BYTES {
        return Err(misuse(format!(
            "{what}: a name has 1 to {} bytes, no control characters, and does not begin with @",
            limits::CHECK_NAME_BYTES
        )));
    }
    let known = draft.checks.iter().map(|check| &check.name);
    let mut known = known.chain(draft.heartbeats.iter().map(|beat| &beat.name));
    if known.any(|known| *known == name) {
        return Err(misuse(format!(
            "the check `{name}` is declared twice; give each its own name"
        )));
    }
    if draft.checks.len() + draft.heartbeats.len() >= limits::CHECKS_PER_PLUGIN {
        return Err(misuse(format!(
            "more than {} checks in one plugin; split it",
            limits::CHECKS_PER_PLUGIN
        )));
    }
    Ok(name)
}

fn options_of(
    what: &'static str,
    name: &str,
    table: Option<Table>,
    known: &[&str],
) -> mlua::Result<CheckOptions> {
    let mut options = CheckOptions::default();
    let Some(table) = table else {
        return Ok(options);
    };
    let _names_are_known = Named::new(what, Some(table.clone()), known)?;
    for key in known {
        let value: Value = table.raw_get(*key)?;
        if !value.is_nil() {
            options
                .set(key, &given(&value))
                .map_err(|why| misuse(format!("{what} `{name}`: {why}")))?;
        }
    }
    Ok(options)
}

fn given(value: &Value) -> Given {
    let other = || Given::Other(format!("a {}", value.type_name()));
    match value {
        Value::String(text) => Given::Text(text.to_string_lossy()),
        #[expect(
            clippy::cast_precision_loss,
            reason = "no time or count of interest is that long"
        )]
        Value::Integer(whole) => Given::Number(*whole as f64),
        Value::Number(number) => Given::Number(*number),
        Value::Table(table) => table
            .sequence_values::<LuaString>()
            .map(|text| text.map(|text| text.to_string_lossy()))
            .collect::<mlua::Result<_>>()
            .map_or_else(|_| other(), Given::Texts),
        _ => other(),
    }
}

/// What a check's function returned, as its message.
///
/// # Errors
/// If it is neither text, number nor nothing.
pub(super) fn returned(value: Option<Value>, lua: &Lua) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Nil) => Ok(None),
        Some(value @ (Value::String(_) | Value::Integer(_) | Value::Number(_))) => {
            match String::from_lua(value.clone(), lua) {
                Ok(text) => Ok(Some(text)),
                // Not UTF-8: shown as well as it can be.
                Err(_) => Ok(value
                    .into_lua(lua)
                    .ok()
                    .and_then(|value| value.as_string().map(LuaString::to_string_lossy))),
            }
        }
        Some(other) => Err(format!(
            "its function returned a {}; return a text as the message, or nothing",
            other.type_name()
        )),
    }
}
