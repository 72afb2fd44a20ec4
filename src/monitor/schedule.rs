//! When does a check run? Start to start, never twice at once, spread by chance, and not too many together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Monitor;
use super::alphabet::{Effect, RunFault, RunId};
use super::check::CheckKey;
use super::result::Outcome;
use super::results::Heard;
use super::timers::Timer;
use crate::limits;
use crate::moment::Moment;
use crate::random::Random;

/// Where a check stands on its way from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is to come by itself.
    #[default]
    Idle,
    /// Its timer is armed.
    Planned {
        at: Moment,
    },
    /// It is due, and waits for its turn.
    Ready {
        since: Moment,
    },
    Running {
        run: RunId,
        from: Moment,
    },
}

/// Invariant: `stage` is what the timers, the queue and the table of runs say of this check.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) stage: Stage,
    /// When the last run was to begin: the intervals count from here, so that nothing adds up.
    beat: Moment,
    /// When the next is to begin, without its jitter.
    next_beat: Moment,
    /// When it really began.
    pub(super) started: Option<Moment>,
    /// When the last run began that has ended.
    pub(super) ended: Option<Moment>,
    /// The last interval was not the regular one.
    was_retry: bool,
    /// Somebody wants to know soon how it is.
    is_wanted: bool,
}

impl Plan {
    pub(super) fn is_planned(&self) -> bool {
        matches!(self.stage, Stage::Planned { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }
}

/// Invariant: each check is in `ready` or in `runs` at most once, and never in both.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By the moment since which they are due.
    pub(super) ready: BTreeSet<(Moment, CheckKey)>,
    pub(super) runs: BTreeMap<RunId, CheckKey>,
    next_run: u64,
}

impl Monitor {
    /// The first run of a check that was just declared, at a random moment, soon.
    pub(super) fn plan_first(&mut self, key: CheckKey) {
        let check = self.check(key);
        if check.calendar.is_some() {
            return self.plan_next(key);
        }
        let within = check.every().min(limits::CHECK_FIRST_WITHIN);
        let is_spread = check.spec().is_some_and(|spec| spec.jitter > 0.0);
        let within = if is_spread { within } else { Duration::ZERO };
        let soonest = check
            .plan
            .started
            .map_or(self.now, |at| at.after(check.retry_every()));
        let at = spread(&mut self.random, self.now, within).max(soonest);
        self.check_mut(key).plan.next_beat = at;
        self.plan_at(key, at);
    }

    /// The next run after the last: by the interval or the calendar, or soon if there is a doubt.
    pub(super) fn plan_next(&mut self, key: CheckKey) {
        let by_calendar = self.next_by_calendar(key);
        let check = self.check(key);
        let is_in_doubt = check.confirm.is_in_doubt() || check.plan.is_wanted;
        let is_in_doubt = is_in_doubt && check.plan.started.is_some();
        match (check.calendar.is_some(), is_in_doubt) {
            (false, _) => {
                let at = self.next_by_interval(key, is_in_doubt);
                self.plan_at(key, at);
            }
            (true, true) => {
                let at = self.next_by_interval(key, true);
                self.plan_at(
                    key,
                    by_calendar.map_or(at, |by_calendar| by_calendar.min(at)),
                );
            }
            (true, false) => match by_calendar {
                Some(at) => self.plan_at(key, at),
                None => self.unplan(key),
            },
        }
    }

    fn next_by_interval(&mut self, key: CheckKey, is_retry: bool) -> Moment {
        let now = self.now;
        let check = self.check(key);
        let (interval, slack) = if is_retry {
            let every = check.every();
            let is_by_interval = check.calendar.is_none();
            let retry = check.retry_every();
            (
                if is_by_interval {
                    retry.min(every)
                } else {
                    retry
                },
                Duration::ZERO,
            )
        } else {
            let jitter = check.spec().map_or(0.0, |spec| spec.jitter.clamp(0.0, 1.0));
            (check.every(), check.every().mul_f64(jitter))
        };
        let plan = check.plan;
        let Some(started) = plan.started else {
            return spread(&mut self.random, now, slack);
        };
        let base = if is_retry || plan.was_retry {
            started
        } else {
            plan.beat
        };
        let beat = next_beat(base, interval, now);
        let least = started.after(interval.saturating_sub(slack));
        let at = spread(&mut self.random, beat, slack).max(least);
        let plan = &mut self.check_mut(key).plan;
        plan.next_beat = beat;
        plan.was_retry = is_retry;
        at
    }

    fn plan_at(&mut self, key: CheckKey, at: Moment) {
        let plan = &mut self.check_mut(key).plan;
        if plan.is_running() {
            // What comes next is planned at its end.
            return;
        }
        let at = self.together(key, at);
        let plan = &mut self.check_mut(key).plan;
        plan.stage = Stage::Planned { at };
        self.timers.arm(Timer::Run(key), at);
    }

    /// Never earlier: what lies close to others begins with them.
    fn together(&self, key: CheckKey, at: Moment) -> Moment {
        /// Intervals below so many steps keep their own time.
        const STEPS: u32 = 5;
        let check = self.check(key);
        let shortest = check.every().min(check.retry_every());
        if at <= self.now || shortest < limits::CHECK_START_TOGETHER * STEPS {
            return at;
        }
        at.rounded_up(limits::CHECK_START_TOGETHER)
    }

    /// Nothing is to run, unless it already does.
    pub(super) fn unplan(&mut self, key: CheckKey) {
        self.timers.disarm(Timer::Run(key));
        let plan = &mut self.check_mut(key).plan;
        match plan.stage {
            Stage::Idle | Stage::Running { .. } => {}
            Stage::Planned { .. } => plan.stage = Stage::Idle,
            Stage::Ready { since } => {
                plan.stage = Stage::Idle;
                self.schedule.ready.remove(&(since, key));
            }
        }
    }

    /// It is due: it waits for its turn.
    pub(super) fn run_is_due(&mut self, key: CheckKey) {
        let now = self.now;
        self.timers.disarm(Timer::Run(key));
        let plan = &mut self.check_mut(key).plan;
        match plan.stage {
            Stage::Idle | Stage::Planned { .. } => {
                plan.stage = Stage::Ready { since: now };
                self.schedule.ready.insert((now, key));
            }
            Stage::Ready { .. } | Stage::Running { .. } => {}
        }
    }

    /// Somebody wants to know soon how it is: the next run begins as soon as `retry_every` allows.
    pub(super) fn pull(&mut self, key: CheckKey) {
        let plan = &mut self.check_mut(key).plan;
        plan.is_wanted = true;
        match plan.stage {
            Stage::Planned { at } if plan.started.is_some() => {
                let soon = self.next_by_interval(key, true);
                self.plan_at(key, soon.min(at));
            }
            Stage::Planned { .. } => self.plan_at(key, self.now),
            // It is on its way, or is planned when its run has ended.
            Stage::Idle | Stage::Ready { .. } | Stage::Running { .. } => {}
        }
    }

    /// Starts what is due, the longest waiting first, and parents before their children.
    pub(super) fn start_ready(&mut self) {
        while self.schedule.runs.len() < self.at_once() {
            let Some((_, first)) = self.schedule.ready.first().copied() else {
                return;
            };
            let key = self.oldest_ready(first);
            self.start(key);
        }
    }

    fn start(&mut self, key: CheckKey) {
        self.unplan(key);
        self.schedule.next_run += 1;
        let run = RunId(self.schedule.next_run);
        let now = self.now;
        let check = self.check_mut(key);
        check.plan.stage = Stage::Running { run, from: now };
        check.plan.started = Some(now);
        check.plan.beat = check.plan.next_beat.min(now);
        check.plan.is_wanted = false;
        let declared = check.declared.as_ref();
        let declared = declared.expect("only what is declared becomes ready");
        let plugin = declared.origin.plugin();
        let effect = Effect::Run {
            run,
            plugin: plugin.cloned().expect("only a plugin's checks are active"),
            check: check.name.clone(),
            timeout: declared.spec.timeout,
        };
        self.schedule.runs.insert(run, key);
        self.effects.push_back(effect);
    }

    /// A run is over: [`Input::Ended`](super::alphabet::Input::Ended).
    pub(super) fn run_has_ended(&mut self, run: RunId, outcome: Result<Outcome, RunFault>) {
        let Some(key) = self.schedule.runs.remove(&run) else {
            return;
        };
        let now = self.now;
        let check = self.check_mut(key);
        let from = match check.plan.stage {
            Stage::Running { from, .. } => from,
            Stage::Idle | Stage::Planned { .. } | Stage::Ready { .. } => now,
        };
        check.plan.stage = Stage::Idle;
        if !check.is_active() {
            return self.answer_waiters(key, None);
        }
        check.plan.ended = Some(from);
        self.advance_calendar(key);
        self.answer_waiters(key, Some(&outcome));
        self.hear(key, Heard::run(outcome, from, now));
        if self.check(key).plan.stage == Stage::Idle {
            self.plan_next(key);
        }
    }
}

/// The first beat of `base`, `base + interval`, ... that is after `base` and not over: a run that takes longer than
/// its interval skips beats.
fn next_beat(base: Moment, interval: Duration, now: Moment) -> Moment {
    let step = u64::try_from(interval.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    let beats = now.0.saturating_sub(base.0).div_ceil(step).max(1);
    Moment(base.0.saturating_add(step.saturating_mul(beats)))
}

/// A random moment within `within` from `from` on.
fn spread(random: &mut Random, from: Moment, within: Duration) -> Moment {
    let span = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
    Moment(
        from.0
            .saturating_add(random.next() % span.saturating_add(1).max(1)),
    )
}
