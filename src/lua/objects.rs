//! Methods of what host functions give (connections, sockets, expressions). They are guarded as the functions of modules
//! are: their errors are tables with `code` and `message` too.

use mlua::{Function, Lua, Table, Value};

const GUARD_KEY: &str = "moonkeep.guard";

/// Names and functions, not yet guarded.
pub(super) type Methods = Vec<(&'static str, Function)>;

/// Keeps api.lua's guard of this state.
pub(super) fn keep_guard(lua: &Lua, guard: &Function) -> mlua::Result<()> {
    lua.set_named_registry_value(GUARD_KEY, guard)
}

/// A function as scripts call it. Without a guard, in a state that is no script's, it stays as it is.
pub(super) fn guarded(lua: &Lua, name: &str, function: Function) -> mlua::Result<Function> {
    match lua.named_registry_value::<Option<Function>>(GUARD_KEY)? {
        Some(guard) => guard.call((name, function)),
        None => Ok(function),
    }
}

/// The method `key` of a class; made once for each state, by `build`.
pub(super) fn method(
    lua: &Lua,
    class: &str,
    key: &Value,
    build: fn(&Lua) -> mlua::Result<Methods>,
) -> mlua::Result<Value> {
    let registered = format!("moonkeep.methods.{class}");
    if let Some(known) = lua.named_registry_value::<Option<Table>>(&registered)? {
        return known.raw_get(key);
    }
    let methods = lua.create_table()?;
    for (name, function) in build(lua)? {
        methods.raw_set(name, guarded(lua, &format!("{class}:{name}"), function)?)?;
    }
    lua.set_named_registry_value(&registered, &methods)?;
    methods.raw_get(key)
}
