//! What the standard library, rustix and tokio leave to `unsafe`: a few functions, no more.
//!
//! Nothing here decides anything; every other module is free of `unsafe`.

#![expect(unsafe_code, reason = "descriptors are borrowed and watched by number")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The first descriptor that is not standard input, output or error.
const FIRST_INHERITED: RawFd = 3;

/// Marks every open descriptor above standard error close-on-exec.
///
/// What the caller of the program left open (a lock, the pipe of a `$(...)`) is then not passed on to
/// the processes that the program starts.
///
/// # Errors
/// If `/proc/self/fd` cannot be read.
pub(crate) fn keep_descriptors_to_ourselves() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number >= FIRST_INHERITED)
        .collect();
    for number in open {
        // SAFETY: the borrow ends with this iteration and only reads and writes the descriptor's flags. A
        // number that was closed since the listing (the listing's own is one) gives EBADF, nothing worse.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(descriptor) {
            let _closed_meanwhile = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// Closes every descriptor above standard error. Only at the very start of a process: what opens one later keeps it.
pub(crate) fn close_what_was_inherited() {
    // SAFETY: nothing of this process has opened a descriptor yet, so none that is owned is closed. Where the kernel
    // does not know the call (before 5.9), everything stays as it is; descriptors of ours are close-on-exec anyway.
    let _unknown_call = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            libc::c_uint::try_from(FIRST_INHERITED).unwrap_or(0),
            libc::c_uint::MAX,
            0,
        )
    };
}

/// A file that grows beyond RLIMIT_FSIZE gives an error, not a signal that kills.
pub(crate) fn ignore_large_file_signal() {
    // SAFETY: SIG_IGN is no function that could be called.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// System calls that a sandbox refuses, with arguments that have no effect where it does not: the first that is
/// needed is missing. `PID` stands for the process that is asked about.
const ATTEMPTS: &[(&str, libc::c_long, [libc::c_long; 5])] = &[
    ("ptrace", libc::SYS_ptrace, [0x4206, PID, 0, 0, 0]),
    (
        "process_vm_readv",
        libc::SYS_process_vm_readv,
        [PID, 0, 0, 0, 0],
    ),
    ("pidfd_open", libc::SYS_pidfd_open, [PID, 0, 0, 0, 0]),
    ("prlimit64", libc::SYS_prlimit64, [PID, 4, 0, 0, 0]),
    ("kill", libc::SYS_kill, [PID, 0, 0, 0, 0]),
    ("tgkill", libc::SYS_tgkill, [PID, PID, 0, 0, 0]),
    ("setpriority", libc::SYS_setpriority, [0, PID, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [0, 0, 0, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [1, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [0x400, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
    ("mount", libc::SYS_mount, [0, 0, 0, 0, 0]),
    (
        "perf_event_open",
        libc::SYS_perf_event_open,
        [0, 0, -1, -1, 0],
    ),
    ("memfd_create", libc::SYS_memfd_create, [0, 0, 0, 0, 0]),
    (
        "open_by_handle_at",
        libc::SYS_open_by_handle_at,
        [-1, 0, 0, 0, 0],
    ),
    ("execve", libc::SYS_execve, [0, 0, 0, 0, 0]),
    ("execveat", libc::SYS_execveat, [-1, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0]),
    ("listen", libc::SYS_listen, [-1, 1, 0, 0, 0]),
    ("fchmod", libc::SYS_fchmod, [-1, 0, 0, 0, 0]),
    ("fchown", libc::SYS_fchown, [-1, 0, 0, 0, 0]),
    ("shmget", libc::SYS_shmget, [0, 0, 0, 0, 0]),
    ("x32-getpid", 0x4000_0027, [0, 0, 0, 0, 0]),
];

/// Stands in [`ATTEMPTS`] for a process.
const PID: libc::c_long = i64::MIN;

/// Tries a system call of a closed list, for the sandbox's probe: the number of its error, 0 for success, `None` for a
/// name that is not in the list.
pub(crate) fn attempt(name: &str, process: i32) -> Option<i32> {
    let (_, number, arguments) = ATTEMPTS.iter().find(|(known, ..)| *known == name)?;
    let [a, b, c, d, e] = arguments.map(|value| match value {
        PID => i64::from(process),
        value => value,
    });
    // SAFETY: no call of the list reads or writes memory of this process with these arguments: pointers are null, and
    // what would need them fails. A descriptor that one returns stays open until the process, a probe, ends.
    let result = unsafe { libc::syscall(*number, a, b, c, d, e) };
    if result < 0 {
        return io::Error::last_os_error().raw_os_error();
    }
    Some(0)
}

/// Joins a descriptor of any kind to the runtime, to wait until it is readable. Must be called in a runtime.
///
/// # Errors
/// The system's; the descriptor is closed then.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the descriptor, which is therefore open, and names the same file, as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(watched?)
}
