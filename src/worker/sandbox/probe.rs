//! `moonkeep worker --sandbox-probe`: confines itself as a worker of the setup line would be, then tries what it is told
//! to, with plain system calls, and says which the kernel refused. It grants nothing: whoever can start it could try
//! the same without it.
//!
//! Each further line of standard input is an attempt (`read /etc/shadow`, `connect 127.0.0.1:80`, `call ptrace 17`); each
//! line of output is `ATTEMPT: ERRNO`, 0 for success.

use std::fs;
use std::io::{self, BufRead, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

use rustix::net::{AddressFamily, SocketType, socket};

use super::confine;
use crate::proto::codec::{self, FromDaemon};
use crate::proto::messages::{Notice, ToWorker};
use crate::sys;

/// What makes a worker a probe, on its command line.
pub(in crate::worker) const FLAG: &str = "--sandbox-probe";

/// No such attempt.
const UNKNOWN: i32 = -1;

/// Reads, confines itself, tries.
///
/// # Errors
/// If standard input ends early or its first line is no setup; where the sandbox is required and cannot be had.
pub(in crate::worker) fn run() -> anyhow::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let mut out = io::stdout().lock();
    let first = lines.next().transpose()?.unwrap_or_default();
    let setup = match codec::decode_daemon(first.as_bytes()) {
        Ok(FromDaemon::Message(ToWorker::Setup(setup))) => setup,
        Ok(_) | Err(_) => anyhow::bail!("the first line of standard input was no setup"),
    };
    let confined = confine(&setup).map_err(anyhow::Error::msg)?;
    let mut told = Vec::new();
    let sandbox = confined.sandbox.clone();
    codec::encode_notice(&Notice::Confined { sandbox }, &mut told);
    out.write_all(&told)?;
    for line in lines {
        let line = line?;
        writeln!(out, "{line}: {}", attempt(&line))?;
        out.flush()?;
    }
    Ok(())
}

/// The number of the error, 0 for success.
fn attempt(line: &str) -> i32 {
    let (what, target) = line.split_once(' ').unwrap_or((line, ""));
    let file = match what {
        "read" => fs::File::open(target).and_then(|mut file| {
            io::Read::read(&mut file, &mut [0])?;
            Ok(())
        }),
        "list" => fs::read_dir(target).map(drop),
        "write" => fs::OpenOptions::new().write(true).open(target).map(drop),
        "make" => fs::write(target, "made").and_then(|()| fs::remove_file(target)),
        "remove" => fs::remove_file(target),
        "chmod" => fs::set_permissions(target, fs::Permissions::from_mode(0o600)),
        "chown" => std::os::unix::fs::chown(target, None, None),
        "connect" => TcpStream::connect(target).map(drop),
        "bind" => TcpListener::bind(target).map(drop),
        "udp" => {
            UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"x", target).map(drop))
        }
        "unix" => UnixStream::connect(target).map(drop),
        "abstract" => SocketAddr::from_abstract_name(target)
            .and_then(|address| UnixStream::connect_addr(&address).map(drop)),
        "netlink" => socket(AddressFamily::NETLINK, SocketType::RAW, None)
            .map(drop)
            .map_err(io::Error::from),
        "raw" => socket(
            AddressFamily::INET,
            SocketType::RAW,
            Some(rustix::net::ipproto::ICMP),
        )
        .map(drop)
        .map_err(io::Error::from),
        "packet" => socket(AddressFamily::PACKET, SocketType::RAW, None)
            .map(drop)
            .map_err(io::Error::from),
        "run" => Command::new(target).output().map(drop),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
        "name" => std::net::ToSocketAddrs::to_socket_addrs(&(target, 1)).map(drop),
        "call" => {
            let (name, pid) = target.split_once(' ').unwrap_or((target, "0"));
            return sys::attempt(name, pid.parse().unwrap_or(0)).unwrap_or(UNKNOWN);
        }
        _ => return UNKNOWN,
    };
    file.map_or_else(|error| error.raw_os_error().unwrap_or(UNKNOWN), |()| 0)
}
