//! Ends what a dead worker has left behind, and reaps it.
//!
//! A worker ends its descendants itself before it leaves. One that was killed could not: then they become children
//! of the daemon, which is a sub-reaper too. A child that is no worker descends from a worker that is gone (a living
//! one would be its parent), so it is killed, whatever it calls itself, its group and its session.
//!
//! Two kinds of child are none of ours to kill: what a script with `keep_children` has left, and what was there
//! before the daemon (a shell that started something and then became the daemon; a container whose first process
//! we are). As soon as there can be such a child, the kernel's word is not enough: only what also carries this
//! home's mark in its environment, and not that of `keep_children`, is killed.

use std::cell::Cell;
use std::fs;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, getpid};
use tokio::signal::unix::{SignalKind, signal};

use super::logs::Logs;
use crate::descendants::{Descendants, kill_tree, reaped};
use crate::engine::alphabet::Level;
use crate::limits;
use crate::paths::{HOME_VARIABLE, Home};

/// Set in the environment of a worker whose script has `keep_children`.
pub(super) const KEEP_VARIABLE: &str = "MOONKEEP_KEEP_CHILDREN";
/// Longest rest between two looks at what does not die.
const REST_MOST: Duration = Duration::from_millis(200);
/// Looks in a row after which what does not die is left alone until another child dies.
const LOOKS: u32 = 20;

/// Whether there may be children that are neither workers nor left behind by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Rc<Cell<bool>>);

impl Doubt {
    /// From now on there may be.
    pub(super) fn raise(&self) {
        self.0.set(true);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Undertaker {
    children: Descendants,
    doubt: Doubt,
    /// `MOONKEEP_HOME=...` as it stands in the environment of all that comes from our workers.
    mark: Vec<u8>,
    logs: Logs,
}

impl Undertaker {
    /// # Errors
    /// The system's: then a group is all that can be killed at a worker's death.
    pub(super) fn new(home: &Home, doubt: Doubt, logs: Logs) -> io::Result<Self> {
        let children = Descendants::adopt()?;
        let is_first = getpid() == Pid::INIT;
        if is_first || !children.adopted().is_empty() {
            doubt.raise();
        }
        let home = home.root().as_os_str().as_encoded_bytes();
        Ok(Undertaker {
            children,
            doubt,
            mark: [HOME_VARIABLE.as_bytes(), b"=", home].concat(),
            logs,
        })
    }

    /// Works until it is dropped. Cancel safe.
    pub(super) async fn run(self: Rc<Self>) {
        let Ok(mut deaths) = signal(SignalKind::child()) else {
            return;
        };
        // Cancel safe: a death that nobody waited for is remembered.
        while deaths.recv().await.is_some() {
            self.clear().await;
        }
    }

    /// Kills and reaps until nothing is left that concerns us, for a bounded time. Cancel safe.
    pub(super) async fn clear(&self) {
        let mut rest = limits::SWEEP_AGAIN;
        for _ in 0..LOOKS {
            if !self.pass() {
                return;
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(REST_MOST);
        }
        self.logs.note(
            Level::Warn,
            "a process that a script has left behind does not die of SIGKILL; look for it with `ps`: it runs as another user, or waits for a disk",
        );
    }

    /// One look. `true`: something was killed that is not reaped yet.
    fn pass(&self) -> bool {
        let mut again = false;
        for pid in self.children.adopted() {
            if !reaped(pid) && self.is_ours(pid) {
                kill_tree(pid);
                again = true;
            }
        }
        again
    }

    fn is_ours(&self, pid: Pid) -> bool {
        if !self.doubt.0.get() {
            return true;
        }
        let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
        let environment = fs::read(path).unwrap_or_default();
        is_marked(&environment, &self.mark)
    }
}

/// Whether an environment is that of a script of ours whose children are to end with it, or of an alert's program.
fn is_marked(environment: &[u8], mark: &[u8]) -> bool {
    let mut variables = environment.split(|byte| *byte == 0);
    let keeps = |variable: &[u8]| {
        let value = variable.strip_prefix(KEEP_VARIABLE.as_bytes());
        value.is_some_and(|value| value.starts_with(b"="))
    };
    let comes_from_us = |variable: &[u8]| {
        let own = [b"MOONKEEP_SCRIPT=".as_slice(), b"MOONKEEP_ALERT_ID="];
        own.iter().any(|name| variable.starts_with(name))
    };
    variables.clone().any(|variable| variable == mark)
        && variables.clone().any(comes_from_us)
        && !variables.any(keeps)
}

#[cfg(test)]
mod tests {
    use super::*;

    // T13
    #[test]
    fn in_doubt_only_what_carries_the_mark_of_this_home_is_ours() {
        let mark = b"MOONKEEP_HOME=/a";
        assert!(is_marked(
            b"X=1\0MOONKEEP_SCRIPT=s\0MOONKEEP_HOME=/a\0",
            mark
        ));
        assert!(is_marked(b"MOONKEEP_HOME=/a\0MOONKEEP_ALERT_ID=7\0", mark));
        for other in [
            b"".as_slice(),
            b"MOONKEEP_HOME=/a\0",
            b"MOONKEEP_SCRIPT=s\0MOONKEEP_HOME=/ab\0",
            b"MOONKEEP_SCRIPT=s\0X=MOONKEEP_HOME=/a\0",
            b"MOONKEEP_SCRIPT=s\0MOONKEEP_HOME=/a\0MOONKEEP_KEEP_CHILDREN=1\0",
        ] {
            assert!(!is_marked(other, mark), "{}", other.escape_ascii());
        }
    }
}
