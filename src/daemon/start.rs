//! From nothing to a daemon that serves, and back.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::runtime::LocalOptions;
use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::accept::Gate;
use super::checkbook::{Checkbook, Opened, Progress};
use super::child::Nursery;
use super::claim::{Claim, Released};
use super::clock;
use super::core::{Core, Laggard};
use super::deliveries::Deliveries;
use super::http::{self, Desk};
use super::inbox::Inbox;
use super::journal::{self, Held};
use super::lane::Scratch;
use super::logs::{self, Logs};
use super::perform::{Estate, Hands, Settled};
use super::signals::Signals;
use super::trace;
use super::transcript::Transcript;
use super::undertaker::{Doubt, Undertaker};
use super::{StartFailure, systemd, watch};
use crate::engine::Engine;
use crate::engine::alphabet::{Identity, Input, Level};
use crate::monitor::alphabet as monitor;
use crate::paths::Home;
use crate::proto::ids::DaemonId;
use crate::sys;
use crate::weakenings::Weakened;

/// Threads that read files at the same time.
const READERS: usize = 4;
/// How long such a thread waits for more to do.
const READER_REST: Duration = Duration::from_secs(1);
/// Open files that are asked for, if the system allows as many.
const DESCRIPTORS: u64 = 65_536;

/// How a daemon is to run.
pub struct RunOptions {
    /// Show the daemon's log on standard error too, if that is a terminal.
    pub echo: bool,
    /// Called once, when the first generation of every script is ready or has failed.
    pub on_ready: Box<dyn FnOnce(&Report)>,
}

/// What a daemon that has started says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub pid: u32,
    pub uuid: DaemonId,
    pub home: PathBuf,
    pub socket: PathBuf,
    /// Scripts that serve.
    pub ready: usize,
    /// Scripts that do not; `status` says why.
    pub failed: usize,
}

/// Is the daemon of `home`, until it is told to stop. Blocks the calling thread, which must not be in a runtime.
///
/// # Errors
/// If it could not start: another one has the home, or what is in the way.
pub fn run(home: &Home, options: RunOptions) -> Result<(), StartFailure> {
    sys::keep_descriptors_to_ourselves().context("cannot read /proc/self/fd; is /proc mounted?")?;
    let daemon = DaemonId(Uuid::now_v7());
    let claim = Claim::take(home, daemon)?;
    raise_descriptor_limit();
    leave_no_core();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .thread_keep_alive(READER_REST)
        .build_local(LocalOptions::default())
        .context("the system has no event queue for us; raise `ulimit -n`")?;
    let released = runtime.block_on(serve(home, claim, identity(home, daemon), options))?;
    drop(runtime);
    drop(released);
    Ok(())
}

async fn serve(
    home: &Home,
    claim: Claim,
    identity: Identity,
    options: RunOptions,
) -> anyhow::Result<Option<Released>> {
    // First of all, so that a signal during the start ends it in order.
    let signals = Signals::listen().context("cannot listen to signals")?;
    let (logs, log_thread) =
        logs::start(home, options.echo).context("cannot start a thread; see `ulimit -u`")?;
    let inbox = Rc::new(Inbox::default());
    let scratch = Scratch::new();
    let weakened = Weakened::from_environment().map_err(anyhow::Error::msg)?;
    let opened = journal::open(home)?;
    inbox.push(Input::Recovered(Box::new(opened.recovered)));
    let checkbook = open_checkbook(home, &inbox, &logs);
    let gate = Gate::open(claim, Rc::clone(&inbox), logs.clone(), scratch.clone())?;
    let (watch, watchman, http) = watch::start(home, &inbox, &logs);
    let desk = Desk::new(&inbox);
    logs.note(Level::Info, hello(&identity));
    let doubt = Doubt::default();
    let undertaker = Undertaker::new(home, doubt.clone(), logs.clone());
    let undertaker = undertaker.ok().map(Rc::new);
    let mut tasks = JoinSet::new();
    let estate = inherit(opened.held, opened.read, &inbox, &logs, &mut tasks);
    let progress = checkbook.progress();
    let core = Core {
        transcript: Transcript::from_environment(&identity)?,
        traced: trace::wanted(),
        born: Instant::now(),
        hands: Hands {
            home: home.clone(),
            inbox: Rc::clone(&inbox),
            logs: logs.clone(),
            scratch,
            sessions: gate.sessions(),
            workers: std::collections::HashMap::new(),
            nursery: Nursery::new(home, identity.daemon, doubt)?,
            watch: watch.clone(),
            deliveries: Deliveries::new(http.clone()),
            desk: Rc::clone(&desk),
            tasks,
            journal: opened.journal,
            checkbook,
            estate,
            unflushed: Vec::new(),
        },
        engine: Engine::new(identity.clone()).weakened(weakened),
        laggard: Laggard::new(weakened),
    };
    let stop = Rc::new(Notify::new());
    let mut gates = JoinSet::new();
    gates.spawn_local(keep_gate(gate, Rc::clone(&stop)));
    let mut senses = JoinSet::new();
    senses.spawn_local(signals.pass_on(Rc::clone(&inbox), watch));
    senses.spawn_local(watchman.run());
    senses.spawn_local(http::Listener::new(http, desk, &inbox, &logs).run());
    senses.spawn_local(hear_checkbook(progress, Rc::clone(&inbox), logs.clone()));
    if let Some(undertaker) = undertaker.clone() {
        senses.spawn_local(undertaker.run());
    }

    let hands = run_to_its_end(core, reporter(identity, options.on_ready)).await?;

    systemd::notify("STOPPING=1");
    logs.note(Level::Info, "stopped");
    senses.shutdown().await;
    lay_down(hands, undertaker).await;
    log_thread.finish(logs).await;
    stop.notify_one();
    let released = gates.join_next().await.and_then(Result::ok);
    Ok(released)
}

/// Hands in what is kept of the checks, and what time it is.
fn open_checkbook(home: &Home, inbox: &Inbox, logs: &Logs) -> Checkbook {
    let (checkbook, Opened { kept, note }) = Checkbook::open(home);
    if let Some(note) = note {
        logs.note(Level::Error, note);
    }
    let restored = monitor::Input::Restored(Box::new(kept));
    inbox.push(Input::Monitor(restored));
    inbox.push(clock::now());
    checkbook
}

/// Passes on how far the checkbook is. Its fault is told once, and its end.
async fn hear_checkbook(mut progress: Receiver<Progress>, inbox: Rc<Inbox>, logs: Logs) {
    let mut told = None;
    while progress.changed().await.is_ok() {
        let Progress { count, fault } = progress.borrow_and_update().clone();
        match (&fault, &told) {
            (Some(fault), None) => logs.note(Level::Error, fault.as_str()),
            (None, Some(_)) => logs.note(Level::Info, "the states of the checks are kept again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        told = fault;
        inbox.push(Input::Kept { count });
    }
}

/// Closes what is kept, and ends whatever was begun for the home. The undertaker comes last: a delivery that is cut
/// short may leave its hook's program to us.
async fn lay_down(mut hands: Hands, undertaker: Option<Rc<Undertaker>>) {
    hands.journal.close();
    hands.checkbook.close();
    hands.tasks.shutdown().await;
    if let Some(undertaker) = undertaker {
        undertaker.clear().await;
    }
}

/// Tells, once, that every script has settled.
fn reporter(identity: Identity, on_ready: Box<dyn FnOnce(&Report)>) -> impl FnMut(Settled) {
    let mut on_ready = Some(on_ready);
    move |settled| {
        if let Some(on_ready) = on_ready.take() {
            on_ready(&report_of(&identity, settled));
            systemd::notify("READY=1");
        }
    }
}

/// Runs the core, in a task like the lanes, not in the future that the runtime blocks on: that one is polled only
/// after a look at the kernel's events, which would cost a system call for every batch.
async fn run_to_its_end(
    mut core: Core,
    report: impl FnMut(Settled) + 'static,
) -> anyhow::Result<Hands> {
    let mut cores = JoinSet::new();
    cores.spawn_local(async move {
        core.run(report).await;
        core.hands
    });
    let hands = cores.join_next().await.context("the core was spawned")?;
    hands.context("the core failed; please report it")
}

/// Waits in the background for the workers of earlier daemons that still run.
fn inherit(
    held: Vec<Held>,
    read: Vec<PathBuf>,
    inbox: &Rc<Inbox>,
    logs: &Logs,
    tasks: &mut JoinSet<()>,
) -> Estate {
    let mut estate = Estate {
        read,
        held: HashMap::new(),
    };
    for held in held {
        estate
            .held
            .insert(held.script.clone(), held.records().to_vec());
        let (inbox, logs) = (Rc::clone(inbox), logs.clone());
        tasks.spawn_local(async move {
            let outcomes = held.wait(|text| logs.note(Level::Warn, text)).await;
            inbox.push(Input::Freed {
                script: held.script,
                outcomes,
            });
        });
    }
    estate
}

fn report_of(identity: &Identity, settled: Settled) -> Report {
    Report {
        pid: identity.pid,
        uuid: identity.daemon,
        home: identity.home.clone(),
        socket: identity.socket.clone(),
        ready: settled.ready,
        failed: settled.failed,
    }
}

/// Takes connections until it is told to stop, then lets the last answers out and clears our files away.
async fn keep_gate(mut gate: Gate, stop: Rc<Notify>) -> Released {
    tokio::select! {
        // Cancel safe: a session that was admitted has a task of its own.
        () = gate.run() => {}
        // Cancel safe: a stop that nobody waited for is remembered.
        () = stop.notified() => {}
    }
    gate.close().await
}

fn identity(home: &Home, daemon: DaemonId) -> Identity {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Identity {
        daemon,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        home: home.root().to_owned(),
        socket: home.runtime().socket(),
        seed: daemon.0.as_u64_pair().1,
        started_unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        is_roots: rustix::process::geteuid().is_root(),
    }
}

fn hello(identity: &Identity) -> String {
    format!(
        "moonkeep {} serves {} (pid {}, uuid {})",
        identity.version,
        identity.home.display(),
        identity.pid,
        identity.daemon
    )
}

/// What is in our memory, and in that of the workers, who inherit it, never lies in a file.
fn leave_no_core() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Lowering is always granted.
    let _granted = setrlimit(Resource::Core, none);
}

/// As many open files as we may have: each session and each worker takes some.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        // The gate takes fewer sessions then.
        let _refused = setrlimit(Resource::Nofile, raised);
    }
}
