//! Uptime and bars.

use super::driver::{NOON, World, spec};
use crate::limits;
use crate::moment::Moment;
use crate::monitor::clock::Clock;
use crate::monitor::history::{History, Span, bars, uptime};
use crate::monitor::state::State;
use crate::random::Random;

const HOUR: u64 = 3_600_000;

fn span(from_ms: u64, to_ms: u64, state: State) -> Span {
    Span {
        from_ms,
        to_ms,
        state,
    }
}

fn close(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-9,
        _ => one == other,
    }
}

#[test]
fn uptime_is_the_share_of_the_watched_time() {
    let now = 1_000 * HOUR;
    let ago = |hours: f64| now - (hours * HOUR as f64) as u64;
    for (spans, hour, day, month) in [
        (vec![], None, None, None),
        (
            vec![span(ago(1.0), now, State::Ok)],
            Some(1.0),
            Some(1.0),
            Some(1.0),
        ),
        // A warning is up; unknown is down.
        (
            vec![
                span(ago(2.0), ago(0.5), State::Warning),
                span(ago(0.5), now, State::Unknown),
            ],
            Some(0.5),
            Some(0.75),
            Some(0.75),
        ),
        // What nobody watched does not count.
        (
            vec![
                span(ago(100.0), ago(60.0), State::Ok),
                span(ago(10.0), ago(5.0), State::Critical),
            ],
            None,
            Some(0.0),
            Some(40.0 / 45.0),
        ),
    ] {
        let uptime = uptime(&spans, now);
        assert!(close(uptime.hour, hour), "{spans:?} {uptime:?}");
        assert!(close(uptime.day, day), "{spans:?} {uptime:?}");
        assert!(close(uptime.month, month), "{spans:?} {uptime:?}");
    }
}

#[test]
fn bars_have_the_worst_state_of_each_half_hour() {
    let half = HOUR / 2;
    // In the middle of a half hour.
    let now = 1_000 * HOUR + half / 2;
    let first = 1_000 * HOUR - 47 * half;
    let spans = [
        span(0, first + 10, State::Critical),
        span(first + half, first + 2 * half, State::Ok),
        span(first + 5 * half, first + 5 * half + 1, State::Critical),
        span(first + 5 * half + 1, first + 6 * half, State::Ok),
        span(now - 1_000, now, State::Warning),
    ];
    let bars = bars(&spans, now);
    assert_eq!(bars.len(), limits::CHECK_BARS);
    let mut expected = vec![None; limits::CHECK_BARS];
    expected[0] = Some(State::Critical);
    expected[1] = Some(State::Ok);
    expected[5] = Some(State::Critical);
    expected[47] = Some(State::Warning);
    assert_eq!(bars, expected);
}

#[test]
fn random_histories_agree_with_counting_each_second() {
    let mut random = Random::new(3);
    for _ in 0..50 {
        let mut clock = Clock::default();
        clock.set(Moment(0), NOON, 0);
        let mut history = History::default();
        let mut each: Vec<Option<State>> = Vec::new();
        let mut state = None;
        let length = 20_000 + random.next() % 20_000;
        for second in 0..length {
            if random.next().is_multiple_of(900) {
                let draw = (random.next() % 5) as usize;
                state = State::ALL.get(draw).copied();
                history.turn(Moment(second * 1_000_000), state);
            }
            each.push(state);
        }
        let now = Moment(length * 1_000_000);
        let now_ms = clock.wall(now);
        let spans = history.spans(&clock, now);
        let last = &each[each.len() - 3_600..];
        let watched = last.iter().flatten().count();
        let up = last
            .iter()
            .flatten()
            .filter(|state| !state.is_down())
            .count();
        let expected = (watched > 0).then(|| up as f64 / watched as f64);
        assert!(close(uptime(&spans, now_ms).hour, expected));
        let bars = bars(&spans, now_ms);
        let mut own = vec![None; limits::CHECK_BARS];
        for (second, state) in each.iter().enumerate() {
            let at = NOON / 1_000 + second as u64;
            let back = now_ms / 1_800_000 - at / 1_800;
            if let (Some(index), Some(state)) = (47_usize.checked_sub(back as usize), state) {
                let worst: &mut Option<State> = &mut own[index];
                *worst = Some(worst.map_or(*state, |known| known.worst(*state)));
            }
        }
        assert_eq!(bars, own);
    }
}

#[test]
fn it_stays_within_its_bounds() {
    let mut history = History::default();
    let mut clock = Clock::default();
    clock.set(Moment(0), NOON, 0);
    for turn in 0..5_000_u64 {
        let state = if turn.is_multiple_of(2) {
            State::Ok
        } else {
            State::Critical
        };
        history.turn(Moment(turn * 1_000_000), Some(state));
        history.push(state);
    }
    let now = Moment(5_000_000_000);
    assert_eq!(history.spans(&clock, now).len(), limits::CHECK_TRANSITIONS);
    assert_eq!(history.results().count(), limits::CHECK_HISTORY);
    // What is older than 30 days goes, too.
    let later = now.after(limits::CHECK_HISTORY_FOR + limits::CHECK_BAR);
    history.turn(later, Some(State::Warning));
    assert_eq!(history.spans(&clock, later).len(), 1);
}

#[test]
fn what_was_kept_is_put_in_order_and_the_present_counts_over_it() {
    let kept = vec![
        span(NOON - 50, NOON - 10, State::Ok),
        span(NOON - 100, NOON - 40, State::Critical),
        span(NOON + 5, NOON + 90, State::Unknown),
        span(NOON, NOON - 5, State::Warning),
    ];
    let mut history = History::restored(vec![State::Ok; 50], kept);
    let mut clock = Clock::default();
    clock.set(Moment(0), NOON, 0);
    history.turn(Moment(0), Some(State::Ok));
    assert_eq!(
        history.spans(&clock, Moment(20_000)),
        [
            span(NOON - 100, NOON - 40, State::Critical),
            span(NOON - 40, NOON - 10, State::Ok),
            span(NOON, NOON + 20, State::Ok),
        ]
    );
}

#[test]
fn a_clock_that_is_corrected_moves_what_this_daemon_saw() {
    for jump in [-40 * HOUR as i64, -1_000, 1_000, 40 * HOUR as i64] {
        let mut world = World::with(vec![spec("web")]);
        world.pass(1_800.0);
        world.set("web", State::Critical);
        world.pass(900.0);
        world.set("web", State::Ok);
        world.pass(900.0);
        world.hand(crate::monitor::alphabet::Input::Tick);
        let before = world.view("web").uptime.hour.unwrap();
        assert!((before - 0.75).abs() < 0.01, "{before}");
        world.wall_at_zero += jump;
        world.tell_clock();
        let after = world.view("web").uptime.hour.unwrap();
        assert!((after - before).abs() < 1e-6, "{jump}: {before} {after}");
        assert!(world.view("web").bars.iter().flatten().count() >= 2);
    }
}

#[test]
fn time_without_a_daemon_is_in_no_uptime() {
    let mut world = World::with(vec![spec("web")]);
    world.pass(1_000.0);
    world.restart(5_000.0);
    world.set("web", State::Critical);
    world.pass(1_000.0);
    let uptime = world.view("web").uptime;
    let day = uptime.day.unwrap();
    assert!((day - 0.5).abs() < 0.02, "{day}");
    assert!(uptime.hour.unwrap() < 0.02);
    assert_eq!(world.view("web").bars.iter().flatten().count(), 2);
}
