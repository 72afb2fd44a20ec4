//! `moonkeep.udp`: datagrams as a client.
//!
//! Sockets are connected to their peer: what comes from elsewhere is not seen, and a port that nobody listens at is
//! told by the kernel.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{
    Function as LuaFunction, Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods,
    UserDataRef, Value,
};
use tokio::net::UdpSocket;

use super::address::{look_up, plain, split};
use super::arguments::Named;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
use super::objects;
use super::{Function, Module, Param};
use crate::limits;

/// `moonkeep.udp`
pub const MODULE: Module = Module {
    name: "moonkeep.udp",
    summary: "UDP datagrams as a client.",
    types: TYPES,
    functions: &[
        Function {
            name: "request",
            params: &[
                ADDRESS,
                DATA,
                Param {
                    name: "options?",
                    kind: "moonkeep.udp.RequestOptions",
                    doc: "see the type",
                },
            ],
            returns: &["moonkeep.udp.Reply"],
            doc: "Sends a datagram and waits for one from the same address; sends it again if none comes. Raises an error \
                  if none ever comes, or if the machine there says that nobody listens.",
            yields: true,
            make: |lua, _| lua.create_async_function(request).map(Value::Function),
        },
        Function {
            name: "send",
            params: &[ADDRESS, DATA],
            returns: &[],
            doc: "Sends one datagram. That it was sent says nothing about its arrival.",
            yields: true,
            make: |lua, _| lua.create_async_function(send).map(Value::Function),
        },
        Function {
            name: "open",
            params: &[
                ADDRESS,
                Param {
                    name: "options?",
                    kind: "moonkeep.udp.Options",
                    doc: "`timeout`: for looking up the name and for each `receive`; default 10 s",
                },
            ],
            returns: &["moonkeep.udp.Socket"],
            doc: "A socket to send to one address and receive from it.",
            yields: true,
            make: |lua, _| lua.create_async_function(open).map(Value::Function),
        },
    ],
};

const ADDRESS: Param = Param {
    name: "address",
    kind: "string",
    doc: "`\"host:port\"`, `\"[::1]:port\"`",
};
const DATA: Param = Param {
    name: "data",
    kind: "string",
    doc: "any bytes, at most 65,507",
};

const TYPES: &str = r"---@class moonkeep.udp.RequestOptions
---@field timeout? number|string whole time, all tries; default 10 s
---@field tries? integer how often it is sent, evenly over the time; default 3

---@class moonkeep.udp.Options
---@field timeout? number|string

---@class moonkeep.udp.Reply
---@field data string
---@field peer string the address that answered
---@field seconds number from the try that was answered to its answer, as far as one can know
---@field tries integer

---@class moonkeep.udp.Socket
---@field peer string
---@field send fun(self, data: string)
---@field receive fun(self): string the next datagram
---@field close fun(self) also done by `local socket <close> = ...`, and by the garbage collector, some time
";

/// A socket that speaks to one address.
async fn connect(lua: &Lua, what: &str, address: &str) -> mlua::Result<UdpSocket> {
    let (host, port) = split(what, address)?;
    Grants::of_state(lua).check_host(host, port)?;
    let connected = async {
        let peer = look_up(host, port).await?[0];
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(peer).await?;
        Ok::<_, io::Error>(socket)
    };
    connected
        .await
        .map_err(|error| failure(format!("cannot reach {address}: {}", plain(&error))))
}

fn checked(what: &str, data: &LuaString) -> mlua::Result<Vec<u8>> {
    let bytes = data.as_bytes();
    if bytes.len() > limits::DATAGRAM_BYTES {
        return Err(misuse(format!(
            "{what}: {} bytes do not fit into a datagram, which carries {} at most; send several, or use moonkeep.tcp",
            bytes.len(),
            limits::DATAGRAM_BYTES
        )));
    }
    Ok(bytes.to_vec())
}

async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    // One more than there can be, so that nothing is cut unseen.
    let mut buffer = vec![0; limits::DATAGRAM_BYTES + 1];
    let count = socket.recv(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

fn cannot(verb: &str, address: &str, error: &io::Error) -> mlua::Error {
    let why = if error.kind() == io::ErrorKind::ConnectionRefused {
        "connection refused: the machine is there, but nobody listens at this port".to_owned()
    } else {
        plain(error)
    };
    failure(format!("cannot {verb} {address}: {why}"))
}

async fn send(lua: Lua, (address, data): (String, LuaString)) -> mlua::Result<()> {
    let data = checked("udp.send", &data)?;
    let limit = limits::HOST_CALL_TIMEOUT;
    let work = async {
        let socket = connect(&lua, "udp.send", &address).await?;
        let sent = socket.send(&data).await;
        sent.map_err(|error| cannot("send to", &address, &error))
    };
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map(|_| ()),
        Err(_) => Err(late("send to", &address, limit)),
    }
}

fn late(verb: &str, address: &str, limit: Duration) -> mlua::Error {
    failure(format!(
        "cannot {verb} {address}: nothing within {}",
        shown(limit)
    ))
}

/// What came, when and after how many tries.
struct Reply {
    data: Vec<u8>,
    peer: String,
    took: Duration,
    tries: u32,
}

async fn request(
    lua: Lua,
    (address, data, options): (String, LuaString, Option<Table>),
) -> mlua::Result<Table> {
    let options = Named::new("udp.request", options, &["timeout", "tries"])?;
    let data = checked("udp.request", &data)?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    let tries = options
        .value::<u32>(&lua, "tries")?
        .unwrap_or(limits::UDP_TRIES);
    if !(1..=limits::UDP_TRIES_MOST).contains(&tries) {
        return Err(misuse(format!(
            "udp.request: `tries` is {tries}; it is 1 to {}",
            limits::UDP_TRIES_MOST
        )));
    }
    let work = async {
        let socket = connect(&lua, "udp.request", &address).await?;
        let reply = ask(&socket, &data, limit / tries).await;
        reply.map_err(|error| cannot("get an answer from", &address, &error))
    };
    match tokio::time::timeout(limit, work).await {
        Ok(reply) => {
            let reply = reply?;
            let table = lua.create_table()?;
            table.raw_set("data", lua.create_string(reply.data)?)?;
            table.raw_set("peer", reply.peer)?;
            table.raw_set("seconds", reply.took.as_secs_f64())?;
            table.raw_set("tries", reply.tries)?;
            Ok(table)
        }
        Err(_) => Err(failure(format!(
            "no answer from {address} within {}, asked {tries} times; UDP does not tell why: nobody may listen there, a \
             firewall may drop it, or the server may not understand the question",
            shown(limit)
        ))),
    }
}

/// Asks until an answer comes; the caller ends it.
async fn ask(socket: &UdpSocket, data: &[u8], each: Duration) -> io::Result<Reply> {
    let mut tries = 0;
    loop {
        tries += 1;
        let begin = Instant::now();
        socket.send(data).await?;
        if let Ok(received) = tokio::time::timeout(each, receive(socket)).await {
            return Ok(Reply {
                data: received?,
                peer: peer_of(socket),
                took: begin.elapsed(),
                tries,
            });
        }
    }
}

fn peer_of(socket: &UdpSocket) -> String {
    let peer = socket.peer_addr();
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}

async fn open(lua: Lua, (address, options): (String, Option<Table>)) -> mlua::Result<Socket> {
    let options = Named::new("udp.open", options, &["timeout"])?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    let connected = tokio::time::timeout(limit, connect(&lua, "udp.open", &address)).await;
    let socket = match connected {
        Ok(socket) => socket?,
        Err(_) => return Err(late("reach", &address, limit)),
    };
    Ok(Socket {
        peer: peer_of(&socket),
        address,
        limit,
        socket: Rc::new(RefCell::new(Some(Rc::new(socket)))),
    })
}

/// Datagrams have no place in a stream: a cancelled call leaves the socket as it was.
struct Socket {
    peer: String,
    address: String,
    limit: Duration,
    socket: Rc<RefCell<Option<Rc<UdpSocket>>>>,
}

impl Socket {
    fn live(&self) -> mlua::Result<Rc<UdpSocket>> {
        self.socket
            .borrow()
            .clone()
            .ok_or_else(|| failure(format!("the socket to {} is closed", self.address)))
    }

    fn close(&self) {
        self.socket.borrow_mut().take();
    }

    async fn send(&self, data: &LuaString) -> mlua::Result<()> {
        let data = checked("socket:send", data)?;
        let socket = self.live()?;
        match tokio::time::timeout(self.limit, socket.send(&data)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(cannot("send to", &self.address, &error)),
            Err(_) => Err(late("send to", &self.address, self.limit)),
        }
    }

    async fn receive(&self, lua: &Lua) -> mlua::Result<LuaString> {
        let socket = self.live()?;
        match tokio::time::timeout(self.limit, receive(&socket)).await {
            Ok(Ok(data)) => lua.create_string(data),
            Ok(Err(error)) => Err(cannot("receive from", &self.address, &error)),
            Err(_) => Err(late("receive from", &self.address, self.limit)),
        }
    }
}

impl UserData for Socket {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("peer", |_, this| Ok(this.peer.clone()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__index", |lua, _, key: Value| {
            objects::method(lua, "socket", &key, functions)
        });
        methods.add_meta_method("__close", |_, this, _: Value| {
            this.close();
            Ok(())
        });
    }
}

fn functions(lua: &Lua) -> mlua::Result<Vec<(&'static str, LuaFunction)>> {
    type This = UserDataRef<Socket>;
    let send = |_: Lua, (this, data): (This, LuaString)| async move { this.send(&data).await };
    let receive = |lua: Lua, this: This| async move { this.receive(&lua).await };
    let close = |_: &Lua, this: This| {
        this.close();
        Ok(())
    };
    Ok(vec![
        ("send", lua.create_async_function(send)?),
        ("receive", lua.create_async_function(receive)?),
        ("close", lua.create_function(close)?),
    ])
}
