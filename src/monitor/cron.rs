//! Schedules by the calendar: when is the next time, on a clock that may jump?
//!
//! Summer time moves the local clock by an hour. As cron does: what is to run at a fixed time runs once, also if that
//! time is skipped or comes twice; what runs all the time goes by the new clock. A larger jump is a correction: from
//! then on the new clock counts, and nothing is made up for.

use std::str::FromStr as _;

use croner::{Cron, JobType};
use jiff::civil::DateTime;

use crate::limits;
use crate::moment::Moment;

use super::Monitor;
use super::check::CheckKey;

/// A schedule, and how far it has been kept.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    schedule: Cron,
    /// Up to this local time everything has run that was to run.
    done: Option<DateTime>,
}

impl Calendar {
    /// # Errors
    /// A sentence, if it is no schedule.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let schedule = Cron::from_str(text).map_err(|error| {
            format!(
                "cron {text:?} is no schedule: {error}; write minute hour day month weekday: \"*/5 * * * *\""
            )
        })?;
        Ok(Calendar {
            schedule,
            done: None,
        })
    }

    fn is_fixed(&self) -> bool {
        matches!(self.schedule.determine_job_type(), JobType::FixedTime)
    }

    /// By how much the clock may jump before what lies between is left out, or may come again.
    fn tolerance(&self) -> std::time::Duration {
        if self.is_fixed() {
            limits::CHECK_CRON_SHIFT
        } else {
            limits::CHECK_CRON_DRIFT
        }
    }

    /// Time has passed: what was due until then has run, or was left out because a run took too long.
    pub(super) fn advance(&mut self, local: DateTime) {
        self.done = Some(match self.done {
            Some(done) if done > local && self.is_close(done, local) => done,
            Some(_) | None => local,
        });
    }

    fn is_close(&self, one: DateTime, other: DateTime) -> bool {
        one.duration_since(other).unsigned_abs() <= self.tolerance()
    }

    /// The next time from `local` on; before it, if the clock has skipped one. `None`: never again.
    pub(super) fn next(&self, local: DateTime) -> Option<DateTime> {
        let from = self
            .done
            .filter(|done| self.is_close(*done, local))
            .unwrap_or(local);
        self.schedule.find_next_occurrence(&from, false).ok()
    }
}

impl Monitor {
    /// When the check's calendar has its next time; `None`: it has no calendar, or the clock is not known.
    pub(super) fn next_by_calendar(&self, key: CheckKey) -> Option<Moment> {
        let calendar = self.check(key).calendar.as_ref()?;
        let local = self.clock.local(self.now)?;
        let next = calendar.next(local)?;
        let ahead = next.duration_since(local);
        let micros = u64::try_from(ahead.as_micros()).unwrap_or(0);
        Some(Moment(self.now.0.saturating_add(micros)))
    }

    /// A run has ended: what the calendar wanted meanwhile is left out.
    pub(super) fn advance_calendar(&mut self, key: CheckKey) {
        let local = self.clock.local(self.now);
        if let (Some(calendar), Some(local)) = (self.check_mut(key).calendar.as_mut(), local) {
            calendar.advance(local);
        }
    }

    /// The wall clock was read again; before that it would have been `before`.
    pub(super) fn clock_has_moved(&mut self, key: CheckKey, before: Option<DateTime>) {
        if let (Some(calendar), Some(before)) = (self.check_mut(key).calendar.as_mut(), before) {
            calendar.advance(before);
        }
        self.arm_quiet(key);
        if self.check(key).calendar.is_some() && self.check(key).plan.is_planned() {
            self.plan_next(key);
        }
    }
}
