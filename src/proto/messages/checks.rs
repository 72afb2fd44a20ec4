//! What is said about health checks: by plugin workers, and by clients.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Json;

/// A check as its plugin declares it, with what its section of `moonkeep.toml` says over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Unique in the home.
    pub name: Box<str>,
    /// The plugin instance that it belongs to.
    pub instance: Box<str>,
    /// The plugin's file, as outcomes have it.
    pub file: String,
    pub kind: CheckKind,
    /// Start to start; for a heartbeat: how often it is expected.
    pub every: Duration,
    /// While the last result is not the confirmed state.
    pub retry_every: Duration,
    /// In the place of `every`: a cron expression, in local time.
    pub cron: Option<String>,
    /// Share of `every` by which runs are spread, 0 to 1.
    pub jitter: f64,
    pub timeout: Duration,
    /// Good results in a row that confirm a recovery.
    pub rise: u32,
    /// Bad results in a row that confirm a problem.
    pub fall: u32,
    pub tags: Vec<String>,
    /// Names of parents.
    pub needs: Vec<String>,
    /// The plugin has an `on_change` function.
    pub on_change: bool,
}

/// `[checks]` of `moonkeep.toml`: what holds for a check where neither its section nor its plugin says it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckDefaults {
    pub every: Option<Duration>,
    pub retry_every: Option<Duration>,
    pub timeout: Option<Duration>,
    pub rise: Option<u32>,
    pub fall: Option<u32>,
    /// Share of `every`, 0 to 1.
    pub jitter: Option<f64>,
}

/// What sort of check it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// It is run.
    Active,
    /// It is told of: critical when nothing was heard for `every` and `grace`.
    Heartbeat { grace: Duration },
    /// It cannot be made: unknown, with this message and traceback.
    Broken {
        message: String,
        traceback: Option<String>,
    },
}

/// What `heartbeat NAME ...` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beat {
    /// A job has begun; its end is expected within the grace.
    Start,
    Ok,
    Fail,
    /// An exit code: 0 is ok, all else a failure.
    Code(i32),
}

/// What `downtime NAME ...` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quiet {
    /// No alerts for so long.
    For(Duration),
    /// Acknowledged: no alerts until it is ok again.
    UntilOk,
    /// Alerts again.
    Off,
}

/// A plugin instance that a worker is to load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginInstance {
    /// Of its section, else the file's stem.
    pub name: String,
    /// `None`: the plugin of that stem that the binary brings.
    pub path: Option<PathBuf>,
    pub stem: String,
    /// The file as messages have it.
    pub shown: String,
    /// Its checks are named after the section, not by themselves.
    pub renames: bool,
    /// The sections of `moonkeep.toml` that are its own, with their names; and those that name no plugin, which may be
    /// named after one of its checks: the worker finds that out.
    pub sections: Vec<(String, Json)>,
}
