//! An alert in words: for placeholders, for a program's environment, as JSON. Pure.

use serde_json::{Value, json};

use super::order::Order;
use crate::monitor::alphabet::{Alert, AlertKind, Delivery};
use crate::monitor::state::State;
use crate::options::template::{NAMES, Name};

/// Longest text in a program's environment, in bytes: the system refuses more than 128 KiB.
const VARIABLE_BYTES: usize = 64 * 1024;

/// One order, and what is known beside it.
#[derive(Debug)]
pub(super) struct Words<'o> {
    pub(super) order: &'o Order,
    /// The machine's name.
    pub(super) host: String,
    /// See [`id`].
    pub(super) id: String,
}

impl<'o> Words<'o> {
    pub(super) fn of(order: &'o Order) -> Self {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy().into_owned();
        Words {
            id: id(order, &host),
            order,
            host,
        }
    }

    pub(super) fn alert(&self) -> &'o Alert {
        &self.order.delivery.alert
    }

    pub(super) fn delivery(&self) -> &'o Delivery {
        &self.order.delivery
    }

    pub(super) fn home(&self) -> String {
        self.order.home.display().to_string()
    }

    /// What a placeholder stands for.
    pub(super) fn value(&self, name: Name) -> String {
        let alert = self.alert();
        match name {
            Name::Check => alert.check.clone(),
            Name::State => alert.to.word().to_owned(),
            Name::From => alert.from.map_or("none", State::word).to_owned(),
            Name::Message => alert.message.clone(),
            Name::Kind => kind(alert.kind).to_owned(),
            Name::Summary => summary(alert),
            Name::Since => time(alert.began_unix_ms),
            Name::At => time(alert.at_unix_ms),
            Name::Tags => alert.tags.join(", "),
            Name::Measures => {
                let shown = alert.measures.iter();
                let shown = shown.map(|measure| format!("{} {}", measure.name, measure.shown()));
                shown.collect::<Vec<_>>().join(", ")
            }
            Name::Home => self.home(),
            Name::Host => self.host.clone(),
            Name::Hook => self.delivery().hook.name.clone(),
            Name::Id => self.id.clone(),
            Name::Alert => self.json().to_string(),
        }
    }

    /// The alert as programs read it: a webhook's default body, and what is on a program's standard input.
    pub(super) fn json(&self) -> Value {
        let alert = self.alert();
        json!({
            "id": self.id,
            "kind": kind(alert.kind),
            "check": alert.check,
            "state": alert.to,
            "from": alert.from,
            "message": alert.message,
            "summary": summary(alert),
            "measures": alert.measures,
            "tags": alert.tags,
            "began": time(alert.began_unix_ms),
            "began_unix_ms": alert.began_unix_ms,
            "at": time(alert.at_unix_ms),
            "at_unix_ms": alert.at_unix_ms,
            "host": self.host,
            "home": self.home(),
            "hook": self.delivery().hook.name,
            "attempt": self.attempt(),
        })
    }

    /// 1 for the first.
    fn attempt(&self) -> u32 {
        self.delivery().failed.saturating_add(1)
    }

    /// `MOONKEEP_ALERT_*`: all that has a placeholder but the whole alert, which is on standard input.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        let named = NAMES
            .iter()
            .filter(|(_, name, _)| !matches!(name, Name::Alert | Name::Home));
        let mut variables: Vec<_> = named
            .map(|(word, name, _)| {
                let value = self.value(*name);
                (
                    format!("MOONKEEP_ALERT_{}", word.to_uppercase()),
                    fitting(&value),
                )
            })
            .collect();
        variables.push((
            "MOONKEEP_ALERT_ATTEMPT".to_owned(),
            self.attempt().to_string(),
        ));
        variables.push((crate::paths::HOME_VARIABLE.to_owned(), self.home()));
        variables
    }
}

/// By what a hook knows an alert that it has seen before: the same at each attempt, and no other's in any home.
fn id(order: &Order, host: &str) -> String {
    let delivery = &order.delivery;
    let mut hasher = blake3::Hasher::new();
    for part in [
        host.as_bytes(),
        order.home.as_os_str().as_encoded_bytes(),
        &delivery.id.0.to_le_bytes(),
        &delivery.alert.at_unix_ms.to_le_bytes(),
        delivery.alert.check.as_bytes(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What a variable of the environment can hold.
fn fitting(value: &str) -> String {
    beginning(value, VARIABLE_BYTES).replace('\0', "\u{fffd}")
}

/// As many whole characters as fit into `most` bytes.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn kind(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Problem => "problem",
        AlertKind::Recovery => "recovery",
        AlertKind::FlappingStart => "flapping_start",
        AlertKind::FlappingStop => "flapping_stop",
    }
}

/// One line that says it all.
pub(super) fn summary(alert: &Alert) -> String {
    let title = match alert.kind {
        AlertKind::Problem | AlertKind::Recovery => alert.to.label().to_owned(),
        AlertKind::FlappingStart => "FLAPPING".to_owned(),
        AlertKind::FlappingStop => format!("{}, no longer flapping", alert.to.label()),
    };
    let message = alert.message.lines().next().unwrap_or_default().trim();
    match message {
        "" => format!("{title}: {}", alert.check),
        message => format!("{title}: {}: {message}", alert.check),
    }
}

/// `2026-11-21T03:40:12Z`.
fn time(unix_ms: u64) -> String {
    exact_time(unix_ms / 1_000 * 1_000)
}

/// With its milliseconds.
pub(super) fn exact_time(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_fits_the_environment() {
        assert_eq!(beginning("aüb", 2), "a");
        assert_eq!(beginning("aüb", 3), "aü");
        assert_eq!(beginning("aüb", 9), "aüb");
        assert_eq!(fitting("a\0b"), "a\u{fffd}b");
        assert!(fitting(&"ü".repeat(VARIABLE_BYTES)).len() <= VARIABLE_BYTES);
    }

    #[test]
    fn times_are_those_of_the_calendar_whatever_the_number() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_795_232_412_999), "2026-11-21T03:40:12Z");
        assert_eq!(exact_time(1_795_232_412_005), "2026-11-21T03:40:12.005Z");
        assert!(exact_time(u64::MAX).starts_with("9999-"));
    }
}
