//! Asking a running request to stop, and what happens if its worker does not.

use super::alphabet::{Effect, Kill, Moment, Peer};
use super::asking::{Ask, What};
use super::coalesce::FlightKey;
use super::delivery::Known;
use super::ends::{Keep, withdrawn};
use super::requests::{Request, RequestKey, State, Waiter, Why};
use super::timers::Timer;
use super::{Engine, refusals};
use crate::limits;
use crate::proto::ids::{RequestId, ScriptName, WorkerId};
use crate::proto::messages::{Body, Delivery, ToWorker, Work};
use crate::weakenings::Weakening;

impl Engine {
    /// `cancel ID`: whether it found something in flight.
    pub(super) fn cancel(&mut self, peer: &Peer, target: &RequestId) -> bool {
        if let Some(identity) = target.key()
            && let Known::Live(key) = self.stored.look(identity)
        {
            self.cancel_waiters(key, |waiter| waiter.identity == Some(identity));
            return true;
        }
        let Some((number, what)) = self.asker(peer).and_then(|asker| asker.find(target)) else {
            return false;
        };
        let mut refusal = refusals::cancelled(true);
        match what.clone() {
            What::Request(key) => self.cancel_waiters(key, |waiter| {
                waiter.ask.number == number && waiter.ask.peer == *peer
            }),
            What::Control(control) => self.forget_control(control),
            What::Log(ask) => {
                self.logs.remove(&ask);
            }
            What::Check(check) => self.forget_check(check),
            What::Events { .. } => refusal = refusals::subscription_ended(),
        }
        let ask = Ask {
            peer: peer.clone(),
            number,
        };
        if !matches!(
            self.asker(peer).and_then(|asker| asker.what(number)),
            None | Some(What::Request(_))
        ) {
            self.tell(&ask, Body::Error(refusal));
            self.end_subscription(peer);
        }
        true
    }

    /// Cancels for some of those who wait; the run itself only if nobody else does.
    fn cancel_waiters(&mut self, key: RequestKey, mut whom: impl FnMut(&Waiter) -> bool) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if request.waiters.iter().all(&mut whom) {
            match &request.state {
                State::Unplaced | State::Queued(_) | State::Starting(_) => {
                    let refusal = withdrawn(request);
                    self.finish(key, Body::Error(refusal), Keep::Yes);
                }
                State::Running(_) | State::Cancelling { .. } => {
                    self.ask_to_stop(key, Why::Asked);
                    if self.weakened.has(Weakening::CancelledAfterStart) {
                        self.finish(key, Body::Error(refusals::cancelled(false)), Keep::Yes);
                    }
                }
                // It cannot be stopped from here, or is over already: its end comes.
                State::Elsewhere | State::Ending(_) => {}
            }
            return;
        }
        let ran = request.has_run();
        let (leaving, rest) = std::mem::take(&mut request.waiters)
            .into_iter()
            .partition(whom);
        request.waiters = rest;
        let due = request.due();
        self.timers.set(Timer::Request(key), due);
        self.tell_all(leaving, Body::Error(refusals::cancelled(ran)));
    }

    /// SIGKILL for a worker that does not do as it is asked.
    pub(super) fn kill_worker(&mut self, id: &WorkerId, text: String) {
        let Some(worker) = self.worker_mut(id) else {
            return;
        };
        if worker.is_killed() {
            return;
        }
        worker.killed(text);
        self.timers.disarm(Timer::Ready(id.clone()));
        self.timers.disarm(Timer::Handover(id.clone()));
        self.timers.disarm(Timer::Drain(id.clone()));
        self.timers
            .arm(Timer::Leave(id.clone()), self.now.after(limits::EXIT_GRACE));
        self.effects.push_back(Effect::Signal {
            worker: id.clone(),
            kill: Kill::Kill,
        });
        self.lost_to_kill(id);
    }

    /// Asks the worker to stop a running request.
    pub(super) fn ask_to_stop(&mut self, key: RequestKey, why: Why) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let (worker, ticket, kill_at) = match &request.state {
            State::Running(run) => {
                // Whom nobody waits for is not killed for being slow to stop, before its deadline.
                let kill_at = match why {
                    Why::Abandoned => run.until.max(now).after(limits::DEADLINE_SLACK),
                    Why::Deadline | Why::Asked => now,
                }
                .after(limits::CANCEL_GRACE);
                let worker = WorkerId {
                    script: request.script.clone(),
                    generation: run.generation,
                };
                (worker, run.ticket, kill_at)
            }
            State::Unplaced
            | State::Queued(_)
            | State::Starting(_)
            | State::Cancelling { .. }
            | State::Elsewhere
            | State::Ending(_) => return,
        };
        request.cancel(why, kill_at);
        self.timers.arm(Timer::Request(key), kill_at);
        if let Some(request) = self.requests.get(key) {
            self.end_flight_of(key, request.script.clone(), request.work.clone());
        }
        self.tell_worker(&worker, ToWorker::Cancel { ticket });
    }

    fn end_flight_of(&mut self, key: RequestKey, script: ScriptName, work: Work) {
        if let Work::Call { handler, params } = work {
            let flight = FlightKey {
                script,
                handler,
                params,
            };
            self.flights.end(&flight, key);
        }
    }

    /// The worker did not end it in the grace time: it is killed. What is `once` ends when it is gone, by what it
    /// wrote down; all others end now.
    pub(super) fn cancel_ignored(&mut self, key: RequestKey) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let State::Cancelling {
            run,
            why,
            kill_at,
            killed,
        } = &mut request.state
        else {
            return;
        };
        let worker = WorkerId {
            script: request.script.clone(),
            generation: run.generation,
        };
        let what = match &request.work {
            Work::Call { handler, .. } => format!("handler {handler}"),
            Work::Eval { .. } => "eval".to_owned(),
        };
        let when = match why {
            Why::Deadline => "at its time limit",
            Why::Asked | Why::Abandoned => "when it was cancelled",
        };
        let refusal = match (request.delivery, why) {
            (Delivery::Once, _) => {
                if let Some(cause) = killed {
                    let refusal =
                        refusals::outcome_unknown(&request.script, cause, request.id.as_ref());
                    self.finish(key, Body::Error(refusal), Keep::Yes);
                    return;
                }
                let cause = format!("its worker did not stop {what} {when} and was killed");
                *killed = Some(cause.into());
                *kill_at = now.after(limits::EXIT_GRACE);
                self.timers.arm(Timer::Request(key), *kill_at);
                None
            }
            (Delivery::Query | Delivery::Idempotent, Why::Asked | Why::Abandoned) => {
                Some(refusals::cancelled(true))
            }
            (Delivery::Query | Delivery::Idempotent, Why::Deadline) => {
                Some(refusals::timeout_running(&request.script, false))
            }
        };
        let text = format!(
            "killed: {what} did not stop {when}, nor within {} ms after; long pattern matches and finalizers cannot be interrupted",
            limits::CANCEL_GRACE.as_millis()
        );
        self.kill_worker(&worker, text);
        if let Some(refusal) = refusal {
            self.finish(key, Body::Error(refusal), Keep::Yes);
        }
    }
}

impl Request {
    fn cancel(&mut self, why: Why, kill_at: Moment) {
        let state = std::mem::replace(&mut self.state, State::Unplaced);
        self.state = match state {
            State::Running(run) => State::Cancelling {
                run,
                why,
                kill_at,
                killed: None,
            },
            State::Unplaced
            | State::Queued(_)
            | State::Starting(_)
            | State::Cancelling { .. }
            | State::Elsewhere
            | State::Ending(_) => state,
        };
    }
}
