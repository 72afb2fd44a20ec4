//! What a file holds, or a part of it. Blocks.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use mlua::{FromLua, Lua, Value};
use sha2::{Digest, Sha256};

use crate::limits;
use crate::lua::modules::misuse;
use crate::nearest::nearest;

/// A pipe or a device could be read for ever, or not be opened at all.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

/// A regular file of at most [`limits::HOST_BODY_BYTES`].
pub(in crate::lua) fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let most = limits::HOST_BODY_BYTES as u64;
    open_regular(path)?.take(most + 1).read_to_end(&mut data)?;
    if data.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(data)
}

/// Kinds of hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hash {
    #[default]
    Sha256,
    Blake3,
}

impl FromLua for Hash {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        let name = String::from_lua(value, lua)?;
        match name.as_str() {
            "sha256" => Ok(Hash::Sha256),
            "blake3" => Ok(Hash::Blake3),
            other => Err(misuse(format!(
                "fs.hash: `{other}` is no hash{}; it knows sha256, blake3",
                nearest(other, ["sha256", "blake3"])
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
            ))),
        }
    }
}

pub(super) fn hash(path: &Path, kind: Hash) -> io::Result<String> {
    let mut file = open_regular(path)?;
    let mut piece = vec![0; limits::HASH_PIECE_BYTES];
    match kind {
        Hash::Sha256 => {
            let mut hasher = Sha256::new();
            while let count @ 1.. = file.read(&mut piece)? {
                hasher.update(&piece[..count]);
            }
            Ok(format!("{:x}", hasher.finalize()))
        }
        Hash::Blake3 => {
            let mut hasher = blake3::Hasher::new();
            while let count @ 1.. = file.read(&mut piece)? {
                hasher.update(&piece[..count]);
            }
            Ok(hasher.finalize().to_hex().to_string())
        }
    }
}

/// Also gives the offset behind what was read.
pub(super) fn read_at(path: &Path, offset: i64, most: Option<u64>) -> io::Result<(Vec<u8>, u64)> {
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    let begin = match u64::try_from(offset) {
        Ok(offset) => offset,
        Err(_) => size.saturating_sub(offset.unsigned_abs()),
    };
    let most = most.unwrap_or(u64::MAX).min(limits::HOST_BODY_BYTES as u64);
    file.seek(SeekFrom::Start(begin))?;
    let mut data = Vec::new();
    let count = file.take(most).read_to_end(&mut data)? as u64;
    Ok((data, begin + count))
}

pub(super) fn tail(path: &Path, lines: Option<usize>) -> io::Result<Vec<Vec<u8>>> {
    let most = limits::HOST_BODY_BYTES;
    let (data, _) = read_at(path, -i64::try_from(most).unwrap_or(i64::MAX), None)?;
    let lines = lines
        .unwrap_or(limits::TAIL_LINES)
        .min(limits::TAIL_LINES_MOST);
    Ok(last_lines(&data, lines))
}

fn last_lines(data: &[u8], lines: usize) -> Vec<Vec<u8>> {
    let data = data.strip_suffix(b"\n").unwrap_or(data);
    if data.is_empty() {
        return Vec::new();
    }
    let mut last: Vec<Vec<u8>> = data
        .rsplit(|byte| *byte == b'\n')
        .take(lines)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        .collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_whatever_the_end_looks_like() {
        let lines = |text: &str, count| {
            last_lines(text.as_bytes(), count)
                .into_iter()
                .map(|line| String::from_utf8(line).expect("text"))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines("a\nb\r\nc\n", 2), ["b", "c"]);
        assert_eq!(lines("a\n\nc", 9), ["a", "", "c"]);
        assert_eq!(lines("", 9), [""; 0]);
        assert_eq!(lines("\n", 9), [""; 0]);
        assert_eq!(lines("a\n", 0), [""; 0]);
    }

    #[test]
    fn parts_of_a_file_are_read_from_both_ends() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "0123456789").expect("written");
        let part = |offset, most| {
            let (data, end) = read_at(file.path(), offset, most).expect("read");
            (String::from_utf8(data).expect("text"), end)
        };
        assert_eq!(part(0, Some(3)), ("012".to_owned(), 3));
        assert_eq!(part(-3, None), ("789".to_owned(), 10));
        assert_eq!(part(-30, Some(1)), ("0".to_owned(), 1));
        assert_eq!(part(12, None), (String::new(), 12));
        let known = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
        assert_eq!(hash(file.path(), Hash::Sha256).expect("read"), known);
        assert!(hash(Path::new("/dev/zero"), Hash::Blake3).is_err());
    }
}
