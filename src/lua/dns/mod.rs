//! `moonkeep.dns`: questions to name servers.
//!
//! Asks and waits by itself, one socket for each question: nothing lives on after a call. What goes over the wire is
//! made and read in [`message`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::address::{look_up, plain, split_or};
use super::arguments::Named;
use super::failure::{failure, shown};
use super::grants::Grants;
use super::{Function, Module, Param};
use crate::limits;

mod message;

use message::{Answer, Question};

/// `moonkeep.dns`
pub const MODULE: Module = Module {
    name: "moonkeep.dns",
    summary: "Questions to name servers.",
    types: TYPES,
    functions: &[Function {
        name: "resolve",
        params: &[
            Param {
                name: "name",
                kind: "string",
                doc: "whole, without search domains; an address is turned round for `PTR`",
            },
            Param {
                name: "kind?",
                kind: "moonkeep.dns.Kind",
                doc: "default `\"A\"`",
            },
            Param {
                name: "options?",
                kind: "moonkeep.dns.Options",
                doc: "see the type",
            },
        ],
        returns: &["moonkeep.dns.Answer"],
        doc: "Asks a name server. That a name does not exist is an answer (`rcode` is `NXDOMAIN`), not an error; an error \
              is raised only if there is no answer. UDP first, then TCP if the answer did not fit.",
        yields: true,
        make: |lua, _| lua.create_async_function(resolve).map(Value::Function),
    }],
};

const TYPES: &str = r"---@alias moonkeep.dns.Kind 'A'|'AAAA'|'CAA'|'CNAME'|'MX'|'NS'|'PTR'|'SOA'|'SRV'|'TXT'

---@class moonkeep.dns.Options
---@field server? string `'1.1.1.1'`, `'[::1]:5353'`; default: those of /etc/resolv.conf, one after the other
---@field timeout? number|string whole time; default 10 s
---@field tcp? boolean ask over TCP at once

---@class moonkeep.dns.Answer
---@field rcode string `NOERROR`, `NXDOMAIN`, `SERVFAIL`, `REFUSED`, ...
---@field records moonkeep.dns.Record[] of the answer, aliases (CNAME) on the way included
---@field values string[] `value` of those records that are of the kind that was asked for
---@field authoritative boolean
---@field authenticated boolean the server has checked DNSSEC
---@field server string that answered
---@field seconds number

---@class moonkeep.dns.Record
---@field name string
---@field kind string
---@field ttl integer seconds
---@field value string as in a zone file, without the dot at the end: `'10 mx.example.org'`, `'192.0.2.1'`
---@field priority? integer MX, SRV
---@field weight? integer SRV
---@field port? integer SRV
---@field target? string MX, SRV, NS, CNAME, PTR
---@field serial? integer SOA
---@field primary? string SOA
---@field tag? string CAA
";

/// Where name servers listen.
const PORT: u16 = 53;

/// What one call wants.
struct Asking {
    question: Question,
    servers: Vec<SocketAddr>,
    tcp: bool,
    limit: Duration,
}

async fn resolve(
    lua: Lua,
    (name, kind, options): (String, Option<String>, Option<Table>),
) -> mlua::Result<Table> {
    let options = Named::new("dns.resolve", options, &["server", "timeout", "tcp"])?;
    let question = Question::new(&name, kind.as_deref().unwrap_or("A"))?;
    let limit = options
        .time("timeout")?
        .unwrap_or(limits::HOST_CALL_TIMEOUT);
    let tcp = options.value(&lua, "tcp")?.unwrap_or(false);
    let server = options.value::<String>(&lua, "server")?;
    let begin = Instant::now();
    let work = async {
        let asking = Asking {
            servers: servers(&lua, server.as_deref()).await?,
            question,
            tcp,
            limit,
        };
        asking.answer(&name).await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => {
            let (answer, server) = answer?;
            let table = answer.into_table(&lua)?;
            table.raw_set("server", server.to_string())?;
            table.raw_set("seconds", begin.elapsed().as_secs_f64())?;
            Ok(table)
        }
        Err(_) => Err(failure(format!(
            "cannot resolve {name}: no name server answered within {}",
            shown(limit)
        ))),
    }
}

/// The servers to ask, in order; each has been granted.
async fn servers(lua: &Lua, named: Option<&str>) -> mlua::Result<Vec<SocketAddr>> {
    let grants = Grants::of_state(lua);
    if let Some(server) = named {
        let (host, port) = split_or("dns.resolve", server, PORT)?;
        grants.check_name_server((host, port), false)?;
        let found = look_up(host, port).await;
        return found.map_err(|error| {
            failure(format!(
                "cannot find the name server {server}: {}",
                plain(&error)
            ))
        });
    }
    let found = of_system(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    for server in &found {
        grants.check_name_server((&server.ip().to_string(), server.port()), true)?;
    }
    Ok(found)
}

/// The `nameserver` lines of a resolv.conf; without any it is the machine itself, as resolv.conf(5) says.
fn of_system(text: &str) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| {
            // `%eth0` behind a link-local address says which link; nobody else has one.
            let word = rest.split_whitespace().next()?.split('%').next()?;
            Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, PORT))
        })
        .take(limits::NAME_SERVERS)
        .collect();
    if found.is_empty() {
        found.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    found
}

impl Asking {
    /// Asks one server after the other, twice; the caller keeps the whole time.
    async fn answer(&self, name: &str) -> mlua::Result<(Answer, SocketAddr)> {
        let asks = limits::DNS_ROUNDS * self.servers.len();
        let each = self.limit / u32::try_from(asks).unwrap_or(u32::MAX);
        let mut why = String::new();
        for server in self.servers.iter().cycle().take(asks) {
            match tokio::time::timeout(each, self.ask(*server)).await {
                Ok(Ok(answer)) => return Ok((answer, *server)),
                Ok(Err(error)) => why = format!("{server}: {}", plain(&error)),
                Err(_) if why.is_empty() => {
                    why = format!("{server} does not answer within {}", shown(self.limit));
                }
                Err(_) => {}
            }
        }
        Err(failure(format!("cannot resolve {name}: {why}")))
    }

    async fn ask(&self, server: SocketAddr) -> io::Result<Answer> {
        if !self.tcp {
            let answer = self.by_udp(server).await?;
            if !answer.is_cut() {
                return Ok(answer);
            }
        }
        self.by_tcp(server).await
    }

    async fn by_udp(&self, server: SocketAddr) -> io::Result<Answer> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        let (id, bytes) = self.question.write()?;
        socket.send(&bytes).await?;
        let mut buffer = vec![0; limits::DATAGRAM_BYTES];
        loop {
            let count = socket.recv(&mut buffer).await?;
            // Whatever is no answer to this question may come from somebody who guesses.
            if let Some(answer) = self.question.read(id, &buffer[..count])? {
                return Ok(answer);
            }
        }
    }

    async fn by_tcp(&self, server: SocketAddr) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(server).await?;
        let (id, bytes) = self.question.write()?;
        let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
        stream
            .write_all(&[&length.to_be_bytes()[..], &bytes].concat())
            .await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        self.question
            .read(id, &buffer)?
            .ok_or_else(|| io::Error::other("its answer is to another question"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_system_reads_them() {
        let text =
            "# x\nsearch a\nnameserver 10.0.0.1\n nameserver fe80::1%eth0\nnameserver nonsense\n";
        let found = of_system(text);
        assert_eq!(
            found.iter().map(SocketAddr::to_string).collect::<Vec<_>>(),
            ["10.0.0.1:53", "[fe80::1]:53"]
        );
        assert_eq!(of_system("")[0].to_string(), "127.0.0.1:53");
    }
}
