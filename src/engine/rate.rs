//! A token bucket, charged when a request is dispatched, never when it is queued.
//!
//! It holds one moment instead of a count of tokens: nothing is lost or won to rounding.

use std::time::Duration;

use super::alphabet::Moment;
use crate::options::Rate;

#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When the bucket was, or will be, empty, in microseconds; before the daemon's start for a full one.
    empty_at: i128,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Moment) -> Self {
        let mut bucket = Bucket { rate, empty_at: 0 };
        bucket.empty_at = i128::from(now.0) - bucket.depth();
        bucket
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// From when on `tokens` can be taken, one after the other.
    pub(super) fn ready_at(&self, tokens: usize) -> Moment {
        let at = self.empty_at + self.token() * tokens as i128;
        Moment(u64::try_from(at.max(0)).unwrap_or(u64::MAX))
    }

    /// Takes one token, or says from when on there is one.
    pub(super) fn take(&mut self, now: Moment) -> Result<(), Moment> {
        let ready = self.ready_at(1);
        if ready > now {
            return Err(ready);
        }
        let fullest = i128::from(now.0) - self.depth();
        self.empty_at = self.empty_at.max(fullest) + self.token();
        Ok(())
    }

    /// The time in which one token comes, rounded up: the rate is never exceeded.
    fn token(&self) -> i128 {
        let burst = i128::from(self.rate.burst.max(1));
        ((micros(self.rate.period) + burst - 1) / burst).max(1)
    }

    fn depth(&self) -> i128 {
        self.token() * i128::from(self.rate.burst.max(1))
    }
}

fn micros(time: Duration) -> i128 {
    i128::try_from(time.as_micros()).unwrap_or(i128::MAX / 4)
}
