//! `moonkeep heartbeat NAME [start|ok|fail|CODE]`: a job says that it lives. Made for cron: quick, quiet, patient with a
//! daemon that is just being restarted.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::daemon;
use crate::limits;
use crate::proto::messages::{Beat, Command, Encoding, Payload};

use super::Globals;
use super::checks::{explained, told};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Patience, Start, Talk, converse, fresh_id};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It keeps trying for 10 s, or for --timeout, while no daemon answers.\nExample: backup.sh; moonkeep heartbeat backup $?\nExit codes: 0 it was heard, 1 there is no such check, 2 usage, 69 no daemon, 124 timed out."
)]
pub(crate) struct Args {
    /// The heartbeat check
    name: String,
    /// start, ok, fail, or the exit code of the job: 0 is ok
    #[arg(value_name = "start|ok|fail|CODE", default_value = "ok", value_parser = beat, allow_negative_numbers = true)]
    beat: Beat,
    /// What is to be shown; `-` reads it from stdin
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,
}

fn beat(text: &str) -> Result<Beat, String> {
    match text {
        "start" => Ok(Beat::Start),
        "ok" => Ok(Beat::Ok),
        "fail" => Ok(Beat::Fail),
        code => code
            .parse()
            .map(Beat::Code)
            .map_err(|_| format!("`{code}` is neither start, ok, fail, nor an exit code")),
    }
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let message = match args.message.as_deref() {
        None => None,
        Some("-") => Some(read_stdin()?),
        Some(text) => Some(text.to_owned()),
    };
    let command = Command::Heartbeat {
        check: args.name.clone(),
        beat: args.beat,
        message: message.map(|text| cut(&text)),
    };
    let within = globals.timeout.unwrap_or(limits::HEARTBEAT_TIMEOUT);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let result = say(talk, &command, within).await;
        let words = std::slice::from_ref(&args.name);
        let result = result.map_err(|failure| explained(failure, talk, words))?;
        // Cron mails whatever a job prints.
        if output.json || output.verbose {
            told(output, &result)
        } else {
            Ok(Exit::Ok)
        }
    })
}

/// Asks until it is heard: a daemon that has just started may not know its checks yet.
async fn say(talk: &mut Talk<'_>, command: &Command, within: Duration) -> Result<Payload, Failure> {
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let ask = Ask {
            command: command.clone(),
            id: fresh_id(),
            timeout: Some(left.max(limits::RETRY_FIRST)),
            patience: Patience::Timeout,
            encoding: Encoding::Json,
        };
        match talk.result(ask).await {
            Err(failure) if failure.exit == Exit::Busy && Instant::now() < end => {
                tokio::time::sleep(limits::HEARTBEAT_RETRY).await;
            }
            Err(failure)
                if failure.exit == Exit::TimedOut && daemon::holder(talk.home()).is_none() =>
            {
                return Err(talk.unavailable("nobody listens"));
            }
            ended => return ended,
        }
    }
}

/// What a job printed, as far as it is kept.
fn read_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let read = (&mut stdin)
        .take(limits::CHECK_OUTPUT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        // A writer that nobody reads would die of it.
        .and_then(|_| std::io::copy(&mut stdin, &mut std::io::sink()));
    read.map_err(|error| Failure::new(Exit::Usage, format!("cannot read stdin: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The beginning, where it is too long: a job's beat is not to fail for its words.
fn cut(text: &str) -> String {
    const SIGN: &str = " [...]";
    let text = text.trim_end();
    if text.len() <= limits::CHECK_OUTPUT_BYTES {
        return text.to_owned();
    }
    let fits = limits::CHECK_OUTPUT_BYTES - SIGN.len();
    let end = (0..=fits).rev().find(|at| text.is_char_boundary(*at));
    format!("{}{SIGN}", &text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_to_what_is_kept() {
        assert_eq!(cut("fine\n"), "fine");
        let cut = cut(&"é".repeat(limits::CHECK_OUTPUT_BYTES));
        assert!(
            cut.len() <= limits::CHECK_OUTPUT_BYTES && cut.ends_with("é [...]"),
            "{}",
            cut.len()
        );
    }

    #[test]
    fn a_beat_is_a_word_or_an_exit_code() {
        assert_eq!(beat("fail"), Ok(Beat::Fail));
        assert_eq!(beat("-1"), Ok(Beat::Code(-1)));
        assert!(beat("maybe").is_err());
    }
}
