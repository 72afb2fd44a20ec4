//! `-f json`: the neutral form as one document.

use crate::monitor::result::Report;

/// One JSON document with a newline at its end.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report)
        .expect("strings, finite numbers and lists always have a JSON form");
    text.push('\n');
    text
}
