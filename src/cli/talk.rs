//! One command's conversation with the daemon: connect, ask, Ctrl-C, and the words for what goes wrong.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use crate::client::wire::{Client, ConnectOptions, RequestOptions};
use crate::client::{Failure as Broken, Notice, Sent};
use crate::daemon::{self, Holder, StartFailure};
use crate::paths::Home;
use crate::proto::ids::RequestId;
use crate::proto::messages::{Body, Command, Encoding, Payload};
use crate::scripts;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::up::{no_home, not_started};

pub(crate) use crate::client::Patience;

/// How long a command waits for a daemon that is just starting.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) command: Command,
    pub(crate) id: RequestId,
    pub(crate) timeout: Option<Duration>,
    pub(crate) patience: Patience,
    pub(crate) encoding: Encoding,
}

impl Ask {
    /// To be answered by a daemon that runs already.
    pub(crate) fn now(command: Command, timeout: Option<Duration>) -> Self {
        Ask {
            command,
            id: fresh_id(),
            timeout,
            patience: Patience::None,
            encoding: Encoding::Json,
        }
    }
}

/// A UUIDv7: an idempotency key.
pub(crate) fn fresh_id() -> RequestId {
    RequestId::from_uuid(Uuid::now_v7())
}

/// The end of an answer, and whether Ctrl-C was pressed before it.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) body: Body,
    interrupted: bool,
}

impl End {
    /// What was shown decides how the command ends, unless it was interrupted.
    pub(crate) fn exit(&self, shown: Result<Exit, Failure>) -> Result<Exit, Failure> {
        if !self.interrupted {
            return shown;
        }
        shown.map(|_| Exit::Interrupted).map_err(|failure| Failure {
            exit: Exit::Interrupted,
            ..failure
        })
    }
}

/// Whether a command may start the daemon, where `autostart` is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    IfConfigured,
    Never,
}

/// A connection to the daemon of a home.
pub(crate) struct Talk<'a> {
    output: &'a Output,
    home: Home,
    client: Client,
    notices: Option<Receiver<Notice>>,
    interrupts: Signal,
    start: Start,
}

/// Runs one command's conversation, and says `bye` at its end.
///
/// # Errors
/// The command's own, and if the system gives no event queue.
pub(crate) fn converse(
    globals: &Globals,
    output: &Output,
    start: Start,
    command: impl AsyncFnOnce(&mut Talk<'_>) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let home = globals.home()?;
    let options = ConnectOptions::new(daemon::locate(&home));
    converse_with(output, home, options, start, command)
}

/// As [`converse`], with a client of the caller's choice.
pub(crate) fn converse_with(
    output: &Output,
    home: Home,
    options: ConnectOptions,
    start: Start,
    command: impl AsyncFnOnce(&mut Talk<'_>) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| no_queue(&error))?;
    runtime.block_on(async {
        let mut talk = Talk::new(output, home, options, start)?;
        let ended = command(&mut talk).await;
        talk.client.close().await;
        ended
    })
}

fn no_queue(error: &std::io::Error) -> Failure {
    let text = format!("the system has no event queue for us: {error}. Raise `ulimit -n`");
    Failure::new(Exit::Failed, text)
}

impl<'a> Talk<'a> {
    /// Connects when something is asked.
    fn new(
        output: &'a Output,
        home: Home,
        options: ConnectOptions,
        start: Start,
    ) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt()).map_err(|error| no_queue(&error))?;
        let mut client = Client::connect(options);
        let notices = client.notices();
        Ok(Talk {
            output,
            home,
            client,
            notices,
            interrupts,
            start,
        })
    }

    /// What happens to the connection, for people. Cancel safe.
    pub(crate) async fn notice(&mut self) -> Notice {
        match next_notice(&mut self.notices).await {
            Some(notice) => notice,
            None => {
                self.notices = None;
                std::future::pending().await
            }
        }
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks, hands each piece before the end to `each`, and returns the end.
    ///
    /// The first Ctrl-C cancels the request at the daemon, the second leaves.
    ///
    /// # Errors
    /// If no answer comes, or `each` fails.
    pub(crate) async fn ask(
        &mut self,
        ask: Ask,
        each: &mut dyn FnMut(&Body) -> Result<(), Failure>,
    ) -> Result<End, Failure> {
        if self.start == Start::IfConfigured && !daemon::locate(&self.home).exists() {
            self.autostart()?;
        }
        let id = ask.id.clone();
        match self.try_ask(ask.clone(), each).await? {
            Ok(end) => Ok(end),
            Err(Broken::Unavailable { sent: Sent::No, .. }) if self.comes_soon()? => {
                let patient = Ask {
                    patience: Patience::For(START_PATIENCE),
                    ..ask
                };
                let again = self.try_ask(patient, each).await?;
                again.map_err(|broken| self.words(broken, &id))
            }
            Err(broken) => Err(self.words(broken, &id)),
        }
    }

    /// Asks for one result, without parts.
    ///
    /// # Errors
    /// If no answer comes, or a refusal.
    pub(crate) async fn result(&mut self, ask: Ask) -> Result<Payload, Failure> {
        result_of(self.ask(ask, &mut |_| Ok(())).await?)
    }

    /// Asks for one result whose parts have the shape of the whole.
    ///
    /// # Errors
    /// As [`Talk::result`].
    pub(crate) async fn pieces(&mut self, ask: Ask) -> Result<Vec<Payload>, Failure> {
        let mut pieces = Vec::new();
        let end = self
            .ask(ask, &mut |body| {
                if let Body::Part(payload) = body {
                    pieces.push(payload.clone());
                }
                Ok(())
            })
            .await?;
        pieces.push(result_of(end)?);
        Ok(pieces)
    }

    /// Waits for a Ctrl-C. Cancel safe: one that nobody waited for is there the next time.
    pub(crate) async fn interrupted(&mut self) {
        self.interrupts.recv().await;
    }

    async fn try_ask(
        &mut self,
        ask: Ask,
        each: &mut dyn FnMut(&Body) -> Result<(), Failure>,
    ) -> Result<Result<End, Broken>, Failure> {
        let options = RequestOptions {
            id: Some(ask.id),
            timeout: ask.timeout,
            patience: ask.patience,
            encoding: ask.encoding,
        };
        let mut answer = self.client.request(ask.command, options);
        let mut interrupted = false;
        loop {
            tokio::select! {
                biased;
                // Cancel safe: a piece that was not taken stays in its channel.
                piece = answer.next() => match piece {
                    Some(Ok(body)) if body.is_end() => return Ok(Ok(End { body, interrupted })),
                    Some(Ok(body)) => each(&body)?,
                    Some(Err(broken)) => return Ok(Err(broken)),
                    None => return Ok(Err(Broken::Closed)),
                },
                // Cancel safe: as `interrupted`.
                _ = self.interrupts.recv() => {
                    if interrupted {
                        return Err(Failure::silent(Exit::Interrupted));
                    }
                    interrupted = true;
                    answer.cancel();
                }
                // Cancel safe: a channel's recv.
                Some(notice) = next_notice(&mut self.notices) => self.tell(&notice),
            }
        }
    }

    fn tell(&self, notice: &Notice) {
        let (text, important) = words_of(notice);
        if important {
            self.output.warn(&text);
        } else if self.output.verbose {
            self.output.note(&text);
        }
    }

    /// Whether a daemon that cannot be reached now will be: it is starting, or we start it.
    fn comes_soon(&self) -> Result<bool, Failure> {
        if self.start == Start::IfConfigured && self.autostart()? {
            return Ok(true);
        }
        Ok(daemon::holder(&self.home) == Some(Holder::Starting))
    }

    /// Starts the daemon, if that is configured; of many who try at once, one does.
    fn autostart(&self) -> Result<bool, Failure> {
        let wanted = scripts::load_config(&self.home).is_ok_and(|config| config.autostart);
        if !wanted {
            return Ok(false);
        }
        match daemon::detach(&self.home) {
            Ok(_) | Err(StartFailure::Starting | StartFailure::Running { .. }) => Ok(true),
            // Somebody else was faster, and may be so fast that he serves already.
            Err(_) if daemon::holder(&self.home).is_some() => Ok(true),
            Err(failure) => Err(not_started(failure)),
        }
    }

    /// What went wrong, as the user reads it.
    fn words(&self, broken: Broken, id: &RequestId) -> Failure {
        let mut text = broken.to_string();
        if let Broken::Unavailable { sent, .. }
        | Broken::TimedOut { sent }
        | Broken::Cancelled { sent } = &broken
            && *sent == Sent::MayHaveRun
        {
            text = format!("{text} (--id {id})");
        }
        match broken {
            Broken::Unavailable {
                why,
                sent: Sent::No | Sent::Harmless,
            } => self.unavailable(&why),
            Broken::Unavailable {
                sent: Sent::MayHaveRun,
                ..
            } => Failure::new(Exit::Unavailable, text),
            Broken::TimedOut { .. } => Failure::new(Exit::TimedOut, text),
            Broken::Cancelled { .. } => Failure::new(Exit::Interrupted, text),
            Broken::Closed => Failure::new(
                Exit::Internal,
                "the connection ended by a fault of moonkeep; please report what stands above",
            ),
            Broken::IdInUse | Broken::Overrun => Failure::new(Exit::Failed, text),
        }
    }

    /// Nobody answers. What a dead daemon has left is cleaned up on the way.
    pub(crate) fn unavailable(&self, why: &str) -> Failure {
        let home = self.home.root().display();
        let socket = daemon::locate(&self.home);
        let text = match daemon::holder(&self.home) {
            Some(Holder::Running { pid, .. }) if !socket.exists() => format!(
                "the daemon of {home} (pid {pid}) has its socket elsewhere than {}. Set XDG_RUNTIME_DIR as it was when the daemon was started",
                socket.display()
            ),
            Some(Holder::Running { pid, .. }) => format!(
                "the daemon of {home} (pid {pid}) does not answer at {}: {why}. See what it does with: moonkeep logs",
                socket.display()
            ),
            Some(Holder::Starting) => {
                format!("the daemon of {home} is still starting. Wait a moment and try again")
            }
            None if !self.home.is_one() => {
                format!("Daemon not running: {}", no_home(&self.home))
            }
            None => {
                let stale = match daemon::clean_stale(&self.home) {
                    Some(_) => " (stale PID cleaned up)",
                    None => "",
                };
                format!(
                    "Daemon not running{stale}: nobody serves {home} at {}. Start it with: moonkeep{} up -d",
                    socket.display(),
                    self.home_option()
                )
            }
        };
        Failure::new(Exit::Unavailable, text)
    }

    /// What must be typed for this home to apply.
    fn home_option(&self) -> String {
        match Home::find(None) {
            Ok(found) if found == self.home => String::new(),
            Ok(_) | Err(_) => {
                let root = self.home.root().to_string_lossy();
                format!(" --home {}", shell_words::quote(&root))
            }
        }
    }
}

fn result_of(end: End) -> Result<Payload, Failure> {
    match end.body {
        Body::Ok { .. } | Body::Error(_) if end.interrupted => {
            Err(Failure::silent(Exit::Interrupted))
        }
        Body::Ok { result, .. } => Ok(result),
        Body::Error(refusal) => Err(Failure::refused(&refusal)),
        Body::Part(_) | Body::Accepted | Body::Running => Ok(Payload::Empty),
    }
}

/// Waits for ever where nobody tells. Cancel safe.
async fn next_notice(notices: &mut Option<Receiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => std::future::pending().await,
    }
}

/// A notice for people, and whether it is told without being asked for.
pub(crate) fn words_of(notice: &Notice) -> (String, bool) {
    match notice {
        Notice::Up { daemon, again } => {
            let how = if *again {
                "Connected again"
            } else {
                "Connected"
            };
            (
                format!("{how} to the moonkeep daemon (UUID: {daemon})"),
                false,
            )
        }
        Notice::Restarted { old, new } => (
            format!("the daemon was restarted: its UUID was {old}, now it is {new}"),
            true,
        ),
        Notice::PingMissed { missed, of } => (
            format!("the daemon has not answered {missed} of {of} pings"),
            false,
        ),
        Notice::Dead { missed } => (
            format!("the daemon does not answer: {missed} pings in a row were lost. Trying again"),
            true,
        ),
        Notice::Lost { why } => (
            format!("the connection was lost: {why}. Trying again"),
            false,
        ),
        Notice::Unreachable { why } => (format!("no daemon answers: {why}"), false),
        Notice::Said(refusal) => (format!("the daemon says: {}", refusal.message), true),
    }
}
