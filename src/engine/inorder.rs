//! Questions without an id: their answers come in the order of the questions, each written whole.
//!
//! An answer that is not yet the first waits here; the first one streams.

use std::collections::VecDeque;

use crate::proto::messages::Answer;

/// A question's place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

#[derive(Debug, Default)]
pub(super) struct InOrder {
    entries: VecDeque<Entry>,
    /// The place of the first entry.
    first: u64,
    held: u64,
}

#[derive(Debug, Default)]
struct Entry {
    pieces: Vec<Answer>,
    ended: bool,
}

impl InOrder {
    pub(super) fn enter(&mut self) -> Place {
        let place = Place(self.first + self.entries.len() as u64);
        self.entries.push_back(Entry::default());
        place
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Cost of the pieces that wait for their turn.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// A piece of the answer at `place`: gives what may be sent now, in order.
    pub(super) fn add(&mut self, place: Place, answer: Answer) -> Vec<Answer> {
        let Some(index) = place.0.checked_sub(self.first) else {
            return Vec::new();
        };
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return Vec::new();
        };
        entry.ended = answer.body.is_end();
        if index > 0 {
            self.held += answer.cost();
            entry.pieces.push(answer);
            return Vec::new();
        }
        let ended = entry.ended;
        let mut sent = vec![answer];
        if ended {
            self.advance(&mut sent);
        }
        sent
    }

    /// The first answer has ended: those behind it that have ended too follow, and the next one's pieces.
    fn advance(&mut self, sent: &mut Vec<Answer>) {
        self.entries.pop_front();
        self.first += 1;
        while let Some(entry) = self.entries.front_mut() {
            let pieces = std::mem::take(&mut entry.pieces);
            self.held -= pieces.iter().map(Answer::cost).sum::<u64>();
            sent.extend(pieces);
            if !entry.ended {
                return;
            }
            self.entries.pop_front();
            self.first += 1;
        }
    }
}
