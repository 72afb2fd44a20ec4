//! Progress of `check` for people: on stderr, only on a terminal, only when it takes its time, gone at the end.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::check::Progress;
use crate::check::text::escaped;

/// Quicker runs show no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(200);
/// So many of the checks that still run are named.
const NAMED: usize = 3;

pub(super) struct Bar {
    bar: Option<ProgressBar>,
    is_shown: bool,
    begin: Instant,
    /// What still runs, in the order of the checks.
    waiting: Vec<String>,
}

impl Bar {
    pub(super) fn new(wanted: bool) -> Self {
        Bar {
            bar: wanted.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())),
            is_shown: false,
            begin: Instant::now(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, progress: Progress<'_>) {
        let Some(bar) = &self.bar else { return };
        match progress {
            Progress::Said(_) => return,
            Progress::Chosen(names) => {
                bar.set_length(names.len() as u64);
                self.waiting = names.iter().map(|name| escaped(name)).collect();
                return;
            }
            Progress::Done(outcome) => {
                let name = escaped(&outcome.name);
                self.waiting.retain(|one| *one != name);
                bar.inc(1);
            }
            Progress::Waiting => {}
        }
        if self.begin.elapsed() < PATIENCE {
            return;
        }
        bar.set_message(waits_for(&self.waiting));
        if !std::mem::replace(&mut self.is_shown, true) {
            let style = "{bar:20} {pos}/{len} {elapsed} {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.tick();
    }

    /// Prints without the bar in the way.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) if self.is_shown => bar.suspend(print),
            Some(_) | None => print(),
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn waits_for(waiting: &[String]) -> String {
    let named = waiting[..waiting.len().min(NAMED)].join(", ");
    match waiting.len() {
        0 => String::new(),
        count if count > NAMED => format!("{named} and {} more", count - NAMED),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_those_that_run_are_named() {
        let names = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>();
        assert_eq!(waits_for(&names(0)), "");
        assert_eq!(waits_for(&names(3)), "c0, c1, c2");
        assert_eq!(waits_for(&names(9)), "c0, c1, c2 and 6 more");
    }
}
