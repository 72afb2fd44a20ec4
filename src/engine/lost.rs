//! What becomes of a request whose worker is gone: by what the worker wrote down, else by its delivery.

use uuid::Uuid;

use super::alphabet::Exit;
use super::ends::{Keep, withdrawn};
use super::records::Outcomes;
use super::requests::{RequestKey, State, Why};
use super::{Engine, refusals};
use crate::limits;
use crate::proto::messages::{Body, Delivery};
use crate::weakenings::Weakening;

/// What is to be done with a request that was started, and whose worker is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The worker wrote its end down.
    Ended(Body),
    /// The worker never received it.
    NeverBegan,
    RunAgain,
    /// It was started as often as it may be.
    GiveUp,
    /// It may have run, and may not run again.
    Unknown,
}

/// The one place that decides it. `id`: under which the worker recorded it, if it did. `starts`: with this one.
pub(super) fn judge(
    id: Option<Uuid>,
    delivery: Delivery,
    starts: u32,
    outcomes: &Outcomes,
) -> Verdict {
    if let Some(id) = id {
        if let Some(body) = outcomes.ended.get(&id) {
            return Verdict::Ended(body.clone());
        }
        if outcomes.complete && !outcomes.began.contains(&id) {
            return Verdict::NeverBegan;
        }
    }
    let most = match delivery {
        Delivery::Once => return Verdict::Unknown,
        Delivery::Idempotent => limits::IDEMPOTENT_STARTS,
        Delivery::Query => limits::QUERY_STARTS,
    };
    if starts >= most {
        Verdict::GiveUp
    } else {
        Verdict::RunAgain
    }
}

impl Engine {
    /// The worker that held it is gone.
    pub(super) fn lost_with_worker(
        &mut self,
        key: RequestKey,
        exit: Option<Exit>,
        outcomes: &Outcomes,
    ) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        if let State::Starting(_) = request.state {
            self.queue_again(key);
            return;
        }
        let id = request.entry.and_then(|_| request.identity());
        let verdict = judge(id, request.delivery, request.starts, outcomes);
        self.obey(key, verdict, &death_of(exit));
    }

    /// Does what was judged. `cause` is said of an outcome that is unknown, or of a last start.
    pub(super) fn obey(&mut self, key: RequestKey, verdict: Verdict, cause: &str) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let name = request.script.clone();
        let mut cause = cause;
        let asked_to_stop = match &request.state {
            State::Cancelling { why, killed, .. } => {
                cause = killed.as_deref().unwrap_or(cause);
                Some(*why)
            }
            State::Unplaced
            | State::Queued(_)
            | State::Starting(_)
            | State::Running(_)
            | State::Elsewhere
            | State::Ending(_) => None,
        };
        let again = self.weakened.has(Weakening::StartedRunAgain);
        let refusal = match (verdict, asked_to_stop) {
            (Verdict::Ended(body), _) => return self.ended_by_worker(key, body),
            (Verdict::Unknown, _) if again => return self.start_over(key),
            (Verdict::Unknown, _) => refusals::outcome_unknown(&name, cause, request.id.as_ref()),
            (Verdict::NeverBegan, why) => {
                request.starts = request.starts.saturating_sub(1);
                match (why, request.starts) {
                    (None, _) => return self.start_over(key),
                    (Some(Why::Deadline), 0) => refusals::timeout_queued(&name, None),
                    (Some(Why::Deadline), starts) => refusals::timeout_again(&name, starts),
                    (Some(Why::Asked | Why::Abandoned), _) => withdrawn(request),
                }
            }
            (Verdict::RunAgain | Verdict::GiveUp, Some(Why::Deadline)) => {
                refusals::timeout_running(&name, false)
            }
            (Verdict::RunAgain | Verdict::GiveUp, Some(Why::Asked | Why::Abandoned)) => {
                refusals::cancelled(true)
            }
            (Verdict::RunAgain, None) => return self.start_over(key),
            (Verdict::GiveUp, None) => refusals::gave_up(&name, request.starts, cause),
        };
        self.finish(key, Body::Error(refusal), Keep::Yes);
    }

    /// Back to its queue; what was found in the journal has none yet.
    fn start_over(&mut self, key: RequestKey) {
        match self.requests.get(key).map(|request| &request.state) {
            Some(State::Elsewhere | State::Unplaced) => self.place_again(key),
            Some(
                State::Queued(_)
                | State::Starting(_)
                | State::Running(_)
                | State::Cancelling { .. }
                | State::Ending(_),
            )
            | None => self.queue_again(key),
        }
    }

    /// A request that had run and lost its worker, and whose script will not run it again.
    pub(super) fn give_up(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get(key) else {
            return;
        };
        let cause = "its worker ended, and the script does not run any more";
        let refusal = refusals::gave_up(&request.script, request.starts, cause);
        self.finish(key, Body::Error(refusal), Keep::Yes);
    }
}

/// `was ended by signal 9`, for the log.
pub(super) fn cause_of(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
    }
}

/// `worker died: signal 9`, for whoever asked.
fn death_of(exit: Option<Exit>) -> String {
    match exit {
        None => "its worker could not be started".to_owned(),
        Some(Exit::Code(code)) => format!("worker died: exit code {code}"),
        Some(Exit::Signal(signal)) => format!("worker died: signal {signal}"),
    }
}
