//! `moonkeep worker`: hosts one Lua state, or one executable.

use std::process::ExitCode;

/// The first argument that makes the program a worker.
pub const ROLE: &str = "worker";

/// Runs the worker that argv names, until its script ends or the daemon goes.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
