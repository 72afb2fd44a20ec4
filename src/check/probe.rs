//! `c`: what a check's function is called with. It collects findings; the worst one decides.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values of Lua, not an enum of ours: they may grow"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use mlua::{Lua, Table, UserData, UserDataFields, UserDataMethods, Value};

use crate::limits;
use crate::lua::arguments::Named;
use crate::lua::errors;
use crate::lua::modules::misuse;
use crate::monitor::perfdata::{Measure, Threshold};
use crate::monitor::range::Range;
use crate::monitor::state::State;
use crate::nearest::nearest;

/// What one run of a check has found so far.
#[derive(Debug, Default)]
pub struct Findings {
    pub state: State,
    /// Sentences about what is not as it should be, the worst first within equals in their order.
    pub complaints: Vec<(State, String)>,
    pub measures: Vec<Measure>,
    pub details: Option<String>,
}

impl Findings {
    /// Notes a complaint.
    pub fn complain(&mut self, state: State, message: String) {
        self.state = self.state.worst(state);
        self.complaints.push((state, message));
    }

    /// One text: the complaints, worst first, then what the check returned, else the measures.
    #[must_use]
    pub fn message(&self, returned: Option<String>) -> String {
        let mut sentences: Vec<_> = self.complaints.iter().collect();
        sentences.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
        let mut parts: Vec<String> = sentences
            .into_iter()
            .map(|(_, text)| text.clone())
            .collect();
        match returned {
            Some(text) => parts.push(text),
            None if parts.is_empty() => {
                let shown = |measure: &Measure| format!("{} {}", measure.name, measure.shown());
                let measures: Vec<_> = self.measures.iter().map(shown).collect();
                parts.push(measures.join(", "));
            }
            None => {}
        }
        parts.join("; ")
    }
}

/// What a plugin prints, line by line: it goes beside the report, never into it. Put into the Lua state's app data
/// before the plugin's code runs.
#[derive(Clone, Debug, Default)]
pub struct Said(Rc<RefCell<Vec<String>>>);

impl Said {
    /// Notes a line; the first 8 KiB are kept.
    pub fn push(&self, line: String) {
        let mut lines = self.0.borrow_mut();
        let length: usize = lines.iter().map(String::len).sum();
        if length < limits::CHECK_OUTPUT_BYTES {
            lines.push(line);
        }
    }

    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// The object itself. Cheap to clone: the runner keeps one handle, Lua the other.
#[derive(Clone, Debug)]
pub struct Probe {
    pub name: Rc<str>,
    pub findings: Rc<RefCell<Findings>>,
    pub deadline: Instant,
}

impl Probe {
    fn complain(&self, state: State, message: String) {
        self.findings.borrow_mut().complain(state, message);
    }

    fn expect(&self, lua: &Lua, state: State, holds: &Value, message: Option<String>) {
        if matches!(holds, Value::Nil | Value::Boolean(false)) {
            let message = message.unwrap_or_else(|| match errors::place(lua, 1) {
                Some(place) => format!("what is expected at {place} does not hold"),
                None => "what is expected does not hold".to_owned(),
            });
            self.complain(state, message);
        }
    }

    fn measure(
        &self,
        lua: &Lua,
        (name, value, unit, options): (String, Value, Option<String>, Option<Table>),
    ) -> mlua::Result<Option<f64>> {
        let options = Named::new("c:measure", options, &["warn", "crit", "min", "max"])?;
        let value = match &value {
            Value::Nil => None,
            Value::Integer(_) | Value::Number(_) => number(&value).filter(|value| !value.is_nan()),
            _ => {
                return Err(misuse(format!(
                    "c:measure: the value of `{name}` is a {}, not a number",
                    value.type_name()
                )));
            }
        };
        let mut measure = Measure::new(&name, value, unit.as_deref().unwrap_or_default());
        measure.warn = threshold(lua, &options, &name, "warn")?;
        measure.crit = threshold(lua, &options, &name, "crit")?;
        measure.min = options.value(lua, "min")?;
        measure.max = options.value(lua, "max")?;
        self.judge(&measure);
        self.findings.borrow_mut().measures.push(measure);
        Ok(value)
    }

    /// Critical is asked first: a value that breaks both thresholds makes one complaint.
    fn judge(&self, measure: &Measure) {
        let Some(value) = measure.value else {
            if measure.warn.is_some() || measure.crit.is_some() {
                self.complain(
                    State::Unknown,
                    format!("{} could not be determined", measure.name),
                );
            }
            return;
        };
        let limits = [
            (State::Critical, "critical", measure.crit),
            (State::Warning, "warning", measure.warn),
        ];
        for (state, word, limit) in limits {
            let Some(range) = limit.map(Threshold::range) else {
                continue;
            };
            if range.alerts(value) {
                let shown = Measure::new(&measure.name, measure.value, &measure.unit).shown();
                self.complain(
                    state,
                    format!(
                        "{} {shown} {} ({word})",
                        measure.name,
                        range.complaint(value)
                    ),
                );
                return;
            }
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "measures are not counted to the last of 2^53"
    )]
    match value {
        Value::Integer(whole) => Some(*whole as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// A number alerts above it; text is a Nagios range.
fn threshold(lua: &Lua, options: &Named, name: &str, key: &str) -> mlua::Result<Option<Threshold>> {
    match options.value::<Value>(lua, key)? {
        None => Ok(None),
        Some(Value::String(text)) => text
            .to_string_lossy()
            .parse::<Range>()
            .map(|range| Some(Threshold::Range(range)))
            .map_err(|error| misuse(format!("c:measure: `{key}` of `{name}`: {error}"))),
        Some(value) => match number(&value).filter(|limit| limit.is_finite()) {
            Some(limit) => Ok(Some(Threshold::Above(limit))),
            None => Err(misuse(format!(
                "c:measure: `{key}` of `{name}` is a number or a range like \"10:20\", not a {}",
                value.type_name()
            ))),
        },
    }
}

impl UserData for Probe {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |_, this| Ok(this.name.to_string()));
        fields.add_field_function_get("state", |_, this| this.user_value::<Table>());
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method(
            "expect",
            |lua, this, (holds, message): (Value, Option<String>)| {
                this.expect(lua, State::Critical, &holds, message);
                Ok(holds)
            },
        );
        methods.add_method(
            "warn",
            |lua, this, (holds, message): (Value, Option<String>)| {
                match (holds, message) {
                    // c:warn("sentence") warns in any case.
                    (Value::String(sentence), None) => {
                        this.complain(State::Warning, sentence.to_string_lossy());
                    }
                    (holds, message) => this.expect(lua, State::Warning, &holds, message),
                }
                Ok(())
            },
        );
        methods.add_method("critical", |_, this, message: String| {
            this.complain(State::Critical, message);
            Ok(())
        });
        methods.add_method("unknown", |_, this, message: String| {
            this.complain(State::Unknown, message);
            Ok(())
        });
        methods.add_method("measure", |lua, this, arguments| {
            this.measure(lua, arguments)
        });
        methods.add_method("remaining", |_, this, ()| {
            let left = this.deadline.saturating_duration_since(Instant::now());
            Ok(left.saturating_sub(limits::CHECK_SLACK).as_secs_f64())
        });
        methods.add_meta_method("__index", |_, _, key: String| -> mlua::Result<Value> {
            let known = [
                "expect",
                "warn",
                "critical",
                "unknown",
                "measure",
                "remaining",
                "name",
                "state",
            ];
            let hint = match nearest(&key, known) {
                Some(near) => format!("did you mean c:{near}?"),
                None => format!("it has {}", known.join(", ")),
            };
            Err(misuse(format!("c has nothing named `{key}`; {hint}")))
        });
    }
}
