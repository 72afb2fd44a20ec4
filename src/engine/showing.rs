//! What the daemon shows of itself over HTTP: the checks, and a few numbers.

use super::Engine;
use super::alphabet::{Effect, Level, ViewAsk};
use super::scripts::Script;
use super::view::of_kind;
use crate::monitor::view::{Facts, ScriptFacts};

/// The HTTP listener, as the shell last told of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listener {
    /// Where it listens.
    pub(super) address: Option<String>,
    /// What keeps it from that.
    pub(super) fault: Option<String>,
}

impl Engine {
    pub(super) fn shown(&mut self, ask: ViewAsk) {
        let facts = Box::new(self.facts());
        let view = Box::new(self.checking.monitor.view(&[]).unwrap_or_default());
        self.effects.push_back(Effect::Shown { ask, view, facts });
    }

    /// A new fault goes into the log once; `status` shows it until it is over.
    pub(super) fn listening(&mut self, address: Option<String>, fault: Option<String>) {
        if let Some(fault) = &fault
            && self.http.fault.as_ref() != Some(fault)
        {
            self.note(Level::Warn, || fault.clone());
        }
        self.http = Listener { address, fault };
    }

    fn facts(&self) -> Facts {
        Facts {
            version: self.identity.version.clone(),
            uuid: self.identity.daemon.to_string(),
            home: self.identity.home.display().to_string(),
            uptime_seconds: self.now.0 as f64 / 1e6,
            clients: self.sessions.len() as u64,
            requests: self.requests.len() as u64,
            warnings: self.warnings(),
            scripts: of_kind(self, false).map(script_facts).collect(),
        }
    }
}

fn script_facts(script: &Script) -> ScriptFacts {
    let memory = script.shown().map(|worker| worker.memory_bytes);
    ScriptFacts {
        name: script.name.to_string(),
        state: script.state().to_string(),
        restarts: script.restarts.total(),
        in_flight: script.in_flight() as u64,
        queued: script.queue.len() as u64,
        memory_bytes: memory.filter(|bytes| *bytes > 0),
    }
}
