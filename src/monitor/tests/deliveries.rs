//! Alerts on their way.

use super::driver::{World, hook, spec};
use crate::limits;
use crate::monitor::alphabet::{Configured, Kept, Undelivered};
use crate::monitor::state::State;
use crate::proto::messages::CheckSpec;

fn failed() -> Result<(), Undelivered> {
    Err(Undelivered::Failed("connection refused".to_owned()))
}

fn in_trouble(checks: usize) -> World {
    let specs: Vec<CheckSpec> = (0..checks)
        .map(|index| spec(&format!("web {index}")))
        .collect();
    let mut world = World::with(specs);
    world.pass(5.0);
    for index in 0..checks {
        world.set(&format!("web {index}"), State::Critical);
    }
    world
}

#[test]
fn what_fails_is_tried_again_less_and_less_often() {
    let mut world = in_trouble(1);
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(3_600.0);
    let gaps: Vec<f64> = world
        .attempts
        .windows(2)
        .map(|pair| pair[1].0.since(pair[0].0).as_secs_f64())
        .collect();
    let mut most = limits::DELIVERY_RETRY_FIRST.as_secs_f64();
    for gap in &gaps {
        assert!((most / 2.0..=most + 0.1).contains(gap), "{gaps:?}");
        most = (most * 2.0).min(limits::DELIVERY_RETRY_MOST.as_secs_f64());
    }
    assert!(gaps.len() > 15);
    assert_eq!(
        world.notes.len(),
        1,
        "one note, not one for each attempt: {:?}",
        world.notes
    );
    world.hook_answers.clear();
    world.pass(300.0);
    assert_eq!(world.news(), ["problem web 0 critical"]);
    assert!(world.kept_deliveries.is_empty());
}

#[test]
fn what_one_hook_hears_of_one_check_comes_in_its_order() {
    let mut world = in_trouble(1);
    world.configure(Configured {
        hooks: vec![hook("pager"), hook("mail")],
        ..Configured::default()
    });
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(60.0);
    world.set("web 0", State::Ok);
    world.pass(600.0);
    // The other hook does not wait.
    assert_eq!(
        world.news(),
        ["problem web 0 critical", "recovery web 0 ok"]
    );
    world.hook_answers.clear();
    world.pass(600.0);
    assert_eq!(
        world.news(),
        ["problem web 0 critical", "recovery web 0 ok"]
    );
}

#[test]
fn what_is_refused_for_good_is_given_up_with_a_note() {
    let mut world = in_trouble(1);
    let refused = Err(Undelivered::Refused("404 Not Found".to_owned()));
    world.hook_answers.insert("pager".to_owned(), refused);
    world.pass(600.0);
    assert_eq!(world.attempts.len(), 1);
    assert!(
        world.notes[0].contains("could not be delivered through pager"),
        "{:?}",
        world.notes
    );
    assert!(world.notes[0].contains("404 Not Found"));
    assert!(world.kept_deliveries.is_empty());
    // What comes after it is tried.
    world.hook_answers.clear();
    world.set("web 0", State::Ok);
    world.pass(60.0);
    assert_eq!(world.news(), ["recovery web 0 ok"]);
}

#[test]
fn what_is_too_old_is_given_up_with_a_note() {
    let mut world = in_trouble(1);
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(limits::DELIVERY_AGE_MOST.as_secs_f64() + 700.0);
    assert!(
        world.notes.last().unwrap().contains("is given up"),
        "{:?}",
        world.notes
    );
    let attempts = world.attempts.len();
    world.pass(3_600.0);
    assert_eq!(world.attempts.len(), attempts);
    assert!(world.kept_deliveries.is_empty());
}

#[test]
fn a_storm_goes_through_a_few_at_a_time_and_a_hook_that_hangs_leaves_room() {
    let mut world = in_trouble(40);
    world.configure(Configured {
        hooks: ["a", "b", "c", "d", "e", "f"].map(hook).to_vec(),
        ..Configured::default()
    });
    world.hook_takes = super::driver::seconds(1.0);
    world.hook_answers.insert("a".to_owned(), failed());
    world.pass(60.0);
    let mut busiest = (0, 0);
    for (at, delivery) in &world.attempts {
        let since =
            |other: &crate::moment::Moment| at.since(*other).as_secs_f64() < 1.0 && other <= at;
        let together: Vec<_> = world
            .attempts
            .iter()
            .filter(|(other, _)| since(other))
            .collect();
        let own = together
            .iter()
            .filter(|(_, other)| other.hook.name == delivery.hook.name);
        busiest = (busiest.0.max(together.len()), busiest.1.max(own.count()));
    }
    assert_eq!(
        busiest,
        (limits::DELIVERIES_AT_ONCE, limits::DELIVERIES_PER_HOOK)
    );
    for name in ["b", "c", "d", "e", "f"] {
        let through = world.delivered.iter().filter(|(hook, _)| hook == name);
        assert_eq!(through.count(), 40, "{name}");
    }
}

#[test]
fn a_restart_loses_no_alert_on_its_way() {
    let mut world = in_trouble(3);
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(30.0);
    let first = world
        .attempts
        .iter()
        .map(|(_, delivery)| delivery.id)
        .max()
        .unwrap();
    for _ in 0..3 {
        world.restart(100.0);
        world.pass(30.0);
    }
    world.hook_answers.clear();
    for index in 0..3 {
        world.set(&format!("web {index}"), State::Ok);
    }
    world.pass(600.0);
    let mut news = world.news();
    news.sort();
    let all = |kind: &str, state: &str| {
        (0..3)
            .map(|index| format!("{kind} web {index} {state}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        news,
        [all("problem", "critical"), all("recovery", "ok")].concat()
    );
    // Ids are never used twice, also when what was delivered is forgotten.
    let last = world
        .attempts
        .iter()
        .map(|(_, delivery)| delivery.id)
        .max()
        .unwrap();
    assert!(last.0 >= first.0 + 3);
    assert!(world.kept_deliveries.is_empty());
    world.restart(10.0);
    world.set("web 0", State::Critical);
    world.pass(60.0);
    assert!(world.attempts.last().unwrap().1.id > last);
}

#[test]
fn what_waits_goes_through_the_hook_of_its_name_and_is_given_up_without_one() {
    let mut world = in_trouble(1);
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(60.0);
    let mut other = hook("pager");
    other.timeout = super::driver::seconds(9.0);
    world.configure(Configured {
        hooks: vec![other],
        ..Configured::default()
    });
    assert_eq!(
        world
            .kept_deliveries
            .values()
            .next()
            .unwrap()
            .hook
            .timeout
            .as_secs(),
        9
    );
    world.configure(Configured::default());
    assert!(world.kept_deliveries.is_empty());
    assert!(
        world
            .notes
            .last()
            .unwrap()
            .contains("its hook is no longer in moonkeep.toml")
    );
}

#[test]
fn more_than_may_wait_is_given_up_with_a_note() {
    let mut world = in_trouble(1);
    world.hook_answers.insert("pager".to_owned(), failed());
    world.pass(30.0);
    let (_, model) = world.attempts[0].clone();
    let many = (1..=limits::DELIVERIES as u64 + 5).map(|id| {
        let mut delivery = model.clone();
        delivery.id = crate::monitor::alphabet::DeliveryId(id);
        delivery.alert.check = format!("check {}", id % 100);
        delivery
    });
    let mut monitor = crate::monitor::Monitor::new(1);
    let kept = Kept {
        checks: Vec::new(),
        deliveries: many.collect(),
    };
    monitor.handle(
        world.now,
        crate::monitor::alphabet::Input::Restored(Box::new(kept)),
    );
    monitor.check_invariants();
    let mut done = 0;
    while let Some(effect) = monitor.poll_effect() {
        use crate::monitor::alphabet::{Effect, Keep};
        done += usize::from(matches!(effect, Effect::Keep(Keep::Done { .. })));
    }
    assert_eq!(done, 5);
}
