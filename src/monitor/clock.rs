//! Which time is it for people? The last reading of the wall clock, and what follows from it.
//!
//! It never reads a clock: [`Input::Clock`](super::alphabet::Input::Clock) brings one, and may jump either way.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::Monitor;
use super::alphabet::Effect;
use super::timers::Timer;
use crate::limits;
use crate::moment::Moment;

/// One look at the wall clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Moment,
    unix_ms: u64,
    offset_seconds: i32,
}

/// Invariant: the clock is asked for at most once in [`limits::CHECK_CLOCK_EVERY`].
#[derive(Debug, Default)]
pub(super) struct Clock {
    reading: Option<Reading>,
    asked: Option<Moment>,
}

impl Clock {
    pub(super) fn is_known(&self) -> bool {
        self.reading.is_some()
    }

    pub(super) fn set(&mut self, at: Moment, unix_ms: u64, offset_seconds: i32) {
        self.reading = Some(Reading {
            at,
            unix_ms,
            offset_seconds,
        });
    }

    /// The wall clock at any moment of this daemon's life, by the last reading; 0 before the first.
    pub(super) fn wall(&self, at: Moment) -> u64 {
        let Some(reading) = self.reading else {
            return 0;
        };
        if at >= reading.at {
            reading
                .unix_ms
                .saturating_add((at.0 - reading.at.0) / 1_000)
        } else {
            reading
                .unix_ms
                .saturating_sub((reading.at.0 - at.0) / 1_000)
        }
    }

    /// When it will be that late; `now` if it is or was.
    pub(super) fn moment_of(&self, unix_ms: u64, now: Moment) -> Moment {
        let ahead = unix_ms.saturating_sub(self.wall(now));
        Moment(now.0.saturating_add(ahead.saturating_mul(1_000)))
    }

    /// The calendar's and the clock's face at that moment.
    pub(super) fn local(&self, at: Moment) -> Option<DateTime> {
        let reading = self.reading?;
        let stamp = Timestamp::from_millisecond(i64::try_from(self.wall(at)).ok()?).ok()?;
        let offset = Offset::from_seconds(reading.offset_seconds).unwrap_or(Offset::UTC);
        Some(offset.to_datetime(stamp))
    }

    /// As people read it, to the minute.
    pub(super) fn shown(&self, unix_ms: u64, now: Moment) -> String {
        let ahead = i64::try_from(unix_ms).unwrap_or(i64::MAX)
            - i64::try_from(self.wall(now)).unwrap_or(i64::MAX);
        self.local(now)
            .and_then(|local| {
                let then = local.checked_add(SignedDuration::from_millis(ahead)).ok()?;
                Some(then.strftime("%Y-%m-%d %H:%M").to_string())
            })
            .unwrap_or_else(|| "later".to_owned())
    }

    /// When the clock may be asked for: never sooner than the last answer or question allows.
    fn asked_again(&self) -> Moment {
        let last = self.reading.map(|reading| reading.at).max(self.asked);
        last.map_or(Moment::default(), |at| at.after(limits::CHECK_CLOCK_EVERY))
    }
}

impl Monitor {
    /// Something happens now that is kept with its time: is the reading still good?
    pub(super) fn refresh_clock(&mut self) {
        if self.now >= self.clock.asked_again() {
            self.clock.asked = Some(self.now);
            self.effects.push_back(Effect::AskClock);
        }
    }

    /// The clock is asked for regularly only while something waits for a time of day, or while it is not known at all.
    pub(super) fn arm_clock(&mut self) {
        let unknown =
            !self.clock.is_known() && (!self.checks.is_empty() || !self.deliveries.is_empty());
        if self.timed.is_empty() && !unknown {
            self.timers.disarm(Timer::Clock);
        } else if !self.timers.is_armed(Timer::Clock) {
            let at = self.clock.asked_again().max(self.now);
            self.timers.arm(Timer::Clock, at);
        }
    }

    pub(super) fn clock_is_due(&mut self) {
        self.refresh_clock();
        self.arm_clock();
    }

    /// [`Input::Clock`](super::alphabet::Input::Clock).
    pub(super) fn set_clock(&mut self, unix_ms: u64, offset_seconds: i32) {
        let before = self.clock.local(self.now);
        self.clock.set(self.now, unix_ms, offset_seconds);
        self.timers.disarm(Timer::Clock);
        if before.is_none() {
            self.become_ready();
        }
        let timed: Vec<_> = self.timed.iter().copied().collect();
        for key in timed {
            self.clock_has_moved(key, before);
        }
        self.arm_clock();
    }
}
