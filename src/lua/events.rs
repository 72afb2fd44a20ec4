//! Events that a script listens for: which functions one concerns, and starting them.

use std::rc::Rc;

use mlua::Value;

use super::host::{Host, Registry};
use super::json;
use super::log;
use super::state::State;
use crate::proto::ids::ScriptName;
use crate::proto::messages::Json;

/// The patterns of a script, each once.
pub(crate) fn patterns(registry: &Registry) -> Vec<String> {
    let mut patterns: Vec<String> = registry
        .subscriptions
        .borrow()
        .iter()
        .map(|(pattern, _)| pattern.to_string())
        .collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// Starts every function that listens for this event.
pub(crate) fn deliver(
    host: &Rc<Host>,
    state: &State,
    name: &str,
    data: Option<&Json>,
    from: Option<&ScriptName>,
) {
    let concerned: Vec<mlua::Function> = host
        .registry
        .subscriptions
        .borrow()
        .iter()
        .filter(|(pattern, _)| fits(pattern, name))
        .map(|(_, function)| function.clone())
        .collect();
    for function in concerned {
        match event(state, name, data, from) {
            Ok(event) => host.launch("moonkeep.on", &function, event),
            Err(why) => log::line(
                "error",
                &format!("the event {name} could not be delivered: {why}"),
            ),
        }
    }
}

fn event(
    state: &State,
    name: &str,
    data: Option<&Json>,
    from: Option<&ScriptName>,
) -> Result<mlua::Table, String> {
    let told = |error: mlua::Error| error.to_string();
    let lua = state.lua();
    let data = match data {
        Some(data) => json::decode(lua, data.as_str().as_bytes())
            .map_err(|fault| fault.without_position().to_owned())?,
        None => Value::Nil,
    };
    let table = lua.create_table().map_err(told)?;
    table.raw_set("name", name).map_err(told)?;
    table.raw_set("data", data).map_err(told)?;
    table
        .raw_set("from", from.map(ScriptName::as_str))
        .map_err(told)?;
    Ok(table)
}

/// `*` stands for any run of characters, also an empty one. Linear in both lengths, near enough.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("*", "", true),
            ("a.*", "a.b.c", true),
            ("a.*", "b.a.", false),
            ("*.full", "disk.full", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
