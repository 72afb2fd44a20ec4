//! `[alert.NAME]`: where alerts go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// One request; `{{check}}`, `{{state}}`, ... in `url` and `body` are replaced.
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
