//! What becomes of a result: it is counted, it may be confirmed, and then others are looked at.

use std::time::Duration;

use super::Monitor;
use super::alphabet::{Effect, RunFault};
use super::check::{CheckKey, Latest, Trouble};
use super::confirm::Change;
use super::perfdata::Measure;
use super::quiet::cut;
use super::result::Outcome;
use super::state::State;
use crate::limits;
use crate::moment::Moment;
use crate::proto::messages::Json;

/// A result, wherever it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    state: State,
    message: String,
    measures: Vec<Measure>,
    duration_seconds: Option<f64>,
    manner: Weight,
}

/// How much a result says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// One look, begun at that moment: several in a row are wanted.
    Sample { began: Moment },
    /// It is so.
    Certain,
}

impl Heard {
    /// What a run gave that began at that moment.
    pub(super) fn run(outcome: Result<Outcome, RunFault>, began: Moment, now: Moment) -> Self {
        let manner = Weight::Sample { began };
        match outcome {
            Ok(outcome) => Heard {
                state: outcome.state,
                message: outcome.message,
                measures: outcome.measures,
                duration_seconds: Some(outcome.duration_seconds),
                manner,
            },
            Err(fault) => Heard {
                state: fault.state,
                message: fault.message,
                measures: Vec::new(),
                duration_seconds: Some(now.since(began).as_secs_f64()),
                manner,
            },
        }
    }

    /// What needs no second look.
    pub(super) fn told(state: State, message: String, duration: Option<Duration>) -> Self {
        Heard {
            state,
            message,
            measures: Vec::new(),
            duration_seconds: duration.map(|time| time.as_secs_f64()),
            manner: Weight::Certain,
        }
    }
}

impl Monitor {
    /// The only way in for results.
    pub(super) fn hear(&mut self, key: CheckKey, heard: Heard) {
        let (state, manner) = (heard.state, heard.manner);
        self.note_trouble(key, state, manner);
        self.take_latest(key, heard);
        let now = self.now;
        let check = self.check_mut(key);
        let (rise, fall) = check.rise_and_fall();
        let change = match manner {
            Weight::Sample { .. } => check.confirm.hear(state, rise, fall),
            Weight::Certain => check.confirm.settle(state),
        };
        check.is_heard = true;
        check.runs[usize::from(state.exit_code())] += 1;
        check.history.push(state);
        if state.is_ok() || !check.confirm.is_in_doubt() {
            check.flapping.record(state);
        }
        check.history.turn(now, check.confirm.confirmed());
        if check.confirm.is_well() {
            check.trouble = None;
        }
        if let Some(change) = change {
            self.changed(key, change);
        }
        let is_over = self.end_acknowledgement(key);
        let is_told = self.review(key);
        self.free_children(key);
        if change.is_some() || is_over || is_told {
            self.keep_now(key);
        } else {
            self.keep_soon(key);
        }
        self.refresh_clock();
    }

    fn take_latest(&mut self, key: CheckKey, heard: Heard) {
        let at_ms = self.clock.wall(self.now);
        let mut message = heard.message;
        cut(&mut message, limits::CHECK_OUTPUT_BYTES);
        self.check_mut(key).latest = Latest {
            message,
            measures: heard.measures,
            duration_seconds: heard.duration_seconds,
            at_ms: Some(at_ms),
        };
    }

    /// The first bad result of a series says when the trouble began, and asks how its parents are.
    fn note_trouble(&mut self, key: CheckKey, state: State, manner: Weight) {
        if state.is_ok() || self.check(key).trouble.is_some() {
            return;
        }
        let began = match manner {
            Weight::Sample { began } => began,
            Weight::Certain => self.now,
        };
        let began_ms = self.clock.wall(began);
        self.check_mut(key).trouble = Some(Trouble {
            began: Some(began),
            began_ms,
        });
        self.look_at_parents(key, began);
    }

    fn changed(&mut self, key: CheckKey, change: Change) {
        let now = self.now;
        let now_ms = self.clock.wall(now);
        let check = self.check_mut(key);
        if change.from.is_some_and(State::is_down) && !change.to.is_down() {
            check.up_since = Some(now);
        }
        check.before = change.from;
        check.since_ms = Some(now_ms);
        let data = serde_json::json!({
            "check": check.name,
            "from": change.from.map(State::word),
            "to": change.to.word(),
            "message": check.latest.message,
            "at_unix_ms": now_ms,
        });
        self.effects.push_back(Effect::Emit {
            event: "check.changed".to_owned(),
            data: Json::of(&data),
        });
    }
}
