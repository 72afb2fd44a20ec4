//! Checks that are told of.

use super::driver::{World, seconds, spec};
use crate::limits;
use crate::monitor::alphabet::{CheckAsk, Input};
use crate::monitor::state::State;
use crate::monitor::view::Kind;
use crate::proto::messages::{Beat, CheckKind, CheckSpec, Quiet};

/// Every hour, with ten minutes of grace.
fn job() -> CheckSpec {
    CheckSpec {
        kind: CheckKind::Heartbeat {
            grace: seconds(600.0),
        },
        every: seconds(3_600.0),
        ..spec("job")
    }
}

#[test]
fn a_job_that_is_heard_of_in_time_is_ok_and_a_silent_one_is_critical() {
    let mut world = World::with(vec![job()]);
    assert_eq!(world.view("job").kind, Kind::Heartbeat);
    world.pass(4_100.0);
    assert_eq!(world.confirmed("job"), None);
    assert!(world.beat("job", Beat::Ok).unwrap().starts_with("job: ok;"));
    assert_eq!(world.confirmed("job"), Some(State::Ok));
    world.pass(4_199.0);
    assert_eq!(world.news(), [""; 0]);
    world.pass(2.0);
    assert_eq!(world.news(), ["problem job critical"]);
    assert_eq!(world.view("job").message, "no sign of life for 1h 10m");
    world.pass(100_000.0);
    assert_eq!(world.news(), [""; 0], "one silence, one alert");
    world.beat("job", Beat::Code(0)).unwrap();
    world.pass(1.0);
    assert_eq!(world.news(), ["recovery job ok"]);
}

#[test]
fn the_first_beat_is_awaited_from_the_declaration_on() {
    let mut world = World::with(vec![job()]);
    world.pass(4_201.0);
    assert_eq!(world.news(), ["problem job critical"]);
}

#[test]
fn what_a_job_says_of_itself_counts_at_once() {
    for (beat, message) in [
        (Beat::Fail, "it says that it has failed"),
        (Beat::Code(7), "it has ended with code 7"),
        (Beat::Code(-1), "it has ended with code -1"),
    ] {
        let mut world = World::with(vec![job()]);
        world.beat("job", beat).unwrap();
        world.pass(1.0);
        assert_eq!(world.view("job").message, message);
        assert_eq!(world.news(), ["problem job critical"]);
    }
}

#[test]
fn a_job_that_has_started_is_to_end_within_the_grace() {
    let mut world = World::with(vec![job()]);
    world.beat("job", Beat::Ok).unwrap();
    world.pass(3_500.0);
    world.beat("job", Beat::Start).unwrap();
    assert!(world.view("job").is_running);
    world.pass(599.0);
    assert_eq!(world.confirmed("job"), Some(State::Ok));
    world.pass(2.0);
    assert_eq!(world.news(), ["problem job critical"]);
    assert_eq!(
        world.view("job").message,
        "no sign of life for 10m 0s: it has started and not ended"
    );
    world.beat("job", Beat::Ok).unwrap();
    assert_eq!(world.confirmed("job"), Some(State::Ok));
    assert_eq!(world.view("job").duration_seconds, Some(601.0));
    assert!(!world.view("job").is_running);
}

#[test]
fn a_long_message_is_cut() {
    let mut world = World::with(vec![job()]);
    world.hand(Input::Beat {
        ask: CheckAsk(1),
        check: "job".to_owned(),
        beat: Beat::Ok,
        message: Some("ä".repeat(limits::CHECK_OUTPUT_BYTES)),
    });
    let kept = world.view("job").message.len();
    assert!(kept <= limits::CHECK_OUTPUT_BYTES + 3 && kept > limits::CHECK_OUTPUT_BYTES - 3);
}

#[test]
fn a_downtime_silences_beats_and_their_absence() {
    let mut world = World::with(vec![job()]);
    world.quiet("job", Quiet::For(seconds(10_000.0))).unwrap();
    world.beat("job", Beat::Fail).unwrap();
    world.pass(9_000.0);
    assert_eq!(world.confirmed("job"), Some(State::Critical));
    assert_eq!(world.news(), [""; 0]);
    world.pass(1_100.0);
    assert_eq!(world.news(), ["problem job critical"]);
}

#[test]
fn a_restart_keeps_what_is_awaited_and_gives_the_job_its_grace() {
    // When the daemon dies after the beat, how long it is gone, and when the job is late, counted from the beat.
    for (dies, gone, late) in [
        (1_000.0, 10.0, 4_200.0),
        (1_000.0, 5_000.0, 6_600.0),
        (4_000.0, 10.0, 4_610.0),
    ] {
        let mut world = World::with(vec![job()]);
        world.beat("job", Beat::Ok).unwrap();
        world.pass(dies);
        world.restart(gone);
        world.pass(late - dies - gone - 2.0);
        assert_eq!(world.news(), [""; 0], "{dies} {gone}");
        world.pass(4.0);
        assert_eq!(world.news(), ["problem job critical"], "{dies} {gone}");
        world.restart(10.0);
        world.pass(10_000.0);
        assert_eq!(world.news(), [""; 0]);
    }
}

#[test]
fn changed_options_count_from_the_last_beat_on() {
    let mut world = World::with(vec![job()]);
    world.beat("job", Beat::Ok).unwrap();
    world.pass(1_000.0);
    world.declare(
        "p",
        vec![CheckSpec {
            every: seconds(1_200.0),
            ..job()
        }],
    );
    world.pass(799.0);
    assert_eq!(world.confirmed("job"), Some(State::Ok));
    world.pass(2.0);
    assert_eq!(world.confirmed("job"), Some(State::Critical));
}

#[test]
fn only_heartbeats_are_told_anything() {
    let mut world = World::with(vec![job(), spec("web")]);
    assert!(
        world
            .beat("web", Beat::Ok)
            .unwrap_err()
            .starts_with("web is no heartbeat")
    );
    assert_eq!(
        world.beat("jobb", Beat::Ok).unwrap_err(),
        "there is no check \"jobb\"; did you mean \"job\"?"
    );
    world.withdraw("p");
    assert!(world.beat("job", Beat::Ok).is_err());
}
