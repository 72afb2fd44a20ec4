//! Lua chunks that the binary brings: compiled once a thread, however many states run them.
//!
//! A process with one state (a worker) compiles them as any other text. From the second state on (a run of checks
//! has one a plugin) they are loaded from what the first compilation left. Never holds a chunk that came from a file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

/// The text's address, which is its identity, and the name that it is compiled under.
type Key = (usize, String);

thread_local! {
    /// `None`: asked for once so far.
    static COMPILED: RefCell<HashMap<Key, Option<Rc<[u8]>>>> = RefCell::default();
}

/// Makes a function of a text of our own. `name` as in Lua: `@file` or `=name`.
///
/// # Errors
/// Lua's, if memory is short, or if the text is no Lua.
pub(crate) fn load(lua: &Lua, name: &str, text: &'static str) -> mlua::Result<Function> {
    let key = (text.as_ptr() as usize, name.to_owned());
    let known = COMPILED.with_borrow(|compiled| compiled.get(&key).cloned());
    if let Some(Some(code)) = &known {
        return lua
            .load(&code[..])
            .set_mode(ChunkMode::Binary)
            .into_function();
    }
    let function = lua
        .load(text)
        .set_name(name)
        .set_mode(ChunkMode::Text)
        .into_function()?;
    let code = known.is_some().then(|| function.dump(false).into());
    COMPILED.with_borrow_mut(|compiled| compiled.insert(key, code));
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_gets_the_same_function_with_its_lines() {
        const TEXT: &str = "local a = ...\nreturn a + 1, debug";
        for _ in 0..3 {
            let lua = Lua::new();
            let function = load(&lua, "=[own]", TEXT).expect("Lua");
            assert_eq!(function.call::<i64>(41).expect("a sum"), 42);
            let error = function.call::<i64>(()).expect_err("nil + 1").to_string();
            assert!(error.contains("[own]:2:"), "{error}");
        }
    }
}
