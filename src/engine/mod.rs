//! What happens. Pure: `handle(now, Input)`, then `poll_effect()` until empty, `next_timeout()`.
//!
//! No clock, task, socket, lock or `await` is in here. The daemon's shell gathers inputs, steps the
//! engine, and performs the effects without waiting.

pub mod alphabet;
