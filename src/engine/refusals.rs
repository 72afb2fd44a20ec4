//! The texts of the daemon's refusals: what happened, why, what to do next. One line each.

use std::time::Duration;

use super::records::{FaultKind, JournalFault};
use crate::limits;
use crate::nearest::nearest;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{ErrorCode, Json, Refusal};

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

pub(super) fn may_not_control(script: Option<&ScriptName>) -> Refusal {
    let message = match script {
        Some(script) => format!(
            "a process of the script {script} may not start, stop, reload or evaluate scripts, silence checks, nor end the daemon; if it should, write below [script.{script}] in moonkeep.toml: allow_control = true"
        ),
        None => "the process that asked is a script's and nobody knows whose any more, or it has ended; keep it below its script, and wait for the answer".to_owned(),
    };
    Refusal::new(ErrorCode::Denied, message)
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

/// It shared a run with others that asked the same, and the new code says that it may not.
pub(super) fn shared_no_more(script: &ScriptName) -> Refusal {
    let mut refusal = Refusal::new(
        ErrorCode::Busy,
        format!(
            "script {script} was reloaded, and the handler is no query any more: this did not run, ask again"
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

pub(super) fn id_before_boot(id: &RequestId) -> Refusal {
    Refusal::new(
        ErrorCode::ExpiredId,
        format!(
            "request id {id} is from before the machine's last start, and what was not on the disk then is lost: whether it ran is not known, so it is not run; use a new id to run the command, and set durability = \"power\" for scripts that must survive a power loss"
        ),
    )
}

/// The journal takes nothing: what it would have to know is not admitted.
pub(super) fn journal_busy(fault: &JournalFault) -> Refusal {
    let reason = match fault.kind {
        FaultKind::DiskFull => "disk-full",
        FaultKind::Failed => "journal",
    };
    let mut refusal = Refusal::new(
        ErrorCode::Busy,
        format!(
            "the journal takes no requests now ({}); this did not run, try again a little later; queries go on",
            one_line(&fault.text)
        ),
    );
    refusal.retry_after = Some(limits::JOURNAL_RETRY);
    refusal.data = Some(Json::of(&serde_json::json!({ "reason": reason })));
    refusal
}

/// It has ended, and the journal has not taken its end in time.
pub(super) fn unrecorded(script: &ScriptName, fault: Option<&JournalFault>) -> Refusal {
    let why = fault.map_or("the journal has not taken it yet", |fault| {
        one_line(&fault.text)
    });
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "script {script} is done with the request, but its outcome could not be recorded ({why}); ask again with the same id to hear it"
        ),
    )
}

/// An earlier daemon's worker may still run it.
pub(super) fn timeout_elsewhere(script: &ScriptName) -> Refusal {
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "the time limit passed while a worker of {script} that an earlier daemon started has the request; ask again with the same id to hear its outcome"
        ),
    )
}

/// The daemon leaves, and the outcome of what was started is not recorded yet.
pub(super) fn leaves_unrecorded() -> Refusal {
    Refusal::new(
        ErrorCode::ShuttingDown,
        "the daemon leaves before the outcome could be recorded: the request may have run; ask again with the same id when the daemon is up (moonkeep up -d)",
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

/// One of several who wait for it has no time left; it may run yet.
pub(super) fn timeout_waiting(script: &ScriptName) -> Refusal {
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "the time limit passed while the request waited for script {script}, and it still waits for others who asked the same; give it more time, or ask again with the same id"
        ),
    )
}

/// It ran, its worker died, and it waited for another turn.
pub(super) fn timeout_again(script: &ScriptName, starts: u32) -> Refusal {
    Refusal::new(
        ErrorCode::Timeout,
        format!(
            "the time limit passed while the request waited to run again: its worker died after start {starts}, and a part of it may have happened; give it more time, or see `moonkeep logs {script}`"
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

/// Stopped because somebody wished it, by its own worker: it failed, and may have had an effect.
pub(super) fn stopped(script: &ScriptName) -> Refusal {
    Refusal::new(
        ErrorCode::ScriptError,
        format!(
            "stopped at its asker's wish while script {script} ran it: a part of it may have happened; look, and use a new id to run it again"
        ),
    )
}

/// `cause`: `worker died: signal 9`.
pub(super) fn outcome_unknown(script: &ScriptName, cause: &str, id: Option<&RequestId>) -> Refusal {
    let under = id.map_or_else(String::new, |id| format!(" under id {id}"));
    Refusal::new(
        ErrorCode::OutcomeUnknown,
        format!(
            "outcome unknown: the command may have run (script {script}, {cause}). It will not be run again{under}. To run it again use a new id."
        ),
    )
}

pub(super) fn gave_up(script: &ScriptName, starts: u32, cause: &str) -> Refusal {
    Refusal::new(
        ErrorCode::ScriptError,
        format!(
            "failed: the request was started {starts} times and each time its worker ended (the last time: {cause}); see `moonkeep logs {script}`"
        ),
    )
}

/// `did you mean "greeter"?`, if something known is near.
fn did_you_mean<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(wanted, known).map(|name| format!("did you mean {name:?}?"))
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
