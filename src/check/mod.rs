//! Running health checks once, rendering their results.
