//! How much memory a process has, as the kernel says.
//!
//! The file is opened once: a process that is confined afterwards may read on in it, but could not open it.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// `/proc/PID/statm`, if it could be opened.
#[derive(Debug)]
pub(super) struct Memory(Option<File>);

impl Memory {
    /// `process`: its pid, or `self`.
    pub(super) fn of(process: &str) -> Self {
        Memory(File::open(format!("/proc/{process}/statm")).ok())
    }

    /// What is in memory of it, in bytes; 0 if that cannot be found out.
    pub(super) fn resident(&self) -> u64 {
        // Seven numbers of at most 20 digits.
        let mut text = [0; 160];
        let Some(Ok(length)) = self.0.as_ref().map(|file| file.read_at(&mut text, 0)) else {
            return 0;
        };
        let pages = text[..length]
            .split(u8::is_ascii_whitespace)
            .nth(1)
            .and_then(|pages| std::str::from_utf8(pages).ok()?.parse().ok());
        let pages: u64 = pages.unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_has_memory_and_one_that_is_not_has_none() {
        let mine = Memory::of("self");
        assert!(mine.resident() > 0);
        assert!(mine.resident() > 0, "read a second time");
        assert_eq!(Memory::of("0").resident(), 0);
    }
}
