//! A new journal in the place of a damaged one, which is set aside.

use std::path::Path;

use super::sqlite::{Found, OpenFault, Sqlite};
use super::{clock, files};

/// What is there now, and what to say of it: every id from before is refused.
///
/// # Errors
/// If the damaged file cannot be moved away, or no new one be made.
pub(super) fn begin_anew(
    path: &Path,
    error: &anyhow::Error,
) -> anyhow::Result<(Sqlite, Found, String)> {
    let now = clock::unix_ms();
    let aside = files::set_aside(path, now)?;
    let (store, mut found) = match Sqlite::open(path) {
        Ok(opened) => opened,
        Err(OpenFault::Damaged(error) | OpenFault::Refused(error)) => return Err(error),
    };
    store.raise_low_water(now)?;
    found.low_water = Some(now);
    let warning = format!(
        "the journal was damaged ({error:#}) and is set aside as {}; a new one was begun, and every id from before now is refused as expired, never run again",
        aside.display()
    );
    Ok((store, found, warning))
}
