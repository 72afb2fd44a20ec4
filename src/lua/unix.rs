//! `moonkeep.unix`: connections to Unix sockets as a client.

use std::io;
use std::path::Path;
use std::time::Instant;

use mlua::{Lua, Table, Value};
use tokio::net::UnixStream;

use super::address::plain;
use super::arguments::Named;
use super::failure::shown;
use super::grants::Grants;
use super::modules::misuse;
use super::stream::{Connection, Facts};
use super::tcp::cannot_connect;
use super::{Function, Module, Param};
use crate::limits;

/// `moonkeep.unix`
pub const MODULE: Module = Module {
    name: "moonkeep.unix",
    summary: "Unix sockets as a client.",
    types: TYPES,
    functions: &[Function {
        name: "connect",
        params: &[
            Param {
                name: "path",
                kind: "string",
                doc: "of the socket; `\"@name\"` for an abstract one",
            },
            Param {
                name: "options?",
                kind: "moonkeep.unix.Options",
                doc: "`timeout`: for connecting and for each read and write; default 10 s",
            },
        ],
        returns: &["moonkeep.tcp.Connection"],
        doc: "Connects to a stream socket. Raises an error if that fails; it names the socket and the reason. A \
              confined script needs the path in `allow.unix`.",
        yields: true,
        make: |lua, _| lua.create_async_function(connect).map(Value::Function),
    }],
};

const TYPES: &str = r"---@class moonkeep.unix.Options
---@field timeout? number|string
";

async fn connect(lua: Lua, (path, options): (String, Option<Table>)) -> mlua::Result<Connection> {
    let options = Named::new("unix.connect", options, &["timeout"])?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    if path.trim_start_matches('@').is_empty() {
        return Err(misuse(
            "unix.connect: the path is empty; write for example \"/run/docker.sock\" or \"@name\"",
        ));
    }
    let grants = Grants::of_state(&lua);
    grants.check_socket(&path)?;
    let begin = Instant::now();
    let stream = match tokio::time::timeout(limit, open(&path)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(cannot_connect(&path, why(&error))),
        Err(_) => {
            let why = format!(
                "its queue has been full for {}; does its server still accept?",
                shown(limit)
            );
            return Err(cannot_connect(&path, why));
        }
    };
    let facts = Facts {
        seconds: begin.elapsed().as_secs_f64(),
        peer: path.clone(),
        address: path,
        limit,
        tls: None,
    };
    Ok(Connection::new(facts, stream))
}

/// A socket whose queue is full refuses at once instead of letting anybody wait: it is asked again until it has room.
/// Cancel safe: no socket is held while waiting.
async fn open(path: &str) -> io::Result<UnixStream> {
    loop {
        match attempt(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(limits::UNIX_RETRY).await;
            }
            done => return done,
        }
    }
}

async fn attempt(path: &str) -> io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    let Some(name) = path.strip_prefix('@') else {
        return UnixStream::connect(Path::new(path)).await;
    };
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    UnixStream::connect_addr(&address.into()).await
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds of the system's errors, which grow"
)]
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such socket; is its server running?".to_owned(),
        io::ErrorKind::ConnectionRefused => {
            "connection refused: the socket is there, but nobody listens; is its server running?"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; look at the socket's mode and group".to_owned()
        }
        _ => plain(error),
    }
}
