//! One connection, kept: the pure machine and its tokio half.
