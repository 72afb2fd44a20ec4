//! One outage, one alert.

use super::driver::{World, child, seconds, spec};
use crate::monitor::alphabet::Configured;
use crate::monitor::state::State;
use crate::proto::messages::{CheckKind, CheckSpec, Quiet};

#[test]
fn a_dead_parent_is_one_alert_in_whatever_order_things_are_seen() {
    // The interval of the parent against that of the child, where the outage falls, and who is declared first.
    for (parent, kid) in [(10.0, 10.0), (60.0, 5.0), (5.0, 60.0), (7.0, 3.0)] {
        for begins in 0..6 {
            for swap in [false, true] {
                let mut specs = vec![
                    CheckSpec {
                        every: seconds(parent),
                        ..spec("gateway")
                    },
                    CheckSpec {
                        every: seconds(kid),
                        ..child("web", &["gateway"])
                    },
                    CheckSpec {
                        every: seconds(kid),
                        fall: 1,
                        ..child("db", &["gateway"])
                    },
                ];
                if swap {
                    specs.reverse();
                }
                let mut world = World::with(specs);
                world.pass(70.0 + f64::from(begins) * 1.9);
                for name in ["gateway", "web", "db"] {
                    world.set(name, State::Critical);
                }
                world.pass(200.0);
                let place = format!("{parent} {kid} {begins} {swap}");
                assert_eq!(world.news(), ["problem gateway critical"], "{place}");
                assert_eq!(world.view("web").quiet.as_deref(), Some("parent gateway"));
                assert_eq!(world.confirmed("web"), Some(State::Critical), "{place}");
                for name in ["web", "db", "gateway"] {
                    world.set(name, State::Ok);
                }
                world.pass(200.0);
                assert_eq!(world.news(), ["recovery gateway ok"], "{place}");
            }
        }
    }
}

#[test]
fn a_child_that_is_bad_by_itself_is_told_of() {
    for (parent, begins) in [(10.0, 3.0), (60.0, 3.0), (60.0, 59.0), (3_600.0, 10.0)] {
        let mut world = World::with(vec![
            CheckSpec {
                every: seconds(parent),
                ..spec("gateway")
            },
            child("web", &["gateway"]),
        ]);
        world.pass(begins);
        world.set("web", State::Critical);
        world.pass(25.0);
        assert_eq!(world.news(), ["problem web critical"], "{parent} {begins}");
        world.set("web", State::Ok);
        world.pass(25.0);
        assert_eq!(world.news(), ["recovery web ok"]);
    }
}

#[test]
fn a_child_that_is_still_bad_when_its_parent_recovers_is_told_of_then() {
    let mut world = World::with(vec![spec("gateway"), child("web", &["gateway"])]);
    world.pass(5.0);
    world.set("gateway", State::Critical);
    world.set("web", State::Critical);
    world.pass(100.0);
    assert_eq!(world.news(), ["problem gateway critical"]);
    world.set("gateway", State::Ok);
    world.pass(20.0);
    assert_eq!(
        world.news(),
        ["recovery gateway ok", "problem web critical"]
    );
}

#[test]
fn what_was_told_before_is_resolved_though_the_parent_is_down() {
    let mut world = World::with(vec![spec("gateway"), child("web", &["gateway"])]);
    world.pass(5.0);
    world.set("web", State::Critical);
    world.pass(30.0);
    world.set("gateway", State::Critical);
    world.pass(30.0);
    world.set("web", State::Ok);
    world.pass(30.0);
    let news = world.news();
    assert_eq!(
        news,
        [
            "problem web critical",
            "problem gateway critical",
            "recovery web ok"
        ]
    );
}

#[test]
fn a_parent_of_which_nothing_is_known_yet_holds_back_too_and_a_warning_does_not() {
    let parent = CheckSpec {
        every: seconds(1_000.0),
        jitter: 1.0,
        ..spec("gateway")
    };
    let mut world = World::with(vec![parent, child("web", &["gateway"])]);
    world.takes("gateway", 100.0);
    world.set("web", State::Critical);
    world.pass(60.0);
    assert_eq!(world.confirmed("gateway"), None);
    assert_eq!(world.news(), [""; 0]);
    assert_eq!(world.view("web").quiet.as_deref(), Some("parent gateway"));
    world.pass(60.0);
    assert_eq!(world.news(), ["problem web critical"]);
    let mut world = World::with(vec![spec("gateway"), child("web", &["gateway"])]);
    world.set("gateway", State::Warning);
    world.pass(30.0);
    world.set("web", State::Critical);
    world.pass(30.0);
    assert_eq!(
        world.news(),
        ["problem gateway warning", "problem web critical"]
    );
}

#[test]
fn grandparents_hold_back_by_their_children() {
    let mut world = World::with(vec![
        spec("router"),
        child("gateway", &["router"]),
        child("web", &["gateway"]),
    ]);
    world.pass(5.0);
    for name in ["web", "gateway", "router"] {
        world.set(name, State::Critical);
    }
    world.pass(100.0);
    assert_eq!(world.news(), ["problem router critical"]);
}

#[test]
fn a_parent_in_downtime_still_holds_back() {
    let mut world = World::with(vec![spec("gateway"), child("web", &["gateway"])]);
    world.pass(5.0);
    world
        .quiet("gateway", Quiet::For(seconds(1_000.0)))
        .unwrap();
    world.set("gateway", State::Critical);
    world.set("web", State::Critical);
    world.pass(300.0);
    assert_eq!(world.news(), [""; 0]);
}

#[test]
fn a_parent_that_nobody_declares_is_a_stated_fault_with_the_nearest_name() {
    let mut world = World::with(vec![spec("gateway"), child("web", &["gatewya"])]);
    world.pass(20.0);
    assert_eq!(
        world.confirmed("web"),
        Some(State::Ok),
        "its plugin may still be loading"
    );
    world.pass(20.0);
    assert_eq!(world.confirmed("web"), Some(State::Unknown));
    let message = world.view("web").message;
    assert_eq!(
        message,
        "it needs `gatewya`, and there is no check of that name; did you mean `gateway`?"
    );
    let runs = world.starts("web").len();
    world.pass(60.0);
    assert_eq!(world.starts("web").len(), runs);
    world.declare("q", vec![spec("gatewya")]);
    world.pass(60.0);
    assert_eq!(world.confirmed("web"), Some(State::Ok));
}

#[test]
fn a_parent_that_comes_in_time_is_no_fault() {
    let mut world = World::with(vec![child("web", &["gateway"])]);
    world.set("web", State::Critical);
    world.pass(25.0);
    world.declare("q", vec![spec("gateway")]);
    world.pass(60.0);
    assert_eq!(world.news(), ["problem web critical"]);
}

#[test]
fn checks_that_need_themselves_are_a_stated_fault_and_those_beside_them_are_not() {
    let mut world = World::with(vec![
        child("a", &["b"]),
        child("b", &["c"]),
        child("c", &["a"]),
        child("self", &["self"]),
        child("below", &["a"]),
        child("c2", &["root"]),
        spec("root"),
    ]);
    world.pass(50.0);
    for (name, way) in [
        ("a", "a -> b -> c -> a"),
        ("b", "b -> c -> a -> b"),
        ("self", "self -> self"),
    ] {
        assert_eq!(world.confirmed(name), Some(State::Unknown));
        let message = world.view(name).message;
        assert_eq!(
            message,
            format!("it needs itself: {way}; take one of these out of `needs`")
        );
    }
    for name in ["below", "c2", "root"] {
        assert_eq!(world.confirmed(name), Some(State::Ok), "{name}");
    }
    world.declare("p", vec![child("a", &["b"]), child("b", &["c"]), spec("c")]);
    world.pass(50.0);
    assert_eq!(world.confirmed("a"), Some(State::Ok));
}

#[test]
fn a_thousand_children_of_one_parent_are_one_alert() {
    let mut specs = vec![spec("gateway")];
    specs.extend((0..300).map(|index| child(&format!("web {index}"), &["gateway"])));
    let mut world = World::new(1);
    world.configure(Configured {
        at_once: 20,
        ..world.configured.clone()
    });
    world.declare("p", specs.clone());
    world.pass(30.0);
    for spec in &specs {
        world.set(&spec.name, State::Critical);
    }
    world.pass(100.0);
    assert_eq!(world.news(), ["problem gateway critical"]);
    for spec in &specs {
        world.set(&spec.name, State::Ok);
    }
    world.pass(100.0);
    assert_eq!(world.news(), ["recovery gateway ok"]);
}

#[test]
fn a_parent_that_cannot_be_made_holds_back() {
    let broken = CheckSpec {
        kind: CheckKind::Broken {
            message: "no".to_owned(),
            traceback: None,
        },
        ..spec("gateway")
    };
    let mut world = World::with(vec![broken, child("web", &["gateway"])]);
    world.set("web", State::Critical);
    world.pass(60.0);
    assert_eq!(world.news(), ["problem gateway unknown"]);
}

#[test]
fn a_child_whose_downtime_ends_after_its_parent_recovered_is_looked_at_at_once() {
    let mut world = World::with(vec![
        spec("gateway"),
        CheckSpec {
            every: seconds(3_600.0),
            ..child("web", &["gateway"])
        },
    ]);
    world.pass(3_595.0);
    world.quiet("web", Quiet::For(seconds(200.0))).unwrap();
    for name in ["gateway", "web"] {
        world.set(name, State::Critical);
    }
    world.pass(100.0);
    world.set("gateway", State::Ok);
    world.pass(50.0);
    assert_eq!(
        world.news(),
        ["problem gateway critical", "recovery gateway ok"]
    );
    world.pass(60.0);
    assert_eq!(world.news(), ["problem web critical"]);
}
