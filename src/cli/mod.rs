//! The command line: one file a command; `output.rs` alone prints.
//!
//! A command is a file with `Args` (what can be typed) and `run` (what is done), and a variant of
//! [`Command`]. It returns how it ended; the failure's words are printed here, once.

mod answers;
mod call;
mod check;
mod checks;
mod completions;
mod control;
mod down;
mod downtime;
mod eval;
mod events;
pub(crate) mod exit;
mod heartbeat;
mod init;
mod list;
mod logs;
mod names;
pub(crate) mod output;
mod params;
mod report;
mod run;
mod shell;
mod status;
mod stock;
mod table;
mod talk;
mod up;
mod version;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::options::value::duration_text;
use crate::paths::Home;
use crate::proto::messages::Verb;

use exit::{Exit, Failure};
use output::{Color, Output};

/// Keeps Lua scripts running: daemon, worker and command line in one.
#[derive(Debug, Parser)]
#[command(name = "moonkeep", version, max_term_width = 100, after_help = AFTER)]
struct Typed {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit codes: 0 ok, 1 failed, 2 usage, 69 no daemon, 70 internal error, 75 busy (nothing ran),
76 outcome unknown (may have run), 124 timed out, 130 interrupted; `check`: 0 to 3 are states, 64 usage.";

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// The home: a folder with moonkeep.toml and scripts/ [default: $MOONKEEP_HOME, the nearest
    /// moonkeep.toml above, the user's own]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// One JSON document on stdout, or one object a line for what comes bit by bit
    #[arg(long, global = true)]
    json: bool,
    /// Longest time for the command: 5s, 1m30s, or seconds
    #[arg(long, global = true, value_name = "TIME", value_parser = duration_text)]
    pub(crate) timeout: Option<Duration>,
    /// Colours
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    color: Color,
    /// Only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// More: tracebacks, what the client does
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Globals {
    pub(crate) fn output(&self) -> Output {
        Output::new(self.color, self.json, self.quiet, self.verbose > 0)
    }

    /// The home that applies.
    ///
    /// # Errors
    /// If the folder that was named is none.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        Home::find(self.home.as_deref())
            .map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))
    }

    /// As it was typed, for commands that start another moonkeep.
    pub(crate) fn named_home(&self) -> Option<&std::path::Path> {
        self.home.as_deref()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home: configuration, a first script, editor types
    Init(init::Args),
    /// Start the daemon, in the foreground or with -d in the background
    Up(up::Args),
    /// Stop the daemon and all scripts, and wait until they are gone
    Down(down::Args),
    /// Show the daemon and its scripts
    Status(status::Args),
    /// List the scripts and their handlers
    List(list::Args),
    /// Call a handler of a script and print its answer
    Call(call::Args),
    /// Start a script, or all
    Start(control::Args),
    /// Stop a script, or all
    Stop(control::Args),
    /// Stop and start a script, or all
    Restart(control::Args),
    /// Serve with a new generation, without losing a request
    Reload(control::Args),
    /// Print the log of a script, or the daemon's
    Logs(logs::Args),
    /// Show what scripts emit, as it happens
    Events(events::Args),
    /// Evaluate Lua inside a script that serves
    Eval(eval::Args),
    /// Talk to the daemon: completion, history, one connection that is kept
    Shell(shell::Args),
    /// Run health checks now, without a daemon
    Check(check::Args),
    /// Show the states of the checks that the daemon keeps
    Checks(checks::Args),
    /// No alerts of a check for a time, or until it is ok again
    Downtime(downtime::Args),
    /// Say for a heartbeat check that its job lives
    Heartbeat(heartbeat::Args),
    /// Run one script in the foreground, without a daemon
    Run(run::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Say the version
    Version(version::Args),
}

/// Runs what was typed.
#[must_use]
pub fn main() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => return said_by_clap(&error).into(),
    };
    let output = typed.globals.output();
    let ended = caught(|| dispatch(&typed.globals, &output, typed.command));
    let exit = ended.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit
    });
    exit.into()
}

/// A fault of ours has its own exit code; its words were printed where it happened.
fn caught(run: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_fault| Err(Failure::silent(Exit::Internal)))
}

fn dispatch(globals: &Globals, output: &Output, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(globals, output, &args),
        Command::Up(args) => up::run(globals, output, &args),
        Command::Down(args) => down::run(globals, output, &args),
        Command::Status(args) => status::run(globals, output, &args),
        Command::List(args) => list::run(globals, output, &args),
        Command::Call(args) => call::run(globals, output, &args),
        Command::Start(args) => control::run(globals, output, Verb::Start, &args),
        Command::Stop(args) => control::run(globals, output, Verb::Stop, &args),
        Command::Restart(args) => control::run(globals, output, Verb::Restart, &args),
        Command::Reload(args) => control::run(globals, output, Verb::Reload, &args),
        Command::Logs(args) => logs::run(globals, output, &args),
        Command::Events(args) => events::run(globals, output, &args),
        Command::Eval(args) => eval::run(globals, output, &args),
        Command::Shell(args) => shell::run(globals, output, &args),
        Command::Check(args) => check::run(globals, output, &args),
        Command::Checks(args) => checks::run(globals, output, &args),
        Command::Downtime(args) => downtime::run(globals, output, &args),
        Command::Heartbeat(args) => heartbeat::run(globals, output, &args),
        Command::Run(args) => run::run(globals, output, &args),
        Command::Completions(args) => completions::run(output, &args),
        Command::Version(args) => version::run(output, &args),
    }
}

/// The command, where what was typed is wrong otherwise.
fn typed_command() -> Option<String> {
    let known = Typed::command();
    std::env::args()
        .skip(1)
        .find(|word| known.find_subcommand(word).is_some())
}

/// Help and version go to stdout, what is wrong to stderr: clap knows which.
fn said_by_clap(error: &clap::Error) -> Exit {
    let _lost = error.print();
    if error.use_stderr() {
        if typed_command().as_deref() == Some("check") {
            check::usage_exit(error)
        } else {
            Exit::Usage
        }
    } else {
        Exit::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //
    #[test]
    fn a_fault_of_ours_ends_the_command_line_with_70() {
        let ended = caught(|| panic!("a fault"));
        assert_eq!(ended.map_err(|failure| failure.exit.code()), Err(70));
        assert_eq!(caught(|| Ok(Exit::Ok)).ok(), Some(Exit::Ok));
    }
}
