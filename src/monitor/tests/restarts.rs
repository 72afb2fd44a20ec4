//! What the next daemon knows.

use super::driver::{World, seconds, spec};
use crate::limits;
use crate::moment::Moment;
use crate::monitor::alphabet::{Effect, Input, Kept};
use crate::monitor::state::State;
use crate::proto::messages::{CheckSpec, Json};

#[test]
fn a_restart_tells_nothing_twice_and_forgets_nothing() {
    let mut world = World::with(vec![spec("web"), spec("db")]);
    world.set("web", State::Critical);
    world.pass(30.0);
    assert_eq!(world.news(), ["problem web critical"]);
    let before = world.view("web");
    world.restart(20.0);
    let after = world.view("web");
    assert_eq!(after.confirmed, Some(State::Critical));
    assert_eq!(after.since_unix_ms, before.since_unix_ms);
    assert_eq!(
        (after.message, after.history),
        (before.message, before.history)
    );
    world.pass(60.0);
    assert_eq!(world.news(), [""; 0]);
    world.set("web", State::Ok);
    world.restart(20.0);
    world.pass(60.0);
    assert_eq!(world.news(), ["recovery web ok"]);
}

#[test]
fn counts_go_on_over_a_short_restart_and_not_over_a_long_one() {
    for (gap, wanted) in [(5.0, 1), (limits::CHECK_SOFT_KEPT.as_secs_f64() + 60.0, 3)] {
        let mut world = World::with(vec![CheckSpec {
            every: seconds(100.0),
            retry_every: seconds(15.0),
            ..spec("web")
        }]);
        world.pass(50.0);
        world.set("web", State::Critical);
        // Bad at 100 and 115, and written by 125.
        world.pass(77.0);
        assert_eq!(world.view("web").seen, 2);
        world.restart(gap);
        let runs = world.ran.len();
        while world.confirmed("web") == Some(State::Ok) {
            world.pass(0.5);
        }
        assert_eq!(world.ran.len() - runs, wanted, "{gap}");
    }
}

#[test]
fn confirmed_changes_are_written_at_once_and_results_in_batches() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(1.0);
    let writes = world.writes;
    world.declare(
        "p",
        vec![CheckSpec {
            every: seconds(0.5),
            ..spec("web")
        }],
    );
    world.pass(100.0);
    assert!(world.ran.len() > 150);
    let written = world.writes - writes;
    assert!((9..=11).contains(&written), "{written}");
}

#[test]
fn what_cannot_be_read_is_left_out_with_a_note() {
    let mut world = World::with(vec![spec("web"), spec("db")]);
    world.set("web", State::Critical);
    world.pass(30.0);
    let good = world.store["web"].as_str().to_owned();
    for (name, text) in [
        ("a", "7"),
        ("b", "null"),
        ("c", "{}"),
        ("d", "{\"version\":2}"),
        ("e", "{\"version\":1,\"results\":\"many\"}"),
        ("g", "{\"version\":1,\"last\":\"excellent\"}"),
    ] {
        world
            .store
            .insert(name.to_owned(), Json::parse(text).unwrap());
    }
    world.notes.clear();
    world.restart(1.0);
    assert_eq!(world.notes.len(), 6, "{:?}", world.notes);
    assert!(
        world.notes[0].starts_with("what was kept of the check a cannot be read and is left out")
    );
    assert_eq!(world.confirmed("web"), Some(State::Critical));
    // Whatever is cut from or put into a record, it is read or left out.
    for end in 0..good.len() {
        if !good.is_char_boundary(end) {
            continue;
        }
        for text in [
            format!("{}}}", &good[..end]),
            good[..end].to_owned(),
            good.replace(&good[end..=end], "9"),
        ] {
            let Ok(json) = Json::parse(&text) else {
                continue;
            };
            let mut monitor = crate::monitor::Monitor::new(1);
            let kept = Kept {
                checks: vec![("web".to_owned(), json)],
                deliveries: Vec::new(),
            };
            monitor.handle(Moment(1), Input::Restored(Box::new(kept)));
            monitor.check_invariants();
        }
    }
}

#[test]
fn a_record_with_more_than_may_be_is_cut() {
    let spans: Vec<(u64, u64, u8)> = (0..5_000)
        .map(|index| (index * 2, index * 2 + 1, 0))
        .collect();
    let results = vec!["ok"; 500];
    let record = serde_json::json!({
        "version": 1, "results": results, "recorded": results, "spans": spans, "seen": 4_000_000_000_u32,
        "last": "critical", "unknown field": {"a": [1]},
    });
    let mut world = World::new(1);
    world.store.insert("web".to_owned(), Json::of(&record));
    world.declare("p", vec![spec("web")]);
    world.restart(1.0);
    assert_eq!(world.view("web").history.len(), limits::CHECK_HISTORY);
    world.pass(20.0);
    assert_eq!(world.confirmed("web"), Some(State::Ok));
}

#[test]
fn what_is_gone_for_good_is_forgotten_and_what_returns_is_not() {
    let mut world = World::with(vec![spec("web")]);
    world.set("web", State::Critical);
    world.pass(30.0);
    world.withdraw("p");
    world.pass(limits::CHECK_FORGOTTEN_AFTER.as_secs_f64() - 10.0);
    assert!(world.store.contains_key("web"));
    world.declare("p", vec![spec("web")]);
    assert_eq!(world.confirmed("web"), Some(State::Critical));
    world.pass(60.0);
    world.withdraw("p");
    // A restart between does not prolong it.
    world.pass(40_000.0);
    world.restart(10.0);
    world.pass(40_000.0);
    assert!(world.store.contains_key("web"));
    world.restart(10.0);
    world.pass(7_000.0);
    assert!(!world.store.contains_key("web"));
    world.declare("p", vec![spec("web")]);
    assert_eq!(world.confirmed("web"), None);
}

#[test]
fn a_plugin_that_needs_long_to_load_finds_its_checks_remembered() {
    let mut world = World::with(vec![spec("web")]);
    world.set("web", State::Critical);
    world.pass(30.0);
    let declared = std::mem::take(&mut world.declared);
    world.restart(limits::CHECK_FORGOTTEN_AFTER.as_secs_f64() * 3.0);
    world.pass(120.0);
    world.declared = declared;
    world.declare("p", vec![spec("web")]);
    assert_eq!(world.confirmed("web"), Some(State::Critical));
}

#[test]
fn the_same_inputs_lead_to_the_same_effects() {
    let story = || {
        let mut world = World::new(5);
        world.declare(
            "p",
            (0..30)
                .map(|index| CheckSpec {
                    jitter: 0.3,
                    ..spec(&format!("web {index}"))
                })
                .collect(),
        );
        world.pass(100.0);
        world.set("web 3", State::Critical);
        world.pass(100.0);
        world.restart(3.0);
        world.pass(50.0);
        (world.ran, world.attempts, world.store)
    };
    assert_eq!(story(), story());
}

#[test]
fn plain_effects_are_those_of_the_alphabet() {
    // An idle monitor wants nothing at all.
    let mut monitor = crate::monitor::Monitor::new(1);
    monitor.handle(Moment(1), Input::Tick);
    assert_eq!(monitor.poll_effect(), None::<Effect>);
    assert_eq!(monitor.next_timeout(), None);
}
