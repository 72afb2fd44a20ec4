//! The monitor's alphabet: everything that can happen to it, everything that it can want. Data, so that a recorded
//! run replays.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::perfdata::Measure;
use super::result::Outcome;
use super::state::State;
use crate::options::alerts::Hook;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Beat, CheckSpec, Json, Quiet};

/// Names one run of one check. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names one `check` command of a client, until its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckAsk(pub u64);

/// Names one alert on its way through one hook; kept over restarts, never reused in a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId(pub u64);

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// Time has passed: look at the timers.
    Tick,
    /// What was kept of earlier daemons. First of all, at most once.
    Restored(Box<Kept>),
    /// The wall clock and the zone's offset now; also what `AskClock` asked for. It may jump either way.
    Clock { unix_ms: u64, offset_seconds: i32 },
    /// What `moonkeep.toml` says about all checks, at the start and when it has changed.
    Configured(Box<Configured>),
    /// All checks of a plugin worker, in the place of those before. What is kept of a check is found by its name.
    Declared {
        plugin: ScriptName,
        checks: Vec<CheckSpec>,
    },
    /// The plugin is gone from the home, and with it its checks.
    Withdrawn { plugin: ScriptName },
    /// A run is over. `Err`: it gave no outcome (its worker died, was not ready, its time was over and it had to be
    /// killed); the fault says which state that is.
    Ended {
        run: RunId,
        outcome: Result<Box<Outcome>, RunFault>,
    },
    /// `heartbeat NAME ...`. The answer is [`Effect::Told`].
    Beat {
        ask: CheckAsk,
        check: String,
        beat: Beat,
        message: Option<String>,
    },
    /// `downtime NAME ...`. The answer is [`Effect::Told`].
    Downtime {
        ask: CheckAsk,
        check: String,
        quiet: Quiet,
        why: Option<String>,
    },
    /// `check [NAME ...]` at the daemon: run these now, or join their runs; then [`Effect::Told`] with a report.
    Check { ask: CheckAsk, words: Vec<String> },
    /// Who asked is gone.
    Forgotten { ask: CheckAsk },
    /// An attempt to deliver is over.
    Delivered {
        delivery: DeliveryId,
        result: Result<(), Undelivered>,
    },
}

/// Why an attempt to deliver came to nothing, in a sentence without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Undelivered {
    /// It may work later: it is tried again.
    Failed(String),
    /// It would be refused again, such as with 404: it is given up, and a problem is noted.
    Refused(String),
}

impl Undelivered {
    #[must_use]
    pub fn sentence(&self) -> &str {
        match self {
            Undelivered::Failed(why) | Undelivered::Refused(why) => why,
        }
    }
}

/// Why a run gave no outcome, and what state the check is in because of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFault {
    /// `Critical` for a run that had to be killed at its time limit, `Unknown` otherwise.
    pub state: State,
    pub message: String,
}

/// `[alert.NAME]` sections, and `[checks]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    pub hooks: Vec<Hook>,
    /// Runs at the same time over all plugins; 0 stands for [`crate::limits::CHECKS_AT_ONCE`].
    pub at_once: usize,
    /// Sections that no plugin of the home has claimed, with why: each is a check in state unknown.
    pub faults: Vec<(String, String)>,
}

/// What survives the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// By the check's name: a [`super::alphabet::Effect::Keep`] of an earlier daemon.
    pub checks: Vec<(String, Json)>,
    pub deliveries: Vec<Delivery>,
}

/// Everything that the monitor can want done.
#[must_use]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Ask the plugin's worker to run this check. [`Input::Ended`] follows in any case.
    Run {
        run: RunId,
        plugin: ScriptName,
        check: Box<str>,
        /// The check's own limit. The worker keeps it; who has not ended some time after is killed.
        timeout: Duration,
    },
    /// The end of a `check`, `heartbeat` or `downtime` command.
    Told {
        ask: CheckAsk,
        answer: Result<Told, String>,
    },
    /// Write this down for the next daemon.
    Keep(Keep),
    /// Try to deliver. [`Input::Delivered`] follows in any case. What one hook is to hear about one check is tried in
    /// its order, one after the other: a recovery that overtakes its problem would leave the problem standing.
    Deliver(Box<Delivery>),
    /// An event for whoever listens, such as `check.changed`.
    Emit { event: String, data: Json },
    /// Hand in [`Input::Clock`] soon.
    AskClock,
    /// A line for the daemon's log.
    Note { problem: bool, text: String },
}

/// What a command of the checks is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    /// It is done; a sentence that says what is in force now.
    Done(String),
    /// The outcomes of a `check` command, in the order of the checks.
    Outcomes(Vec<Outcome>),
}

/// Changes of what survives the daemon. In the order given; a few seconds of results may be lost, confirmed changes,
/// quiet times and deliveries are written at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Keep {
    Check { name: String, record: Json },
    Forget { name: String },
    Delivery(Box<Delivery>),
    Done { delivery: DeliveryId },
}

/// One alert and one hook that it has not passed yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: DeliveryId,
    pub hook: Hook,
    pub alert: Alert,
    /// Attempts that have failed.
    pub failed: u32,
    /// Of the first attempt.
    pub since_unix_ms: u64,
}

/// What happened to a check that somebody is to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub kind: AlertKind,
    pub check: String,
    /// Its instance, for `on_change`.
    pub instance: String,
    pub plugin: Option<ScriptName>,
    /// What was told last of this problem; of a new one, what was confirmed before it.
    pub from: Option<State>,
    /// Confirmed now.
    pub to: State,
    /// States of earlier alerts about the same problem, from the first to the worst: what this one follows, or ends.
    #[serde(default)]
    pub told: Vec<State>,
    pub message: String,
    pub measures: Vec<Measure>,
    pub tags: Vec<String>,
    /// When the problem began (wall clock): the same in a problem's alert and in its recovery's.
    pub began_unix_ms: u64,
    pub at_unix_ms: u64,
}

/// What an alert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    Problem,
    Recovery,
    FlappingStart,
    FlappingStop,
}
