//! `moonkeep.tcp`: connections as a client.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::arguments::Named;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
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
---@field close fun(self)
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
    let (host, port) = split_address(&address)?;
    Grants::of_state(&lua).check_host(host, port)?;
    let begin = Instant::now();
    let stream = match tokio::time::timeout(limit, open(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(failure(format!(
                "cannot connect to {address}: {}",
                plain(&error)
            )));
        }
        Err(_) => {
            return Err(failure(format!(
                "cannot connect to {address}: no answer within {}",
                shown(limit)
            )));
        }
    };
    Ok(Connection {
        seconds: begin.elapsed().as_secs_f64(),
        peer: stream
            .peer_addr()
            .map(|peer| peer.to_string())
            .unwrap_or_default(),
        address,
        limit,
        state: Rc::new(RefCell::new(Some(Open {
            stream,
            buffer: Vec::new(),
        }))),
    })
}

/// Names are looked up on another thread; addresses, and `localhost`, need no look-up.
async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(ip, port)).await;
    }
    if host.eq_ignore_ascii_case("localhost") {
        let loopback: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ];
        return TcpStream::connect(&loopback[..]).await;
    }
    TcpStream::connect((host, port)).await
}

fn split_address(address: &str) -> mlua::Result<(&str, u16)> {
    let wrong = || {
        misuse(format!(
            "tcp.connect: `{address}` is no address; write \"host:port\", for example \"localhost:22\" or \"[::1]:22\""
        ))
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok((host, port))
}

/// An error of the system in words, without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}

struct Open {
    stream: TcpStream,
    /// Bytes read beyond the last line.
    buffer: Vec<u8>,
}

/// The socket is taken out of `state` while a read or write waits: no borrow is held across an await, and a
/// cancelled call closes the connection, whose place in the stream nobody knows any more.
struct Connection {
    seconds: f64,
    peer: String,
    address: String,
    limit: Duration,
    state: Rc<RefCell<Option<Open>>>,
}

impl Connection {
    fn take(&self) -> mlua::Result<Open> {
        self.state.borrow_mut().take().ok_or_else(|| {
            failure(format!(
                "the connection to {} is closed or in use",
                self.address
            ))
        })
    }

    async fn limited<T>(
        &self,
        verb: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> mlua::Result<T> {
        match tokio::time::timeout(self.limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(failure(format!(
                "cannot {verb} {}: {}",
                self.address,
                plain(&error)
            ))),
            Err(_) => Err(failure(format!(
                "cannot {verb} {}: nothing within {}",
                self.address,
                shown(self.limit)
            ))),
        }
    }

    async fn read(&self, lua: &Lua, format: Value) -> mlua::Result<Option<LuaString>> {
        let wanted = Wanted::of(&format)?;
        let mut open = self.take()?;
        let found = self.limited("read from", wanted.read(&mut open)).await?;
        *self.state.borrow_mut() = Some(open);
        found.map(|bytes| lua.create_string(bytes)).transpose()
    }

    async fn write(&self, data: &[u8]) -> mlua::Result<()> {
        let mut open = self.take()?;
        self.limited("write to", open.stream.write_all(data))
            .await?;
        *self.state.borrow_mut() = Some(open);
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Line,
    All,
    Most(usize),
}

impl Wanted {
    fn of(format: &Value) -> mlua::Result<Self> {
        let wrong =
            || misuse("connection:read takes \"l\" (a line), \"a\" (all) or a number of bytes");
        match format {
            Value::Nil => Ok(Wanted::Line),
            Value::Integer(count) => {
                let count = usize::try_from(*count).map_err(|_| wrong())?;
                Ok(Wanted::Most(count.clamp(1, limits::HOST_BODY_BYTES)))
            }
            Value::String(text) => match text.to_string_lossy().trim_start_matches('*') {
                "l" => Ok(Wanted::Line),
                "a" => Ok(Wanted::All),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }

    async fn read(self, open: &mut Open) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(found) = self.cut(&mut open.buffer) {
                return Ok(Some(found));
            }
            if open.buffer.len() > limits::HOST_BODY_BYTES {
                return Err(io::Error::other(format!(
                    "more than {} bytes came",
                    limits::HOST_BODY_BYTES
                )));
            }
            if open.stream.read_buf(&mut open.buffer).await? == 0 {
                let rest = std::mem::take(&mut open.buffer);
                let nothing = rest.is_empty() && !matches!(self, Wanted::All);
                return Ok((!nothing).then_some(rest));
            }
        }
    }

    /// What can be given from the bytes that are here.
    fn cut(self, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Wanted::Line => {
                let end = memchr::memchr(b'\n', buffer)?;
                let mut line: Vec<u8> = buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Some(line)
            }
            Wanted::Most(count) if !buffer.is_empty() => {
                Some(buffer.drain(..count.min(buffer.len())).collect())
            }
            Wanted::Most(_) | Wanted::All => None,
        }
    }
}

impl UserData for Connection {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("seconds", |_, this| Ok(this.seconds));
        fields.add_field_method_get("peer", |_, this| Ok(this.peer.clone()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("read", |lua, this, format: Value| async move {
            this.read(&lua, format).await
        });
        methods.add_async_method("write", |_, this, data: LuaString| async move {
            this.write(&data.as_bytes()).await
        });
        methods.add_method("close", |_, this, ()| {
            this.state.borrow_mut().take();
            Ok(())
        });
        methods.add_meta_method("__close", |_, this, _: Value| {
            this.state.borrow_mut().take();
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_and_nonsense_is_refused() {
        assert_eq!(split_address("a.b:22").expect("good"), ("a.b", 22));
        assert_eq!(split_address("[::1]:22").expect("good"), ("::1", 22));
        for bad in [
            "a", "a:", ":22", "::1:22", "a:0", "a:99999", "[::1:22", "a:b",
        ] {
            assert!(split_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn system_errors_lose_their_number() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&refused), "connection refused");
    }
}
