//! What is shown of the checks: one snapshot, from which text, JSON, HTTP and the status page are rendered.

use serde::{Deserialize, Serialize};

use super::perfdata::Measure;
use super::state::State;

/// All checks, or those that were asked for, sorted by name. Its JSON form is that of `checks --json` and of
/// `/checks.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChecksView {
    /// The worst confirmed state of what is not quiet; what is so only because it flaps counts.
    pub state: State,
    pub at_unix_ms: u64,
    pub checks: Vec<CheckView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    pub name: String,
    /// `active` or `heartbeat`.
    pub kind: Kind,
    /// What the last run gave; `None`: it has not run.
    pub last: Option<State>,
    /// What counts: it was seen often enough in a row. `None`: not yet known.
    pub confirmed: Option<State>,
    /// How often in a row `last` was seen, of how many are needed, while it is not confirmed.
    pub seen: u32,
    pub needed: u32,
    /// Since when it is in its confirmed state.
    pub since_unix_ms: Option<u64>,
    pub message: String,
    pub measures: Vec<Measure>,
    pub tags: Vec<String>,
    pub needs: Vec<String>,
    pub file: String,
    pub duration_seconds: Option<f64>,
    pub every_seconds: Option<f64>,
    pub cron: Option<String>,
    pub last_run_unix_ms: Option<u64>,
    pub next_run_unix_ms: Option<u64>,
    pub is_running: bool,
    /// The last 21 results, oldest first.
    pub history: Vec<State>,
    /// The worst state of each of the last 48 half hours, oldest first; `None`: nothing is known of it.
    pub bars: Vec<Option<State>>,
    /// Shares of the time that was watched in which it was not confirmed critical or unknown, 0 to 1.
    pub uptime: Uptime,
    /// Runs by result, since the daemon's start: ok, warning, critical, unknown.
    pub runs: [u64; 4],
    pub is_flapping: bool,
    pub flapping_percent: f64,
    /// Why no alert would be raised now: `downtime`, `acknowledged`, `parent PARENT`, `flapping`.
    pub quiet: Option<String>,
    /// Until when it is quiet, if that is known, and what was said of it.
    pub quiet_until_unix_ms: Option<u64>,
    pub quiet_why: Option<String>,
}

/// What sort of check it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Active,
    Heartbeat,
}

/// `None`: nothing was watched in that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Uptime {
    pub hour: Option<f64>,
    pub day: Option<f64>,
    pub week: Option<f64>,
    pub month: Option<f64>,
}

/// What the daemon says of itself beside its checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub version: String,
    pub uuid: String,
    /// The home's folder, as people read it.
    pub home: String,
    pub uptime_seconds: f64,
    pub clients: u64,
    /// Requests that wait or run.
    pub requests: u64,
    /// What `status` warns of.
    pub warnings: Vec<String>,
    /// By name; plugins are none.
    pub scripts: Vec<ScriptFacts>,
}

/// One script, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScriptFacts {
    pub name: String,
    /// As in `status`: `ready`, `backoff`, ...
    pub state: String,
    pub restarts: u64,
    pub in_flight: u64,
    pub queued: u64,
    /// `None`: it does not run, or could not find out.
    pub memory_bytes: Option<u64>,
}
