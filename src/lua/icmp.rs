//! `moonkeep.icmp`: pings, where the kernel lets ordinary users send them.
//!
//! The kernel's own ping sockets: it writes ids and checksums, and gives back answers to our own requests only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use tokio::net::UdpSocket;

use super::address::{look_up, plain};
use super::arguments::Named;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::modules::misuse;
use super::{Function, Module, Param};
use crate::limits;

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

/// What one call wants.
struct Wanted {
    host: String,
    count: u32,
    every: Duration,
    wait: Duration,
    size: usize,
    end: Instant,
}

async fn ping(lua: Lua, (host, options): (String, Option<Table>)) -> mlua::Result<Table> {
    let wanted = Wanted::new(&lua, host, options)?;
    Grants::of_state(&lua).check_ping(&wanted.host)?;
    let peer = wanted.peer().await?;
    let socket = Socket::open(peer).map_err(|error| cannot(&wanted.host, error))?;
    let mut times = Vec::new();
    let mut sent = 0;
    for number in 0..wanted.count {
        let begin = Instant::now();
        if number > 0 && begin >= wanted.end {
            break;
        }
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let until = wanted.end.min(begin + wanted.wait);
        sent += 1;
        match tokio::time::timeout_at(until.into(), socket.echo(number, wanted.size)).await {
            Ok(Ok(())) => times.push(begin.elapsed()),
            Ok(Err(error)) => return Err(cannot(&wanted.host, error)),
            Err(_) => {}
        }
        if sent < wanted.count {
            let next = wanted.end.min(begin + wanted.every);
            tokio::time::sleep_until(next.into()).await;
        }
    }
    if times.is_empty() {
        let asked = if sent == 1 {
            "one echo request".to_owned()
        } else {
            format!("{sent} echo requests")
        };
        return Err(failure(format!(
            "{} ({peer}) does not answer {asked} within {}; it is down, or something between drops pings",
            wanted.host,
            shown(wanted.wait)
        )));
    }
    table(&lua, peer, sent, &times)
}

fn table(lua: &Lua, peer: IpAddr, sent: u32, times: &[Duration]) -> mlua::Result<Table> {
    let received = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let seconds = |time: Option<&Duration>| time.map(Duration::as_secs_f64);
    let mean = times.iter().sum::<Duration>() / received.max(1);
    let table = lua.create_table()?;
    table.raw_set("peer", peer.to_string())?;
    table.raw_set("sent", sent)?;
    table.raw_set("received", received)?;
    table.raw_set("lost", f64::from(sent - received) * 100.0 / f64::from(sent))?;
    table.raw_set("seconds", mean.as_secs_f64())?;
    table.raw_set("least", seconds(times.iter().min()))?;
    table.raw_set("most", seconds(times.iter().max()))?;
    Ok(table)
}

impl Wanted {
    fn new(lua: &Lua, host: String, options: Option<Table>) -> mlua::Result<Self> {
        let known = ["timeout", "count", "every", "wait", "size"];
        let options = Named::new("icmp.ping", options, &known)?;
        let begin = Instant::now();
        let limit = options
            .time("timeout")?
            .unwrap_or(limits::HOST_CALL_TIMEOUT);
        let count = options.value::<u32>(lua, "count")?.unwrap_or(1);
        let size = options
            .value::<usize>(lua, "size")?
            .unwrap_or(limits::PING_BYTES);
        if !(1..=limits::PINGS).contains(&count) || size > limits::PING_BYTES_MOST {
            return Err(misuse(format!(
                "icmp.ping: `count` is 1 to {}, `size` 0 to {}",
                limits::PINGS,
                limits::PING_BYTES_MOST
            )));
        }
        if host.is_empty() {
            return Err(misuse("icmp.ping: the host is empty"));
        }
        Ok(Wanted {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            count,
            every: options.time("every")?.unwrap_or(limits::PING_EVERY_ECHO),
            wait: options.time("wait")?.unwrap_or(limits::PING_WAIT),
            size,
            end: begin + limit,
        })
    }

    async fn peer(&self) -> mlua::Result<IpAddr> {
        let found = tokio::time::timeout_at(self.end.into(), look_up(&self.host, 0)).await;
        match found {
            Ok(Ok(found)) => Ok(found[0].ip()),
            Ok(Err(error)) => Err(cannot(&self.host, error)),
            Err(_) => Err(failure(format!(
                "cannot ping {}: no name server answered in time",
                self.host
            ))),
        }
    }
}

fn cannot(host: &str, error: io::Error) -> mlua::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return failure(format!(
            "cannot ping {host}: this kernel lets this user send no pings; allow it with: \
             sysctl -w net.ipv4.ping_group_range=\"0 2147483647\""
        ));
    }
    failure(format!("cannot ping {host}: {}", plain(&error)))
}

/// One connected ping socket. As far as waiting, sending and receiving go, it is like one of UDP.
struct Socket {
    datagrams: UdpSocket,
    /// Type of a request, type of an answer.
    kinds: (u8, u8),
}

/// Type, code, checksum, id, number.
const HEADER: usize = 8;

impl Socket {
    fn open(peer: IpAddr) -> io::Result<Self> {
        let (family, protocol, kinds) = match peer {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, (8, 0)),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, (128, 129)),
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let file = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(protocol))?;
        rustix::net::connect(&file, &SocketAddr::new(peer, 0))?;
        Ok(Socket {
            datagrams: UdpSocket::from_std(file.into())?,
            kinds,
        })
    }

    /// Until the answer with this number has come. Cancel safe: a later answer to it is passed over.
    async fn echo(&self, number: u16, size: usize) -> io::Result<()> {
        let mut request = vec![0; HEADER + size];
        request[0] = self.kinds.0;
        request[6..HEADER].copy_from_slice(&number.to_be_bytes());
        self.datagrams.send(&request).await?;
        let mut buffer = vec![0; HEADER + limits::PING_BYTES_MOST];
        loop {
            let count = self.datagrams.recv(&mut buffer).await?;
            if self.is_answer(&buffer[..count], number) {
                return Ok(());
            }
        }
    }

    fn is_answer(&self, bytes: &[u8], number: u16) -> bool {
        bytes.len() >= HEADER
            && bytes[0] == self.kinds.1
            && bytes[6..HEADER] == number.to_be_bytes()
    }
}
