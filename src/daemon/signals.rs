//! What the system tells the daemon by signals. The engine decides what follows; the second SIGTERM or
//! SIGINT skips the grace.

use std::io;
use std::rc::Rc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::inbox::Inbox;
use super::watch::Watch;
use crate::engine::alphabet::Input;

/// The signals that we listen to. From here on they do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// # Errors
    /// The system's.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Passes them on until it is dropped.
    pub(super) async fn pass_on(mut self, inbox: Rc<Inbox>, watch: Watch) {
        loop {
            // Cancel safe, all three: a signal that came is kept until somebody asks.
            let why = tokio::select! {
                Some(()) = self.terminate.recv() => Some("SIGTERM"),
                Some(()) = self.interrupt.recv() => Some("SIGINT"),
                Some(()) = self.hang_up.recv() => None,
                else => return,
            };
            match why {
                Some(name) => inbox.push(Input::Terminate {
                    why: name.to_owned(),
                }),
                None => watch.rescan(),
            }
        }
    }
}
