//! `moonkeep status`: the daemon and its scripts.

use crate::proto::messages::{Command, Payload};

use super::Globals;
use super::answers;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::report::Status;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(globals: &Globals, output: &Output, _args: &Args) -> Result<Exit, Failure> {
    let ask = Ask::now(Command::Status, globals.timeout);
    converse(globals, output, Start::Never, async |talk| {
        let result = talk.result(ask).await?;
        show(output, &result)
    })
}

/// Prints the answer to `status`.
pub(crate) fn show(output: &Output, result: &Payload) -> Result<Exit, Failure> {
    if output.json {
        output.json(&answers::raw(result))?;
        return Ok(Exit::Ok);
    }
    let status: Status = answers::read(result)?;
    output.line(&status.lines(output).join("\n"))?;
    Ok(Exit::Ok)
}
