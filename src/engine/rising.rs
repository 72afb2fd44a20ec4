//! A map whose keys are minted in order: small, sorted, without a search at its ends.
//!
//! What comes first mostly ends first, so that little is moved. It iterates in the order of its keys.

use std::collections::VecDeque;

/// Invariant: `items` is sorted, each key stands once.
#[derive(Debug)]
pub(super) struct Rising<K, V> {
    items: VecDeque<(K, V)>,
}

/// Room for fewer is never given back.
const KEEP: usize = 64;

impl<K, V> Default for Rising<K, V> {
    fn default() -> Self {
        Rising {
            items: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord, V> Rising<K, V> {
    /// `key` is above all others.
    pub(super) fn push_back(&mut self, key: K, value: V) {
        debug_assert!(self.items.back().is_none_or(|(last, _)| *last < key));
        self.items.push_back((key, value));
    }

    /// `key` is below all others.
    pub(super) fn push_front(&mut self, key: K, value: V) {
        debug_assert!(self.items.front().is_none_or(|(first, _)| key < *first));
        self.items.push_front((key, value));
    }

    fn find(&self, key: K) -> Option<usize> {
        match self.items.front() {
            Some((first, _)) if *first == key => Some(0),
            Some(_) => self.items.binary_search_by_key(&key, |item| item.0).ok(),
            None => None,
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        let index = self.find(key)?;
        self.items.get(index).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let index = self.find(key)?;
        self.items.get_mut(index).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let index = self.find(key)?;
        let (_, value) = self.items.remove(index)?;
        if self.items.is_empty() && self.items.capacity() > KEEP {
            self.items.shrink_to(KEEP);
        }
        Some(value)
    }

    pub(super) fn first(&self) -> Option<&V> {
        self.items.front().map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.items.iter().map(|(key, value)| (*key, value))
    }

    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.items.iter().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
