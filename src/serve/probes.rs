//! `/livez` and `/readyz`, in Kubernetes' form: `ok`, or which part failed and never why.
//!
//! `/livez` is about the daemon, and about the checks that are tagged `livez`; `/readyz` about the daemon, its
//! scripts and all checks. Quiet by an operator's word (in downtime, acknowledged) is left out, as if excluded.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::escape::plain;
use super::target::Target;
use super::{Reply, Snapshot};
use crate::monitor::state::State;
use crate::monitor::view::{CheckView, Kind};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Live,
    Ready,
}

/// What one part of a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    /// It does not count.
    Excluded,
}

/// What is answered for one part that failed.
pub(super) const INTERNAL: &str = "internal server error: reason withheld\n";

impl Probe {
    pub(super) fn word(self) -> &'static str {
        match self {
            Probe::Live => "livez",
            Probe::Ready => "readyz",
        }
    }

    /// The parts, with what each says.
    fn parts(self, snapshot: &Snapshot) -> Vec<(&str, Verdict)> {
        let mut parts = vec![("ping", Verdict::Good)];
        if self == Probe::Ready {
            parts.push(("scripts", scripts(snapshot)));
        }
        let checks = snapshot.view.checks.iter();
        let concerns = |check: &&CheckView| match self {
            Probe::Live => check.tags.iter().any(|tag| tag == "livez"),
            Probe::Ready => true,
        };
        parts.extend(
            checks
                .filter(concerns)
                .map(|check| (check.name.as_str(), verdict(check))),
        );
        parts
    }

    pub(super) fn reply(self, snapshot: &Snapshot, target: &Target) -> Reply {
        let excluded: BTreeSet<&str> = target.all("exclude").collect();
        let mut unmatched = excluded.clone();
        let (mut text, mut failed) = (String::new(), false);
        for (name, mut verdict) in self.parts(snapshot) {
            unmatched.remove(name);
            if excluded.contains(name) {
                verdict = Verdict::Excluded;
            }
            failed |= verdict == Verdict::Bad;
            // Writing to a String cannot fail.
            let _ = match verdict {
                Verdict::Good => writeln!(text, "[+]{} ok", plain(name)),
                Verdict::Bad => writeln!(text, "[-]{} failed: reason withheld", plain(name)),
                Verdict::Excluded => writeln!(text, "[+]{} excluded: ok", plain(name)),
            };
        }
        if !unmatched.is_empty() {
            let names: Vec<String> = unmatched
                .iter()
                .map(|name| format!("\"{}\"", plain(name)))
                .collect();
            let names = names.join(",");
            let _ = writeln!(
                text,
                "warn: some health checks cannot be excluded: no matches for {names}"
            );
        }
        let word = self.word();
        if failed {
            return Reply::text(500, format!("{text}{word} check failed\n"));
        }
        if target.has("verbose") {
            return Reply::text(200, format!("{text}{word} check passed\n"));
        }
        Reply::text(200, "ok")
    }

    /// `/livez/NAME`.
    pub(super) fn reply_of(self, snapshot: &Snapshot, name: &str) -> Reply {
        let parts = self.parts(snapshot).into_iter();
        let found: Vec<Verdict> = parts
            .filter(|(part, _)| *part == name)
            .map(|(_, verdict)| verdict)
            .collect();
        if found.is_empty() {
            let text = format!(
                "/{0} has no part {1:?}; /{0}?verbose names them\n",
                self.word(),
                plain(name)
            );
            return Reply::text(404, text);
        }
        if found.contains(&Verdict::Bad) {
            return Reply::text(500, INTERNAL);
        }
        Reply::text(200, "ok")
    }

    /// The core has not answered in time.
    pub(super) fn silent(self) -> Reply {
        let word = self.word();
        Reply::text(
            500,
            format!("[-]ping failed: reason withheld\n{word} check failed\n"),
        )
    }
}

/// Every script that is meant to run serves.
fn scripts(snapshot: &Snapshot) -> Verdict {
    let trouble = |state: &str| matches!(state, "starting" | "backoff" | "failed");
    if snapshot
        .facts
        .scripts
        .iter()
        .any(|script| trouble(&script.state))
    {
        Verdict::Bad
    } else {
        Verdict::Good
    }
}

fn verdict(check: &CheckView) -> Verdict {
    if matches!(check.quiet.as_deref(), Some("downtime" | "acknowledged")) {
        return Verdict::Excluded;
    }
    match (check.confirmed, check.kind) {
        (Some(State::Ok | State::Warning), _) => Verdict::Good,
        // The first sign of a daily job may come tomorrow.
        (None, Kind::Heartbeat) => Verdict::Good,
        (None, Kind::Active) | (Some(State::Critical | State::Unknown), _) => Verdict::Bad,
    }
}
