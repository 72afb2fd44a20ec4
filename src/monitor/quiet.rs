//! Times without alerts: a planned downtime, a problem that is acknowledged.
//!
//! They silence new alerts, never the checking, and never the end of what was already told.

use super::Monitor;
use super::alphabet::{CheckAsk, Effect, Told};
use super::check::CheckKey;
use super::timers::Timer;
use crate::limits;
use crate::options::value::show_duration;
use crate::proto::messages::Quiet;

/// Why no alert is raised now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Hush {
    #[default]
    None,
    /// Until that time of the wall clock.
    Downtime { until_ms: u64, why: Option<String> },
    /// Until it is confirmed ok.
    Acknowledged { why: Option<String> },
}

impl Hush {
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Hush::None)
    }

    /// As the view has it.
    pub(super) fn word(&self) -> Option<&'static str> {
        match self {
            Hush::None => None,
            Hush::Downtime { .. } => Some("downtime"),
            Hush::Acknowledged { .. } => Some("acknowledged"),
        }
    }

    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Hush::None => None,
            Hush::Downtime { why, .. } | Hush::Acknowledged { why } => why.as_deref(),
        }
    }

    pub(super) fn until_ms(&self) -> Option<u64> {
        match self {
            Hush::Downtime { until_ms, .. } => Some(*until_ms),
            Hush::None | Hush::Acknowledged { .. } => None,
        }
    }
}

impl Monitor {
    /// `downtime NAME ...`: does it, and answers.
    pub(super) fn ask_downtime(
        &mut self,
        ask: CheckAsk,
        name: &str,
        quiet: Quiet,
        why: Option<String>,
    ) {
        let why = why.map(|mut why| {
            cut(&mut why, limits::QUIET_WHY_BYTES);
            why
        });
        let answer = self
            .declared_key(name)
            .and_then(|key| self.hush(key, quiet, why))
            .map(Told::Done);
        self.effects.push_back(Effect::Told { ask, answer });
    }

    fn hush(&mut self, key: CheckKey, quiet: Quiet, why: Option<String>) -> Result<String, String> {
        let now = self.now;
        let wall = self.clock.wall(now);
        let is_known = self.clock.is_known();
        let check = self.check_mut(key);
        let name = check.name.clone();
        let (hush, text) = match quiet {
            Quiet::For(time) if time.is_zero() || time > limits::QUIET_MOST => {
                return Err(format!(
                    "a downtime lasts up to {}: say how long, such as moonkeep downtime {name} 2h",
                    show_duration(limits::QUIET_MOST)
                ));
            }
            Quiet::For(_) if !is_known => {
                return Err("the daemon is just starting; try again in a second".to_owned());
            }
            Quiet::For(time) => {
                let length = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let until_ms = wall.saturating_add(length);
                let until = self.clock.shown(until_ms, now);
                let text = format!("{name}: no alerts until {until} ({})", show_duration(time));
                (Hush::Downtime { until_ms, why }, text)
            }
            Quiet::UntilOk if check.confirm.is_well() => {
                return Err(format!(
                    "{name} is ok: there is nothing to acknowledge; for planned work say how long: moonkeep downtime {name} 2h"
                ));
            }
            Quiet::UntilOk => (
                Hush::Acknowledged { why },
                format!("{name}: acknowledged, no alerts until it is ok again"),
            ),
            Quiet::Off => (Hush::None, format!("{name}: alerts are on")),
        };
        self.set_hush(key, hush);
        self.review(key);
        self.keep_now(key);
        Ok(text)
    }

    fn set_hush(&mut self, key: CheckKey, hush: Hush) {
        let check = self.check_mut(key);
        check.hush = hush;
        self.arm_quiet(key);
    }

    /// The end of a downtime, by the wall clock as it is known now.
    pub(super) fn arm_quiet(&mut self, key: CheckKey) {
        let until = self.check(key).hush.until_ms();
        let at = until.map(|until| self.clock.moment_of(until, self.now));
        self.timers
            .set(Timer::Quiet(key), at.filter(|_| self.clock.is_known()));
        self.review_timed(key);
    }

    pub(super) fn quiet_is_over(&mut self, key: CheckKey) {
        self.set_hush(key, Hush::None);
        self.review(key);
        self.keep_now(key);
    }

    /// It is confirmed ok: whoever acknowledged its problem has what they waited for.
    pub(super) fn end_acknowledgement(&mut self, key: CheckKey) -> bool {
        let check = self.check(key);
        let is_over = matches!(check.hush, Hush::Acknowledged { .. }) && check.confirm.is_well();
        if is_over {
            self.set_hush(key, Hush::None);
        }
        is_over
    }
}

/// Cuts at a character's border.
pub(super) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}
