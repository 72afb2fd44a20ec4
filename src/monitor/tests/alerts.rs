//! Which change is told to whom.

use super::driver::{World, hook, spec};
use crate::monitor::alphabet::{AlertKind, Configured};
use crate::monitor::state::State;
use crate::options::alerts::{Action, Hook};
use crate::proto::messages::CheckSpec;

#[test]
fn only_what_is_confirmed_is_told() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(15.0);
    for _ in 0..5 {
        world.set("web", State::Critical);
        world.pass(7.0);
        world.set("web", State::Ok);
        world.pass(13.0);
    }
    assert_eq!(world.news(), [""; 0]);
    assert!(world.view("web").history.contains(&State::Critical));
}

#[test]
fn a_problem_and_its_recovery_have_the_same_beginning() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(15.0);
    world.set("web", State::Critical);
    world.pass(30.0);
    world.set("web", State::Ok);
    world.pass(30.0);
    let alerts: Vec<_> = world.delivered.iter().map(|(_, alert)| alert).collect();
    assert_eq!(alerts.len(), 2);
    let (problem, recovery) = (alerts[0], alerts[1]);
    assert_eq!(
        (problem.kind, recovery.kind),
        (AlertKind::Problem, AlertKind::Recovery)
    );
    // The first bad run began at 20 s, and the third ended soon after 24 s.
    assert_eq!(problem.began_unix_ms, super::driver::NOON + 20_000);
    assert_eq!(problem.at_unix_ms, super::driver::NOON + 24_010);
    assert_eq!(recovery.began_unix_ms, problem.began_unix_ms);
    assert_eq!(
        (problem.from, problem.to),
        (Some(State::Ok), State::Critical)
    );
    assert_eq!(
        (recovery.from, recovery.to),
        (Some(State::Critical), State::Ok)
    );
    assert_eq!(problem.message, "web is critical");
    assert_eq!(problem.plugin.as_ref().unwrap().as_str(), "@p");
    let changed = world
        .events
        .iter()
        .filter(|event| event.contains("\"check\":\"web\""));
    assert_eq!(changed.count(), 3);
}

#[test]
fn what_gets_worse_is_told_and_what_gets_better_without_being_good_is_not() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(15.0);
    for state in [
        State::Warning,
        State::Critical,
        State::Warning,
        State::Critical,
        State::Ok,
    ] {
        world.set("web", state);
        world.pass(150.0);
    }
    assert_eq!(
        world.news(),
        [
            "problem web warning",
            "problem web critical",
            "recovery web ok"
        ]
    );
}

#[test]
fn hooks_hear_what_they_want_to_hear_and_the_end_of_it() {
    let mut world = World::new(1);
    let of = |name: &str, tags: &[&str], states: &[&str]| Hook {
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        states: states.iter().map(|&state| state.to_owned()).collect(),
        ..hook(name)
    };
    world.configure(Configured {
        hooks: vec![
            of("all", &[], &[]),
            of("web only", &["web"], &[]),
            of("critical", &[], &["critical"]),
            of("warning", &[], &["warning"]),
            of("web critical", &["web"], &["critical", "unknown"]),
        ],
        ..Configured::default()
    });
    let tagged = CheckSpec {
        tags: vec!["web".to_owned()],
        ..spec("site")
    };
    world.declare("p", vec![tagged, spec("db")]);
    world.pass(15.0);
    for (site, db) in [
        (State::Warning, State::Ok),
        (State::Critical, State::Critical),
        (State::Ok, State::Ok),
    ] {
        world.set("site", site);
        world.set("db", db);
        world.pass(40.0);
    }
    let heard = |name: &str| -> Vec<String> {
        let own = world.delivered.iter().filter(|(hook, _)| hook == name);
        own.map(|(_, alert)| super::driver::words(alert)).collect()
    };
    let site = [
        "problem site warning",
        "problem site critical",
        "recovery site ok",
    ];
    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    assert_eq!(heard("web only"), site);
    assert_eq!(heard("warning"), [site[0], site[2]]);
    assert_eq!(heard("web critical"), [site[1], site[2]]);
    let critical = ["problem db critical", site[1], "recovery db ok", site[2]];
    assert_eq!(sorted(heard("critical")), critical);
    assert_eq!(heard("all").len(), 5);
}

#[test]
fn a_plugins_own_function_hears_of_its_checks() {
    let mut world = World::with(vec![CheckSpec {
        on_change: true,
        instance: "site".into(),
        ..spec("web")
    }]);
    world.set("web", State::Critical);
    world.pass(30.0);
    let own: Vec<_> = world
        .attempts
        .iter()
        .map(|(_, delivery)| delivery)
        .collect();
    let own = own
        .iter()
        .find(|delivery| delivery.hook.action == Action::OnChange)
        .unwrap();
    assert_eq!(own.hook.name, "on_change of site");
    assert_eq!(
        (own.alert.check.as_str(), own.alert.instance.as_str()),
        ("web", "site")
    );
}

#[test]
fn a_check_that_leaves_and_returns_keeps_what_was_told() {
    let mut world = World::with(vec![spec("web")]);
    world.set("web", State::Critical);
    world.pass(30.0);
    assert_eq!(world.news(), ["problem web critical"]);
    world.withdraw("p");
    world.pass(3_600.0);
    world.declare("p", vec![spec("web")]);
    world.pass(60.0);
    assert_eq!(world.news(), [""; 0]);
    assert_eq!(world.confirmed("web"), Some(State::Critical));
    world.set("web", State::Ok);
    world.pass(60.0);
    assert_eq!(world.news(), ["recovery web ok"]);
}
