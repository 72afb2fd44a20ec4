//! The other user that a daemon of root's may run its scripts as: who that is, and what of the home is opened to it.
//!
//! Only the worker itself becomes that user, before it loads anything (`worker::user`).

use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};

use crate::paths::Home;
use crate::proto::messages::RunAs;

/// Where users are listed. Users whom only a directory service knows are not found.
const USERS: &str = "/etc/passwd";
/// Who may pass through a folder, and see nothing else of it: the owner's group.
const PASSABLE: Mode = Mode::RWXU.union(Mode::XGRP);

/// A user, and the home folder that its programs are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) run_as: RunAs,
    pub(super) folder: String,
}

/// Looks the user up.
///
/// # Errors
/// If there is no such user, if it is root, or if this daemon cannot become another user.
pub(super) fn find(name: &str) -> anyhow::Result<Other> {
    let users = std::fs::read_to_string(USERS).with_context(|| format!("cannot read {USERS}"))?;
    let Some(other) = users.lines().find_map(|line| read(line, name)) else {
        bail!(
            "user = {name:?} in moonkeep.toml: {USERS} has no such user; create it, or name another"
        );
    };
    let me = rustix::process::geteuid();
    if !me.is_root() && me.as_raw() != other.run_as.uid {
        bail!(
            "user = {name:?} in moonkeep.toml: only a daemon of root's can run its scripts as another user; remove the line"
        );
    }
    Ok(other)
}

/// `name:password:uid:gid:comment:home:shell`
fn read(line: &str, wanted: &str) -> Option<Other> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| *name == wanted)?;
    let mut fields = fields.skip(1);
    let run_as = RunAs {
        name: name.to_owned(),
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
    };
    let folder = fields.nth(1)?.to_owned();
    Some(Other { run_as, folder })
}

/// Gives the user the script's own folder, and the way to it; what else lies on the way stays closed.
///
/// # Errors
/// The system's.
pub(super) fn open_folders(home: &Home, own: &Path, user: &RunAs) -> anyhow::Result<()> {
    let told = |path: &Path| format!("cannot open {} to the user {}", path.display(), user.name);
    let group = Gid::from_raw(user.gid);
    for passed in [home.state(), home.state().join("scripts")] {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder =
            rustix::fs::open(&passed, flags, Mode::empty()).with_context(|| told(&passed))?;
        rustix::fs::fchown(&folder, None, Some(group)).with_context(|| told(&passed))?;
        rustix::fs::fchmod(&folder, PASSABLE).with_context(|| told(&passed))?;
    }
    let owner = Uid::from_raw(user.uid);
    let links = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(CWD, own, Some(owner), Some(group), links).with_context(|| told(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_users_is_read_whole_or_not_at_all() {
        let line = "web-1:x:1001:1002:A, comment:/srv/web:/usr/sbin/nologin";
        let expected = Other {
            run_as: RunAs {
                name: "web-1".to_owned(),
                uid: 1001,
                gid: 1002,
            },
            folder: "/srv/web".to_owned(),
        };
        assert_eq!(read(line, "web-1"), Some(expected));
        for (line, name) in [
            (line, "web"),
            ("", ""),
            ("web:x:1001", "web"),
            ("web:x:-1:2::/:/", "web"),
            ("web:x:a:2::/:/", "web"),
            ("# web:x:1:2::/:/", "web"),
        ] {
            assert_eq!(read(line, name), None, "{line}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_is_told() {
        let error = find("no-such-user").expect_err("nobody");
        assert!(error.to_string().contains("no such user"), "{error}");
    }
}
