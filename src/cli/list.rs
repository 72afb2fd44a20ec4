//! `moonkeep list`: the scripts and what they can be asked.

use crate::proto::messages::{Command, Payload};

use super::Globals;
use super::answers::{self, read};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::report::{self, Script, Scripts, paint_of};
use super::table::{self, Cell};
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(globals: &Globals, output: &Output, _args: &Args) -> Result<Exit, Failure> {
    let ask = Ask::now(Command::List, globals.timeout);
    converse(globals, output, Start::Never, async |talk| {
        let result = talk.result(ask).await?;
        show(output, &result)
    })
}

/// Prints the answer to `list`.
pub(crate) fn show(output: &Output, result: &Payload) -> Result<Exit, Failure> {
    if output.json {
        output.json(&answers::raw(result))?;
        return Ok(Exit::Ok);
    }
    let Scripts { scripts } = read(result)?;
    if scripts.is_empty() {
        output.note("No scripts yet. Put a .lua file or an executable into scripts/.");
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<Cell>> = scripts.iter().map(row).collect();
    for line in table::lines(output, &["NAME", "STATE", "HANDLERS"], &rows) {
        output.line(&line)?;
    }
    for line in report::errors(output, &scripts) {
        output.line(&line)?;
    }
    Ok(Exit::Ok)
}

fn row(script: &Script) -> Vec<Cell> {
    let handlers = match &script.handlers {
        // An executable takes any name.
        None => "(any)".to_owned(),
        Some(handlers) => {
            let names: Vec<String> = handlers
                .iter()
                .map(|handler| super::output::escape(&handler.name, false).into_owned())
                .collect();
            names.join(" ")
        }
    };
    vec![
        Cell::new(&script.name),
        Cell::new(&script.state).painted(paint_of(&script.state)),
        Cell::new(handlers),
    ]
}
