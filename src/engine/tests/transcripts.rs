//! Transcripts as tests: inputs and effects as text, replayed byte for byte.

use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::engine::{record, replay};
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;

fn a_call() -> Vec<(Moment, Input)> {
    let spec = std::sync::Arc::new(ScriptSpec {
        plugins: Vec::new(),
        check_defaults: CheckDefaults::default(),
        name: name("s"),
        path: "/home/lab/scripts/s.lua".into(),
        content: None,
        kind: ScriptKind::Lua,
        settings: Settings::default(),
    });
    let because = spec.path.clone();
    let session = SessionId(1);
    let question = Question {
        encoding: Encoding::Text,
        id: Some(RequestId::new("8").unwrap()),
        command: call("s", "o", Some(Duration::from_secs(5))),
    };
    let inputs = [
        Input::Script(ScriptChange::Changed { spec, because }),
        Input::Loaded,
        Input::Spawned {
            worker: worker("s", 1),
            pid: 5,
        },
        Input::FromWorker {
            worker: worker("s", 1),
            message: FromWorker::Notice(Notice::Ready {
                handlers: Some(vec![handler("o", Delivery::Once)]),
                handover: false,
                memory_bytes: 1,
            }),
        },
        Input::Connected {
            session,
            uid: 0,
            fresh: ClientId(uuid::Uuid::from_u128(1)),
        },
        Input::FromClient {
            session,
            message: FromClient::Question(question),
        },
        Input::FromWorker {
            worker: worker("s", 1),
            message: FromWorker::Answer {
                ticket: Ticket(1),
                body: Body::Ok {
                    result: Payload::Json(Json::of("hello Ada")),
                    replayed: false,
                },
            },
        },
    ];
    let moments = (0..).map(|number| Moment(number * 100));
    moments.zip(inputs).collect()
}

#[test]
fn a_transcript_replays_to_the_same_effects() {
    let transcript = record(identity(), a_call());
    let replayed = replay(&transcript).unwrap();
    assert_eq!(replayed.inputs, 7);
    assert!(replayed.effects >= 4, "{transcript}");
    let answer = "{\"effect\":{\"ToClient\":{\"session\":1,\"answer\":{\"encoding\":\"text\",\
                  \"id\":{\"text\":\"8\",\"number\":false},\"ack\":true,\"body\":{\"Ok\":{\"result\":\
                  {\"Json\":\"\\\"hello Ada\\\"\"},\"replayed\":false}}}}}}";
    assert_eq!(transcript.lines().last(), Some(answer));
}

#[test]
fn one_changed_byte_is_found_and_a_line_cut_short_is_not_held_against_it() {
    let transcript = record(identity(), a_call());
    let other = transcript.replace("hello Ada\\\"\"},\"replayed", "hello Bob\\\"\"},\"replayed");
    assert!(replay(&transcript[..transcript.len() - 20]).is_ok());
    let last = other.rfind("hello Bob").unwrap();
    let first = transcript.rfind("hello Ada").unwrap();
    assert_eq!(last, first);
    let mut changed = transcript.clone();
    changed.replace_range(first..first + 9, "hello Bob");
    let difference = replay(&changed).unwrap_err();
    assert_eq!(difference.line, transcript.lines().count());
    assert!(difference.to_string().contains("replayed"));
}

#[test]
fn inputs_that_make_no_sense_are_counted_and_ignored() {
    let mut world = World::new();
    let ghost = worker("ghost", 4);
    world.input(Input::Spawned {
        worker: ghost.clone(),
        pid: 1,
    });
    world.exited(&ghost, Exit::Code(0));
    world.done(&ghost, Ticket(1), "1");
    world.input(Input::SpawnFailed {
        worker: ghost.clone(),
        error: "no".into(),
    });
    world.input(Input::Flushed {
        peer: Peer::Worker(ghost),
        cost: 5,
    });
    world.input(Input::Gone {
        session: SessionId(9),
        why: "never was".into(),
    });
    world.ask(SessionId(9), Some("1"), Command::Status);
    world.input(Input::LogRead {
        ask: LogAsk(3),
        lines: Ok("x".into()),
    });
    assert!(world.take().is_empty());
    assert_eq!(world.status("")["counters"]["senseless_inputs"], 5);
}
