//! When a script that died is started again.
//!
//! At once the first time, then exponentially later with jitter up to a cap; anew after a good run.
//! Too many restarts in a window, or in a row without a good run, lead to `failed`, with slow retries. A save or a manual start resets.

use std::collections::VecDeque;
use std::time::Duration;

use super::alphabet::{Exit, Moment};
use crate::limits;
use crate::options::RestartPolicy;
use crate::random::Random;

/// What follows an unexpected exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Now,
    After(Duration),
    /// Given up for a while: a slow retry follows.
    Fail,
    /// The policy wants no restart.
    Stop,
}

/// Invariant: `recent` holds only restarts within the window, at most the intensity limit of them.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Moment>,
    /// Restarts in a row without a good run between them.
    in_a_row: u32,
    total: u64,
}

impl Restarts {
    /// A save or a manual start: as if it had never died.
    pub(super) fn reset(&mut self) {
        self.recent.clear();
        self.in_a_row = 0;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn judge(
        &mut self,
        policy: RestartPolicy,
        exit: Option<Exit>,
        ran: Duration,
        now: Moment,
        random: &mut Random,
    ) -> Verdict {
        let well = exit == Some(Exit::Code(0));
        let wanted = match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => !well,
            RestartPolicy::Never => false,
        };
        if !wanted {
            return Verdict::Stop;
        }
        if ran >= limits::BACKOFF_RESET {
            self.in_a_row = 0;
        }
        while self
            .recent
            .front()
            .is_some_and(|at| now.since(*at) >= limits::INTENSITY_WINDOW)
        {
            self.recent.pop_front();
        }
        let row = usize::try_from(self.in_a_row).unwrap_or(usize::MAX);
        if self.recent.len().max(row) >= limits::INTENSITY {
            self.reset();
            return Verdict::Fail;
        }
        self.recent.push_back(now);
        self.total += 1;
        self.in_a_row += 1;
        match self.in_a_row {
            1 => Verdict::Now,
            row => Verdict::After(random.jitter(delay(row - 2))),
        }
    }
}

/// The delay before jitter of the restart after `earlier` delayed ones.
fn delay(earlier: u32) -> Duration {
    let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
    limits::BACKOFF_FIRST
        .checked_mul(factor)
        .map_or(limits::BACKOFF_MOST, |delay| {
            delay.min(limits::BACKOFF_MOST)
        })
}
