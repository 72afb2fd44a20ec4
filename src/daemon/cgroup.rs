//! A control group for each worker, where the system has left one to us to divide (`Delegate=yes` of systemd).
//!
//! What is in it can be killed at one stroke, and it cannot leave; and the kernel refuses it more than so many
//! processes. Nothing depends on it: where there is none, the undertaker does the same with a little more work.
//! A group that was not expressly left to us is never touched, whatever our rights are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::limits;
use crate::proto::ids::{DaemonId, WorkerId};

/// Beginning of the names of all groups that we make.
const OURS: &str = "moonkeep-";
/// Set to `1` by whoever leaves a group to its processes; the second one by older versions of systemd.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// A group that is ours to divide.
#[derive(Debug)]
pub(super) struct Cgroups {
    root: PathBuf,
    daemon: DaemonId,
}

/// The group of one worker. Removed once it is empty.
#[derive(Debug)]
pub(super) struct Enclosure(PathBuf);

impl Cgroups {
    /// `None`: the system has left us none.
    pub(super) fn find(daemon: DaemonId) -> Option<Self> {
        let own = own_group()?;
        if is_delegated(&own) {
            // A group that is divided may hold no processes itself, so we make room.
            let apart = own.join(format!("{OURS}{daemon}"));
            fs::create_dir(&apart).ok()?;
            fs::write(apart.join("cgroup.procs"), std::process::id().to_string()).ok()?;
            return Some(Cgroups::new(own, daemon));
        }
        // As with `DelegateSubgroup=`: we were put apart already.
        let above = own.parent()?;
        is_delegated(above).then(|| Cgroups::new(above.to_owned(), daemon))
    }

    fn new(root: PathBuf, daemon: DaemonId) -> Self {
        // Others may be in it, or the system may not count: then nothing is counted.
        let _not_counted = fs::write(root.join("cgroup.subtree_control"), "+pids");
        Cgroups { root, daemon }
    }

    /// Puts a worker, which has started nothing yet, into a group of its own.
    pub(super) fn enclose(&self, worker: &WorkerId, pid: u32) -> Option<Enclosure> {
        self.clear();
        let name = format!(
            "{OURS}{}-{}-{}",
            self.daemon, worker.script, worker.generation
        );
        let path = self.root.join(name);
        fs::create_dir(&path).ok()?;
        let _not_counted = fs::write(path.join("pids.max"), limits::WORKER_PROCESSES.to_string());
        let entered = fs::write(path.join("cgroup.procs"), pid.to_string());
        if entered.is_err() {
            let _left_empty = fs::remove_dir(&path);
            return None;
        }
        Some(Enclosure(path))
    }

    /// Removes empty groups; the kernel refuses that for others.
    fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return;
        };
        let ours = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(OURS));
        for entry in ours {
            let _in_use = fs::remove_dir(entry.path());
        }
    }
}

impl Enclosure {
    /// Kills everything in it.
    ///
    /// # Errors
    /// The system's, if it is too old to do that.
    pub(super) fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        // What has just been killed may still be leaving; the next worker's start clears it away then.
        let _in_use = fs::remove_dir(&self.0);
    }
}

fn is_delegated(group: &Path) -> bool {
    DELEGATED.iter().any(|name| {
        let mut value = [0; 8];
        let length = rustix::fs::getxattr(group, *name, &mut value);
        length.is_ok_and(|length| value[..length].starts_with(b"1"))
    })
}

/// Where we are in the second version's tree of groups.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    place(&mounts, &groups)
}

/// Pure: from the system's two tables to the folder.
fn place(mounts: &str, groups: &str) -> Option<PathBuf> {
    let inside = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let mut fields = mount.split(' ').skip(3);
    let (shown, folder) = (fields.next()?, fields.next()?);
    // In a container only a part of the tree may be mounted.
    let below = inside.strip_prefix(shown.trim_end_matches('/'))?;
    Some(Path::new(folder).join(below.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    // T13
    #[test]
    fn our_own_group_is_found_in_the_tables_of_the_system() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = |mounts: &str, groups: &str| {
            place(mounts, groups).map(|path| path.display().to_string())
        };
        assert_eq!(
            found(mounts, "1:cpu:/\n0::/user.slice/x.service\n").as_deref(),
            Some("/sys/fs/cgroup/unified/user.slice/x.service")
        );
        let part = "41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found(part, "0::/docker/1/a\n").as_deref(),
            Some("/sys/fs/cgroup/a")
        );
        assert_eq!(found(part, "0::/elsewhere\n"), None);
        assert_eq!(found(mounts, "1:cpu:/\n"), None);
        assert_eq!(found("", "0::/\n"), None);
    }
}
