//! What every integration test stands on: a [`Home`] of its own, a [`Daemon`] in it, raw [`Line`] clients,
//! command lines with a deadline, and a look for leftovers when the home is dropped.
//!
//! Nothing here knows moonkeep's own client: what it says of the wire, it says with plain sockets.

mod daemon;
mod home;
mod leftovers;
mod line;
mod program;
pub(crate) mod worker;

use std::time::{Duration, Instant};

pub(crate) use daemon::{Daemon, resident, ticks};
pub(crate) use home::{BINARY, Home};
pub(crate) use leftovers::{end as end_processes_of, kill};
pub(crate) use line::Line;
pub(crate) use program::{Finished, Program};

/// How long anything may take in a test before it counts as hung. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` gives a value.
///
/// # Panics
/// After [`PATIENCE`]; says what was awaited.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_within(PATIENCE, what, look)
}

/// As [`wait_for`], with a limit of its own.
#[track_caller]
pub(crate) fn wait_for_within<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            begun.elapsed() < limit,
            "waited {limit:?} in vain for: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `holds` is true.
///
/// # Panics
/// After [`PATIENCE`]; says what was awaited.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// As [`wait_until`], with a limit of its own.
#[track_caller]
pub(crate) fn wait_until_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    wait_for_within(limit, what, || holds().then_some(()));
}

/// Whether the long versions of tests were asked for (`MOONKEEP_LONG=1`).
pub(crate) fn long() -> bool {
    std::env::var_os("MOONKEEP_LONG").is_some_and(|value| value == "1")
}

/// `usual` rounds, or `many` with `MOONKEEP_LONG=1`.
pub(crate) fn rounds(usual: usize, many: usize) -> usize {
    if long() { many } else { usual }
}

/// Whether a program is installed; says on stderr that a test is skipped if not.
pub(crate) fn installed(program: &str, test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        eprintln!("{test}: skipped, {program} is not installed");
    }
    found
}
