//! What the journal is given, and what is held back until that is safe.
//!
//! `accepted`, the first byte to a worker, an end: each waits for its record. The order of the records is
//! the order of what happened, so whatever a later record says, the earlier ones are known with it.

use super::alphabet::{Effect, Level};
use super::ends::Keep;
use super::journaling::{Held, Start};
use super::records::{EntryId, FaultKind, JournalFault, Mark, Record, Recorded};
use super::requests::{Ending, JournalEntry, Request, RequestKey, State};
use super::timers::Timer;
use super::{Engine, delivery, refusals};
use crate::limits;
use crate::options::Durability;
use crate::proto::ids::{Generation, WorkerId};
use crate::proto::messages::{Body, ErrorCode};
use crate::weakenings::Weakening;

impl Engine {
    /// Milliseconds since 1970, by the engine's own clock.
    pub(super) fn unix_ms(&self) -> u64 {
        self.unix_ms_at(self.now)
    }

    fn unix_ms_at(&self, moment: super::alphabet::Moment) -> u64 {
        self.identity
            .started_unix_ms
            .saturating_add(moment.0 / 1000)
    }

    pub(super) fn write_down(&mut self, level: Durability, record: Record) -> Mark {
        self.write(level, record, false)
    }

    fn write(&mut self, level: Durability, record: Record, late: bool) -> Mark {
        let mark = self.journal.mint(level);
        self.effects.push_back(Effect::Journal {
            mark,
            level,
            record,
            late,
        });
        mark
    }

    /// An admitted request that the journal is to know. It is told at the end of this step, or with its start.
    pub(super) fn will_be_journaled(&mut self, key: RequestKey, level: Durability) {
        let id = self.journal.mint_entry();
        if let Some(request) = self.requests.get_mut(key) {
            request.entry = Some(JournalEntry {
                id,
                level,
                accepted: None,
            });
            self.journal.admitted.push(key);
            self.journal.live += 1;
        }
    }

    /// The end of the step: what was admitted in it and is not started is written down.
    pub(super) fn record_admitted(&mut self) {
        while let Some(key) = self.journal.admitted.pop() {
            self.record_acceptance(key, None);
        }
    }

    /// `None`: it is in the journal's hands already, or is none of the journal's.
    pub(super) fn record_acceptance(
        &mut self,
        key: RequestKey,
        started: Option<Generation>,
    ) -> Option<Mark> {
        let request = self.requests.get(key)?;
        let entry = request.entry.filter(|entry| entry.accepted.is_none())?;
        let recorded = Box::new(self.recorded(request, entry.level)?);
        let record = Record::Accepted {
            entry: entry.id,
            request: recorded,
            started,
        };
        let mark = self.write_down(entry.level, record);
        if let Some(entry) = self
            .requests
            .get_mut(key)
            .and_then(|found| found.entry.as_mut())
        {
            entry.accepted = Some(mark);
        }
        if started.is_none() {
            self.hold_unless(
                Weakening::AcceptedUnsynced,
                entry.level,
                mark,
                Held::Accepted(key),
            );
        }
        Some(mark)
    }

    fn recorded(&self, request: &Request, durability: Durability) -> Option<Recorded> {
        Some(Recorded {
            id: request.identity()?,
            script: request.script.clone(),
            work: request.work.clone(),
            delivery: request.delivery,
            client: request.client,
            durability,
            accepted_unix_ms: self.unix_ms(),
            deadline_unix_ms: self.unix_ms_at(request.deadline),
        })
    }

    /// A start is written down; the request is sent when that is safe.
    pub(super) fn record_start(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let (Some(entry), Some(run)) = (request.entry, request.run()) else {
            return;
        };
        let (delivery, generation, ticket) = (request.delivery, run.generation, run.ticket);
        let start = Start {
            key,
            ticket,
            accepts: entry.accepted.is_none(),
        };
        if self.weakened.has(Weakening::SendBeforeStarted) {
            self.send_started(start);
        }
        let record = Record::Started {
            entry: entry.id,
            generation,
            delivery,
        };
        let mark = self
            .record_acceptance(key, Some(generation))
            .unwrap_or_else(|| self.write_down(entry.level, record));
        let level = if self.weakened.has(Weakening::StartedUnsynced) {
            Durability::Process
        } else {
            entry.level
        };
        self.journal.hold(level, mark, Held::Start(start));
    }

    /// It is provably not running, and waits in the queue again.
    pub(super) fn record_back(&mut self, entry: JournalEntry) {
        self.write_down(entry.level, Record::Back { entry: entry.id });
    }

    /// The request has ended: slot and place are given back now, everybody is told when that is safe.
    pub(super) fn hold_end(
        &mut self,
        key: RequestKey,
        entry: JournalEntry,
        body: Body,
        keep: Keep,
    ) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let ending = Ending {
            body,
            keep,
            since: now,
        };
        let state = std::mem::replace(&mut request.state, State::Ending(ending));
        let due = request.due();
        let (name, bytes) = (request.script.clone(), request.work.bytes());
        let stands_elsewhere = self.is_in_the_workers_record(key, &state, entry);
        self.timers.set(Timer::Request(key), due);
        if let Some(flight) = self
            .requests
            .get(key)
            .and_then(|request| request.flight.clone())
        {
            self.flights.end(&flight, key);
        }
        self.give_back(&name, state, bytes);
        self.wake(&name);
        let Some(record) = self.end_record(key, entry.id) else {
            self.conclude(key);
            return;
        };
        let mark = self.write(entry.level, record, stands_elsewhere);
        if stands_elsewhere {
            self.conclude(key);
        } else {
            self.hold_unless(Weakening::DoneUnsynced, entry.level, mark, Held::End(key));
        }
    }

    /// Whether the end of a request, as its askers hear it, stands in its worker's outcome record: a daemon that
    /// finds its start in the journal, and no end, takes the end from there. Where a loss of power counts, that is
    /// not enough.
    fn is_in_the_workers_record(
        &self,
        key: RequestKey,
        before: &State,
        entry: JournalEntry,
    ) -> bool {
        let (State::Running(run), Durability::Process) = (before, entry.level) else {
            return false;
        };
        let Some(request) = self.requests.get(key) else {
            return false;
        };
        let State::Ending(ending) = &request.state else {
            return false;
        };
        let workers_own_word = match &ending.body {
            Body::Ok { .. } => true,
            Body::Error(refusal) => refusal.code == ErrorCode::ScriptError,
            Body::Accepted | Body::Running | Body::Part(_) => false,
        };
        let id = WorkerId {
            script: request.script.clone(),
            generation: run.generation,
        };
        workers_own_word && self.worker(&id).is_some_and(|worker| worker.records)
    }

    /// `None` only where a test has weakened the engine.
    fn end_record(&self, key: RequestKey, entry: EntryId) -> Option<Record> {
        let State::Ending(ending) = &self.requests.get(key)?.state else {
            return None;
        };
        let unknown = matches!(&ending.body, Body::Error(refusal) if refusal.code == ErrorCode::OutcomeUnknown);
        if unknown && self.weakened.has(Weakening::NoWaitNoUnknown) {
            return None;
        }
        Some(match ending.keep {
            Keep::Yes => Record::Ended {
                entry,
                body: delivery::retained(&ending.body),
                at_unix_ms: self.unix_ms(),
            },
            Keep::No => Record::Freed { entry },
        })
    }

    /// Holds something back, unless a test wants it to go on without waiting.
    fn hold_unless(&mut self, weakening: Weakening, level: Durability, mark: Mark, held: Held) {
        if self.weakened.has(weakening) {
            self.set_free(held);
        } else {
            self.journal.hold(level, mark, held);
        }
    }

    /// Whether its entry is in the journal for good, at its level.
    pub(super) fn is_accepted(&self, entry: &JournalEntry) -> bool {
        let safe = |mark| self.journal.is_safe(entry.level, mark);
        entry.accepted.is_some_and(safe)
    }

    /// How many requests the journal knows: kept answers, and those that have not ended.
    pub(super) fn journaled_entries(&self) -> u64 {
        self.stored.entries() + self.journal.live
    }

    /// Records have become safe: what waited for them happens now, in order.
    pub(super) fn journaled(&mut self, written: Mark, synced: Mark) {
        if !self.journal.advance(written, synced) {
            self.senseless("a mark that was never minted");
        }
        if let Some(fault) = self.journal.fault.take() {
            self.journal.healed = Some((self.now, fault.kind));
        }
        self.release_held();
        self.look_at_shutdown();
    }

    /// Does what waited for records that are safe by now.
    pub(super) fn release_held(&mut self) {
        while let Some(held) = self.journal.release() {
            self.set_free(held);
        }
    }

    /// Whether the worker that holds it has seen it. One that has not can only guess its ticket.
    pub(super) fn was_sent(&self, key: RequestKey) -> bool {
        self.requests
            .get(key)
            .is_some_and(|request| !matches!(request.state, State::Starting(_)))
    }

    fn set_free(&mut self, held: Held) {
        match held {
            Held::Accepted(key) => self.tell_progress(key, &Body::Accepted),
            Held::Start(start) => self.send_started(start),
            Held::End(key) => self.conclude(key),
            Held::Pruning => self.pruned(),
            Held::Outcomes(worker, mark) => {
                if let Some(worker) = self.journal.when_synced(worker, mark) {
                    self.effects.push_back(Effect::DropOutcomes { worker });
                }
            }
        }
    }

    /// Says that the journal works again, once it has done so for a while.
    pub(super) fn look_at_healing(&mut self) {
        let healed = self.journal.healed;
        if healed.is_some_and(|(at, _)| self.now.since(at) >= limits::JOURNAL_CALM) {
            self.journal.healed = None;
            self.note(Level::Info, || "the journal works again".into());
        }
    }

    /// The journal takes nothing now. It keeps what it was given, and goes on trying.
    pub(super) fn journal_failed(&mut self, fault: JournalFault) {
        let healed = self.journal.healed.take().map(|(_, kind)| kind);
        let noted = self.journal.fault.as_ref().map(|fault| fault.kind);
        if noted.or(healed) != Some(fault.kind) {
            self.note(Level::Error, || format!("the journal: {}", fault.text));
        }
        let full = fault.kind == FaultKind::DiskFull;
        let refusal = refusals::journal_busy(&fault);
        self.journal.fault = Some(fault);
        if !full {
            return;
        }
        // Nothing of these is on the disk: they are refused at once, and their entries go with them.
        for key in self.unwritten() {
            self.free_unwritten(key, Body::Error(refusal.clone()));
        }
    }

    /// Requests that have not ended and whose acceptance is not on the disk.
    fn unwritten(&self) -> Vec<RequestKey> {
        let held = self.journal.held().filter_map(|(_, held)| match held {
            Held::Accepted(key) | Held::Start(Start { key, .. }) => Some(*key),
            Held::End(_) | Held::Pruning | Held::Outcomes(..) => None,
        });
        let unwritten = |key: &RequestKey| {
            let request = self.requests.get(*key);
            request.is_some_and(|request| {
                let waits = matches!(request.state, State::Queued(_) | State::Starting(_));
                let accepted = request.entry.and_then(|entry| entry.accepted);
                waits && accepted.is_some_and(|mark| !self.journal.is_written(mark))
            })
        };
        held.filter(unwritten).collect()
    }

    fn free_unwritten(&mut self, key: RequestKey, body: Body) {
        if let Some(entry) = self.requests.get(key).and_then(|request| request.entry) {
            self.write_down(entry.level, Record::Freed { entry: entry.id });
            self.finish_now(key, body, Keep::No);
        }
    }
}
