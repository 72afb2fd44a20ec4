//! Entries of `allow.run`: which file a name means, and what that file needs beside itself to be started.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where names are looked up, if the environment does not say.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A script may be run by a script, and so on, so often.
const INTERPRETERS_DEEP: usize = 4;
/// Enough for the table of an ELF file's segments and the name of its loader, or for a first line.
const HEAD_BYTES: u64 = 16 * 1024;

/// A program, or a folder of programs, that may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Resolved.
    pub path: PathBuf,
    /// Its interpreters and loaders, resolved.
    pub needs: Vec<PathBuf>,
}

impl Program {
    /// The program that `entry` names: a path, absolute or relative to `home`, or a name in PATH.
    #[must_use]
    pub fn find(entry: &str, home: &Path) -> Option<Self> {
        let path = if entry.contains('/') {
            fs::canonicalize(home.join(entry)).ok()?
        } else {
            search(entry)?
        };
        let mut needs = Vec::new();
        if path.is_dir() {
            // What lies in it is not known yet: the loader that this program uses will be theirs too.
            interpreters(Path::new("/proc/self/exe"), INTERPRETERS_DEEP, &mut needs);
            needs.extend(search("sh"));
        } else {
            interpreters(&path, INTERPRETERS_DEEP, &mut needs);
        }
        Some(Program { path, needs })
    }

    /// Whether a command that begins with this word means it.
    #[must_use]
    pub fn covers(&self, word: &str) -> bool {
        let meant = if word.contains('/') {
            fs::canonicalize(word).ok()
        } else {
            search(word)
        };
        meant.is_some_and(|meant| meant.starts_with(&self.path))
    }
}

/// The program of this name in PATH, resolved.
#[must_use]
pub fn search(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
        })
        .and_then(|file| fs::canonicalize(file).ok())
}

fn interpreters(path: &Path, deep: usize, found: &mut Vec<PathBuf>) {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    if read.is_err() || deep == 0 {
        return;
    }
    for needed in needed_by(&head) {
        let resolved = if needed.contains('/') {
            fs::canonicalize(&needed).ok()
        } else {
            search(&needed)
        };
        if let Some(resolved) = resolved.filter(|resolved| !found.contains(resolved)) {
            found.push(resolved.clone());
            interpreters(&resolved, deep - 1, found);
        }
    }
}

/// The words of a `#!` line that are programs, or the loader of an ELF file.
fn needed_by(head: &[u8]) -> Vec<String> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace().map(str::to_owned);
        let first: Vec<String> = words.next().into_iter().collect();
        let is_env = first.iter().any(|word| word.ends_with("/env"));
        let second = words.find(|word| is_env && !word.starts_with('-') && !word.contains('='));
        return first.into_iter().chain(second).collect();
    }
    loader(head).into_iter().collect()
}

/// `PT_INTERP` of a 64-bit little-endian ELF file.
fn loader(head: &[u8]) -> Option<String> {
    const ELF_64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
    const PT_INTERP: u64 = 3;
    head.strip_prefix(ELF_64_LITTLE)?;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let slice = head.get(at..at.checked_add(bytes)?)?;
        Some(
            slice
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        )
    };
    let place = |at: usize, bytes: usize| usize::try_from(number(at, bytes)?).ok();
    let (table, size, count) = (place(32, 8)?, place(54, 2)?, place(56, 2)?);
    let entry = (0..count)
        .filter_map(|index| table.checked_add(index.checked_mul(size)?))
        .find(|entry| number(*entry, 4) == Some(PT_INTERP))?;
    let start = place(entry.checked_add(8)?, 8)?;
    let end = start.checked_add(place(entry.checked_add(32)?, 8)?)?;
    let name = head.get(start..end)?.split(|byte| *byte == 0).next()?;
    String::from_utf8(name.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_names_its_interpreter_and_what_env_looks_up() {
        assert_eq!(needed_by(b"#!/bin/sh -e\nx"), ["/bin/sh"]);
        assert_eq!(
            needed_by(b"#! /usr/bin/env -S A=1 python3 -u\n"),
            ["/usr/bin/env", "python3"]
        );
        assert!(needed_by(b"").is_empty() && needed_by(b"\x7fELF\x02\x01junk").is_empty());
    }

    #[test]
    fn a_program_needs_its_loader() {
        let shell = Program::find("sh", Path::new("/")).expect("every system has one");
        assert!(shell.covers("sh") && !shell.covers("env"));
        let loader = shell.needs.first().expect("it is linked dynamically");
        assert!(loader.display().to_string().contains("ld-"), "{loader:?}");
    }

    #[test]
    fn damaged_headers_do_no_harm() {
        let good = fs::read("/proc/self/exe").expect("Linux");
        for cut in 0..200 {
            let _whatever = loader(&good[..cut]);
            let mut bad = good[..4096.min(good.len())].to_vec();
            bad[cut] = !bad[cut];
            let _whatever = loader(&bad);
        }
    }
}
