//! One connection, kept: the pure machine and its tokio half.
//!
//! [`machine`] decides everything (handshake, pings, reconnects, repeats) and knows no clock; [`wire`]
//! drives it over a Unix socket. [`pool`] is for callers that want several connections; its decisions
//! are in [`ledger`]. Nothing here knows what a script is.

pub mod backoff;
mod driver;
pub mod ledger;
mod link;
pub mod machine;
pub mod pool;
pub mod requests;
pub mod wire;

pub use machine::{Config, Machine, Notice};
pub use pool::Pool;
pub use requests::{Failure, Patience, Request, Sent};
pub use wire::{Client, ConnectOptions, RequestOptions, Responses, Status};
