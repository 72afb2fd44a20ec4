//! `moonkeep.store`: values that outlive their script.

use mlua::{Lua, Value};

use super::{Function, Module, Param};

/// `moonkeep.store`
pub const MODULE: Module = Module {
    name: "moonkeep.store",
    summary: "Values that outlive the script: restarts, crashes and power losses. Each script and each plugin has its own.",
    types: TYPES,
    functions: &[
        Function {
            name: "get",
            params: &[
                KEY,
                Param {
                    name: "default?",
                    kind: "any",
                    doc: "given if there is no such key",
                },
            ],
            returns: &["any"],
            doc: "The value of a key, or the default.",
            yields: true,
            make: |lua, _| stub(lua),
        },
        Function {
            name: "set",
            params: &[
                KEY,
                Param {
                    name: "value",
                    kind: "any",
                    doc: "what JSON can say, at most 256 KiB of it; nil deletes",
                },
            ],
            returns: &[],
            doc: "Keeps a value. Once it has returned, the value is on the disk.",
            yields: true,
            make: |lua, _| stub(lua),
        },
        Function {
            name: "delete",
            params: &[KEY],
            returns: &["boolean"],
            doc: "Forgets a key; whether it was there.",
            yields: true,
            make: |lua, _| stub(lua),
        },
        Function {
            name: "keys",
            params: &[Param {
                name: "prefix?",
                kind: "string",
                doc: "only those that begin so",
            }],
            returns: &["string[]"],
            doc: "The keys, sorted.",
            yields: true,
            make: |lua, _| stub(lua),
        },
        Function {
            name: "incr",
            params: &[
                KEY,
                Param {
                    name: "by?",
                    kind: "number",
                    doc: "default 1; may be negative",
                },
            ],
            returns: &["number"],
            doc: "Adds to a number, 0 if there is none, and gives the sum. Nobody else's change is lost between.",
            yields: true,
            make: |lua, _| stub(lua),
        },
        Function {
            name: "transaction",
            params: &[Param {
                name: "run",
                kind: "fun(tx: moonkeep.store.Transaction): any",
                doc: "reads and writes through `tx`; it may not wait",
            }],
            returns: &["any"],
            doc: "All that the function writes, or nothing: if it raises an error, nothing has changed, and the error goes \
                  on. Nobody else writes meanwhile. Gives what the function returns.",
            yields: true,
            make: |lua, _| stub(lua),
        },
    ],
};

const KEY: Param = Param {
    name: "key",
    kind: "string",
    doc: "1 to 512 bytes",
};

const TYPES: &str = r"---@class moonkeep.store.Transaction
---@field get fun(key: string, default?: any): any
---@field set fun(key: string, value: any)
---@field delete fun(key: string): boolean
---@field keys fun(prefix?: string): string[]
---@field incr fun(key: string, by?: number): number
";

fn stub(lua: &Lua) -> mlua::Result<Value> {
    let no = |_: &Lua, ()| Err::<(), _>(super::failure::failure("not there yet"));
    lua.create_function(no).map(Value::Function)
}
