//! What the bytes mean. Pure: no clock, no socket, no task.
//!
//! [`ids`] names things, [`messages`] says what can be said, [`framer`] cuts bytes into lines,
//! [`codec`] turns lines into messages and back in both encodings, [`outcome`] is what a worker writes into its
//! record.

pub mod codec;
pub mod framer;
pub mod ids;
pub mod messages;
pub mod outcome;
