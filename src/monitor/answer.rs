//! Long answers about checks, cut so that each piece fits on a line of the wire. All pieces have the shape of the whole.

use serde::Serialize;

use super::result::{Outcome, Report};
use super::view::{CheckView, ChecksView};
use crate::limits;
use crate::proto::messages::Json;

/// The answer to `checks`; one piece at least.
#[must_use]
pub fn checks(view: &ChecksView) -> Vec<Json> {
    let piece = |checks: &[CheckView]| {
        Json::of(&ChecksView {
            state: view.state,
            at_unix_ms: view.at_unix_ms,
            checks: checks.to_vec(),
        })
    };
    pieces(&view.checks).into_iter().map(piece).collect()
}

/// The answer to `check`; one piece at least.
#[must_use]
pub fn outcomes(outcomes: &[Outcome]) -> Vec<Json> {
    let state = Report::new(outcomes.to_vec()).state;
    let piece = |checks: &[Outcome]| {
        Json::of(&Report {
            state,
            checks: checks.to_vec(),
        })
    };
    pieces(outcomes).into_iter().map(piece).collect()
}

/// Runs of neighbours that fit on a line each; one run at least.
fn pieces<T: Serialize>(all: &[T]) -> Vec<&[T]> {
    let mut pieces = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, one) in all.iter().enumerate() {
        let size = Json::of(one).as_str().len();
        if bytes + size > limits::LINE_BYTES / 2 && bytes > 0 {
            pieces.push(&all[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    pieces.push(&all[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::state::State;

    #[test]
    fn what_does_not_fit_on_a_line_comes_in_parts() {
        let outcome = Outcome::unknown("a", "a.lua", "x".repeat(8 * 1024));
        let mut all = vec![outcome; 200];
        all[0].state = State::Critical;
        let parts = outcomes(&all);
        assert!((2..8).contains(&parts.len()), "{}", parts.len());
        let mut count = 0;
        for part in &parts {
            assert!(part.as_str().len() < limits::LINE_BYTES);
            let report: Report = serde_json::from_str(part.as_str()).expect("a report");
            assert_eq!(report.state, State::Critical, "the state of the whole");
            count += report.checks.len();
        }
        assert_eq!(count, 200);
        assert_eq!(outcomes(&[]).len(), 1);
        assert_eq!(checks(&ChecksView::default()).len(), 1);
    }
}
