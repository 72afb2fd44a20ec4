//! Errors that a host call raises because the world said no: a refused connection, a missing file.
//!
//! They are kept apart from misuse of the API and from bugs in the script, so that a health check can tell
//! "the service is down" (critical) from "the check is broken" (unknown).

use thiserror::Error;

/// The world said no. The message is one sentence for people, with the target in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Failure {
    message: String,
}

impl Failure {
    /// As an error to raise in Lua.
    #[must_use]
    pub fn raise(message: impl Into<String>) -> mlua::Error {
        mlua::Error::external(Failure {
            message: message.into(),
        })
    }

    /// The failure that an error from Lua carries, if it is one.
    #[must_use]
    pub fn of(error: &mlua::Error) -> Option<&Failure> {
        error.downcast_ref::<Failure>()
    }
}
