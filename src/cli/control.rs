//! `moonkeep start`, `stop`, `restart`, `reload`: one script, or all.

use crate::proto::ids::ScriptName;
use crate::proto::messages::{Command, Payload, Verb};

use super::Globals;
use super::answers::{self, read};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::report::{Scripts, paint_of};
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
        Some(name) => Some(ScriptName::parse(name).map_err(|why| Failure::new(Exit::Usage, why))?),
        None => None,
    };
    let ask = Ask::now(Command::Control { verb, script }, globals.timeout);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let result = talk.result(ask).await?;
        show(output, verb, &result)
    })
}

/// Prints the answer: each script as it is now.
pub(crate) fn show(output: &Output, verb: Verb, result: &Payload) -> Result<Exit, Failure> {
    if output.json {
        output.json(&answers::raw(result))?;
        return Ok(Exit::Ok);
    }
    let Scripts { scripts } = read(result)?;
    if scripts.is_empty() {
        output.note(&format!("There is no script to {}.", verb.as_str()));
    }
    for script in &scripts {
        let state = output.paint(paint_of(&script.state), &script.state);
        output.line(&format!(
            "{} {state} (generation {})",
            script.name, script.generation
        ))?;
    }
    Ok(Exit::Ok)
}
