//! `/health`: `application/health+json`, as draft-inadarei-api-health-check-06 has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::monitor::perfdata::Measure;
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, ChecksView, Facts};

/// The whole document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    status: &'static str,
    release_id: &'a str,
    service_id: &'a str,
    description: String,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    links: BTreeMap<&'static str, &'static str>,
    checks: BTreeMap<String, Vec<Detail<'a>>>,
}

/// What is known of one thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    component_id: &'a str,
    component_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_value: Option<Observed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_unit: Option<&'a str>,
    /// Left out: it is not yet known.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Observed {
    Word(&'static str),
    Number(f64),
}

/// 2xx for what passes or warns, 503 for what fails.
pub(super) fn http_status(state: State) -> u16 {
    match state {
        State::Ok | State::Warning => 200,
        State::Critical | State::Unknown => 503,
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "pass",
        State::Warning => "warn",
        State::Critical | State::Unknown => "fail",
    }
}

pub(super) fn document<'a>(view: &'a ChecksView, facts: &'a Facts) -> Document<'a> {
    let mut checks: BTreeMap<String, Vec<Detail>> = BTreeMap::new();
    for check in &view.checks {
        for (measurement, detail) in details(check) {
            let key = format!("{}:{}", part(&check.name), part(measurement));
            checks.entry(key).or_default().push(detail);
        }
    }
    Document {
        status: word(view.state),
        release_id: &facts.version,
        service_id: &facts.uuid,
        description: format!("health of {}, kept by moonkeep", facts.home),
        notes: &facts.warnings,
        output: output(view),
        links: BTreeMap::from([
            ("about", "/"),
            ("checks", "/checks.json"),
            ("metrics", "/metrics"),
        ]),
        checks,
    }
}

/// A key is `component:measurement`: neither part may hold a colon.
fn part(name: &str) -> String {
    name.replace(':', "_")
}

/// Which checks make the whole worse than `pass`.
fn output(view: &ChecksView) -> Option<String> {
    let bad = |check: &&CheckView| {
        check.quiet.is_none() && check.confirmed.is_some_and(|state| state != State::Ok)
    };
    let names = view.checks.iter().filter(bad).map(|check| {
        let state = check.confirmed.unwrap_or_default();
        format!("{} is {state}", check.name)
    });
    let text = names.collect::<Vec<_>>().join("; ");
    (view.state != State::Ok).then_some(text)
}

fn details(check: &CheckView) -> Vec<(&str, Detail<'_>)> {
    let time = check.last_run_unix_ms.and_then(iso);
    let bare = |status: Option<State>| Detail {
        component_id: &check.name,
        component_type: "component",
        observed_value: None,
        observed_unit: None,
        status: status.map(word),
        time: time.clone(),
        output: None,
    };
    let is_good = matches!(check.confirmed, None | Some(State::Ok));
    let state = Detail {
        observed_value: check.confirmed.map(|state| Observed::Word(state.word())),
        output: (!is_good).then_some(check.message.as_str()),
        ..bare(check.confirmed)
    };
    let mut details = vec![("state", state)];
    if let Some(seconds) = check.duration_seconds {
        let detail = Detail {
            observed_value: Some(Observed::Number(seconds)),
            observed_unit: Some("s"),
            ..bare(None)
        };
        details.push(("responseTime", detail));
    }
    details.extend(check.measures.iter().map(|measure| {
        let detail = Detail {
            observed_value: measure.value.map(Observed::Number),
            observed_unit: Some(measure.unit.as_str()).filter(|unit| !unit.is_empty()),
            ..bare(judged(measure))
        };
        (measure.name.as_str(), detail)
    }));
    details
}

/// The state of a measure by its own thresholds; `None`: it has none.
fn judged(measure: &Measure) -> Option<State> {
    let value = measure.value?;
    let breaks = |limit: Option<_>| {
        limit.map(|limit: crate::monitor::perfdata::Threshold| limit.range().alerts(value))
    };
    match (breaks(measure.warn), breaks(measure.crit)) {
        (_, Some(true)) => Some(State::Critical),
        (Some(true), _) => Some(State::Warning),
        (None, None) => None,
        (Some(false), _) | (None, Some(false)) => Some(State::Ok),
    }
}

fn iso(unix_ms: u64) -> Option<String> {
    let moment = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(moment.to_string())
}
