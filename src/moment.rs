//! Time as the pure machines know it: they are handed it, and read no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Monotonic time since the daemon's start, in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub u64);

impl Moment {
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Moment(
            self.0
                .saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The next multiple of `step`, or this if it is one.
    #[must_use]
    pub fn rounded_up(self, step: Duration) -> Self {
        let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX).max(1);
        Moment(self.0.div_ceil(step).saturating_mul(step))
    }

    /// Zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
