//! Threats: what hostile scripts, clients and users try, and what holds.

mod resources_clients;
mod resources_files;
mod resources_processes;
