//! The reference: what a command's askers may be told, and how often it may run. It knows no engine, journal or
//! worker; only what clients heard and what took effect.

use std::collections::BTreeMap;

use crate::proto::messages::*;

/// One command, whatever it is asked by and however often.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) script: &'static str,
    pub(super) handler: &'static str,
    pub(super) params: String,
    /// Survives a power loss.
    pub(super) power: bool,
    begins: u32,
    effects: u32,
    /// Somebody was told that it is taken care of.
    acknowledged: bool,
    /// It was sent since it was last refused.
    sent: bool,
    /// It was sent at all.
    tried: bool,
    /// A worker died with it in its hands.
    worker_died: bool,
    /// The power was lost after it was sent.
    power_lost: bool,
    /// What was said of its end, once and for all.
    said: Option<String>,
    /// It was told that it never ran, or never will again.
    never: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) cases: Vec<Case>,
    pub(super) audit: bool,
    pub(super) violation: Option<String>,
    /// What kinds of ends there were, so that a run can show that it was a real one.
    pub(super) kinds: BTreeMap<String, u64>,
}

const NEVER_RAN: &str = "told that it never ran, and begins";

/// What an answer means for the one who hears it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is over.
    End,
    /// It did not run, and may be asked again.
    Refused,
    /// Nothing is known yet: ask again.
    AskAgain,
}

impl Checker {
    pub(super) fn new_case(
        &mut self,
        id: String,
        script: &'static str,
        handler: &'static str,
        power: bool,
    ) -> usize {
        let number = self.cases.len();
        self.cases.push(Case {
            id,
            script,
            handler,
            params: format!("{{\"n\":{number}}}"),
            power,
            begins: 0,
            effects: 0,
            acknowledged: false,
            sent: false,
            tried: false,
            worker_died: false,
            power_lost: false,
            said: None,
            never: None,
        });
        number
    }

    fn violated(&mut self, number: usize, rule: &str) {
        let case = &self.cases[number];
        if self.violation.is_none() {
            self.violation = Some(format!("{rule}: {case:?}"));
        }
    }

    pub(super) fn broken(&mut self, rule: String) {
        self.violation.get_or_insert(rule);
    }

    pub(super) fn sent(&mut self, number: usize) {
        self.cases[number].sent = true;
        self.cases[number].tried = true;
    }

    /// A worker has received it and goes to work.
    pub(super) fn begins(&mut self, number: usize) {
        let case = &mut self.cases[number];
        case.begins += 1;
        let query = case.handler == "q";
        let rule = match () {
            () if case.handler == "o" && case.begins > 1 => Some("once begins twice"),
            () if query => None,
            () if case.never.is_some() => case.never,
            () if !case.sent => Some("refused, and begins"),
            () if self.audit && case.acknowledged => Some("acknowledged and lost"),
            () if case.said.is_some() => Some("begins after its end was told"),
            () => None,
        };
        if let Some(rule) = rule {
            self.violated(number, rule);
        }
    }

    pub(super) fn takes_effect(&mut self, number: usize) {
        let case = &mut self.cases[number];
        case.effects += 1;
        if case.handler == "o" && case.effects > 1 {
            self.violated(number, "once takes effect twice");
        }
    }

    pub(super) fn worker_died_with(&mut self, number: usize) {
        self.cases[number].worker_died = true;
    }

    pub(super) fn power_lost(&mut self) {
        // What was refused counts too: below power, its acceptance may be on the disk and its refusal lost.
        for case in self.cases.iter_mut().filter(|case| case.tried) {
            case.power_lost = true;
            // What is not on the disk may be forgotten, as is documented; it may not run a second time.
            if !case.power {
                case.said = None;
                case.acknowledged = false;
                // Its end is forgotten, its acceptance is not: what may run twice runs.
                if case.handler == "i" && case.never == Some(NEVER_RAN) {
                    case.never = None;
                }
            }
        }
    }

    /// It was refused, perhaps with nobody there to hear it: whoever asks again starts anew.
    pub(super) fn freed(&mut self, id: &str) {
        for case in self.cases.iter_mut().filter(|case| case.id == id) {
            case.acknowledged &= case.begins > 0;
        }
    }

    pub(super) fn acknowledged(&mut self, number: usize) {
        self.cases[number].acknowledged = true;
    }

    /// An end, as a client hears it. `pruned`: its entry has gone by age.
    pub(super) fn hears(&mut self, number: usize, body: &Body, pruned: bool) -> Meaning {
        let Body::Error(refusal) = body else {
            return self.hears_result(number, body);
        };
        *self.kinds.entry(refusal.code.to_string()).or_default() += 1;
        let text = &refusal.message;
        let transient = [
            "could not be recorded",
            "ask again with the same id",
            "still",
        ];
        match refusal.code {
            ErrorCode::Timeout | ErrorCode::ShuttingDown
                if transient.iter().any(|words| text.contains(words)) =>
            {
                Meaning::AskAgain
            }
            ErrorCode::Busy
            | ErrorCode::RateLimited
            | ErrorCode::ShuttingDown
            | ErrorCode::NotReady
            | ErrorCode::UnknownScript
            | ErrorCode::UnknownHandler => self.hears_refusal(number),
            ErrorCode::ExpiredId => self.hears_expired(number, pruned),
            ErrorCode::Cancelled | ErrorCode::Timeout
                if text.contains("never ran") && self.cases[number].handler != "q" =>
            {
                self.cases[number].never = Some(NEVER_RAN);
                if self.cases[number].effects + self.cases[number].begins > 0 {
                    self.violated(number, "told that it never ran, and did");
                }
                self.terminal(number, body)
            }
            ErrorCode::Cancelled => {
                if self.cases[number].handler == "o" && self.cases[number].begins > 0 {
                    self.violated(number, "cancelled, and it ran");
                }
                self.terminal(number, body)
            }
            ErrorCode::OutcomeUnknown => {
                let case = &self.cases[number];
                if !case.worker_died && !case.power_lost {
                    let what = format!("unknown, though no worker died and the power held: {text}");
                    self.violated(number, &what);
                }
                self.terminal(number, body)
            }
            ErrorCode::BadRequest
            | ErrorCode::UnknownCommand
            | ErrorCode::Timeout
            | ErrorCode::IdConflict
            | ErrorCode::ScriptError
            | ErrorCode::TooLarge
            | ErrorCode::Denied
            | ErrorCode::Internal => self.terminal(number, body),
        }
    }

    fn hears_result(&mut self, number: usize, body: &Body) -> Meaning {
        let Body::Ok { result, replayed } = body else {
            return Meaning::AskAgain;
        };
        let kind = if *replayed { "replayed" } else { "done" };
        *self.kinds.entry(kind.to_owned()).or_default() += 1;
        let case = &self.cases[number];
        let own = matches!(result, Payload::Json(json) if json.as_str() == case.params);
        if !own {
            self.violated(number, "another's answer");
        } else if case.effects == 0 {
            self.violated(number, "done without effect");
        }
        self.terminal(number, body)
    }

    fn hears_refusal(&mut self, number: usize) -> Meaning {
        let case = &mut self.cases[number];
        let ran = case.begins > 0 && case.handler != "q";
        case.sent = false;
        case.acknowledged = false;
        if ran {
            self.violated(number, "refused, and it ran");
        }
        Meaning::Refused
    }

    fn hears_expired(&mut self, number: usize, pruned: bool) -> Meaning {
        let case = &mut self.cases[number];
        let lost = case.power_lost && !case.power;
        let known = case.acknowledged && !pruned && !lost;
        case.never = Some("refused as expired, and begins");
        if known && case.handler != "q" {
            self.violated(number, "acknowledged, and refused as expired");
        }
        Meaning::End
    }

    /// Said once and for all: whoever asks again hears the same.
    fn terminal(&mut self, number: usize, body: &Body) -> Meaning {
        let said = match body {
            Body::Ok { .. } => "done".to_owned(),
            Body::Error(refusal) => format!("{}: {}", refusal.code, refusal.message),
            Body::Accepted | Body::Running | Body::Part(_) => return Meaning::AskAgain,
        };
        let case = &mut self.cases[number];
        let before = case.said.get_or_insert_with(|| said.clone());
        if *before != said && case.handler != "q" {
            self.violated(number, &format!("contradiction, now {said:?}"));
        }
        Meaning::End
    }
}
