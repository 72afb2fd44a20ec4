//! Takes connections, checks who they are, and gives each a task of its own. Never waits for one of them.
//!
//! It also looks now and then whether socket and lock are still ours, because it owns the listener.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};
use uuid::Uuid;

use super::claim::{Claim, Listening, Released, Standing};
use super::inbox::Inbox;
use super::lane::{Lane, Scratch};
use super::logs::Logs;
use super::session;
use crate::engine::alphabet::{Input, Level};
use crate::limits;
use crate::proto::codec;
use crate::proto::ids::{ClientId, SessionId};
use crate::proto::messages::{Answer, Body, Encoding, ErrorCode, Refusal};

/// Descriptors that are kept for everything but sessions; half of the others are for sessions.
const OTHER_DESCRIPTORS: u64 = 64;
/// Sessions that are taken however few descriptors there are.
const SESSIONS_LEAST: usize = 8;
/// Rest after the system refused to give us a connection.
const REST: Duration = Duration::from_millis(50);
/// When a client that was told `busy` may try again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The lanes of all sessions.
pub(super) type Sessions = Rc<RefCell<HashMap<SessionId, Rc<Lane>>>>;

/// See the module.
pub(super) struct Gate {
    claim: Claim,
    listening: Listening,
    listener: UnixListener,
    sessions: Sessions,
    tasks: JoinSet<()>,
    next: u64,
    most: usize,
    /// Given up for a moment when there are no descriptors, to answer a client all the same.
    reserve: Option<File>,
    inbox: Rc<Inbox>,
    logs: Logs,
    scratch: Scratch,
}

impl Gate {
    /// # Errors
    /// If the socket cannot be put in its place or watched.
    pub(super) fn open(
        mut claim: Claim,
        inbox: Rc<Inbox>,
        logs: Logs,
        scratch: Scratch,
    ) -> anyhow::Result<Self> {
        let listening = claim.listen()?;
        let listener = UnixListener::from_std(listening.listener.try_clone()?)?;
        Ok(Gate {
            claim,
            listening,
            listener,
            sessions: Sessions::default(),
            tasks: JoinSet::new(),
            next: 1,
            most: most_sessions(),
            reserve: open_reserve(),
            inbox,
            logs,
            scratch,
        })
    }

    pub(super) fn sessions(&self) -> Sessions {
        Rc::clone(&self.sessions)
    }

    /// Takes connections until it is dropped or another daemon has the home.
    pub(super) async fn run(&mut self) {
        let first = Instant::now() + limits::CLAIM_CHECK_EVERY;
        let mut look = interval_at(first, limits::CLAIM_CHECK_EVERY);
        loop {
            tokio::select! {
                // Cancel safe: a connection that was not taken stays in the kernel's queue.
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream),
                    Err(error) => self.refuse_for_want(&error).await,
                },
                // Cancel safe: a task that was not joined stays in the set.
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Err(panic) = ended {
                        self.logs.note(Level::Error, format!("a session's task failed: {panic}; please report it"));
                    }
                }
                // Cancel safe: a tick that was missed comes at once.
                _ = look.tick() => if !self.still_ours() { return },
            }
        }
    }

    /// Takes no more; lets what waits for the clients go out, for a bounded time; clears our files away.
    pub(super) async fn close(self) -> Released {
        let Gate {
            claim,
            listening,
            listener,
            sessions,
            mut tasks,
            ..
        } = self;
        drop(listener);
        let released = claim.release(&listening);
        for lane in sessions.borrow().values() {
            lane.close();
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        let _some_read_no_more = tokio::time::timeout(limits::FLUSH_AT_CLOSE, all).await;
        released
    }

    fn admit(&mut self, stream: UnixStream) {
        let uid = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(_) => return,
        };
        let root = 0;
        if uid != rustix::process::geteuid().as_raw() && uid != root {
            let text = format!("refused a connection of another user (uid {uid})");
            self.logs.note(Level::Warn, text);
            return;
        }
        if self.sessions.borrow().len() >= self.most {
            answer_busy(&stream);
            return;
        }
        let id = SessionId(self.next);
        self.next += 1;
        let (lane, session) = session::open(id, stream);
        self.sessions.borrow_mut().insert(id, lane);
        self.inbox.push(Input::Connected {
            session: id,
            uid,
            fresh: ClientId(Uuid::now_v7()),
        });
        let leaving = Leaving {
            session: id,
            sessions: Rc::clone(&self.sessions),
            inbox: Rc::clone(&self.inbox),
            why: "its task failed".to_owned(),
        };
        let (inbox, scratch) = (Rc::clone(&self.inbox), self.scratch.clone());
        self.tasks.spawn_local(async move {
            let mut leaving = leaving;
            leaving.why = session.serve(inbox, scratch).await;
        });
    }

    /// No descriptor or memory for a connection, or one that was gone before we took it. Only the last is no reason
    /// to rest: everything else would come again at once, and for as long as it lasts.
    async fn refuse_for_want(&mut self, error: &io::Error) {
        let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
        if is(Errno::CONNABORTED) {
            return;
        }
        if is(Errno::MFILE) || is(Errno::NFILE) {
            drop(self.reserve.take());
            let waiting = tokio::time::timeout(Duration::ZERO, self.listener.accept());
            if let Ok(Ok((stream, _))) = waiting.await {
                answer_busy(&stream);
            }
            self.reserve = open_reserve();
        }
        tokio::time::sleep(REST).await;
    }

    /// `false`: another daemon has the home.
    fn still_ours(&mut self) -> bool {
        match self.claim.look(&self.listening) {
            Standing::Ours => true,
            Standing::SocketLost => {
                self.listen_again();
                true
            }
            Standing::Replaced => {
                self.inbox.push(Input::Terminate {
                    why: "another daemon has taken over the home: its lock file was replaced"
                        .to_owned(),
                });
                false
            }
        }
    }

    fn listen_again(&mut self) {
        let again = self.claim.listen().and_then(|listening| {
            let listener = UnixListener::from_std(listening.listener.try_clone()?)?;
            Ok((listening, listener))
        });
        match again {
            Ok((listening, listener)) => {
                self.listening = listening;
                self.listener = listener;
                self.logs
                    .note(Level::Warn, "the socket was gone; it listens again");
            }
            Err(error) => self.logs.note(
                Level::Error,
                format!("the socket is gone and cannot be made again: {error:#}"),
            ),
        }
    }
}

/// The one way out of a session: whatever ends its task, the lane goes and the engine hears of it.
struct Leaving {
    session: SessionId,
    sessions: Sessions,
    inbox: Rc<Inbox>,
    why: String,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.sessions.borrow_mut().remove(&self.session);
        self.inbox.push(Input::Gone {
            session: self.session,
            why: std::mem::take(&mut self.why),
        });
    }
}

fn most_sessions() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let affordable = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(affordable)
        .unwrap_or(usize::MAX)
        .clamp(SESSIONS_LEAST, limits::SESSIONS)
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Says `busy` once, without waiting, in JSON unless the client has already shown that it speaks text.
fn answer_busy(stream: &UnixStream) {
    let mut first = [0];
    let encoding = match stream.try_read(&mut first) {
        Ok(1) if first[0] != b'{' => Encoding::Text,
        Ok(_) | Err(_) => Encoding::Json,
    };
    let mut refusal = Refusal::new(
        ErrorCode::Busy,
        "the daemon has as many clients as it can take; nothing was run; try again in a moment",
    );
    refusal.retry_after = Some(RETRY_AFTER);
    let answer = Answer {
        encoding,
        id: None,
        ack: true,
        body: Body::Error(refusal),
    };
    let mut line = Vec::new();
    codec::encode_answer(&answer, &mut line);
    // It fits into the socket's buffer, or the client is gone.
    let _gone = stream.try_write(&line);
}
