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
