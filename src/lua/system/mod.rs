//! `moonkeep.system`: load, memory, disks, processes and listeners of this machine, from Linux's `/proc`.

use std::fs;
use std::path::Path;

use mlua::{Lua, Table, Value};

use super::address::plain;
use super::failure::failure;
use super::{Function, Module, Param};

mod listeners;
mod processes;

/// `moonkeep.system`
pub const MODULE: Module = Module {
    name: "moonkeep.system",
    summary: "Load, memory, disks, processes and listeners of this machine.",
    types: TYPES,
    functions: &[
        Function {
            name: "load",
            params: &[],
            returns: &["moonkeep.system.Load"],
            doc: "Load averages over 1, 5 and 15 minutes, and the processors that share them.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|lua, ()| load(lua))
                    .map(Value::Function)
            },
        },
        Function {
            name: "memory",
            params: &[],
            returns: &["moonkeep.system.Memory"],
            doc: "Bytes of memory, within the limit of the container if there is one.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|lua, ()| memory(lua))
                    .map(Value::Function)
            },
        },
        Function {
            name: "disk",
            params: &[Param {
                name: "path",
                kind: "string",
                doc: "anything on the file system meant",
            }],
            returns: &["moonkeep.system.Disk"],
            doc: "Bytes and inodes of a file system.",
            yields: true,
            make: |lua, _| lua.create_async_function(disk).map(Value::Function),
        },
        Function {
            name: "processes",
            params: &[],
            returns: &["moonkeep.system.Process[]"],
            doc: "Every process that can be seen, by pid. A confined script needs `allow.read = [\"/proc\"]`.",
            yields: false,
            make: |lua, _| {
                lua.create_function(|lua, ()| processes::all(lua))
                    .map(Value::Function)
            },
        },
        Function {
            name: "listeners",
            params: &[],
            returns: &["moonkeep.system.Listener[]"],
            doc: "Every TCP and UDP port that something listens on, by port. Who it is, is there for processes that the \
                  user may look into: the user's own, for root all. A confined script needs `allow.read = [\"/proc\"]`.",
            yields: true,
            make: |lua, _| {
                lua.create_async_function(listeners::listeners)
                    .map(Value::Function)
            },
        },
        Function {
            name: "uptime",
            params: &[],
            returns: &["number"],
            doc: "Seconds since the machine started.",
            yields: false,
            make: |lua, _| lua.create_function(|_, ()| uptime()).map(Value::Function),
        },
        Function {
            name: "hostname",
            params: &[],
            returns: &["string"],
            doc: "The machine's name.",
            yields: false,
            make: |lua, _| {
                let name = |_: &Lua, ()| {
                    let facts = rustix::system::uname();
                    Ok(facts.nodename().to_string_lossy().into_owned())
                };
                lua.create_function(name).map(Value::Function)
            },
        },
    ],
};

const TYPES: &str = r"---@class moonkeep.system.Load
---@field one number
---@field five number
---@field fifteen number
---@field processors integer
---@field per_processor moonkeep.system.Averages the same, shared by the processors

---@class moonkeep.system.Averages
---@field one number
---@field five number
---@field fifteen number

---@class moonkeep.system.Memory
---@field total integer
---@field available integer what programs could still get
---@field used integer total less available
---@field swap_total integer
---@field swap_free integer

---@class moonkeep.system.Disk
---@field total integer bytes
---@field free integer bytes, those reserved for root included
---@field available integer bytes that an ordinary user could still write
---@field used integer bytes
---@field used_percent number as df counts: used of used and available
---@field inodes integer 0 where the file system has no fixed number
---@field inodes_free integer

---@class moonkeep.system.Process
---@field pid integer
---@field parent integer
---@field name string
---@field state string one letter: R running, S sleeping, D waiting for a disk, Z dead but not collected, ...
---@field command string with its arguments; empty for the kernel's own
---@field uid integer
---@field memory integer resident bytes
---@field threads integer
---@field cpu number seconds of processor time that it has used; for a share, measure twice
---@field cpu_percent number of one processor, over its whole life
---@field started number seconds since 1970

---@class moonkeep.system.Listener
---@field protocol 'tcp'|'udp'
---@field address string what it listens on: `0.0.0.0` and `::` are all addresses
---@field port integer
---@field pids integer[] the processes that hold the socket; empty if they cannot be seen
---@field names string[] the names of these processes
";

fn proc_file(path: &str) -> mlua::Result<String> {
    fs::read_to_string(path)
        .map_err(|error| failure(format!("cannot read {path}: {}", plain(&error))))
}

fn odd(path: &str) -> mlua::Error {
    failure(format!("{path} does not look as expected on Linux"))
}

fn load(lua: &Lua) -> mlua::Result<Table> {
    let path = "/proc/loadavg";
    let text = proc_file(path)?;
    let mut numbers = text.split(' ').map_while(|word| word.parse::<f64>().ok());
    let processors = processors()?;
    let (table, shared) = (lua.create_table()?, lua.create_table()?);
    for name in ["one", "five", "fifteen"] {
        let load = numbers.next().ok_or_else(|| odd(path))?;
        table.raw_set(name, load)?;
        shared.raw_set(name, load / f64::from(processors))?;
    }
    table.raw_set("processors", processors)?;
    table.raw_set("per_processor", shared)?;
    Ok(table)
}

/// All processors of the machine: the load is the whole machine's too, whatever share a container has.
fn processors() -> mlua::Result<u32> {
    let text = proc_file("/proc/stat")?;
    let count = text
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    Ok(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
    swap_total: u64,
    swap_free: u64,
}

fn memory(lua: &Lua) -> mlua::Result<Table> {
    let path = "/proc/meminfo";
    let mut memory = parse_meminfo(&proc_file(path)?).ok_or_else(|| odd(path))?;
    if let Some((limit, used)) = container() {
        memory = memory.within(limit, used);
    }
    let table = lua.create_table()?;
    table.raw_set("total", memory.total)?;
    table.raw_set("available", memory.available)?;
    table.raw_set("used", memory.total - memory.available)?;
    table.raw_set("swap_total", memory.swap_total)?;
    table.raw_set("swap_free", memory.swap_free)?;
    Ok(table)
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    let total = bytes("MemTotal:")?;
    Some(Memory {
        total,
        available: bytes("MemAvailable:")?.min(total),
        swap_total: bytes("SwapTotal:").unwrap_or(0),
        swap_free: bytes("SwapFree:").unwrap_or(0),
    })
}

impl Memory {
    fn within(self, limit: u64, used: u64) -> Self {
        if limit >= self.total {
            return self;
        }
        Memory {
            total: limit,
            available: limit.saturating_sub(used).min(self.available),
            ..self
        }
    }
}

/// Limit and use of the control group, the file cache that can be dropped not counted; `None` without a limit.
fn container() -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse().ok()
    };
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let facts = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let droppable = facts
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    Some((limit, used.saturating_sub(droppable)))
}

async fn disk(lua: Lua, path: String) -> mlua::Result<Table> {
    let asked = path.clone();
    let facts = tokio::task::spawn_blocking(move || rustix::fs::statvfs(asked))
        .await
        .map_err(mlua::Error::external)?
        .map_err(|error| {
            failure(format!(
                "cannot look at the file system of {path}: {}",
                plain(&error.into())
            ))
        })?;
    let total = facts.f_blocks * facts.f_frsize;
    let free = facts.f_bfree * facts.f_frsize;
    let available = facts.f_bavail * facts.f_frsize;
    let used = total.saturating_sub(free);
    let table = lua.create_table()?;
    table.raw_set("total", total)?;
    table.raw_set("free", free)?;
    table.raw_set("available", available)?;
    table.raw_set("used", used)?;
    table.raw_set("used_percent", percent(used, used + available))?;
    table.raw_set("inodes", facts.f_files)?;
    table.raw_set("inodes_free", facts.f_ffree)?;
    Ok(table)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a percentage needs no more than 52 bits"
    )]
    let ratio = part as f64 / whole as f64;
    ratio * 100.0
}

fn uptime() -> mlua::Result<f64> {
    let path = "/proc/uptime";
    proc_file(path)?
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| odd(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_memory_figures_are_read_and_a_container_limits_them() {
        let text = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  600 kB\nSwapTotal: 0 kB\n";
        let memory = parse_meminfo(text).expect("good");
        assert_eq!((memory.total, memory.available), (1_024_000, 614_400));
        let within = memory.within(100_000, 90_000);
        assert_eq!((within.total, within.available), (100_000, 10_000));
        assert_eq!(memory.within(u64::MAX, 5), memory);
        assert_eq!(parse_meminfo("nothing"), None);
    }
}
