//! How a command ends: exit codes, and the failure that leads to one.

use std::fmt;
use std::process::ExitCode;

use crate::proto::messages::{ErrorCode, Refusal};

/// The exit codes of the command line. `check` uses 0 to 3 as states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    /// The command failed.
    Failed,
    /// What was typed cannot be understood.
    Usage,
    /// A `check` of this state: 0 ok, 1 warning, 2 critical, 3 unknown.
    State(u8),
    /// What a script that ran in the foreground ended with.
    Script(u8),
    /// `check` was given a name that there is not.
    CheckUsage,
    /// No daemon, or none that answers.
    Unavailable,
    /// A fault of moonkeep itself.
    Internal,
    /// Refused after all retries; nothing ran.
    Busy,
    /// It may have run.
    Unknown,
    TimedOut,
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::State(code) | Exit::Script(code) => code,
            Exit::CheckUsage => 64,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::Busy => 75,
            Exit::Unknown => 76,
            Exit::TimedOut => 124,
            Exit::Interrupted => 130,
        }
    }

    /// How a command ends that the daemon has refused.
    pub(crate) fn of(code: ErrorCode) -> Exit {
        match code {
            ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::NotReady => Exit::Busy,
            ErrorCode::Timeout => Exit::TimedOut,
            ErrorCode::OutcomeUnknown => Exit::Unknown,
            ErrorCode::ShuttingDown => Exit::Unavailable,
            ErrorCode::Internal => Exit::Internal,
            ErrorCode::BadRequest
            | ErrorCode::UnknownCommand
            | ErrorCode::UnknownScript
            | ErrorCode::UnknownHandler
            | ErrorCode::Cancelled
            | ErrorCode::IdConflict
            | ErrorCode::ExpiredId
            | ErrorCode::ScriptError
            | ErrorCode::TooLarge
            | ErrorCode::Denied => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command ends early. Printed once, by `main`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What happened: why. What to do next. Empty: there is nothing more to say.
    pub(crate) message: String,
    /// More lines, shown with `-v`.
    pub(crate) detail: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
            detail: None,
        }
    }

    /// Ends without a word: it has been said already, or nobody reads any more.
    pub(crate) fn silent(exit: Exit) -> Self {
        Failure::new(exit, "")
    }

    /// What the daemon, or a script, answered instead of a result.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        let mut message = format!("{}: {}", refusal.code, refusal.message);
        if let Some(wait) = refusal.retry_after {
            message.push_str(&format!(" (try again after {} s)", wait.as_secs_f64()));
        }
        if let Some(data) = &refusal.data {
            message.push_str(&format!("\ndata: {}", data.as_str()));
        }
        Failure {
            exit: Exit::of(refusal.code),
            message,
            detail: refusal.traceback.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::new(Exit::Failed, format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_documentation() {
        let codes = [
            (ErrorCode::ScriptError, 1),
            (ErrorCode::UnknownScript, 1),
            (ErrorCode::Busy, 75),
            (ErrorCode::RateLimited, 75),
            (ErrorCode::OutcomeUnknown, 76),
            (ErrorCode::Timeout, 124),
            (ErrorCode::Internal, 70),
            (ErrorCode::ShuttingDown, 69),
        ];
        for (code, expected) in codes {
            assert_eq!(Exit::of(code).code(), expected, "{code}");
        }
        assert_eq!(Exit::Usage.code(), 2);
        assert_eq!(Exit::Interrupted.code(), 130);
    }
}
