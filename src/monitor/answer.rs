//! How the answers to `check` and `checks` are written.
//!
//! In JSON a [`Report`] and a [`ChecksView`]; more than a line may hold comes in parts of the same shape. In text a line
//! a check: `key=value` where a value is a word, JSON where it is a text.

use serde::Serialize;

use super::result::{Outcome, Report};
use super::view::{CheckView, ChecksView};
use crate::limits;
use crate::proto::messages::{Encoding, Json, Payload};

/// The answer to `checks`: parts, and the end as the last one.
#[must_use]
pub fn checks(view: ChecksView, encoding: Encoding) -> Vec<Payload> {
    if encoding == Encoding::Text {
        return vec![lines(&of_view(&view))];
    }
    let (state, at_unix_ms) = (view.state, view.at_unix_ms);
    let piece = |checks| {
        Payload::Json(Json::of(&ChecksView {
            state,
            at_unix_ms,
            checks,
        }))
    };
    pieces(view.checks).into_iter().map(piece).collect()
}

/// The answer to `check`, likewise.
#[must_use]
pub fn outcomes(outcomes: Vec<Outcome>, encoding: Encoding) -> Vec<Payload> {
    if encoding == Encoding::Text {
        return vec![lines(&of_outcomes(&outcomes))];
    }
    let piece = |checks| Payload::Json(Json::of(&Report::new(checks)));
    pieces(outcomes).into_iter().map(piece).collect()
}

fn lines(text: &str) -> Payload {
    if text.is_empty() {
        Payload::Empty
    } else {
        Payload::Lines(text.into())
    }
}

/// Runs of neighbours that fit on a line each; one run at least.
fn pieces<T: Serialize>(all: Vec<T>) -> Vec<Vec<T>> {
    let mut pieces = vec![Vec::new()];
    let mut bytes = 0;
    for one in all {
        let size = Json::of(&one).as_str().len();
        if bytes + size > limits::LINE_BYTES / 2 && bytes > 0 {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(piece) = pieces.last_mut() {
            piece.push(one);
        }
    }
    pieces
}

/// The answer to `checks` in text.
#[must_use]
pub fn of_view(view: &ChecksView) -> String {
    let lines = view.checks.iter().map(|check| line(check, view.at_unix_ms));
    lines.collect::<Vec<_>>().join("\n")
}

/// The answer to `check` in text.
#[must_use]
pub fn of_outcomes(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        format!(
            "{} {} seconds={:.3} message={}",
            name(&outcome.name),
            outcome.state,
            outcome.duration_seconds,
            quoted(&outcome.message)
        )
    };
    outcomes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(check: &CheckView, now: u64) -> String {
    let state = check.confirmed.map_or("pending", |state| state.word());
    let mut line = format!("{} {state}", name(&check.name));
    if let Some(last) = check.last.filter(|last| Some(*last) != check.confirmed) {
        line.push_str(&format!(
            " last={last} seen={}/{}",
            check.seen, check.needed
        ));
    }
    if let Some(since) = check.since_unix_ms {
        line.push_str(&format!(" for={}s", now.saturating_sub(since) / 1_000));
    }
    if let Some(quiet) = &check.quiet {
        line.push_str(&format!(" quiet={}", quoted(quiet)));
    }
    line.push_str(&format!(" message={}", quoted(&check.message)));
    line
}

/// A name with blanks in it is one word all the same.
fn name(name: &str) -> String {
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
        quoted(name)
    } else {
        name.to_owned()
    }
}

fn quoted(text: &str) -> String {
    Json::of(text).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::state::State;

    #[test]
    fn what_does_not_fit_on_a_line_comes_in_parts() {
        let outcome = Outcome::unknown("a", "a.lua", "x".repeat(8 * 1024));
        let parts = outcomes(vec![outcome.clone(); 200], Encoding::Json);
        assert!((4..8).contains(&parts.len()), "{}", parts.len());
        let mut count = 0;
        for part in &parts {
            assert!(part.bytes() < limits::LINE_BYTES);
            let Payload::Json(json) = part else {
                panic!("{part:?}");
            };
            let report: Report = serde_json::from_str(json.as_str()).expect("a report");
            count += report.checks.len();
        }
        assert_eq!(count, 200);
        assert_eq!(outcomes(Vec::new(), Encoding::Json).len(), 1);
        assert_eq!(outcomes(vec![outcome; 2], Encoding::Text).len(), 1);
        assert_eq!(
            checks(ChecksView::default(), Encoding::Text),
            [Payload::Empty]
        );
    }

    #[test]
    fn a_check_is_one_line_whatever_it_says() {
        let mut outcome = Outcome::unknown("disk of /", "a.lua", "odd\n\"x\"".to_owned());
        assert_eq!(
            of_outcomes(&[outcome.clone()]),
            "\"disk of /\" unknown seconds=0.000 message=\"odd\\n\\\"x\\\"\""
        );
        outcome.name = "http://x/?a=b".to_owned();
        assert!(of_outcomes(&[outcome]).starts_with("http://x/?a=b unknown "));
    }

    #[test]
    fn a_view_says_what_is_confirmed_and_what_was_seen_last() {
        let check: CheckView = serde_json::from_value(serde_json::json!({
            "name": "web", "kind": "active", "last": "critical", "confirmed": "ok", "seen": 1, "needed": 3,
            "since_unix_ms": 1_000, "message": "refused", "measures": [], "tags": [], "needs": [], "file": "a.lua",
            "history": [], "bars": [], "uptime": {}, "runs": [1, 0, 1, 0], "is_running": false,
            "is_flapping": false, "flapping_percent": 0.0, "quiet": "parent router",
        }))
        .expect("a check");
        let view = ChecksView {
            state: State::Ok,
            at_unix_ms: 61_000,
            checks: vec![check],
        };
        assert_eq!(
            of_view(&view),
            "web ok last=critical seen=1/3 for=60s quiet=\"parent router\" message=\"refused\""
        );
    }
}
