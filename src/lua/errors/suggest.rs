//! "Did you mean": the nearest known name for one that does not exist.

use mlua::{Lua, Table, Value};

use crate::nearest::nearest;

/// For Lua's "attempt to call a nil value (global 'prnt')": `; did you mean 'print'?`.
pub(super) fn for_message(lua: &Lua, message: &str) -> Option<String> {
    if !message.contains("a nil value") {
        return None;
    }
    let known = match named(message, "(global '") {
        Some(name) => (name, keys(&lua.globals())),
        None => {
            let name = named(message, "(field '").or_else(|| named(message, "(method '"))?;
            (name, fields(lua))
        }
    };
    let (name, known) = known;
    let near = nearest(name, known.iter().map(String::as_str))?;
    Some(format!("; did you mean '{near}'?"))
}

fn named<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(before)?;
    rest.split_once('\'').map(|(name, _)| name)
}

fn keys(table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    // An error here only means fewer suggestions.
    let _ = table.for_each(|key: Value, _: Value| {
        if let Value::String(key) = key {
            names.push(key.to_string_lossy());
        }
        Ok(())
    });
    names.sort_unstable();
    names
}

/// The names in the standard library's tables and in those of the modules that are loaded.
fn fields(lua: &Lua) -> Vec<String> {
    let mut names = Vec::new();
    let loaded = lua
        .globals()
        .raw_get::<Table>("package")
        .and_then(|package| package.raw_get::<Table>("loaded"));
    if let Ok(loaded) = loaded {
        let _ = loaded.for_each(|name: Value, module: Value| {
            if let (Value::String(name), Value::Table(module)) = (name, module)
                && name.as_bytes() != b"_G".as_slice()
            {
                names.extend(keys(&module));
            }
            Ok(())
        });
    }
    names.sort_unstable();
    names.dedup();
    names
}
