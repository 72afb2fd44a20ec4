//! `moonkeep worker`: hosts one script in its Lua state, the plugins of a worker, or one executable.
//!
//! argv is `moonkeep worker NAME [--exec]`; the first line on standard input is the setup. Standard output is the
//! daemon's: it is moved to a private descriptor at once, and descriptor 1 becomes the log, as 2 is.

use std::process::ExitCode;
use std::rc::Rc;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};

use crate::descendants::Descendants;
use crate::lua::host::Outbox;
use crate::lua::log;
use crate::proto::codec::{self, FromDaemon};
use crate::proto::messages::{ErrorCode, Notice, Refusal, Setup, ToWorker};
use crate::weakenings::Weakened;

mod exec;
pub mod foreground;
mod host;
mod memory;
mod orphan;
mod pipes;
mod plugins;
mod records;
mod sandbox;
mod serving;
mod stage;
mod turn;
mod user;

use memory::Memory;
use pipes::Pipes;
use records::Records;
use sandbox::Confined;

/// The first argument that makes the program a worker.
pub const ROLE: &str = "worker";

/// A fault of moonkeep's own, or a panic.
const INTERNAL: u8 = 70;

/// Runs the worker that argv names, until its script ends or the daemon goes.
#[must_use]
pub fn main() -> ExitCode {
    let code = match start() {
        Ok(code) => code,
        Err(error) => {
            log::line("error", &format!("{error:#}"));
            INTERNAL
        }
    };
    ExitCode::from(code)
}

fn start() -> anyhow::Result<u8> {
    crate::sys::close_what_was_inherited();
    if std::env::args_os().any(|word| word == sandbox::probe::FLAG) {
        return sandbox::probe::run().map(|()| 0);
    }
    let ends = pipes::claim()?;
    let orphan = orphan::Orphan::new(&ends.read)?;
    let mut brood = None;
    let mut keeps_children = false;
    // Its lock is held until nothing of the script is left, so it is dropped last.
    let mut records = Rc::new(Records::nowhere());
    let runtime = runtime()?;
    let tasks = LocalSet::new();
    let code = tasks.block_on(&runtime, async {
        let mut pipes = Pipes::new(ends)?;
        // None: the daemon went away before it said what to run.
        let Some(setup) = setup(&mut pipes).await? else {
            return Ok(0);
        };
        keeps_children = setup.keep_children;
        let _reaping = adopt(&mut brood, keeps_children);
        let weakened = Weakened::from_environment().map_err(anyhow::Error::msg)?;
        records = match Records::open(&setup, weakened).await {
            Ok(records) => Rc::new(records),
            Err(error) => return Ok(not_started(&setup, pipes, &error, INTERNAL).await),
        };
        let memory = Memory::of("self");
        let confined = match restrict(&setup) {
            Ok(confined) => confined,
            Err(error) => {
                return Ok(not_started(&setup, pipes, &error, INTERNAL).await);
            }
        };
        confined.log();
        let code = serve(*setup, pipes, &records, &confined, memory).await?;
        if code != INTERNAL {
            records.close();
        }
        Ok(code)
    });
    runtime.shutdown_background();
    if let Some(brood) = brood {
        brood.end();
    }
    if !keeps_children {
        orphan.bury_group();
    }
    code
}

/// Becomes the parent of whatever the script's programs leave behind, before anything of the script runs; gives the
/// task that reaps the dead of them. Where the kernel cannot do that, the group is all that is killed at the end.
fn adopt(brood: &mut Option<Rc<Descendants>>, keeps_children: bool) -> JoinSet<()> {
    let mut reaping = JoinSet::new();
    if keeps_children {
        return reaping;
    }
    *brood = Descendants::adopt().ok().map(Rc::new);
    if let (Some(brood), Ok(mut deaths)) = (brood.clone(), signal(SignalKind::child())) {
        reaping.spawn_local(async move {
            while deaths.recv().await.is_some() {
                let _some_live = brood.reap();
            }
        });
    }
    reaping
}

/// Gives up what the script is not to have, for good.
fn restrict(setup: &Setup) -> anyhow::Result<Confined> {
    if let Some(user) = &setup.user {
        user::become_user(user)?;
    }
    sandbox::confine(setup).map_err(anyhow::Error::msg)
}

async fn serve(
    setup: Setup,
    pipes: Pipes,
    records: &Rc<Records>,
    confined: &Confined,
    memory: Memory,
) -> anyhow::Result<u8> {
    if setup.exec {
        exec::run(setup, pipes, records, confined).await
    } else if !setup.plugins.is_empty() {
        plugins::run(setup, pipes, records, confined, memory).await
    } else {
        host::run(setup, pipes, records, confined, memory).await
    }
}

/// Tells daemon and log why the script cannot be started; gives the exit code back.
async fn not_started(setup: &Setup, mut daemon: Pipes, error: &anyhow::Error, code: u8) -> u8 {
    log::line("error", &format!("{}: {error:#}", setup.script));
    let outbox = Outbox::default();
    let refusal = Refusal::new(ErrorCode::ScriptError, format!("{error:#}"));
    outbox.push(|out| codec::encode_notice(&Notice::Failed { refusal }, out));
    daemon.flush(&outbox).await;
    code
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The first line.
async fn setup(pipes: &mut Pipes) -> anyhow::Result<Option<Box<Setup>>> {
    let Some(line) = pipes.first_line().await? else {
        return Ok(None);
    };
    match codec::decode_daemon(&line) {
        Ok(FromDaemon::Message(ToWorker::Setup(setup))) => {
            limit_files(setup.files);
            Ok(Some(setup))
        }
        Ok(_) => anyhow::bail!(
            "the first line was no setup: `moonkeep worker` is started by the daemon, not by hand; use `moonkeep run FILE`"
        ),
        Err(why) => anyhow::bail!(
            "{why}; `moonkeep worker` is started by the daemon, not by hand; use `moonkeep run FILE`"
        ),
    }
}

/// `limits.files`. A lower limit of the system's stays as it is.
fn limit_files(files: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limit = files.min(most);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    );
}
