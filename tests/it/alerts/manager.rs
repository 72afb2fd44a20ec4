//! Alertmanager, played by the rules of its API v2 and of what it keeps (`provider/mem`, `types.Alert.Merge`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::server::{Answer, Request, Server};
use super::*;

/// What Alertmanager keeps of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    starts: i64,
    ends: i64,
}

/// Alertmanager, as far as it concerns who posts alerts: a table by labels.
#[derive(Debug, Default)]
struct Manager {
    alerts: BTreeMap<BTreeMap<String, String>, Kept>,
}

impl Manager {
    /// `POST /api/v2/alerts` at `now`: `Err` is a 400.
    fn post(&mut self, body: &Value, now: i64) -> Result<(), String> {
        for entry in body.as_array().ok_or("an array is wanted")? {
            let (labels, new) = validated(entry, now)?;
            let merged = match self.alerts.get(&labels) {
                Some(old) if overlap(*old, new) => merge(*old, new, now),
                Some(_) | None => new,
            };
            self.alerts.insert(labels, merged);
        }
        Ok(())
    }

    /// What stands at `now`: `severity` by name, with `/flapping`.
    fn standing(&self, now: i64) -> Vec<String> {
        let stands = self.alerts.iter().filter(|(_, kept)| kept.ends > now);
        let mut found: Vec<String> = stands
            .map(|(labels, _)| {
                let flapping = labels.get("flapping").map_or("", |_| "/flapping");
                format!("{}{flapping}", labels["severity"])
            })
            .collect();
        found.sort();
        found
    }
}

/// Any overlap in activity, in Alertmanager's own words.
fn overlap(old: Kept, new: Kept) -> bool {
    (new.ends > old.starts && new.ends < old.ends)
        || (new.starts > old.starts && new.starts < old.ends)
}

fn merge(old: Kept, new: Kept, now: i64) -> Kept {
    let resolved = new.ends <= now;
    let ends = match resolved {
        true if old.ends <= now => old.ends.max(new.ends),
        true => new.ends,
        false => old.ends.max(new.ends),
    };
    Kept {
        starts: old.starts.min(new.starts),
        ends,
    }
}

fn validated(entry: &Value, now: i64) -> Result<(BTreeMap<String, String>, Kept), String> {
    let known = [
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
    ];
    for key in entry.as_object().ok_or("an object is wanted")?.keys() {
        if !known.contains(&key.as_str()) {
            return Err(format!("unknown field {key}"));
        }
    }
    let labels = set(&entry["labels"])?;
    if labels.is_empty() {
        return Err("at least one label pair required".to_owned());
    }
    set(&entry["annotations"])?;
    let time = |key: &str| -> Result<i64, String> {
        let text = entry[key].as_str().ok_or(format!("{key} is a text"))?;
        let moment: jiff::Timestamp = text.parse().map_err(|_| format!("{key} {text}"))?;
        Ok(moment.as_millisecond())
    };
    let (starts, ends) = (time("startsAt")?, time("endsAt")?);
    if ends < starts {
        return Err("start time must be before end time".to_owned());
    }
    if starts > now + 1_000_000_000 {
        return Err("a start in the far future is no alert of ours".to_owned());
    }
    if let Some(page) = entry.get("generatorURL")
        && !page.as_str().is_some_and(|page| page.starts_with("http"))
    {
        return Err("generatorURL is a URI".to_owned());
    }
    Ok((labels, Kept { starts, ends }))
}

/// Names `[a-zA-Z_][a-zA-Z0-9_]*`, values text; the empty ones are dropped.
fn set(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for (name, text) in value.as_object().ok_or("a set of labels is an object")? {
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let text = text.as_str().ok_or(format!("{name} is no text"))?;
        if !fits {
            return Err(format!("invalid label name {name}"));
        }
        if !text.is_empty() {
            out.insert(name.clone(), text.to_owned());
        }
    }
    Ok(out)
}

/// Sends these alerts one after the other through a section; gives what a manager whose clock is `behind` ms
/// behind ours believes then.
fn believed(section: &str, alerts: &[Alert], behind: i64) -> Vec<String> {
    let home = Home::new();
    let mut manager = Manager::default();
    let mut now = 0;
    for alert in alerts {
        now = i64::try_from(alert.at_unix_ms).expect("our times") - behind;
        let date = jiff::Timestamp::from_millisecond(now).expect("a time");
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&date)
            .expect("a date");
        let server = Server::start(&[Answer::Header(200, format!("Date: {date}"))]);
        let section = format!("alertmanager = \"{}\"\n{section}", server.address());
        let (end, said) = deliver(&home, &section, alert.clone());
        assert_eq!(end, End::Delivered, "{said}");
        for request in server.requests() {
            assert_eq!(request.line, "POST /api/v2/alerts HTTP/1.1");
            assert_eq!(request.header("content-type"), Some("application/json"));
            manager.post(&request.json(), now).expect("by the rules");
        }
    }
    manager.standing(now)
}

/// After these states of the same problem were told.
fn change(told: &[State], to: State, minute: u64) -> Alert {
    let kind = match to {
        State::Ok => AlertKind::Recovery,
        State::Warning | State::Unknown | State::Critical => AlertKind::Problem,
    };
    Alert {
        kind,
        from: told.last().copied().or(Some(State::Ok)),
        to,
        told: told.to_vec(),
        at_unix_ms: BEGAN + minute * 60_000,
        ..problem()
    }
}

fn flapping(kind: AlertKind, to: State, minute: u64) -> Alert {
    Alert {
        kind,
        ..change(&[], to, minute)
    }
}

#[test]
fn what_stands_there_is_what_was_told_after_every_change() {
    use State::{Critical, Ok, Unknown, Warning};
    let life = [
        (change(&[], Warning, 1), vec!["warning"]),
        (change(&[Warning], Unknown, 2), vec!["unknown"]),
        (change(&[Warning, Unknown], Critical, 3), vec!["critical"]),
        (
            flapping(AlertKind::FlappingStart, Critical, 4),
            vec!["critical", "warning/flapping"],
        ),
        (flapping(AlertKind::FlappingStop, Ok, 9), vec!["critical"]),
        (change(&[Warning, Unknown, Critical], Ok, 9), vec![]),
        (change(&[], Critical, 10), vec!["critical"]),
        (change(&[Critical], Ok, 11), vec![]),
    ];
    let alerts: Vec<Alert> = life.iter().map(|(alert, _)| alert.clone()).collect();
    for (count, (_, expected)) in life.iter().enumerate() {
        assert_eq!(
            &believed("", &alerts[..=count], 0),
            expected,
            "after {count}"
        );
    }
}

// An end in Alertmanager's future would be no end at all.
#[test]
fn a_problem_ends_there_whatever_the_two_clocks_say() {
    use State::{Critical, Ok};
    let life = [change(&[], Critical, 1), change(&[Critical], Ok, 30)];
    for behind in [0, 900, 30_000, 600_000, 3_600_000, -30_000, -600_000] {
        assert_eq!(
            believed("", &life[..1], behind),
            ["critical"],
            "{behind} ms behind"
        );
        let left = believed("", &life, behind);
        // A clock that is behind by more than the outage took: it ends there when it began, by that clock.
        if behind < 29 * 60_000 {
            assert_eq!(left, [""; 0], "{behind} ms behind");
        }
    }
}

#[test]
fn an_end_names_what_this_hook_was_told_and_nothing_else() {
    use State::{Critical, Ok, Warning};
    let severities = |states: &str| {
        let alert = change(&[Warning, Critical], Ok, 3);
        let home = Home::new();
        let server = Server::start(&[Answer::Status(200)]);
        let section = format!("alertmanager = \"{}\"\nstates = {states}", server.address());
        assert_eq!(deliver(&home, &section, alert).0, End::Delivered);
        let body = server.only_request().json();
        let ended = body.as_array().expect("a list").iter();
        ended
            .map(|alert| alert["labels"]["severity"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(severities("[]"), ["warning", "critical"]);
    assert_eq!(severities("[\"critical\", \"unknown\"]"), ["critical"]);
}

fn sent(home: &Home, alert: Alert, page: Option<&str>) -> Request {
    let server = Server::start(&[Answer::Status(200)]);
    // Behind a proxy it may have a folder of its own.
    let section = format!(
        "alertmanager = \"{}/am/\"\nheaders.Authorization = \"Bearer env:AM\"",
        server.address()
    );
    let mut order = order(home, hook(&section), alert);
    order.page = page.map(str::to_owned);
    let attempt = Attempt::start(home, &order, &[("AM", "t0ken-am")]);
    assert_eq!(attempt.end(), (End::Delivered, String::new()));
    server.only_request()
}

#[test]
fn the_request_says_all_that_is_known() {
    let home = Home::new();
    let request = sent(&home, problem(), Some("http://127.0.0.1:9620/"));
    assert_eq!(request.line, "POST /am/api/v2/alerts HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer t0ken-am"));
    let body = request.json();
    let alert = &body[0];
    let labels = &alert["labels"];
    for (name, value) in [
        ("alertname", "web"),
        ("check", "web"),
        ("severity", "critical"),
        ("job", "moonkeep"),
        ("tags", ",prod,http,"),
    ] {
        assert_eq!(labels[name], value, "{body}");
    }
    assert_eq!(
        alert["annotations"]["summary"],
        "CRITICAL: web: cannot \"connect\""
    );
    assert_eq!(alert["annotations"]["measures"], "time 0.31 s");
    assert_eq!(alert["startsAt"], "2026-11-21T03:40:12.345Z");
    assert_eq!(alert["endsAt"], "2027-11-22T03:41:12.345Z");
    assert_eq!(alert["generatorURL"], "http://127.0.0.1:9620/");
    let recovered = sent(&home, recovery(), None).json();
    assert_eq!(
        recovered[0]["labels"], *labels,
        "by these it is known again"
    );
    assert_eq!(recovered[0]["startsAt"], alert["startsAt"]);
    assert_eq!(recovered[0]["endsAt"], "2026-11-21T03:42:10.345Z");
    assert!(recovered[0].get("generatorURL").is_none());
}
