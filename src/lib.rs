//! moonkeep keeps Lua scripts running: daemon, worker and command line in one binary.
//!
//! | module | what it answers | it never |
//! |---|---|---|
//! | [`proto`] | what do the bytes mean? | waits, reads a clock, opens anything |
//! | [`engine`] | what happens? | waits, reads a clock, opens anything |
//! | [`monitor`] | in which state are the checks, and who is to be told? | waits, reads a clock, opens anything |
//! | [`options`] | what was written, and what does it mean? | opens anything |
//! | [`paths`], [`scripts`], [`trust`] | where are things; what scripts does a home hold? | decides what runs |
//! | [`daemon`] | the shell around the engine: sockets, processes, files | decides |
//! | [`serve`] | what is answered over HTTP | waits, reads a clock, opens anything |
//! | [`worker`], [`lua`] | runs one script; the Lua API | talks to clients |
//! | [`deliver`] | one attempt to deliver one alert | tries twice, says a secret |
//! | [`client`] | one connection, kept | knows what a script is |
//! | [`check`] | runs health checks once, renders results | needs a daemon |
//! | [`cli`] | what was typed; prints | holds state |
//!
//! `docs/architecture.md` walks one request through the house.

pub mod check;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod deliver;
pub mod descendants;
pub mod engine;
pub mod limits;
pub mod lua;
pub mod moment;
pub mod monitor;
mod nearest;
pub mod options;
pub mod paths;
pub mod proto;
mod random;
pub mod scripts;
pub mod serve;
mod sys;
mod timespan;
pub mod trust;
pub mod weakenings;
pub mod worker;
