//! A home of its own for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::{Daemon, Finished, Line, Program, leftovers};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_moonkeep");

/// A fresh home, runtime folder and user folder in one temporary folder.
///
/// Dropped, it looks for processes that still belong to it and for a socket or pid file, and fails the test
/// if there are any. Declare it before the daemons and clients of a test, so that it is dropped last.
pub(crate) struct Home {
    folder: TempDir,
    debris: AtomicBool,
    kept_if_failed: bool,
}

impl Home {
    /// With an empty `moonkeep.toml` and an empty `scripts/`.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("mk").expect("a temporary folder");
        let home = Home {
            folder,
            debris: AtomicBool::new(false),
            kept_if_failed: false,
        };
        for private in [home.runtime_base(), home.user(), home.temporary()] {
            fs::create_dir(&private).expect("a fresh folder");
            fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("its mode");
        }
        home.write("moonkeep.toml", "");
        fs::create_dir(home.path("scripts")).expect("a fresh folder");
        home
    }

    /// If the test fails, the folder stays, and its place is said.
    pub(crate) fn kept_if_failed(mut self) -> Self {
        self.kept_if_failed = true;
        self
    }

    /// Adds `scripts/NAME`; not executable.
    pub(crate) fn script(self, name: &str, text: &str) -> Self {
        self.write(&format!("scripts/{name}"), text);
        self
    }

    /// Adds `scripts/NAME`, executable.
    pub(crate) fn executable(self, name: &str, text: &str) -> Self {
        let path = self.write(&format!("scripts/{name}"), text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
        self
    }

    /// Adds any file of the home, `plugins/x.lua` for one.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// The text of `moonkeep.toml`.
    pub(crate) fn config(self, text: &str) -> Self {
        self.file("moonkeep.toml", text)
    }

    /// Writes a file of the home in place, now; folders are made as needed.
    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("its folder");
        fs::write(&path, text).expect("a file of the home");
        path
    }

    /// Writes a file beside its place and renames it onto it, as careful editors do.
    pub(crate) fn replace(&self, path: &str, text: &str) {
        let aside = self.write(&format!("{path}.tmp"), text);
        let place = self.path(path);
        if let Ok(facts) = fs::metadata(&place) {
            fs::set_permissions(&aside, facts.permissions()).expect("its mode");
        }
        fs::rename(aside, place).expect("rename in one folder");
    }

    /// # Panics
    /// If there is no such file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path))
            .unwrap_or_else(|error| panic!("{path} of the home: {error}"))
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect("a file of the home");
    }

    /// Whether `scripts/` has any entry.
    pub(crate) fn has_scripts(&self) -> bool {
        fs::read_dir(self.path("scripts")).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The home's folder, resolved.
    pub(crate) fn root(&self) -> PathBuf {
        let root = self.folder.path().join("home");
        fs::create_dir_all(&root).expect("the home's folder");
        fs::canonicalize(root).expect("the home's folder")
    }

    /// A place in the home.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root().join(relative)
    }

    fn runtime_base(&self) -> PathBuf {
        self.folder.path().join("run")
    }
    /// `$HOME` of everything that the test runs.
    pub(crate) fn user(&self) -> PathBuf {
        self.folder.path().join("user")
    }
    /// `$TMPDIR` of everything that the test runs.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// The folder of socket and pid file, by the rule of the documentation, not by moonkeep's own code.
    pub(crate) fn runtime(&self) -> PathBuf {
        let hash = blake3::hash(self.root().as_os_str().as_encoded_bytes()).to_hex();
        self.runtime_base().join("moonkeep").join(&hash[..16])
    }
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime().join("daemon.sock")
    }
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.runtime().join("daemon.pid")
    }

    /// A command line of moonkeep in this home, not yet started.
    pub(crate) fn moonkeep(&self, arguments: &[&str]) -> Program {
        self.program(Path::new(BINARY)).args(arguments)
    }

    /// Any program with the environment of this home.
    pub(crate) fn program(&self, program: &Path) -> Program {
        Program::new(program)
            .folder(&self.root())
            .env("MOONKEEP_HOME", self.root())
            .env("XDG_RUNTIME_DIR", self.runtime_base())
            .env("HOME", self.user())
            .env("TMPDIR", self.temporary())
    }

    /// Runs a command line of moonkeep to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.moonkeep(arguments).run()
    }

    /// Starts the daemon as a child of the test and waits until it serves and its scripts have settled.
    #[track_caller]
    pub(crate) fn up(&self) -> Daemon<'_> {
        Daemon::start(self)
    }

    /// As [`Home::up`], by this command line.
    #[track_caller]
    pub(crate) fn up_by(&self, program: Program) -> Daemon<'_> {
        Daemon::start_by(self, program)
    }

    /// A raw client.
    #[track_caller]
    pub(crate) fn connect(&self) -> Line {
        Line::connect(&self.socket())
    }

    /// The `status` of the daemon as JSON, over a raw connection.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        self.connect().command("status")
    }

    /// One script's entry of `status`.
    #[track_caller]
    pub(crate) fn script_status(&self, name: &str) -> serde_json::Value {
        let status = self.status();
        let scripts = status["scripts"].as_array().expect("a list of scripts");
        scripts
            .iter()
            .find(|script| script["name"] == name)
            .cloned()
            .unwrap_or_else(|| panic!("status has no script {name}: {status}"))
    }

    /// The test kills daemons: a socket and a pid file may stay behind. Processes may not.
    pub(crate) fn expect_debris(&self) {
        self.debris.store(true, Ordering::Relaxed);
    }

    /// Processes that belong to this home.
    pub(crate) fn processes(&self) -> Vec<leftovers::Process> {
        leftovers::of(self.folder.path())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let left = leftovers::end(self.folder.path());
        let files: Vec<_> = [self.socket(), self.pid_file()]
            .into_iter()
            .filter(|file| fs::symlink_metadata(file).is_ok())
            .collect();
        if std::thread::panicking() {
            if self.kept_if_failed {
                self.folder.disable_cleanup(true);
                eprintln!("the home of the failed run: {}", self.root().display());
            }
            return;
        }
        assert!(left.is_empty(), "processes were left behind: {left:?}");
        assert!(
            self.debris.load(Ordering::Relaxed) || files.is_empty(),
            "files were left behind: {files:?}"
        );
    }
}
