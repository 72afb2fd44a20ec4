//! What was seen of a check: its last results, and how long it was in which confirmed state.
//!
//! Time in which no daemon watched is in no span, and so in no uptime. What happened in this daemon's life is kept by
//! its own clock and placed by the wall clock when it is shown: a corrected wall clock moves it as a whole.

use std::collections::VecDeque;

use super::clock::Clock;
use super::state::State;
use super::view::Uptime;
use crate::limits;
use crate::moment::Moment;

/// Time in one confirmed state, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) state: State,
}

/// From then on it was in that state; `None`: nobody watched, or nothing was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    at: Moment,
    state: Option<State>,
}

/// Invariant: at most [`limits::CHECK_HISTORY`] results, and [`limits::CHECK_TRANSITIONS`] spans and turns together;
/// spans are in order and do not overlap; two turns that follow each other differ.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    results: VecDeque<State>,
    /// Of earlier daemons.
    past: VecDeque<Span>,
    turns: VecDeque<Turn>,
}

impl History {
    /// Of an earlier daemon; what makes no sense in it is left out.
    pub(super) fn restored(results: Vec<State>, mut spans: Vec<Span>) -> Self {
        let spare = results.len().saturating_sub(limits::CHECK_HISTORY);
        spans.sort_by_key(|span| (span.from_ms, span.to_ms));
        let mut past: VecDeque<Span> = VecDeque::new();
        for mut span in spans {
            let end = past.back().map_or(0, |last| last.to_ms);
            span.from_ms = span.from_ms.max(end);
            if span.from_ms < span.to_ms {
                past.push_back(span);
            }
        }
        let mut history = History {
            results: results.into_iter().skip(spare).collect(),
            past,
            turns: VecDeque::new(),
        };
        history.keep_bound();
        history
    }

    pub(super) fn results(&self) -> impl Iterator<Item = State> {
        self.results.iter().copied()
    }

    pub(super) fn push(&mut self, state: State) {
        if self.results.len() == limits::CHECK_HISTORY {
            self.results.pop_front();
        }
        self.results.push_back(state);
    }

    /// From now on it is in that confirmed state; `None`: it is no longer watched.
    pub(super) fn turn(&mut self, now: Moment, state: Option<State>) {
        let last = self.turns.back().and_then(|turn| turn.state);
        if last == state {
            return;
        }
        if self.turns.back().is_some_and(|turn| turn.at == now) {
            self.turns.pop_back();
            return self.turn(now, state);
        }
        self.turns.push_back(Turn { at: now, state });
        while let [_, second, ..] = self.turns.make_contiguous()
            && now.since(second.at) > limits::CHECK_HISTORY_FOR
        {
            self.turns.pop_front();
        }
        self.keep_bound();
    }

    fn keep_bound(&mut self) {
        while self.past.len() + self.turns.len() > limits::CHECK_TRANSITIONS {
            if self.past.pop_front().is_none() {
                self.turns.pop_front();
            }
        }
    }

    /// Everything that is known of the last 30 days, oldest first. What earlier daemons wrote of a time in which this
    /// one already watched came from a clock that was wrong: this one's word counts.
    pub(super) fn spans(&self, clock: &Clock, now: Moment) -> Vec<Span> {
        let reach = u64::try_from(limits::CHECK_HISTORY_FOR.as_millis()).unwrap_or(u64::MAX);
        let oldest = clock.wall(now).saturating_sub(reach);
        let begun = self.turns.front().map_or(now, |turn| turn.at);
        let begun = clock.wall(begun);
        let past = self.past.iter().map(|span| Span {
            to_ms: span.to_ms.min(begun),
            ..*span
        });
        let ends = self.turns.iter().skip(1).map(|turn| turn.at);
        let live = self.turns.iter().zip(ends.chain([now]));
        let live = live.filter_map(|(turn, end)| {
            Some(Span {
                from_ms: clock.wall(turn.at),
                to_ms: clock.wall(end),
                state: turn.state?,
            })
        });
        past.chain(live)
            .map(|span| Span {
                from_ms: span.from_ms.max(oldest),
                ..span
            })
            .filter(|span| span.from_ms < span.to_ms)
            .collect()
    }
}

/// Shares of the watched time in which it was not down.
pub(super) fn uptime(spans: &[Span], now_ms: u64) -> Uptime {
    let share = |hours: u64| {
        let since = now_ms.saturating_sub(hours * 3_600_000);
        let (mut up, mut watched) = (0_u64, 0_u64);
        for span in spans {
            let length = span.to_ms.saturating_sub(span.from_ms.max(since));
            watched += length;
            up += if span.state.is_down() { 0 } else { length };
        }
        (watched > 0).then(|| up as f64 / watched as f64)
    };
    Uptime {
        hour: share(1),
        day: share(24),
        week: share(7 * 24),
        month: share(30 * 24),
    }
}

/// The worst state of each of the last half hours, the present one included, oldest first.
pub(super) fn bars(spans: &[Span], now_ms: u64) -> Vec<Option<State>> {
    let length = u64::try_from(limits::CHECK_BAR.as_millis()).unwrap_or(u64::MAX);
    let mut bars = vec![None; limits::CHECK_BARS];
    // The number of each bar since 1970, counted down from the present one.
    let last = now_ms / length;
    for span in spans {
        let newest = ((span.to_ms - 1) / length).min(last);
        for number in (span.from_ms / length..=newest).rev() {
            let back = usize::try_from(last - number).unwrap_or(usize::MAX);
            let Some(index) = (limits::CHECK_BARS - 1).checked_sub(back) else {
                break;
            };
            let worst: &mut Option<State> = &mut bars[index];
            *worst = Some(worst.map_or(span.state, |known| known.worst(span.state)));
        }
    }
    bars
}
