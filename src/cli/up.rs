//! `moonkeep up [-d]`: the daemon, in the foreground or in the background.

use crate::daemon::{self, Report, RunOptions, StartFailure};
use crate::paths::Home;
use crate::proto::messages::Command;
use crate::scripts;

use super::Globals;
use super::answers;
use super::exit::{Exit, Failure};
use super::output::{Output, Paint};
use super::report::Status;
use super::talk::{Ask, Start, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// In the background: returns when the scripts are ready
    #[arg(short, long)]
    detach: bool,
}

pub(crate) fn run(globals: &Globals, output: &Output, args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    if !home.is_one() {
        return Err(Failure::new(Exit::Failed, no_home(&home)));
    }
    // Later a faulty file keeps the one before; now there is none, and defaults could allow too much.
    scripts::load_config(&home).map_err(|fault| Failure::new(Exit::Failed, fault))?;
    if args.detach {
        background(globals, output, &home)
    } else {
        foreground(output, &home)
    }
}

/// The folder exists, but nothing in it says that scripts should run here.
pub(crate) fn no_home(home: &Home) -> String {
    let root = home.root();
    format!(
        "{} is no home: it has neither moonkeep.toml nor scripts/. Create one with: moonkeep init {}",
        root.display(),
        shell_words::quote(&root.to_string_lossy())
    )
}

fn foreground(output: &Output, home: &Home) -> Result<Exit, Failure> {
    let told = output.clone();
    let options = RunOptions {
        echo: !output.quiet,
        on_ready: Box::new(move |report| {
            // Nobody may read stdout; the daemon runs all the same.
            let _unread = tell(&told, report, None);
            told.note("Ctrl-C stops it.");
        }),
    };
    daemon::run(home, options).map_err(not_started)?;
    Ok(Exit::Ok)
}

fn background(globals: &Globals, output: &Output, home: &Home) -> Result<Exit, Failure> {
    let report = daemon::detach(home).map_err(not_started)?;
    // The daemon runs; that its scripts cannot be shown is no failure of the start.
    let mut status = None;
    if report.failed > 0 {
        let _unseen = converse(globals, &output.quietly(), Start::Never, async |talk| {
            let result = talk.result(Ask::now(Command::Status, None)).await?;
            status = answers::read::<Status>(&result).ok();
            Ok(Exit::Ok)
        });
    }
    tell(output, &report, status.as_ref())?;
    Ok(Exit::Ok)
}

/// Why there is no new daemon, in the words of the documentation.
pub(crate) fn not_started(failure: StartFailure) -> Failure {
    match failure {
        StartFailure::Starting | StartFailure::Running { .. } => {
            Failure::new(Exit::Failed, failure.to_string())
        }
        StartFailure::Failed(error) => Failure::from(error),
    }
}

fn tell(output: &Output, report: &Report, status: Option<&Status>) -> Result<(), Failure> {
    if output.json {
        return output.json(report);
    }
    if output.quiet {
        return Ok(());
    }
    let running = output.paint(Paint::Good, "running");
    output.line(&format!(
        "moonkeep is {running} (pid {}, uuid {})",
        report.pid, report.uuid
    ))?;
    let home = report.home.display().to_string();
    output.line(&format!("home: {}", output.shown(&home)))?;
    output.line(&format!(
        "scripts: {} ready, {} failed",
        report.ready, report.failed
    ))?;
    let failed = status.map_or(&[][..], |status| &status.scripts);
    for script in failed.iter().filter(|script| script.last_error.is_some()) {
        let error = script.last_error.as_deref().unwrap_or(&script.state);
        let name = output.paint(Paint::Bad, &script.name);
        output.line(&format!("  {name}: {}", output.shown(error.trim_end())))?;
    }
    if report.ready + report.failed == 0 {
        let scripts = report.home.join("scripts").display().to_string();
        output.note(&format!(
            "No scripts yet. Put a .lua file or an executable into {scripts}"
        ));
    }
    if report.failed > 0 && status.is_none() {
        output.note("What is wrong says: moonkeep status");
    }
    Ok(())
}
