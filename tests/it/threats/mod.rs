//! Threats: what hostile scripts, clients and users try, and what holds.

mod resources_processes;
