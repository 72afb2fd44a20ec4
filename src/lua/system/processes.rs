//! The processes of the machine, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::{IntoLua, Lua, Table, Value};

use super::{odd, proc_file};
use crate::lua::address::plain;
use crate::lua::failure::failure;
use crate::lua::grants::{Grants, Need};

/// Every process that can be seen, by pid.
///
/// # Errors
/// If `/proc` may not be looked at.
pub(super) fn all(lua: &Lua) -> mlua::Result<Value> {
    let (grants, folder) = (Grants::of_state(lua), Path::new("/proc"));
    grants.check(Need::Read, folder)?;
    let entries = fs::read_dir(folder).map_err(|error| {
        let refused = grants.explain(Need::Read, folder, &error);
        refused.map_or_else(
            || failure(format!("cannot list /proc: {}", plain(&error))),
            mlua::Error::from,
        )
    })?;
    let clock = Clock::read()?;
    let mut found: Vec<Process> = entries
        .filter_map(|entry| Process::read(&entry.ok()?.path(), &clock))
        .collect();
    found.sort_unstable_by_key(|process| process.pid);
    found
        .into_iter()
        .map(|process| process.into_table(lua, clock.now))
        .collect::<mlua::Result<Vec<_>>>()?
        .into_lua(lua)
}

/// How the kernel counts time.
struct Clock {
    /// Of the machine's start, in seconds since 1970.
    boot: f64,
    now: f64,
    ticks: f64,
}

impl Clock {
    fn read() -> mlua::Result<Self> {
        let path = "/proc/stat";
        let boot = proc_file(path)?
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.parse().ok())
            .ok_or_else(|| odd(path))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        #[expect(clippy::cast_precision_loss, reason = "it is 100, or little more")]
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Ok(Clock {
            boot,
            now: now.map_or(0.0, |now| now.as_secs_f64()),
            ticks,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Process {
    pid: u32,
    parent: u32,
    name: String,
    state: String,
    command: String,
    uid: u32,
    memory: u64,
    threads: u32,
    times: Times,
}

/// Of its processors' time and its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    /// Seconds of processor time.
    cpu: f64,
    /// Seconds since 1970.
    started: f64,
}

impl Times {
    /// From `/proc/PID/stat`, whose second field is a name that may hold anything.
    fn parse(stat: &str, clock: &Clock) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Times {
            cpu: (ticks(14)? + ticks(15)?) / clock.ticks,
            started: clock.boot + ticks(22)? / clock.ticks,
        })
    }

    /// Of one processor, over its whole life.
    fn percent(self, now: f64) -> f64 {
        let life = now - self.started;
        if life <= 0.0 {
            0.0
        } else {
            self.cpu * 100.0 / life
        }
    }
}

impl Process {
    /// `None` for what is no process, or has ended meanwhile.
    fn read(folder: &Path, clock: &Clock) -> Option<Self> {
        let pid: u32 = folder.file_name()?.to_str()?.parse().ok()?;
        let command = fs::read(folder.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let status = fs::read(folder.join("status")).ok()?;
        let stat = fs::read(folder.join("stat")).ok()?;
        let process = Process::parse(pid, &String::from_utf8_lossy(&status), command.trim_end())?;
        Some(Process {
            times: Times::parse(&String::from_utf8_lossy(&stat), clock).unwrap_or_default(),
            ..process
        })
    }

    fn parse(pid: u32, status: &str, command: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim())
        };
        let first = |name: &str| field(name)?.split_whitespace().next();
        let kib: u64 = first("VmRSS:")
            .and_then(|word| word.parse().ok())
            .unwrap_or(0);
        Some(Process {
            pid,
            parent: first("PPid:")?.parse().ok()?,
            name: field("Name:")?.to_owned(),
            state: first("State:")?.to_owned(),
            command: command.to_owned(),
            uid: first("Uid:")?.parse().ok()?,
            memory: kib * 1024,
            threads: first("Threads:")
                .and_then(|word| word.parse().ok())
                .unwrap_or(1),
            times: Times::default(),
        })
    }

    fn into_table(self, lua: &Lua, now: f64) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("pid", self.pid)?;
        table.raw_set("parent", self.parent)?;
        table.raw_set("name", self.name)?;
        table.raw_set("state", self.state)?;
        table.raw_set("command", self.command)?;
        table.raw_set("uid", self.uid)?;
        table.raw_set("memory", self.memory)?;
        table.raw_set("threads", self.threads)?;
        table.raw_set("cpu", self.times.cpu)?;
        table.raw_set("cpu_percent", self.times.percent(now))?;
        table.raw_set("started", self.times.started)?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let clock = Clock {
            boot: 1000.0,
            now: 1110.0,
            ticks: 100.0,
        };
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 1000 1 2";
        let times = Times::parse(stat, &clock).expect("whole");
        assert_eq!((times.cpu, times.started), (2.0, 1010.0));
        assert_eq!(times.percent(clock.now), 2.0);
        assert_eq!(Times::parse("7 (a) S 1", &clock), None);
    }

    #[test]
    fn a_process_may_have_odd_names_and_no_memory() {
        let status = "Name:\tkworker/0:1 (x)\nState:\tI (idle)\nPPid:\t2\nUid:\t0\t0\t0\t0\n";
        let process = Process::parse(7, status, "").expect("whole");
        assert_eq!(process.name, "kworker/0:1 (x)");
        assert_eq!(
            (process.state.as_str(), process.parent, process.memory),
            ("I", 2, 0)
        );
        assert_eq!(Process::parse(7, "Name:\tx\n", ""), None);
    }

    #[test]
    fn this_process_is_among_the_processes() {
        let folder = Path::new("/proc").join(std::process::id().to_string());
        let own = Process::read(&folder, &Clock::read().expect("Linux")).expect("Linux");
        assert!(own.memory > 0 && own.threads > 0);
        assert!(own.times.started > 1e9);
        assert!(!own.command.is_empty());
    }
}
