//! Processes that belong to a test's folder, found in `/proc` by their environment or arguments.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long processes may take to leave after the test's own end.
const TO_LEAVE: Duration = Duration::from_secs(10);

/// One process of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Its arguments, joined by blanks; a zombie has none.
    pub(crate) arguments: String,
    /// `S`, `R`, `Z` ...: the state as `/proc` says it.
    pub(crate) state: char,
}

impl Process {
    /// Its parent; `None` once it is gone.
    pub(crate) fn parent(&self) -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
    }
}

/// Everything that names `folder` in its environment or arguments.
pub(crate) fn of(folder: &Path) -> Vec<Process> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != i32::try_from(std::process::id()).unwrap_or(0))
        .filter_map(|pid| look(pid, needle))
        .collect()
}

fn look(pid: i32, needle: &[u8]) -> Option<Process> {
    let place = Path::new("/proc").join(pid.to_string());
    let arguments = fs::read(place.join("cmdline")).ok()?;
    let environment = fs::read(place.join("environ")).unwrap_or_default();
    if !contains(&arguments, needle) && !contains(&environment, needle) {
        return None;
    }
    let stat = fs::read_to_string(place.join("stat")).ok()?;
    let state = stat.rsplit(") ").next()?.chars().next()?;
    Some(Process {
        pid,
        arguments: String::from_utf8_lossy(&arguments).replace('\0', " "),
        state,
    })
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// Waits until no process of `folder` is left; after the limit kills those that are, and returns them.
pub(crate) fn end(folder: &Path) -> Vec<Process> {
    let begun = Instant::now();
    loop {
        let left = of(folder);
        if left.is_empty() {
            return left;
        }
        if begun.elapsed() > TO_LEAVE || std::thread::panicking() {
            for process in &left {
                kill(process.pid, Signal::KILL);
            }
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Signals a process; one that is gone is no error.
pub(crate) fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, signal).ok();
    }
}
