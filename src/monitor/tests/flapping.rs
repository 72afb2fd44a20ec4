//! Nagios' formula, against a second computation of it and against values worked out by hand.

use super::driver::{World, spec};
use crate::monitor::flapping::Flapping;
use crate::monitor::state::State;
use crate::random::Random;

/// As nagios' base/flapping.c says it: a ring of 21 states, all ok at first only if `fill` is.
fn nagios(results: &[State]) -> (f64, bool) {
    let mut on = false;
    let mut percent = 0.0;
    for end in 1..=results.len() {
        let start = end.saturating_sub(21);
        let mut ring = vec![results[start]; 21 - (end - start)];
        ring.extend(&results[start..end]);
        let mut curved = 0.0;
        for x in 1..=20_usize {
            if ring[x] != ring[x - 1] {
                curved += (x as f64 - 1.0) * (1.25 - 0.75) / 19.0 + 0.75;
            }
        }
        percent = curved * 100.0 / 20.0;
        if percent >= 20.0 {
            on = true;
        } else if percent <= 5.0 {
            on = false;
        }
    }
    (percent, on)
}

#[test]
fn it_agrees_with_a_second_computation_on_random_histories() {
    let mut random = Random::new(7);
    let (mut on, mut starts) = (0, 0);
    for _ in 0..2_000 {
        let calm = random.next() % 30 + 1;
        let mut flapping = Flapping::default();
        let mut results = Vec::new();
        let mut state = State::Ok;
        for _ in 0..random.next() % 80 {
            if random.next().is_multiple_of(calm) {
                state = State::ALL[(random.next() % 4) as usize];
            }
            results.push(state);
            let before = flapping.is_on();
            flapping.record(state);
            let (percent, is_on) = nagios(&results);
            assert!((flapping.percent() - percent).abs() < 1e-9, "{results:?}");
            assert_eq!(flapping.is_on(), is_on, "{results:?}");
            on += usize::from(is_on);
            starts += usize::from(is_on && !before);
        }
    }
    assert!(
        on > 1_000 && starts > 100,
        "the histories flap too little: {on}, {starts}"
    );
}

#[test]
fn known_values() {
    let percent = |pattern: &str| {
        let mut flapping = Flapping::default();
        for letter in pattern.chars() {
            flapping.record(if letter == 'o' {
                State::Ok
            } else {
                State::Critical
            });
        }
        flapping.percent()
    };
    // The newest change weighs 1.25, the oldest 0.75; all 20 together weigh 20.
    for (pattern, expected) in [
        ("o", 0.0),
        ("ooooooooooooooooooooo", 0.0),
        ("ooooooooooooooooooooc", 6.25),
        ("occcccccccccccccccccc", 3.75),
        ("ococococococococococo", 100.0),
        ("oc", 6.25),
    ] {
        assert!((percent(pattern) - expected).abs() < 1e-9, "{pattern}");
    }
}

#[test]
fn flapping_silences_problems_and_recoveries_and_is_told_itself_once() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(20.0);
    let mut news = Vec::new();
    // Down for long enough to be confirmed, up for long enough, again and again.
    for round in 0..8 {
        world.set("web", State::Critical);
        world.pass(22.0);
        world.set("web", State::Ok);
        world.pass(22.0);
        news.extend(world.news());
        if round == 7 {
            assert!(world.view("web").is_flapping);
            assert_eq!(world.view("web").quiet.as_deref(), Some("flapping"));
        }
    }
    let starts = news
        .iter()
        .filter(|news| news.starts_with("flapping"))
        .count();
    assert_eq!(starts, 1, "{news:?}");
    let start = news
        .iter()
        .position(|news| news.starts_with("flapping"))
        .unwrap();
    assert_eq!(news.len(), start + 1, "nothing more is told: {news:?}");
    let told = news[..start]
        .iter()
        .filter(|news| news.starts_with("problem"))
        .count();
    let resolved = news[..start]
        .iter()
        .filter(|news| news.starts_with("recovery"))
        .count();
    world.pass(400.0);
    let rest = world.news();
    assert_eq!(rest[0], "flapped web ok");
    let more = usize::from(told > resolved);
    assert_eq!(rest.len(), 1 + more, "what was open is resolved: {rest:?}");
    assert_eq!(world.view("web").quiet, None);
}

#[test]
fn a_problem_that_is_still_there_when_flapping_ends_is_told() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(20.0);
    for _ in 0..8 {
        world.set("web", State::Critical);
        world.pass(22.0);
        world.set("web", State::Ok);
        world.pass(22.0);
    }
    let before = world.news();
    let open = before
        .iter()
        .filter(|news| news.starts_with("problem"))
        .count()
        > before
            .iter()
            .filter(|news| news.starts_with("recovery"))
            .count();
    world.set("web", State::Critical);
    world.pass(400.0);
    let rest = world.news();
    assert_eq!(rest[0], "flapped web critical");
    assert_eq!(rest.len() == 1, open, "{before:?} {rest:?}");
    world.set("web", State::Ok);
    world.pass(30.0);
    assert_eq!(world.news(), ["recovery web ok"]);
}
