//! Checks that are told of: a job says that it lives, and silence is critical.
//!
//! Nothing is sampled here, so nothing needs a second look: each word of the job, and its silence, is confirmed at once.

use std::time::Duration;

use super::Monitor;
use super::alphabet::{CheckAsk, Effect, Told};
use super::check::{CheckKey, Manner};
use super::quiet::cut;
use super::results::Heard;
use super::state::State;
use super::timers::Timer;
use crate::limits;
use crate::moment::Moment;
use crate::options::value::show_duration;
use crate::proto::messages::Beat;

/// When something was heard of a job, and until when the next is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) heard: Option<Moment>,
    /// By the wall clock, of an earlier daemon.
    pub(super) kept_heard_ms: Option<u64>,
    /// It has begun and not ended.
    pub(super) started: Option<Moment>,
    pub(super) due: Option<Moment>,
    /// By the wall clock, of an earlier daemon: not yet placed.
    pub(super) kept_due_ms: Option<u64>,
}

impl Monitor {
    /// `heartbeat NAME ...`: takes it in, and answers.
    pub(super) fn ask_beat(
        &mut self,
        ask: CheckAsk,
        name: &str,
        beat: Beat,
        message: Option<String>,
    ) {
        let answer = self
            .declared_key(name)
            .and_then(|key| self.beat(key, beat, message))
            .map(Told::Done);
        self.effects.push_back(Effect::Told { ask, answer });
    }

    fn beat(
        &mut self,
        key: CheckKey,
        beat: Beat,
        message: Option<String>,
    ) -> Result<String, String> {
        let name = self.check(key).name.clone();
        let grace = match self.check(key).manner() {
            Some(Manner::Heartbeat { grace }) => grace,
            Some(Manner::Active) => {
                return Err(format!(
                    "{name} is no heartbeat: the daemon runs it; run it now with: moonkeep check {name}"
                ));
            }
            Some(Manner::Stated { message }) => {
                return Err(format!("{name} cannot be told anything: {message}"));
            }
            None => return Err(format!("{name} is gone")),
        };
        if !self.is_ready() {
            return Err("the daemon is just starting; try again in a second".to_owned());
        }
        let now = self.now;
        let every = self.check(key).every();
        let pulse = &mut self.check_mut(key).pulse;
        pulse.heard = Some(now);
        let began = pulse.started;
        let (state, said) = match beat {
            Beat::Start => {
                pulse.started = Some(now);
                pulse.due = Some(now.after(grace));
                self.arm_late(key);
                self.keep_soon(key);
                return Ok(format!(
                    "{name}: started; its end is expected within {}",
                    show_duration(grace)
                ));
            }
            Beat::Ok | Beat::Code(0) => (State::Ok, "heard of it".to_owned()),
            Beat::Fail => (State::Critical, "it says that it has failed".to_owned()),
            Beat::Code(code) => (State::Critical, format!("it has ended with code {code}")),
        };
        pulse.started = None;
        pulse.due = Some(now.after(every.saturating_add(grace)));
        self.arm_late(key);
        let mut message = message.filter(|text| !text.is_empty()).unwrap_or(said);
        cut(&mut message, limits::CHECK_OUTPUT_BYTES);
        let duration = began.map(|began| now.since(began));
        self.hear(key, Heard::told(state, message, duration));
        Ok(format!(
            "{name}: {state}; the next is expected within {}",
            show_duration(every.saturating_add(grace))
        ))
    }

    /// A heartbeat is declared, or the daemon has just learned which time it is: its first beat is awaited from now
    /// on. After a restart what was awaited stays awaited, but the job gets its grace to be heard again.
    pub(super) fn await_beat(&mut self, key: CheckKey, grace: Duration) {
        let now = self.now;
        let every = self.check(key).every();
        let kept = self.check_mut(key).pulse.kept_due_ms.take();
        self.check_mut(key).pulse.due = Some(match kept {
            Some(kept) => self.clock.moment_of(kept, now).max(now.after(grace)),
            None => now.after(every.saturating_add(grace)),
        });
        self.arm_late(key);
    }

    /// Other options: what is awaited is awaited by them.
    pub(super) fn await_beat_anew(&mut self, key: CheckKey, grace: Duration) {
        let every = self.check(key).every();
        let pulse = &mut self.check_mut(key).pulse;
        if pulse.due.is_none() {
            return;
        }
        pulse.due = Some(match (pulse.started, pulse.heard) {
            (Some(started), _) => started.after(grace),
            (None, Some(heard)) => heard.after(every.saturating_add(grace)),
            (None, None) => return self.await_beat(key, grace),
        });
        self.arm_late(key);
    }

    fn arm_late(&mut self, key: CheckKey) {
        let due = self.check(key).pulse.due;
        self.timers.set(Timer::Late(key), due);
    }

    /// Nothing was heard for too long.
    pub(super) fn beat_is_late(&mut self, key: CheckKey) {
        let now = self.now;
        let text = match self.check(key).pulse.started {
            Some(began) => format!(
                "no sign of life for {}: it has started and not ended",
                about(now.since(began))
            ),
            None => format!("no sign of life for {}", about(self.silence(key))),
        };
        self.check_mut(key).pulse.due = None;
        self.hear(key, Heard::told(State::Critical, text, None));
    }

    /// How long nothing was heard: since the last beat, else since it was declared.
    fn silence(&self, key: CheckKey) -> Duration {
        let check = self.check(key);
        match (check.pulse.heard, check.pulse.kept_heard_ms) {
            (Some(heard), _) => self.now.since(heard),
            (None, Some(heard_ms)) => {
                Duration::from_millis(self.clock.wall(self.now).saturating_sub(heard_ms))
            }
            (None, None) => self.now.since(check.declared_at),
        }
    }
}

/// In its two largest units: nobody wants more of it.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
