//! What an earlier daemon left: its entries are taken up, and no script starts beside an old worker of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::alphabet::Level;
use super::delivery::Ended;
use super::lost::judge;
use super::records::{Entry, EntryState, Mark, Outcomes, Record, Recorded, Recovered};
use super::requests::{JournalEntry, Request, RequestKey, State};
use super::scripts::Phase;
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::options::Durability;
use crate::proto::ids::{Generation, RequestId, ScriptName};
use crate::proto::messages::Delivery;
use crate::weakenings::Weakening;

/// Invariant: `elsewhere` names exactly the requests in that state; `unplaced` names all that are, and some that
/// have ended since.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    taken: bool,
    /// Requests whose script was not found in the home yet.
    pub(super) unplaced: BTreeMap<ScriptName, Vec<RequestKey>>,
    /// Requests that an old worker may still run.
    pub(super) elsewhere: BTreeMap<ScriptName, Vec<RequestKey>>,
    /// Scripts of which an old worker still runs.
    pub(super) held: BTreeSet<ScriptName>,
}

const POWER_LOST: &str = "the machine lost power or was started again while it ran";
const DIED_ALONE: &str =
    "worker died: it ended without a word of this command, while no daemon ran";

impl Engine {
    pub(super) fn recovered(&mut self, found: Recovered) {
        if self.recovery.taken || self.requests.len() > 0 {
            self.senseless("what was recovered comes once, and first");
            return;
        }
        self.recovery.taken = true;
        if let Some(warning) = &found.warning {
            self.note(Level::Error, || warning.clone());
        }
        self.journal.warning = found.warning.clone();
        self.stored.found(found.low_water, found.rebooted_unix_ms);
        if !self.weakened.has(Weakening::NoWaitNoUnknown) {
            self.recovery.held = found.held.iter().cloned().collect();
        }
        if let Some(low_water) = found.rebooted_unix_ms {
            // The next daemon of this boot is not told any more that there was one before.
            let entries = Vec::new();
            self.write_down(Durability::Process, Record::Pruned { entries, low_water });
        }
        for entry in &found.entries {
            self.journal.found(entry.entry);
        }
        for entry in found.entries.iter().cloned() {
            self.take_up(entry, &found);
        }
    }

    fn take_up(&mut self, entry: Entry, found: &Recovered) {
        let rebooted = found.rebooted_unix_ms.is_some();
        let Entry {
            entry: id,
            request: recorded,
            starts,
            state,
        } = entry;
        match state {
            EntryState::Ended { body, at_unix_ms } => {
                let ended = Ended::new(recorded.script, recorded.work, body, Some(id));
                self.keep(recorded.id, ended, at_unix_ms);
            }
            EntryState::Accepted if self.weakened.has(Weakening::AcceptedNotResumed) => {}
            // Below power, what followed the acceptance may have been lost.
            EntryState::Accepted if rebooted && recorded.durability != Durability::Power => {
                if starts == 0 {
                    // So that the next daemon, which is not told of the boot, does not say that it never ran.
                    let record = Record::Started {
                        entry: id,
                        generation: Generation(0),
                        delivery: recorded.delivery,
                    };
                    self.write_down(recorded.durability, record);
                }
                let key = self.admit_again(id, recorded, starts.max(1));
                self.settle(key, &Outcomes::default(), POWER_LOST);
            }
            EntryState::Accepted => {
                // What is once and went back had never begun.
                let starts = match recorded.delivery {
                    Delivery::Once => 0,
                    Delivery::Idempotent | Delivery::Query => starts,
                };
                let key = self.admit_again(id, recorded, starts);
                self.place(key);
            }
            EntryState::Started(_) => {
                let script = recorded.script.clone();
                let key = self.admit_again(id, recorded, starts);
                if rebooted {
                    self.settle(key, &Outcomes::default(), POWER_LOST);
                } else if self.recovery.held.contains(&script) {
                    self.leave_elsewhere(key, script);
                } else {
                    let outcomes = found.outcomes.get(&script);
                    self.settle(key, outcomes.unwrap_or(&Outcomes::default()), DIED_ALONE);
                }
            }
        }
    }

    fn leave_elsewhere(&mut self, key: RequestKey, script: ScriptName) {
        if let Some(request) = self.requests.get_mut(key) {
            request.state = State::Elsewhere;
            self.timers.disarm(Timer::Request(key));
            self.recovery.elsewhere.entry(script).or_default().push(key);
        }
    }

    /// A request of an earlier daemon, with its own deadline.
    fn admit_again(
        &mut self,
        entry: super::records::EntryId,
        recorded: Recorded,
        starts: u32,
    ) -> RequestKey {
        let left = recorded.deadline_unix_ms.saturating_sub(self.unix_ms());
        let left = std::time::Duration::from_millis(left).min(limits::REQUEST_TIMEOUT_MOST);
        let deadline = self.now.after(left);
        let key = self.requests.admit(Request {
            script: recorded.script,
            work: recorded.work,
            delivery: recorded.delivery,
            id: Some(RequestId::from_uuid(recorded.id)),
            client: recorded.client,
            identities: vec![recorded.id],
            waiters: Vec::new(),
            deadline,
            kept_until: None,
            starts,
            flight: None,
            entry: Some(JournalEntry {
                id: entry,
                level: recorded.durability,
                accepted: Some(Mark(0)),
            }),
            state: State::Unplaced,
        });
        self.stored.begin(recorded.id, key);
        self.journal.live += 1;
        self.timers.arm(Timer::Request(key), deadline);
        key
    }

    /// A started request whose worker is gone for good.
    fn settle(&mut self, key: RequestKey, outcomes: &Outcomes, cause: &str) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let verdict = judge(
            request.identity(),
            request.delivery,
            request.starts,
            outcomes,
        );
        self.obey(key, verdict, cause);
    }

    /// The last old worker of a script is gone: what it held is settled, and the script may start.
    pub(super) fn freed(&mut self, script: &ScriptName, outcomes: &Outcomes) {
        if !self.recovery.held.remove(script) {
            self.senseless("a script is freed that was not held");
            return;
        }
        let keys = self.recovery.elsewhere.remove(script).unwrap_or_default();
        for key in keys {
            self.settle(key, outcomes, DIED_ALONE);
        }
        let waits = self
            .scripts
            .get(script)
            .is_some_and(|script| script.phase == Phase::Awaiting);
        if waits {
            self.start_script(script);
        }
    }

    /// Found not to be running: it waits in its queue again.
    pub(super) fn place_again(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.state = State::Unplaced;
        let due = request.due();
        let entry = request.entry;
        self.timers.set(Timer::Request(key), due);
        if let Some(entry) = entry {
            self.record_back(entry);
        }
        self.place(key);
    }

    /// Into its script's queue, or into the list of those whose script was not found yet.
    fn place(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let name = request.script.clone();
        if self.scripts.contains_key(&name) {
            self.enter_queue(key, &name);
        } else if self.loaded {
            let names = self.scripts.keys().map(ScriptName::as_str);
            let refusal = refusals::unknown_script(&name, names);
            self.turn_away(key, refusal);
        } else {
            self.recovery.unplaced.entry(name).or_default().push(key);
        }
    }

    fn enter_queue(&mut self, key: RequestKey, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let serves = match script.phase {
            Phase::Stopped | Phase::Failed { .. } => false,
            Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff => !script.is_going_for_good(),
        };
        if serves {
            self.push_to_queue(key);
            self.wake(name);
        } else {
            let refusal = script.not_ready();
            self.turn_away(key, refusal);
        }
    }

    /// Nothing will run it.
    pub(super) fn turn_away(&mut self, key: RequestKey, refusal: crate::proto::messages::Refusal) {
        let ran = self
            .requests
            .get(key)
            .is_some_and(|request| request.starts > 0);
        if ran {
            self.give_up(key);
        } else {
            self.refuse(key, refusal);
        }
    }

    /// A script was found in the home: what an earlier daemon had accepted for it waits in its queue now.
    pub(super) fn place_recovered(&mut self, name: &ScriptName) {
        for key in self.recovery.unplaced.remove(name).unwrap_or_default() {
            let waits = self
                .requests
                .get(key)
                .is_some_and(|request| matches!(request.state, State::Unplaced));
            if waits {
                self.place(key);
            }
        }
    }

    /// The home was looked at: what is for scripts that are not there ends.
    pub(super) fn place_the_rest(&mut self) {
        let names: Vec<ScriptName> = self.recovery.unplaced.keys().cloned().collect();
        for name in names {
            self.place_recovered(&name);
        }
    }

    /// The daemon leaves: what waits for a script was never started by it.
    pub(super) fn refuse_unplaced(&mut self) {
        for keys in std::mem::take(&mut self.recovery.unplaced).into_values() {
            for key in keys {
                self.turn_away(key, refusals::shutting_down());
            }
        }
    }
}
