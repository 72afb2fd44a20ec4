//! One check with everything that is known of it.

use std::time::Duration;

use super::Monitor;
use super::alerts::Announced;
use super::alphabet::CheckAsk;
use super::confirm::Confirm;
use super::cron::Calendar;
use super::flapping::Flapping;
use super::heartbeat::Pulse;
use super::history::History;
use super::perfdata::Measure;
use super::quiet::Hush;
use super::schedule::Plan;
use super::state::State;
use crate::limits;
use crate::moment::Moment;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{CheckKind, CheckSpec};

/// Names a check within this daemon's life. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CheckKey(pub(super) u64);

/// Who says that there is this check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Plugin(ScriptName),
    /// A section of `moonkeep.toml` that no plugin claims.
    Configuration,
}

impl Origin {
    pub(super) fn plugin(&self) -> Option<&ScriptName> {
        match self {
            Origin::Plugin(plugin) => Some(plugin),
            Origin::Configuration => None,
        }
    }
}

/// A check as it is declared now.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) origin: Origin,
    pub(super) spec: CheckSpec,
    /// Why it cannot be made although its plugin can make it: its calendar is none.
    pub(super) calendar_fault: Option<String>,
    /// The same: its parents are none.
    pub(super) family_fault: Option<String>,
}

impl Declared {
    pub(super) fn fault(&self) -> Option<&str> {
        let fault = self.calendar_fault.as_ref().or(self.family_fault.as_ref());
        fault.map(String::as_str)
    }
}

/// How a check comes to its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is run.
    Active,
    /// It is told of.
    Heartbeat { grace: Duration },
    /// It cannot be made, and that is its result.
    Stated { message: String },
}

/// What its last result said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latest {
    pub(super) message: String,
    pub(super) measures: Vec<Measure>,
    pub(super) duration_seconds: Option<f64>,
    pub(super) at_ms: Option<u64>,
}

/// When the present series of bad results began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The start of the run that saw it first; `None`: in an earlier daemon's life.
    pub(super) began: Option<Moment>,
    pub(super) began_ms: u64,
}

/// One check. It outlives its declaration by [`limits::CHECK_FORGOTTEN_AFTER`].
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: Box<str>,
    /// `None`: it is not declared now, and only remembered.
    pub(super) declared: Option<Declared>,
    pub(super) declared_at: Moment,
    pub(super) plan: Plan,
    pub(super) calendar: Option<Calendar>,
    pub(super) pulse: Pulse,
    pub(super) confirm: Confirm,
    pub(super) flapping: Flapping,
    pub(super) hush: Hush,
    pub(super) history: History,
    pub(super) latest: Latest,
    pub(super) trouble: Option<Trouble>,
    /// Confirmed before it was what it is now.
    pub(super) before: Option<State>,
    pub(super) since_ms: Option<u64>,
    /// Since when it is no longer down, if it was in this daemon's life: what needs it is looked at again first.
    pub(super) up_since: Option<Moment>,
    pub(super) announced: Announced,
    /// Something was heard of it in this daemon's life: only then it is judged.
    pub(super) is_heard: bool,
    /// By exit code.
    pub(super) runs: [u64; 4],
    /// Who waits for its run.
    pub(super) waiters: Vec<CheckAsk>,
    pub(super) saved_at: Option<Moment>,
    /// When it was last declared by an earlier daemon, or went away in this one's life.
    pub(super) gone_ms: Option<u64>,
}

impl Check {
    pub(super) fn new(name: &str) -> Self {
        Check {
            name: name.into(),
            declared: None,
            declared_at: Moment::default(),
            plan: Plan::default(),
            calendar: None,
            pulse: Pulse::default(),
            confirm: Confirm::default(),
            flapping: Flapping::default(),
            hush: Hush::default(),
            history: History::default(),
            latest: Latest::default(),
            trouble: None,
            before: None,
            since_ms: None,
            up_since: None,
            announced: Announced::default(),
            is_heard: false,
            runs: [0; 4],
            waiters: Vec::new(),
            saved_at: None,
            gone_ms: None,
        }
    }

    pub(super) fn spec(&self) -> Option<&CheckSpec> {
        self.declared.as_ref().map(|declared| &declared.spec)
    }

    /// How it comes to its results; `None`: it is not declared.
    pub(super) fn manner(&self) -> Option<Manner> {
        let declared = self.declared.as_ref()?;
        if let Some(fault) = declared.fault() {
            let message = fault.to_owned();
            return Some(Manner::Stated { message });
        }
        Some(match &declared.spec.kind {
            CheckKind::Active => Manner::Active,
            CheckKind::Heartbeat { grace } => Manner::Heartbeat { grace: *grace },
            CheckKind::Broken { message, .. } => Manner::Stated {
                message: message.clone(),
            },
        })
    }

    pub(super) fn is_active(&self) -> bool {
        let Some(declared) = &self.declared else {
            return false;
        };
        declared.fault().is_none() && declared.spec.kind == CheckKind::Active
    }

    pub(super) fn needs(&self) -> &[String] {
        self.spec().map_or(&[], |spec| &spec.needs)
    }

    pub(super) fn every(&self) -> Duration {
        self.spec()
            .map_or(limits::CHECK_FORGOTTEN_AFTER, |spec| spec.every)
            .max(limits::CHECK_INTERVAL_LEAST)
    }

    pub(super) fn retry_every(&self) -> Duration {
        self.spec()
            .map_or(limits::CHECK_FORGOTTEN_AFTER, |spec| spec.retry_every)
            .max(limits::CHECK_INTERVAL_LEAST)
    }

    pub(super) fn rise_and_fall(&self) -> (u32, u32) {
        self.spec().map_or((1, 1), |spec| (spec.rise, spec.fall))
    }
}

impl Monitor {
    /// # Panics
    /// If there is no such check: keys are in no index and no timer after their check is forgotten.
    pub(super) fn check(&self, key: CheckKey) -> &Check {
        self.checks.get(&key).expect("a key in use has its check")
    }

    /// # Panics
    /// As [`Monitor::check`].
    pub(super) fn check_mut(&mut self, key: CheckKey) -> &mut Check {
        self.checks
            .get_mut(&key)
            .expect("a key in use has its check")
    }
}
