//! Tells systemd how the daemon is (`Type=notify`), if systemd asked to be told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket that wants to know.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Sends one state, such as `READY=1`, without waiting. Nothing happens where nobody listens.
pub(super) fn notify(state: &str) {
    if let Some(path) = std::env::var_os(VARIABLE) {
        // systemd times us out itself if it did not hear this.
        let _unheard = send(&path, state);
    }
}

fn send(path: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
