//! `moonkeep down`: stops the daemon and waits until it is gone.

use std::time::Duration;

use tokio::time::Instant;

use crate::daemon;
use crate::paths::Home;
use crate::proto::messages::Command;

use super::Globals;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::talk::{Ask, Start, Talk, converse};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Between two looks whether it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// After which it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(globals: &Globals, output: &Output, _args: &Args) -> Result<Exit, Failure> {
    let home = globals.home()?;
    converse(globals, output, Start::Never, async |talk| {
        talk.result(Ask::now(Command::Shutdown, globals.timeout))
            .await?;
        wait_until_gone(globals, output, &home, talk).await?;
        if output.json {
            output.json(&serde_json::json!({ "stopped": true, "home": home.root() }))?;
        } else {
            output.line("moonkeep has stopped")?;
        }
        Ok(Exit::Ok)
    })
}

/// Ctrl-C asks once more, which makes the daemon skip the scripts' grace; the next one leaves.
async fn wait_until_gone(
    globals: &Globals,
    output: &Output,
    home: &Home,
    talk: &mut Talk<'_>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let deadline = globals.timeout.map(|limit| begun + limit);
    let mut said = false;
    let mut forced = false;
    while is_there(home) {
        tokio::select! {
            // Cancel safe: a timer.
            () = tokio::time::sleep(LOOK_EVERY) => {}
            // Cancel safe: a signal that was not taken is there the next time.
            () = talk.interrupted() => {
                if forced {
                    return Err(Failure::silent(Exit::Interrupted));
                }
                forced = true;
                output.note("stopping at once; Ctrl-C again leaves without waiting");
                force(talk).await;
            }
        }
        if !said && begun.elapsed() > SILENCE {
            said = true;
            output.note("waiting for scripts to finish; Ctrl-C stops them at once");
        }
        if deadline.is_some_and(|limit| Instant::now() > limit) {
            return Err(Failure::new(
                Exit::TimedOut,
                "the daemon is still stopping; wait longer, or see what it waits for with: moonkeep status",
            ));
        }
    }
    Ok(())
}

/// A second shutdown. That it cannot be asked any more is as good.
async fn force(talk: &mut Talk<'_>) {
    let _gone = talk
        .result(Ask::now(Command::Shutdown, Some(SILENCE)))
        .await;
}

fn is_there(home: &Home) -> bool {
    daemon::locate(home).exists() || daemon::holder(home).is_some()
}
