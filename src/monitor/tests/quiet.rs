//! Downtime and acknowledgement, against outages.

use super::driver::{World, seconds, spec};
use crate::limits;
use crate::monitor::state::State;
use crate::proto::messages::Quiet;

/// Down from `down` to `up`, in downtime from `quiet` to `loud`: what is told, and when at the earliest.
#[test]
fn a_downtime_silences_what_begins_in_it_and_tells_what_outlasts_it() {
    for (down, up, quiet, loud, expected) in [
        // All within the downtime: nothing.
        (20.0, 60.0, 10.0, 100.0, &[][..]),
        // It outlasts the downtime: told at its end.
        (
            20.0,
            200.0,
            10.0,
            100.0,
            &["problem web critical", "recovery web ok"],
        ),
        // Told before: its end is told, also in the downtime.
        (
            20.0,
            100.0,
            50.0,
            200.0,
            &["problem web critical", "recovery web ok"],
        ),
        // Told before, and it outlasts the downtime: told once.
        (
            20.0,
            300.0,
            50.0,
            100.0,
            &["problem web critical", "recovery web ok"],
        ),
        // The downtime was over before.
        (
            200.0,
            300.0,
            10.0,
            100.0,
            &["problem web critical", "recovery web ok"],
        ),
    ] {
        let mut world = World::with(vec![spec("web")]);
        let mut story: [(f64, u8); 3] = [(down, 0), (up, 1), (quiet, 2)];
        story.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (at, what) in story {
            world.pass(at - world.now.0 as f64 / 1e6);
            match what {
                0 => world.set("web", State::Critical),
                1 => world.set("web", State::Ok),
                _ => {
                    let answer = world.quiet("web", Quiet::For(seconds(loud - quiet)));
                    assert!(
                        answer
                            .unwrap()
                            .starts_with("web: no alerts until 2026-11-21 12:")
                    );
                    assert_eq!(world.view("web").quiet.as_deref(), Some("downtime"));
                }
            }
        }
        world.pass(300.0);
        assert_eq!(world.news(), expected, "{down} {up} {quiet} {loud}");
        assert_eq!(world.view("web").quiet, None);
    }
}

#[test]
fn an_acknowledgement_ends_with_the_problem() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(15.0);
    let refused = world.quiet("web", Quiet::UntilOk).unwrap_err();
    assert!(
        refused.contains("there is nothing to acknowledge"),
        "{refused}"
    );
    world.set("web", State::Warning);
    world.pass(30.0);
    assert_eq!(world.news(), ["problem web warning"]);
    world.quiet("web", Quiet::UntilOk).unwrap();
    assert_eq!(world.view("web").quiet.as_deref(), Some("acknowledged"));
    world.set("web", State::Critical);
    world.pass(160.0);
    assert_eq!(world.news(), [""; 0], "it got worse, and somebody is at it");
    world.set("web", State::Ok);
    world.pass(160.0);
    assert_eq!(world.news(), ["recovery web ok"]);
    assert_eq!(world.view("web").quiet, None);
    world.set("web", State::Critical);
    world.pass(160.0);
    assert_eq!(world.news(), ["problem web critical"]);
}

#[test]
fn what_is_acknowledged_before_it_is_told_is_never_told() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(11.0);
    world.set("web", State::Critical);
    world.pass(10.0);
    assert_eq!(world.view("web").seen, 1);
    world.quiet("web", Quiet::UntilOk).unwrap();
    world.pass(60.0);
    world.set("web", State::Ok);
    world.pass(60.0);
    assert_eq!(world.news(), [""; 0]);
}

#[test]
fn alerts_can_be_switched_on_again_and_then_tell_what_is() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(11.0);
    world.quiet("web", Quiet::For(seconds(1_000.0))).unwrap();
    world.set("web", State::Critical);
    world.pass(60.0);
    assert_eq!(world.view("web").quiet_why.as_deref(), Some("because"));
    assert_eq!(
        world.quiet("web", Quiet::Off).unwrap(),
        "web: alerts are on"
    );
    world.pass(1.0);
    assert_eq!(world.news(), ["problem web critical"]);
}

#[test]
fn a_downtime_goes_by_the_wall_clock_and_over_a_restart() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(1.0);
    world.quiet("web", Quiet::For(seconds(600.0))).unwrap();
    let until = world.view("web").quiet_until_unix_ms;
    world.set("web", State::Critical);
    world.pass(100.0);
    world.restart(100.0);
    assert_eq!(world.view("web").quiet_until_unix_ms, until);
    world.pass(100.0);
    assert_eq!(world.news(), [""; 0]);
    // The wall clock is put forward: the downtime is over, as everybody can see.
    world.wall_at_zero += 3_600_000;
    world.pass(40.0);
    assert_eq!(world.news(), ["problem web critical"]);
}

#[test]
fn a_downtime_that_ended_while_no_daemon_ran_is_over() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(1.0);
    world.quiet("web", Quiet::For(seconds(60.0))).unwrap();
    world.set("web", State::Critical);
    world.pass(30.0);
    world.restart(100.0);
    world.pass(30.0);
    assert_eq!(world.news(), ["problem web critical"]);
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let mut world = World::with(vec![spec("website")]);
    for (name, quiet, sentence) in [
        (
            "webside",
            Quiet::Off,
            "there is no check \"webside\"; did you mean \"website\"?",
        ),
        (
            "xyz",
            Quiet::Off,
            "there is no check \"xyz\"; see them with: moonkeep checks",
        ),
        (
            "website",
            Quiet::For(seconds(0.0)),
            "a downtime lasts up to",
        ),
        (
            "website",
            Quiet::For(limits::QUIET_MOST * 2),
            "a downtime lasts up to",
        ),
    ] {
        let answer = world.quiet(name, quiet).unwrap_err();
        assert!(answer.starts_with(sentence), "{answer}");
    }
}
