//! The workers' outcome records as files: found, read, removed. What they mean is the engine's to say.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::bail;
use rustix::fs::OFlags;
use uuid::Uuid;

use crate::engine::records::Outcomes;
use crate::limits;
use crate::proto::ids::ScriptName;
use crate::proto::outcome::{self, Header};

/// One worker's record, read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `None`: nobody knows who wrote it.
    pub(super) header: Option<Header>,
    pub(super) outcomes: Outcomes,
}

/// What the worker wrote whose record is at `path`; nothing that anything follows from, if it cannot be read.
/// Waits for the disk, and takes memory in proportion to the file, which [`limits::OUTCOME_BYTES`] bounds.
pub(in crate::daemon) fn read(path: &Path) -> Outcomes {
    look(path).outcomes
}

/// See [`read`].
pub(super) fn look(path: &Path) -> Found {
    look_within(path, limits::OUTCOME_BYTES)
}

/// Of a longer record than `most` only the head and the end are read: what began before that end is not known.
pub(super) fn look_within(path: &Path, most: u64) -> Found {
    let read = || -> io::Result<Found> {
        let file = open(path)?;
        let beyond = file.metadata()?.len().saturating_sub(most);
        let (header, outcomes) = outcome::parse(&bytes(&file, beyond, most)?);
        if beyond == 0 {
            return Ok(Found { header, outcomes });
        }
        let (header, _) = outcome::parse(&bytes(&file, 0, HEAD_BYTES)?);
        Ok(Found {
            header,
            outcomes: Outcomes {
                complete: false,
                ..outcomes
            },
        })
    };
    read().unwrap_or_default()
}

/// Enough for the first line.
const HEAD_BYTES: u64 = 128;

/// Follows no link, waits for no FIFO.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

/// A piece of a file. Where it begins within a line, that line is none of ours.
fn bytes(mut file: &File, from: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes records. One that stays is in nobody's way: the next start removes it.
pub(in crate::daemon) fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _stays = fs::remove_file(path);
    }
}

/// The records that lie in the folder, by script. Of more than `most` the oldest are removed unread, and so is what
/// has no name of ours and is old.
///
/// # Errors
/// If the folder is none, but a link or a file.
pub(super) fn list(
    folder: &Path,
    most: usize,
) -> anyhow::Result<BTreeMap<ScriptName, Vec<PathBuf>>> {
    match fs::symlink_metadata(folder) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => bail!(
            "{} must be a folder and is none (a link or a file); move it away and try again",
            folder.display()
        ),
        Err(_) => return Ok(BTreeMap::new()),
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let written = entry.metadata().and_then(|facts| facts.modified()).ok();
        match entry.file_name().to_str().and_then(script_of) {
            Some(script) => files.push((written, script, path)),
            None if is_old(written) => remove(&[path]),
            None => {}
        }
    }
    files.sort();
    let beyond = files.len().saturating_sub(most);
    for (_, _, path) in files.drain(..beyond) {
        remove(&[path]);
    }
    let mut by_script = BTreeMap::<ScriptName, Vec<PathBuf>>::new();
    for (_, script, path) in files {
        by_script.entry(script).or_default().push(path);
    }
    Ok(by_script)
}

/// The script of `SCRIPT.GENERATION.DAEMON`.
fn script_of(name: &str) -> Option<ScriptName> {
    let mut parts = name.split('.');
    let (script, generation, daemon) = (parts.next()?, parts.next()?, parts.next()?);
    let known = parts.next().is_none()
        && generation.parse::<u64>().is_ok()
        && Uuid::try_parse(daemon).is_ok();
    known.then(|| ScriptName::parse(script).ok()).flatten()
}

fn is_old(written: Option<SystemTime>) -> bool {
    let age = written.and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > limits::STORED_FOR)
}
