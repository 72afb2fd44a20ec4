//! The engine in virtual time, driven by hand, by transcripts and by a seeded simulation.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks out what it looks for"
)]

mod checking;
mod crashes;
mod driver;
mod forgery;
mod journal;
mod lives;
mod outdated;
mod promises;
mod routing;
mod seeds;
mod sessions;
mod simulation;
mod slots;
mod transcripts;
