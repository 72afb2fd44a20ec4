//! The engine around the monitor: hands it what happens, does what it wants.
//!
//! A run of a check is a request like any other, asked by [`Peer::Monitor`] of the plugin's worker: slots, deadlines,
//! reloads and kills are the engine's as ever. It has no id that the journal would know. What the monitor is told is
//! collected in a step and handed in before the step ends. Never decides about a check: the monitor does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::alphabet::{Effect, Level, Moment, Peer, Sections};
use super::asking::{Ask, Asker, Manner};
use super::calls::Asked;
use super::generation::Worker;
use super::hash::FastMap;
use super::requests::{Request, State, Waiter};
use super::timers::Timer;
use crate::limits;
use crate::monitor::Monitor;
use crate::monitor::alphabet::{
    self as monitor, CheckAsk, Configured, Delivery, DeliveryId, Input, RunFault, RunId,
    Undelivered,
};
use crate::monitor::result::Outcome;
use crate::monitor::state::State as Health;
use crate::options::alerts::Action;
use crate::proto::ids::{RequestId, ScriptName};
use crate::proto::messages::{Answer, Body, Encoding, ErrorCode, Json, Payload, Refusal, Work};

/// What a request of the monitor's is for.
#[derive(Debug)]
struct Errand {
    what: What,
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Run { run: RunId, timeout: Duration },
    Alert(DeliveryId),
}

/// How far the request was when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// No worker has it.
    Waits,
    Runs,
    /// Its worker had to be killed for it.
    Killed,
}

/// Invariant: an open question of `asker` has its errand, and there is no other; `waiting` is empty between steps.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) monitor: Monitor,
    pub(super) asker: Asker,
    errands: FastMap<RequestId, Errand>,
    next_errand: i64,
    /// What the monitor is told before this step ends.
    waiting: VecDeque<Input>,
    keeping: Keeping,
    /// Commands of clients that the monitor answers.
    pub(super) asks: FastMap<CheckAsk, Ask>,
    pub(super) next_ask: u64,
    /// Plugins whose workers have said what checks they have, and the names of these.
    pub(super) declared: BTreeMap<ScriptName, BTreeSet<Box<str>>>,
    pub(super) sections: Sections,
    /// What the monitor was told of them.
    pub(super) configured: Option<Configured>,
}

/// What is to be written down, and what nobody may hear of before it is: a daemon that is killed must not have told
/// of a state that the next one does not know.
///
/// Invariant: `held` is sorted by its marks, which are above `safe`.
#[derive(Debug, Default)]
struct Keeping {
    /// All `Keep`s so far.
    wanted: u64,
    safe: u64,
    held: VecDeque<(u64, monitor::Effect)>,
}

impl Checking {
    pub(super) fn new(seed: u64) -> Self {
        Checking {
            monitor: Monitor::new(seed),
            asker: Asker::default(),
            errands: FastMap::default(),
            next_errand: 1,
            waiting: VecDeque::new(),
            keeping: Keeping::default(),
            asks: FastMap::default(),
            next_ask: 1,
            declared: BTreeMap::new(),
            sections: Sections::default(),
            configured: None,
        }
    }

    /// The next thing that the monitor is to hear in this step.
    pub(super) fn next_input(&mut self) -> Option<Input> {
        self.waiting.pop_front()
    }

    /// # Panics
    /// If an invariant does not hold.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        assert!(self.waiting.is_empty(), "a step left the monitor untold");
        assert_eq!(
            self.errands.len(),
            self.asker.whats().count(),
            "an errand for each request of the monitor"
        );
    }
}

impl Keeping {
    fn next_free(&mut self) -> Option<monitor::Effect> {
        let (mark, _) = self.held.front()?;
        if *mark > self.safe {
            return None;
        }
        self.held.pop_front().map(|(_, effect)| effect)
    }
}

impl Engine {
    /// The monitor hears this before the step ends.
    pub(super) fn tell_monitor(&mut self, input: Input) {
        // Whoever leaves begins nothing, and what is cut off by that is no result; alerts that went out are noted.
        if !self.life.is_leaving() || matches!(input, Input::Delivered { .. }) {
            self.checking.waiting.push_back(input);
        }
    }

    pub(super) fn step_monitor(&mut self, input: Input) {
        self.checking.monitor.handle(self.now, input);
        let effects = std::iter::from_fn(|| self.checking.monitor.poll_effect());
        let (keeps, others): (Vec<_>, Vec<_>) =
            effects.partition(|effect| matches!(effect, monitor::Effect::Keep(_)));
        for keep in keeps {
            self.checking.keeping.wanted += 1;
            self.want(Effect::Monitor(keep));
        }
        for effect in others {
            self.obey_or_hold(effect);
        }
        let due = self.next_of_monitor();
        self.timers.set(Timer::Monitor, due);
    }

    fn next_of_monitor(&self) -> Option<Moment> {
        if self.life.is_leaving() {
            return None;
        }
        self.checking.monitor.next_timeout()
    }

    /// What tells somebody waits until what it tells of is kept.
    fn obey_or_hold(&mut self, effect: monitor::Effect) {
        let tells = match &effect {
            monitor::Effect::Deliver(_)
            | monitor::Effect::Told { .. }
            | monitor::Effect::Emit { .. } => true,
            monitor::Effect::Run { .. }
            | monitor::Effect::Note { .. }
            | monitor::Effect::Keep(_)
            | monitor::Effect::AskClock => false,
        };
        let keeping = &mut self.checking.keeping;
        if !tells || keeping.safe == keeping.wanted {
            return self.obey_monitor(effect);
        }
        keeping.held.push_back((keeping.wanted, effect));
        if !self.timers.is_armed(&Timer::Kept) {
            let at = self.now.after(limits::CHECK_KEPT_WITHIN);
            self.timers.arm(Timer::Kept, at);
        }
    }

    /// So much of what was to be kept is written down: what waited for it happens.
    pub(super) fn kept(&mut self, count: u64) {
        let keeping = &mut self.checking.keeping;
        if count > keeping.wanted {
            return self.senseless("more is kept than was wanted");
        }
        keeping.safe = keeping.safe.max(count);
        while let Some(effect) = self.checking.keeping.next_free() {
            self.obey_monitor(effect);
        }
        if self.checking.keeping.held.is_empty() {
            self.timers.disarm(Timer::Kept);
        }
    }

    /// The disk takes too long: alerts are worth more than that the next daemon knows of them.
    pub(super) fn go_on_unkept(&mut self) {
        self.kept(self.checking.keeping.wanted);
    }

    fn obey_monitor(&mut self, effect: monitor::Effect) {
        match effect {
            monitor::Effect::Run {
                run,
                plugin,
                check,
                timeout,
            } => {
                let limit = timeout.saturating_add(limits::CHECK_KILL_AFTER);
                let what = What::Run { run, timeout };
                self.ask_plugin(plugin, check.into(), None, limit, what);
            }
            monitor::Effect::Deliver(delivery) => self.deliver(delivery),
            monitor::Effect::Told { ask, answer } => self.check_told(ask, answer),
            monitor::Effect::Emit { event, data } => self.emit(&event, Some(&data), None),
            monitor::Effect::Note { problem, text } => {
                let level = if problem { Level::Warn } else { Level::Info };
                self.note(level, || text);
            }
            monitor::Effect::Keep(_) | monitor::Effect::AskClock => {
                self.want(Effect::Monitor(effect));
            }
        }
    }

    /// What a plugin's own function does runs in its worker; all else is done outside.
    fn deliver(&mut self, delivery: Box<Delivery>) {
        if delivery.hook.action != Action::OnChange {
            self.want(Effect::Monitor(monitor::Effect::Deliver(delivery)));
            return;
        }
        let Some(plugin) = delivery.alert.plugin.clone() else {
            let why = "its plugin is gone, and its on_change with it".to_owned();
            self.tell_monitor(Input::Delivered {
                delivery: delivery.id,
                result: Err(Undelivered::Failed(why)),
            });
            return;
        };
        let handler = format!("@on_change {}", delivery.alert.instance);
        let alert = Json::of(&delivery.alert);
        let what = What::Alert(delivery.id);
        self.ask_plugin(
            plugin,
            handler.into(),
            Some(alert),
            delivery.hook.timeout,
            what,
        );
    }

    fn ask_plugin(
        &mut self,
        plugin: ScriptName,
        handler: Arc<str>,
        params: Option<Json>,
        limit: Duration,
        what: What,
    ) {
        let id = RequestId::number(self.checking.next_errand);
        self.checking.next_errand += 1;
        let errand = Errand {
            what,
            fate: Fate::Waits,
        };
        self.checking.errands.insert(id.clone(), errand);
        self.call(Asked {
            peer: Peer::Monitor,
            manner: Manner {
                encoding: Encoding::Json,
                id: Some(id),
                ack: true,
            },
            script: plugin,
            work: Work::Call { handler, params },
            timeout: Some(limit),
        });
    }

    /// These are told of a request's end next: the monitor is to know how far it was.
    pub(super) fn note_fate(
        &mut self,
        waiters: &[Waiter],
        fate: impl FnOnce(&Engine) -> Option<Fate>,
    ) {
        let ours = |waiter: &&Waiter| waiter.ask.peer == Peer::Monitor;
        let Some(number) = waiters.iter().find(ours).map(|waiter| waiter.ask.number) else {
            return;
        };
        let fate = fate(self);
        let id = self.checking.asker.id(number).cloned();
        if let (Some(fate), Some(id)) = (fate, id)
            && let Some(errand) = self.checking.errands.get_mut(&id)
        {
            errand.fate = fate;
        }
    }

    pub(super) fn fate_of(&self, request: &Request) -> Fate {
        let is_killed = |generation| {
            let script = self.scripts.get(&request.script);
            let worker = script.and_then(|script| script.worker(generation));
            worker.is_some_and(Worker::is_killed)
        };
        match &request.state {
            State::Running(run) | State::Cancelling { run, .. } if is_killed(run.generation) => {
                Fate::Killed
            }
            State::Running(_) | State::Cancelling { .. } => Fate::Runs,
            State::Unplaced
            | State::Queued(_)
            | State::Starting(_)
            | State::Elsewhere
            | State::Ending(_) => Fate::Waits,
        }
    }

    /// A piece of an answer to the monitor. Only ends concern it.
    pub(super) fn answer_monitor(&mut self, answer: Answer) {
        if !answer.body.is_end() {
            return;
        }
        let Some(errand) = answer.id.and_then(|id| self.checking.errands.remove(&id)) else {
            self.senseless("an answer that the monitor does not wait for");
            return;
        };
        let input = match errand.what {
            What::Run { run, timeout } => Input::Ended {
                run,
                outcome: outcome_of(answer.body, timeout, errand.fate),
            },
            What::Alert(delivery) => Input::Delivered {
                delivery,
                result: match answer.body {
                    Body::Error(refusal) => Err(Undelivered::Failed(refusal.message)),
                    Body::Ok { .. } | Body::Part(_) | Body::Accepted | Body::Running => Ok(()),
                },
            },
        };
        self.tell_monitor(input);
    }

    /// The daemon leaves: what runs is stopped, and its end is nobody's business any more.
    pub(super) fn stop_checking(&mut self) {
        self.checking.waiting.clear();
        self.go_on_unkept();
        self.checking.errands.clear();
        self.timers.disarm(Timer::Monitor);
        let asker = std::mem::take(&mut self.checking.asker);
        self.close_questions(&Peer::Monitor, &asker, true);
    }
}

/// What the monitor hears of a run's end.
fn outcome_of(body: Body, timeout: Duration, fate: Fate) -> Result<Box<Outcome>, RunFault> {
    let json = match body {
        Body::Ok {
            result: Payload::Json(json),
            ..
        } => json,
        Body::Ok { .. } | Body::Part(_) | Body::Accepted | Body::Running => {
            return Err(no_outcome("it is no JSON"));
        }
        Body::Error(refusal) => return Err(fault_of(&refusal, timeout, fate)),
    };
    match serde_json::from_str::<Outcome>(json.as_str()) {
        Ok(outcome) => Ok(Box::new(outcome)),
        Err(error) => Err(no_outcome(&error.to_string())),
    }
}

fn no_outcome(why: &str) -> RunFault {
    RunFault {
        state: Health::Unknown,
        message: format!(
            "its worker answered with something that is no outcome ({why}); restart the daemon, and report it if it stays"
        ),
    }
}

/// Whoever had to be stopped at its time limit is critical; what could not be made at all is unknown.
fn fault_of(refusal: &Refusal, timeout: Duration, fate: Fate) -> RunFault {
    let limit = timeout.as_secs_f64();
    let (state, message) = match (refusal.code, fate) {
        (ErrorCode::Timeout, Fate::Killed) => (
            Health::Critical,
            format!(
                "timed out after {limit} s and had to be killed: it did not stop when it was interrupted"
            ),
        ),
        (ErrorCode::Timeout, Fate::Runs) => {
            (Health::Critical, format!("timed out after {limit} s"))
        }
        (_, _) => (
            Health::Unknown,
            format!("could not be run: {}", refusal.message),
        ),
    };
    RunFault { state, message }
}
