//! How far a Lua worker is: loading, serving, leaving. Decides nothing about requests.

use std::time::{Duration, Instant};

use crate::lua::errors::Failure;

/// The script's top level.
#[derive(Clone, Debug)]
pub(super) enum Top {
    Running,
    Returned,
    Failed(Failure),
    /// It never began: its file does not hold what it was to hold.
    Outdated,
}

/// How far the worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Loading,
    Serving,
    /// Finishes what runs, until `until`; then it goes with `code`.
    Leaving {
        until: Instant,
        code: u8,
    },
}

impl Stage {
    /// An earlier end stays; a second order to leave can only shorten the time.
    pub(super) fn leave(&mut self, now: Instant, grace: Duration, code: u8) -> bool {
        let until = now + grace;
        match self {
            Stage::Loading | Stage::Serving => {
                *self = Stage::Leaving { until, code };
                true
            }
            Stage::Leaving { until: earlier, .. } => {
                *earlier = until.min(*earlier);
                false
            }
        }
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Stage::Leaving { until, .. } => Some(until),
            Stage::Loading | Stage::Serving => None,
        }
    }
}
