//! The connection as one state: what it needs lives in its variant, the output of a connection too, so
//! that no byte meant for one connection gets onto another.

use std::time::Duration;

use crate::proto::ids::RequestId;

use super::requests::Epoch;

#[derive(Debug)]
pub(super) enum Link {
    /// No connection. `retry`: when to try again, and which attempt that is.
    Idle {
        retry: Option<(Duration, u32)>,
    },
    Connecting {
        epoch: Epoch,
        attempt: u32,
        until: Duration,
    },
    /// Connected, hello and ping sent; nobody knows yet whether somebody reads.
    Handshake {
        epoch: Epoch,
        attempt: u32,
        until: Duration,
        ping: RequestId,
        output: Vec<u8>,
    },
    Up(Up),
    /// `bye` is sent; its answer ends it.
    Leaving {
        epoch: Epoch,
        bye: RequestId,
        until: Duration,
        output: Vec<u8>,
    },
    /// For ever.
    Left,
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) epoch: Epoch,
    pub(super) output: Vec<u8>,
    pub(super) pings: Pings,
}

impl Link {
    pub(super) fn idle() -> Self {
        Link::Idle { retry: None }
    }

    pub(super) fn up(epoch: Epoch, first_ping: Duration) -> Self {
        Link::Up(Up {
            epoch,
            output: Vec::new(),
            pings: Pings {
                next: first_ping,
                outstanding: None,
                missed: 0,
            },
        })
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Link::Connecting { epoch, .. }
            | Link::Handshake { epoch, .. }
            | Link::Up(Up { epoch, .. })
            | Link::Leaving { epoch, .. } => Some(*epoch),
            Link::Idle { .. } | Link::Left => None,
        }
    }

    pub(super) fn is(&self, epoch: Epoch) -> bool {
        self.epoch() == Some(epoch)
    }

    fn output(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Link::Handshake { output, .. }
            | Link::Up(Up { output, .. })
            | Link::Leaving { output, .. } => Some(output),
            Link::Idle { .. } | Link::Connecting { .. } | Link::Left => None,
        }
    }

    /// Without a connection the bytes go nowhere.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Some(output) = self.output() {
            output.extend_from_slice(bytes);
        }
    }

    pub(super) fn take_output(&mut self) -> Option<(Epoch, Vec<u8>)> {
        let epoch = self.epoch()?;
        let output = self.output()?;
        (!output.is_empty()).then(|| (epoch, std::mem::take(output)))
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        match self {
            Link::Idle { retry } => retry.map(|(at, _)| at),
            Link::Connecting { until, .. }
            | Link::Handshake { until, .. }
            | Link::Leaving { until, .. } => Some(*until),
            Link::Up(up) => Some(up.pings.next_timeout()),
            Link::Left => None,
        }
    }
}

/// The pings of one connection. They end with it, so none is sent or counted while it is down.
#[derive(Debug)]
pub(super) struct Pings {
    next: Duration,
    outstanding: Option<(RequestId, Duration)>,
    missed: u32,
}

/// What the clock says about pings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Send one now.
    Ping,
    /// One more was not answered in its time; so many are now.
    Missed(u32),
}

impl Pings {
    /// Looks at the clock; call it until it says `Nothing`.
    pub(super) fn due(&mut self, now: Duration, every: Duration) -> Due {
        if let Some((_, deadline)) = &self.outstanding
            && *deadline <= now
        {
            // After a long sleep of our own the pong may lie unread: that ping does not count.
            let asleep = now > *deadline + every;
            self.outstanding = None;
            if !asleep {
                self.missed += 1;
                return Due::Missed(self.missed);
            }
        }
        if self.outstanding.is_none() && self.next <= now {
            self.next = (self.next + every).max(now);
            return Due::Ping;
        }
        Due::Nothing
    }

    pub(super) fn sent(&mut self, id: RequestId, deadline: Duration) {
        self.outstanding = Some((id, deadline));
    }

    /// Takes in an answer; whether it is a pong. A late one is a sign of life as well, a malformed one is
    /// none: its ping runs into its deadline.
    pub(super) fn is_pong(&mut self, id: &RequestId, well_formed: bool) -> bool {
        let current = matches!(&self.outstanding, Some((ping, _)) if ping == id);
        if !well_formed {
            return false;
        }
        if current {
            self.outstanding = None;
        }
        self.missed = 0;
        true
    }

    fn next_timeout(&self) -> Duration {
        match &self.outstanding {
            Some((_, deadline)) => *deadline,
            None => self.next,
        }
    }
}
