//! How a worker becomes another user for good: before anything of the script is read, while it is one thread.

use anyhow::{Context, ensure};
use rustix::process::{Gid, Uid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::proto::messages::RunAs;

/// Gives up this process's user, group and further groups, and the way back.
///
/// # Errors
/// If the system refuses. The process must then run nothing: it may be root still.
pub(super) fn become_user(user: &RunAs) -> anyhow::Result<()> {
    if geteuid().as_raw() == user.uid {
        return Ok(());
    }
    let told = || format!("cannot become the user {}", user.name);
    // The calls below are those of one thread.
    let threads = std::fs::read_dir("/proc/self/task").with_context(told)?;
    ensure!(threads.count() == 1, "{}: there is a second thread", told());
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[gid]).with_context(told)?;
    set_thread_res_gid(gid, gid, gid).with_context(told)?;
    set_thread_res_uid(uid, uid, uid).with_context(told)?;
    ensure!(
        uid.is_root() || set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_err(),
        "{}: the way back to root is open",
        told()
    );
    ensure!(
        getgroups().is_ok_and(|groups| groups == [gid]),
        "{}",
        told()
    );
    Ok(())
}
