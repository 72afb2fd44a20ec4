//! Schedules by the calendar, on clocks that jump.

use super::driver::{NOON, World, spec};
use crate::proto::messages::CheckSpec;

fn cron(text: &str) -> CheckSpec {
    CheckSpec {
        cron: Some(text.to_owned()),
        ..spec("backup")
    }
}

/// Local times at which it ran, as minutes after the local noon at which the test began.
fn run(text: &str, offset: i32, story: &[(f64, i64, i32)]) -> Vec<i64> {
    let mut world = World::new(1);
    world.offset_seconds = offset;
    world.wall_at_zero = NOON as i64 - i64::from(offset) * 1_000;
    world.tell_clock();
    world.declare("p", vec![cron(text)]);
    let mut minutes = Vec::new();
    for (pass, jump_seconds, offset_change) in story {
        let before = world.ran.len();
        // A jump is seen when the clock is read, at most 30 s later.
        world.wall_at_zero += jump_seconds * 1_000;
        world.offset_seconds += offset_change;
        let local = |world: &World, at: u64| {
            let wall = world.wall_at_zero + (at / 1_000) as i64;
            (wall + i64::from(world.offset_seconds) * 1_000 - NOON as i64).div_euclid(60_000)
        };
        world.pass(*pass);
        let ran = world.ran[before..].iter();
        minutes.extend(ran.map(|ran| local(&world, ran.at.0)));
    }
    minutes
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

#[test]
fn it_runs_at_the_minutes_of_the_local_clock() {
    for offset in [0, 3_600, -7 * 3_600, 5 * 3_600 + 1_800] {
        let quarter = run("*/15 * * * *", offset, &[(61.0 * MINUTE, 0, 0)]);
        assert_eq!(quarter, [15, 30, 45, 60]);
        let fixed = run("30 14 * * *", offset, &[(50.0 * HOUR, 0, 0)]);
        assert_eq!(fixed, [150, 150 + 24 * 60,]);
        let sunday = run("0 18 * * 0", offset, &[(60.0 * HOUR, 0, 0)]);
        assert_eq!(sunday, [(24 + 6) * 60]);
    }
}

#[test]
fn summer_time_skips_and_repeats_nothing_that_runs_at_a_fixed_time() {
    // At 14:00 the local clock jumps to 15:00: 14:30 is made up for, once.
    let spring = run(
        "30 14 * * *",
        0,
        &[
            (2.0 * HOUR, 0, 0),
            (2.0 * HOUR, 0, 3_600),
            (24.0 * HOUR, 0, 0),
        ],
    );
    assert_eq!(spring, [180, 150 + 24 * 60]);
    // At 15:00 it goes back to 14:00: 14:30 comes twice, and it runs once.
    let autumn = run(
        "30 14 * * *",
        0,
        &[
            (3.0 * HOUR, 0, 0),
            (3.0 * HOUR, 0, -3_600),
            (24.0 * HOUR, 0, 0),
        ],
    );
    assert_eq!(autumn, [150, 150 + 24 * 60]);
    // What runs all the time goes by the new clock.
    let spring = run(
        "*/30 * * * *",
        0,
        &[(2.0 * HOUR, 0, 0), (1.0 * HOUR, 0, 3_600)],
    );
    assert_eq!(spring, [30, 60, 90, 120, 210, 240]);
    let autumn = run(
        "*/30 * * * *",
        0,
        &[(2.0 * HOUR, 0, 0), (1.0 * HOUR, 0, -3_600)],
    );
    assert_eq!(autumn, [30, 60, 90, 120, 90, 120]);
}

#[test]
fn a_clock_that_is_corrected_counts_and_nothing_is_made_up_for() {
    // Forward by ten hours, over 18:00.
    let ahead = run("0 18 * * *", 0, &[(60.0, 36_000, 0), (30.0 * HOUR, 0, 0)]);
    assert_eq!(ahead, [18 * 60 + 12 * 60]);
    // Back by ten hours after it has run: it runs again, for the day is the same only by chance.
    let back = run(
        "0 13 * * *",
        0,
        &[(2.0 * HOUR, 0, 0), (12.0 * HOUR, -36_000, 0)],
    );
    assert_eq!(back, [60, 60]);
}

#[test]
fn a_small_correction_repeats_and_skips_nothing() {
    for jump in [-20, -5, -1, 1, 5, 20] {
        // The clock is corrected just before and just after the minute.
        for at in [14.0 * MINUTE + 50.0, 15.0 * MINUTE + 2.0] {
            let ran = run("*/15 * * * *", 0, &[(at, jump, 0), (31.0 * MINUTE, 0, 0)]);
            assert!(ran.len() == 3 || ran.len() == 2, "{jump} at {at}: {ran:?}");
            let mut once = ran.clone();
            once.dedup();
            assert_eq!(once, ran, "{jump} at {at}");
            let quarters: Vec<i64> = ran.iter().map(|minute| (minute + 1) / 15).collect();
            assert_eq!(quarters[..2], [1, 2], "{jump} at {at}: {ran:?}");
        }
    }
}

#[test]
fn a_run_that_takes_long_leaves_out_what_came_meanwhile() {
    let mut world = World::with(vec![cron("* * * * *")]);
    world.takes("backup", 150.0);
    world.pass(10.0 * MINUTE);
    assert_eq!(world.starts("backup"), [60.0, 240.0, 420.0, 600.0]);
}

#[test]
fn the_clock_is_asked_for_only_while_it_is_needed_and_not_often() {
    let mut world = World::with(vec![cron("0 0 * * *")]);
    world.pass(HOUR);
    let gaps = world
        .clock_asked
        .windows(2)
        .map(|pair| pair[1].since(pair[0]));
    assert!(gaps.map(|gap| gap.as_secs()).all(|gap| gap >= 30));
    assert!(
        (100..=120).contains(&world.clock_asked.len()),
        "{}",
        world.clock_asked.len()
    );
    world.withdraw("p");
    let asked = world.clock_asked.len();
    world.pass(HOUR);
    assert_eq!(world.clock_asked.len(), asked);
}

#[test]
fn what_is_no_schedule_is_a_stated_fault() {
    let mut world = World::with(vec![cron("every day")]);
    let view = world.view("backup");
    assert_eq!(view.confirmed, Some(crate::monitor::state::State::Unknown));
    assert!(
        view.message.contains("\"every day\" is no schedule"),
        "{}",
        view.message
    );
    world.declare("p", vec![cron("* * * * *")]);
    world.pass(70.0);
    // Once by the calendar, and once more to be sure.
    assert_eq!(world.ran.len(), 2);
}
