//! Shows the checks over HTTP, to whoever reaches the address of `[http]`. It reads, and changes nothing.
//!
//! | module | what it owns |
//! |---|---|
//! | [`listener`] | the address: opened, opened again, closed as `moonkeep.toml` says |
//! | [`connections`] | the peers: so many at once, each for so long |
//! | [`desk`] | the newest view, which all who ask at the same time share |
//!
//! What is answered is rendered by the pure `serve`, away from the core's thread. A connection is for one request: then
//! one time limit bounds a slow head, a slow reader and an idle peer alike.
//!
//! hyper is used without a framework over it: these do not say how long a head may be, or take.

mod connections;
mod desk;
mod listener;

pub(super) use desk::Desk;
pub(super) use listener::Listener;
