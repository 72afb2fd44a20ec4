//! When checks run.

use super::driver::{Ran, World, child, seconds, spec};
use crate::moment::Moment;
use crate::monitor::alphabet::{Configured, Effect, Input};
use crate::monitor::state::State;
use crate::proto::messages::{CheckKind, CheckSpec};

#[test]
fn from_start_to_start_whatever_a_run_takes() {
    for takes in [0.01, 3.0, 9.99] {
        let mut world = World::with(vec![spec("web")]);
        world.takes("web", takes);
        world.pass(45.0);
        assert_eq!(
            world.starts("web"),
            [0.0, 10.0, 20.0, 30.0, 40.0],
            "{takes}"
        );
    }
}

#[test]
fn a_run_that_overruns_skips_beats_and_never_overlaps() {
    let mut world = World::with(vec![spec("web")]);
    world.takes("web", 25.0);
    world.pass(95.0);
    assert_eq!(world.starts("web"), [0.0, 30.0, 60.0, 90.0]);
}

#[test]
fn it_looks_again_soon_while_it_is_in_doubt() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(15.0);
    world.set("web", State::Critical);
    world.pass(11.0);
    // Bad at 20, 22 and 24: confirmed; then at 34.
    world.pass(9.0);
    assert_eq!(world.starts("web"), [0.0, 10.0, 20.0, 22.0, 24.0, 34.0]);
    world.set("web", State::Ok);
    world.pass(22.0);
    // Good at 44 and 46: confirmed.
    assert_eq!(world.starts("web")[6..], [44.0, 46.0, 56.0]);
}

#[test]
fn a_new_check_that_is_ok_is_known_after_one_run_and_a_bad_one_after_three() {
    let mut world = World::with(vec![spec("web"), spec("db")]);
    world.set("db", State::Critical);
    world.pass(1.0);
    assert_eq!(world.confirmed("web"), Some(State::Ok));
    assert_eq!(world.confirmed("db"), None);
    assert_eq!((world.view("db").seen, world.view("db").needed), (1, 3));
    world.pass(4.0);
    assert_eq!(world.confirmed("db"), Some(State::Critical));
    assert_eq!(world.news(), ["problem db critical"]);
}

#[test]
fn chance_spreads_the_first_runs_and_no_run_comes_too_soon() {
    let specs = (0..200).map(|index| CheckSpec {
        every: seconds(30.0),
        jitter: 0.1,
        ..spec(&format!("check {index}"))
    });
    let mut world = World::with(specs.collect());
    world.pass(600.0);
    let firsts: Vec<f64> = (0..200)
        .map(|index| world.starts(&format!("check {index}"))[0])
        .collect();
    assert!(firsts.iter().all(|first| *first <= 10.0));
    for second in 0..10 {
        let within = |first: &&f64| (f64::from(second)..f64::from(second) + 1.0).contains(*first);
        let count = firsts.iter().filter(within).count();
        assert!((5..=40).contains(&count), "{count} in second {second}");
    }
    for index in 0..200 {
        let starts = world.starts(&format!("check {index}"));
        let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter().all(|gap| (27.0..=33.0).contains(gap)),
            "{gaps:?}"
        );
        let length = starts.last().unwrap() - starts[0];
        let mean = length / gaps.len() as f64;
        assert!((mean - 30.0).abs() < 0.2, "no drift: {mean}");
    }
}

#[test]
fn no_more_run_at_once_than_may_and_each_has_its_turn() {
    let specs: Vec<CheckSpec> = (0..20)
        .map(|index| spec(&format!("check {index}")))
        .collect();
    let mut world = World::new(1);
    world.configure(Configured {
        at_once: 3,
        ..Configured::default()
    });
    world.declare("p", specs);
    for index in 0..20 {
        world.takes(&format!("check {index}"), 1.0);
    }
    world.pass(100.0);
    assert_eq!(world.most_at_once, 3);
    let counts: Vec<usize> = (0..20)
        .map(|index| world.starts(&format!("check {index}")).len())
        .collect();
    assert!(counts.iter().all(|count| *count >= 9), "{counts:?}");
}

#[test]
fn a_parent_that_is_due_runs_before_its_children_whatever_their_order() {
    for order in [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ] {
        let needs = |name: &str| match name {
            "a" => child("a", &["b"]),
            "b" => child("b", &["c"]),
            other => spec(other),
        };
        let mut world = World::new(1);
        world.configure(Configured {
            at_once: 1,
            ..Configured::default()
        });
        world.declare("p", order.iter().map(|name| needs(name)).collect());
        world.pass(35.0);
        let ran: Vec<&str> = world
            .ran
            .iter()
            .map(|ran: &Ran| ran.check.as_str())
            .collect();
        for round in ran.chunks_exact(3) {
            assert_eq!(round, ["c", "b", "a"], "{order:?}");
        }
        assert_eq!(ran.len(), 12);
    }
}

#[test]
fn a_reload_with_the_same_checks_changes_nothing() {
    let mut world = World::with(vec![spec("web")]);
    world.set("web", State::Critical);
    world.pass(3.0);
    assert_eq!(world.view("web").seen, 2);
    world.declare("p", vec![spec("web"), spec("new")]);
    assert_eq!(world.view("web").seen, 2);
    world.pass(2.0);
    assert_eq!(world.confirmed("web"), Some(State::Critical));
    assert_eq!(world.starts("web"), [0.0, 2.0, 4.0]);
}

#[test]
fn changed_options_apply_from_the_last_start_on() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(12.0);
    world.declare(
        "p",
        vec![CheckSpec {
            every: seconds(5.0),
            ..spec("web")
        }],
    );
    world.pass(10.0);
    assert_eq!(world.starts("web"), [0.0, 10.0, 15.0, 20.0]);
    world.declare(
        "p",
        vec![CheckSpec {
            every: seconds(60.0),
            ..spec("web")
        }],
    );
    world.pass(70.0);
    assert_eq!(world.starts("web")[4..], [80.0]);
}

#[test]
fn a_check_that_goes_while_it_runs_never_runs_twice_when_it_comes_back() {
    let mut world = World::with(vec![spec("web")]);
    world.takes("web", 8.0);
    world.pass(1.0);
    world.withdraw("p");
    world.pass(1.0);
    world.declare("p", vec![spec("web")]);
    world.pass(60.0);
    assert!(world.starts("web").len() > 4);
    assert_eq!(world.confirmed("web"), Some(State::Ok));
}

#[test]
fn nothing_runs_before_the_clock_and_the_configuration_are_known() {
    let mut monitor = crate::monitor::Monitor::new(1);
    let plugin = super::driver::plugin("p");
    let mut wanted = |input| {
        monitor.handle(Moment(5), input);
        monitor.check_invariants();
        let mut runs = 0;
        let mut clocks = 0;
        while let Some(effect) = monitor.poll_effect() {
            runs += usize::from(matches!(effect, Effect::Run { .. }));
            clocks += usize::from(matches!(effect, Effect::AskClock));
        }
        (runs, clocks)
    };
    let declared = Input::Declared {
        plugin,
        checks: vec![spec("web")],
    };
    assert_eq!(wanted(declared), (0, 0));
    assert_eq!(wanted(Input::Tick), (0, 1));
    assert_eq!(wanted(Input::Configured(Box::default())), (0, 0));
    let clock = Input::Clock {
        unix_ms: 1,
        offset_seconds: 0,
    };
    assert_eq!(wanted(clock), (0, 0));
    assert_eq!(wanted(Input::Tick), (1, 0));
}

#[test]
fn a_check_that_is_broken_is_unknown_with_its_message_and_runs_when_it_is_mended() {
    let broken = |message: &str| CheckSpec {
        kind: CheckKind::Broken {
            message: message.to_owned(),
            traceback: None,
        },
        ..spec("web")
    };
    let mut world = World::with(vec![broken("line 3 is wrong")]);
    assert_eq!(world.confirmed("web"), Some(State::Unknown));
    assert_eq!(world.view("web").message, "line 3 is wrong");
    world.pass(60.0);
    assert_eq!(world.news(), ["problem web unknown"]);
    world.declare("p", vec![broken("line 4 is wrong")]);
    assert_eq!(world.view("web").message, "line 4 is wrong");
    assert!(world.ran.is_empty());
    world.declare("p", vec![spec("web")]);
    world.pass(10.0);
    assert_eq!(world.confirmed("web"), Some(State::Ok));
    assert_eq!(world.news(), ["recovery web ok"]);
}

#[test]
fn a_name_belongs_to_the_plugin_that_had_it_first() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(1.0);
    world.declare("a", vec![spec("web"), spec("own")]);
    assert!(
        world
            .notes
            .last()
            .unwrap()
            .contains("two plugins have a check web: @p keeps it")
    );
    world.pass(20.0);
    assert!(!world.starts("own").is_empty());
    world.withdraw("p");
    world.pass(20.0);
    // The other one's takes its place, with what is known of it.
    assert_eq!(world.confirmed("web"), Some(State::Ok));
    world.withdraw("a");
    assert!(world.monitor.view(&["web".to_owned()]).is_err());
}

#[test]
fn sections_that_no_plugin_claims_are_checks_in_state_unknown() {
    let mut world = World::new(1);
    let mut configured = world.configured.clone();
    configured.faults = vec![("nginx".to_owned(), "no plugin is called nginxx".to_owned())];
    world.configure(configured.clone());
    world.pass(1.0);
    assert_eq!(world.confirmed("nginx"), Some(State::Unknown));
    assert_eq!(world.news(), ["problem nginx unknown"]);
    configured.faults.clear();
    world.configure(configured);
    assert!(world.monitor.view(&["nginx".to_owned()]).is_err());
}
