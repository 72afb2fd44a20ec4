//! Prometheus' Alertmanager, API v2.
//!
//! There an alert is its labels: whoever sends the same labels again speaks of the same alert. It stands until its
//! `endsAt`; one that is sent without it ends after Alertmanager's own `resolve_timeout` (5 minutes) unless it is sent
//! again all the time, as Prometheus does. We tell of changes only, so a problem is sent with an end that is far off,
//! and ended by sending it once more with an end that is past.
//!
//! Two things follow. `severity` is a label, so a problem that gets worse is another alert there, and the one before
//! has to be ended in the same request. And an end that is not past *on Alertmanager's clock* is no end: it keeps the
//! later of both. So the clock of its answer is looked at, and if it is behind ours, the end is sent again.

use serde_json::{Value, json};

use super::request::Request;
use super::words::{Words, exact_time, summary};
use crate::monitor::alphabet::{Alert, AlertKind, Undelivered};
use crate::monitor::state::State;
use crate::options::alerts::Hook;

/// How far off the end of a problem is. Longer than any; if the daemon never comes back, it ends then.
const STANDS_MS: u64 = 366 * 24 * 3_600 * 1_000;
/// An end is sent as this much earlier: so far two clocks that are kept right may differ.
const SKEW_MS: u64 = 2_000;

/// Sends it. Cancel safe.
pub(super) async fn send(
    url: &str,
    headers: &[(String, String)],
    words: &Words<'_>,
) -> Result<(), Undelivered> {
    let request = Request::new(url, "POST", headers, words)?
        .below("/api/v2/alerts")
        .content_type("application/json");
    let now = words.alert().at_unix_ms;
    let end = now.saturating_sub(SKEW_MS);
    let accepted = request.send(Some(body(words, end).to_string())).await?;
    match accepted.date {
        Some(theirs) if theirs < end && has_an_end(words) => {
            let end = theirs.saturating_sub(SKEW_MS);
            request
                .send(Some(body(words, end).to_string()))
                .await
                .map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// What stands now, and what has ended at `end`.
fn body(words: &Words<'_>, end: u64) -> Value {
    let alert = words.alert();
    let changes = changes(alert, &words.delivery().hook);
    let alerts = changes.iter().map(|change| {
        let ends = match change.stands {
            true => alert.at_unix_ms.max(alert.began_unix_ms) + STANDS_MS,
            // Not before it began: that would be refused.
            false => end.max(alert.began_unix_ms),
        };
        let mut entry = json!({
            "labels": labels(words, change),
            "annotations": annotations(words),
            "startsAt": exact_time(alert.began_unix_ms),
            "endsAt": exact_time(ends),
        });
        if let Some(page) = &words.order.page {
            entry["generatorURL"] = page.as_str().into();
        }
        entry
    });
    Value::Array(alerts.collect())
}

fn has_an_end(words: &Words<'_>) -> bool {
    let changes = changes(words.alert(), &words.delivery().hook);
    changes.iter().any(|change| !change.stands)
}

/// One of Alertmanager's alerts, and whether it stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    subject: Subject,
    stands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The check is in this state.
    In(State),
    /// It changes all the time.
    Flapping,
}

fn changes(alert: &Alert, hook: &Hook) -> Vec<Change> {
    let change = |subject, stands| Change { subject, stands };
    match alert.kind {
        AlertKind::FlappingStart => vec![change(Subject::Flapping, true)],
        AlertKind::FlappingStop => vec![change(Subject::Flapping, false)],
        AlertKind::Recovery => ended(alert, hook),
        AlertKind::Problem => {
            let mut changes = vec![change(Subject::In(alert.to), true)];
            changes.extend(ended(alert, hook));
            changes
        }
    }
}

/// What this hook was told of the same problem before. A recovery of which that is not known ends whatever may stand.
fn ended(alert: &Alert, hook: &Hook) -> Vec<Change> {
    let is_unknown = alert.told.is_empty() && alert.kind == AlertKind::Recovery;
    let was_told = |state: &State| {
        let is_wanted =
            hook.states.is_empty() || hook.states.iter().any(|word| word == state.word());
        is_wanted && (is_unknown || alert.told.contains(state))
    };
    State::ALL
        .into_iter()
        .filter(|state| *state != State::Ok && *state != alert.to)
        .filter(was_told)
        .map(|state| Change {
            subject: Subject::In(state),
            stands: false,
        })
        .collect()
}

/// By these Alertmanager knows it again, so nothing that changes while it stands may be among them.
fn labels(words: &Words<'_>, change: &Change) -> Value {
    let alert = words.alert();
    let severity = match change.subject {
        Subject::In(state) => state.word(),
        Subject::Flapping => "warning",
    };
    let mut labels = json!({
        "alertname": alert.check,
        "check": alert.check,
        "severity": severity,
        "instance": words.host,
        "home": words.home(),
        "job": "moonkeep",
    });
    if change.subject == Subject::Flapping {
        labels["flapping"] = "true".into();
    }
    if !alert.tags.is_empty() {
        labels["tags"] = format!(",{},", alert.tags.join(",")).into();
    }
    labels
}

fn annotations(words: &Words<'_>) -> Value {
    let alert = words.alert();
    let measures = words.value(crate::options::template::Name::Measures);
    let mut annotations = json!({
        "summary": summary(alert),
        "description": alert.message,
    });
    if !measures.is_empty() {
        annotations["measures"] = measures.into();
    }
    annotations
}
