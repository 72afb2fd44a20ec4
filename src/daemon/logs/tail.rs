//! The last lines of a log, across its last rotation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::read::GzDecoder;
use rustix::fs::OFlags;

use super::rotate;
use crate::limits;

/// The last `lines` lines of the log at `path`, oldest first, joined by newlines; fewer if they take
/// more than `most_bytes`. A log that does not exist yet is empty.
///
/// # Errors
/// The system's, with the log that cannot be read.
pub fn tail(path: &Path, lines: u32, most_bytes: usize) -> io::Result<String> {
    let mut text = match read_end(path, most_bytes) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    if text.len() < most_bytes
        && count(&text) < lines as usize
        && let Some((_, earlier)) = rotate::rotated(path).pop()
    {
        let mut before = read_whole(&earlier).unwrap_or_default();
        before.append(&mut text);
        text = before;
    }
    let kept = last(&text, lines as usize, most_bytes);
    let kept = kept.strip_suffix(b"\n").unwrap_or(kept);
    Ok(String::from_utf8_lossy(kept).into_owned())
}

/// The end of a plain file, a little more than `most_bytes` so that the cut falls on a line.
fn read_end(path: &Path, most_bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no plain file; remove it"));
    }
    let wanted = (most_bytes + limits::LOG_LINE_BYTES) as u64;
    file.seek(SeekFrom::Start(facts.len().saturating_sub(wanted)))?;
    let mut text = Vec::new();
    file.take(wanted).read_to_end(&mut text)?;
    Ok(text)
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let most = limits::LOG_BYTES * 2;
    let mut text = Vec::new();
    if path.extension().is_some_and(|ending| ending == "gz") {
        GzDecoder::new(file).take(most).read_to_end(&mut text)?;
    } else {
        file.take(most).read_to_end(&mut text)?;
    }
    Ok(text)
}

fn count(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// The last lines that fit.
fn last(text: &[u8], lines: usize, most_bytes: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut from = text.len();
    let starts = memchr::memrchr_iter(b'\n', body)
        .map(|at| at + 1)
        .chain(std::iter::once(0));
    for start in starts.take(lines) {
        if text.len() - start > most_bytes {
            break;
        }
        from = start;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_and_bounded() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last(text, 2, 100), b"two\nthree\n");
        assert_eq!(last(text, 9, 100), text);
        assert_eq!(last(text, 0, 100), b"");
        assert_eq!(last(text, 9, 10), b"two\nthree\n");
        assert_eq!(last(b"one\nopen", 1, 100), b"open");
        assert_eq!(last(b"", 3, 100), b"");
    }
}
