//! The time of day and the zone's offset, as the monitor hears them.

use jiff::Zoned;

use crate::engine::alphabet::Input;
use crate::monitor::alphabet as monitor;

/// The clock now. Both may have jumped since the last time.
pub(super) fn now() -> Input {
    let now = Zoned::now();
    Input::Monitor(monitor::Input::Clock {
        // Before 1970 no clock is right.
        unix_ms: u64::try_from(now.timestamp().as_millisecond()).unwrap_or(0),
        offset_seconds: now.offset().seconds(),
    })
}
