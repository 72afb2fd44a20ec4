//! `moonkeep events [PATTERN]`: what scripts emit, as it happens, until Ctrl-C.

use crate::proto::messages::{Body, Command};

use super::Globals;
use super::answers;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: `*` stands for any characters
    #[arg(default_value = "*")]
    pattern: String,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let pattern = args.pattern.clone();
    let ask = Ask::now(Command::Events { pattern }, globals.timeout);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let end = talk.ask(ask, &mut |body| show(output, body)).await?;
        end.exit(match &end.body {
            Body::Error(refusal) => Err(Failure::refused(refusal)),
            Body::Ok { .. } | Body::Part(_) | Body::Accepted | Body::Running => Ok(Exit::Ok),
        })
    })
}

/// One event a line.
fn show(output: &Output, body: &Body) -> Result<(), Failure> {
    let Body::Part(payload) = body else {
        return Ok(());
    };
    if output.json {
        return output.json(&answers::raw(payload));
    }
    match answers::text_of(payload) {
        Some(text) => output.data(&text),
        None => Ok(()),
    }
}
