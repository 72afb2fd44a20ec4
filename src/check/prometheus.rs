//! `-f prometheus`: the text format 0.0.4, for a textfile collector.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::monitor::result::{Outcome, Report};
use crate::monitor::state::State;

/// The exposition. `moment` is when the run ended, in seconds since 1970.
#[must_use]
pub fn render(report: &Report, moment: f64) -> String {
    let mut text = String::new();
    family(
        &mut text,
        "success",
        "Whether the check is ok or a warning (1), or not (0).",
    );
    each(&mut text, report, "success", |check| {
        let good = matches!(check.state, State::Ok | State::Warning);
        f64::from(u8::from(good))
    });
    family(
        &mut text,
        "state",
        "State of the check: 0 ok, 1 warning, 2 critical, 3 unknown.",
    );
    each(&mut text, report, "state", |check| {
        f64::from(check.state.exit_code())
    });
    family(&mut text, "duration_seconds", "Time that the check took.");
    each(&mut text, report, "duration_seconds", |check| {
        check.duration_seconds
    });
    family(
        &mut text,
        "last_run_timestamp_seconds",
        "When the check last ran, in seconds since 1970.",
    );
    each(&mut text, report, "last_run_timestamp_seconds", |_| moment);
    family(
        &mut text,
        "value",
        "What the check measured, in its own unit.",
    );
    values(&mut text, report);
    text
}

fn family(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(
        text,
        "# HELP moonkeep_check_{name} {help}\n# TYPE moonkeep_check_{name} gauge"
    );
}

fn each(text: &mut String, report: &Report, name: &str, value: impl Fn(&Outcome) -> f64) {
    for check in &report.checks {
        let _ = writeln!(
            text,
            "moonkeep_check_{name}{{check=\"{}\"}} {}",
            escaped(&check.name),
            value(check)
        );
    }
}

/// A sample stands once: of measures with one name the first counts.
fn values(text: &mut String, report: &Report) {
    for check in &report.checks {
        let mut seen = BTreeSet::new();
        for measure in check
            .measures
            .iter()
            .filter(|measure| seen.insert(&measure.name))
        {
            let value = number(measure.value);
            let _ = writeln!(
                text,
                "moonkeep_check_value{{check=\"{}\",name=\"{}\",unit=\"{}\"}} {value}",
                escaped(&check.name),
                escaped(&measure.name),
                escaped(&measure.unit)
            );
        }
    }
}

/// A sample's value; what could not be determined is no number.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        None => "NaN".to_owned(),
        Some(value) if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        Some(value) => value.to_string(),
    }
}

/// For the value of a label.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::perfdata::Measure;

    #[test]
    fn the_exposition_is_the_golden_one() {
        let mut check = Outcome::unknown("a \"b\"", "a.lua", String::new());
        check.state = State::Critical;
        check.duration_seconds = 0.25;
        check.measures = vec![
            Measure::new("time", Some(1.5), "s"),
            Measure::new("time", Some(9.0), "s"),
            Measure::new("lost", None, ""),
        ];
        let golden = r#"# HELP moonkeep_check_success Whether the check is ok or a warning (1), or not (0).
# TYPE moonkeep_check_success gauge
moonkeep_check_success{check="a \"b\""} 0
# HELP moonkeep_check_state State of the check: 0 ok, 1 warning, 2 critical, 3 unknown.
# TYPE moonkeep_check_state gauge
moonkeep_check_state{check="a \"b\""} 2
# HELP moonkeep_check_duration_seconds Time that the check took.
# TYPE moonkeep_check_duration_seconds gauge
moonkeep_check_duration_seconds{check="a \"b\""} 0.25
# HELP moonkeep_check_last_run_timestamp_seconds When the check last ran, in seconds since 1970.
# TYPE moonkeep_check_last_run_timestamp_seconds gauge
moonkeep_check_last_run_timestamp_seconds{check="a \"b\""} 1795000000.5
# HELP moonkeep_check_value What the check measured, in its own unit.
# TYPE moonkeep_check_value gauge
moonkeep_check_value{check="a \"b\"",name="time",unit="s"} 1.5
moonkeep_check_value{check="a \"b\"",name="lost",unit=""} NaN
"#;
        assert_eq!(render(&Report::new(vec![check]), 1_795_000_000.5), golden);
    }
}
