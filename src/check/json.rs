//! `-f json` and `-f jsonl`: the report as one document, or as one object a line. Tracebacks and details are for people, with `-v`; they are not in it.

use serde::Serialize;

use crate::monitor::perfdata::Measure;
use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// The contract of `check -f json`.
#[derive(Serialize)]
struct Document<'a> {
    state: State,
    checks: Vec<Check<'a>>,
}

#[derive(Serialize)]
struct Check<'a> {
    name: &'a str,
    state: State,
    message: &'a str,
    duration_seconds: f64,
    measures: &'a [Measure],
    tags: &'a [String],
    file: &'a str,
}

impl<'a> Check<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Check {
            name: &outcome.name,
            state: outcome.state,
            message: &outcome.message,
            duration_seconds: outcome.duration_seconds,
            measures: &outcome.measures,
            tags: &outcome.tags,
            file: &outcome.file,
        }
    }
}

/// One JSON document with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    let document = Document {
        state: report.state,
        checks: report.checks.iter().map(Check::of).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("strings, finite numbers and lists always have a JSON form");
    text.push('\n');
    text
}

/// One check as one line, without its newline.
#[must_use]
pub fn line(outcome: &Outcome) -> String {
    serde_json::to_string(&Check::of(outcome))
        .expect("strings, finite numbers and lists always have a JSON form")
}
