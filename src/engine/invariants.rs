//! What must hold after every step. Called by tests and the simulation; never by the daemon.

use super::alphabet::Peer;
use super::asking::{Asker, What};
use super::generation::{Stage, Step, Worker};
use super::journaling::Held;
use super::requests::{Request, RequestKey, State};
use super::scripts::{Phase, Reload, Script, Then};
use super::timers::Timer;
use super::{Engine, shutdown::Life};

impl Engine {
    /// # Panics
    /// If an invariant does not hold, with the one that broke and where.
    pub fn check_invariants(&self) {
        assert!(self.awake.is_empty(), "a step left a script awake");
        assert!(self.overfull.is_empty(), "a step left a peer overfull");
        let mut queued = 0;
        let mut running = 0;
        for script in self.scripts.values() {
            self.check_script(script);
            queued += script.queue.len();
            running += script.in_flight();
        }
        assert_eq!(
            queued + running + self.check_journal() + self.check_recovery(),
            self.requests.len(),
            "each request is in one queue, on one worker, or waits for the journal"
        );
        assert!(self.flights.len() <= self.requests.len());
        for (id, session) in &self.sessions.table {
            self.check_asker(&Peer::Session(*id), &session.asker);
        }
        self.check_asker(&Peer::Monitor, &self.checking.asker);
        self.checking.check();
        for peer in &self.subscribers {
            assert!(self.asker(peer).is_some(), "{peer:?} listens and is gone");
        }
        if self.life == Life::Left {
            assert_eq!(self.sessions.len(), 0, "everybody was told");
        }
    }

    /// What is held is held for a mark that is not safe yet. Gives the number of ends among it.
    fn check_journal(&self) -> usize {
        self.journal.check();
        let mut ends = 0;
        for (mark, held) in self.journal.held() {
            match held {
                Held::End(key) => {
                    let request = self.request(*key);
                    assert!(matches!(request.state, State::Ending(_)), "{key:?} ends");
                    self.check_waiters(*key, request);
                    ends += 1;
                }
                Held::Accepted(key) => {
                    let entry = self.requests.get(*key).and_then(|request| request.entry);
                    if let Some(entry) = entry {
                        assert_eq!(entry.accepted, Some(mark), "{key:?} is accepted by it");
                    }
                }
                Held::Start(_) | Held::Pruning | Held::Outcomes(..) => {}
            }
        }
        ends
    }

    /// What an earlier daemon left and nobody has yet. Gives the number of such requests.
    fn check_recovery(&self) -> usize {
        let elsewhere = self.recovery.elsewhere.iter().flat_map(|(name, keys)| {
            assert!(self.recovery.held.contains(name), "{name} is held");
            keys
        });
        let mut found = 0;
        for key in elsewhere {
            let request = self.request(*key);
            assert!(matches!(request.state, State::Elsewhere), "{key:?}");
            self.check_waiters(*key, request);
            found += 1;
        }
        for key in self.recovery.unplaced.values().flatten() {
            if let Some(request) = self.requests.get(*key)
                && matches!(request.state, State::Unplaced)
            {
                self.check_request(*key, request);
                found += 1;
            }
        }
        found
    }

    fn check_script(&self, script: &Script) {
        let name = &script.name;
        let mut used = 0;
        for worker in &script.workers {
            self.check_worker(script, worker);
            used += worker.live.len() + worker.parked.len();
        }
        assert_eq!(
            used,
            script.slots.used() as usize,
            "{name}: a slot for each that runs"
        );
        let mut bytes = 0;
        for key in script.queue.keys() {
            let request = self.request(key);
            assert!(
                matches!(request.state, State::Queued(_)),
                "{name}: {key:?} is queued"
            );
            assert_eq!(request.script, *name);
            bytes += request.work.bytes();
            self.check_request(key, request);
        }
        assert_eq!(bytes, script.queue.bytes(), "{name}: bytes in the queue");
        self.check_phase(script);
    }

    fn check_phase(&self, script: &Script) {
        let name = &script.name;
        let stage = |generation| script.worker(generation).map(|worker| &worker.stage);
        let serving = script
            .workers
            .iter()
            .filter(|worker| worker.stage == Stage::Serving)
            .count();
        assert!(serving <= 1, "{name}: one generation serves");
        match &script.phase {
            Phase::Awaiting => {
                assert!(self.recovery.held.contains(name), "{name} waits for it");
                assert!(script.workers.is_empty(), "{name} has not started");
            }
            Phase::Stopped => {
                assert!(script.workers.is_empty(), "{name} is stopped");
                assert_eq!(script.queue.len(), 0, "{name} is stopped: nothing waits");
            }
            Phase::Failed { .. } => {
                assert_eq!(serving, 0, "{name} has failed");
                assert_eq!(script.queue.len(), 0, "{name} has failed: nothing waits");
            }
            Phase::Starting(generation) => {
                let found = stage(*generation);
                assert!(
                    matches!(found, Some(Stage::Starting | Stage::Leaving(Step::Kill))),
                    "{name} starts: {found:?}"
                );
            }
            Phase::Ready(generation, reload) => {
                let found = stage(*generation);
                let emptying = matches!(found, Some(Stage::Draining | Stage::Leaving(_)));
                match reload {
                    Reload::Emptying => assert!(emptying, "{name} empties"),
                    Reload::None | Reload::Asking { .. } => {
                        assert_eq!(found, Some(&Stage::Serving), "{name} serves");
                    }
                    Reload::Trying { candidate, .. } => {
                        assert_eq!(found, Some(&Stage::Serving), "{name} serves");
                        let new = stage(*candidate);
                        assert!(
                            matches!(new, Some(Stage::Starting | Stage::Leaving(_))),
                            "{name}: {new:?}"
                        );
                    }
                }
            }
            Phase::Draining(Then::Crashed(generation)) => {
                assert!(script.worker(*generation).is_some(), "{name} waits for it");
            }
            Phase::Draining(Then::Stop | Then::Start | Then::Remove) => {
                assert!(!script.workers.is_empty(), "{name} waits for its workers");
            }
            Phase::Backoff => {
                let timer = Timer::Restart(name.clone());
                assert!(self.timers.is_armed(&timer), "{name} will start again");
            }
        }
    }

    fn check_worker(&self, script: &Script, worker: &Worker) {
        assert_eq!(worker.id.script, script.name);
        assert!(worker.id.generation <= script.generation);
        for (ticket, key) in worker.live.iter() {
            let request = self.request(*key);
            let run = request.run();
            assert!(
                run.is_some_and(
                    |run| run.ticket == ticket && run.generation == worker.id.generation
                ),
                "{} holds {ticket}",
                worker.id
            );
            self.check_request(*key, request);
        }
        if worker.stage == Stage::Starting {
            let timer = Timer::Ready(worker.id.clone());
            assert!(self.timers.is_armed(&timer), "{} has a limit", worker.id);
        }
        if worker.is_leaving() {
            let timer = Timer::Leave(worker.id.clone());
            assert!(self.timers.is_armed(&timer), "{} has a limit", worker.id);
        }
        self.check_asker(&Peer::Worker(worker.id.clone()), &worker.asker);
    }

    fn check_request(&self, key: RequestKey, request: &Request) {
        let timer = Timer::Request(key);
        assert!(self.timers.is_armed(&timer), "{key:?} has a deadline");
        self.check_waiters(key, request);
    }

    fn check_waiters(&self, key: RequestKey, request: &Request) {
        let timer = Timer::Request(key);
        assert!(
            request.waiters.is_empty() || self.timers.is_armed(&timer),
            "{key:?}: whoever waits has a deadline"
        );
        if let Some(entry) = request.entry {
            assert!(
                entry.accepted.is_some(),
                "{key:?} is in the journal's hands"
            );
        }
        for waiter in &request.waiters {
            let what = self
                .asker(&waiter.ask.peer)
                .and_then(|asker| asker.what(waiter.ask.number));
            assert!(
                matches!(what, Some(What::Request(open)) if *open == key),
                "{key:?}: whoever waits has asked, and {:?} finds {what:?}",
                waiter.ask
            );
        }
    }

    fn check_asker(&self, peer: &Peer, asker: &Asker) {
        for (number, what) in asker.whats() {
            if let What::Request(key) = what {
                let waits = self
                    .request(*key)
                    .waiters
                    .iter()
                    .any(|waiter| waiter.ask.number == number && waiter.ask.peer == *peer);
                assert!(waits, "{peer:?} waits for {key:?}");
            }
        }
    }

    fn request(&self, key: RequestKey) -> &Request {
        self.requests
            .get(key)
            .unwrap_or_else(|| panic!("{key:?} is in the table"))
    }
}
