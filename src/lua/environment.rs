//! An environment of one Lua state's own, in a process that is not its own: what `os.getenv` says and programs get.
//! In a worker the process's environment is the script's, and there is none of these.

use std::collections::BTreeMap;
use std::ffi::OsString;

use mlua::{Lua, LuaString, Table};
use tokio::process::Command;

/// See the module. In the state's app data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The process's own variables of which `passes` holds, and `set` over them.
    #[must_use]
    pub fn new(passes: impl Fn(&str) -> bool, set: &BTreeMap<String, String>) -> Self {
        let own = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(&passes));
        let set = set.iter().map(|(name, value)| (name.into(), value.into()));
        Environment(own.chain(set).collect())
    }

    /// From now on it is the state's.
    ///
    /// # Errors
    /// If memory is short.
    pub fn install(self, lua: &Lua) -> mlua::Result<()> {
        let os: Table = lua.globals().raw_get("os")?;
        let getenv = lua.create_function(|lua, name: LuaString| {
            let own = lua.app_data_ref::<Environment>();
            let name = OsString::from(name.to_string_lossy());
            let value = own.and_then(|own| own.0.get(&name).cloned());
            Ok(value.map(|value| value.to_string_lossy().into_owned()))
        })?;
        os.raw_set("getenv", getenv)?;
        lua.set_app_data(self);
        Ok(())
    }

    /// Gives it to a program that the state starts, if it has one of its own.
    pub fn give(lua: &Lua, command: &mut Command) {
        if let Some(own) = lua.app_data_ref::<Environment>() {
            command.env_clear().envs(&own.0);
        }
    }
}
