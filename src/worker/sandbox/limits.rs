//! Resource limits of a confined worker, what is left of root's privileges, and the mode of the files that it makes.

use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

use crate::limits;
use crate::sys;

/// Sets what does not depend on the script. `memory`: bytes of the Lua state; `None` for a worker that starts
/// programs, whose memory is their own affair.
pub(super) fn apply(memory: Option<u64>) {
    umask(Mode::from_bits_retain(0o077));
    sys::ignore_large_file_signal();
    lower(Resource::Core, 0);
    lower(Resource::Fsize, limits::WORKER_FILE_BYTES);
    if let Some(memory) = memory {
        lower(
            Resource::Data,
            memory.saturating_add(limits::WORKER_DATA_BYTES),
        );
        renew_cpu();
    }
}

/// What a root's script keeps of being root: its access to files, which Landlock bounds, and to its own programs. Of
/// the others, one alone (CAP_PERFMON) opens the environment of every process to whoever may read `/proc`.
pub(super) fn give_up_privileges() {
    let kept = CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::KILL
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID;
    // Never fails for this process; with it, a program of a root's gains nothing back.
    let _set = set_no_new_privs(true);
    if let Ok(before) = capabilities(None) {
        let after = CapabilitySets {
            effective: before.effective & kept,
            permitted: before.permitted & kept,
            inheritable: CapabilitySet::empty(),
        };
        // Fewer are always granted.
        let _granted = set_capabilities(None, after);
    }
}

/// Gives the process [`limits::WORKER_CPU`] more processor time, from now on.
pub(in crate::worker) fn renew_cpu() {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = Duration::from_secs(u64::try_from(used.tv_sec).unwrap_or(0));
    let most = getrlimit(Resource::Cpu).maximum;
    let wanted = (used + limits::WORKER_CPU).as_secs();
    set(
        Resource::Cpu,
        most.map_or(wanted, |most| wanted.min(most)),
        most,
    );
}

/// Never raises: what the operator has set lower stays.
fn lower(resource: Resource, most: u64) {
    let most = getrlimit(resource)
        .maximum
        .map_or(most, |before| before.min(most));
    set(resource, most, Some(most));
}

fn set(resource: Resource, current: u64, maximum: Option<u64>) {
    // Lowering is always granted.
    let _granted = setrlimit(
        resource,
        Rlimit {
            current: Some(current),
            maximum,
        },
    );
}
