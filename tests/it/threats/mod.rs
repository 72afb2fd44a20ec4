//! Threats: what hostile scripts, clients and users try, and what holds.

mod battery;
mod places;
mod resources_clients;
mod resources_files;
mod resources_processes;
mod sandbox_control;
mod sandbox_kernel;
mod sandbox_lua;
mod users;

/// By how much a time may exceed its figure. The figures hold for an optimised build on a machine of its own, which
/// is what long runs are for; usually the build is slow, and the machine busy with other tests.
fn leeway() -> u32 {
    if crate::harness::long() && !cfg!(debug_assertions) {
        1
    } else {
        5
    }
}
