//! Compares what clients sent and heard with what handlers did. Plain text in, counts out; it shares no code
//! with moonkeep.
//!
//! The clients' log: `sent ID CLASS NONCE`, `accepted ID`, `end ID CODE TEXT` (`ok` and the result, or an
//! error's code and message), `gave-up ID`, `left ID` (nobody asks for it any more; if it was accepted, it has
//! to run all the same). The effects' ledger: `begin ID NONCE WHO`, `effect ID NONCE WHO`,
//! one write each, by the handler itself; `-` where a handler is not told the id.

use std::collections::BTreeMap;
use std::fmt;

/// What was broken, each with the ids concerned. All empty: every promise was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) lost: Vec<String>,
    pub(super) once_twice: Vec<String>,
    pub(super) done_without_effect: Vec<String>,
    pub(super) refused_with_effect: Vec<String>,
    pub(super) contradicted: Vec<String>,
    pub(super) foreign: Vec<String>,
    /// No fault by itself: whether there may be any is for the campaign to say.
    pub(super) unknown: Vec<String>,
    /// Requests that were asked, and how they ended.
    pub(super) asked: usize,
    pub(super) codes: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Story<'a> {
    class: &'a str,
    nonce: &'a str,
    ends: Vec<(&'a str, &'a str)>,
    begun: usize,
    effects: usize,
    foreign: bool,
    accepted: bool,
    left: bool,
}

/// Refusals that leave the id free: nothing ran, and asking again may run it.
const FREE: [&str; 4] = ["busy", "rate_limited", "not_ready", "shutting_down"];

impl Story<'_> {
    /// The last end that says something of the request itself, or the last refusal.
    fn last(&self) -> Option<(&str, &str)> {
        let said = self.ends.iter().rfind(|(code, _)| !FREE.contains(code));
        said.or(self.ends.last()).copied()
    }

    fn says_never_ran(&self) -> bool {
        self.last().is_some_and(|(code, text)| {
            FREE.contains(&code)
                || (code == "cancelled" && self.class == "once")
                || (text.contains("never ran") || text.contains("did not run"))
        })
    }

    /// Two ends that cannot both be true. A time limit is its asker's, not the request's; an id that has
    /// expired is no longer known, whatever it was.
    fn is_contradicted(&self) -> bool {
        let mut said = self.ends.iter().filter(|(code, _)| {
            !FREE.contains(code) && *code != "timeout" && *code != "expired_id"
        });
        let first = said.next();
        said.any(|end| Some(end) != first)
    }
}

/// Reads both texts and says what was broken.
pub(super) fn check(clients: &str, effects: &str) -> Verdict {
    let mut stories: BTreeMap<&str, Story> = BTreeMap::new();
    let mut by_nonce: BTreeMap<&str, &str> = BTreeMap::new();
    for line in clients.lines() {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (what, id) = (word(), word());
        let story = stories.entry(id).or_default();
        match what {
            "sent" => {
                (story.class, story.nonce) = (word(), word());
                by_nonce.insert(story.nonce, id);
            }
            "end" => story.ends.push((word(), word())),
            "accepted" => story.accepted = true,
            "left" => story.left = true,
            _ => {}
        }
    }
    let mut strays = Vec::new();
    for line in effects.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, id, nonce, _] = words[..] else {
            strays.push(format!("torn: {line}"));
            continue;
        };
        let Some(story) = by_nonce.get(nonce).and_then(|id| stories.get_mut(id)) else {
            strays.push(format!("nobody asked for: {line}"));
            continue;
        };
        story.foreign |= id != "-" && by_nonce.get(nonce) != Some(&id);
        match what {
            "begin" => story.begun += 1,
            _ => story.effects += 1,
        }
    }
    let mut verdict = judge(&stories);
    verdict.foreign.extend(strays);
    verdict
}

fn judge(stories: &BTreeMap<&str, Story>) -> Verdict {
    let mut verdict = Verdict::default();
    for (id, story) in stories {
        verdict.asked += 1;
        let told = || format!("{id} {} {:?}", story.class, story.ends);
        if story.class == "once" && (story.begun > 1 || story.effects > 1) {
            verdict.once_twice.push(told());
        }
        let Some((code, text)) = story.last() else {
            let forgotten = story.accepted && story.begun == 0;
            if !story.left || forgotten {
                verdict.lost.push(told());
            }
            let how = if story.left { "left" } else { "lost" };
            *verdict.codes.entry(how.to_owned()).or_default() += 1;
            continue;
        };
        *verdict.codes.entry(code.to_owned()).or_default() += 1;
        if code == "ok" && story.class != "query" && story.effects == 0 {
            verdict.done_without_effect.push(told());
        }
        if story.says_never_ran() && story.begun > 0 {
            verdict.refused_with_effect.push(told());
        }
        if story.is_contradicted() {
            verdict.contradicted.push(told());
        }
        if story.foreign || (code == "ok" && text != story.nonce) {
            verdict.foreign.push(told());
        }
        if code == "outcome_unknown" {
            verdict.unknown.push(told());
        }
    }
    verdict
}

impl Verdict {
    /// Whether a promise was broken, `unknown` left aside.
    pub(super) fn is_broken(&self) -> bool {
        let faults = [
            &self.lost,
            &self.once_twice,
            &self.done_without_effect,
            &self.refused_with_effect,
            &self.contradicted,
            &self.foreign,
        ];
        faults.iter().any(|fault| !fault.is_empty())
    }

    /// Some of each kind, to begin looking.
    pub(super) fn examples(&self) -> String {
        let kinds = [
            ("lost", &self.lost),
            ("once twice", &self.once_twice),
            ("done without effect", &self.done_without_effect),
            ("refused with effect", &self.refused_with_effect),
            ("contradicted", &self.contradicted),
            ("foreign", &self.foreign),
            ("unknown", &self.unknown),
        ];
        let lines = kinds.iter().flat_map(|(kind, told)| {
            let some = told.iter().take(3);
            some.map(move |told| format!("  {kind}: {told}"))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests; lost {}, once twice {}, done without effect {}, refused with effect {}, contradicted {}, foreign {}, unknown {}; ends",
            self.asked,
            self.lost.len(),
            self.once_twice.len(),
            self.done_without_effect.len(),
            self.refused_with_effect.len(),
            self.contradicted.len(),
            self.foreign.len(),
            self.unknown.len()
        )?;
        for (code, count) in &self.codes {
            write!(f, " {code} {count}")?;
        }
        Ok(())
    }
}

/// A checker that finds nothing proves nothing: each fault, once.
#[test]
fn the_checker_sees_each_fault() {
    let sent = "sent a once n1\naccepted a\n";
    let ok = format!("{sent}end a ok n1\n");
    let done = "begin a n1 1\neffect a n1 1\n";
    let clean = check(&ok, done);
    assert!(!clean.is_broken() && clean.unknown.is_empty(), "{clean}");
    let cases: [(&str, String, String); 10] = [
        ("lost 1", format!("{sent}left a\n"), String::new()),
        ("lost 1", sent.into(), done.into()),
        ("once twice 1", ok.clone(), done.repeat(2)),
        ("done without effect 1", ok.clone(), String::new()),
        (
            "refused with effect 1",
            format!("{sent}end a cancelled it never ran\n"),
            done.into(),
        ),
        (
            "refused with effect 1",
            format!("{sent}end a timeout waited: it never ran\n"),
            done.into(),
        ),
        (
            "contradicted 1",
            format!("{ok}end a outcome_unknown may have run\n"),
            done.into(),
        ),
        ("foreign 1", format!("{sent}end a ok n2\n"), done.into()),
        ("foreign 1", ok.clone(), done.replace(" a ", " b ") + done),
        (
            "unknown 1",
            format!("{sent}end a outcome_unknown may have run\n"),
            done.into(),
        ),
    ];
    for (expected, clients, effects) in cases {
        let verdict = check(&clients, &effects).to_string();
        assert!(verdict.contains(expected), "{expected} in: {verdict}");
    }
    assert!(!check(&format!("{sent}left a\n"), done).is_broken());
    let retried = format!("{sent}end a busy did not run\nend a ok n1\nend a ok n1\n");
    assert!(!check(&retried, done).is_broken());
}
