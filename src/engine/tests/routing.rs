//! Answers reach whoever asked, or nobody.

use std::time::Duration;

use super::driver::*;
use crate::engine::alphabet::*;
use crate::options::Settings;
use crate::proto::ids::*;
use crate::proto::messages::*;

//
#[test]
fn answers_reach_the_request_that_asked_whatever_their_order() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    let two = world.connect();
    world.call(one, "7", "o");
    world.call(two, "7", "o");
    let tickets = world.tickets(&worker("s", 1));
    assert_eq!(tickets.len(), 2);
    world.done(&worker("s", 1), tickets[1], "\"for two\"");
    world.done(&worker("s", 1), tickets[0], "\"for one\"");
    assert_eq!(world.heard(one), ["7: ok \"for one\""]);
    assert_eq!(world.heard(two), ["7: ok \"for two\""]);
}

//
#[test]
fn an_unknown_finished_or_foreign_ticket_reaches_nobody_and_is_counted() {
    let mut world = World::with_script(Settings::default());
    world.changed("t", Settings::default());
    world.ready(&worker("t", 1));
    let one = world.connect();
    world.call(one, "1", "o");
    let ticket = world.tickets(&worker("s", 1))[0];
    world.take();
    world.done(&worker("t", 1), ticket, "\"forged\"");
    world.done(&worker("s", 1), Ticket(999), "\"unknown\"");
    world.done(&worker("s", 2), ticket, "\"another generation\"");
    assert!(world.heard(one).is_empty());
    world.done(&worker("s", 1), ticket, "\"true\"");
    world.done(&worker("s", 1), ticket, "\"late\"");
    assert_eq!(world.heard(one), ["1: ok \"true\""]);
    assert_eq!(world.status("")["counters"]["late_or_unknown_replies"], 3);
}

//
#[test]
fn a_late_answer_for_a_client_that_is_gone_reaches_nobody() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.call(one, "1", "o");
    let ticket = world.tickets(&worker("s", 1))[0];
    world.input(Input::Gone {
        session: one,
        why: "closed".into(),
    });
    let two = world.connect();
    world.done(&worker("s", 1), ticket, "1");
    assert!(world.heard(two).is_empty());
    assert!(world.heard(one).is_empty());
}

#[test]
fn commands_of_the_control_path_answer_at_once() {
    let mut world = World::new();
    let one = world.connect();
    let ping = Command::Ping {
        client: None,
        timestamp: Some("5".into()),
    };
    world.ask(one, Some("1"), ping);
    world.ask(one, Some("2"), Command::Nothing);
    world.ask(one, Some("3"), Command::Version);
    world.ask(one, Some("4"), Command::Peers);
    world.ask(one, Some("5"), call("nobody", "x", None));
    assert_eq!(
        world.heard(one),
        [
            "1: ok {\"active\":true,\"pong\":\"00000000-0000-0000-0000-000000000da3\",\"timestamp\":\"5\"}",
            "2: ok -",
            "3: ok {\"version\":\"0.1.0\"}",
            "4: ok []",
            "5: error unknown_script",
        ]
    );
}

#[test]
fn deadlines_cancel_then_kill() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, Some("1"), call("s", "o", Some(Duration::from_secs(2))));
    world.take();
    world.pass(Duration::from_millis(2_101));
    let heard = world.to_worker(&worker("s", 1));
    assert!(matches!(heard[..], [ToWorker::Cancel { .. }]), "{heard:?}");
    assert!(world.heard(one).is_empty());
    world.pass(Duration::from_millis(1_000));
    assert_eq!(world.signals(), ["s#1 Kill"]);
    // What it wrote down is known when it is gone.
    assert!(world.heard(one).is_empty());
    world.exited(&worker("s", 1), Exit::Signal(9));
    assert_eq!(world.heard(one), ["1: error outcome_unknown"]);
    assert_eq!(world.spawned(), ["s#2"]);
}

#[test]
fn a_killed_worker_that_does_not_go_keeps_nobody_waiting() {
    let mut world = World::with_script(Settings::default());
    let one = world.connect();
    world.ask(one, Some("1"), call("s", "o", Some(Duration::from_secs(2))));
    world.pass(Duration::from_millis(3_101));
    assert_eq!(world.signals(), ["s#1 Kill"]);
    assert!(world.heard(one).is_empty());
    world.pass(crate::limits::EXIT_GRACE);
    assert_eq!(world.heard(one), ["1: error outcome_unknown"]);
}
