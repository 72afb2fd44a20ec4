//! `moonkeep checks`: what the daemon knows of its checks, and the words that daemons' commands about checks share.

mod detail;
mod overview;
mod span;

use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView};
use crate::proto::messages::{Command, Payload};
use crate::scripts::load_config;

use super::Globals;
use super::answers::{self, read};
use super::exit::{Exit, Failure};
use super::output::{Output, Paint};
use super::talk::{Ask, Start, Talk, converse};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "One check, or -v, shows all that is known of it. To run checks now: moonkeep check"
)]
pub(crate) struct Args {
    /// Names of checks and tags; none: every check
    #[arg(value_name = "NAME|TAG")]
    words: Vec<String>,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let words = args.words.clone();
    let is_asked_for = !words.is_empty();
    let ask = Ask::now(Command::Checks { words }, globals.timeout);
    converse(globals, output, Start::IfConfigured, async |talk| {
        let pieces = talk.pieces(ask).await;
        let pieces = pieces.map_err(|failure| explained(failure, talk, &args.words))?;
        show(output, &pieces, is_asked_for)
    })
}

/// Prints the answer to `checks`; `is_asked_for`: by name or tag.
pub(crate) fn show(
    output: &Output,
    pieces: &[Payload],
    is_asked_for: bool,
) -> Result<Exit, Failure> {
    let view = whole(pieces)?;
    if output.json {
        output.json(&view)?;
        return Ok(Exit::Ok);
    }
    if view.checks.is_empty() {
        output.note(
            "The daemon keeps no checks. Add a file to plugins/, or a section to moonkeep.toml: [check.NAME] with \
             plugin = \"disk\"; `moonkeep check --list` shows what there is.",
        );
        return Ok(Exit::Ok);
    }
    let in_detail = output.verbose || (is_asked_for && view.checks.len() == 1);
    let lines = if in_detail {
        detail::lines(output, &view)
    } else {
        overview::lines(output, &view)
    };
    for line in lines {
        output.line(&line)?;
    }
    Ok(Exit::Ok)
}

/// The pieces put together.
pub(crate) fn whole(pieces: &[Payload]) -> Result<ChecksView, Failure> {
    let mut view = ChecksView::default();
    for piece in pieces {
        let piece: ChecksView = read(piece)?;
        (view.state, view.at_unix_ms) = (piece.state, piece.at_unix_ms);
        view.checks.extend(piece.checks);
    }
    Ok(view)
}

/// A refusal about a check that the operator has switched off says so: the daemon does not know it at all.
pub(crate) fn explained(failure: Failure, talk: &Talk<'_>, words: &[String]) -> Failure {
    if failure.exit != Exit::Failed {
        return failure;
    }
    let Ok(config) = load_config(talk.home()) else {
        return failure;
    };
    let off = config.checks().find(|(name, section)| {
        words.iter().any(|word| word == name)
            && section.table.get("enabled") == Some(&toml::Value::Boolean(false))
    });
    match off {
        Some((name, section)) => Failure {
            message: format!(
                "the check {name} is switched off: [check.{name}], line {} of moonkeep.toml, says enabled = false. Remove that to have it back",
                section.line
            ),
            ..failure
        },
        None => failure,
    }
}

/// The state that counts, for people.
fn state_of(check: &CheckView) -> (&'static str, Paint) {
    match check.confirmed {
        Some(state) => (state.label(), paint_of(state)),
        None => ("PENDING", Paint::Dim),
    }
}

fn paint_of(state: State) -> Paint {
    match state {
        State::Ok => Paint::Good,
        State::Warning | State::Unknown => Paint::Warn,
        State::Critical => Paint::Bad,
    }
}

/// What the last run gave, where it is not yet what counts.
fn not_yet(check: &CheckView) -> Option<String> {
    let last = check.last.filter(|last| Some(*last) != check.confirmed)?;
    Some(format!("{last} {}/{}", check.seen, check.needed))
}

/// `99.95 %`; one hundred only if it is.
fn share(part: Option<f64>) -> String {
    let Some(part) = part else {
        return "-".to_owned();
    };
    if part >= 1.0 {
        return "100 %".to_owned();
    }
    // Cut, not rounded: what was down a moment was not up all the time.
    let hundredths = (part.max(0.0) * 10_000.0).floor();
    format!("{:.2} %", hundredths / 100.0)
}

/// Prints the answer to `downtime` and `heartbeat`.
pub(crate) fn told(output: &Output, result: &Payload) -> Result<Exit, Failure> {
    if output.json {
        output.json(&answers::raw(result))?;
    } else if let Some(text) = answers::text_of(result) {
        output.note(&text);
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_is_full_only_if_it_is() {
        let shown = [Some(1.0), Some(0.999_999), Some(0.5), Some(0.0), None].map(share);
        assert_eq!(shown, ["100 %", "99.99 %", "50.00 %", "0.00 %", "-"]);
    }
}
