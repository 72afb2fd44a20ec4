//! What the kernel keeps a worker from: applied once, in the main thread, before anything of a script is read and
//! before any other thread exists. What is given up here never comes back.
//!
//! Order: resource limits, privileges, Landlock (files, TCP ports, signals), seccomp (system calls). [`Grants`] says what is
//! granted; here it becomes rules. Never decides what a script may do, and never widens a grant.

use std::path::Path;
use std::sync::Arc;

use crate::lua::grants::{Grants, Subject};
use crate::lua::log;
use crate::proto::messages::{Confinement, Notice, Sandbox, SandboxLevel, SandboxMode, Setup};

mod landlock;
mod limits;
pub(super) mod probe;
mod seccomp;

use self::landlock::Landlock;
pub(super) use limits::renew_cpu;

/// Landlock's first version with TCP ports: what `required` requires (Linux 6.7).
const REQUIRED_ABI: u32 = 4;
/// Its first version that keeps signals and abstract sockets within the sandbox (Linux 6.12).
const SCOPED_ABI: u32 = 6;

/// What is in force from now on.
pub(super) struct Confined {
    pub(super) grants: Arc<Grants>,
    pub(super) sandbox: Sandbox,
    /// Rules on files of `/proc` hold only while the kernel keeps them in mind.
    _pinned: Vec<std::os::fd::OwnedFd>,
}

impl Confined {
    /// Says in the script's log which entries of its header name nothing.
    pub(super) fn log(&self) {
        for note in self.grants.notes() {
            log::line("warning", note);
        }
    }

    /// For the daemon.
    pub(super) fn notice(&self) -> Notice {
        Notice::Confined {
            sandbox: self.sandbox.clone(),
        }
    }
}

impl std::fmt::Debug for Confined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confined")
            .field("sandbox", &self.sandbox)
            .finish_non_exhaustive()
    }
}

/// Confines this process for the script of `setup`.
///
/// # Errors
/// Where `sandbox = "required"` cannot be had.
pub(super) fn confine(setup: &Setup) -> Result<Confined, String> {
    let own = setup.home.join("state").join("scripts");
    let subject = Subject {
        home: &setup.home,
        own: &own.join(setup.script.as_str()),
        path: &setup.path,
        exec: setup.exec,
    };
    let memory = (!setup.exec).then_some(setup.memory_bytes as u64);
    confine_for(&setup.confinement, subject, memory)
}

/// As [`confine`]. `memory`: bytes of the Lua state, `None` where there is none.
pub(super) fn confine_for(
    confinement: &Confinement,
    subject: Subject<'_>,
    memory: Option<u64>,
) -> Result<Confined, String> {
    let mut grants = Grants::of(confinement, subject);
    let mut sandbox = Sandbox {
        mode: confinement.mode,
        level: SandboxLevel::Off,
        landlock: 0,
        seccomp: false,
        notes: grants.notes().to_vec(),
    };
    if confinement.mode == SandboxMode::Off {
        return Ok(Confined {
            grants: Arc::new(grants),
            sandbox,
            _pinned: Vec::new(),
        });
    }
    limits::apply(memory.filter(|_| grants.runnable().is_empty()));
    limits::give_up_privileges();
    let landlock = if confinement.landlock {
        landlock::apply(&grants)
    } else {
        Landlock::none("Landlock is left out, for MOONKEEP_LANDLOCK=off is set")
    };
    sandbox.landlock = landlock.abi;
    sandbox.notes.extend(landlock.note);
    match seccomp::apply(&grants, landlock.abi >= SCOPED_ABI) {
        Ok(()) => sandbox.seccomp = true,
        Err(why) => sandbox.notes.push(format!("no seccomp: {why}")),
    }
    let whole = sandbox.seccomp && sandbox.landlock >= REQUIRED_ABI;
    sandbox.level = if whole {
        SandboxLevel::Full
    } else {
        SandboxLevel::Partial
    };
    if confinement.mode == SandboxMode::Required && !whole {
        return Err(not_enough(&sandbox));
    }
    grants.set_kernel_files(sandbox.landlock > 0);
    Ok(Confined {
        grants: Arc::new(grants),
        sandbox,
        _pinned: landlock.pinned,
    })
}

fn not_enough(sandbox: &Sandbox) -> String {
    format!(
        "sandbox = \"required\" needs Landlock ABI {REQUIRED_ABI} (Linux 6.7) and seccomp; here is Landlock ABI {}, seccomp {}{}; run it on a newer kernel, or write sandbox = \"on\" to take what there is",
        sandbox.landlock,
        if sandbox.seccomp { "on" } else { "off" },
        sandbox
            .notes
            .iter()
            .map(|note| format!("; {note}"))
            .collect::<String>()
    )
}

/// Whether a path is a folder; of what cannot be looked at, no.
fn is_folder(path: &Path) -> bool {
    path.metadata().is_ok_and(|facts| facts.is_dir())
}
