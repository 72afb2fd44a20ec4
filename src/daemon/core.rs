//! The loop: gathers what has happened, steps the engine, does what it wants, waits for more.
//!
//! It is the only place that waits for the engine's sake, and the only one that reads the clock for it.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::perform::{Hands, Legacy, Settled, Then};
use super::trace;
use super::transcript::Transcript;
use crate::engine::Engine;
use crate::engine::alphabet::{Effect, Input, Level, Moment};
use crate::weakenings::{Weakened, Weakening};

/// How long the loop rests when the engine has no timer: any time will do.
const NO_TIMER: Duration = Duration::from_secs(24 * 3600);

/// The engine and its hands.
pub(super) struct Core {
    pub(super) engine: Engine,
    /// The engine's moment 0.
    pub(super) born: Instant,
    pub(super) hands: Hands,
    pub(super) transcript: Option<Transcript>,
    pub(super) laggard: Laggard,
    /// Frames go into the log.
    pub(super) traced: bool,
}

/// Lets records wait where a rule is left out that says what has to be written first. What is written in the
/// same turn anyway would hardly ever be missed, and no test could show that it needs the rule.
#[derive(Debug)]
pub(super) struct Laggard {
    weakened: Weakened,
    /// What waits is written then.
    due: Option<Moment>,
}

/// How late a [`Laggard`] is.
const LATE: Duration = Duration::from_millis(20);

impl Laggard {
    pub(super) fn new(weakened: Weakened) -> Self {
        Laggard {
            weakened,
            due: None,
        }
    }

    /// Whether the records of this turn wait for a later one.
    fn puts_off(&mut self, now: Moment) -> bool {
        let is_late = [
            Weakening::SendBeforeStarted,
            Weakening::AcceptedUnsynced,
            Weakening::DoneUnsynced,
        ];
        if !is_late.into_iter().any(|rule| self.weakened.has(rule)) {
            return false;
        }
        let waits = now < *self.due.get_or_insert(now.after(LATE));
        if !waits {
            self.due = None;
        }
        waits
    }
}

impl Core {
    /// Runs until the engine says that all is over. `report` is called when the first generation of
    /// every script is ready or has failed.
    pub(super) async fn run(&mut self, mut report: impl FnMut(Settled)) {
        let mut batch = Vec::new();
        let mut alarm = pin!(sleep_until((self.born + NO_TIMER).into()));
        loop {
            self.hands.inbox.take(&mut batch);
            let now = self.now();
            if self.turn(now, &mut batch, &mut report) {
                // What was wanted last of all is written too.
                let _heard_by_nobody = self.hands.journal.commit();
                self.hands.checkbook.commit();
                self.hands.flush();
                return;
            }
            self.hands.checkbook.commit();
            self.hands.flush();
            if let Some(transcript) = &mut self.transcript {
                transcript.flush();
            }
            self.wait(alarm.as_mut()).await;
        }
    }

    /// Works off a batch, then the journal. `true`: it is over.
    fn turn(
        &mut self,
        now: Moment,
        batch: &mut Vec<Input>,
        report: &mut impl FnMut(Settled),
    ) -> bool {
        batch.drain(..).any(|input| self.step(now, input, report))
            || (self.is_due(now) && self.step(now, Input::Tick, report))
            || (!self.laggard.puts_off(now) && self.journal(now, report))
    }

    /// Writes this turn's records in one go, and does what that sets free, which may want more written. `true`:
    /// it is over.
    fn journal(&mut self, now: Moment, report: &mut impl FnMut(Settled)) -> bool {
        loop {
            let news = self.hands.journal.turn(now);
            if news.is_none() {
                return false;
            }
            if news
                .into_inputs()
                .any(|input| self.step(now, input, report))
            {
                return true;
            }
        }
    }

    /// Steps the engine once. `true`: it is over.
    fn step(&mut self, now: Moment, input: Input, report: &mut impl FnMut(Settled)) -> bool {
        if let Some(transcript) = &mut self.transcript {
            transcript.input(now, &input);
        }
        self.trace(|| trace::heard(&input));
        if let Input::Exited { worker, .. } = &input {
            self.hands.forget(worker);
        }
        let legacy = Legacy::of(&input);
        self.engine.handle(now, input);
        while let Some(effect) = self.next_effect() {
            match self.hands.perform(effect) {
                Then::GoOn => {}
                Then::Report(settled) => report(settled),
                Then::Exit => return true,
            }
        }
        self.hands.inherited(legacy);
        false
    }

    fn next_effect(&mut self) -> Option<Effect> {
        let effect = self.engine.poll_effect()?;
        if let Some(transcript) = &mut self.transcript {
            transcript.effect(&effect);
        }
        self.trace(|| trace::told(&effect));
        Some(effect)
    }

    fn trace(&self, frame: impl FnOnce() -> Option<String>) {
        if self.traced
            && let Some(text) = frame()
        {
            self.hands.logs.note(Level::Debug, text);
        }
    }

    /// Waits for an input or the engine's next timer. The alarm is left alone where it would only be moved
    /// away: timers are mostly disarmed before they are due, and to be woken too early once costs less.
    async fn wait(&self, mut alarm: Pin<&mut Sleep>) {
        let due = self
            .engine
            .next_timeout()
            .into_iter()
            .chain(self.laggard.due)
            .chain(self.hands.journal.due())
            .min()
            .map(|moment| (self.born + Duration::from_micros(moment.0)).into());
        if alarm.is_elapsed() || due.is_some_and(|due| due < alarm.deadline()) {
            let rest = || (self.born + NO_TIMER + self.born.elapsed()).into();
            alarm.as_mut().reset(due.unwrap_or_else(rest));
        }
        tokio::select! {
            biased;
            // Cancel safe: what was pushed stays in the inbox.
            () = self.hands.inbox.filled() => {}
            // Cancel safe: a ring that nobody waited for is remembered, and so are the reports.
            () = self.hands.journal.stirred() => {}
            // Cancel safe: it only waits.
            () = alarm => {}
        }
    }

    fn is_due(&self, now: Moment) -> bool {
        self.engine
            .next_timeout()
            .is_some_and(|moment| moment <= now)
    }

    fn now(&self) -> Moment {
        Moment::default().after(self.born.elapsed())
    }
}
