//! What a worker does last of all when its daemon is dead: nobody else ends the rest of its group then.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Signal, getpgrp, getpid, kill_current_process_group};

/// Knows by the daemon's pipe whether the daemon lives.
#[derive(Debug)]
pub(super) struct Orphan(OwnedFd);

impl Orphan {
    /// `pipe`: the end that the daemon writes to.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn new(pipe: &OwnedFd) -> io::Result<Self> {
        Ok(Orphan(pipe.try_clone()?))
    }

    /// Kills the group that the worker leads, itself included, if the daemon is dead. A living daemon does
    /// that itself, after it has read the exit status.
    pub(super) fn bury_group(&self) {
        if getpgrp() == getpid() && self.is_hung_up() {
            let _nobody_left = kill_current_process_group(Signal::KILL);
        }
    }

    fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        rustix::event::poll(&mut polled, Some(&at_once)).is_ok()
            && polled[0].revents().contains(PollFlags::HUP)
    }
}
