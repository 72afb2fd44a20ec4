//! `moonkeep start`, `stop`, `restart`, `reload`: one script, or all.

use crate::proto::ids::ScriptName;
use crate::proto::messages::{Command, Payload, Verb};

use super::Globals;
use super::answers;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The script [default: all]
    name: Option<String>,
}

pub(crate) fn run(
    globals: &Globals,
    output: &Output,
    verb: Verb,
    args: &Args,
) -> Result<Exit, Failure> {
    let script = match &args.name {
        Some(name) => Some(ScriptName::new(name).map_err(|why| Failure::new(Exit::Usage, why))?),
        None => None,
    };
    let ask = Ask::now(Command::Control { verb, script }, globals.timeout);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let result = talk.result(ask).await?;
        show(output, verb, args.name.as_deref(), &result)
    })
}

/// Prints the answer.
pub(crate) fn show(
    output: &Output,
    verb: Verb,
    name: Option<&str>,
    result: &Payload,
) -> Result<Exit, Failure> {
    if output.json {
        output.json(&answers::raw(result))?;
    } else if let Some(text) = answers::text_of(result) {
        output.data(&text)?;
    } else {
        let done = match verb {
            Verb::Start => "started",
            Verb::Stop => "stopped",
            Verb::Restart => "restarted",
            Verb::Reload => "reloaded",
        };
        output.note(&format!("{} {done}", name.unwrap_or("all scripts")));
    }
    Ok(Exit::Ok)
}
