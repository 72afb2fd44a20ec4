//! What lies where our files belong and is not ours. It is removed or moved aside, never followed or read
//! through, and a folder's contents are never lost.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::paths::{self, Runtime};

/// A pid has at most 10 digits; more than a few blanks around it is damage.
const PID_FILE_BYTES: usize = 32;
/// Linux's `PATH_MAX`.
const PATH_BYTES: u64 = 4_096;
/// Names that are tried for something that is moved aside.
const ASIDE_NAMES: u32 = 1_000;

/// What a dead daemon had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// What its pid file said, if that could be read. Some other process may have this number now.
    pub pid: Option<u32>,
}

/// Removes pid file and socket of nobody. The caller holds the lock.
pub(super) fn remove_stale(runtime: &Runtime) -> Option<Stale> {
    let pid = read_pid(&runtime.pid_file());
    let mut found = false;
    for path in [runtime.pid_file(), runtime.socket()] {
        if fs::symlink_metadata(&path).is_ok() {
            found = true;
            // What cannot be removed is in nobody's way: a start replaces it, or says why it cannot.
            let _kept = clear(&path);
        }
    }
    found.then_some(Stale { pid })
}

/// The number in a pid file, if it is a plain small file with one.
fn read_pid(path: &Path) -> Option<u32> {
    let text = read_plain(path, PID_FILE_BYTES as u64)?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// The path that a plain file holds.
pub(super) fn read_path(path: &Path) -> Option<PathBuf> {
    let bytes = read_plain(path, PATH_BYTES)?;
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// What a plain file holds, up to a limit. Never follows a link, never waits, whatever is there.
fn read_plain(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Removes whatever is at `path` itself; a folder that is not empty is moved aside.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(facts) if facts.is_dir() => clear_folder(path),
        Ok(_) => fs::remove_file(path),
    }
}

/// Makes way where a folder would keep a `rename` from replacing it; anything else stays.
pub(super) fn clear_folder(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|facts| facts.is_dir());
    if !is_folder || fs::remove_dir(path).is_ok() {
        return Ok(());
    }
    for number in 1..=ASIDE_NAMES {
        let aside = paths::with_ending(path, &format!("aside-{number}"));
        if fs::symlink_metadata(&aside).is_err() {
            return fs::rename(path, aside);
        }
    }
    Err(io::Error::other("too many folders lie beside it already"))
}

/// Whether what is at a lock's path can be no lock: a link, a FIFO, a folder, or a file that has
/// another name, under which somebody would find our text.
pub(super) fn is_no_lock(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| !facts.is_file() || facts.nlink() > 1)
}

/// Clears a lock's path of what can be no lock.
///
/// Two who start at once may both have seen it: the folder is locked, and the second look under that
/// lock keeps the slower one from removing the other's good file.
pub(super) fn clear_lock(path: &Path) -> io::Result<()> {
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    folder.lock()?;
    if is_no_lock(path) {
        clear(path)?;
    }
    Ok(())
}
