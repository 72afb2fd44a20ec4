//! Who may use which connection of a pool. Pure.
//!
//! A slot is claimed in the step that hands it out, before its waiter is woken, so the pool never has
//! more slots in use than it may. Whoever goes away, before or after it was given a slot, gives its
//! place back through [`Ledger::leave`]; a second call finds nothing.

use std::collections::{BTreeSet, VecDeque};

/// One of the pool's connections, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub usize);

/// One who wants, or has, a slot. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guest(pub u64);

/// Free slots, used slots, and those who wait, first come, first served.
#[derive(Debug)]
pub struct Ledger {
    most: usize,
    free: BTreeSet<Slot>,
    used: std::collections::BTreeMap<Guest, Slot>,
    waiting: VecDeque<Guest>,
    guests: u64,
    waiting_most: usize,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The slot is the guest's already.
    Granted(Guest, Slot),
    /// It will be granted by somebody's leaving.
    Waiting(Guest),
    /// Too many wait; nothing was noted.
    Full,
}

impl Ledger {
    /// A pool of `most` slots for which at most `waiting_most` may wait.
    #[must_use]
    pub fn new(most: usize, waiting_most: usize) -> Self {
        Ledger {
            most,
            free: (0..most).map(Slot).collect(),
            used: std::collections::BTreeMap::new(),
            waiting: VecDeque::new(),
            guests: 0,
            waiting_most,
        }
    }

    /// The one way in.
    pub fn enter(&mut self) -> Admission {
        let guest = Guest(self.guests);
        let slot = self.free.pop_first();
        if slot.is_none() && self.waiting.len() >= self.waiting_most {
            return Admission::Full;
        }
        self.guests += 1;
        match slot {
            Some(slot) => {
                self.used.insert(guest, slot);
                Admission::Granted(guest, slot)
            }
            None => {
                self.waiting.push_back(guest);
                Admission::Waiting(guest)
            }
        }
    }

    /// The one way out, for those who wait as well. Gives whom to wake: its slot is claimed already.
    pub fn leave(&mut self, guest: Guest) -> Option<(Guest, Slot)> {
        let Some(slot) = self.used.remove(&guest) else {
            self.waiting.retain(|other| *other != guest);
            return None;
        };
        match self.waiting.pop_front() {
            Some(next) => {
                self.used.insert(next, slot);
                Some((next, slot))
            }
            None => {
                self.free.insert(slot);
                None
            }
        }
    }

    #[must_use]
    pub fn in_use(&self) -> usize {
        self.used.len()
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What holds after every step.
    ///
    /// # Panics
    /// If it does not.
    pub fn check_invariants(&self) {
        assert_eq!(
            self.used.len() + self.free.len(),
            self.most,
            "every slot is free or used"
        );
        let distinct: BTreeSet<_> = self.used.values().collect();
        assert_eq!(distinct.len(), self.used.len(), "no slot is used twice");
        assert!(
            self.waiting.is_empty() || self.free.is_empty(),
            "nobody waits while a slot is free"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::backoff::Dice;

    // the timeline of the report, step by step: limit 5, two waiters, two ends at once.
    #[test]
    fn a_slot_is_claimed_before_its_waiter_wakes() {
        let mut ledger = Ledger::new(5, 100);
        let guests: Vec<Guest> = (0..7)
            .map(|_| match ledger.enter() {
                Admission::Granted(guest, _) | Admission::Waiting(guest) => guest,
                Admission::Full => panic!("room for 100"),
            })
            .collect();
        assert_eq!((ledger.in_use(), ledger.waiting()), (5, 2));
        assert_eq!(ledger.leave(guests[0]).map(|next| next.0), Some(guests[5]));
        assert_eq!(ledger.in_use(), 5, "claimed although nobody has been woken");
        // Between the wake-up and the running of guest 5, another one ends and one more comes.
        assert_eq!(ledger.leave(guests[1]).map(|next| next.0), Some(guests[6]));
        assert!(matches!(ledger.enter(), Admission::Waiting(_)));
        assert_eq!(ledger.in_use(), 5);
        ledger.check_invariants();
    }

    // any order of comings and goings, those of waiters and of just granted ones included.
    #[test]
    fn in_random_schedules_the_limit_holds_and_everybody_is_served_in_order() {
        for seed in 0..300 {
            let mut dice = Dice::new(seed);
            let most = 1 + (dice.roll() % 5) as usize;
            let mut ledger = Ledger::new(most, 50);
            let (mut waiting, mut using): (VecDeque<Guest>, Vec<Guest>) = Default::default();
            for _ in 0..1_000 {
                match dice.roll() % 5 {
                    0 | 1 => match ledger.enter() {
                        Admission::Granted(guest, _) => using.push(guest),
                        Admission::Waiting(guest) => waiting.push_back(guest),
                        Admission::Full => assert_eq!(waiting.len(), 50),
                    },
                    2 if !waiting.is_empty() => {
                        let at = (dice.roll() % waiting.len() as u64) as usize;
                        let guest = waiting.remove(at).unwrap();
                        assert_eq!(ledger.leave(guest), None);
                        assert_eq!(ledger.leave(guest), None, "a second time finds nothing");
                    }
                    _ if !using.is_empty() => {
                        let at = (dice.roll() % using.len() as u64) as usize;
                        let next = ledger.leave(using.swap_remove(at));
                        assert_eq!(next.map(|next| next.0), waiting.pop_front(), "seed {seed}");
                        using.extend(next.map(|next| next.0));
                    }
                    _ => {}
                }
                ledger.check_invariants();
                assert_eq!(ledger.in_use(), using.len(), "seed {seed}");
                assert!(using.len() <= most);
            }
        }
    }
}
