//! A world around one monitor: plugins whose checks give what the test says, hooks, a store, a wall clock.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::moment::Moment;
use crate::monitor::Monitor;
use crate::monitor::alphabet::{
    Alert, AlertKind, CheckAsk, Configured, Delivery, DeliveryId, Effect, Input, Keep, Kept, RunId,
    Told, Undelivered,
};
use crate::monitor::result::Outcome;
use crate::monitor::state::State;
use crate::monitor::view::CheckView;
use crate::options::alerts::{Action, Hook};
use crate::proto::ids::ScriptName;
use crate::proto::messages::{Beat, CheckKind, CheckSpec, Json, Quiet};

/// 2026-11-21 12:00:00 UTC.
pub(super) const NOON: u64 = 1_795_262_400_000;

pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Every 10 s, retried after 2 s, rise 2, fall 3, without jitter.
pub(super) fn spec(name: &str) -> CheckSpec {
    CheckSpec {
        name: name.into(),
        instance: "p".into(),
        file: "plugins/p.lua".to_owned(),
        kind: CheckKind::Active,
        every: seconds(10.0),
        retry_every: seconds(2.0),
        cron: None,
        jitter: 0.0,
        timeout: seconds(5.0),
        rise: 2,
        fall: 3,
        tags: Vec::new(),
        needs: Vec::new(),
        on_change: false,
    }
}

pub(super) fn child(name: &str, needs: &[&str]) -> CheckSpec {
    CheckSpec {
        needs: needs.iter().map(|&name| name.to_owned()).collect(),
        ..spec(name)
    }
}

pub(super) fn hook(name: &str) -> Hook {
    Hook {
        name: name.to_owned(),
        action: Action::Exec {
            argv: vec!["true".to_owned()],
        },
        timeout: seconds(1.0),
        tags: Vec::new(),
        states: Vec::new(),
    }
}

pub(super) fn plugin(name: &str) -> ScriptName {
    ScriptName::of_plugin(name).unwrap()
}

/// How a check behaves.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    pub(super) state: State,
    pub(super) takes: Duration,
}

/// One run as it was.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ran {
    pub(super) check: String,
    pub(super) at: Moment,
}

/// One result, and what was known of the check right after it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Moment,
    pub(super) result: State,
    pub(super) confirmed: Option<State>,
    pub(super) is_flapping: bool,
}

/// What a hook answers.
pub(super) type Answer = Result<(), Undelivered>;

#[derive(Debug)]
pub(super) struct World {
    pub(super) monitor: Monitor,
    pub(super) now: Moment,
    /// What the wall clock shows at moment 0; a jump changes it.
    pub(super) wall_at_zero: i64,
    pub(super) offset_seconds: i32,
    pub(super) answers_clock: bool,
    pub(super) configured: Configured,
    pub(super) declared: BTreeMap<ScriptName, Vec<CheckSpec>>,
    pub(super) behaviour: BTreeMap<String, Behaviour>,
    /// By the moment of their end.
    running: BTreeMap<(Moment, RunId), (String, State)>,
    trying: BTreeMap<(Moment, DeliveryId), Delivery>,
    pub(super) hook_answers: BTreeMap<String, Answer>,
    pub(super) hook_takes: Duration,
    pub(super) ran: Vec<Ran>,
    pub(super) most_at_once: usize,
    pub(super) samples: BTreeMap<String, Vec<Sample>>,
    pub(super) clock_asked: Vec<Moment>,
    /// What went through, in order.
    pub(super) delivered: Vec<(String, Alert)>,
    pub(super) attempts: Vec<(Moment, Delivery)>,
    pub(super) told: Vec<(CheckAsk, Result<Told, String>)>,
    pub(super) notes: Vec<String>,
    pub(super) events: Vec<String>,
    /// The store, and how often it was written.
    pub(super) store: BTreeMap<String, Json>,
    pub(super) kept_deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(super) writes: usize,
    seed: u64,
    steps: u64,
}

impl World {
    /// With one hook, `pager`.
    pub(super) fn new(seed: u64) -> Self {
        let mut world = World {
            monitor: Monitor::new(seed),
            now: Moment(0),
            wall_at_zero: NOON as i64,
            offset_seconds: 0,
            answers_clock: true,
            configured: Configured {
                hooks: vec![hook("pager")],
                ..Configured::default()
            },
            declared: BTreeMap::new(),
            behaviour: BTreeMap::new(),
            running: BTreeMap::new(),
            trying: BTreeMap::new(),
            hook_answers: BTreeMap::new(),
            hook_takes: Duration::from_millis(1),
            ran: Vec::new(),
            most_at_once: 0,
            samples: BTreeMap::new(),
            clock_asked: Vec::new(),
            delivered: Vec::new(),
            attempts: Vec::new(),
            told: Vec::new(),
            notes: Vec::new(),
            events: Vec::new(),
            store: BTreeMap::new(),
            kept_deliveries: BTreeMap::new(),
            writes: 0,
            seed,
            steps: 0,
        };
        world.wake();
        world
    }

    fn wake(&mut self) {
        let configured = Box::new(self.configured.clone());
        self.hand(Input::Configured(configured));
        self.tell_clock();
    }

    /// A world in which this one plugin declares these checks.
    pub(super) fn with(specs: Vec<CheckSpec>) -> Self {
        let mut world = World::new(1);
        world.declare("p", specs);
        world
    }

    pub(super) fn wall(&self) -> u64 {
        (self.wall_at_zero + (self.now.0 / 1_000) as i64) as u64
    }

    pub(super) fn tell_clock(&mut self) {
        let (unix_ms, offset_seconds) = (self.wall(), self.offset_seconds);
        self.hand(Input::Clock {
            unix_ms,
            offset_seconds,
        });
    }

    pub(super) fn declare(&mut self, name: &str, checks: Vec<CheckSpec>) {
        let plugin = plugin(name);
        self.declared.insert(plugin.clone(), checks.clone());
        self.hand(Input::Declared { plugin, checks });
    }

    pub(super) fn withdraw(&mut self, name: &str) {
        let plugin = plugin(name);
        self.declared.remove(&plugin);
        self.hand(Input::Withdrawn { plugin });
    }

    pub(super) fn configure(&mut self, configured: Configured) {
        self.configured = configured;
        let configured = Box::new(self.configured.clone());
        self.hand(Input::Configured(configured));
    }

    /// From now on, runs of the check give this state.
    pub(super) fn set(&mut self, check: &str, state: State) {
        self.behave(check).state = state;
    }

    pub(super) fn takes(&mut self, check: &str, time: f64) {
        self.behave(check).takes = seconds(time);
    }

    fn behave(&mut self, check: &str) -> &mut Behaviour {
        self.behaviour.entry(check.to_owned()).or_insert(Behaviour {
            state: State::Ok,
            takes: Duration::from_millis(10),
        })
    }

    pub(super) fn hand(&mut self, input: Input) {
        self.monitor.handle(self.now, input);
        self.perform();
        self.steps += 1;
        // All of them in each step would take most of a large world's time.
        let is_large = self.declared.values().map(Vec::len).sum::<usize>() > 10;
        if !is_large || self.steps.is_multiple_of(16) {
            self.monitor.check_invariants();
        }
    }

    fn perform(&mut self) {
        while let Some(effect) = self.monitor.poll_effect() {
            match effect {
                Effect::Run { run, check, .. } => self.run(run, &check),
                Effect::Told { ask, answer } => self.told.push((ask, answer)),
                Effect::Keep(keep) => self.keep(keep),
                Effect::Deliver(delivery) => {
                    self.attempts.push((self.now, (*delivery).clone()));
                    let at = self.now.after(self.hook_takes);
                    let before = self.trying.insert((at, delivery.id), *delivery);
                    assert!(before.is_none());
                }
                Effect::Emit { data, .. } => self.events.push(data.as_str().to_owned()),
                Effect::AskClock => {
                    self.clock_asked.push(self.now);
                    if self.answers_clock {
                        let (unix_ms, offset_seconds) = (self.wall(), self.offset_seconds);
                        let input = Input::Clock {
                            unix_ms,
                            offset_seconds,
                        };
                        self.monitor.handle(self.now, input);
                    }
                }
                Effect::Note { text, .. } => self.notes.push(text),
            }
        }
    }

    fn run(&mut self, run: RunId, check: &str) {
        let is_running = self.running.values().any(|(name, _)| name == check);
        assert!(!is_running, "{check} runs twice at once");
        let behaviour = self.behave(check).clone();
        let end = self.now.after(behaviour.takes);
        self.running
            .insert((end, run), (check.to_owned(), behaviour.state));
        self.most_at_once = self.most_at_once.max(self.running.len());
        self.ran.push(Ran {
            check: check.to_owned(),
            at: self.now,
        });
    }

    fn keep(&mut self, keep: Keep) {
        self.writes += 1;
        match keep {
            Keep::Check { name, record } => {
                self.store.insert(name, record);
            }
            Keep::Forget { name } => {
                self.store.remove(&name);
            }
            Keep::Delivery(delivery) => {
                self.kept_deliveries.insert(delivery.id, *delivery);
            }
            Keep::Done { delivery } => {
                self.kept_deliveries.remove(&delivery);
            }
        }
    }

    fn end_run(&mut self, key: (Moment, RunId)) {
        let Some((check, state)) = self.running.remove(&key) else {
            return;
        };
        let outcome = Outcome {
            state,
            duration_seconds: 0.01,
            ..Outcome::unknown(&check, "plugins/p.lua", format!("{check} is {state}"))
        };
        self.hand(Input::Ended {
            run: key.1,
            outcome: Ok(Box::new(outcome)),
        });
        let view = self.monitor.view(std::slice::from_ref(&check));
        if let Some(view) = view.ok().and_then(|view| view.checks.into_iter().next()) {
            self.samples.entry(check).or_default().push(Sample {
                at: self.now,
                result: state,
                confirmed: view.confirmed,
                is_flapping: view.is_flapping,
            });
        }
    }

    fn end_attempt(&mut self, key: (Moment, DeliveryId)) {
        let Some(delivery) = self.trying.remove(&key) else {
            return;
        };
        let answer = self.hook_answers.get(&delivery.hook.name);
        let result = answer.cloned().unwrap_or(Ok(()));
        if result.is_ok() {
            let hook = delivery.hook.name.clone();
            self.delivered.push((hook, delivery.alert));
        }
        self.hand(Input::Delivered {
            delivery: key.1,
            result,
        });
    }

    /// Lets time pass; everything that is due happens at its moment.
    pub(super) fn pass(&mut self, time: f64) {
        let until = self.now.after(seconds(time));
        self.pass_until(until);
    }

    pub(super) fn pass_until(&mut self, until: Moment) {
        for _ in 0..10_000_000 {
            let run = self.running.keys().next().copied();
            let attempt = self.trying.keys().next().copied();
            let timer = self.monitor.next_timeout();
            let next = [run.map(|key| key.0), attempt.map(|key| key.0), timer];
            let next = next.into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(at);
            match (run, attempt) {
                (Some(run), _) if run.0 == at => self.end_run(run),
                (_, Some(attempt)) if attempt.0 == at => self.end_attempt(attempt),
                _ => self.hand(Input::Tick),
            }
        }
        panic!("it never ends");
    }

    /// The daemon dies, and another starts `gap` later with what was kept.
    pub(super) fn restart(&mut self, gap: f64) {
        self.now = self.now.after(seconds(gap));
        self.seed += 1;
        self.monitor = Monitor::new(self.seed);
        self.running.clear();
        self.trying.clear();
        let kept = Kept {
            checks: self.store.clone().into_iter().collect(),
            deliveries: self.kept_deliveries.values().cloned().collect(),
        };
        self.hand(Input::Restored(Box::new(kept)));
        self.wake();
        for (plugin, checks) in self.declared.clone() {
            self.hand(Input::Declared { plugin, checks });
        }
    }

    pub(super) fn beat(&mut self, check: &str, beat: Beat) -> Result<String, String> {
        self.hand(Input::Beat {
            ask: CheckAsk(9),
            check: check.to_owned(),
            beat,
            message: None,
        });
        self.answer()
    }

    pub(super) fn quiet(&mut self, check: &str, quiet: Quiet) -> Result<String, String> {
        self.hand(Input::Downtime {
            ask: CheckAsk(9),
            check: check.to_owned(),
            quiet,
            why: Some("because".to_owned()),
        });
        self.answer()
    }

    fn answer(&mut self) -> Result<String, String> {
        match self.told.pop().unwrap().1? {
            Told::Done(text) => Ok(text),
            Told::Outcomes(_) => panic!("no outcomes were asked for"),
        }
    }

    pub(super) fn view(&self, check: &str) -> CheckView {
        let view = self.monitor.view(&[check.to_owned()]).unwrap();
        view.checks[0].clone()
    }

    pub(super) fn confirmed(&self, check: &str) -> Option<State> {
        self.view(check).confirmed
    }

    /// What went through so far and was not yet looked at: `problem web critical`.
    pub(super) fn news(&mut self) -> Vec<String> {
        let delivered = std::mem::take(&mut self.delivered);
        delivered.iter().map(|(_, alert)| words(alert)).collect()
    }

    /// Seconds at which the check's runs began.
    pub(super) fn starts(&self, check: &str) -> Vec<f64> {
        let own = self.ran.iter().filter(|ran| ran.check == check);
        own.map(|ran| ran.at.0 as f64 / 1e6).collect()
    }
}

pub(super) fn words(alert: &Alert) -> String {
    let kind = match alert.kind {
        AlertKind::Problem => "problem",
        AlertKind::Recovery => "recovery",
        AlertKind::FlappingStart => "flapping",
        AlertKind::FlappingStop => "flapped",
    };
    format!("{kind} {} {}", alert.check, alert.to)
}
