//! What the journal asks the system about time: now, this boot, when it began.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// The kernel's name for the time since the machine was started. `None` where `/proc` is missing: nothing is
/// concluded about a power loss then.
pub(super) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// When the machine was started, in milliseconds since 1970; now, if the kernel does not say.
pub(super) fn booted_unix_ms() -> u64 {
    let seconds = fs::read_to_string("/proc/stat").ok().and_then(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|seconds| seconds.trim().parse::<u64>().ok())
    });
    seconds.map_or_else(unix_ms, |seconds| seconds.saturating_mul(1_000))
}
