//! How requests end. [`Engine::finish`] is the only way; everything else here decides with what.

use super::alphabet::{Moment, Peer};
use super::delivery::{Ended, retained};
use super::requests::{Request, RequestKey, State, Waiter, Why};
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Body, Delivery, ErrorCode, Refusal};

/// Whether an end is kept for repeats of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Yes,
    /// It was refused before anything ran: its id stays free.
    No,
}

impl Engine {
    /// The only way a request ends. What the journal knows ends for its askers when the journal has its end;
    /// a second end finds the first one.
    pub(super) fn finish(&mut self, key: RequestKey, body: Body, keep: Keep) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        if let State::Ending(_) = request.state {
            return;
        }
        match request.entry {
            // Refused in the step that admitted it: the journal never hears of it.
            Some(entry) if entry.accepted.is_some() || keep == Keep::Yes => {
                self.record_acceptance(key, None);
                self.hold_end(key, entry, body, keep);
            }
            Some(_) | None => self.finish_now(key, body, keep),
        }
    }

    /// The journal has the end: everybody is told.
    pub(super) fn conclude(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if let State::Ending(ending) = &mut request.state {
            let body = std::mem::replace(&mut ending.body, Body::Running);
            let keep = ending.keep;
            self.finish_now(key, body, keep);
        }
    }

    /// Out of the table, slot back, answer kept, everybody told once.
    pub(super) fn finish_now(&mut self, key: RequestKey, body: Body, keep: Keep) {
        let Some(mut request) = self.requests.remove(key) else {
            return;
        };
        self.timers.disarm(Timer::Request(key));
        self.end_flight(key, &request);
        self.journal.live -= u64::from(request.entry.is_some());
        let waiters = std::mem::take(&mut request.waiters);
        self.note_fate(&waiters, |engine| Some(engine.fate_of(&request)));
        let name = request.script.clone();
        self.keep_answer(&mut request, &body, keep);
        self.give_back(&name, request.state, request.work.bytes());
        self.wake(&name);
        self.tell_all(waiters, body);
    }

    pub(super) fn tell_all(&mut self, waiters: Vec<Waiter>, body: Body) {
        let mut waiters = waiters.into_iter();
        let last = waiters.next_back();
        for waiter in waiters {
            self.tell(&waiter.ask, body.clone());
        }
        if let Some(waiter) = last {
            self.tell(&waiter.ask, body);
        }
    }

    fn end_flight(&mut self, key: RequestKey, request: &Request) {
        if let Some(flight) = &request.flight {
            self.flights.end(flight, key);
        }
    }

    fn keep_answer(&mut self, request: &mut Request, body: &Body, keep: Keep) {
        let entry = request.entry.map(|entry| entry.id);
        for identity in std::mem::take(&mut request.identities) {
            match keep {
                Keep::Yes => {
                    let ended = Ended::new(
                        request.script.clone(),
                        request.work.clone(),
                        retained(body),
                        entry,
                    );
                    self.keep(identity, ended, self.unix_ms());
                }
                Keep::No => self.stored.forget(identity),
            }
        }
    }

    /// Slot or place in the queue, whichever it has.
    pub(super) fn give_back(&mut self, name: &ScriptName, state: State, bytes: usize) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        match state {
            State::Queued(position) => script.queue.remove(position, bytes),
            State::Starting(run) | State::Running(run) | State::Cancelling { run, .. } => {
                script.take_back(run);
            }
            State::Unplaced | State::Elsewhere | State::Ending(_) => {}
        }
    }

    /// Refuses a queued request: it never ran, and its id stays free.
    pub(super) fn refuse(&mut self, key: RequestKey, refusal: Refusal) {
        self.finish(key, Body::Error(refusal), Keep::No);
    }

    /// A worker's word about a ticket that it holds. About another it would be a forgery, or late, and reach nobody.
    pub(super) fn worker_answer(&mut self, key: RequestKey, body: Body) {
        match body {
            Body::Part(_) => self.part(key, body),
            Body::Ok { .. } | Body::Error(_) => self.ended_by_worker(key, body),
            Body::Accepted | Body::Running => self.senseless("a worker's answer without content"),
        }
    }

    fn part(&mut self, key: RequestKey, body: Body) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let asks: Vec<_> = request
            .waiters
            .iter()
            .map(|waiter| waiter.ask.clone())
            .collect();
        for ask in asks {
            self.tell(&ask, body.clone());
        }
    }

    pub(super) fn ended_by_worker(&mut self, key: RequestKey, body: Body) {
        let code = match &body {
            Body::Error(refusal) => Some(refusal.code),
            Body::Ok { .. } | Body::Part(_) | Body::Accepted | Body::Running => None,
        };
        if code == Some(ErrorCode::Timeout) && self.run_again_for_others(key) {
            return;
        }
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let body = match code {
            Some(ErrorCode::Cancelled) => stopped(request).map_or(body, Body::Error),
            Some(_) | None => body,
        };
        self.finish(key, body, Keep::Yes);
    }

    /// A shared query stopped at its first asker's time limit, and others have time left: it runs again.
    fn run_again_for_others(&mut self, key: RequestKey) -> bool {
        let now = self.now;
        let Some(request) = self.requests.get_mut(key) else {
            return false;
        };
        let Some(run) = request.run() else {
            return false;
        };
        let until = run.until;
        let later = |waiter: &Waiter| waiter.deadline > until && waiter.deadline > now;
        if request.delivery != Delivery::Query
            || run.own_limit
            || !request.waiters.iter().any(later)
        {
            return false;
        }
        let (rest, over) = std::mem::take(&mut request.waiters)
            .into_iter()
            .partition(later);
        request.waiters = rest;
        let refusal = refusals::timeout_running(&request.script, true);
        self.queue_again(key);
        self.tell_all(over, Body::Error(refusal));
        true
    }

    /// Back to the head of the queue, slot given back: it is provably not running.
    pub(super) fn queue_again(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let name = request.script.clone();
        let Some(script) = self.scripts.get_mut(&name) else {
            return;
        };
        let position = script.queue.push_front(key, request.work.bytes());
        let before = std::mem::replace(&mut request.state, State::Queued(position));
        let (due, entry) = (request.due(), request.entry);
        if let State::Starting(_) = before {
            request.starts -= 1;
        }
        self.give_back(&name, before, 0);
        self.timers.set(Timer::Request(key), due);
        if let Some(entry) = entry {
            self.record_back(entry);
        }
        self.wake(&name);
    }

    /// The request's timer: somebody's deadline, the end of the resume window, or of a cancel's grace.
    pub(super) fn request_due(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        match &request.state {
            State::Unplaced | State::Queued(_) | State::Starting(_) => self.due_in_queue(key),
            State::Running(run) => {
                let over = run.until.after(limits::DEADLINE_SLACK) <= self.now;
                if over {
                    self.ask_to_stop(key, Why::Deadline);
                } else {
                    self.due_while_running(key);
                }
            }
            State::Cancelling { .. } => self.cancel_ignored(key),
            State::Elsewhere => {
                let refusal = refusals::timeout_elsewhere(&request.script);
                self.expire_waiters(key, refusal, self.now);
            }
            State::Ending(_) => {
                let fault = self.journal.fault.as_ref();
                let refusal = refusals::unrecorded(&request.script, fault);
                self.expire_waiters(key, refusal, before(self.now, limits::JOURNAL_SLACK));
            }
        }
    }

    fn due_in_queue(&mut self, key: RequestKey) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let script = self.scripts.get(&request.script);
        let error = script
            .filter(|script| script.serving().is_none())
            .and_then(|script| script.last_error.as_deref());
        let ran = request.has_run();
        let refusal = if ran {
            refusals::timeout_again(&request.script, request.starts)
        } else {
            refusals::timeout_queued(&request.script, error)
        };
        if request.waiters.is_empty() {
            let body = if request.deadline <= now {
                Body::Error(refusal)
            } else {
                Body::Error(withdrawn(request))
            };
            self.finish(key, body, Keep::Yes);
            return;
        }
        if request.waiters.iter().all(|waiter| waiter.deadline <= now) {
            self.finish(key, Body::Error(refusal), Keep::Yes);
            return;
        }
        let refusal = refusals::timeout_waiting(&request.script);
        self.expire_waiters(key, refusal, now);
    }

    fn due_while_running(&mut self, key: RequestKey) {
        let now = self.now;
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let refusal = refusals::timeout_running(&request.script, true);
        self.expire_waiters(key, refusal, before(now, limits::DEADLINE_SLACK));
        self.abandon(key, false);
    }

    /// Tells those whose deadline is over; the others go on waiting.
    fn expire_waiters(&mut self, key: RequestKey, refusal: Refusal, over: Moment) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let (rest, expired) = std::mem::take(&mut request.waiters)
            .into_iter()
            .partition(|waiter: &Waiter| waiter.deadline > over);
        request.waiters = rest;
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        self.note_fate(&expired, |engine| {
            Some(engine.fate_of(engine.requests.get(key)?))
        });
        self.tell_all(expired, Body::Error(refusal));
    }

    /// Takes one asker off a request, untold: its peer is gone.
    pub(super) fn remove_waiter(&mut self, key: RequestKey, peer: &Peer, number: u64) {
        if let Some(request) = self.requests.get_mut(key) {
            request
                .waiters
                .retain(|waiter| waiter.ask.number != number || waiter.ask.peer != *peer);
        }
    }

    /// If nobody waits for a request any more: it is kept, cancelled, or goes on alone.
    pub(super) fn abandon(&mut self, key: RequestKey, bye: bool) {
        let until = self.now.after(limits::RESUME_WINDOW);
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if !request.waiters.is_empty() {
            return;
        }
        let kept = !request.identities.is_empty() && request.delivery != Delivery::Query;
        match (&request.state, kept) {
            (State::Unplaced | State::Queued(_), true) if !bye => {
                request.kept_until = Some(until);
                let due = request.due();
                self.timers.set(Timer::Request(key), due);
            }
            (State::Unplaced | State::Queued(_), _) => {
                // A query's id stays free: its client may come back and ask again.
                let keep = match request.delivery {
                    Delivery::Query => Keep::No,
                    Delivery::Idempotent | Delivery::Once => Keep::Yes,
                };
                let refusal = withdrawn(request);
                self.finish(key, Body::Error(refusal), keep);
            }
            (State::Running(_), false) if request.delivery != Delivery::Once => {
                for identity in std::mem::take(&mut request.identities) {
                    self.stored.forget(identity);
                }
                self.ask_to_stop(key, Why::Abandoned);
            }
            (
                State::Starting(_)
                | State::Running(_)
                | State::Cancelling { .. }
                | State::Elsewhere
                | State::Ending(_),
                _,
            ) => {}
        }
    }
}

/// What its askers hear of a request that its worker stopped because it was asked to; `None`: the worker's own
/// word. What may have had an effect is never `cancelled`: that word is kept for what never ran.
pub(super) fn stopped(request: &Request) -> Option<Refusal> {
    let by_deadline = matches!(
        request.state,
        State::Cancelling {
            why: Why::Deadline,
            ..
        }
    );
    match request.delivery {
        _ if by_deadline => Some(refusals::timeout_running(&request.script, false)),
        Delivery::Once => Some(refusals::stopped(&request.script)),
        Delivery::Query | Delivery::Idempotent => None,
    }
}

/// What is said of a request that nobody wants any more and that does not run now. One that ran before, and was
/// to run again, is not `cancelled`.
pub(super) fn withdrawn(request: &Request) -> Refusal {
    match request.delivery {
        Delivery::Once | Delivery::Idempotent if request.has_run() => {
            refusals::stopped(&request.script)
        }
        Delivery::Once | Delivery::Idempotent | Delivery::Query => {
            refusals::cancelled(request.has_run())
        }
    }
}

fn before(now: Moment, slack: std::time::Duration) -> Moment {
    let slack = u64::try_from(slack.as_micros()).unwrap_or(u64::MAX);
    Moment(now.0.saturating_sub(slack))
}
