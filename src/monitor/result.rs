//! Results in one neutral form. Every output format is rendered from it, and from nothing else.

use serde::{Deserialize, Serialize};

use super::perfdata::Measure;
use super::state::State;
use crate::limits;

/// What one run of one check gave, also as a plugin worker tells the daemon. What `check -f json` shows of it is said in
/// `check::json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub name: String,
    pub state: State,
    /// One or more lines; may hold anything that a plugin said, control characters included.
    pub message: String,
    pub duration_seconds: f64,
    pub measures: Vec<Measure>,
    pub tags: Vec<String>,
    /// The plugin's file, relative to the home where it lies in it; `stock/NAME.lua` for what the binary brings.
    pub file: String,
    /// The Lua traceback of a bug; shown with `-v` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// Later lines of an existing monitoring plugin's output; shown with `-v` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// What it printed. Goes to a log or beside a report, never into it.
    #[serde(skip)]
    pub said: Vec<String>,
}

impl Outcome {
    /// Cuts what has no bound of its own, so that it crosses to the daemon in one line.
    pub fn shorten(&mut self) {
        for text in [&mut self.traceback, &mut self.details]
            .into_iter()
            .flatten()
        {
            cut(text);
        }
    }

    /// What a check that could not even be made gives.
    #[must_use]
    pub fn unknown(name: &str, file: &str, message: String) -> Self {
        Outcome {
            name: name.to_owned(),
            state: State::Unknown,
            message,
            duration_seconds: 0.0,
            measures: Vec::new(),
            tags: Vec::new(),
            file: file.to_owned(),
            traceback: None,
            details: None,
            said: Vec::new(),
        }
    }
}

/// Cuts a text to [`limits::CHECK_OUTPUT_BYTES`], and marks that.
pub fn cut(text: &mut String) {
    if text.len() > limits::CHECK_OUTPUT_BYTES {
        let mut ends = (0..=limits::CHECK_OUTPUT_BYTES).rev();
        let end = ends.find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str(" [...]");
    }
}

/// One run of several checks, in the order of their declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub state: State,
    pub checks: Vec<Outcome>,
}

impl Report {
    #[must_use]
    pub fn new(checks: Vec<Outcome>) -> Self {
        let state = checks
            .iter()
            .fold(State::Ok, |worst, check| worst.worst(check.state));
        Report { state, checks }
    }

    /// The state that the exit code tells: states that are less bad than `fail_on` count as ok.
    #[must_use]
    pub fn verdict(&self, fail_on: State) -> State {
        if self.state >= fail_on {
            self.state
        } else {
            State::Ok
        }
    }

    /// How many checks are in `state`.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.checks
            .iter()
            .filter(|check| check.state == state)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(states: &[State]) -> Report {
        let outcome = |state: &State| Outcome {
            state: *state,
            ..Outcome::unknown("a", "a.lua", String::new())
        };
        Report::new(states.iter().map(outcome).collect())
    }

    #[test]
    fn fail_on_forgives_what_is_less_bad() {
        let warned = report(&[State::Ok, State::Warning]);
        assert_eq!(warned.verdict(State::Warning), State::Warning);
        assert_eq!(warned.verdict(State::Critical), State::Ok);
        let broken = report(&[State::Unknown]);
        assert_eq!(broken.verdict(State::Unknown), State::Unknown);
        assert_eq!(report(&[]).verdict(State::Warning), State::Ok);
    }
}
