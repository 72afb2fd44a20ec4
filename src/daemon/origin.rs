//! Whose process is at the other end of a connection: a client's, or one that a script has started?
//!
//! The kernel's word, nobody's name: whatever descends from a worker has that worker, or after its death the daemon,
//! among its ancestors, because both adopt what is orphaned below them. So the way up from a script's process always
//! leads to the daemon. It leads past it from everybody else's.

use std::fs;

use rustix::process::{Pid, getpid};

use crate::limits;
use crate::proto::ids::ScriptName;
use crate::worker::ROLE;

/// What a process is to this daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Client,
    /// A script's, or it cannot be told: the script's worker, or the process itself, has ended.
    Script(Option<ScriptName>),
}

/// Asks the kernel. Takes some 10 us for each ancestor.
pub(super) fn of_process(pid: i32) -> Origin {
    let Some(pid) = Pid::from_raw(pid) else {
        return Origin::Client;
    };
    let daemon = getpid();
    let mut below = pid;
    for _ in 0..limits::ANCESTORS {
        match parent_of(below) {
            Some(parent) if parent == daemon => return Origin::Script(script_of(below)),
            Some(parent) => below = parent,
            None if below == pid && !is_there(pid) => return Origin::Script(None),
            // The first process of all, or of this namespace.
            None => return Origin::Client,
        }
    }
    Origin::Script(None)
}

fn is_there(pid: Pid) -> bool {
    fs::exists(format!("/proc/{}", pid.as_raw_nonzero())).unwrap_or(false)
}

/// `None`: it has none, or is gone.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before it is in parentheses and may contain anything.
    let after_name = stat.rsplit(") ").next()?;
    Pid::from_raw(after_name.split(' ').nth(1)?.parse().ok()?)
}

/// The script whose worker this child of the daemon is.
fn script_of(worker: Pid) -> Option<ScriptName> {
    let words = fs::read(format!("/proc/{}/cmdline", worker.as_raw_nonzero())).ok()?;
    let mut words = words.split(|byte| *byte == 0).skip(1);
    let role = words.next()?;
    let name = words.next().filter(|_| role == ROLE.as_bytes())?;
    ScriptName::parse(std::str::from_utf8(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_this_process_is_a_scripts_and_its_parent_is_a_clients() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a child");
        let pid = i32::try_from(child.id()).expect("a pid");
        assert_eq!(of_process(pid), Origin::Script(None));
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        assert_eq!(
            of_process(pid),
            Origin::Script(None),
            "who is gone could be anybody"
        );
        let parent = parent_of(getpid()).expect("somebody started this");
        assert_eq!(of_process(parent.as_raw_nonzero().get()), Origin::Client);
    }
}
