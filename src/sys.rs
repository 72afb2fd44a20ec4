//! What the standard library, rustix and tokio leave to `unsafe`: two functions, no more.
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

/// Joins a descriptor of any kind to the runtime, to wait until it is readable. Must be called in a runtime.
///
/// # Errors
/// The system's; the descriptor is closed then.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the descriptor, which is therefore open, and names the same file, as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(watched?)
}
