//! The listening socket: bound under a passing name, closed to others, then renamed into its place.
//!
//! Nobody ever finds a socket at the path that does not listen or that others may open, and nothing is
//! removed first: the rename replaces what was there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Context;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Inode, debris};
use crate::paths::{Runtime, SocketAddress};

/// Connections that the kernel keeps for us between two accepts; it caps this at `somaxconn`.
const BACKLOG: i32 = 4_096;

/// A socket that listens at its place, and which one it is.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listener: UnixListener,
    inode: Inode,
}

impl Listening {
    pub(super) fn is_in_place(&self, runtime: &Runtime) -> bool {
        Inode::at(&runtime.socket()) == Some(self.inode)
    }
}

/// The caller holds the lock.
pub(super) fn listen(runtime: &Runtime) -> anyhow::Result<Listening> {
    let path = runtime.socket();
    bind_and_rename(runtime.folder(), &path)
        .with_context(|| format!("cannot listen on {}", path.display()))
}

fn bind_and_rename(folder: &Path, path: &Path) -> anyhow::Result<Listening> {
    let name = format!("s.{}", std::process::id());
    let passing = folder.join(&name);
    debris::clear(&passing)?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let address = SocketAddress::of(folder, &name)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(address.path())?)?;
    // Before `listen`: until then nobody can connect, afterwards nobody but us.
    fs::set_permissions(&passing, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let inode = Inode::at(&passing).context("it vanished while it was made")?;
    debris::clear_folder(path)?;
    fs::rename(&passing, path)?;
    Ok(Listening {
        listener: UnixListener::from(socket),
        inode,
    })
}

/// Whether somebody listens at `path`. Never waits: one who does not accept is somebody too.
pub(super) fn is_served(path: &Path) -> bool {
    let connect = || -> anyhow::Result<bool> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        let address = SocketAddress::of_path(path)?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(address.path())?) {
            Ok(()) | Err(Errno::AGAIN) => Ok(true),
            Err(_) => Ok(false),
        }
    };
    connect().unwrap_or(false)
}
