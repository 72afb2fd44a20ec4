//! When an executable counts as ready: it spoke, it waits for its input, or it has lived for a second.

use std::time::{Duration, Instant};

/// Long enough for anything that fails at once to have failed.
const LIVED: Duration = Duration::from_secs(1);
/// Between the first looks at what it is doing; each later one waits half as long again.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Not ready, until one of the three holds; then for good.
#[derive(Debug)]
pub(super) struct Readiness {
    started: Instant,
    next: Option<(Instant, Duration)>,
}

impl Readiness {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Readiness {
            started: now,
            next: Some((now + FIRST_LOOK, FIRST_LOOK)),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.next.is_none()
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }

    /// It wrote a line. `true`: it is ready because of that.
    pub(super) fn spoke(&mut self) -> bool {
        self.next.take().is_some()
    }

    /// Looks at the process, if it is time. `true`: it is ready because of that.
    pub(super) fn look(&mut self, now: Instant, pid: u32) -> bool {
        let Some((at, step)) = self.next else {
            return false;
        };
        if now < at {
            return false;
        }
        if now.duration_since(self.started) >= LIVED || waits_for_input(pid) {
            self.next = None;
            return true;
        }
        let step = step + step / 2;
        self.next = Some(((now + step).min(self.started + LIVED), step));
        false
    }
}

/// Whether the process is blocked in `read` of its descriptor 0. What the kernel does not tell counts as no.
fn waits_for_input(pid: u32) -> bool {
    let told = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let mut words = told.split_ascii_whitespace();
    words.next() == Some(READ) && words.next() == Some("0x0")
}

/// The number of `read`.
#[cfg(target_arch = "x86_64")]
const READ: &str = "0";
/// The number of `read`.
#[cfg(not(target_arch = "x86_64"))]
const READ: &str = "63";

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_program_that_waits_for_its_input_is_seen() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("cat is installed");
        let begun = Instant::now();
        while !waits_for_input(child.id()) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "cat waits for its input"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(child.stdin.take());
        child.wait().expect("it ends");
    }

    #[test]
    fn a_second_of_life_is_enough() {
        let mut readiness = Readiness::new();
        let late = readiness.started + LIVED;
        assert!(readiness.look(late, 0));
        assert!(readiness.is_ready());
        assert!(!readiness.spoke(), "it was ready before");
    }
}
