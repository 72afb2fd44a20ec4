//! Sessions: one way in, one way out; order, acknowledgements, back-pressure.

use std::time::Duration;

use uuid::Uuid;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::limits;
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;
use crate::random::Random;

fn ping() -> Command {
    Command::Ping {
        client: None,
        timestamp: None,
    }
}

fn hello(client: u128, pings: bool) -> Command {
    Command::Hello(Hello {
        client: ClientId(Uuid::from_u128(client)),
        version: None,
        pings,
        progress: false,
    })
}

impl World {
    /// Why sessions were disconnected since the last look.
    fn farewells(&self) -> Vec<(u64, String)> {
        self.seen
            .iter()
            .filter_map(|effect| match effect {
                Effect::Disconnect { session, why, .. } => Some((session.0, why.clone())),
                _ => None,
            })
            .collect()
    }
}

// R-015
#[test]
fn a_client_that_announced_pings_and_is_silent_for_15_seconds_is_dropped() {
    let mut world = World::new();
    let one = world.connect();
    world.ask(one, Some("1"), hello(9, true));
    world.pass(Duration::from_millis(14_900));
    assert!(world.farewells().is_empty());
    world.pass(Duration::from_millis(200));
    let farewells = world.farewells();
    assert_eq!(farewells.len(), 1);
    assert!(farewells[0].1.starts_with("idle"), "{farewells:?}");
}

// R-015
#[test]
fn a_client_that_pings_lives_for_a_day_and_one_without_hello_for_ever() {
    let mut world = World::new();
    let one = world.connect();
    let _quiet = world.connect();
    world.ask(one, Some("1"), hello(9, true));
    for _ in 0..(24 * 360) {
        world.pass(Duration::from_secs(10));
        world.ask(one, Some("p"), ping());
        assert!(world.farewells().is_empty());
        world.take();
    }
}

// FI-13
#[test]
fn nobody_is_given_up_for_silence_when_the_machine_slept() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, Some("1"), hello(9, true));
    world.pass(Duration::from_secs(4));
    world.take();
    world.now = Moment(600_000_000);
    world.input(Input::Tick);
    assert!(world.farewells().is_empty());
    assert!(world.signals().is_empty());
    world.ask(one, Some("2"), ping());
    world.pass(Duration::from_secs(11));
    assert!(world.farewells().is_empty());
}

// R-089
#[test]
fn the_same_client_again_replaces_its_older_session() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    world.ask(one, Some("1"), hello(9, false));
    world.take();
    world.ask(two, Some("1"), hello(9, false));
    let farewells = world.farewells();
    assert_eq!(farewells.len(), 1);
    assert_eq!(farewells[0].0, one.0);
    assert!(farewells[0].1.starts_with("replaced"));
    assert!(world.heard(two)[0].contains("\"resumed\":true"));
    world.ask(two, Some("2"), ping());
    assert_eq!(world.heard(two).len(), 2, "the newer one lives");
    world.take();
    world.ask(two, Some("3"), hello(9, false));
    assert!(world.farewells().is_empty(), "it does not replace itself");
}

// R-071, R-076, R-081
#[test]
fn a_session_leaves_once_whoever_asks_for_it_and_in_whatever_order() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mut world = World::with_script(Settings::default());
        let one = world.connect();
        world.ask(one, Some("h"), hello(9, true));
        world.call(one, "1", "o");
        let mut answered = false;
        for _ in 0..6 {
            match random.next() % 5 {
                0 => world.input(Input::Gone {
                    session: one,
                    why: "eof".into(),
                }),
                1 => world.ask(one, Some("b"), Command::Bye),
                2 => world.pass(Duration::from_secs(16)),
                3 => world.input(Input::Partial {
                    session: one,
                    begun: true,
                }),
                _ => {
                    if let Some(ticket) = world.tickets(&worker("s", 1)).first() {
                        if !answered {
                            world.done(&worker("s", 1), *ticket, "1");
                        }
                        answered = true;
                    }
                }
            }
        }
        assert!(
            world.farewells().len() <= 1,
            "seed {seed}: {:?}",
            world.farewells()
        );
        let last = world.seen.iter().rposition(
            |effect| matches!(effect, Effect::ToClient { session, .. } if *session == one),
        );
        let left = world
            .seen
            .iter()
            .position(|effect| matches!(effect, Effect::Disconnect { .. }));
        if let (Some(last), Some(left)) = (last, left) {
            assert!(
                last < left,
                "seed {seed}: nothing is said to a session that has left"
            );
        }
    }
}

// R-088, R-013
#[test]
fn many_that_come_and_go_leave_nothing_behind() {
    let mut world = World::with_script(Settings::default());
    for _ in 0..1_000 {
        let one = world.connect();
        world.call(one, "1", "o");
        world.ask(one, Some("b"), Command::Bye);
        let ticket = world.tickets(&worker("s", 1))[0];
        world.take();
        world.done(&worker("s", 1), ticket, "1");
        assert!(world.heard(one).is_empty());
        world.take();
    }
    let status = world.status("");
    assert_eq!(status["clients"], 1, "the one that asks");
    assert_eq!(status["counters"]["requests"], 0);
}

#[test]
fn answers_without_ids_come_in_the_order_of_the_questions_each_whole() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, None, call("s", "o", None));
    world.ask(one, None, call("s", "o", None));
    world.ask(one, None, Command::Version);
    world.ask(one, Some("named"), Command::Version);
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(world.heard(one), ["named: ok {\"version\":\"0.1.0\"}"]);
    world.take();
    world.done(&worker("s", 1), tickets[1], "2");
    assert!(world.heard(one).is_empty());
    let part = Body::Part(Payload::Json(Json::of("half")));
    world.answer(&worker("s", 1), tickets[0], part);
    world.done(&worker("s", 1), tickets[0], "1");
    let wanted = [
        "-: part \"half\"",
        "-: ok 1",
        "-: ok 2",
        "-: ok {\"version\":\"0.1.0\"}",
    ];
    assert_eq!(world.heard(one), wanted);
}

#[test]
fn acknowledgements_are_of_one_session_and_switch_as_exabgp_does() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    for mode in [AckMode::Disable, AckMode::Silence, AckMode::Enable] {
        world.ask(one, Some("a"), Command::Ack(mode));
        world.ask(one, Some("n"), Command::Nothing);
    }
    world.ask(two, Some("n"), Command::Nothing);
    let acks: Vec<bool> = world.answers(one).iter().map(|answer| answer.ack).collect();
    assert_eq!(acks, [true, false, false, false, true, true]);
    assert!(world.answers(two)[0].ack);
}

#[test]
fn a_session_with_too_many_in_flight_is_not_read_until_answers_drain() {
    let settings = Settings {
        concurrency: 4_096,
        queue: 4_096,
        ..Settings::default()
    };
    let mut world = World::with_script(settings);
    let one = world.connect();
    let pauses = |world: &World| {
        let paused = world
            .seen
            .iter()
            .filter(|effect| matches!(effect, Effect::Pause { .. }));
        let resumed = world
            .seen
            .iter()
            .filter(|effect| matches!(effect, Effect::Resume { .. }));
        (paused.count(), resumed.count())
    };
    for number in 0..limits::IN_FLIGHT_PER_SESSION - 1 {
        world.call(one, &number.to_string(), "o");
    }
    assert_eq!(pauses(&world), (0, 0));
    world.call(one, "last", "o");
    assert_eq!(pauses(&world), (1, 0));
    for ticket in world.tickets(&worker("s", 1)) {
        world.done(&worker("s", 1), ticket, "1");
    }
    assert_eq!(pauses(&world), (1, 1));
}

#[test]
fn a_session_that_does_not_read_is_paused_then_dropped_and_others_are_not() {
    let mut world = World::with_script(Settings {
        concurrency: 64,
        ..Settings::default()
    });
    world.stalled = true;
    let (one, two) = (world.connect(), world.connect());
    let big = Payload::Json(Json::of(&"x".repeat(900_000)));
    for number in 0..20 {
        world.call(one, &number.to_string(), "o");
    }
    let tickets = world.tickets(&worker("s", 1));
    world.take();
    for ticket in tickets {
        let body = Body::Ok {
            result: big.clone(),
            replayed: false,
        };
        world.answer(&worker("s", 1), ticket, body);
    }
    let paused = Effect::Pause {
        peer: Peer::Session(one),
    };
    assert!(world.seen.contains(&paused));
    assert_eq!(world.farewells().len(), 1);
    assert!(world.farewells()[0].1.starts_with("slow"));
    world.ask(two, Some("1"), ping());
    assert_eq!(world.heard(two).len(), 1);
}

// R-128
#[test]
fn a_session_that_takes_nothing_for_ten_seconds_is_dropped() {
    let mut world = World::new();
    world.stalled = true;
    let one = world.connect();
    world.ask(one, Some("1"), Command::Status);
    world.pass(Duration::from_millis(9_900));
    assert!(world.farewells().is_empty());
    world.pass(Duration::from_millis(200));
    assert_eq!(world.farewells().len(), 1);
}

// R-128
#[test]
fn a_line_that_does_not_end_is_not_waited_for() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    world.input(Input::Partial {
        session: one,
        begun: true,
    });
    world.input(Input::Partial {
        session: two,
        begun: true,
    });
    world.pass(Duration::from_secs(4));
    world.input(Input::Partial {
        session: two,
        begun: false,
    });
    world.pass(Duration::from_millis(1_001));
    assert_eq!(world.farewells().len(), 1);
    assert_eq!(world.farewells()[0].0, one.0);
}

#[test]
fn a_subscriber_that_does_not_read_gets_a_counted_gap() {
    let mut world = World::new();
    world.stalled = true;
    let (one, two) = (world.connect(), world.connect());
    world.ask(
        one,
        Some("e"),
        Command::Events {
            pattern: "lab.*".into(),
        },
    );
    let data = Some(Json::of(&"x".repeat(100_000)));
    for _ in 0..5 {
        let event = "lab.noise".to_owned();
        world.ask(
            two,
            Some("m"),
            Command::Emit {
                event,
                data: data.clone(),
            },
        );
    }
    let other = Command::Emit {
        event: "other".into(),
        data: None,
    };
    world.ask(two, Some("m"), other);
    let sent = world.answers(one);
    assert_eq!(sent.len(), 3, "256 KiB of credit");
    world.take();
    let cost = sent.iter().map(Answer::cost).sum();
    world.input(Input::Flushed {
        peer: Peer::Session(one),
        cost,
    });
    let gap = "e: part {\"data\":{\"missed\":2},\"event\":\"moonkeep.gap\"}";
    assert_eq!(world.heard(one), [gap]);
    world.take();
    let target = RequestId::new("e").unwrap();
    world.ask(one, Some("c"), Command::Cancel { target });
    assert_eq!(
        world.heard(one),
        ["e: error cancelled", "c: ok {\"cancelled\":true}"]
    );
}

#[test]
fn a_malformed_line_is_answered_and_the_session_stays() {
    let mut world = World::new();
    let one = world.connect();
    world.input(Input::FromClient {
        session: one,
        message: FromClient::Malformed(Malformed {
            encoding: Encoding::Text,
            id: None,
            refusal: Refusal::new(ErrorCode::BadRequest, "invalid UTF-8"),
        }),
    });
    world.ask(one, Some("1"), Command::Nothing);
    assert_eq!(world.heard(one), ["-: error bad_request", "1: ok -"]);
}

// T16
#[test]
fn a_scripts_process_may_look_but_not_control_unless_it_is_allowed() {
    let name = ScriptName::new("s").unwrap();
    for allow_control in [false, true] {
        let mut world = World::with_script(Settings {
            allow_control,
            ..Settings::default()
        });
        let one = world.connect();
        world.input(Input::Belongs {
            session: one,
            script: Some(name.clone()),
        });
        world.ask(one, Some("p"), ping());
        world.ask(one, Some("l"), Command::List);
        world.ask(
            one,
            Some("r"),
            Command::Control {
                verb: Verb::Stop,
                script: Some(name.clone()),
            },
        );
        world.ask(one, Some("d"), Command::Shutdown);
        let denied = world
            .seen
            .iter()
            .filter(|effect| format!("{effect:?}").contains("code: Denied"))
            .count();
        assert_eq!(denied, if allow_control { 0 } else { 2 });
        let exits = world.seen.iter().any(|effect| {
            matches!(
                effect,
                Effect::ToWorker {
                    message: ToWorker::Shutdown { .. },
                    ..
                }
            )
        });
        assert_eq!(exits, allow_control);
    }
}
