//! In which state are the home's checks, and who is to be told? Pure, like the engine: `handle(now, Input)`, then
//! `poll_effect()` until empty, `next_timeout()`.
//!
//! The engine owns a [`Monitor`], hands it what plugins declare and what runs gave, and does what it wants: run a
//! check, keep something over a restart, deliver an alert. [`state`], [`result`], [`perfdata`] and [`range`] are also
//! what `moonkeep check` speaks without any daemon.

pub mod alphabet;
pub mod perfdata;
pub mod range;
pub mod result;
pub mod state;
pub mod view;

use std::collections::VecDeque;

use alphabet::{Effect, Input};
use view::ChecksView;

use crate::moment::Moment;

/// The machine. It owns the state of every check; nothing else changes it.
///
/// Nothing runs and nothing is alerted before the first [`Input::Clock`] and the first [`Input::Configured`]: without
/// them an alert would have no time and no way out. It asks for the clock by itself. All [`Effect::Keep`] of one step
/// belong in one transaction.
#[derive(Debug)]
pub struct Monitor {
    now: Moment,
    effects: VecDeque<Effect>,
}

impl Monitor {
    /// `seed`: for the jitter of runs and of retries.
    #[must_use]
    pub fn new(_seed: u64) -> Self {
        Monitor {
            now: Moment::default(),
            effects: VecDeque::new(),
        }
    }

    /// One step. Timers that are due fire before the input. Never fails: an input that makes no sense is ignored.
    pub fn handle(&mut self, now: Moment, _input: Input) {
        self.now = self.now.max(now);
    }

    /// The next thing to be done, in order. Poll until `None`; several steps may come before.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Tick`] is to be handed in at the latest, unless something else comes before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Moment> {
        None
    }

    /// All checks, or those that a word chooses: a name, an instance, a plugin, a tag or a file.
    ///
    /// # Errors
    /// A sentence about the first word that chooses none, with the nearest that does.
    pub fn view(&self, _words: &[String]) -> Result<ChecksView, String> {
        Ok(ChecksView::default())
    }
}
