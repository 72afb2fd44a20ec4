//! `moonkeep call SCRIPT HANDLER [key=value ...]`

use std::io::Read;

use crate::limits;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{Call, Command, Encoding, Json};

use super::Globals;
use super::answers::Shower;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::params;
use super::talk::{self, Ask, Patience, Start, converse};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --timeout or --id it keeps trying to reach a daemon until its time is over; without, for 2 s.\nExample: moonkeep call greeter greet name=Ada count:=3"
)]
pub(crate) struct Args {
    /// The script
    script: String,
    /// Its handler
    handler: String,
    /// key=value is a text, key:=JSON any value
    #[arg(value_name = "KEY=VALUE")]
    params: Vec<String>,
    /// The parameters as one JSON document; `-` reads it from stdin
    #[arg(
        long,
        value_name = "JSON",
        conflicts_with = "params",
        allow_hyphen_values = true
    )]
    json_body: Option<String>,
    /// The request's id; a UUIDv7 makes the call safe to repeat: it never runs twice
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let usage = |why| Failure::new(Exit::Usage, why);
    let script = ScriptName::parse(&args.script).map_err(usage)?;
    let params = parameters(args)?;
    let id = match &args.id {
        Some(id) => RequestId::new(id).map_err(usage)?,
        None => talk::fresh_id(),
    };
    let command = Command::Call(Call {
        script,
        handler: args.handler.as_str().into(),
        params: Some(params),
        timeout: globals.timeout,
    });
    let waits = globals.timeout.is_some() || args.id.is_some();
    let ask = Ask {
        command,
        id: id.clone(),
        timeout: globals.timeout,
        patience: if waits {
            Patience::Timeout
        } else {
            Patience::For(limits::CALL_WITHOUT_DAEMON)
        },
        encoding: Encoding::Json,
    };
    converse(globals, output, Start::IfConfigured, async |talk| {
        let mut shower = Shower::new(output, id);
        let end = talk.ask(ask, &mut |body| shower.piece(body)).await?;
        end.exit(shower.end(&end.body))
    })
}

fn parameters(args: &Args) -> Result<Json, Failure> {
    let usage = |why| Failure::new(Exit::Usage, why);
    match args.json_body.as_deref() {
        None => params::object(&args.params).map_err(usage),
        Some("-") => params::body(&read_stdin()?).map_err(usage),
        Some(text) => params::body(text).map_err(usage),
    }
}

fn read_stdin() -> Result<String, Failure> {
    // As bytes: the limit may cut a character, which is not what is wrong.
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(limits::LINE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read stdin: {error}")))?;
    if bytes.len() > limits::LINE_BYTES {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "the parameters on stdin are too large: a request has at most {} bytes. Put the data into a file and send its name",
                limits::LINE_BYTES
            ),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("stdin is not UTF-8: {error}. Send JSON"),
        )
    })
}
