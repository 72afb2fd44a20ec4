//! The machine in a small world with a clock of its own.

mod alerts;
mod confirm;
mod cron;
mod deliveries;
mod driver;
mod flapping;
mod heartbeat;
mod history;
mod parents;
mod quiet;
mod requests;
mod restarts;
mod schedule;
mod simulation;
