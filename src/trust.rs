//! Reading files that will be run: only what no other user could have written, as sshd does with keys.
//!
//! A path is followed part by part, through every link, and each folder on the way is checked: whoever
//! can write a folder can put another file in its place. Never blocks, also not on a FIFO.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

/// Links in one path before it counts as a loop. The kernel's own number.
const LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o022;
const ANY_EXECUTE: u32 = 0o111;

/// A file whose content is ours or root's alone.
#[derive(Debug)]
pub struct Trusted {
    pub bytes: Vec<u8>,
    /// Where it is, without links.
    pub real: PathBuf,
    /// The folders in which a change can make the path mean another file: those of the file and of
    /// every link on the way.
    pub folders: Vec<PathBuf>,
    pub executable: bool,
}

/// Reads the regular file that `path` leads to.
///
/// # Errors
/// One sentence: the file or folder, what is wrong with it, and what to do.
pub fn read(path: &Path, most: u64) -> Result<Trusted, String> {
    let way = resolve(path)?;
    // NONBLOCK: opening a FIFO would wait for a writer. NOFOLLOW: the links have been followed above;
    // one that appears now is somebody's game.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&way.real)
        .map_err(|error| cannot("open", &way.real, &error))?;
    let facts = file
        .metadata()
        .map_err(|error| cannot("look at", &way.real, &error))?;
    if !facts.is_file() {
        return Err(format!(
            "{} is not a regular file; put the program itself here, or a link to it",
            path.display()
        ));
    }
    check_owner(&way.real, &facts)?;
    let bytes = read_at_most(&file, &way.real, most)?;
    Ok(Trusted {
        bytes,
        real: way.real,
        folders: way.folders,
        executable: facts.mode() & ANY_EXECUTE != 0,
    })
}

fn read_at_most(file: &File, path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(format!(
            "{} is larger than {}; split it into modules in lib/",
            path.display(),
            crate::options::value::show_size(most)
        ));
    }
    Ok(bytes)
}

/// What a path means, with all links followed and all folders checked.
struct Way {
    real: PathBuf,
    folders: Vec<PathBuf>,
}

fn resolve(path: &Path) -> Result<Way, String> {
    let absolute = std::path::absolute(path).map_err(|error| cannot("resolve", path, &error))?;
    // Parts still to walk, last first.
    let mut parts: Vec<OsString> = parts_reversed(&absolute);
    let mut real = PathBuf::from("/");
    let mut folders = Vec::new();
    let mut links = 0;
    while let Some(part) = parts.pop() {
        if part == ".." {
            real.pop();
            continue;
        }
        check_folder(&real)?;
        let next = real.join(&part);
        let facts = fs::symlink_metadata(&next).map_err(|error| missing(path, &next, &error))?;
        if facts.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err(format!(
                    "{} is a link that leads back to itself; point it at a file",
                    path.display()
                ));
            }
            remember(&mut folders, &real);
            let target =
                fs::read_link(&next).map_err(|error| cannot("read the link", &next, &error))?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            parts.extend(parts_reversed(&target));
        } else {
            if parts.is_empty() {
                remember(&mut folders, &real);
            }
            real = next;
        }
    }
    Ok(Way { real, folders })
}

fn remember(folders: &mut Vec<PathBuf>, folder: &Path) {
    if !folders.iter().any(|known| known == folder) {
        folders.push(folder.to_owned());
    }
}

fn parts_reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let mut parts: Vec<OsString> = parts.collect();
    parts.reverse();
    parts
}

fn check_folder(folder: &Path) -> Result<(), String> {
    let facts = fs::symlink_metadata(folder).map_err(|error| cannot("look at", folder, &error))?;
    check_owner(folder, &facts)
}

/// Ours or root's, and nobody else may write it. In a sticky folder others may write, but not replace
/// what is ours.
fn check_owner(path: &Path, facts: &fs::Metadata) -> Result<(), String> {
    verdict(
        facts.uid(),
        facts.mode(),
        facts.is_dir(),
        rustix::process::geteuid().as_raw(),
    )
    .map_err(|(what, remedy)| {
        let path = path.display();
        format!("{path} {what}, so what runs could be another user's; {remedy} {path}")
    })
}

/// `Err`: what is wrong, and the command that mends it. A folder that belongs to the pseudo user of
/// unmapped ids is foreign too.
fn verdict(owner: u32, mode: u32, is_folder: bool, me: u32) -> Result<(), (String, &'static str)> {
    if owner != 0 && owner != me {
        return Err((
            format!("belongs to another user (uid {owner})"),
            "take it over with: chown \"$(id -u)\"",
        ));
    }
    let sticky = is_folder && mode & STICKY != 0;
    if mode & OTHERS_WRITE != 0 && !sticky {
        return Err((
            format!("can be written by others (mode {:03o})", mode & 0o7777),
            "close it with: chmod go-w",
        ));
    }
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

fn missing(path: &Path, at: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && path != at {
        return format!(
            "{} leads to {}, which does not exist; mend or remove the link",
            path.display(),
            at.display()
        );
    }
    cannot("look at", at, error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn modes_and_owners_as_sshd_judges_them() {
        // T6
        let me = 1000;
        for (owner, mode, folder, accepted) in [
            (me, 0o100_644, false, true),
            (me, 0o100_600, false, true),
            (0, 0o100_755, false, true),
            (me, 0o100_664, false, false),
            (me, 0o100_646, false, false),
            (me, 0o100_622, false, false),
            (1001, 0o100_644, false, false),
            (65_534, 0o100_600, false, false),
            (me, 0o040_755, true, true),
            (me, 0o040_775, true, false),
            (0, 0o041_777, true, true),
            (1001, 0o041_777, true, false),
            // The sticky bit means nothing on a file.
            (me, 0o101_666, false, false),
        ] {
            let found = verdict(owner, mode, folder, me).is_ok();
            assert_eq!(found, accepted, "owner {owner}, mode {mode:o}");
        }
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn a_fifo_is_refused_without_waiting() {
        let dir = folder();
        let fifo = dir.path().join("x.lua");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        let error = read(&fifo, 10).expect_err("a FIFO");
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn links_are_followed_and_their_folders_remembered() {
        let dir = folder();
        let root = fs::canonicalize(dir.path()).expect("root");
        for name in ["v1", "scripts"] {
            fs::create_dir(root.join(name)).expect("folder");
        }
        fs::write(root.join("v1/x.lua"), "return 1").expect("file");
        symlink("v1", root.join("current")).expect("link");
        symlink("../current/x.lua", root.join("scripts/x.lua")).expect("link");
        let found = read(&root.join("scripts/x.lua"), 100).expect("readable");
        assert_eq!(found.real, root.join("v1/x.lua"));
        assert_eq!(
            found.folders,
            [root.join("scripts"), root.clone(), root.join("v1")]
        );
    }

    #[test]
    fn loops_dangling_links_and_large_files_are_told() {
        let dir = folder();
        symlink("b", dir.path().join("a")).expect("link");
        symlink("a", dir.path().join("b")).expect("link");
        let error = read(&dir.path().join("a"), 10).expect_err("a loop");
        assert!(error.contains("leads back to itself"), "{error}");
        symlink("gone", dir.path().join("c")).expect("link");
        let error = read(&dir.path().join("c"), 10).expect_err("dangling");
        assert!(error.contains("which does not exist"), "{error}");
        fs::write(dir.path().join("d"), "12345678901").expect("file");
        let error = read(&dir.path().join("d"), 10).expect_err("too large");
        assert!(error.contains("larger than 10 B"), "{error}");
    }

    #[test]
    fn a_file_or_folder_that_others_can_write_is_refused() {
        // T6
        let dir = folder();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).expect("folder");
        let file = inner.join("x.lua");
        fs::write(&file, "").expect("file");
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        chmod(&file, 0o644);
        chmod(&inner, 0o755);
        assert!(read(&file, 10).is_ok());
        chmod(&file, 0o664);
        let error = read(&file, 10).expect_err("group may write");
        assert!(error.contains("chmod go-w"), "{error}");
        chmod(&file, 0o644);
        chmod(&inner, 0o777);
        let error = read(&file, 10).expect_err("others may write the folder");
        assert!(error.contains("mode 777"), "{error}");
        chmod(&inner, 0o1777);
        assert!(read(&file, 10).is_ok(), "a sticky folder");
    }
}
