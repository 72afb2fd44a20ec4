//! `moonkeep.tcp`: connections as a client.

use std::io;
use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value};
use tokio::net::TcpStream;

use super::address::{look_up, plain, split};
use super::arguments::Named;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::stream::{Connection, Facts};
use super::{Function, Module, Param};
use crate::limits;

/// `moonkeep.tcp`
pub const MODULE: Module = Module {
    name: "moonkeep.tcp",
    summary: "TCP connections as a client.",
    types: TYPES,
    functions: &[Function {
        name: "connect",
        params: &[
            Param {
                name: "address",
                kind: "string",
                doc: "`\"host:port\"`, `\"[::1]:port\"`",
            },
            Param {
                name: "options?",
                kind: "moonkeep.tcp.Options",
                doc: "`timeout`: for connecting and for each read and write; default 10 s",
            },
        ],
        returns: &["moonkeep.tcp.Connection"],
        doc: "Connects to `address`. Raises an error if that fails; it names the address and the reason.",
        yields: true,
        make: |lua, _| function(lua),
    }],
};

const TYPES: &str = r"---@class moonkeep.tcp.Options
---@field timeout? number|string

---@class moonkeep.tcp.Connection
---@field seconds number time that connecting took
---@field peer string the address that answered
---@field read fun(self, format?: string|integer): string? a line (`'l'`, the default), that many bytes at most, or all until the end (`'a'`); nil at the end
---@field write fun(self, data: string)
---@field close fun(self) also done by `local connection <close> = ...`, and by the garbage collector, some time
";

fn function(lua: &Lua) -> mlua::Result<Value> {
    lua.create_async_function(connect).map(Value::Function)
}

async fn connect(
    lua: Lua,
    (address, options): (String, Option<Table>),
) -> mlua::Result<Connection> {
    let options = Named::new("tcp.connect", options, &["timeout"])?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    let (host, port) = split("tcp.connect", &address)?;
    Grants::of_state(&lua).check_host(host, port)?;
    let begin = Instant::now();
    let stream = match tokio::time::timeout(limit, open(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(cannot_connect(&address, plain(&error))),
        Err(_) => return Err(no_answer(&address, limit)),
    };
    let facts = Facts {
        seconds: begin.elapsed().as_secs_f64(),
        peer: peer_of(&stream),
        address,
        limit,
        tls: None,
    };
    Ok(Connection::new(facts, stream))
}

/// The first address of the host that takes a connection. Cancel safe: what was begun is closed.
pub(super) async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = look_up(host, port).await?;
    TcpStream::connect(&addresses[..]).await
}

pub(super) fn peer_of(stream: &TcpStream) -> String {
    let peer = stream.peer_addr();
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}

pub(super) fn cannot_connect(address: &str, why: impl std::fmt::Display) -> mlua::Error {
    failure(format!("cannot connect to {address}: {why}"))
}

pub(super) fn no_answer(address: &str, limit: Duration) -> mlua::Error {
    cannot_connect(address, format!("no answer within {}", shown(limit)))
}
