//! Running health checks once, rendering their results.

pub mod json;
pub mod perfdata;
pub mod range;
pub mod result;
pub mod state;
