//! The script's log: standard error. `print` and `moonkeep.log` write here, one call a line.

use std::io::Write as _;

use mlua::{Lua, Value, Variadic};

use super::errors::Failure;
use super::host::{Host, Surroundings};

/// Writes one record. What cannot be written is lost: a log that is gone never stops a script.
pub(crate) fn line(level: &str, text: &str) {
    let mut record = String::with_capacity(level.len() + text.len() + 3);
    if !level.is_empty() {
        record.push_str(level);
        record.push_str(": ");
    }
    record.push_str(text);
    record.push('\n');
    let _ = std::io::stderr().write_all(record.as_bytes());
}

/// An error that nobody else is told.
pub(crate) fn failure(what: &str, failure: &Failure) {
    line("error", &format!("{what}: {failure}"));
}

/// `print`: to the log, or, in the foreground, to standard output.
pub(super) fn install_print(lua: &Lua) -> mlua::Result<()> {
    let print = lua.create_function(|lua, values: Variadic<Value>| {
        let text = joined(&values)?;
        let at_terminal =
            Host::of(lua).is_ok_and(|host| host.surroundings == Surroundings::Terminal);
        if at_terminal {
            // Nobody may read it: `moonkeep run x.lua | head`.
            let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
        } else {
            line("", &text);
        }
        Ok(())
    })?;
    lua.globals().raw_set("print", print)
}

/// The values as `print` shows them, with tabs between.
pub(super) fn joined(values: &[Value]) -> mlua::Result<String> {
    let mut text = String::new();
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            text.push('\t');
        }
        match value.as_string() {
            Some(bytes) => text.push_str(&bytes.to_string_lossy()),
            None => text.push_str(&value.to_string()?),
        }
    }
    Ok(text)
}
