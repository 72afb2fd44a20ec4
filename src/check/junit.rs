//! `-f junit`: XML as continuous integration reads it. The shape is the one that both widespread schemas accept.

use std::fmt::Write as _;

use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// What the document says about the run as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Run<'a> {
    pub hostname: &'a str,
    /// `2026-11-20T21:18:03`, UTC, without a zone: the schema has none.
    pub moment: &'a str,
    pub seconds: f64,
    /// A warning is a failure; else it is passed with its text.
    pub warning_fails: bool,
}

/// The document.
#[must_use]
pub fn render(report: &Report, run: &Run<'_>) -> String {
    let failures = report.count(State::Critical)
        + if run.warning_fails {
            report.count(State::Warning)
        } else {
            0
        };
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        text,
        "  <testsuite name=\"moonkeep\" package=\"moonkeep\" id=\"0\" hostname=\"{}\" tests=\"{}\" failures=\"{failures}\" \
         errors=\"{}\" skipped=\"0\" time=\"{:.3}\" timestamp=\"{}\">\n    <properties/>",
        escaped(hostname(run.hostname)),
        report.checks.len(),
        report.count(State::Unknown),
        run.seconds,
        run.moment,
    );
    for check in &report.checks {
        case(&mut text, check, run.warning_fails);
    }
    if run.warning_fails {
        text.push_str("    <system-out/>\n");
    } else {
        warnings(&mut text, report);
    }
    text.push_str("    <system-err/>\n  </testsuite>\n</testsuites>\n");
    text
}

/// Warnings that do not fail are passed tests. What they say stands below all: a test case has no place for it.
fn warnings(text: &mut String, report: &Report) {
    let said: Vec<String> = report
        .checks
        .iter()
        .filter(|check| check.state == State::Warning)
        .map(|check| escaped(&format!("warning: {}: {}", check.name, check.message)))
        .collect();
    if said.is_empty() {
        text.push_str("    <system-out/>\n");
    } else {
        let _ = writeln!(text, "    <system-out>{}</system-out>", said.join("&#10;"));
    }
}

fn case(text: &mut String, check: &Outcome, warning_fails: bool) {
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(&check.file),
        escaped(&check.name),
        check.duration_seconds
    );
    let message = escaped(&check.message);
    let told = |tag: &str| {
        let kind = check.state.word();
        format!(
            ">\n      <{tag} type=\"{kind}\" message=\"{message}\">{message}</{tag}>\n    </testcase>\n"
        )
    };
    let rest = match check.state {
        State::Ok => "/>\n".to_owned(),
        State::Warning if !warning_fails => "/>\n".to_owned(),
        State::Warning | State::Critical => told("failure"),
        State::Unknown => told("error"),
    };
    text.push_str(&rest);
}

/// The schema asks for one, and says which.
fn hostname(name: &str) -> &str {
    if name.trim().is_empty() {
        "localhost"
    } else {
        name
    }
}

/// For attributes and text. XML has no way at all to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_golden_one() {
        let with = |name: &str, state| Outcome {
            state,
            duration_seconds: 0.01234,
            ..Outcome::unknown(name, "plugins/a.lua", "a < b & \"c\"\u{1b}\nd".to_owned())
        };
        let report = Report::new(vec![
            with("good", State::Ok),
            with("warned", State::Warning),
            with("bad", State::Critical),
            with("odd", State::Unknown),
        ]);
        let run = Run {
            hostname: "host",
            moment: "2026-11-20T21:18:03",
            seconds: 0.5,
            warning_fails: false,
        };
        let said = "a &lt; b &amp; &quot;c&quot;\u{fffd}&#10;d";
        let golden = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="moonkeep" package="moonkeep" id="0" hostname="host" tests="4" failures="1" errors="1" skipped="0" time="0.500" timestamp="2026-11-20T21:18:03">
    <properties/>
    <testcase classname="plugins/a.lua" name="good" time="0.012"/>
    <testcase classname="plugins/a.lua" name="warned" time="0.012"/>
    <testcase classname="plugins/a.lua" name="bad" time="0.012">
      <failure type="critical" message="{said}">{said}</failure>
    </testcase>
    <testcase classname="plugins/a.lua" name="odd" time="0.012">
      <error type="unknown" message="{said}">{said}</error>
    </testcase>
    <system-out>warning: warned: {said}</system-out>
    <system-err/>
  </testsuite>
</testsuites>
"#
        );
        assert_eq!(render(&report, &run), golden);
        let strict = render(
            &report,
            &Run {
                warning_fails: true,
                ..run
            },
        );
        assert!(strict.contains("failures=\"2\""), "{strict}");
        assert!(strict.contains("<failure type=\"warning\""), "{strict}");
    }
}
