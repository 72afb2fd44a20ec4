//! A worker's process: its start, its end, and the task between them.
//!
//! A worker leads a process group of its own. Its death is known from its pidfd, never from a closed
//! pipe, and it is reaped only after the rest of its group was killed: until then its number cannot
//! be another's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::cgroup::{Cgroups, Enclosure};
use super::undertaker::{Doubt, KEEP_VARIABLE};
use super::user;
use crate::descendants::Own;
use crate::engine::alphabet::{Exit, Kill, ScriptKind, ScriptSpec};
use crate::options::Protocol;
use crate::options::environment;
use crate::paths::{self, HOME_VARIABLE, Home};
use crate::proto::ids::{DaemonId, WorkerId};
use crate::proto::messages::{Confinement, Json, RunAs, SandboxMode, Setup};
use crate::worker::ROLE;

/// A process that has been started and not been waited for.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    keep_children: bool,
    enclosure: Option<Enclosure>,
    /// Until it is buried.
    _own: Own,
}

/// The daemon's ends of a worker's pipes, and its pidfd.
#[derive(Debug)]
pub(super) struct Ends {
    /// Readable once the process is dead.
    pub(super) death: OwnedFd,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// What all workers of a daemon have in common.
#[derive(Debug)]
pub(super) struct Nursery {
    home: Home,
    daemon: DaemonId,
    socket: PathBuf,
    program: PathBuf,
    doubt: Doubt,
    cgroups: Option<Cgroups>,
}

impl Nursery {
    /// # Errors
    /// If the system does not say where our own program is.
    pub(super) fn new(home: &Home, daemon: DaemonId, doubt: Doubt) -> anyhow::Result<Self> {
        Ok(Nursery {
            home: home.clone(),
            daemon,
            socket: home.runtime().socket(),
            program: std::env::current_exe()
                .context("the system does not say where this program is; is /proc mounted?")?,
            doubt,
            cgroups: Cgroups::find(daemon),
        })
    }

    /// Starts a worker's process. Takes as long as the system needs for it, about 0.1 ms.
    ///
    /// # Errors
    /// What the system says, for the script's `last_error`.
    pub(super) fn spawn(
        &self,
        worker: &WorkerId,
        spec: &ScriptSpec,
    ) -> anyhow::Result<(Process, Ends, Option<RunAs>)> {
        let state = self.home.script_state(worker.script.as_str());
        paths::make_private(&state)
            .with_context(|| format!("cannot create the script's folder {}", state.display()))?;
        let other = spec.settings.user.as_deref().map(user::find).transpose()?;
        if let Some(other) = &other {
            user::open_folders(&self.home, &state, &other.run_as)?;
        }
        let mut command = Command::new(self.program());
        command
            .arg0("moonkeep")
            .arg(ROLE)
            .arg(worker.script.as_str());
        if spec.kind == ScriptKind::Executable {
            command.arg("--exec");
        }
        command
            .env_clear()
            .envs(self.environment(worker, spec, other.as_ref()))
            .current_dir(self.home.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // No pre_exec: with one the standard library forks instead of posix_spawn, which takes
            // the longer the more memory the daemon has.
            .process_group(0);
        let child = command.spawn().context(
            "cannot start a process for it; see `ulimit -u` and `ulimit -n`, or free memory",
        )?;
        let keep_children = spec.settings.keep_children;
        let (mut process, ends) =
            Process::adopt(child, keep_children).context("cannot watch its process")?;
        if keep_children {
            self.doubt.raise();
        } else if let Some(cgroups) = &self.cgroups {
            // It waits for its setup and has no children yet, so none is left outside.
            process.enclosure = cgroups.enclose(worker, process.id());
        }
        Ok((process, ends, other.map(|other| other.run_as)))
    }

    /// Where a worker writes down what it began and how that ended.
    pub(super) fn outcomes(&self, worker: &WorkerId) -> PathBuf {
        self.home.outcome(self.daemon, worker)
    }

    /// What the worker is told first.
    pub(super) fn setup(
        &self,
        worker: &WorkerId,
        spec: &ScriptSpec,
        handover: Option<Json>,
        user: Option<RunAs>,
    ) -> Setup {
        Setup {
            script: worker.script.clone(),
            generation: worker.generation,
            home: self.home.root().to_owned(),
            socket: self.socket.clone(),
            path: spec.path.clone(),
            content: spec.content.clone(),
            exec: spec.kind == ScriptKind::Executable,
            args: spec.settings.args.clone(),
            concurrency: spec.settings.concurrency,
            memory_bytes: spec.settings.memory_bytes,
            preempt: spec.settings.preempt,
            keep_children: spec.settings.keep_children,
            files: spec.settings.files,
            encoding: spec.settings.encoder,
            legacy: spec.settings.protocol == Protocol::Legacy,
            handover,
            user,
            outcomes: self.outcomes(worker),
            lock: self.home.script_lock(worker.script.as_str()),
            plugins: spec.plugins.clone(),
            check_defaults: spec.check_defaults.clone(),
            confinement: Confinement {
                mode: spec.settings.sandbox.unwrap_or(match spec.kind {
                    ScriptKind::Lua => SandboxMode::On,
                    ScriptKind::Executable => SandboxMode::Off,
                }),
                landlock: !paths::landlock_is_off(),
                allow: spec.settings.allow.clone(),
            },
        }
    }

    /// Our own program: under its path while that is still the same file, else as the kernel holds it,
    /// so that daemon and workers never differ in version.
    pub(super) fn program(&self) -> &Path {
        let kernel_holds = Path::new("/proc/self/exe");
        let same = match (self.program.metadata(), kernel_holds.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            (Err(_), _) | (_, Err(_)) => false,
        };
        if same { &self.program } else { kernel_holds }
    }

    fn environment(
        &self,
        worker: &WorkerId,
        spec: &ScriptSpec,
        other: Option<&user::Other>,
    ) -> BTreeMap<OsString, OsString> {
        let passes = |name: &OsString| {
            let allow = &spec.settings.allow.env;
            name.to_str()
                .is_some_and(|name| environment::passes(name, allow))
        };
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os()
            .filter(|(name, _)| passes(name))
            .collect();
        if let Some(user::Other { run_as, folder }) = other {
            variables.insert("USER".into(), run_as.name.clone().into());
            variables.insert("HOME".into(), folder.clone().into());
        }
        for (name, value) in &spec.settings.env {
            variables.insert(name.into(), value.into());
        }
        #[cfg(any(test, feature = "weakenings"))]
        variables.extend(std::env::vars_os().filter(|(name, _)| name == "MOONKEEP_WEAKEN"));
        variables.extend([
            (HOME_VARIABLE.into(), self.home.root().into()),
            ("MOONKEEP_SCRIPT".into(), worker.script.as_str().into()),
            (
                "MOONKEEP_GENERATION".into(),
                worker.generation.to_string().into(),
            ),
            ("MOONKEEP_SOCKET".into(), self.socket.clone().into()),
        ]);
        if spec.settings.keep_children {
            variables.insert(KEEP_VARIABLE.into(), "1".into());
        }
        variables
    }
}

impl Process {
    /// Takes over a child that has just been started, as the leader of its group and with three pipes.
    ///
    /// # Errors
    /// If its death or a pipe cannot be watched; it is killed then.
    pub(super) fn adopt(mut child: Child, keep_children: bool) -> io::Result<(Self, Ends)> {
        let own = Own::new(Some(child.id()));
        let mut adopted = || -> io::Result<(Pid, Ends)> {
            let pid = i32::try_from(child.id())
                .ok()
                .and_then(Pid::from_raw)
                .ok_or(io::ErrorKind::InvalidData)?;
            let missing = || io::Error::other("a pipe is missing");
            let ends = Ends {
                death: pidfd_open(pid, PidfdFlags::NONBLOCK)?,
                stdin: child.stdin.take().ok_or_else(missing)?.into(),
                stdout: child.stdout.take().ok_or_else(missing)?.into(),
                stderr: child.stderr.take().ok_or_else(missing)?.into(),
            };
            Ok((pid, ends))
        };
        match adopted() {
            Ok((pid, ends)) => Ok((
                Process {
                    child,
                    pid,
                    keep_children,
                    enclosure: None,
                    _own: own,
                },
                ends,
            )),
            Err(error) => {
                let _dead_already = child.kill();
                let _reaped = child.wait();
                Err(error)
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The group, to be signalled while this value lives.
    pub(super) fn group(&self) -> Pid {
        self.pid
    }

    /// Kills what is left of the group, then reaps the process, which must be dead.
    pub(super) fn bury(mut self) -> Exit {
        if !self.keep_children {
            signal(self.pid, Kill::Kill);
        }
        if let Some(enclosure) = &self.enclosure {
            // If the system is too old for it, the undertaker does it.
            let _too_old = enclosure.kill();
        }
        match self.child.wait() {
            Ok(status) => exit_of(status),
            // Somebody else reaped it; what it said is lost.
            Err(_) => Exit::Code(-1),
        }
    }
}

/// Signals a whole group. One that is gone already is no error.
pub(super) fn signal(group: Pid, kill: Kill) {
    let number = match kill {
        Kill::Term => Signal::TERM,
        Kill::Kill => Signal::KILL,
    };
    let _gone_already = rustix::process::kill_process_group(group, number);
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(number)) => Exit::Signal(number),
        (None, None) => Exit::Code(-1),
    }
}
