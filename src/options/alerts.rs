//! `[alert.NAME]`: where alerts go.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Value;

use super::document::{Entry, Fault};
use super::template::{Escape, Name, Template};
use super::{keys, secret, value};
use crate::limits;

/// One way out for alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Of its section; `on_change of INSTANCE` for a plugin's own.
    pub name: String,
    pub action: Action,
    /// For one attempt.
    pub timeout: Duration,
    /// Only for checks with one of these tags; empty: for all.
    pub tags: Vec<String>,
    /// Only for these states (in lower case) and their recoveries; empty: for all.
    pub states: Vec<String>,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Runs a program, without a shell; the alert is on its standard input (JSON) and in its environment.
    Exec { argv: Vec<String> },
    /// One request; `{{check}}`, `{{state}}`, ... in `url`, `headers` and `body` are replaced.
    Webhook {
        url: String,
        method: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    },
    /// Prometheus' Alertmanager, API v2.
    Alertmanager {
        url: String,
        headers: Vec<(String, String)>,
    },
    /// The plugin's own function.
    OnChange,
}

/// One key of `[alert.NAME]`.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
    pub(super) example: &'static str,
    set: fn(&mut Draft, &Value) -> Result<(), String>,
}

/// A section while it is read.
#[derive(Debug, Default)]
struct Draft {
    exec: Option<Vec<String>>,
    webhook: Option<String>,
    alertmanager: Option<String>,
    method: Option<String>,
    headers: Option<Vec<(String, String)>>,
    body: Option<String>,
    timeout: Option<Duration>,
    tags: Vec<String>,
    states: Vec<String>,
    disabled: bool,
}

/// In the order of the reference page.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "exec",
        default: "",
        doc: "Runs a program, without a shell: a list of words. The alert is on its standard input, as JSON, and in its environment (`MOONKEEP_ALERT_STATE`, ...). Exit code 0 is success.",
        example: "exec = [\"/usr/local/bin/page\", \"--team\", \"web\"]",
        set: |draft, value| {
            let words = value::texts(value, limits::SETTING_ENTRIES, no_nul)?;
            if words.first().is_none_or(String::is_empty) {
                return Err("the first word names the program, and must not be empty".to_owned());
            }
            draft.exec = Some(words);
            Ok(())
        },
    },
    Key {
        name: "webhook",
        default: "",
        doc: "Sends a request to this address. Placeholders such as `{{check}}` are filled in. `\"env:NAME\"` and `\"file:PATH\"` stand for an address that is itself a secret.",
        example: "webhook = \"https://ntfy.example.org/ops\"",
        set: |draft, value| address(value).map(|url| draft.webhook = Some(url)),
    },
    Key {
        name: "alertmanager",
        default: "",
        doc: "Tells Prometheus' Alertmanager (API v2) at this address.",
        example: "alertmanager = \"http://127.0.0.1:9093\"",
        set: |draft, value| address(value).map(|url| draft.alertmanager = Some(url)),
    },
    Key {
        name: "method",
        default: "\"POST\"",
        doc: "Of a webhook: `\"POST\"`, `\"PUT\"`, `\"PATCH\"` or `\"GET\"`, which has no body.",
        example: "method = \"PUT\"",
        set: |draft, value| {
            let words = ["POST", "PUT", "PATCH", "GET"].map(|word| (word, word));
            value::word(value, &words).map(|word| draft.method = Some(word.to_owned()))
        },
    },
    Key {
        name: "headers",
        default: "{}",
        doc: "Of a webhook or an Alertmanager: names and values, with placeholders. Where a value's last word is `env:NAME` or `file:PATH`, a variable of the daemon's environment or the text of a file (absolute, or relative to the home) stands in its place.",
        example: "headers = { Authorization = \"Bearer env:NTFY_TOKEN\", Title = \"{{summary}}\" }",
        set: |draft, value| headers(value).map(|headers| draft.headers = Some(headers)),
    },
    Key {
        name: "body",
        default: "",
        doc: "Of a webhook: a text with placeholders; left out, it is the alert as JSON. A body that begins with `{` or `[` (not with a placeholder), or whose `Content-Type` says so, is JSON: what is filled in is escaped for the inside of a JSON string. `{{message|raw}}` is not escaped, `{{message|json}}` and `{{message|url}}` are.",
        example: "body = '{\"text\": \"{{summary}}\"}'",
        set: |draft, value| {
            let text = value
                .as_str()
                .ok_or_else(|| value::expected("a text", value))?;
            Template::parse(text)?;
            draft.body = Some(text.to_owned());
            Ok(())
        },
    },
    Key {
        name: "timeout",
        default: "\"10s\"",
        doc: "For one attempt, 100 ms to 5 minutes. A program that takes longer is killed, with all that it has started.",
        example: "timeout = \"30s\"",
        set: |draft, value| {
            let (least, most) = (limits::ALERT_TIMEOUT_LEAST, limits::ALERT_TIMEOUT_MOST);
            value::duration(value, least, most).map(|time| draft.timeout = Some(time))
        },
    },
    Key {
        name: "tags",
        default: "[]",
        doc: "Only for checks that have one of these tags; empty: for all.",
        example: "tags = [\"web\", \"db\"]",
        set: |draft, value| {
            value::texts(value, limits::SETTING_ENTRIES, no_nul).map(|list| draft.tags = list)
        },
    },
    Key {
        name: "states",
        default: "[]",
        doc: "Only for problems of these states, and their recoveries: of `\"warning\"`, `\"critical\"`, `\"unknown\"`; empty: for all.",
        example: "states = [\"critical\"]",
        set: |draft, value| {
            value::texts(value, limits::SETTING_ENTRIES, problem).map(|list| draft.states = list)
        },
    },
    Key {
        name: "enabled",
        default: "true",
        doc: "`false`: nothing is sent this way.",
        example: "enabled = false",
        set: |draft, value| value::boolean(value).map(|flag| draft.disabled = !flag),
    },
];

/// Reads a section. `None`: it is switched off.
pub(super) fn read(section: &Entry) -> Result<Option<Hook>, Fault> {
    let mut draft = Draft::default();
    for entry in &section.inner {
        let fault = |message: String| Fault::new(entry.line, message);
        let Some(key) = KEYS.iter().find(|key| key.name == entry.key) else {
            let known = KEYS.iter().map(|key| key.name);
            return Err(fault(keys::unknown(&entry.key, known)));
        };
        (key.set)(&mut draft, &entry.value).map_err(|why| {
            fault(format!(
                "{}: {why}; write for example: {}",
                key.name, key.example
            ))
        })?;
    }
    let named = |why: String| Fault::new(section.line, format!("[alert.{}] {why}", section.key));
    if section.key.is_empty() || section.key.chars().any(char::is_control) {
        return Err(named(
            "must have a name, without control characters".to_owned(),
        ));
    }
    let is_on = !draft.disabled;
    let hook = Hook {
        name: section.key.clone(),
        timeout: draft.timeout.unwrap_or(limits::ALERT_TIMEOUT),
        tags: std::mem::take(&mut draft.tags),
        states: std::mem::take(&mut draft.states),
        action: draft.action().map_err(named)?,
    };
    Ok(is_on.then_some(hook))
}

impl Draft {
    /// Exactly one way, and only what belongs to it.
    fn action(self) -> Result<Action, String> {
        let idle = self.misplaced();
        let ways = [
            self.exec.is_some(),
            self.webhook.is_some(),
            self.alertmanager.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(
                "has more than one of exec, webhook and alertmanager; make a section of each"
                    .to_owned(),
            );
        }
        if let Some(key) = idle {
            return Err(format!(
                "has `{key}`, which says something of a request: it belongs beside a webhook"
            ));
        }
        let headers = self.headers.unwrap_or_default();
        if let Some(argv) = self.exec {
            return Ok(Action::Exec { argv });
        }
        if let Some(url) = self.alertmanager {
            return Ok(Action::Alertmanager { url, headers });
        }
        let Some(url) = self.webhook else {
            return Err("does nothing; add exec = [\"PROGRAM\"], webhook = \"https://...\" or alertmanager = \"http://...\"".to_owned());
        };
        let method = self.method.unwrap_or_else(|| "POST".to_owned());
        if method == "GET" && self.body.is_some() {
            return Err(
                "has a body, but a GET request carries none; use method = \"POST\"".to_owned(),
            );
        }
        if let Some(body) = &self.body {
            check_json(body, &headers)?;
        }
        Ok(Action::Webhook {
            url,
            method,
            headers,
            body: self.body,
        })
    }

    /// A key that means nothing beside the way that was chosen.
    fn misplaced(&self) -> Option<&'static str> {
        let is_webhook = self.webhook.is_some();
        let is_request = is_webhook || self.alertmanager.is_some();
        if self.method.is_some() && !is_webhook {
            Some("method")
        } else if self.body.is_some() && !is_webhook {
            Some("body")
        } else if self.headers.is_some() && !is_request {
            Some("headers")
        } else {
            None
        }
    }
}

/// Whether what is filled into a body has to be escaped for JSON: by its type, else by its first character.
#[must_use]
pub fn is_json(body: &str, headers: &[(String, String)]) -> bool {
    let kind = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    match kind {
        Some((_, kind)) => kind.to_ascii_lowercase().contains("json"),
        // A placeholder is no object.
        None => {
            let body = body.trim_start();
            body.starts_with('[') || (body.starts_with('{') && !body.starts_with("{{"))
        }
    }
}

/// A body that is to be JSON and would not be one is found now, not at the first alert.
fn check_json(body: &str, headers: &[(String, String)]) -> Result<(), String> {
    if !is_json(body, headers) {
        return Ok(());
    }
    let sample = |name: Name| match name {
        Name::Alert => "{}".to_owned(),
        Name::Check
        | Name::State
        | Name::From
        | Name::Message
        | Name::Kind
        | Name::Summary
        | Name::Since
        | Name::At
        | Name::Tags
        | Name::Measures
        | Name::Home
        | Name::Host
        | Name::Hook
        | Name::Id => "x".to_owned(),
    };
    let filled = Template::parse(body)?.fill(Escape::Json, sample);
    match serde_json::from_str::<serde::de::IgnoredAny>(&filled) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "has a body that is no JSON once it is filled in ({error}); put quotes around placeholders, or say headers = {{ \"Content-Type\" = \"text/plain\" }}"
        )),
    }
}

/// An address, or a reference to one.
fn address(value: &Value) -> Result<String, String> {
    let wanted = "an address such as \"https://example.org/hook\"";
    let text = value
        .as_str()
        .ok_or_else(|| value::expected(wanted, value))?;
    if secret::Reference::parse(text)?.is_some() {
        return Ok(text.to_owned());
    }
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
    if !fits || text.contains(|c: char| c.is_control()) {
        return Err(format!(
            "expected {wanted}, with http:// or https:// and a host"
        ));
    }
    Template::parse(text)?;
    Ok(text.to_owned())
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, String> {
    let wanted = "a table of texts, such as { Title = \"{{summary}}\" }";
    let table = value
        .as_table()
        .ok_or_else(|| value::expected(wanted, value))?;
    if table.len() > limits::SETTING_ENTRIES {
        let most = limits::SETTING_ENTRIES;
        return Err(format!("holds {} headers; at most {most} fit", table.len()));
    }
    let mut out = Vec::with_capacity(table.len());
    for (name, entry) in table {
        let text = entry
            .as_str()
            .ok_or_else(|| value::expected(&format!("a text for {name}"), entry))?;
        header(name, text)?;
        out.push((name.clone(), text.to_owned()));
    }
    Ok(out)
}

fn header(name: &str, text: &str) -> Result<(), String> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(sign) {
        return Err(format!("{name:?} cannot name a header"));
    }
    let own = ["host", "content-length", "transfer-encoding", "connection"];
    if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("{name} cannot be set: it follows from the request"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("the value of {name} holds a control character"));
    }
    secret::of_header(text)?;
    Template::parse(text).map(drop)
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("{text:?} holds a NUL character"));
    }
    Ok(())
}

fn problem(text: &str) -> Result<(), String> {
    if ["warning", "critical", "unknown"].contains(&text) {
        return Ok(());
    }
    Err(format!(
        "expected \"warning\", \"critical\" or \"unknown\", found {text:?}"
    ))
}

#[cfg(test)]
mod tests;
