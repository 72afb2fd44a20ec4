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
    let flapping = |stands| Change {
        subject: Subject::Flapping,
        stands,
    };
    let mut changes = Vec::new();
    match alert.kind {
        AlertKind::FlappingStart => return vec![flapping(true)],
        AlertKind::FlappingStop => changes.push(flapping(false)),
        AlertKind::Problem | AlertKind::Recovery => {}
    }
    if alert.to != State::Ok {
        changes.push(Change {
            subject: Subject::In(alert.to),
            stands: true,
        });
    }
    changes.extend(before(alert, hook).into_iter().map(|state| Change {
        subject: Subject::In(state),
        stands: false,
    }));
    changes
}

/// The bad states in which Alertmanager may still believe the check. A hook that hears of some states only, or that
/// was told nothing while the check was flapping, may have missed what was in between.
fn before(alert: &Alert, hook: &Hook) -> Vec<State> {
    let told = |state: &State| {
        let is_named = hook.states.iter().any(|word| word == state.word());
        hook.states.is_empty() || is_named
    };
    let is_sure = alert.kind != AlertKind::FlappingStop && hook.states.is_empty();
    let bad = State::ALL.into_iter().filter(|state| *state != State::Ok);
    match alert.from {
        Some(from) if is_sure && from != State::Ok => bad
            .filter(|state| *state == from && *state != alert.to)
            .collect(),
        // A problem of a check that was ok: nothing stands there.
        Some(_) | None if is_sure && alert.kind == AlertKind::Problem => Vec::new(),
        Some(_) | None => bad
            .filter(|state| *state != alert.to && (told(state) || alert.from == Some(*state)))
            .collect(),
    }
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
