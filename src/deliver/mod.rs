//! `moonkeep deliver`: makes one attempt to deliver one alert, and ends.
//!
//! A process of its own, so that no TLS, no hook's program and no slow server is ever in the daemon. Its first line on
//! standard input is the [`Order`]; the daemon keeps that pipe open, and its end means that the daemon is gone: then
//! nobody is left to be told, and the next daemon tries again. How it ended is its exit code, a sentence about it is on
//! its standard output.
//!
//! Whatever a hook's program has started ends with this process. It never tries twice, and never says a secret.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::descendants::Descendants;
use crate::monitor::alphabet::Undelivered;
use crate::options::alerts::Action;
use crate::options::value::show_duration;

mod alertmanager;
mod exec;
mod lifeline;
mod order;
mod refer;
mod request;
mod webhook;
mod words;

pub use order::{DELIVERED, FAILED, Order, REFUSED};

use lifeline::Lifeline;
use words::Words;

/// The first argument that makes the program deliver.
pub const ROLE: &str = "deliver";

/// Delivers what standard input says.
#[must_use]
pub fn main() -> ExitCode {
    crate::sys::close_what_was_inherited();
    let code = match run() {
        Ok(()) => DELIVERED,
        Err(Undelivered::Failed(why)) => told(&why, FAILED),
        Err(Undelivered::Refused(why)) => told(&why, REFUSED),
    };
    ExitCode::from(code)
}

/// Nobody may listen any more; the code is what counts.
fn told(why: &str, code: u8) -> u8 {
    let _lost = std::io::stdout().write_all(why.as_bytes());
    code
}

fn run() -> Result<(), Undelivered> {
    // Where the system cannot do that, the program's group is all that is killed.
    let brood = Descendants::adopt().ok();
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(format!("the system has no event queue: {error}")))
        .and_then(|runtime| {
            let ended = LocalSet::new().block_on(&runtime, serve());
            runtime.shutdown_background();
            ended
        });
    if let Some(brood) = brood {
        brood.end();
    }
    ended
}

async fn serve() -> Result<(), Undelivered> {
    let mut lifeline = Lifeline::claim().map_err(failed)?;
    let order = lifeline.order().await.map_err(failed)?;
    tokio::select! {
        biased;
        // Cancel safe: it only waits.
        () = lifeline.cut() => Err(failed("the daemon ended while this was under way")),
        // Dropped with what it has begun: the next daemon begins again.
        ended = deliver(&order) => ended,
    }
}

/// One attempt, within the hook's time limit.
async fn deliver(order: &Order) -> Result<(), Undelivered> {
    let hook = &order.delivery.hook;
    let words = Words::of(order);
    let until = Instant::now() + hook.timeout;
    match &hook.action {
        // It keeps the limit itself: what its program has said so far is told.
        Action::Exec { argv } => exec::run(argv, &words, until, hook.timeout).await,
        Action::Webhook {
            url,
            method,
            headers,
            body,
        } => {
            let send = webhook::send(url, method, headers, body.as_deref(), &words);
            within(until, hook.timeout, url, send).await
        }
        Action::Alertmanager { url, headers } => {
            let send = alertmanager::send(url, headers, &words);
            within(until, hook.timeout, url, send).await
        }
        Action::OnChange => Err(refused(
            "an `on_change` runs in its plugin's worker, not here; please report it",
        )),
    }
}

async fn within(
    until: Instant,
    limit: Duration,
    address: &str,
    send: impl Future<Output = Result<(), Undelivered>>,
) -> Result<(), Undelivered> {
    match tokio::time::timeout_at(until, send).await {
        Ok(ended) => ended,
        Err(_) => Err(failed(format!(
            "{}: no answer within {}; if it is just slow, raise the hook's timeout",
            crate::options::secret::shown(address),
            show_duration(limit)
        ))),
    }
}

/// It is tried again.
fn failed(why: impl Into<String>) -> Undelivered {
    Undelivered::Failed(why.into())
}

/// It is given up.
fn refused(why: impl Into<String>) -> Undelivered {
    Undelivered::Refused(why.into())
}
