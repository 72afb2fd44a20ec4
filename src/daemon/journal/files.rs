//! The journal's files in `state/`: looked at before they are opened, set aside when they are damaged.
//!
//! Nothing here follows a link, waits for the other end of a FIFO, or removes what is not ours.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use crate::limits;
use crate::paths;

/// What is written at once into a reserve where the file system cannot set space aside.
const BLOCK: usize = 64 * 1024;

/// SQLite's neighbour of a database.
pub(super) fn beside(journal: &Path, ending: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Looks at everything that the journal is going to open.
///
/// # Errors
/// If one of them is no plain file of ours alone: what it is, and what to do about it.
pub(in crate::daemon) fn check(journal: &Path) -> anyhow::Result<()> {
    for ending in ["", "-wal", "-shm"] {
        check_file(&beside(journal, ending))?;
    }
    Ok(())
}

/// # Errors
/// If there is something that is no plain file, has another name too, or belongs to somebody else.
pub(super) fn check_file(path: &Path) -> anyhow::Result<()> {
    let facts = match fs::symlink_metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot look at {}", path.display()));
        }
    };
    let shown = path.display();
    if !facts.is_file() {
        bail!(
            "{shown} must be a plain file and is none (a link, a folder, a FIFO or a device); move it away and try again"
        );
    }
    if facts.nlink() > 1 {
        bail!(
            "{shown} has a second name somewhere (a hard link), so others could write it; move it away and try again"
        );
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "{shown} belongs to another user (uid {}); move it away and try again",
            facts.uid()
        );
    }
    Ok(())
}

/// Opens a plain file of ours, which is made if it is missing, for us alone.
///
/// # Errors
/// As [`check_file`], and the system's.
pub(in crate::daemon) fn open_own(path: &Path) -> anyhow::Result<File> {
    check_file(path)?;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        bail!(
            "{} was replaced while it was opened; try again",
            path.display()
        );
    }
    if facts.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot close {} to others", path.display()))?;
    }
    Ok(file)
}

/// Moves a damaged journal out of the way, whole, so that somebody can look at it. Only the newest few are kept.
///
/// # Errors
/// The system's.
pub(in crate::daemon) fn set_aside(journal: &Path, unix_ms: u64) -> anyhow::Result<PathBuf> {
    let aside = paths::with_ending(journal, &format!("damaged-{unix_ms}"));
    fs::rename(journal, &aside).with_context(|| {
        format!(
            "cannot move the damaged journal {} away; move it yourself and try again",
            journal.display()
        )
    })?;
    let log = beside(journal, "-wal");
    if fs::symlink_metadata(&log).is_ok() {
        fs::rename(&log, beside(&aside, "-wal"))
            .with_context(|| format!("cannot move {} away", log.display()))?;
    }
    // An index over the log, which is made anew from it.
    let _missing = fs::remove_file(beside(journal, "-shm"));
    drop_older_damaged(journal);
    Ok(aside)
}

fn drop_older_damaged(journal: &Path) {
    let (Some(folder), Some(name)) = (journal.parent(), journal.file_name()) else {
        return;
    };
    let start = format!("{}.damaged-", name.to_string_lossy());
    let mut times: Vec<u64> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix(&start)?
                .parse()
                .ok()
        })
        .collect();
    times.sort_unstable();
    let kept = times.len().saturating_sub(limits::JOURNALS_SET_ASIDE);
    for time in times.into_iter().take(kept) {
        let old = paths::with_ending(journal, &format!("damaged-{time}"));
        let _gone = fs::remove_file(beside(&old, "-wal"));
        let _gone = fs::remove_file(old);
    }
}

/// Space that is set aside for the ends of what runs, should the disk become full.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// Takes nothing yet.
    pub(super) fn at(path: PathBuf) -> Self {
        Reserve { path, held: false }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Makes it, if it is not there. May wait for the disk.
    ///
    /// # Errors
    /// The system's: above all that there is no room. Nothing is kept then.
    pub(super) fn make(&mut self) -> anyhow::Result<()> {
        if self.held {
            return Ok(());
        }
        let file = open_own(&self.path)?;
        if let Err(error) = fill(&file) {
            let _given_back = file.set_len(0);
            return Err(error).with_context(|| format!("cannot make {}", self.path.display()));
        }
        self.held = true;
        Ok(())
    }

    /// Gives the space up. `false`: there was none.
    pub(super) fn give_up(&mut self) -> bool {
        let was_held = std::mem::take(&mut self.held);
        let emptied = open_own(&self.path).is_ok_and(|file| file.set_len(0).is_ok());
        was_held && emptied
    }
}

/// Takes the reserve's space; what is there already is not written again.
fn fill(mut file: &File) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, limits::JOURNAL_RESERVE) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    if file.metadata()?.len() >= limits::JOURNAL_RESERVE {
        return Ok(());
    }
    let block = [0; BLOCK];
    file.write_all_at(&block, 0)?;
    let mut written = BLOCK as u64;
    while written < limits::JOURNAL_RESERVE {
        file.write_all_at(&block, written)?;
        written += BLOCK as u64;
    }
    file.flush()
}
