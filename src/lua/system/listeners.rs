//! Which ports something listens on, and who: `/proc/net` joined with the descriptors of the processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use mlua::{IntoLua, Lua, Table, Value};

use super::odd;
use crate::lua::grants::{Grants, Need};

/// A socket that takes connections or datagrams from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listener {
    protocol: &'static str,
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// A process that holds a socket.
type Holder = (u32, String);

/// The kernel's tables: file, protocol, the state that listening has there.
const TABLES: [(&str, &str, &str); 4] = [
    ("/proc/net/tcp", "tcp", "0A"),
    ("/proc/net/tcp6", "tcp", "0A"),
    ("/proc/net/udp", "udp", "07"),
    ("/proc/net/udp6", "udp", "07"),
];

/// `system.listeners()`. Looking through the descriptors of all processes is done on a helper thread.
pub(super) async fn listeners(lua: Lua, (): ()) -> mlua::Result<Value> {
    if let Some(refused) = Grants::of_state(&lua).denied(Need::Read, Path::new("/proc")) {
        return Err(refused.into());
    }
    let (found, holders) = tokio::task::spawn_blocking(|| (read_tables(), holders()))
        .await
        .map_err(mlua::Error::external)?;
    let found = found.ok_or_else(|| odd("/proc/net"))?;
    found
        .into_iter()
        .map(|listener| listener.into_table(&lua, &holders))
        .collect::<mlua::Result<Vec<_>>>()?
        .into_lua(&lua)
}

/// `None` if there is not even a table of TCP. A machine without IPv6 lacks two of them.
fn read_tables() -> Option<Vec<Listener>> {
    let mut found = Vec::new();
    let mut any = false;
    for (file, protocol, state) in TABLES {
        let Ok(text) = fs::read_to_string(file) else {
            continue;
        };
        any = true;
        found.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| Listener::parse(line, protocol, state)),
        );
    }
    found.sort_by_key(|listener| (listener.port, listener.protocol, listener.address));
    any.then_some(found)
}

impl Listener {
    /// `0: 0100007F:1F90 00000000:0000 0A ... uid timeout inode ...`; `None` for any other state.
    fn parse(line: &str, protocol: &'static str, state: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        if *words.get(3)? != state {
            return None;
        }
        let (address, port) = words.get(1)?.split_once(':')?;
        Some(Listener {
            protocol,
            address: address_of(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            inode: words.get(9)?.parse().ok()?,
        })
    }

    fn into_table(self, lua: &Lua, holders: &BTreeMap<u64, Vec<Holder>>) -> mlua::Result<Table> {
        let none = Vec::new();
        let holders = holders.get(&self.inode).unwrap_or(&none);
        let pids: Vec<u32> = holders.iter().map(|(pid, _)| *pid).collect();
        let mut names: Vec<&str> = holders.iter().map(|(_, name)| name.as_str()).collect();
        names.dedup();
        let table = lua.create_table()?;
        table.raw_set("protocol", self.protocol)?;
        table.raw_set("address", self.address.to_string())?;
        table.raw_set("port", self.port)?;
        table.raw_set("pids", pids)?;
        table.raw_set("names", names)?;
        Ok(table)
    }
}

/// The kernel writes addresses as words of the machine's own byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(Ipv6Addr::from(sixteen).into())
}

/// Who holds which socket, by its inode; only of processes that this user may look into.
fn holders() -> BTreeMap<u64, Vec<Holder>> {
    let mut holders: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let sockets = sockets_of(&process.path());
        if sockets.is_empty() {
            continue;
        }
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for inode in sockets {
            let entry = holders.entry(inode).or_default();
            entry.push((pid, name.trim_end().to_owned()));
        }
    }
    for entry in holders.values_mut() {
        entry.sort();
        entry.dedup();
    }
    holders
}

fn sockets_of(process: &Path) -> Vec<u64> {
    let entries = fs::read_dir(process.join("fd")).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read_and_only_listeners_kept() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1584 1 x";
        let found = Listener::parse(line, "tcp", "0A").expect("a listener");
        assert_eq!(found.port, 8080);
        assert_eq!(found.inode, 1584);
        if cfg!(target_endian = "little") {
            assert_eq!(found.address, IpAddr::from(Ipv4Addr::LOCALHOST));
        }
        assert_eq!(Listener::parse(line, "tcp", "07"), None);
        assert_eq!(Listener::parse("nonsense", "tcp", "0A"), None);
        assert!(address_of("00000000000000000000000000000000").is_some_and(|ip| ip.is_ipv6()));
        assert_eq!(address_of("0100007"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found_with_its_holder() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let tables = read_tables().expect("Linux");
        let own = tables
            .iter()
            .find(|one| one.port == port && one.protocol == "tcp")
            .expect("it listens");
        let holders = holders();
        let pids = holders.get(&own.inode).expect("somebody holds it");
        assert!(pids.iter().any(|(pid, _)| *pid == std::process::id()));
    }
}
