//! What waits for one peer: bytes, and what each message of them costs.
//!
//! Bounds are the engine's affair: it counts the same costs and stops before the outbox grows.

use std::collections::VecDeque;
use std::io;

/// Memory beyond this is given back as soon as the outbox is empty.
const KEEP_BYTES: usize = 64 * 1024;

/// Bytes on their way to a peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// How many of `bytes` the kernel has.
    sent: usize,
    /// Where each message that has not gone whole ends in `bytes`, and its cost. Ends never fall.
    ends: VecDeque<(usize, u64)>,
}

/// What a [`Outbox::flush`] achieved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Cost of the messages that went whole.
    pub(crate) cost: u64,
    /// Bytes remain: the peer has to read first.
    pub(crate) blocked: bool,
}

impl Outbox {
    /// Adds one message of this cost: `write` appends its bytes, of which there may be none.
    pub(crate) fn push(&mut self, cost: u64, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        let end = self.bytes.len();
        self.ends.push_back((end, cost));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Gives the kernel as much as it takes without waiting; one call of `write` if it takes all.
    ///
    /// # Errors
    /// Those of `write` but `WouldBlock` and `Interrupted`: the peer is gone.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        let mut blocked = false;
        while self.sent < self.bytes.len() && !blocked {
            match write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed {
            cost: self.settle(),
            blocked,
        })
    }

    /// The cost of the messages that have gone whole since the last call; forgets them.
    fn settle(&mut self) -> u64 {
        let mut cost = 0;
        while let Some(&(end, its)) = self.ends.front()
            && end <= self.sent
        {
            cost += its;
            self.ends.pop_front();
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES);
            self.sent = 0;
        } else if self.sent > KEEP_BYTES.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.sent);
            for (end, _) in &mut self.ends {
                *end -= self.sent;
            }
            self.sent = 0;
        }
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that takes these many bytes, one number a call, then none.
    fn kernel(takes: &[usize], got: &mut Vec<u8>) -> impl FnMut(&[u8]) -> io::Result<usize> {
        let mut takes = takes.to_vec();
        move |bytes| {
            if takes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = takes.remove(0).min(bytes.len());
            got.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn outbox(messages: &[(&str, u64)]) -> Outbox {
        let mut outbox = Outbox::default();
        for (text, cost) in messages {
            outbox.push(*cost, |bytes| bytes.extend_from_slice(text.as_bytes()));
        }
        outbox
    }

    #[test]
    fn a_cost_is_given_back_when_its_message_has_gone_whole() {
        let mut got = Vec::new();
        let mut outbox = outbox(&[("first\n", 100), ("second\n", 20)]);
        let first = outbox.flush(kernel(&[8], &mut got)).expect("taken");
        assert_eq!(
            first,
            Flushed {
                cost: 100,
                blocked: true
            }
        );
        let second = outbox.flush(kernel(&[99], &mut got)).expect("taken");
        assert_eq!(
            second,
            Flushed {
                cost: 20,
                blocked: false
            }
        );
        assert_eq!(got, b"first\nsecond\n");
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_message_without_bytes_gives_its_cost_back_too() {
        let mut outbox = outbox(&[("", 96)]);
        let flushed = outbox.flush(|_| panic!("nothing to write")).expect("taken");
        assert_eq!(
            flushed,
            Flushed {
                cost: 96,
                blocked: false
            }
        );
    }

    #[test]
    fn a_large_backlog_is_moved_without_losing_a_byte() {
        let mut got = Vec::new();
        let line = "x".repeat(KEEP_BYTES / 2 + 7);
        let mut outbox = outbox(&[(&line, 1), (&line, 1), (&line, 1), ("end", 1)]);
        let first = outbox
            .flush(kernel(&[KEEP_BYTES + 20], &mut got))
            .expect("taken");
        assert_eq!(
            first,
            Flushed {
                cost: 2,
                blocked: true
            }
        );
        outbox.push(1, |bytes| bytes.extend_from_slice(b"!"));
        let rest = outbox
            .flush(kernel(&[usize::MAX], &mut got))
            .expect("taken");
        assert_eq!(
            rest,
            Flushed {
                cost: 3,
                blocked: false
            }
        );
        assert_eq!(
            got,
            [line.as_bytes(), line.as_bytes(), line.as_bytes(), b"end!"].concat()
        );
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error() {
        let mut outbox = outbox(&[("late\n", 1)]);
        let gone = outbox.flush(|_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(gone.expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
