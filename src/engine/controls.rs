//! `start stop restart reload`: answered when done, or failed, or when their time is over.

use std::collections::VecDeque;

use super::alphabet::{Effect, Peer};
use super::asking::{Ask, Manner, What};
use super::hash::FastMap;
use super::scripts::{Phase, Script, Then};
use super::timers::Timer;
use super::{Engine, refusals, view};
use crate::limits;
use crate::options::Settings;
use crate::proto::ids::{Generation, ScriptName};
use crate::proto::messages::{Body, ErrorCode, Refusal, Verb};

/// Names one control command. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ControlKey(u64);

/// What one control command wants of one script.
#[derive(Clone, Debug)]
pub(super) struct Wanting {
    pub(super) control: ControlKey,
    pub(super) goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// A generation after this one serves.
    Up {
        after: Generation,
    },
    Gone,
}

#[derive(Debug)]
struct Control {
    ask: Ask,
    /// Scripts that are not done yet.
    left: usize,
    done: Vec<ScriptName>,
    errors: Vec<Refusal>,
}

/// A command that is carried out after a look at the home: whoever has just saved a file means it, header and all.
#[derive(Debug)]
struct Looking {
    look: u64,
    control: ControlKey,
    verb: Verb,
    /// With the newest generation when it was asked for.
    names: Vec<(ScriptName, Generation)>,
}

#[derive(Debug, Default)]
pub(super) struct Controls {
    table: FastMap<ControlKey, Control>,
    next: u64,
    /// In the order in which they were asked for.
    looking: VecDeque<Looking>,
    looks: u64,
}

impl Controls {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Engine {
    pub(super) fn control(
        &mut self,
        peer: &Peer,
        manner: Manner,
        verb: Verb,
        name: Option<ScriptName>,
    ) {
        if self.life.is_leaving() {
            let body = Body::Error(refusals::shutting_down());
            self.answer_at_once(peer, manner, body);
            return;
        }
        let names: Vec<ScriptName> = match name {
            Some(name) if self.scripts.contains_key(&name) => vec![name],
            Some(name) => {
                let known = self.scripts.keys().map(ScriptName::as_str);
                let body = Body::Error(refusals::unknown_script(&name, known));
                self.answer_at_once(peer, manner, body);
                return;
            }
            None => self.all_for(verb),
        };
        let key = ControlKey(self.controls.next);
        self.controls.next += 1;
        let Some(number) = self.open_question(peer, manner, What::Control(key)) else {
            return;
        };
        let control = Control {
            ask: Ask {
                peer: peer.clone(),
                number,
            },
            left: names.len(),
            done: Vec::new(),
            errors: Vec::new(),
        };
        self.controls.table.insert(key, control);
        let limit = names
            .iter()
            .filter_map(|name| self.scripts.get(name)?.spec.as_ref())
            .map(|spec| longest(&spec.settings))
            .max()
            .unwrap_or_default();
        let at = self.now.after(limit + limits::CONTROL_SLACK);
        self.timers.arm(Timer::Control(key), at);
        self.end_control_if_done(key);
        let names = names.into_iter().filter_map(|name| {
            let newest = self.scripts.get(&name)?.generation;
            Some((name, newest))
        });
        let looking = Looking {
            look: self.controls.looks,
            control: key,
            verb,
            names: names.collect(),
        };
        self.look_first(looking);
    }

    /// What stops needs no look, but keeps its turn.
    fn look_first(&mut self, mut looking: Looking) {
        if looking.verb == Verb::Stop && self.controls.looking.is_empty() {
            self.carry_out(looking);
            return;
        }
        self.controls.looks += 1;
        looking.look = self.controls.looks;
        self.effects
            .push_back(Effect::Rescan { look: looking.look });
        self.controls.looking.push_back(looking);
    }

    pub(super) fn looked(&mut self, look: u64) {
        let due =
            |waiting: &VecDeque<Looking>| waiting.front().is_some_and(|first| first.look <= look);
        while due(&self.controls.looking) {
            if let Some(looking) = self.controls.looking.pop_front() {
                self.carry_out(looking);
            }
        }
    }

    fn carry_out(&mut self, looking: Looking) {
        for (name, asked) in looking.names {
            if self.scripts.contains_key(&name) {
                self.steer(&name, looking.verb, looking.control, asked);
            } else {
                let known = self.scripts.keys().map(ScriptName::as_str);
                let refusal = refusals::unknown_script(&name, known);
                self.one_done(looking.control, &name, Err(refusal));
            }
        }
    }

    /// Which scripts a command without a name is for.
    fn all_for(&self, verb: Verb) -> Vec<ScriptName> {
        let concerns = |script: &Script| match verb {
            Verb::Start | Verb::Restart => script.is_wanted(),
            Verb::Stop => true,
            Verb::Reload => !matches!(script.phase, Phase::Stopped),
        };
        self.scripts
            .values()
            .filter(|script| !script.name.is_plugin() && concerns(script))
            .map(|script| script.name.clone())
            .collect()
    }

    fn steer(&mut self, name: &ScriptName, verb: Verb, control: ControlKey, asked: Generation) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        let newest = script.generation;
        let goal = match (verb, &script.phase) {
            (Verb::Stop, _) => Goal::Gone,
            (Verb::Start, Phase::Ready(generation, _) | Phase::Starting(generation)) => Goal::Up {
                after: Generation(generation.0.saturating_sub(1)),
            },
            (Verb::Reload, _) => Goal::Up { after: asked },
            (Verb::Start | Verb::Restart, _) => Goal::Up { after: newest },
        };
        let stopped = matches!(script.phase, Phase::Stopped | Phase::Draining(Then::Stop));
        if verb == Verb::Reload && stopped {
            let refusal = script.not_ready();
            self.one_done(control, name, Err(refusal));
            return;
        }
        script.controls.push(Wanting { control, goal });
        match verb {
            Verb::Start => self.start_by_hand(name),
            Verb::Stop => self.stop_by_hand(name),
            Verb::Restart => self.restart_by_hand(name),
            Verb::Reload => {
                script.restarts.reset();
                // If the look has found a change, the generation that is wanted is on its way.
                if newest == asked {
                    self.renew(name);
                }
            }
        }
        self.review_controls(name);
    }

    fn start_by_hand(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.held = false;
        script.restarts.reset();
        match script.phase {
            Phase::Stopped | Phase::Backoff | Phase::Failed { .. } => self.start_script(name),
            Phase::Draining(Then::Stop) => self.take_down(name, Then::Start),
            Phase::Draining(Then::Start | Then::Remove | Then::Crashed(_))
            | Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..) => {}
        }
    }

    fn stop_by_hand(&mut self, name: &ScriptName) {
        self.end_controls(name, |goal| match goal {
            Goal::Up { .. } => Err(Refusal::new(
                ErrorCode::Cancelled,
                format!(
                    "script {name} was stopped meanwhile; start it again: moonkeep start {name}"
                ),
            )),
            Goal::Gone => Ok(false),
        });
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.held = true;
        match script.phase {
            Phase::Stopped | Phase::Draining(Then::Remove) => {}
            Phase::Awaiting
            | Phase::Starting(_)
            | Phase::Ready(..)
            | Phase::Draining(_)
            | Phase::Backoff
            | Phase::Failed { .. } => self.take_down(name, Then::Stop),
        }
    }

    fn restart_by_hand(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        script.held = false;
        script.restarts.reset();
        if script.phase != Phase::Draining(Then::Remove) {
            self.take_down(name, Then::Start);
        }
    }

    /// Ends what is reached by now.
    pub(super) fn review_controls(&mut self, name: &ScriptName) {
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let phase = script.phase.clone();
        self.end_controls(name, |goal| match (goal, &phase) {
            (Goal::Up { after }, Phase::Ready(generation, _)) => Ok(*generation > after),
            (Goal::Gone, Phase::Stopped) => Ok(true),
            (Goal::Up { .. } | Goal::Gone, _) => Ok(false),
        });
    }

    /// A start failed: whoever waits for it is told why.
    pub(super) fn start_failed(&mut self, name: &ScriptName) {
        self.plugin_fails(name);
        let Some(script) = self.scripts.get(name) else {
            return;
        };
        let why = script.last_error.clone().unwrap_or_default();
        let hopeless = matches!(script.phase, Phase::Failed { .. });
        let newest = script.generation;
        let refusal = control_error(name, &why);
        self.end_controls(name, |goal| match goal {
            Goal::Up { after } if hopeless || newest > after => Err(refusal.clone()),
            Goal::Up { .. } | Goal::Gone => Ok(false),
        });
    }

    pub(super) fn reload_refused(&mut self, name: &ScriptName, why: &str) {
        let refusal = control_error(name, why);
        self.end_controls(name, |goal| match goal {
            Goal::Up { .. } => Err(refusal.clone()),
            Goal::Gone => Ok(false),
        });
    }

    /// Ends those for whom `judge` says `Ok(true)` or an error.
    pub(super) fn end_controls(
        &mut self,
        name: &ScriptName,
        judge: impl Fn(Goal) -> Result<bool, Refusal>,
    ) {
        let Some(script) = self.scripts.get_mut(name) else {
            return;
        };
        let mut ended = Vec::new();
        script.controls.retain(|wanting| match judge(wanting.goal) {
            Ok(false) => true,
            Ok(true) => {
                ended.push((wanting.control, Ok(())));
                false
            }
            Err(refusal) => {
                ended.push((wanting.control, Err(refusal)));
                false
            }
        });
        for (control, outcome) in ended {
            self.one_done(control, name, outcome);
        }
    }

    fn one_done(&mut self, key: ControlKey, name: &ScriptName, outcome: Result<(), Refusal>) {
        let Some(control) = self.controls.table.get_mut(&key) else {
            return;
        };
        control.left = control.left.saturating_sub(1);
        match outcome {
            Ok(()) => control.done.push(name.clone()),
            Err(refusal) => control.errors.push(refusal),
        }
        self.end_control_if_done(key);
    }

    fn end_control_if_done(&mut self, key: ControlKey) {
        let done = self
            .controls
            .table
            .get(&key)
            .is_some_and(|control| control.left == 0);
        if !done {
            return;
        }
        let Some(mut control) = self.controls.table.remove(&key) else {
            return;
        };
        self.timers.disarm(Timer::Control(key));
        let body = if control.errors.is_empty() {
            let encoding = self.encoding_of(&control.ask);
            control.done.sort();
            Body::Ok {
                result: view::scripts(self, &control.done, encoding),
                replayed: false,
            }
        } else {
            Body::Error(join(control.errors))
        };
        self.tell(&control.ask, body);
    }

    pub(super) fn control_due(&mut self, key: ControlKey) {
        let Some(control) = self.controls.table.remove(&key) else {
            return;
        };
        let refusal = Refusal::new(
            ErrorCode::Timeout,
            format!(
                "{} script(s) were not done in time, and go on; see `moonkeep status`",
                control.left
            ),
        );
        self.tell(&control.ask, Body::Error(refusal));
    }

    /// Its asker is gone: what it began goes on.
    pub(super) fn forget_control(&mut self, key: ControlKey) {
        self.controls.table.remove(&key);
        self.timers.disarm(Timer::Control(key));
    }

    pub(super) fn controls_at_shutdown(&mut self) {
        for looking in std::mem::take(&mut self.controls.looking) {
            for (name, _) in looking.names {
                self.one_done(looking.control, &name, Err(refusals::shutting_down()));
            }
        }
        let names: Vec<ScriptName> = self.scripts.keys().cloned().collect();
        for name in names {
            self.end_controls(&name, |goal| match goal {
                Goal::Up { .. } => Err(refusals::shutting_down()),
                Goal::Gone => Ok(false),
            });
        }
    }
}

/// The longest that any control command of a script can take by its own time limits.
fn longest(settings: &Settings) -> std::time::Duration {
    limits::HANDOVER_TIMEOUT
        + settings.ready_timeout
        + limits::DRAIN_TIMEOUT
        + settings.stop_timeout * 2
}

fn control_error(name: &ScriptName, why: &str) -> Refusal {
    let mut refusal = Refusal::new(
        ErrorCode::ScriptError,
        format!(
            "script {name} did not come up: {}; see `moonkeep logs {name}`",
            refusals::one_line(why)
        ),
    );
    if why.lines().count() > 1 {
        refusal.traceback = Some(why.to_owned());
    }
    refusal
}

/// One refusal for several scripts.
fn join(errors: Vec<Refusal>) -> Refusal {
    let mut errors = errors.into_iter();
    let Some(mut first) = errors.next() else {
        return refusals::shutting_down();
    };
    for next in errors {
        first.message.push_str("; ");
        first.message.push_str(&next.message);
    }
    first
}
