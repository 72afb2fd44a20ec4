//! The last 24 hours of a check as 48 bars: the worse, the taller, so that colour says nothing alone.

use std::fmt::{self, Write as _};

use super::words;
use crate::monitor::state::State;

/// The worst state of each half hour, oldest first; `None`: not watched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bars<'a>(pub(super) &'a [Option<State>]);

/// Width of one bar with its gap, and height of all.
const STEP: usize = 6;
const HEIGHT: usize = 26;

/// One path for all bars of one kind: its class, and their height.
const KINDS: [(Option<State>, &str, usize); 5] = [
    (None, "n", 2),
    (Some(State::Ok), "o", 14),
    (Some(State::Warning), "w", 19),
    (Some(State::Unknown), "u", 22),
    (Some(State::Critical), "c", 26),
];

impl fmt::Display for Bars<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.len().max(1) * STEP;
        write!(
            f,
            "<svg class=bars viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=none role=img>"
        )?;
        write!(f, "<title>{}</title>", self.told())?;
        for (state, class, height) in KINDS {
            let mut path = String::new();
            for (at, _) in self.0.iter().enumerate().filter(|(_, bar)| **bar == state) {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{} {HEIGHT}v-{height}", at * STEP + STEP / 2);
            }
            if !path.is_empty() {
                write!(f, "<path class={class} d=\"{path}\"/>")?;
            }
        }
        f.write_str("</svg>")
    }
}

impl Bars<'_> {
    /// The same in words: how much of the day was worse than ok, and how long ago that was.
    fn told(&self) -> String {
        let of = |state| self.0.iter().filter(|bar| **bar == state).count();
        let watched = self.0.len() - of(None);
        if watched == 0 {
            return "Last 24 hours: not watched".to_owned();
        }
        let mut parts = Vec::new();
        for state in State::ALL
            .into_iter()
            .rev()
            .filter(|state| *state != State::Ok)
        {
            let last = self.0.iter().rposition(|bar| *bar == Some(state));
            if let Some(last) = last {
                let ago = match (self.0.len() - 1 - last) / 2 {
                    0 => "within the last hour".to_owned(),
                    hours => format!("last {hours} h ago"),
                };
                parts.push(format!(
                    "{state} in {}, {ago}",
                    words::count(of(Some(state)), "half hour")
                ));
            }
        }
        if of(None) > 0 {
            parts.push(format!(
                "{} not watched",
                words::count(of(None), "half hour")
            ));
        }
        match parts.is_empty() {
            true => "Last 24 hours: always ok".to_owned(),
            false => format!("Last 24 hours: {}; else ok", parts.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_the_taller_and_the_words_say_the_same() {
        let bars = [
            None,
            Some(State::Ok),
            Some(State::Critical),
            Some(State::Ok),
        ];
        let text = Bars(&bars).to_string();
        assert!(
            text.contains("<path class=o d=\"M9 26v-14M21 26v-14\"/>"),
            "{text}"
        );
        assert!(text.contains("<path class=c d=\"M15 26v-26\"/>"), "{text}");
        assert!(
            text.contains("<title>Last 24 hours: critical in 1 half hour, within the last hour; 1 half hour not watched; else ok</title>"),
            "{text}"
        );
        assert!(KINDS.is_sorted_by_key(|(.., height)| *height));
        assert_eq!(Bars(&[Some(State::Ok)]).told(), "Last 24 hours: always ok");
        assert_eq!(Bars(&[]).told(), "Last 24 hours: not watched");
    }
}
