//! Where things are: the home and what it holds, the runtime folder with socket and pid file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::proto::ids::{DaemonId, WorkerId};

/// Name of the configuration file that makes a folder a home.
pub const CONFIG_FILE: &str = "moonkeep.toml";
/// Names a home without `--home`.
pub const HOME_VARIABLE: &str = "MOONKEEP_HOME";

/// `off`: Landlock is left out of every sandbox, for tests and to find out whether it is in the way.
pub const LANDLOCK_VARIABLE: &str = "MOONKEEP_LANDLOCK";

/// Whether the environment says that Landlock is to be left out.
#[must_use]
pub fn landlock_is_off() -> bool {
    std::env::var_os(LANDLOCK_VARIABLE).is_some_and(|value| value == "off")
}

/// A folder with scripts, plugins, state and logs; one daemon each. Always absolute and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home that applies: `given`, `$MOONKEEP_HOME`, the current folder or its nearest parent with a
    /// `moonkeep.toml`, the per-user folder (created with mode 0700).
    ///
    /// # Errors
    /// If the folder named does not exist, or the per-user folder cannot be made.
    pub fn find(given: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(folder) = given {
            return Home::at(folder).with_context(|| {
                format!(
                    "--home {} names no folder; create one with: moonkeep init {0}",
                    folder.display()
                )
            });
        }
        if let Some(folder) = std::env::var_os(HOME_VARIABLE).filter(|value| !value.is_empty()) {
            return Home::at(Path::new(&folder)).with_context(|| {
                format!(
                    "${HOME_VARIABLE} names no folder: {}; correct or unset it",
                    Path::new(&folder).display()
                )
            });
        }
        let here = std::env::current_dir()
            .context("the current folder cannot be read; change to one that exists")?;
        match here
            .ancestors()
            .find(|folder| folder.join(CONFIG_FILE).is_file())
        {
            Some(folder) => Home::at(folder).context("the current folder cannot be resolved"),
            None => Home::of_user(),
        }
    }

    /// # Errors
    /// If `folder` is no folder.
    pub fn at(folder: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(folder)?;
        if !root.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Home { root })
    }

    fn of_user() -> anyhow::Result<Self> {
        let dirs = directories::ProjectDirs::from("", "", "moonkeep")
            .context("no home folder is known for this user; name one with --home DIR")?;
        let folder = dirs.data_dir();
        if folder.is_relative() {
            bail!(
                "$HOME is not an absolute path, so your own home would be {}; correct $HOME, or name a home with --home DIR",
                folder.display()
            );
        }
        // With its scripts/, which makes it a home.
        make_private(&folder.join("scripts")).with_context(|| {
            format!(
                "cannot create {}; name another home with --home DIR",
                folder.display()
            )
        })?;
        Home::at(folder).with_context(|| format!("{} cannot be resolved", folder.display()))
    }

    /// Whether something in the folder says that it is a home: `moonkeep.toml` or `scripts/`.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.config().exists() || self.scripts().is_dir()
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join(CONFIG_FILE)
    }
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        self.root.join("scripts")
    }
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }
    /// Lua modules that scripts and plugins `require`.
    #[must_use]
    pub fn lib(&self) -> PathBuf {
        self.root.join("lib")
    }
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
    /// Locked for the daemon's life, never removed.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state().join("daemon.lock")
    }
    /// Says where the running daemon's socket is, to those whose environment leads elsewhere (cron, `su`).
    #[must_use]
    pub fn socket_note(&self) -> PathBuf {
        self.state().join("daemon.socket")
    }
    /// What a script may write.
    #[must_use]
    pub fn script_state(&self, script: &str) -> PathBuf {
        self.state().join("scripts").join(script)
    }
    /// Locked, shared, by each worker of a script for as long as it lives.
    #[must_use]
    pub fn script_lock(&self, script: &str) -> PathBuf {
        self.state().join("scripts").join(format!("{script}.lock"))
    }
    /// What the daemon knows of requests, and survives it.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal.db")
    }
    /// What is known of the checks, and survives the daemon.
    #[must_use]
    pub fn checks(&self) -> PathBuf {
        self.state().join("checks.db")
    }
    /// Space for the ends of what runs, should the disk become full.
    #[must_use]
    pub fn journal_reserve(&self) -> PathBuf {
        self.state().join("journal.reserve")
    }
    /// The workers' outcome records, a file for each worker.
    #[must_use]
    pub fn outcomes(&self) -> PathBuf {
        self.state().join("outcomes")
    }
    /// The outcome record of one worker of one daemon.
    #[must_use]
    pub fn outcome(&self, daemon: DaemonId, worker: &WorkerId) -> PathBuf {
        self.outcomes()
            .join(format!("{}.{}.{daemon}", worker.script, worker.generation))
    }
    /// The daemon's own log, and with a name a script's.
    #[must_use]
    pub fn log(&self, script: Option<&str>) -> PathBuf {
        match script {
            Some(name) => self.logs().join("scripts").join(format!("{name}.log")),
            None => self.logs().join("daemon.log"),
        }
    }

    /// Where the socket and the pid file of this home are, whether or not the folder exists.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        let base = match std::env::var_os("XDG_RUNTIME_DIR")
            .filter(|value| Path::new(value).is_absolute())
        {
            Some(folder) => PathBuf::from(folder).join("moonkeep"),
            None => std::env::temp_dir()
                .join(format!("moonkeep-{}", rustix::process::getuid().as_raw())),
        };
        Runtime::within(&base, self)
    }
}

/// The folder of the socket and the pid file. `down` and `status` remove the files, never the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    base: PathBuf,
    folder: PathBuf,
}

impl Runtime {
    /// The folder of `home` within `base`, which belongs to this user alone. The name is short however
    /// deep the home is.
    pub(crate) fn within(base: &Path, home: &Home) -> Self {
        let hash = blake3::hash(home.root.as_os_str().as_encoded_bytes()).to_hex();
        Runtime {
            folder: base.join(&hash[..16]),
            base: base.to_owned(),
        }
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("daemon.sock")
    }
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.folder.join("daemon.pid")
    }

    /// Creates the folder and the one above it with mode 0700 and checks both.
    ///
    /// # Errors
    /// If one of them is a link, belongs to another user, or others may enter it.
    pub fn create(&self) -> anyhow::Result<()> {
        for folder in [&self.base, &self.folder] {
            make_private(folder).with_context(|| {
                format!("cannot create the runtime folder {}", folder.display())
            })?;
            check_private(folder)?;
        }
        Ok(())
    }
}

/// Longest path that the address of a Unix socket holds, its closing NUL not counted.
const SOCKET_PATH_BYTES: usize = 107;

/// A path to a socket that fits into an address, for as long as this value lives.
#[derive(Debug)]
pub struct SocketAddress {
    path: PathBuf,
    /// What a shortened path leads through.
    _folder: Option<File>,
}

impl SocketAddress {
    /// The address of `folder/name`: the path itself if it is short enough, else one through an open
    /// descriptor of the folder.
    ///
    /// # Errors
    /// If the folder has to be opened and cannot be.
    pub fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= SOCKET_PATH_BYTES {
            return Ok(SocketAddress {
                path,
                _folder: None,
            });
        }
        let open = File::open(folder)?;
        Ok(SocketAddress {
            path: PathBuf::from(format!("/proc/self/fd/{}/{name}", open.as_raw_fd())),
            _folder: Some(open),
        })
    }

    /// As [`SocketAddress::of`], for a whole path.
    ///
    /// # Errors
    /// If the folder has to be opened and cannot be, or `path` names no file.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        match (path.parent(), path.file_name().and_then(OsStr::to_str)) {
            (Some(folder), Some(name)) => SocketAddress::of(folder, name),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a folder, and those above it, for this user alone.
///
/// # Errors
/// The system's.
pub fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn check_private(folder: &Path) -> anyhow::Result<()> {
    let facts = fs::symlink_metadata(folder)
        .with_context(|| format!("cannot look at {}", folder.display()))?;
    if !facts.is_dir() {
        bail!(
            "the runtime folder {} is a link or no folder; remove it and try again",
            folder.display()
        );
    }
    if facts.uid() != rustix::process::getuid().as_raw() {
        bail!(
            "the runtime folder {} belongs to another user (uid {}); remove it, or set XDG_RUNTIME_DIR",
            folder.display(),
            facts.uid()
        );
    }
    if facts.mode() & 0o077 != 0 {
        bail!(
            "others may enter the runtime folder {}; close it with: chmod 700 {0}",
            folder.display()
        );
    }
    Ok(())
}

/// The neighbour of `path` whose name is the same with `.ending` behind it.
#[must_use]
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Whether a file of this name is never a script: hidden, or an editor's leftover.
#[must_use]
pub fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(['.', '#'])
        || [".swp", ".tmp", ".bak", "~"]
            .iter()
            .any(|end| name.ends_with(end))
}
