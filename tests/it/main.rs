//! The integration tests: one binary, a fresh home for each test, real processes.
//!
//! [`harness`] makes homes, daemons, clients and command lines, and looks for what a test left behind.
//! Tests wait for conditions and have deadlines; none sleeps to let something happen.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod campaign;
#[cfg(test)]
mod check;
#[cfg(test)]
mod checks_daemon;
#[cfg(test)]
mod children;
#[cfg(test)]
mod claim;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod exec_worker;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forgery;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod life;
#[cfg(test)]
mod lua_io;
#[cfg(test)]
mod lua_worker;
#[cfg(test)]
mod model;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod plugin_worker;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod requirements;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod threats;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tour;
#[cfg(test)]
mod transcript;
