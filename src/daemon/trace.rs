//! Frames in the daemon's log: who said what kind of thing to whom, and how much of it. Never what it carried.
//!
//! Off unless [`VARIABLE`] is `debug`. What a request, an answer or an event carries may be a secret and is no
//! business of the log: only kinds, names, ids and sizes are written, so there is nothing to redact.

use crate::engine::alphabet::{Effect, Input};
use crate::proto::codec;
use crate::proto::ids::RequestId;
use crate::proto::messages::{
    Answer, Body, Command, FromClient, FromWorker, Json, Malformed, Notice, Question, ToWorker,
    Work,
};

/// Asks for frames in the log, by the value `debug`.
const VARIABLE: &str = "MOONKEEP_LOG";

/// Whether frames are wanted.
pub(super) fn wanted() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "debug")
}

/// What came from a peer; `None`: it is no frame.
pub(super) fn heard(input: &Input) -> Option<String> {
    if let Input::FromClient { session, message } = input {
        let said = match message {
            FromClient::Question(question) => asked(question),
            FromClient::Malformed(malformed) => faulty(malformed),
        };
        return Some(format!("session {} > {said}", session.0));
    }
    if let Input::FromWorker { worker, message } = input {
        let said = match message {
            FromWorker::Question(question) => asked(question),
            FromWorker::Malformed(malformed) => faulty(malformed),
            FromWorker::Answer { ticket, body } => format!("{} {ticket}", kind(body)),
            FromWorker::Notice(notice) => noted(notice).to_owned(),
        };
        return Some(format!("{worker} > {said}"));
    }
    None
}

/// What goes to a peer; `None`: it is no frame.
pub(super) fn told(effect: &Effect) -> Option<String> {
    if let Effect::ToClient { session, answer } = effect {
        return Some(format!("session {} < {}", session.0, answered(answer)));
    }
    if let Effect::ToWorker { worker, message } = effect {
        return Some(format!("{worker} < {}", sent(message)));
    }
    None
}

fn asked(question: &Question) -> String {
    let what = match &question.command {
        Command::Call(call) => {
            let size = call.params.as_ref().map_or(0, bytes);
            format!("call {}.{} {size} bytes", call.script, call.handler)
        }
        Command::Eval { script, code, .. } => format!("eval {script} {} bytes", code.len()),
        Command::Emit { event, data } => {
            format!("emit {event} {} bytes", data.as_ref().map_or(0, bytes))
        }
        Command::Cancel { target } => format!("cancel {target}"),
        Command::Control { script, verb } => match script {
            Some(script) => format!("{} {script}", verb.as_str()),
            None => verb.as_str().to_owned(),
        },
        Command::Heartbeat { check, .. } => format!("heartbeat {check:?}"),
        Command::Downtime { check, .. } => format!("downtime {check:?}"),
        Command::Check { words } | Command::Checks { words } => {
            format!("{} {words:?}", codec::name_of(&question.command))
        }
        Command::Nothing
        | Command::Ping { .. }
        | Command::Hello(_)
        | Command::Bye
        | Command::Status
        | Command::List
        | Command::Version
        | Command::Help
        | Command::Shutdown
        | Command::Logs { .. }
        | Command::Events { .. }
        | Command::Ack(_)
        | Command::Peers => codec::name_of(&question.command).to_owned(),
    };
    format!("{what}{}", named(question.id.as_ref()))
}

fn faulty(malformed: &Malformed) -> String {
    format!(
        "a faulty line, {}{}",
        malformed.refusal.code,
        named(malformed.id.as_ref())
    )
}

fn answered(answer: &Answer) -> String {
    format!("{}{}", kind(&answer.body), named(answer.id.as_ref()))
}

fn sent(message: &ToWorker) -> String {
    match message {
        ToWorker::Setup(_) => "setup".to_owned(),
        ToWorker::Request(dispatch) => {
            let (what, size) = match &dispatch.work {
                Work::Call { handler, params } => (&**handler, params.as_ref().map_or(0, bytes)),
                Work::Eval { code } => ("eval", code.len()),
            };
            let ticket = dispatch.ticket;
            format!(
                "request {ticket} {what} {size} bytes{}",
                named(dispatch.id.as_ref())
            )
        }
        ToWorker::Cancel { ticket } => format!("cancel {ticket}"),
        ToWorker::Ping { beat, .. } => format!("ping {beat}"),
        ToWorker::Event { event, data, .. } => {
            format!("event {event} {} bytes", data.as_ref().map_or(0, bytes))
        }
        ToWorker::Handover => "handover".to_owned(),
        ToWorker::Shutdown { .. } => "shutdown".to_owned(),
        ToWorker::Answer(answer) => answered(answer),
    }
}

fn kind(body: &Body) -> String {
    match body {
        Body::Accepted => "accepted".to_owned(),
        Body::Running => "running".to_owned(),
        Body::Part(payload) => format!("part {} bytes", payload.bytes()),
        Body::Ok { result, replayed } => {
            let again = if *replayed { " replayed" } else { "" };
            format!("ok{again} {} bytes", result.bytes())
        }
        Body::Error(refusal) => format!("error {}", refusal.code),
    }
}

fn noted(notice: &Notice) -> &'static str {
    match notice {
        Notice::Ready { .. } => "ready",
        Notice::Handlers { .. } => "handlers",
        Notice::Loaded { .. } => "loaded",
        Notice::Pong { .. } => "pong",
        Notice::Handover { .. } => "handover",
        Notice::Listen { .. } => "listen",
        Notice::Failed { .. } => "failed",
        Notice::Outdated => "outdated",
        Notice::Unrecorded => "unrecorded",
        Notice::Confined { .. } => "confined",
        Notice::Declared { .. } => "declared",
    }
}

fn named(id: Option<&RequestId>) -> String {
    id.map_or_else(String::new, |id| format!(" id={id}"))
}

fn bytes(json: &Json) -> usize {
    json.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::codec::{decode_client, decode_worker};
    use crate::proto::ids::{Generation, ScriptName, SessionId, WorkerId};

    //
    #[test]
    fn frames_are_named_and_nothing_that_they_carry_is_told() {
        let session = SessionId(3);
        let client = |line: &str| {
            heard(&Input::FromClient {
                session,
                message: decode_client(line.as_bytes()),
            })
        };
        let worker = WorkerId {
            script: ScriptName::new("greeter").unwrap(),
            generation: Generation(2),
        };
        let from = |line: &str| {
            heard(&Input::FromWorker {
                worker: worker.clone(),
                message: decode_worker(line.as_bytes()),
            })
        };
        let told = [
            client("call vault open password=SECRET request_id=7"),
            client(
                "{\"request_id\":8,\"command\":\"eval\",\"script\":\"vault\",\"code\":\"return 'SECRET'\"}",
            ),
            client("ping 0199f6c2-5e6f-7c3a-9d2b-1f4e5a6b7c8d"),
            client("{\"SECRET\":1,\"request_id\":\"x\"}"),
            client("cancel 7"),
            client("stop vault"),
            client("emit news text=SECRET"),
            from("{\"request_id\":\"@17\",\"status\":\"ok\",\"result\":\"SECRET\"}"),
            from("SECRET request_id=@17"),
            from("error: SECRET request_id=@17"),
            from("{\"command\":\"pong\",\"beat\":1}"),
        ];
        let told: Vec<String> = told.into_iter().flatten().collect();
        assert_eq!(
            told,
            [
                "session 3 > call vault.open 21 bytes id=7",
                "session 3 > eval vault 15 bytes id=8",
                "session 3 > ping",
                "session 3 > a faulty line, bad_request id=x",
                "session 3 > cancel 7",
                "session 3 > stop vault",
                "session 3 > emit news 17 bytes",
                "greeter#2 > ok 8 bytes @17",
                "greeter#2 > part 6 bytes @17",
                "greeter#2 > error script_error @17",
                "greeter#2 > pong",
            ]
        );
    }
}
