//! `moonkeep downtime NAME 2h|until-ok|off`: no alerts of a check for a time.

use crate::options::value::duration_text;
use crate::proto::messages::{Command, Quiet};

use super::Globals;
use super::checks::{explained, told};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The check goes on running; only alerts are left out. `until-ok` acknowledges a problem: alerts again once it was ok.\nExample: moonkeep downtime web 2h --why \"new disk\""
)]
pub(crate) struct Args {
    /// The check
    name: String,
    /// For how long: 30m, 2h, 1d; until-ok; off
    #[arg(value_name = "TIME|until-ok|off", value_parser = quiet)]
    length: Quiet,
    /// What whoever looks should know
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

fn quiet(text: &str) -> Result<Quiet, String> {
    match text {
        "until-ok" => Ok(Quiet::UntilOk),
        "off" => Ok(Quiet::Off),
        time => duration_text(time)
            .map(Quiet::For)
            .map_err(|_| format!("`{time}` is neither a time such as 2h, nor until-ok, nor off")),
    }
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let command = Command::Downtime {
        check: args.name.clone(),
        quiet: args.length,
        why: args.why.clone(),
    };
    let ask = Ask::now(command, globals.timeout);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let result = talk.result(ask).await;
        let words = std::slice::from_ref(&args.name);
        told(
            output,
            &result.map_err(|failure| explained(failure, talk, words))?,
        )
    })
}
