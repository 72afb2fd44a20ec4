//! The four states of a check, and how several become one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a check found. The order is that of harm: a broken promise (`Critical`) hides a check that could
/// not be made (`Unknown`), which hides a `Warning`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl State {
    /// Every state, from the best to the worst.
    pub const ALL: [State; 4] = [State::Ok, State::Warning, State::Unknown, State::Critical];

    #[must_use]
    pub fn is_ok(self) -> bool {
        self == State::Ok
    }

    /// It does not work, or nobody can say: what needs it cannot work either. A warning still works.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, State::Unknown | State::Critical)
    }

    /// The worse of two.
    #[must_use]
    pub fn worst(self, other: State) -> State {
        self.max(other)
    }

    /// The exit code that every monitoring system knows: 0 ok, 1 warning, 2 critical, 3 unknown.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Critical => 2,
            State::Unknown => 3,
        }
    }

    /// The state that an exit code of a monitoring plugin means; `None` outside 0 to 3.
    #[must_use]
    pub fn from_exit_code(code: i32) -> Option<State> {
        match code {
            0 => Some(State::Ok),
            1 => Some(State::Warning),
            2 => Some(State::Critical),
            3 => Some(State::Unknown),
            _ => None,
        }
    }

    /// Lower case, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Critical => "critical",
            State::Unknown => "unknown",
        }
    }

    /// Upper case, as people read it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            State::Ok => "OK",
            State::Warning => "WARNING",
            State::Critical => "CRITICAL",
            State::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        State::ALL
            .into_iter()
            .find(|state| state.word().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                format!("`{text}` is no state; the states are ok, warning, critical and unknown")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_wins_and_critical_is_worse_than_unknown() {
        let worst = |states: &[State]| states.iter().fold(State::Ok, |a, b| a.worst(*b));
        assert_eq!(worst(&[]), State::Ok);
        assert_eq!(worst(&[State::Ok, State::Warning]), State::Warning);
        assert_eq!(worst(&[State::Unknown, State::Warning]), State::Unknown);
        assert_eq!(
            worst(&[State::Critical, State::Unknown, State::Warning]),
            State::Critical
        );
    }

    #[test]
    fn exit_codes_are_those_of_nagios_and_go_both_ways() {
        for state in State::ALL {
            assert_eq!(
                State::from_exit_code(i32::from(state.exit_code())),
                Some(state)
            );
            assert_eq!(state.word().parse(), Ok(state));
        }
        assert_eq!(State::Critical.exit_code(), 2);
        assert_eq!(State::Unknown.exit_code(), 3);
        assert_eq!(State::from_exit_code(4), None);
        assert_eq!(State::from_exit_code(-1), None);
    }
}
