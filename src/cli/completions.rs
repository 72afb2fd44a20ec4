//! `moonkeep completions SHELL`: a script that lets a shell complete commands and options.

use clap::CommandFactory;
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example: moonkeep completions bash > ~/.local/share/bash-completion/completions/moonkeep"
)]
pub(crate) struct Args {
    /// The shell to write for
    shell: Shell,
}

pub(crate) fn run(output: &Output, args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = super::Typed::command();
    clap_complete::generate(args.shell, &mut command, "moonkeep", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Ok)
}
