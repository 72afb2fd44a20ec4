//! `moonkeep.icmp`: pings, where the kernel lets ordinary users send them.

use mlua::{Lua, Table, Value};

use super::{Function, Module, Param};

/// `moonkeep.icmp`
pub const MODULE: Module = Module {
    name: "moonkeep.icmp",
    summary: "Pings, where the kernel lets ordinary users send them (`net.ipv4.ping_group_range`).",
    types: TYPES,
    functions: &[Function {
        name: "ping",
        params: &[
            Param {
                name: "host",
                kind: "string",
                doc: "a name or an address",
            },
            Param {
                name: "options?",
                kind: "moonkeep.icmp.Options",
                doc: "see the type",
            },
        ],
        returns: &["moonkeep.icmp.Reply"],
        doc: "Sends echo requests and waits for the answers. Some lost ones are part of the result; an error is raised \
              if none is answered. A confined script needs `allow.net = [\"host:*\"]`.",
        yields: true,
        make: |lua, _| lua.create_async_function(ping).map(Value::Function),
    }],
};

const TYPES: &str = r"---@class moonkeep.icmp.Options
---@field timeout? number|string whole time; default 10 s
---@field count? integer requests, 1 to 100; default 1
---@field every? number|string between two requests; default 0.2 s
---@field wait? number|string for one answer; default 1 s
---@field size? integer bytes of each request, 0 to 65,000; default 56

---@class moonkeep.icmp.Reply
---@field peer string the address that answered
---@field sent integer
---@field received integer
---@field lost number per cent
---@field seconds number mean time from a request to its answer
---@field least number
---@field most number
";

async fn ping(_: Lua, _: (String, Option<Table>)) -> mlua::Result<Value> {
    Err(super::failure::failure("not there yet"))
}
