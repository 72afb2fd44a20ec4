//! Errors that a host call raises because the world said no: a refused connection, a missing file.
//!
//! They are kept apart from misuse of the API and from bugs in the script, so that a health check can tell
//! "the service is down" (critical) from "the check is broken" (unknown).

use std::time::Duration;

use super::errors::{ApiError, FAILURE_CODE};

/// An error to raise in Lua. The message is one sentence for people, with the target in it.
#[must_use]
pub fn failure(message: impl Into<String>) -> mlua::Error {
    ApiError::new(FAILURE_CODE, message).into()
}

/// A time limit for people: `10 s`, `0.25 s`.
#[must_use]
pub(super) fn shown(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    let places = if seconds < 1.0 { 3 } else { 1 };
    let text = format!("{seconds:.places$}");
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}
