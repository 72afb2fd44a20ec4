//! What was written in headers and in `moonkeep.toml`, and what it means.
//!
//! Pure: text in, [`Settings`] out. Finding and reading the files is the business of `scripts`.
//!
//! [`header`] reads a script's own block, [`config`] reads `moonkeep.toml`; both know the same keys,
//! from one table, out of which [`mod@reference`] renders the page that describes them. [`checks`] and [`alerts`]
//! are the sections that the daemon's health checks have, with tables of their own.

pub mod alerts;
pub mod checks;
pub mod config;
mod document;
pub mod environment;
pub mod header;
pub mod http;
mod keys;
pub mod reference;
pub mod secret;
pub mod template;
pub mod value;

pub use config::Config;
pub use document::Fault;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::proto::messages::Encoding;
pub use crate::proto::messages::{Allow, SandboxMode};

/// Everything that can be set for one script: defaults, then its header, then `[script.NAME]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `false`: never started by itself.
    pub enabled: bool,
    pub restart: RestartPolicy,
    pub reload: ReloadMode,
    pub protocol: Protocol,
    /// Executables only; Lua workers always speak JSON.
    pub encoder: Encoding,
    pub durability: Durability,
    pub concurrency: u32,
    pub queue: usize,
    pub timeout: Duration,
    pub ready_timeout: Duration,
    pub stop_timeout: Duration,
    /// Requests a second and burst; `None`: no limit.
    pub rate: Option<Rate>,
    pub env: BTreeMap<String, String>,
    pub args: Vec<String>,
    pub allow: Allow,
    /// Whom it runs as, if not as the daemon's user. The home's `moonkeep.toml` alone says it.
    #[serde(default)]
    pub user: Option<String>,
    /// `None`: on for Lua scripts, off for executables.
    pub sandbox: Option<SandboxMode>,
    /// Its processes may start, stop, reload and evaluate scripts, and end the daemon.
    pub allow_control: bool,
    pub memory_bytes: usize,
    /// `limits.cpu = "off"` switches preemption off.
    pub preempt: bool,
    pub files: u64,
    /// Leave helpers that a dead worker's group still holds alone (rule: they are killed).
    pub keep_children: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            enabled: true,
            restart: RestartPolicy::Always,
            reload: ReloadMode::Overlap,
            protocol: Protocol::Ids,
            encoder: Encoding::Text,
            durability: Durability::Process,
            concurrency: limits::CONCURRENCY,
            queue: limits::QUEUE_ITEMS,
            timeout: limits::REQUEST_TIMEOUT,
            ready_timeout: limits::READY_TIMEOUT,
            stop_timeout: limits::STOP_TIMEOUT,
            rate: None,
            env: BTreeMap::new(),
            args: Vec::new(),
            allow: Allow::default(),
            user: None,
            sandbox: None,
            allow_control: false,
            memory_bytes: limits::LUA_MEMORY,
            preempt: true,
            files: limits::WORKER_FILES,
            keep_children: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadMode {
    Overlap,
    StopFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Answers carry tickets.
    Ids,
    /// No ids at all; concurrency is 1.
    Legacy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    Power,
    Process,
    Off,
}

/// A token bucket: `"100/s"`, `"5/m"`; the burst is one period's worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub burst: u32,
    /// The time in which an empty bucket fills.
    pub period: Duration,
}
