//! What this process has started, and what that has started in turn: found and ended, also after it has left its
//! process group, its session and its parent.
//!
//! A process group is left with one call of `setsid`; a parent cannot be left. The kernel makes a *sub-reaper* the
//! parent of every descendant whose own parent has died. So whatever is a child of a sub-reaper, and was not
//! started by it itself, descends from something that it has started: that is the kernel's word, no name and no
//! number that a script could forge. A child's number cannot become another's before its parent has reaped it,
//! and nobody but us reaps ours: so no signal from here reaches a stranger.
//!
//! It never asks who a process claims to be.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};
use rustix::thread::gettid;

use crate::limits;

thread_local! {
    /// Children of the program's own, for whose end somebody waits. All are started by one thread.
    static OWN: RefCell<BTreeSet<i32>> = const { RefCell::new(BTreeSet::new()) };
}

/// Says that a child is the program's own, as long as it lives: nobody else reaps it.
#[derive(Debug)]
pub struct Own(i32);

impl Own {
    /// `None` names nobody: the child was waited for already.
    #[must_use]
    pub fn new(pid: Option<u32>) -> Self {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        OWN.with_borrow_mut(|own| own.insert(pid));
        Own(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        OWN.with_borrow_mut(|own| own.remove(&self.0));
    }
}

/// The children of this process, own and adopted.
#[derive(Debug)]
pub struct Descendants {
    /// Open for good, so that it can be read by a worker that may open nothing.
    children: File,
}

impl Descendants {
    /// Makes this process the parent of whatever of its descendants is orphaned. Call it on the main thread, which
    /// is the one that starts the children.
    ///
    /// # Errors
    /// The system's, also if it keeps no list of children (`CONFIG_PROC_CHILDREN`).
    pub fn adopt() -> io::Result<Self> {
        set_child_subreaper(Some(getpid()))?;
        let thread = gettid().as_raw_nonzero();
        Ok(Descendants {
            children: File::open(format!("/proc/self/task/{thread}/children"))?,
        })
    }

    /// Children that are not our own, dead or alive.
    #[must_use]
    pub fn adopted(&self) -> Vec<Pid> {
        let mut all = children_in(&self.children);
        OWN.with_borrow(|own| all.retain(|pid| !own.contains(&pid.as_raw_nonzero().get())));
        all
    }

    /// Reaps the adopted that are dead. `true`: others are left.
    #[must_use]
    pub fn reap(&self) -> bool {
        let mut left = false;
        for pid in self.adopted() {
            left |= !reaped(pid);
        }
        left
    }

    /// Kills every child, own or adopted, and all below them, and waits for their end, which `limits::SWEEP` bounds.
    /// For the end of a process: the program's own children are reaped too.
    pub fn end(&self) {
        OWN.with_borrow_mut(BTreeSet::clear);
        let begun = std::time::Instant::now();
        while self.reap() && begun.elapsed() < limits::SWEEP {
            for pid in self.adopted() {
                kill_tree(pid);
            }
            std::thread::sleep(limits::SWEEP_AGAIN);
        }
    }
}

/// Reaps one child. `false`: it lives.
#[must_use]
pub fn reaped(child: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::Pid(child), options) {
        Ok(status) => status.is_some(),
        // Somebody else has: it is no child of ours any more.
        Err(_) => true,
    }
}

/// A process that was killed from here and may still be listed as a parent.
struct Victim {
    pid: Pid,
    handle: OwnedFd,
}

/// Kills a child of ours that has not been reaped, and what descends from it. A process with a deadly signal
/// pending can fork no more, so one that forks without end loses the race; what it left behind when it died
/// is a child of ours next time.
pub fn kill_tree(child: Pid) {
    let Ok(handle) = pidfd_open(child, PidfdFlags::empty()) else {
        return;
    };
    // Ours may belong to root after a `sudo`: it then ends by itself, and is reaped.
    let _refused = pidfd_send_signal(&handle, Signal::KILL);
    let mut victims = vec![Victim { pid: child, handle }];
    let mut budget = limits::VICTIMS_AT_ONCE;
    while let Some(parent) = victims.pop() {
        for pid in children_of(parent.pid) {
            budget -= 1;
            if budget == 0 {
                return;
            }
            victims.extend(kill_child_of(&parent, pid));
        }
    }
}

/// Kills `pid` if it is a child of `parent` beyond doubt: its handle was taken before it was seen to be one, and
/// the parent was still there afterwards, so neither number was another's.
fn kill_child_of(parent: &Victim, pid: Pid) -> Option<Victim> {
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if parent_of(pid)? != parent.pid {
        return None;
    }
    pidfd_send_signal(&parent.handle, Signal::KILL).ok()?;
    let _refused = pidfd_send_signal(&handle, Signal::KILL);
    Some(Victim { pid, handle })
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before it is in parentheses and may contain anything.
    let after_name = stat.rsplit(") ").next()?;
    Pid::from_raw(after_name.split(' ').nth(1)?.parse().ok()?)
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let number = pid.as_raw_nonzero();
    let Ok(threads) = fs::read_dir(format!("/proc/{number}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .map(|thread| thread.path().join("children"));
    let children = lists.filter_map(|list| File::open(list).ok());
    children.flat_map(|list| children_in(&list)).collect()
}

/// Numbers apart by blanks. The kernel may leave some out while others end: whoever needs all looks again.
fn children_in(list: &File) -> Vec<Pid> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = list.read_at(&mut piece, text.len() as u64) {
        text.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&text)
        .split_ascii_whitespace()
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
        .collect()
}
