//! `-f text`: one line a check, for people; on a terminal long messages are wrapped.
//!
//! Everything that a plugin said is data: control characters are always shown escaped, on a terminal and elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use super::columns;
use crate::monitor::perfdata;
use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// How to render.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub color: bool,
    /// Measures, tracebacks and later lines too.
    pub verbose: bool,
    /// Columns of the terminal: long messages are wrapped. `None`, as in a pipe: a check is one line, however long.
    pub width: Option<usize>,
}

/// Longest name that others are aligned with, in columns.
const NAME_WIDTH: usize = 32;
/// Before the name, and before what stands below it: the state and two blanks.
const INDENT: usize = 10;
/// Of the duration and the blanks around it.
const TIME_WIDTH: usize = 12;
/// A message gets at least so many columns, or lines of its own.
const MESSAGE_LEAST: usize = 28;
/// Lines of a message on a terminal; `-v` shows them all.
const MESSAGE_LINES: usize = 6;

/// The lines, and a summary at the end.
#[must_use]
pub fn render(report: &Report, took: Duration, style: Style) -> String {
    let most = style.width.map_or(NAME_WIDTH, |width| {
        NAME_WIDTH
            .min(width.saturating_sub(INDENT + TIME_WIDTH) * 2 / 5)
            .max(8)
    });
    let width = report
        .checks
        .iter()
        .map(|check| columns::width(&escaped(&check.name)))
        .max()
        .unwrap_or(0)
        .min(most);
    let mut text = String::new();
    for check in &report.checks {
        match style.width {
            None => line(&mut text, check, width, style),
            Some(columns) => block(&mut text, check, width, columns, style),
        }
        if style.verbose {
            more(&mut text, check, style);
        }
    }
    text.push_str(&summary(report, took, style));
    text
}

fn line(text: &mut String, check: &Outcome, width: usize, style: Style) {
    let state = painted(check.state, check.state.label(), 8, style);
    let name = columns::padded(&escaped(&check.name), width);
    let time = seconds(check.duration_seconds);
    let message = escaped(&check.message);
    let line = format!("{state}  {name}  {time:>8}  {message}");
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A check on a terminal: its message in a column of its own, or below where that would be too narrow.
fn block(text: &mut String, check: &Outcome, width: usize, columns: usize, style: Style) {
    let state = painted(check.state, check.state.label(), 8, style);
    let name = escaped(&check.name);
    let name = columns::padded(&columns::shorten_middle(&name, width), width);
    let time = seconds(check.duration_seconds);
    let beside = INDENT + width + TIME_WIDTH;
    let is_below = columns < beside + MESSAGE_LEAST;
    let indent = if is_below { INDENT } else { beside };
    let mut lines =
        message_lines(&check.message, columns.saturating_sub(indent), style).into_iter();
    let first = if is_below { None } else { lines.next() };
    let head = format!("{state}  {name}  {time:>8}  {}", first.unwrap_or_default());
    let _ = writeln!(text, "{}", head.trim_end());
    for line in lines.filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

fn message_lines(message: &str, width: usize, style: Style) -> Vec<String> {
    let mut lines: Vec<String> = message
        .lines()
        .flat_map(|line| columns::wrap(&escaped(line.trim_end()), width))
        .collect();
    if !style.verbose && lines.len() > MESSAGE_LINES {
        let left_out = lines.len() - (MESSAGE_LINES - 1);
        lines.truncate(MESSAGE_LINES - 1);
        lines.push(format!("… {left_out} more lines (-v)"));
    }
    lines
}

fn more(text: &mut String, check: &Outcome, style: Style) {
    let mut put = |line: &str| {
        let line = escaped(&line.replace('\t', "  "));
        let lines = match style.width {
            Some(width) => columns::wrap(&line, width.saturating_sub(INDENT)),
            None => vec![line],
        };
        for line in lines {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
    };
    for measure in &check.measures {
        put(&perfdata::print(measure, &measure.name));
    }
    for long in [&check.details, &check.traceback].into_iter().flatten() {
        long.lines().for_each(&mut put);
    }
}

fn summary(report: &Report, took: Duration, style: Style) -> String {
    let mut parts = Vec::new();
    for state in State::ALL.into_iter().rev() {
        let count = report.count(state);
        if count > 0 {
            parts.push(format!(
                "{count} {}",
                painted(state, state.word(), 0, style)
            ));
        }
    }
    let count = report.checks.len();
    let checks = if count == 1 { "check" } else { "checks" };
    let parts = if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    };
    format!(
        "{count} {checks}{parts}, in {}\n",
        seconds(took.as_secs_f64())
    )
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

fn painted(state: State, word: &str, width: usize, style: Style) -> String {
    if !style.color {
        return format!("{word:width$}");
    }
    let code = match state {
        State::Ok => "32",
        State::Warning => "33",
        State::Critical => "1;31",
        State::Unknown => "35",
    };
    format!("\u{1b}[{code}m{word:width$}\u{1b}[0m")
}

/// Control characters and those that turn the direction of writing, made visible.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && c.is_ascii() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() || turns(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let good = Outcome {
            state: State::Ok,
            duration_seconds: 0.0012,
            ..Outcome::unknown("disk", "a.lua", "81 % used".to_owned())
        };
        let mut bad = Outcome::unknown(
            "web server",
            "b.lua",
            "b.lua:3: oops\u{1b}[2J\nmore".to_owned(),
        );
        bad.traceback = Some("stack traceback:\n\tb.lua:3".to_owned());
        Report::new(vec![good, bad])
    }

    #[test]
    fn lines_are_aligned_and_nothing_steers_the_terminal() {
        let text = render(&report(), Duration::from_millis(20), Style::default());
        assert_eq!(
            text,
            "OK        disk         0.001 s  81 % used\n\
             UNKNOWN   web server   0.000 s  b.lua:3: oops\\x1b[2J\\nmore\n\
             2 checks: 1 unknown, 1 ok, in 0.020 s\n"
        );
    }

    #[test]
    fn a_terminal_gets_its_messages_wrapped_below_each_other() {
        let mut report = report();
        report.checks[0].message =
            "filesystem / has 81 % of its space used, and that is quite a lot".to_owned();
        let style = Style {
            width: Some(64),
            ..Style::default()
        };
        assert_eq!(
            render(&report, Duration::from_millis(20), style),
            "OK        disk         0.001 s  filesystem / has 81 % of its\n\
             \x20                               space used, and that is quite a\n\
             \x20                               lot\n\
             UNKNOWN   web server   0.000 s  b.lua:3: oops\\x1b[2J\n\
             \x20                               more\n\
             2 checks: 1 unknown, 1 ok, in 0.020 s\n"
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let name = "a check with a name that is longer than anybody would like";
        let message = "word ".repeat(200) + &"x".repeat(200) + "\n" + &"line\n".repeat(30);
        let report = Report::new(vec![Outcome::unknown(name, "a.lua", message)]);
        for columns in [44, 60, 80, 120, 200] {
            let style = Style {
                width: Some(columns),
                ..Style::default()
            };
            let text = render(&report, Duration::ZERO, style);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() <= MESSAGE_LINES + 2, "{columns}: {text}");
            // The head is as narrow as it can be; the summary has no name in it.
            let widest = lines[..lines.len() - 1]
                .iter()
                .map(|line| columns::width(line))
                .max();
            assert!(
                widest <= Some(columns.max(INDENT + 8 + TIME_WIDTH)),
                "{columns}: {text}"
            );
            assert!(text.contains("more lines (-v)"), "{text}");
            let all = Style {
                verbose: true,
                ..style
            };
            assert_eq!(
                render(&report, Duration::ZERO, all).matches("line").count(),
                30
            );
        }
    }

    #[test]
    fn verbose_shows_the_traceback() {
        let style = Style {
            verbose: true,
            ..Style::default()
        };
        let text = render(&report(), Duration::ZERO, style);
        assert!(
            text.contains("          stack traceback:\n            b.lua:3\n"),
            "{text}"
        );
    }

    #[test]
    fn colour_is_on_our_own_words_only() {
        let style = Style {
            color: true,
            ..Style::default()
        };
        let text = render(&report(), Duration::ZERO, style);
        assert!(
            text.starts_with("\u{1b}[32mOK      \u{1b}[0m  disk"),
            "{text:?}"
        );
        assert!(text.contains("oops\\x1b[2J"));
    }
}
