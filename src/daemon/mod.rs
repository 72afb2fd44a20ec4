//! The shell around the engine: sockets, processes, files. It decides nothing.
//!
//! One thread runs everything: [`core`] gathers what has happened into batches, steps the engine, and
//! has [`perform`] do what it wants. Each client and each worker has a task that reads for it
//! ([`session`], [`attend`]); all of them push into one [`inbox`]. Beside that thread there are only the
//! writer of the logs, the kernel's file events, and short-lived ones that read files.
//!
//! | module | what it owns |
//! |---|---|
//! | [`claim`] | the lock, the socket's place, the pid file |
//! | [`accept`], [`session`] | the clients' connections |
//! | [`child`], [`attend`] | the workers' processes |
//! | [`undertaker`], [`cgroup`] | what they leave behind |
//! | [`deliveries`] | the processes that deliver alerts |
//! | [`lane`], [`outbox`] | what waits for a peer |
//! | [`bell`] | one task waits, others ring |
//! | [`watch`], [`ledger`], [`plugins`] | what changed in the home; plugin workers among it |
//! | [`clock`] | the time of day, for the checks |
//! | [`checkbook`] | what is known of the checks, over restarts |
//! | [`logs`] | the log files |
//! | [`mod@detach`] | a start in the background |
//! | [`http`] | the status page, metrics and probes |
//! | [`trace`] | frames in the log |
//! | [`transcript`] | a record that replays |

mod accept;
mod attend;
mod bell;
mod cgroup;
mod checkbook;
mod child;
pub mod claim;
mod clock;
mod core;
mod deliveries;
mod detach;
mod http;
mod inbox;
mod journal;
mod lane;
mod ledger;
pub mod logs;
mod origin;
mod outbox;
mod perform;
mod plugins;
mod session;
mod signals;
mod start;
mod systemd;
mod trace;
pub mod transcript;
mod undertaker;
mod user;
mod watch;

pub use claim::{ClaimError as StartFailure, Holder, Stale, clean_stale, holder, locate};
pub use detach::{ROLE, detach, main};
pub use start::{Report, RunOptions, run};
