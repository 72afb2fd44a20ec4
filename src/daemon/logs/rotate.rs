//! One log file that never grows beyond its size, and its compressed predecessors.
//!
//! `NAME.log` is written to; at [`limits::LOG_BYTES`] it becomes `NAME.log.N`, N counting up for ever, and
//! is then compressed to `NAME.log.N.gz`. The last [`limits::LOG_FILES`] are kept.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::OFlags;

use crate::limits;
use crate::paths;

/// Ending of a compressed log.
const COMPRESSED: &str = "gz";

/// An open log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl LogFile {
    /// Opens the log at `path` for appending. What is there and is no plain file of its own is removed, not followed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_plain(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile {
            path: path.to_owned(),
            file: BufWriter::with_capacity(limits::READ_BYTES, file),
            bytes,
        })
    }

    /// # Errors
    /// The system's, of writing or of rotating.
    pub(super) fn write(&mut self, records: &[u8], compressor: &Compressor) -> io::Result<()> {
        self.file.write_all(records)?;
        self.bytes += records.len() as u64;
        if self.bytes >= limits::LOG_BYTES {
            self.rotate(compressor)?;
        }
        Ok(())
    }

    /// # Errors
    /// The system's.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn rotate(&mut self, compressor: &Compressor) -> io::Result<()> {
        self.file.flush()?;
        let earlier = rotated(&self.path);
        let next = earlier.last().map_or(1, |(number, _)| number + 1);
        for (number, path) in &earlier {
            if number + limits::LOG_FILES as u64 <= next {
                let _gone_already = fs::remove_file(path);
            }
        }
        fs::rename(&self.path, numbered(&self.path, next))?;
        *self = LogFile::open(&self.path)?;
        compressor.start(&self.path);
        Ok(())
    }
}

/// Opens a log for appending, without any of the rest.
///
/// # Errors
/// The system's.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        paths::make_private(folder)?;
    }
    clear_what_is_no_log(path)?;
    File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

/// A link would lead our lines elsewhere, a second name would show them there, a FIFO would not keep them.
fn clear_what_is_no_log(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        Ok(facts) if !facts.is_file() || facts.nlink() > 1 => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    paths::with_ending(path, &number.to_string())
}

/// The predecessors of a log, compressed or not, oldest first.
pub(crate) fn rotated(path: &Path) -> Vec<(u64, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let number_of = |file: &str| -> Option<u64> {
        let rest = file.strip_prefix(name)?.strip_prefix('.')?;
        rest.strip_suffix(".gz").unwrap_or(rest).parse().ok()
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((number_of(entry.file_name().to_str()?)?, entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// Compresses rotated logs in a thread that lives only while there are some: at most one at a time.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    busy: Arc<AtomicBool>,
}

impl Compressor {
    /// Compresses what is there to compress for the log at `path`. If one is being compressed already
    /// this does nothing: the next rotation comes back to what was left.
    fn start(&self, path: &Path) {
        if self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (busy, path) = (Arc::clone(&self.busy), path.to_owned());
        let spawned = std::thread::Builder::new()
            .name("log-gzip".to_owned())
            .spawn(move || {
                for (_, plain) in rotated(&path) {
                    // Pruned meanwhile, or the disk is full: it then stays as it is until it is pruned.
                    let _left_alone = compress(&plain);
                }
                busy.store(false, Ordering::Release);
            });
        if spawned.is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

fn compress(plain: &Path) -> io::Result<()> {
    if plain.extension().is_some_and(|ending| ending == COMPRESSED) {
        return Ok(());
    }
    let whole = paths::with_ending(plain, COMPRESSED);
    let passing = paths::with_ending(&whole, "tmp");
    let mut from = File::open(plain)?;
    let to = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&passing)?;
    let mut encoder = GzEncoder::new(BufWriter::new(to), Compression::fast());
    let done = io::copy(&mut from, &mut encoder)
        .and_then(|_| encoder.finish())
        .and_then(|mut file| file.flush());
    if done.is_err() || !plain.exists() {
        return fs::remove_file(&passing);
    }
    fs::rename(&passing, &whole)?;
    fs::remove_file(plain)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::daemon::logs::tail;

    /// Writes `megabytes` of numbered lines; gives the number of the last one.
    fn fill(path: &Path, compressor: &Compressor, megabytes: u64) -> u64 {
        let mut log = LogFile::open(path).expect("opens");
        let mut number = 0;
        for _ in 0..megabytes * 16 {
            let mut records = Vec::new();
            while records.len() < 64 * 1024 {
                number += 1;
                records.extend_from_slice(format!("line {number}\n").as_bytes());
            }
            log.write(&records, compressor).expect("written");
        }
        log.flush().expect("written");
        number
    }

    fn idle(compressor: &Compressor) {
        let begun = Instant::now();
        while compressor.busy.load(Ordering::Acquire) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "still compressing"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    // S-09, T19
    #[test]
    fn a_log_is_rotated_by_size_compressed_and_bounded_in_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let compressor = Compressor::default();
        for _ in 0..2 {
            fill(&path, &compressor, 24);
            idle(&compressor);
        }
        let rotated = rotated(&path);
        assert_eq!(rotated.len(), limits::LOG_FILES, "{rotated:?}");
        let bytes: u64 = rotated
            .iter()
            .map(|(_, path)| fs::metadata(path).expect("there").len())
            .sum();
        assert!(bytes < limits::LOG_BYTES * limits::LOG_FILES as u64);
        assert!(
            rotated
                .iter()
                .any(|(_, path)| path.extension() == Some("gz".as_ref())),
            "{rotated:?}"
        );
        assert!(fs::metadata(&path).expect("there").len() < limits::LOG_BYTES);
    }

    #[test]
    fn the_tail_reaches_into_the_log_before_the_last_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let compressor = Compressor::default();
        let last = fill(&path, &compressor, 8);
        idle(&compressor);
        let mut log = LogFile::open(&path).expect("opens");
        log.write(b"newest\n", &compressor).expect("written");
        log.flush().expect("written");
        let text = tail(&path, 3, 1_000_000).expect("readable");
        assert_eq!(text, format!("line {}\nline {last}\nnewest", last - 1));
    }

    // T3
    #[test]
    fn a_link_at_the_path_of_a_log_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, victim) = (folder.path().join("a.log"), folder.path().join("victim"));
        fs::write(&victim, "precious").expect("written");
        for plant in [fs::hard_link::<&Path, &Path>, std::os::unix::fs::symlink] {
            fs::remove_file(&path).ok();
            plant(&victim, &path).expect("planted");
            let mut log = LogFile::open(&path).expect("opens");
            log.write(b"line\n", &Compressor::default())
                .expect("written");
            log.flush().expect("written");
            assert_eq!(fs::read_to_string(&victim).expect("there"), "precious");
        }
    }
}
