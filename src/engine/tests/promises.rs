//! Ids: joined while running, replayed after the end, refused when too old, shared by identical queries.

use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::limits;
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;

fn key(number: u64) -> String {
    v7(1_760_000_000_000, number)
}

#[test]
fn a_repeat_joins_the_running_one_and_every_session_gets_the_answer() {
    let mut world = World::with_script(Settings::default());
    let (one, two) = (world.connect(), world.connect());
    let id = key(1);
    world.call(one, &id, "o");
    world.call(two, &id, "o");
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(tickets.len(), 1, "it runs once");
    world.done(&worker("s", 1), tickets[0], "1");
    assert_eq!(world.heard(one), [format!("{id}: ok 1")]);
    assert_eq!(world.heard(two), [format!("{id}: ok 1")]);
    world.take();
    world.call(two, &id, "o");
    assert_eq!(world.heard(two), [format!("{id}: ok 1 replayed")]);
    assert!(world.tickets(&worker("s", 1)).is_empty());
}

#[test]
fn the_same_id_for_another_command_is_a_conflict_before_and_after_the_end() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let id = key(1);
    world.call(one, &id, "o");
    world.call(one, &id, "i");
    let ticket = world.tickets(&worker("s", 1))[0];
    world.done(&worker("s", 1), ticket, "1");
    world.call(one, &id, "i");
    let conflict = format!("{id}: error id_conflict");
    assert_eq!(
        world.heard(one),
        [conflict.clone(), format!("{id}: ok 1"), conflict]
    );
}

#[test]
fn an_id_that_is_no_uuid_belongs_to_its_session_and_to_one_run() {
    let mut world = World::with_script(Settings::default());
    let (one, two) = (world.connect(), world.connect());
    world.call(one, "7", "o");
    world.call(two, "7", "o");
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(tickets.len(), 2, "two sessions, two requests");
    world.done(&worker("s", 1), tickets[0], "1");
    world.call(one, "7", "o");
    assert_eq!(
        world.tickets(&worker("s", 1)).len(),
        3,
        "after its end the id is free"
    );
}

//
#[test]
fn a_once_request_whose_worker_died_is_unknown_and_stays_so() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let id = key(1);
    world.call(one, &id, "o");
    world.exited(&worker("s", 1), Exit::Signal(9));
    assert_eq!(world.heard(one), [format!("{id}: error outcome_unknown")]);
    world.ready(&worker("s", 2));
    world.take();
    world.call(one, &id, "o");
    assert_eq!(world.heard(one), [format!("{id}: error outcome_unknown")]);
    assert!(world.tickets(&worker("s", 2)).is_empty());
}

#[test]
fn an_idempotent_request_is_started_three_times_and_a_query_twice() {
    for (handler, starts) in [("i", 3), ("q", 2)] {
        let mut world = World::with_script(Settings::default());
        let one = world.connect();
        let day = Some(Duration::from_secs(3600));
        world.ask(one, Some("1"), call("s", handler, day));
        let mut started = 0;
        for generation in 1..=6 {
            let id = worker("s", generation);
            if generation > 1 {
                world.until_spawned(&id);
                world.ready(&id);
            }
            started += world.tickets(&id).len();
            // A long enough limit, so that only deaths end it.
            world.exited(&id, Exit::Signal(11));
            if !world.heard(one).is_empty() {
                break;
            }
        }
        assert_eq!(started, starts, "{handler}");
        assert_eq!(world.heard(one), ["1: error script_error"]);
    }
}

#[test]
fn what_waits_when_the_worker_dies_goes_to_the_next_generation() {
    let mut world = World::with_script(Settings {
        concurrency: 1,
        ..Settings::default()
    });
    let one = world.connect();
    world.call(one, "1", "o");
    world.call(one, "2", "o");
    world.exited(&worker("s", 1), Exit::Code(1));
    world.ready(&worker("s", 2));
    let ticket = world.tickets(&worker("s", 2))[0];
    world.done(&worker("s", 2), ticket, "2");
    assert_eq!(world.heard(one), ["1: error outcome_unknown", "2: ok 2"]);
}

#[test]
fn what_is_pruned_is_refused_and_never_runs() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let big = Payload::Json(Json::of(&"x".repeat(limits::STORED_RESULT_BYTES - 10)));
    let many = limits::STORED_BYTES / limits::STORED_RESULT_BYTES + 3;
    for number in 0..many as u64 {
        let id = v7(1_760_000_000_000 + number, number);
        world.call(one, &id, "o");
        let ticket = world.tickets(&worker("s", 1))[0];
        let body = Body::Ok {
            result: big.clone(),
            replayed: false,
        };
        world.answer(&worker("s", 1), ticket, body);
        world.take();
    }
    let first = v7(1_760_000_000_000, 0);
    world.call(one, &first, "o");
    assert_eq!(world.heard(one), [format!("{first}: error expired_id")]);
    let older = v7(1_750_000_000_000, 5);
    world.call(one, &older, "o");
    assert_eq!(world.heard(one)[1], format!("{older}: error expired_id"));
    let newest = v7(1_760_000_000_000 + many as u64 - 1, many as u64 - 1);
    world.take();
    world.call(one, &newest, "o");
    assert!(matches!(
        &world.answers(one)[0].body,
        Body::Ok { replayed: true, .. }
    ));
    assert!(world.tickets(&worker("s", 1)).is_empty());
}

#[test]
fn a_result_too_large_to_keep_is_told_as_such_to_a_repeat() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let id = key(1);
    world.call(one, &id, "o");
    let ticket = world.tickets(&worker("s", 1))[0];
    let result = Payload::Json(Json::of(&"x".repeat(limits::STORED_RESULT_BYTES)));
    world.answer(
        &worker("s", 1),
        ticket,
        Body::Ok {
            result,
            replayed: false,
        },
    );
    world.take();
    world.call(one, &id, "o");
    assert_eq!(world.heard(one), [format!("{id}: error too_large")]);
}

//
#[test]
fn identical_queries_share_one_run_and_a_cancel_takes_only_its_own() {
    let mut world = World::with_script(Settings::default());
    let sessions: Vec<SessionId> = (0..300).map(|_| world.connect()).collect();
    for session in &sessions {
        world.call(*session, "1", "q");
    }
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(tickets.len(), 1);
    let target = RequestId::new("1").unwrap();
    world.ask(sessions[0], Some("c"), Command::Cancel { target });
    assert_eq!(
        world.heard(sessions[0]),
        ["1: error cancelled", "c: ok {\"cancelled\":true}"]
    );
    world.done(&worker("s", 1), tickets[0], "1");
    for session in &sessions[1..] {
        assert_eq!(world.heard(*session), ["1: ok 1"]);
    }
}

//
#[test]
fn the_run_of_a_query_is_cancelled_when_the_last_waiter_leaves() {
    let mut world = World::with_script(Settings::default());
    let (one, two) = (world.connect(), world.connect());
    world.call(one, "1", "q");
    world.call(two, "1", "q");
    world.take();
    let why = "closed".to_owned();
    world.input(Input::Gone {
        session: one,
        why: why.clone(),
    });
    assert!(world.to_worker(&worker("s", 1)).is_empty());
    world.input(Input::Gone { session: two, why });
    let heard = world.to_worker(&worker("s", 1));
    assert!(matches!(heard[..], [ToWorker::Cancel { .. }]), "{heard:?}");
}

//
#[test]
fn each_waiter_of_a_shared_query_has_its_own_deadline() {
    let mut world = World::with_script(Settings::default());
    let (one, two) = (world.connect(), world.connect());
    let id = worker("s", 1);
    world.ask(one, Some("1"), call("s", "q", Some(Duration::from_secs(1))));
    world.ask(
        two,
        Some("2"),
        call("s", "q", Some(Duration::from_secs(10))),
    );
    let ticket = world.tickets(&id)[0];
    world.take();
    world.pass(Duration::from_secs(1));
    let timeout = Body::Error(Refusal::new(
        ErrorCode::Timeout,
        "the handler's time is over",
    ));
    world.answer(&id, ticket, timeout);
    assert_eq!(world.heard(one), ["1: error timeout"]);
    assert!(world.heard(two).is_empty());
    let again = world.tickets(&id);
    assert_eq!(again.len(), 1, "it runs again for the one who has time");
    world.done(&id, again[0], "2");
    assert_eq!(world.heard(two), ["2: ok 2"]);
}

#[test]
fn once_requests_are_never_shared() {
    let mut world = World::with_script(Settings::default());
    let (one, two) = (world.connect(), world.connect());
    world.call(one, "1", "o");
    world.call(two, "1", "o");
    assert_eq!(world.tickets(&worker("s", 1)).len(), 2);
}

//
#[test]
fn a_client_that_comes_back_within_the_window_finds_its_request() {
    let mut world = World::with_script(Settings {
        concurrency: 1,
        ..Settings::default()
    });
    let one = world.connect();
    let (running, queued, query) = (key(1), key(2), key(3));
    world.call(one, &running, "o");
    world.call(one, &queued, "o");
    world.call(one, &query, "q");
    world.input(Input::Gone {
        session: one,
        why: "reset".into(),
    });
    world.pass(Duration::from_secs(14));
    let two = world.connect();
    for id in [&running, &queued] {
        world.call(two, id, "o");
    }
    world.call(two, &query, "q");
    for _ in 0..3 {
        let ticket = world.tickets(&worker("s", 1))[0];
        world.take_dispatches();
        world.done(&worker("s", 1), ticket, "1");
    }
    let wanted = [running, queued, query].map(|id| format!("{id}: ok 1"));
    assert_eq!(world.heard(two), wanted);
}

//
#[test]
fn what_a_vanished_client_had_queued_is_cancelled_after_the_window_and_at_once_after_bye() {
    for bye in [false, true] {
        let mut world = World::with_script(Settings {
            concurrency: 1,
            ..Settings::default()
        });
        let one = world.connect();
        world.call(one, &key(1), "o");
        world.call(one, &key(2), "o");
        world.call(one, "no-key", "o");
        assert_eq!(world.status("s")["queued"], 2);
        if bye {
            world.ask(one, Some("b"), Command::Bye);
            assert_eq!(world.heard(one), ["b: ok -"]);
        } else {
            world.input(Input::Gone {
                session: one,
                why: "reset".into(),
            });
            assert_eq!(world.status("s")["queued"], 1, "what has a key is kept");
            world.pass(Duration::from_millis(15_001));
        }
        assert_eq!(world.status("s")["queued"], 0);
        assert_eq!(world.status("s")["in_flight"], 1, "what runs goes on");
        let two = world.connect();
        world.take();
        world.call(two, &key(2), "o");
        assert_eq!(world.heard(two), [format!("{}: error cancelled", key(2))]);
    }
}
