//! `-f tap`: the Test Anything Protocol, version 13, which every harness reads.

use std::fmt::Write as _;

use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// The stream. With `warning_fails` a warning is a failure, else one that does not count (`TODO`).
#[must_use]
pub fn render(report: &Report, warning_fails: bool) -> String {
    let mut text = format!("TAP version 13\n1..{}", report.checks.len());
    if report.checks.is_empty() {
        text.push_str(" # no check is active");
    }
    text.push('\n');
    for (at, check) in report.checks.iter().enumerate() {
        point(&mut text, at + 1, check, warning_fails);
    }
    text
}

fn point(text: &mut String, number: usize, check: &Outcome, warning_fails: bool) {
    let word = if check.state == State::Ok {
        "ok"
    } else {
        "not ok"
    };
    let _ = write!(text, "{word} {number} - {}", plain(&check.name));
    if check.state == State::Warning && !warning_fails {
        let _ = write!(text, " # TODO warning: {}", plain(&check.message));
    }
    let quoted = serde_json::Value::from(check.message.as_str());
    let _ = writeln!(
        text,
        "\n  ---\n  state: {}\n  message: {quoted}\n  duration_seconds: {:.6}\n  ...",
        check.state, check.duration_seconds
    );
}

/// On the line of a point a `#` begins a directive, and a line break the next point.
fn plain(text: &str) -> String {
    super::text::escaped(&text.replace('\\', "\\\\")).replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_golden_one() {
        let with = |name: &str, state| Outcome {
            state,
            duration_seconds: 0.5,
            ..Outcome::unknown(name, "a.lua", "says: \"x\" # y\nz".to_owned())
        };
        let report = Report::new(vec![
            with("good", State::Ok),
            with("warned #1", State::Warning),
            with("bad", State::Critical),
        ]);
        let more = |state: &str| {
            format!(
                "  ---\n  state: {state}\n  message: \"says: \\\"x\\\" # y\\nz\"\n  duration_seconds: 0.500000\n  ...\n"
            )
        };
        let golden = format!(
            "TAP version 13\n1..3\nok 1 - good\n{}not ok 2 - warned \\#1 # TODO warning: says: \"x\" \\# y\\nz\n{}not ok 3 - bad\n{}",
            more("ok"),
            more("warning"),
            more("critical")
        );
        assert_eq!(render(&report, false), golden);
        assert!(!render(&report, true).contains("TODO"));
        assert_eq!(
            render(&Report::new(Vec::new()), false),
            "TAP version 13\n1..0 # no check is active\n"
        );
    }
}
