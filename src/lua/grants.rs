//! What a script may reach, resolved once before it starts: files, hosts, sockets, programs.
//!
//! The sandbox makes the kernel's rules out of this; the API layer asks it where the kernel cannot decide, and words
//! every refusal here. It never opens anything and never widens what was granted.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use mlua::Lua;

use super::errors::ApiError;
use crate::proto::messages::{Allow, Confinement, SandboxMode};

mod net;
mod programs;

pub use net::HostPort;
pub use programs::{Program, search as find_program};

/// The code of errors that mean "not allowed".
pub const DENIED_CODE: &str = "denied";

/// Folders of a home that no script reads unless it says so: they hold the data of other scripts.
const HELD_BACK: [&str; 2] = ["state", "logs"];

/// What every script may read: time zones.
const TIME_ZONES: [&str; 2] = ["/usr/share/zoneinfo", "/etc/localtime"];

/// Facts of the machine for `moonkeep.system`; they say nothing of any process.
const FACTS: [&str; 7] = [
    "/proc/loadavg",
    "/proc/stat",
    "/proc/meminfo",
    "/proc/uptime",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory.stat",
];

/// What looking up names and checking certificates needs, for scripts that may use the network.
const NETWORK_FILES: [&str; 18] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// What programs need to start at all: the loader's cache and the libraries.
const LIBRARIES: [&str; 10] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
];

/// A thing that a script wants to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Read,
    Write,
}

/// See the module. Paths are absolute and resolved.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// `false`: nothing is checked and nothing is refused.
    confined: bool,
    /// The kernel refuses files by itself: what it lets through needs no check.
    kernel_files: bool,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    net: Vec<HostPort>,
    unix: Vec<PathBuf>,
    any_unix: bool,
    run: Vec<Program>,
    /// A folder of its own for what would be in the temporary folder.
    own: PathBuf,
    /// Entries that name nothing, as sentences.
    notes: Vec<String>,
}

/// Whose grants are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub home: &'a Path,
    pub own: &'a Path,
    /// The script's file.
    pub path: &'a Path,
    /// The file is a program.
    pub exec: bool,
}

impl Grants {
    /// Nothing is checked.
    #[must_use]
    pub fn unrestricted() -> Self {
        Grants::default()
    }

    /// Resolves what a header allows. Looks at files, opens none but programs, to see what they need.
    #[must_use]
    pub fn of(confinement: &Confinement, subject: Subject<'_>) -> Self {
        if confinement.mode == SandboxMode::Off {
            return Grants::unrestricted();
        }
        let allow = &confinement.allow;
        let mut grants = Grants {
            confined: true,
            own: resolve(subject.own),
            ..Grants::default()
        };
        grants.basics(subject, allow);
        grants.listed(subject, allow);
        grants.programs(subject, allow);
        grants
    }

    fn basics(&mut self, subject: Subject<'_>, allow: &Allow) {
        self.read.extend(home_entries(subject.home));
        self.read.extend(super::require::rocks());
        let script = resolve(subject.path);
        if script.ends_with("init.lua")
            && let Some(folder) = script.parent()
        {
            self.read.push(folder.to_owned());
        }
        self.read.push(script);
        let mut files: Vec<&str> = [&TIME_ZONES[..], &FACTS].concat();
        if !allow.net.is_empty() {
            files.extend(NETWORK_FILES);
        }
        self.read.extend(existing(&files));
        self.read.push(self.own.clone());
        self.write.push(self.own.clone());
        for list in [&mut self.read, &mut self.write] {
            list.push(PathBuf::from("/dev/null"));
        }
    }

    fn listed(&mut self, subject: Subject<'_>, allow: &Allow) {
        let mut notes = Vec::new();
        let mut there = |key: &str, entries: &[String]| -> Vec<PathBuf> {
            let found = entries.iter().filter_map(|entry| {
                let path = resolve(&subject.home.join(entry));
                if path.exists() {
                    return Some(path);
                }
                notes.push(format!("allow.{key}: there is no {entry} now; if it is made later, restart the script, or allow the folder that it is to be in"));
                None
            });
            found.collect()
        };
        self.read.extend(there("read", &allow.read));
        self.write.extend(there("write", &allow.write));
        self.any_unix = allow.unix.iter().any(|entry| entry == "*");
        let sockets: Vec<String> = allow
            .unix
            .iter()
            .filter(|entry| *entry != "*")
            .cloned()
            .collect();
        self.unix = there("unix", &sockets);
        self.net = allow
            .net
            .iter()
            .filter_map(|entry| HostPort::parse(entry))
            .collect();
        self.notes = notes;
    }

    fn programs(&mut self, subject: Subject<'_>, allow: &Allow) {
        let own = subject.exec.then(|| subject.path.display().to_string());
        let entries: Vec<&String> = allow.run.iter().chain(own.as_ref()).collect();
        if entries.is_empty() {
            return;
        }
        for entry in entries {
            match Program::find(entry, subject.home) {
                Some(program) => self.run.push(program),
                None => self.notes.push(format!(
                    "allow.run: no program {entry} was found; correct the name, or write its path"
                )),
            }
        }
        self.read.extend(existing(&LIBRARIES));
        for device in ["/dev/zero", "/dev/urandom", "/dev/random"] {
            self.read.push(PathBuf::from(device));
        }
    }

    /// The kernel does (not) refuse files by itself.
    pub fn set_kernel_files(&mut self, enforced: bool) {
        self.kernel_files = enforced;
    }

    #[must_use]
    pub fn is_confined(&self) -> bool {
        self.confined
    }
    #[must_use]
    pub fn readable(&self) -> &[PathBuf] {
        &self.read
    }
    #[must_use]
    pub fn writable(&self) -> &[PathBuf] {
        &self.write
    }
    #[must_use]
    pub fn hosts(&self) -> &[HostPort] {
        &self.net
    }
    #[must_use]
    pub fn sockets(&self) -> &[PathBuf] {
        &self.unix
    }
    /// Whether it may connect to any Unix socket.
    #[must_use]
    pub fn any_socket(&self) -> bool {
        self.any_unix
    }
    #[must_use]
    pub fn runnable(&self) -> &[Program] {
        &self.run
    }
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
    /// The script's own folder, where it may write.
    #[must_use]
    pub fn own_folder(&self) -> &Path {
        &self.own
    }

    /// Before a file is touched: an error only where the kernel would not give one.
    ///
    /// # Errors
    /// See [`Grants::denied`].
    pub fn check(&self, need: Need, path: &Path) -> Result<(), ApiError> {
        if self.kernel_files {
            return Ok(());
        }
        self.denied(need, path).map_or(Ok(()), Err)
    }

    /// The refusal of this, if it is not granted.
    #[must_use]
    pub fn denied(&self, need: Need, path: &Path) -> Option<ApiError> {
        if !self.confined {
            return None;
        }
        let (granted, verb, key) = match need {
            Need::Read => (&self.read, "read", "read"),
            Need::Write => (&self.write, "write", "write"),
        };
        let place = resolve(path);
        if granted.iter().any(|granted| place.starts_with(granted)) {
            return None;
        }
        let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let shown = shown.display().to_string();
        let mut refused = refusal(verb, &shown, key, &shown);
        if need == Need::Write && !place.exists() {
            refused
                .message
                .push_str("; it is not there yet: make it first, or allow a folder for it");
        }
        Some(refused)
    }

    /// What an error of the system means for this file: a refusal of the sandbox, or `None`, an ordinary error.
    #[must_use]
    pub fn explain(&self, need: Need, path: &Path, error: &io::Error) -> Option<ApiError> {
        if !self.confined || !is_refusal(error) {
            return None;
        }
        self.denied(need, path).or_else(|| match need {
            Need::Read => None,
            // The file itself is granted, but a new one has to be made beside it.
            Need::Write => self.denied(need, path.parent()?),
        })
    }

    /// # Errors
    /// If the script may not connect there.
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), ApiError> {
        if !self.confined || self.net.iter().any(|entry| entry.covers(host, port)) {
            return Ok(());
        }
        let shown = net::shown(host, port);
        Err(refusal("connect to", &shown, "net", &shown))
    }

    /// ICMP has no ports: the host must be granted with all of them.
    ///
    /// # Errors
    /// If the script may not send to it.
    pub fn check_ping(&self, host: &str) -> Result<(), ApiError> {
        if !self.confined || self.net.iter().any(|entry| entry.covers(host, 0)) {
            return Ok(());
        }
        let entry = net::any_port(host);
        Err(refusal("ping", host, "net", &entry))
    }

    /// Name servers of the system are open to whoever may use the network at all: looking up names needs them anyway.
    ///
    /// # Errors
    /// If the script may not ask it.
    pub fn check_name_server(
        &self,
        (host, port): (&str, u16),
        of_system: bool,
    ) -> Result<(), ApiError> {
        if of_system && !self.net.is_empty() {
            return Ok(());
        }
        self.check_host(host, port)
    }

    /// A Unix socket by its path, or an abstract one by `@name`.
    ///
    /// # Errors
    /// If the script may not connect to it.
    pub fn check_socket(&self, path: &str) -> Result<(), ApiError> {
        if !self.confined || self.any_unix {
            return Ok(());
        }
        if path.starts_with('@') {
            return Err(refusal("connect to", path, "unix", "*"));
        }
        let place = resolve(Path::new(path));
        if self.unix.iter().any(|granted| place.starts_with(granted)) {
            return Ok(());
        }
        let shown = std::path::absolute(path).unwrap_or(place);
        let shown = shown.display().to_string();
        Err(refusal("connect to", &shown, "unix", &shown))
    }

    /// # Errors
    /// If the script may not start this program.
    pub fn check_program(&self, word: &str) -> Result<(), ApiError> {
        if !self.confined || self.run.iter().any(|program| program.covers(word)) {
            return Ok(());
        }
        Err(refusal("run", word, "run", word))
    }

    /// The grants of the script that this state belongs to.
    #[must_use]
    pub fn of_state(lua: &Lua) -> Arc<Grants> {
        lua.app_data_ref::<Arc<Grants>>().map_or_else(
            || Arc::new(Grants::unrestricted()),
            |grants| Arc::clone(&grants),
        )
    }
}

/// The one place that words a refusal.
fn refusal(verb: &str, target: &str, key: &str, entry: &str) -> ApiError {
    ApiError::new(
        DENIED_CODE,
        format!(
            "denied: this script may not {verb} {target}; add to its header: -- allow.{key} = [{entry:?}]"
        ),
    )
}

/// Whether the system's error is one that a sandbox gives.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    // EACCES, EPERM; EXDEV is what a rename into a folder that is not granted gives.
    error.kind() == io::ErrorKind::PermissionDenied || error.kind() == io::ErrorKind::CrossesDevices
}

/// The entries of a home that every script may read.
fn home_entries(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(home) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !name.starts_with('.') && !HELD_BACK.contains(&&*name)
        })
        .map(|entry| resolve(&entry.path()))
        .collect();
    found.sort_unstable();
    found
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    paths
        .iter()
        .filter_map(|path| std::fs::canonicalize(path).ok())
        .collect()
}

/// The path without links. Of what does not exist, the part that does is resolved.
fn resolve(path: &Path) -> PathBuf {
    if let Ok(resolved) = std::fs::canonicalize(path) {
        return resolved;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let clean = without_dots(&path);
    let mut rest = Vec::new();
    let mut there = clean.as_path();
    while let (Some(parent), Some(name)) = (there.parent(), there.file_name()) {
        rest.push(name.to_owned());
        if let Ok(mut resolved) = std::fs::canonicalize(parent) {
            resolved.extend(rest.into_iter().rev());
            return resolved;
        }
        there = parent;
    }
    clean
}

fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests;
