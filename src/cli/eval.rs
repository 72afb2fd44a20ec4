//! `moonkeep eval SCRIPT 'lua'`: runs code inside a script that serves.

use crate::proto::ids::ScriptName;
use crate::proto::messages::Command;

use super::Globals;
use super::answers::Shower;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: moonkeep eval greeter 'return moonkeep.generation'")]
pub(crate) struct Args {
    /// The script
    script: String,
    /// Lua; `return` gives the result
    #[arg(allow_hyphen_values = true)]
    code: String,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let script = ScriptName::parse(&args.script).map_err(|why| Failure::new(Exit::Usage, why))?;
    let ask = Ask::now(
        Command::Eval {
            script,
            code: args.code.clone(),
            timeout: globals.timeout,
        },
        globals.timeout,
    );
    converse(globals, output, Start::IfConfigured, async |talk| {
        let mut shower = Shower::new(output, ask.id.clone());
        let end = talk.ask(ask, &mut |body| shower.piece(body)).await?;
        end.exit(shower.end(&end.body))
    })
}
