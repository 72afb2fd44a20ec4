//! Running health checks once, rendering their results. Needs no daemon, prints nothing.
//!
//! [`catalogue`] says which plugins there are, [`suite`] loads them and chooses, [`run`] runs what was chosen,
//! [`result`](crate::monitor::result) is what comes out; [`text`], [`json`], [`junit`], [`tap`], [`nagios`], [`prometheus`] and
//! [`blackbox`] render it.

pub mod blackbox;
pub mod catalogue;
pub mod columns;
mod command;
mod globals;
pub mod groups;
pub mod json;
pub mod junit;
pub mod loading;
mod memory;
pub mod nagios;
pub mod options;
pub mod params;
pub mod plugin;
pub mod probe;
pub mod prometheus;
pub mod resident;
pub mod run;
pub mod section;
mod select;
pub mod stock;
pub mod suite;
pub mod tap;
pub mod text;

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::options::{Config, SandboxMode, Settings, header};
use crate::paths::Home;
use crate::proto::messages::Allow;

use crate::monitor::result::{Outcome, Report};
use catalogue::Instance;
use loading::{Loaded, Place};
use suite::{Request, Suite};

/// LuaLS annotations of the globals that plugins have.
pub const TYPES: &str = include_str!("types.lua");

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What was asked for does not exist, or makes no sense.
    Usage(String),
    /// A signal: every check was ended, its commands killed.
    Interrupted,
    /// The system has not even what a runtime needs.
    Failed(String),
}

/// Loads the checks of a home and runs what `request` chooses. `done` hears of each outcome as it comes, and of the
/// number of checks before the first.
///
/// # Errors
/// See [`Stop`].
pub fn check(
    home: &Home,
    config: &Config,
    request: &Request,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Report, Stop> {
    within(async {
        let suite = Suite::load(home, config, request)
            .await
            .map_err(Stop::Usage)?;
        // The process ends soon: taking a hundred Lua states apart would cost more than making them did.
        let suite = ManuallyDrop::new(suite);
        let chosen = suite.select(&request.words).map_err(Stop::Usage)?;
        for line in &suite.said {
            progress(Progress::Said(line));
        }
        let names = chosen.iter().map(|at| suite.entries[*at].name.as_str());
        progress(Progress::Chosen(&names.collect::<Vec<_>>()));
        let progress = RefCell::new(progress);
        let run = run::run(&suite, &chosen, request.timeout, |outcome| {
            (progress.borrow_mut())(Progress::Done(outcome));
        });
        Ok(told_the_time(run, || (progress.borrow_mut())(Progress::Waiting)).await)
    })
}

/// Loads the checks of a home and runs none.
///
/// # Errors
/// See [`Stop`].
pub fn load(home: &Home, config: &Config, request: &Request) -> Result<Suite, Stop> {
    within(async {
        Suite::load(home, config, request)
            .await
            .map_err(Stop::Usage)
    })
}

/// What happens while checks run.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A plugin's file printed this.
    Said(&'a str),
    /// The checks of these names will run.
    Chosen(&'a [&'a str]),
    Done(&'a Outcome),
    /// A little time has passed, and some still run.
    Waiting,
}

/// Between two [`Progress::Waiting`].
const TELL_EVERY: Duration = Duration::from_millis(100);

async fn told_the_time<T>(work: impl Future<Output = T>, mut tell: impl FnMut()) -> T {
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.reset();
    loop {
        tokio::select! {
            biased;
            // Cancel safe: it is only borrowed, and goes on in the next round.
            ended = &mut work => return ended,
            // Cancel safe: a tick that is not taken comes at once the next time.
            _ = ticks.tick() => tell(),
        }
    }
}

/// Drives the work on this thread until it ends or a signal comes.
fn within<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::Failed(format!("cannot start: {error}; close other programs")))?;
    let local = LocalSet::new();
    let ended = local.block_on(&runtime, async {
        tokio::select! {
            // Cancel safe: its loss ends every check, which is what a signal asks for.
            ended = work => ended,
            // Cancel safe: signals that come later find no listener and end the program.
            () = asked_to_stop() => Err(Stop::Interrupted),
        }
    });
    leave(local, runtime);
    ended
}

/// A helper thread may hang in a system call for ever, on a dead network disk for one: it is left behind.
fn leave(local: LocalSet, runtime: Runtime) {
    drop(local);
    runtime.shutdown_background();
}

async fn asked_to_stop() {
    let listen = |kind| signal(kind).ok();
    let (interrupt, terminate, hangup) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    );
    let (Some(mut interrupt), Some(mut terminate), Some(mut hangup)) =
        (interrupt, terminate, hangup)
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        // Cancel safe, all three: a signal that is not taken stays noted.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// A plugin as `check help` tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    pub stem: String,
    pub file: String,
    /// The comment at the file's beginning.
    pub summary: String,
    pub params: Vec<params::Declared>,
    /// What its header allows it; `None`: it is not confined.
    pub allow: Option<Allow>,
}

/// Describes the plugin of that name: the home's own, else the binary's; or a file.
///
/// # Errors
/// See [`Stop`].
pub fn describe(home: &Home, word: &str) -> Result<Description, Stop> {
    let found = catalogue::find(home, word).map_err(Stop::Usage)?;
    let text = found.source.read().map_err(Stop::Usage)?;
    let mut settings = Settings::default();
    header::apply_to_plugin(&text, &mut settings)
        .map_err(|fault| Stop::Usage(fault.in_file(Path::new(&found.shown))))?;
    let bare = Instance {
        sections: Vec::new(),
        ..found.clone()
    };
    let none = std::collections::BTreeMap::new();
    let place = Place::Home(home.root());
    let plugin = within(async {
        let mut loaded = loading::load_all(place, &[bare], &none).await;
        match loaded.remove(0) {
            Loaded::Plugin(plugin) => match plugin.broken {
                Some(failure) => Err(Stop::Usage(failure.to_string())),
                None => Ok(plugin),
            },
            Loaded::Failed(failure) => Err(Stop::Usage(failure.to_string())),
            Loaded::Refused(why) => Err(Stop::Usage(why)),
            Loaded::Outdated => Err(Stop::Usage(format!(
                "{} was changed while it was read; try again",
                found.shown
            ))),
        }
    })?;
    Ok(Description {
        stem: found.source.stem().to_owned(),
        file: found.shown,
        summary: summary(&String::from_utf8_lossy(&text)),
        params: plugin.params,
        allow: (settings.sandbox != Some(SandboxMode::Off)).then_some(settings.allow),
    })
}

/// The comment at the beginning, without the header for moonkeep.
fn summary(text: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| line.starts_with("#!"))
        .map_while(|line| line.strip_prefix("--"))
        .map(str::trim);
    let mut in_header = false;
    let mut kept = Vec::new();
    for line in lines {
        match line {
            "/// moonkeep" => in_header = true,
            "///" if in_header => in_header = false,
            line if !in_header => kept.push(line),
            _ => {}
        }
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_types_are_lua_and_name_every_module() {
        let lua = mlua::Lua::new();
        lua.load(TYPES).exec().expect("good Lua");
        let core = "moonkeep";
        for module in crate::lua::MODULES
            .iter()
            .filter(|module| module.name != core)
        {
            let line = format!("---@type {}.Module\n", module.name);
            assert!(TYPES.contains(&line), "{line}");
        }
    }

    #[test]
    fn a_summary_is_the_comment_at_the_beginning() {
        let text = "-- One.\n--  Two.\nlocal x\n-- three";
        assert_eq!(summary(text), "One.\nTwo.");
        assert_eq!(summary("local x"), "");
        let text = "-- One.\n-- /// moonkeep\n-- env.A = \"b\"\n-- ///\n-- Two.\n";
        assert_eq!(summary(text), "One.\nTwo.");
    }
}
