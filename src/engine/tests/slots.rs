//! The right to run: never more than the limit, in order, given back whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::options::{Protocol, Rate, Settings};
use crate::proto::ids::*;
use crate::proto::messages::*;
use crate::random::Random;

fn limited(concurrency: u32) -> Settings {
    Settings {
        concurrency,
        queue: 100_000,
        ..Settings::default()
    }
}

//
#[test]
fn many_requests_at_once_run_at_most_the_limit_and_in_order_and_all_end() {
    let mut world = World::with_script(limited(5));
    let session = world.connect();
    let id = worker("s", 1);
    for number in 0..500 {
        world.call(session, &number.to_string(), "o");
    }
    let mut running: VecDeque<Dispatch> = world.dispatches(&id).into();
    let mut order: Vec<String> = Vec::new();
    let mut ended = 0;
    while let Some(dispatch) = running.pop_front() {
        assert!(running.len() < 5, "five at most");
        order.push(dispatch.id.unwrap().to_string());
        world.take();
        world.done(&id, dispatch.ticket, "1");
        ended += world.heard(session).len();
        running.extend(world.dispatches(&id));
    }
    assert_eq!(ended, 500, "each ends once");
    let wanted: Vec<String> = (0..500).map(|number: u32| number.to_string()).collect();
    assert_eq!(order, wanted, "starts in the order of acceptance");
}

//
#[test]
fn a_slot_is_claimed_in_the_step_that_dispatches() {
    let mut world = World::with_script(limited(5));
    let session = world.connect();
    let id = worker("s", 1);
    for number in 0..7 {
        world.call(session, &number.to_string(), "o");
    }
    let tickets = world.tickets(&id);
    assert_eq!(tickets.len(), 5);
    world.take();
    world.done(&id, tickets[0], "1");
    world.input(Input::Tick);
    world.input(Input::Tick);
    assert_eq!(world.tickets(&id).len(), 1, "one slot, one start");
    assert_eq!(world.status("s")["in_flight"], 5);
    assert_eq!(world.status("s")["queued"], 1);
}

//
#[test]
fn random_ends_of_every_kind_give_each_slot_back() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut world = World::with_script(limited(3));
        let session = world.connect();
        let id = worker("s", 1);
        let mut running: Vec<Ticket> = Vec::new();
        let mut open = 0_usize;
        for number in 0..300_u32 {
            if random.next().is_multiple_of(2) {
                open += 1;
                let handler = ["q", "i", "o"][(random.next() % 3) as usize];
                let id = number.to_string();
                let mut question = call("s", handler, None);
                if let Command::Call(call) = &mut question {
                    call.params = Some(Json::of(&number));
                }
                world.ask(session, Some(&id), question);
            } else if let Some(ticket) = running.pop() {
                let body = match random.next() % 3 {
                    0 => Body::Ok {
                        result: Payload::Empty,
                        replayed: false,
                    },
                    1 => Body::Error(Refusal::new(ErrorCode::ScriptError, "panic in the handler")),
                    _ => Body::Error(Refusal::new(ErrorCode::TooLarge, "too large a result")),
                };
                world.answer(&id, ticket, body);
            }
            running.extend(world.tickets(&id));
            open -= world.heard(session).len();
            world.take();
            assert_eq!(
                running.len(),
                open.min(3),
                "never fewer than can run, never more"
            );
        }
    }
}

//
#[test]
fn the_bucket_is_charged_at_dispatch_and_no_window_holds_more() {
    let rate = Rate {
        burst: 4,
        period: Duration::from_secs(2),
    };
    let mut world = World::with_script(Settings {
        rate: Some(rate),
        concurrency: 100,
        ..Settings::default()
    });
    let session = world.connect();
    let mut random = Random::new(5);
    let mut starts: Vec<u64> = Vec::new();
    for number in 0..400_u32 {
        world.call(session, &number.to_string(), "o");
        world.pass(Duration::from_micros(random.next() % 900_000));
        let now = world.now.0;
        let tickets = world.tickets(&worker("s", 1));
        starts.extend(tickets.iter().map(|_| now));
        world.take();
        for ticket in tickets {
            world.done(&worker("s", 1), ticket, "1");
        }
    }
    for (index, start) in starts.iter().enumerate() {
        // Seen at the end of each pause, so that a window may look shorter than it was by one pause.
        let within = starts[index..]
            .iter()
            .take_while(|at| **at < start + 2_000_000 - 900_000);
        assert!(within.count() <= 8, "twice the burst at most at {start}");
    }
    let seconds = world.now.0 / 1_000_000;
    assert!(
        starts.len() as u64 <= 4 + seconds * 2 + 1,
        "{} in {seconds} s",
        starts.len()
    );
}

//
#[test]
fn a_turn_beyond_the_deadline_is_refused_with_the_time_to_wait() {
    let rate = Rate {
        burst: 1,
        period: Duration::from_secs(10),
    };
    let mut world = World::with_script(Settings {
        rate: Some(rate),
        ..Settings::default()
    });
    let session = world.connect();
    world.call(session, "1", "o");
    world.ask(
        session,
        Some("2"),
        call("s", "o", Some(Duration::from_secs(5))),
    );
    let answers = world.answers(session);
    let Body::Error(refusal) = &answers[0].body else {
        panic!("{answers:?}")
    };
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(10)));
    world.ask(
        session,
        Some("3"),
        call("s", "o", Some(Duration::from_secs(15))),
    );
    world.take();
    world.pass(Duration::from_millis(9_999));
    assert!(world.tickets(&worker("s", 1)).is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(
        world.tickets(&worker("s", 1)).len(),
        1,
        "its turn comes by itself"
    );
}

//
#[test]
fn what_is_cancelled_in_the_queue_never_runs() {
    let mut world = World::with_script(limited(1));
    let session = world.connect();
    let id = worker("s", 1);
    world.call(session, "1", "o");
    world.call(session, "2", "o");
    let ticket = world.tickets(&id)[0];
    world.take();
    let target = RequestId::new("2").unwrap();
    world.ask(session, Some("c"), Command::Cancel { target });
    assert_eq!(
        world.heard(session),
        ["2: error cancelled", "c: ok {\"cancelled\":true}"]
    );
    world.done(&id, ticket, "1");
    assert!(world.tickets(&id).is_empty(), "it never runs");
    assert_eq!(world.status("s")["in_flight"], 0);
}

//
#[test]
fn what_is_cancelled_while_it_runs_ends_as_its_worker_says() {
    let mut world = World::with_script(limited(1));
    let session = world.connect();
    let id = worker("s", 1);
    world.call(session, "1", "o");
    let ticket = world.tickets(&id)[0];
    world.take();
    let target = RequestId::new("1").unwrap();
    world.ask(
        session,
        Some("c"),
        Command::Cancel {
            target: target.clone(),
        },
    );
    assert_eq!(world.heard(session), ["c: ok {\"cancelled\":true}"]);
    assert_eq!(world.to_worker(&id), [ToWorker::Cancel { ticket }]);
    world.take();
    world.done(&id, ticket, "\"it was faster\"");
    assert_eq!(world.heard(session), ["1: ok \"it was faster\""]);
    world.ask(session, Some("d"), Command::Cancel { target });
    assert_eq!(world.heard(session)[1], "d: ok {\"cancelled\":false}");
}

//
#[test]
fn what_expires_in_the_queue_never_runs_even_if_the_slot_frees_in_the_same_tick() {
    let mut world = World::with_script(limited(1));
    let session = world.connect();
    let id = worker("s", 1);
    world.call(session, "1", "o");
    world.ask(
        session,
        Some("2"),
        call("s", "o", Some(Duration::from_secs(1))),
    );
    let ticket = world.tickets(&id)[0];
    world.take();
    world.now = Moment(1_000_000);
    world.done(&id, ticket, "1");
    assert_eq!(world.heard(session), ["2: error timeout", "1: ok 1"]);
    assert!(world.tickets(&id).is_empty());
}

//
#[test]
fn a_full_queue_is_busy_at_once_and_nothing_ran() {
    let mut world = World::with_script(Settings {
        concurrency: 1,
        queue: 2,
        ..Settings::default()
    });
    let session = world.connect();
    for number in 0..4 {
        world.call(session, &number.to_string(), "o");
    }
    let answers = world.answers(session);
    assert_eq!(answers.len(), 1);
    let Body::Error(refusal) = &answers[0].body else {
        panic!("{answers:?}")
    };
    assert_eq!(refusal.code, ErrorCode::Busy);
    assert!(refusal.retry_after.is_some());
    assert_eq!(world.tickets(&worker("s", 1)).len(), 1);
}

#[test]
fn a_script_without_ids_runs_one_at_a_time() {
    let mut world = World::with_script(Settings {
        protocol: Protocol::Legacy,
        ..Settings::default()
    });
    let session = world.connect();
    world.call(session, "1", "o");
    world.call(session, "2", "o");
    assert_eq!(world.tickets(&worker("s", 1)).len(), 1);
}

#[test]
fn a_worker_that_does_not_read_gets_no_further_request() {
    let mut world = World::with_script(limited(100));
    world.stalled = true;
    let session = world.connect();
    let id = worker("s", 1);
    let big = Json::of(&"x".repeat(900_000));
    for number in 0..8 {
        let mut question = call("s", "o", None);
        if let Command::Call(call) = &mut question {
            call.params = Some(big.clone());
        }
        world.ask(session, Some(&number.to_string()), question);
    }
    assert_eq!(world.tickets(&id).len(), 5, "4 MiB of credit");
    world.take();
    world.input(Input::Flushed {
        peer: Peer::Worker(id.clone()),
        cost: 4_000_000,
    });
    assert_eq!(world.tickets(&id).len(), 3);
}
