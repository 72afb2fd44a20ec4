//! Listens where `[http]` says, and lets go when it says so no more. What is in the way is told and tried again.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::connections::Connections;
use super::desk::Desk;
use crate::daemon::inbox::Inbox;
use crate::daemon::logs::Logs;
use crate::engine::alphabet::{Input, Level};
use crate::limits;
use crate::options::http::Http;

/// Connections that wait in the kernel until they are taken.
const BACKLOG: u32 = 1_024;
/// Rest after the system refused to give us a connection.
const REST: Duration = Duration::from_millis(50);

/// See the module.
pub(in crate::daemon) struct Listener {
    settings: watch::Receiver<Option<Http>>,
    door: Door,
    connections: Connections,
    desk: Rc<Desk>,
    inbox: Rc<Inbox>,
    logs: Logs,
}

enum Door {
    /// Nothing is configured.
    None,
    Open {
        http: Rc<Http>,
        listener: TcpListener,
        /// The system had no connection for us: none is taken before this moment.
        rest: Option<Instant>,
    },
    /// The address cannot be had; it is tried again then.
    Refused { again: Instant },
}

impl Listener {
    pub(in crate::daemon) fn new(
        settings: watch::Receiver<Option<Http>>,
        desk: Rc<Desk>,
        inbox: &Rc<Inbox>,
        logs: &Logs,
    ) -> Self {
        Listener {
            settings,
            door: Door::None,
            connections: Connections::default(),
            desk,
            inbox: Rc::clone(inbox),
            logs: logs.clone(),
        }
    }

    /// Serves until it is dropped.
    pub(in crate::daemon) async fn run(mut self) {
        self.settings.mark_changed();
        loop {
            let alarm = self.alarm();
            let taking = self.connections.has_room();
            tokio::select! {
                // Cancel safe: a change that was not seen stays one. The watch lives as long as we do.
                changed = self.settings.changed() => if changed.is_ok() { self.configure() },
                // Cancel safe: a connection that was not taken stays in the kernel's queue.
                accepted = accept(&self.door), if taking => self.admit(accepted),
                // Cancel safe: a task that was not joined stays in the set.
                () = self.connections.ended() => {}
                // Cancel safe: it only waits.
                () = wait(alarm) => self.alarmed(),
            }
        }
    }

    fn alarm(&self) -> Option<Instant> {
        let door = match &self.door {
            Door::None => None,
            Door::Open { rest, .. } => *rest,
            Door::Refused { again } => Some(*again),
        };
        door.into_iter().chain(self.connections.next_silent()).min()
    }

    fn alarmed(&mut self) {
        self.connections.make_room();
        let now = Instant::now();
        match &mut self.door {
            Door::None => {}
            Door::Open { rest, .. } => *rest = rest.filter(|until| *until > now),
            Door::Refused { again } => {
                if *again <= now {
                    self.configure();
                }
            }
        }
    }

    /// Does what the settings say now. Who is being served stays served.
    fn configure(&mut self) {
        let wanted = self.settings.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.door, Door::None);
        let Some(http) = wanted else {
            if !matches!(before, Door::None) {
                self.logs.note(
                    Level::Info,
                    "HTTP is no longer configured; the listener is closed",
                );
                self.tell(None, None);
            }
            return;
        };
        if let Door::Open {
            http: old,
            listener,
            rest,
        } = before
            && old.listen == http.listen
        {
            let http = Rc::new(http);
            self.door = Door::Open {
                http,
                listener,
                rest,
            };
            return;
        }
        self.open(http);
    }

    fn open(&mut self, http: Http) {
        let opened =
            listen(http.listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match opened {
            Ok((address, listener)) => {
                self.logs.note(
                    Level::Info,
                    format!("serves the checks at http://{address}/"),
                );
                if !http.is_local() {
                    let text = format!(
                        "{address} is not of this machine alone: whoever reaches it reads what the checks say; there is no password"
                    );
                    self.logs.note(Level::Warn, text);
                }
                self.tell(Some(address.to_string()), None);
                let http = Rc::new(http);
                self.door = Door::Open {
                    http,
                    listener,
                    rest: None,
                };
            }
            Err(error) => {
                self.tell(None, Some(complaint(http.listen, &error)));
                let again = Instant::now() + limits::HTTP_RETRY;
                self.door = Door::Refused { again };
            }
        }
    }

    fn tell(&self, address: Option<String>, fault: Option<String>) {
        self.inbox.push(Input::Listening { address, fault });
    }

    fn admit(&mut self, accepted: io::Result<TcpStream>) {
        let Door::Open { http, rest, .. } = &mut self.door else {
            return;
        };
        match accepted {
            Ok(stream) => self.connections.admit(stream, &self.desk, http),
            Err(_) => *rest = Some(Instant::now() + REST),
        }
    }
}

/// The next connection; never, where the door is not open. Cancel safe.
async fn accept(door: &Door) -> io::Result<TcpStream> {
    match door {
        Door::Open {
            listener,
            rest: None,
            ..
        } => listener.accept().await.map(|(stream, _)| stream),
        Door::None | Door::Open { .. } | Door::Refused { .. } => std::future::pending().await,
    }
}

async fn wait(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => sleep_until(alarm).await,
        None => std::future::pending().await,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A daemon that starts again need not wait for connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn complaint(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let is = |kind: io::ErrorKind| error.kind() == kind;
    let remedy = if is(io::ErrorKind::AddrInUse) {
        format!(
            "another program has it (`ss -ltnp 'sport = :{port}'` names it); end that one, or choose another port"
        )
    } else if is(io::ErrorKind::PermissionDenied) {
        "choose a port of 1024 or above, or put a proxy before it".to_owned()
    } else if is(io::ErrorKind::AddrNotAvailable) {
        "this machine has no such address; `ip address` lists those that it has".to_owned()
    } else {
        "choose another address".to_owned()
    };
    let again = limits::HTTP_RETRY.as_secs();
    format!(
        "cannot listen for HTTP at {address}: {error}; {remedy} at [http] in moonkeep.toml; it is tried again every {again} s, and all else goes on"
    )
}
