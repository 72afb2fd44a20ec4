//! Delays that grow, with jitter, so that many clients do not come back at the same instant.

use std::time::Duration;

/// Doubles from `first` to `most`; each delay is drawn from the upper half of its bound.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// The delay before attempt number `attempt`, counted from 0.
    #[must_use]
    pub fn delay(self, attempt: u32, dice: &mut Dice) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let bound = self.first.saturating_mul(factor).min(self.most);
        bound / 2 + (bound / 2).mul_f64(dice.fraction())
    }
}

/// A small seeded source of jitter (splitmix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        f64::from((self.roll() >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //
    #[test]
    fn delays_grow_to_their_bound_and_never_beyond() {
        let backoff = Backoff {
            first: Duration::from_millis(50),
            most: Duration::from_secs(5),
        };
        let mut dice = Dice::new(7);
        for attempt in 0..200 {
            let bound = 50_u64.saturating_mul(1 << attempt.min(20)).min(5_000);
            for _ in 0..20 {
                let delay = backoff.delay(attempt, &mut dice).as_secs_f64() * 1_000.0;
                assert!(delay >= bound as f64 / 2.0 - 0.01 && delay <= bound as f64 + 0.01);
            }
        }
    }
}
