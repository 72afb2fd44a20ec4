//! JSON to Lua values and back: nothing is lost or made up, and what JSON cannot say is refused.

use mlua::{Lua, Value};
use moonkeep::limits;
use moonkeep::lua::json;
use serde_json::Value as Tree;

use super::random::Random;
use super::{campaign, inputs, shown};

fn state() -> Lua {
    let lua = Lua::new();
    json::prepare(&lua).expect("a fresh state");
    lua
}

/// What Lua keeps of a document: `null` in an object is an absent field.
fn kept(tree: Tree) -> Tree {
    match tree {
        Tree::Array(items) => items.into_iter().map(kept).collect(),
        Tree::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Tree::Object(fields.map(|(key, value)| (key, kept(value))).collect())
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => tree,
    }
}

// FI-5, T14
#[test]
fn fuzz_json_to_lua() {
    let lua = state();
    campaign("json.decode", 100_000, |random| {
        let mut text = Vec::new();
        match random.below(4) {
            0 => text = inputs::pieces(random, 10),
            1 => text = random.bytes(30),
            _ => inputs::json(random, 4, &mut text),
        }
        if random.once_in(3) {
            inputs::mutate(random, &mut text);
        }
        let Ok(value) = json::decode(&lua, &text) else {
            return;
        };
        // The other reader: serde_json's own tree.
        let tree: Tree = serde_json::from_slice(&text).expect("JSON, as Lua was told");
        let once = json::encode(&lua, "value", &value).expect("what was read can be written");
        let back: Tree = serde_json::from_slice(&once).expect("JSON, as Lua wrote it");
        assert_eq!(back, kept(tree), "{} became {}", shown(&text), shown(&once));
        let again = json::decode(&lua, &once).expect("our own JSON");
        let twice = json::encode(&lua, "value", &again).expect("what was read can be written");
        assert_eq!(twice, once);
    });
}

/// Any Lua value: tables of all kinds, shared and cyclic ones, numbers and strings that JSON lacks.
fn value(
    lua: &Lua,
    random: &mut Random,
    depth: usize,
    made: &mut Vec<mlua::Table>,
) -> mlua::Result<Value> {
    Ok(match random.below(if depth == 0 { 8 } else { 12 }) {
        0 => Value::Nil,
        1 => Value::Boolean(random.once_in(2)),
        2 => Value::Integer(random.next() as i64 >> random.below(64)),
        3 => Value::Number(f64::from_bits(random.next())),
        4 => Value::Number(*random.pick(&[&f64::NAN, &f64::INFINITY, &-0.0, &1e15, &0.1, &1e300])),
        5 => Value::String(lua.create_string(random.bytes(8))?),
        6 => json::null(),
        7 => Value::String(lua.create_string(inputs::pieces(random, 3))?),
        8 if random.once_in(4) => lua.load("return print").eval()?,
        9 if !made.is_empty() && random.once_in(3) => {
            Value::Table(made[random.below(made.len())].clone())
        }
        kind => {
            let table = lua.create_table()?;
            made.push(table.clone());
            for position in 1..=random.below(5) {
                let item = value(lua, random, depth - 1, made)?;
                match kind {
                    10 => table.raw_set(position, item)?,
                    11 if random.once_in(3) => {
                        table.raw_set(random.next() as i64 >> random.below(64), item)?
                    }
                    _ => table.raw_set(lua.create_string(inputs::pieces(random, 2))?, item)?,
                }
            }
            Value::Table(table)
        }
    })
}

// FI-5, T14
#[test]
fn fuzz_lua_to_json() {
    let lua = state();
    campaign("json.encode", 20_000, |random| {
        let value = value(&lua, random, 4, &mut Vec::new()).expect("a value");
        let mut out = b"before".to_vec();
        match json::encode_into(&lua, "value", &value, &mut out) {
            Ok(()) => {
                let once = &out[6..];
                assert!(!once.contains(&b'\n') && once.len() <= limits::LINE_BYTES);
                let tree: Tree = serde_json::from_slice(once).expect("JSON");
                let again = json::decode(&lua, once).expect("our own JSON");
                let twice =
                    json::encode(&lua, "value", &again).expect("what was read can be written");
                let reread: Tree = serde_json::from_slice(&twice).expect("JSON");
                assert_eq!(reread, kept(tree));
            }
            Err(fault) => {
                assert_eq!(
                    out, b"before",
                    "nothing is left of a value that was refused"
                );
                assert!(fault.place.starts_with("value") && !fault.what.is_empty());
            }
        }
    });
}

// T14: deep, wide and shared tables, and long strings, end in an error of bounded size.
#[test]
fn tables_that_explode_are_refused() {
    let lua = state();
    let bombs = [
        (
            "deep",
            "local t = {} for _ = 1, 100000 do t = {t} end return t",
        ),
        (
            "wide",
            "local t = {} for n = 1, 200000 do t[n] = n end return t",
        ),
        (
            "wide object",
            "local t = {} for n = 1, 200000 do t['k' .. n] = n end return t",
        ),
        (
            "shared",
            "local t = {} for _ = 1, 60 do t = {t, t} end return t",
        ),
        ("cyclic", "local t = {} t.t = t return t"),
        ("one string", "return string.rep('x', 2 * 1024 * 1024)"),
        (
            "one string of escapes",
            "return string.rep('\\0', 512 * 1024)",
        ),
        ("one key", "return {[string.rep('x', 2 * 1024 * 1024)] = 1}"),
        (
            "many strings",
            "local s, t = string.rep('x', 1000), {} for n = 1, 2000 do t[n] = s end return t",
        ),
        ("sparse", "return {[1] = 1, [2^53] = 2}"),
    ];
    for (name, code) in bombs {
        let value: Value = lua.load(code).eval().expect("a value");
        let fault = json::encode(&lua, "result", &value).expect_err(name);
        assert!(
            fault.place.len() < 4_000 && fault.what.len() < 1_000,
            "{name}: {fault}"
        );
    }
    for (name, text) in [
        ("deep", "[".repeat(100_000) + &"]".repeat(100_000)),
        ("wide", format!("[{}0]", "0,".repeat(200_000))),
        ("keys", format!("{{{}\"x\":0}}", "\"x\":0,".repeat(200_000))),
    ] {
        json::decode(&lua, text.as_bytes()).expect_err(name);
    }
}
