//! Running chosen checks, all at the same time, each within its time limit.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mlua::{Lua, MultiValue, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::globals;
use super::options::CheckOptions;
use super::probe::{Findings, Probe, Said};
use super::suite::{Entry, Hooks, Runnable, Suite, Work};
use crate::limits;
use crate::lua::errors::{FAILURE_CODE, Failure, Raised};
use crate::lua::process::Tap;
use crate::monitor::result::{Outcome, Report, cut};
use crate::monitor::state::State;

/// Runs the chosen entries of a suite; `done` hears of each outcome as it comes. Cancel safe: dropping it ends
/// every check and kills the process groups of their commands.
pub async fn run(
    suite: &Suite,
    chosen: &[usize],
    timeout: Option<Duration>,
    mut done: impl FnMut(&Outcome),
) -> Report {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    let places = Arc::new(Semaphore::new(limits::CHECKS_AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut outcomes: Vec<Option<Outcome>> = Vec::new();
    for at in chosen {
        let entry = &suite.entries[*at];
        let slot = outcomes.len();
        match &entry.work {
            Work::Faulty(outcome) | Work::Broken(outcome) => {
                done(outcome);
                outcomes.push(Some((**outcome).clone()));
            }
            // Nobody tells of it here.
            Work::Hear => {}
            Work::Run(runnable) => {
                outcomes.push(None);
                let own = entry.options.timeout(&suite.defaults);
                let job = Job::new(entry, runnable);
                let places = Arc::clone(&places);
                tasks.spawn_local(async move {
                    let _place = places.acquire().await;
                    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
                    (slot, job.run(left.map_or(own, |left| own.min(left))).await)
                });
            }
        }
    }
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((slot, outcome)) => {
                done(&outcome);
                outcomes[slot] = Some(outcome);
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Report::new(outcomes.into_iter().flatten().collect())
}

/// One run of one check, about to begin.
#[derive(Debug)]
pub struct Job {
    name: String,
    file: String,
    options: CheckOptions,
    runnable: Runnable,
}

impl Job {
    #[must_use]
    pub fn new(entry: &Entry, runnable: &Runnable) -> Self {
        Job {
            name: entry.name.clone(),
            file: entry.labels.file.clone(),
            options: entry.options.clone(),
            runnable: runnable.clone(),
        }
    }

    /// Runs it; at its `limit` it is interrupted, its commands are killed, and it is critical. Cancel safe: dropping it
    /// ends the check and kills the process groups of its commands.
    pub async fn run(self, limit: Duration) -> Outcome {
        let mut outcome = run_one(&self.name, &self.runnable, limit).await;
        outcome.name = self.name;
        outcome.tags = self.options.tags;
        outcome.file = self.file;
        outcome
    }
}

/// Runs the `on_change` functions of an instance, one after the other, all of them also if one fails. Gives what they
/// printed, and the first failure. Cancel safe, as [`Job::run`] is.
pub async fn tell(
    hooks: &Hooks,
    change: &Value,
    limit: Duration,
) -> (Vec<String>, Result<(), Failure>) {
    let deadline = Instant::now() + limit;
    let (tap, said) = (Tap::default(), Said::default());
    let mut result = Ok(());
    for function in &hooks.functions {
        let ended = Tapped {
            run: hooks.state.run(function, change, Some(deadline)),
            lua: hooks.state.lua(),
            tap: &tap,
            said: &said,
        }
        .await;
        if let (Ok(()), Err(failure)) = (&result, ended) {
            result = Err(failure);
        }
    }
    (said.take(), result)
}

async fn run_one(name: &str, runnable: &Runnable, limit: Duration) -> Outcome {
    let Runnable { check, state } = runnable;
    let begin = Instant::now();
    let probe = Probe {
        name: Rc::from(name),
        findings: Rc::default(),
        deadline: begin + limit,
    };
    let tap = Tap::default();
    let said = Said::default();
    let object = state
        .lua()
        .create_userdata(probe.clone())
        .and_then(|object| {
            object.set_user_value(&check.memory)?;
            Ok(object)
        });
    let ended = match object {
        Ok(object) => {
            let run = state.run(&check.function, object, Some(probe.deadline));
            Tapped {
                run,
                lua: state.lua(),
                tap: &tap,
                said: &said,
            }
            .await
        }
        Err(error) => Err(Failure::Raised(Raised {
            message: error.to_string(),
            ..Raised::default()
        })),
    };
    let took = begin.elapsed();
    let findings = probe.findings.take();
    let mut outcome = judge(findings, ended, state.lua(), limit, &tap);
    outcome.said = said.take();
    outcome.duration_seconds = took.as_secs_f64();
    outcome
}

/// From what a check found and how it ended to its outcome.
fn judge(
    mut findings: Findings,
    ended: Result<MultiValue, Failure>,
    lua: &Lua,
    limit: Duration,
    tap: &Tap,
) -> Outcome {
    let mut traceback = None;
    let mut said = None;
    match ended {
        Ok(mut values) => match globals::returned(values.pop_front(), lua) {
            Ok(text) => said = text,
            Err(why) => findings.complain(State::Unknown, why),
        },
        Err(Failure::Raised(raised)) => {
            let (state, message) = blame(&raised);
            if state == State::Unknown {
                traceback = raised.traceback;
            }
            findings.complain(state, message);
        }
        Err(Failure::TimedOut { place, .. }) => {
            findings.complain(State::Critical, late(limit, place, tap));
        }
    }
    let mut message = findings.message(said);
    cut(&mut message);
    Outcome {
        state: findings.state,
        message,
        measures: findings.measures,
        traceback,
        details: findings.details,
        ..Outcome::unknown("", "", String::new())
    }
}

/// A host call that the world refused is critical, with its sentence; everything else is a fault of the check.
fn blame(raised: &Raised) -> (State, String) {
    if raised.code.as_deref() != Some(FAILURE_CODE) {
        return (State::Unknown, raised.message.clone());
    }
    let sentence = raised
        .data
        .as_ref()
        .and_then(|data| serde_json::from_str::<serde_json::Value>(data.as_str()).ok())
        .and_then(|data| Some(data.get("message")?.as_str()?.to_owned()));
    (
        State::Critical,
        sentence.unwrap_or_else(|| raised.message.clone()),
    )
}

fn late(limit: Duration, place: Option<String>, tap: &Tap) -> String {
    // What is left of the limit for all checks has many places.
    let seconds = (limit.as_secs_f64() * 1e3).round() / 1e3;
    let mut text = format!("timed out after {seconds} s");
    if let Some(place) = place {
        text.push_str(&format!(", still computing at {place}"));
    }
    let output = tap.text();
    if !output.trim().is_empty() {
        text.push_str(&format!("; output so far: {}", output.trim()));
    }
    text
}

/// Sets where commands and `print` show their output before each step of a check: several checks share one Lua state.
struct Tapped<'a, F> {
    run: F,
    lua: &'a Lua,
    tap: &'a Tap,
    said: &'a Said,
}

impl<F: Future + Unpin> Future for Tapped<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.lua.set_app_data(self.tap.clone());
        self.lua.set_app_data(self.said.clone());
        Pin::new(&mut self.run).poll(context)
    }
}
