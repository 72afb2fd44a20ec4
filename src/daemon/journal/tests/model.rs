//! What a journal must hold after some records, by a second reading of their meaning; and records at random.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use crate::daemon::journal::store::Item;
use crate::engine::records::{Entry, EntryId, EntryState, Mark, Record, Recorded};
use crate::options::Durability;
use crate::proto::ids::{ClientId, Generation, ScriptName};
use crate::proto::messages::{Body, Delivery, ErrorCode, Json, Payload, Refusal, Work};

/// The entries that the records leave, by rising id.
pub(super) fn entries<'r>(records: impl IntoIterator<Item = &'r Record>) -> Vec<Entry> {
    let mut left = BTreeMap::<EntryId, Entry>::new();
    for record in records {
        apply(record, &mut left);
    }
    left.into_values().collect()
}

fn apply(record: &Record, left: &mut BTreeMap<EntryId, Entry>) {
    match record {
        Record::Accepted {
            entry,
            request,
            started,
        } => {
            let fresh = Entry {
                entry: *entry,
                request: (**request).clone(),
                starts: u32::from(started.is_some()),
                state: started.map_or(EntryState::Accepted, EntryState::Started),
            };
            assert!(left.insert(*entry, fresh).is_none(), "ids are not reused");
        }
        Record::Started {
            entry,
            generation,
            delivery,
        } => {
            let entry = left.get_mut(entry).expect("accepted before");
            entry.state = EntryState::Started(*generation);
            entry.request.delivery = *delivery;
            entry.starts += 1;
        }
        Record::Back { entry } => {
            left.get_mut(entry).expect("accepted before").state = EntryState::Accepted;
        }
        Record::Ended {
            entry,
            body,
            at_unix_ms,
        } => {
            left.get_mut(entry).expect("accepted before").state = EntryState::Ended {
                body: body.clone(),
                at_unix_ms: *at_unix_ms,
            };
        }
        Record::Freed { entry } => drop(left.remove(entry)),
        Record::Pruned { entries, .. } => left.retain(|entry, _| !entries.contains(entry)),
    }
}

/// Numbers that only look random: the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `most`.
    pub(super) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).expect("small")
    }

    pub(super) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// A life of requests, at random: what an engine could want written.
pub(super) struct Life {
    pub(super) dice: Dice,
    next: u64,
    mark: u64,
    accepted: Vec<EntryId>,
    started: Vec<EntryId>,
    ended: Vec<EntryId>,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        Life {
            dice: Dice::new(seed),
            next: 1,
            mark: 0,
            accepted: Vec::new(),
            started: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// The records of one pass.
    pub(super) fn batch(&mut self) -> Vec<Item> {
        (0..=self.dice.below(6))
            .map(|_| {
                let record = self.record();
                self.mark += 1;
                Item {
                    mark: Mark(self.mark),
                    level: Durability::Power,
                    record,
                }
            })
            .collect()
    }

    fn take(dice: &mut Dice, from: &mut Vec<EntryId>) -> Option<EntryId> {
        (!from.is_empty()).then(|| from.swap_remove(dice.below(from.len())))
    }

    fn record(&mut self) -> Record {
        let choice = self.dice.below(10);
        let dice = &mut self.dice;
        match choice {
            0..=1 => Life::take(dice, &mut self.accepted).map(|entry| {
                self.started.push(entry);
                Record::Started {
                    entry,
                    generation: Generation(2),
                    delivery: Delivery::Idempotent,
                }
            }),
            2..=4 => Life::take(dice, &mut self.started).map(|entry| {
                self.ended.push(entry);
                Record::Ended {
                    entry,
                    body: body(dice.below(6)),
                    at_unix_ms: 7,
                }
            }),
            5 => Life::take(dice, &mut self.started).map(|entry| {
                self.accepted.push(entry);
                Record::Back { entry }
            }),
            6 if dice.one_in(3) => {
                Life::take(dice, &mut self.accepted).map(|entry| Record::Freed { entry })
            }
            7 if dice.one_in(4) => Some(Record::Pruned {
                entries: self.ended.drain(..).collect(),
                low_water: self.next,
            }),
            _ => None,
        }
        .unwrap_or_else(|| self.accept())
    }

    fn accept(&mut self) -> Record {
        let entry = EntryId(self.next);
        self.next += 1;
        // Some do not fit into one page.
        let most = if self.dice.one_in(8) { 6_000 } else { 60 };
        let started = self.dice.one_in(2).then_some(Generation(1));
        match started {
            Some(_) => self.started.push(entry),
            None => self.accepted.push(entry),
        }
        Record::Accepted {
            entry,
            request: Box::new(recorded(entry.0, self.dice.below(most))),
            started,
        }
    }
}

pub(super) fn recorded(number: u64, params: usize) -> Recorded {
    let text = "p".repeat(params);
    Recorded {
        id: Uuid::from_u64_pair(number, 0x8000_0000_0000_0000),
        script: ScriptName::new("greeter").expect("a name"),
        work: Work::Call {
            handler: "greet".into(),
            params: Some(Json::of(&serde_json::json!({ "text": text }))),
        },
        delivery: Delivery::Once,
        client: number
            .is_multiple_of(2)
            .then(|| ClientId(Uuid::from_u128(9))),
        durability: Durability::Power,
        accepted_unix_ms: 1_000 + number,
        deadline_unix_ms: 31_000 + number,
    }
}

/// Ends of every form.
pub(super) fn body(form: usize) -> Body {
    let ok = |result| Body::Ok {
        result,
        replayed: false,
    };
    match form {
        0 => ok(Payload::Empty),
        1 => ok(Payload::Json(
            Json::parse(r#"{"a":[1, 2.50,null],"s":"\u0000ä"}"#).expect("JSON"),
        )),
        2 => ok(Payload::Lines("two\nlines, \"quoted\"".into())),
        3 => ok(Payload::Json(Json::of(&"x".repeat(9_000)))),
        4 => Body::Error(Refusal::new(
            ErrorCode::OutcomeUnknown,
            "the command may have run",
        )),
        _ => Body::Error(Refusal {
            code: ErrorCode::ScriptError,
            message: "it said \"no\"".to_owned(),
            retry_after: Some(Duration::from_millis(1_500)),
            data: Some(Json::parse(r#"{"why": [true]}"#).expect("JSON")),
            traceback: Some("line 1\nline 2".to_owned()),
        }),
    }
}
