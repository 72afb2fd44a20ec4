//! The texts of the daemon's refusals: what happened, why, what to do next. One line each.

use std::time::Duration;

use crate::limits;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{ErrorCode, Refusal};

pub(super) fn shutting_down() -> Refusal {
    Refusal::new(
        ErrorCode::ShuttingDown,
        "the daemon is shutting down: this did not run; ask again when it is up (moonkeep up -d)",
    )
}

pub(super) fn too_many_sessions() -> Refusal {
    let mut refusal = Refusal::new(
        ErrorCode::Busy,
        format!(
            "{} clients are connected, which is the limit; try again, or close idle ones",
            limits::SESSIONS
        ),
    );
    refusal.retry_after = Some(limits::BUSY_RETRY);
    refusal
}

pub(super) fn may_not_control(script: &ScriptName) -> Refusal {
    Refusal::new(
        ErrorCode::Denied,
        format!(
            "denied: a process of the script {script} may not start, stop, reload or evaluate scripts, nor end the daemon; if it should, write below [script.{script}] in moonkeep.toml: allow_control = true"
        ),
    )
}

pub(super) fn unknown_script<'a>(
    name: &ScriptName,
    known: impl Iterator<Item = &'a str>,
) -> Refusal {
    let hint =
        did_you_mean(name.as_str(), known).unwrap_or_else(|| "moonkeep list shows all".to_owned());
    Refusal::new(
        ErrorCode::UnknownScript,
        format!("no script is named {name:?}: {hint}", name = name.as_str()),
    )
}

pub(super) fn unknown_handler<'a>(
    script: &ScriptName,
    handler: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Refusal {
    let mut names = known.clone().take(20).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        names = "none".into();
    }
    let hint = did_you_mean(handler, known).map_or_else(String::new, |near| format!("{near}; "));
    Refusal::new(
        ErrorCode::UnknownHandler,
        format!("script {script} has no handler {handler:?}: {hint}it has: {names}"),
    )
}

pub(super) fn not_ready(script: &ScriptName, state: &str, error: Option<&str>) -> Refusal {
    let why = error.map_or_else(String::new, |error| {
        format!(" (last error: {})", one_line(error))
    });
    Refusal::new(
        ErrorCode::NotReady,
        format!(
            "script {script} is {state}{why}; this did not run. Start it: moonkeep start {script}"
        ),
    )
}

pub(super) fn queue_full(script: &ScriptName, items: usize, bytes: usize) -> Refusal {
    let mut refusal = Refusal::new(
        ErrorCode::Busy,
        format!(
            "script {script} has {items} requests ({bytes} bytes) waiting, which is its limit; this did not run, try again a little later"
        ),
    );
    refusal.retry_after = Some(limits::BUSY_RETRY);
    refusal
}

pub(super) fn rate_limited(script: &ScriptName, wait: Duration) -> Refusal {
    let mut refusal = Refusal::new(
        ErrorCode::RateLimited,
        format!(
            "script {script} has a rate limit, and its next free turn is {:.3} s away, beyond this request's deadline; this did not run, try again then",
            wait.as_secs_f64()
        ),
    );
    refusal.retry_after = Some(wait);
    refusal
}

pub(super) fn id_conflict(id: &RequestId) -> Refusal {
    Refusal::new(
        ErrorCode::IdConflict,
        format!(
            "request id {id} was already used for another command; use a new id for a new command"
        ),
    )
}

pub(super) fn expired_id(id: &RequestId) -> Refusal {
    Refusal::new(
        ErrorCode::ExpiredId,
        format!(
            "request id {id} is older than the answers that are kept: whether it ran is no longer known, so it is not run; use a new id to run the command"
        ),
    )
}

pub(super) fn not_retained(bytes: usize) -> Refusal {
    Refusal::new(
        ErrorCode::TooLarge,
        format!(
            "result not retained: the command is done, but its result of {bytes} bytes is over the {} bytes that are kept for repeats; use a new id to run it again",
            limits::STORED_RESULT_BYTES
        ),
    )
}

/// `error`: why the script does not serve, where it does not.
pub(super) fn timeout_queued(script: &ScriptName, error: Option<&str>) -> Refusal {
    let why = error
        .and_then(|error| error.lines().next())
        .map_or_else(String::new, |error| format!(" ({error})"));
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "the time limit passed while the request waited for script {script}{why}: it never ran; give it more time, or see `moonkeep status`"
        ),
    )
}

pub(super) fn timeout_running(script: &ScriptName, still: bool) -> Refusal {
    let what = if still {
        "it still runs for others who asked the same"
    } else {
        "it was stopped"
    };
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "the time limit passed while script {script} ran the request: {what}; give it more time with a longer timeout"
        ),
    )
}

pub(super) fn cancelled(ran: bool) -> Refusal {
    let message = if ran {
        "cancelled while it ran: it was asked to stop and may have done a part; run it again under a new id"
    } else {
        "cancelled: it never ran; run it again under a new id"
    };
    Refusal::new(ErrorCode::Cancelled, message)
}

pub(super) fn subscription_ended() -> Refusal {
    Refusal::new(
        ErrorCode::Cancelled,
        "cancelled: the subscription has ended; ask again to have another",
    )
}

pub(super) fn outcome_unknown(script: &ScriptName, cause: &str) -> Refusal {
    Refusal::new(
        ErrorCode::OutcomeUnknown,
        format!(
            "outcome unknown: the command may have run (the worker of {script} {cause}). It will not be run again under this id; to run it again use a new id"
        ),
    )
}

pub(super) fn gave_up(script: &ScriptName, starts: u32, cause: &str) -> Refusal {
    Refusal::new(
        ErrorCode::ScriptError,
        format!(
            "failed: the request was started {starts} times and each time its worker ended (the last one {cause}); see `moonkeep logs {script}`"
        ),
    )
}

/// `did you mean "greeter"?`, if something known is near.
fn did_you_mean<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, name)| is_near(wanted, name, *distance))
        .min()
        .map(|(_, name)| format!("did you mean {name:?}?"))
}

/// A few slips, or a name that was not typed to its end.
fn is_near(wanted: &str, name: &str, distance: usize) -> bool {
    let slips = 1 + wanted.len().max(name.len()) / 4;
    let begun = wanted.len() >= 2 && name.starts_with(wanted);
    distance <= slips || begun
}

/// The first line of a longer text.
pub(super) fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slips_and_names_begun_are_near() {
        let meant = |wanted| did_you_mean(wanted, ["greeter", "clock"].into_iter());
        for wanted in ["greter", "gree", "gr", "greeetr", "greet"] {
            assert_eq!(
                meant(wanted).as_deref(),
                Some("did you mean \"greeter\"?"),
                "{wanted}"
            );
        }
        for wanted in ["", "g", "weather", "clockwork"] {
            assert_eq!(meant(wanted), None, "{wanted}");
        }
    }
}
