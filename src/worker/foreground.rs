//! One script in the foreground, without a daemon: `moonkeep run`.
//!
//! `print` and `io.write` go to standard output, `io.read` reads standard input, the log is standard error.
//! Handlers are registered and never called; events that the script emits are shown on standard error. It ends
//! when the top level has returned and no timer or task is left.

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::LocalSet;

use super::host::start_script;
use super::stage::Top;
use super::{INTERNAL, runtime, sandbox};
use crate::lua::errors::Failure;
use crate::lua::grants::Subject;
use crate::lua::host::{Host, Surroundings};
use crate::lua::state::{Bounds, State, new_state};
use crate::lua::{Context, log};
use crate::proto::ids::{Generation, ScriptName};
use crate::proto::messages::Confinement;

/// Said once, where a script reads and standard input is empty.
const NO_DAEMON: &str = "run has no daemon: io.read hears nothing, for standard input is empty; \
    give it lines, or put the script into scripts/ and start it";

/// Runs a file until it ends, confined as the daemon would confine it. The exit code is 0, or 1 after an error, or
/// what `os.exit` was given. There must be no other thread.
///
/// # Errors
/// If no Lua state can be made, or the sandbox is required and cannot be had.
pub fn run(
    home: &Path,
    path: &Path,
    args: &[String],
    confinement: &Confinement,
) -> anyhow::Result<u8> {
    let context = context(home, path)?;
    let subject = Subject {
        home,
        own: &context.state_dir,
        path,
        exec: false,
    };
    let confined = sandbox::confine_for(confinement, subject, None).map_err(anyhow::Error::msg)?;
    confined.log();
    let runtime = runtime()?;
    let tasks = LocalSet::new();
    let code = tasks.block_on(&runtime, async {
        let host = Host::new(Surroundings::Terminal, None);
        let state = state(&context, &host)?;
        state.lua().set_app_data(Arc::clone(&confined.grants));
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let top = start_script(&host, &state, &path, None, args);
        let feeder = Rc::clone(&host);
        let feed = feed(feeder);
        let wait = async {
            loop {
                if host.reap() {
                    return INTERNAL;
                }
                if let Some(code) = host.leaving() {
                    return u8::try_from(code).unwrap_or(1);
                }
                let end = match &*top.borrow() {
                    Top::Running => None,
                    Top::Returned | Top::Outdated => (!host.is_busy()).then_some(Ok(())),
                    Top::Failed(failure) => Some(Err(failure.clone())),
                };
                match end {
                    Some(end) => return ended(end),
                    None => host.bell.notified().await,
                }
            }
        };
        tokio::select! {
            // `feed` never ends by itself; what it has read lies in the inbox.
            code = wait => Ok::<u8, anyhow::Error>(code),
            never = feed => match never {},
        }
    })?;
    runtime.shutdown_background();
    Ok(code)
}

fn ended(end: Result<(), Failure>) -> u8 {
    match end {
        Ok(()) => 0,
        Err(failure) => {
            log::line("error", &failure.to_string());
            1
        }
    }
}

fn context(home: &Path, path: &Path) -> anyhow::Result<Rc<Context>> {
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let script = ScriptName::new(&stem)
        .or_else(|_| ScriptName::new("script"))
        .map_err(anyhow::Error::msg)?;
    Ok(Rc::new(Context {
        state_dir: home.join("state").join("scripts").join(script.as_str()),
        script,
        generation: Generation(1),
        home: home.to_owned(),
    }))
}

fn state(context: &Rc<Context>, host: &Rc<Host>) -> anyhow::Result<State> {
    let state = new_state(context, Bounds::default())
        .map_err(|error| anyhow::anyhow!("cannot make a Lua state: {error}"))?;
    host.settle(&state);
    Ok(state)
}

/// Brings standard input to the script, from its first `io.read` on; before that it is left alone.
async fn feed(host: Rc<Host>) -> std::convert::Infallible {
    host.inbox.wanted().await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
            if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut heard = false;
    while let Some(bytes) = receiver.recv().await {
        heard = true;
        host.inbox.push(&bytes);
    }
    if !heard {
        // A script that talks to the daemon would else fail at a nil that nothing explains.
        log::line("note", NO_DAEMON);
    }
    host.inbox.end();
    std::future::pending().await
}
