//! The command line: one file a command; `output.rs` alone prints.

use std::process::ExitCode;

/// Runs what was typed.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
