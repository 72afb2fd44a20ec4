//! `-f text`: one line a check, for people.
//!
//! Everything that a plugin said is data: control characters are always shown escaped, on a terminal and elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use crate::monitor::perfdata;
use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// How to render.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub color: bool,
    /// Measures, tracebacks and later lines too.
    pub verbose: bool,
}

/// Longest name that others are aligned with, in characters.
const NAME_WIDTH: usize = 32;

/// The lines, and a summary at the end.
#[must_use]
pub fn render(report: &Report, took: Duration, style: Style) -> String {
    let width = report
        .checks
        .iter()
        .map(|check| check.name.chars().count())
        .max()
        .unwrap_or(0)
        .min(NAME_WIDTH);
    let mut text = String::new();
    for check in &report.checks {
        line(&mut text, check, width, style);
        if style.verbose {
            more(&mut text, check);
        }
    }
    text.push_str(&summary(report, took, style));
    text
}

fn line(text: &mut String, check: &Outcome, width: usize, style: Style) {
    let state = painted(check.state, check.state.label(), 8, style);
    let name = escaped(&check.name);
    let time = seconds(check.duration_seconds);
    let message = escaped(&check.message);
    let line = format!("{state}  {name:width$}  {time:>8}  {message}");
    let _ = writeln!(text, "{}", line.trim_end());
}

fn more(text: &mut String, check: &Outcome) {
    for measure in &check.measures {
        let printed = perfdata::print(measure, &measure.name);
        let _ = writeln!(text, "          {}", escaped(&printed));
    }
    for long in [&check.details, &check.traceback].into_iter().flatten() {
        for line in long.lines() {
            let line = line.replace('\t', "  ");
            let _ = writeln!(text, "          {}", escaped(&line));
        }
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
    fn verbose_shows_the_traceback() {
        let style = Style {
            verbose: true,
            color: false,
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
            verbose: false,
            color: true,
        };
        let text = render(&report(), Duration::ZERO, style);
        assert!(
            text.starts_with("\u{1b}[32mOK      \u{1b}[0m  disk"),
            "{text:?}"
        );
        assert!(text.contains("oops\\x1b[2J"));
    }
}
