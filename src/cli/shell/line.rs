//! What a line typed into the shell means. Pure.

use crate::proto::codec::{COMMANDS, decode_client};
use crate::proto::ids::RequestId;
use crate::proto::messages::{Command, ErrorCode, FromClient, Question, Refusal};

/// How the answer is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As the command of the same name shows it.
    Plain,
    /// `json COMMAND`: the lines of the wire, in JSON.
    Json,
    /// `text COMMAND`: the payload lines of the wire.
    Text,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    Nothing,
    Help,
    Leave,
    Ask {
        style: Style,
        id: Option<RequestId>,
        command: Command,
    },
    /// It cannot be understood; the refusal says what to type instead.
    Wrong(Refusal),
}

/// What the shell itself understands, beside the daemon's commands.
pub(super) const OWN: &[(&str, &str)] = &[
    ("json COMMAND", "show the answer in JSON"),
    (
        "text COMMAND",
        "show the answer as the text protocol has it",
    ),
    ("help", "this list"),
    ("exit", "leave, as Ctrl-D does"),
];

/// Reads one line.
pub(super) fn read(typed: &str) -> Line {
    let typed = typed.trim();
    match typed {
        "" => return Line::Nothing,
        "exit" | "quit" | "bye" => return Line::Leave,
        "help" | "?" => return Line::Help,
        _ if typed.starts_with('#') => return Line::Nothing,
        _ => {}
    }
    let (style, rest) = style_of(typed);
    match decode_client(rest.as_bytes()) {
        FromClient::Malformed(malformed) => Line::Wrong(malformed.refusal),
        FromClient::Question(question) => meaning(style, question),
    }
}

fn meaning(style: Style, question: Question) -> Line {
    let command = question.command;
    if command == Command::Nothing {
        return Line::Nothing;
    }
    if command == Command::Bye {
        return Line::Leave;
    }
    if matches!(command, Command::Hello(_) | Command::Ack(_)) {
        return Line::Wrong(Refusal::new(
            ErrorCode::BadRequest,
            "the shell greets the daemon and reads its acknowledgements itself; leave this out",
        ));
    }
    Line::Ask {
        style,
        id: question.id,
        command,
    }
}

fn style_of(typed: &str) -> (Style, &str) {
    if typed.starts_with('{') {
        return (Style::Json, typed);
    }
    match typed.split_once(char::is_whitespace) {
        Some(("json", rest)) => (Style::Json, rest.trim_start()),
        Some(("text", rest)) => (Style::Text, rest.trim_start()),
        Some(_) | None => (Style::Plain, typed),
    }
}

/// The text of `help`.
pub(super) fn help() -> String {
    let daemons = COMMANDS.iter().map(|spec| (spec.usage, spec.about));
    let hidden = ["hello", "ack", "bye", "help", "peer"];
    let shown = daemons
        .filter(|(usage, _)| !hidden.contains(&usage.split(' ').next().unwrap_or(usage)))
        .chain(OWN.iter().copied());
    let lines: Vec<(&str, &str)> = shown.collect();
    let width = lines
        .iter()
        .map(|(usage, _)| usage.len())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = lines
        .iter()
        .map(|(usage, about)| format!("{usage:<width$}  {about}"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(typed: &str) -> Style {
        let line = read(typed);
        let Line::Ask { style, .. } = line else {
            panic!("{typed}: {line:?}");
        };
        style
    }

    #[test]
    fn lines_are_commands_with_a_style() {
        assert_eq!(style("status"), Style::Plain);
        assert_eq!(style("json  status"), Style::Json);
        assert_eq!(style("text call greeter greet name=Ada"), Style::Text);
        assert_eq!(style(r#"{"command":"status"}"#), Style::Json);
        assert_eq!(style("daemon status"), Style::Plain, "an alias");
        for nothing in ["", "  ", "# remark"] {
            assert_eq!(read(nothing), Line::Nothing);
        }
        for leave in ["exit", "quit ", "bye"] {
            assert_eq!(read(leave), Line::Leave);
        }
        assert_eq!(read("help"), Line::Help);
    }

    #[test]
    fn what_cannot_be_understood_says_why() {
        let Line::Wrong(refusal) = read("statsu") else {
            panic!("it was understood");
        };
        assert_eq!(refusal.code, ErrorCode::UnknownCommand);
        assert!(matches!(read("ack silence"), Line::Wrong(_)));
    }

    #[test]
    fn help_lists_the_daemons_commands_and_the_shells() {
        let help = help();
        for part in ["call ", "status ", "json COMMAND", "exit"] {
            assert!(help.contains(part), "{part} in {help}");
        }
    }
}
