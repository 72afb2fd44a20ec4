//! The simulation's journal: what was given, written, synced; what a kill and a power loss leave of it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::engine::records::*;
use crate::options::Durability;

#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Everything that was ever written and not lost, in order.
    log: Vec<Record>,
    /// So many of `log` survive a power loss.
    synced: usize,
    /// The length of `log` when this daemon started: its first mark comes after.
    base: usize,
    /// Given by the engine, not written.
    given: Vec<(Durability, Record)>,
    /// Some of it may not be late.
    pub(super) urgent: bool,
    pub(super) fault: Option<JournalFault>,
    ids: BTreeMap<EntryId, Uuid>,
    /// Ids whose entries were pruned, whatever was lost since.
    pub(super) pruned: BTreeSet<Uuid>,
}

impl Disk {
    /// The id of an entry that was given.
    pub(super) fn id_of(&self, entry: EntryId) -> String {
        self.ids
            .get(&entry)
            .map(Uuid::to_string)
            .unwrap_or_default()
    }

    pub(super) fn give(&mut self, mark: Mark, level: Durability, record: Record) {
        match &record {
            Record::Accepted { entry, request, .. } => {
                self.ids.insert(*entry, request.id);
            }
            Record::Pruned { entries, .. } => {
                let gone = entries.iter().filter_map(|entry| self.ids.get(entry));
                self.pruned.extend(gone);
            }
            Record::Started { .. }
            | Record::Back { .. }
            | Record::Ended { .. }
            | Record::Freed { .. } => {}
        }
        self.given.push((level, record));
        let last = self.log.len() + self.given.len() - self.base;
        assert_eq!(mark.0, last as u64, "marks count the records");
    }

    /// Writes what was given. `true`: a sync is wanted.
    pub(super) fn write(&mut self) -> bool {
        let wanted = self
            .given
            .iter()
            .any(|(level, _)| *level == Durability::Power);
        let given = std::mem::take(&mut self.given);
        self.urgent = false;
        self.log.extend(given.into_iter().map(|(_, record)| record));
        wanted
    }

    pub(super) fn has_given(&self) -> bool {
        !self.given.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.log.len()
    }

    /// A sync that began when `len` records were written has ended.
    pub(super) fn sync(&mut self, len: usize) {
        self.synced = self.synced.max(len.min(self.log.len()));
    }

    pub(super) fn written_mark(&self) -> Mark {
        Mark((self.log.len() - self.base) as u64)
    }

    pub(super) fn synced_mark(&self) -> Mark {
        Mark(self.synced.saturating_sub(self.base) as u64)
    }

    /// The mark of the last record that was given.
    pub(super) fn last_mark(&self) -> Mark {
        Mark((self.log.len() + self.given.len() - self.base) as u64)
    }

    pub(super) fn daemon_died(&mut self) {
        self.given.clear();
        self.urgent = false;
        self.fault = None;
    }

    /// Of what was not synced only a beginning is left; the rest is gone, or torn, which is the same.
    pub(super) fn power_lost(&mut self, choose: impl FnOnce(u64) -> u64) {
        self.daemon_died();
        let unsynced = (self.log.len() - self.synced) as u64;
        let left = choose(unsynced + 1) as usize;
        self.log.truncate(self.synced + left);
    }

    /// What the next daemon finds.
    pub(super) fn open(&mut self) -> Recovered {
        self.base = self.log.len();
        self.synced = self.log.len();
        let mut entries: BTreeMap<EntryId, Entry> = BTreeMap::new();
        let mut low_water = None;
        for record in self.log.clone() {
            self.apply(record, &mut entries, &mut low_water);
        }
        Recovered {
            entries: entries.into_values().collect(),
            low_water,
            ..Recovered::default()
        }
    }

    fn apply(
        &self,
        record: Record,
        entries: &mut BTreeMap<EntryId, Entry>,
        low_water: &mut Option<u64>,
    ) {
        let known = |entries: &mut BTreeMap<EntryId, Entry>, id: EntryId| {
            assert!(entries.contains_key(&id), "a record of an unknown {id:?}");
        };
        match record {
            Record::Accepted {
                entry,
                request,
                started,
            } => {
                let state = started.map_or(EntryState::Accepted, EntryState::Started);
                let found = Entry {
                    entry,
                    request: *request,
                    starts: u32::from(started.is_some()),
                    state,
                };
                assert!(entries.insert(entry, found).is_none(), "{entry:?} twice");
            }
            Record::Started {
                entry,
                generation,
                delivery,
            } => {
                known(entries, entry);
                entries.entry(entry).and_modify(|found| {
                    found.state = EntryState::Started(generation);
                    found.request.delivery = delivery;
                    found.starts += 1;
                });
            }
            Record::Back { entry } => {
                known(entries, entry);
                entries
                    .entry(entry)
                    .and_modify(|found| found.state = EntryState::Accepted);
            }
            Record::Ended {
                entry,
                body,
                at_unix_ms,
            } => {
                known(entries, entry);
                entries.entry(entry).and_modify(|found| {
                    let ended = matches!(found.state, EntryState::Ended { .. });
                    assert!(!ended, "{entry:?} ends twice");
                    found.state = EntryState::Ended { body, at_unix_ms };
                });
            }
            Record::Freed { entry } => {
                known(entries, entry);
                entries.remove(&entry);
            }
            Record::Pruned {
                entries: gone,
                low_water: mark,
            } => {
                entries.retain(|entry, _| !gone.contains(entry));
                *low_water = (*low_water).max(Some(mark));
            }
        }
    }

    /// Looks at everything that is written, as the next daemon would.
    pub(super) fn look(&self) {
        let mut entries = BTreeMap::new();
        for record in self.log.clone() {
            self.apply(record, &mut entries, &mut None);
        }
    }
}
