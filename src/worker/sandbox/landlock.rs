//! Landlock: files, TCP ports, and, where the kernel has it, signals and abstract sockets.
//!
//! Best effort: what this kernel does not know is left out, and the version that is in force is reported.

use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};

use super::is_folder;
use crate::lua::grants::{Grants, HostPort};

/// What every right is named after: the newest version that this program was written for.
const KNOWN: ABI = ABI::V9;
/// For name servers that answer over TCP what is too large for UDP.
const DOMAIN_PORT: u16 = 53;

/// What came of it.
pub(super) struct Landlock {
    /// 0: none.
    pub(super) abi: u32,
    pub(super) note: Option<String>,
    /// See [`super::Confined`].
    pub(super) pinned: Vec<OwnedFd>,
}

impl Landlock {
    pub(super) fn none(why: impl Into<String>) -> Self {
        Landlock {
            abi: 0,
            note: Some(why.into()),
            pinned: Vec::new(),
        }
    }
}

/// Restricts this thread, and all that it starts from now on.
pub(super) fn apply(grants: &Grants) -> Landlock {
    let mut pinned = Vec::new();
    let status = ruleset(grants)
        .and_then(|ruleset| with_files(ruleset, grants, &mut pinned))
        .and_then(RulesetCreated::restrict_self);
    let status = match status {
        Ok(status) => status,
        Err(error) => return Landlock::none(format!("no Landlock: {error}")),
    };
    match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => Landlock {
            abi: effective_abi as u32,
            note: None,
            pinned,
        },
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Landlock::none(
            "this kernel has no Landlock, or it is not enabled (lsm= on the kernel's command line)",
        ),
    }
}

/// Without rules for files.
fn ruleset(grants: &Grants) -> Result<RulesetCreated, RulesetError> {
    let mut files = AccessFs::from_all(KNOWN);
    if grants.any_socket() {
        files.remove(AccessFs::ResolveUnix);
    }
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(files)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?;
    if !grants.any_socket() {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    let ports: Option<Vec<u16>> = grants.hosts().iter().map(|host| host.port).collect();
    let Some(mut ports) = ports else {
        // Any port: no rule can say so, and none is needed.
        return ruleset.create();
    };
    if grants.hosts().iter().any(HostPort::is_name) {
        ports.push(DOMAIN_PORT);
    }
    let created = ruleset.handle_access(AccessNet::ConnectTcp)?.create()?;
    created.add_rules(
        ports
            .into_iter()
            .map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::ConnectTcp))),
    )
}

fn with_files(
    mut ruleset: RulesetCreated,
    grants: &Grants,
    pinned: &mut Vec<OwnedFd>,
) -> Result<RulesetCreated, RulesetError> {
    let mut rules: Vec<(&Path, BitFlags<AccessFs>, BitFlags<AccessFs>)> = Vec::new();
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    // Devices and sockets of the file system are made by nobody here.
    let never = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::ResolveUnix;
    let write = AccessFs::from_write(KNOWN) & !never;
    let write_file = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    for path in grants.readable() {
        rules.push((path, read, AccessFs::ReadFile.into()));
    }
    for path in grants.writable() {
        rules.push((path, write, write_file));
    }
    for program in grants.runnable() {
        for path in std::iter::once(&program.path).chain(&program.needs) {
            rules.push((path, run, AccessFs::ReadFile | AccessFs::Execute));
        }
    }
    for path in grants.sockets() {
        rules.push((
            path,
            AccessFs::ResolveUnix.into(),
            AccessFs::ResolveUnix.into(),
        ));
    }
    for (path, folder, file) in rules {
        // What is gone by now cannot be reached either.
        let Ok(place) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        else {
            continue;
        };
        let access = if is_folder(path) { folder } else { file };
        ruleset = ruleset.add_rule(PathBeneath::new(&place, access))?;
        if path.starts_with("/proc") && !is_folder(path) {
            pinned.push(place);
        }
    }
    Ok(ruleset)
}
