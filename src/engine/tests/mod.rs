//! The engine in virtual time, driven by hand, by transcripts and by a seeded simulation.

mod driver;
mod routing;
mod simulation;
