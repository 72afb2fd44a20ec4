//! `moonkeep run FILE [ARGS]`: one script in the foreground, without a daemon.

use std::path::PathBuf;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::worker::foreground;

/// Runs a Lua file until it ends. print and io.write go to standard output, the log to standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The Lua file
    file: PathBuf,
    /// What the script gets as `...` and `arg`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Ends the process with the script's own exit code.
pub(crate) fn run(globals: &Globals, _output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    match foreground::run(home.root(), &args.file, &args.args)? {
        0 => Ok(Exit::Ok),
        code => Ok(Exit::Script(code)),
    }
}
