//! Power losses: what was not synced is lost, in any part and any order of sectors. FI-12.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::model::{self, Dice, Life};
use crate::daemon::journal::files::beside;
use crate::daemon::journal::sqlite::Sqlite;
use crate::daemon::journal::store::{Barrier, Store};
use crate::engine::records::{Entry, Record};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

fn long() -> bool {
    std::env::var_os("MOONKEEP_LONG").is_some()
}

/// A journal in use, with what its log was when it was synced last.
struct Run {
    folder: TempDir,
    life: Life,
    records: Vec<Record>,
    /// Before the first batch and after each, a hash of what there has to be.
    states: Vec<blake3::Hash>,
    /// Batches that are synced.
    synced: usize,
    log_synced: Vec<u8>,
}

impl Run {
    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn log(&self) -> Vec<u8> {
        fs::read(beside(&self.path(), "-wal")).expect("a log")
    }

    fn note_synced(&mut self) {
        self.synced = self.states.len() - 1;
        self.log_synced = self.log();
    }

    fn one_step(&mut self, store: &mut Sqlite, barrier: &mut impl Barrier) {
        match self.life.dice.below(12) {
            0 => {
                store.checkpoint().expect("the disk works");
                self.note_synced();
            }
            1 | 2 => {
                barrier.sync().expect("the disk works");
                self.note_synced();
            }
            _ => {
                let batch = self.life.batch();
                store.write(&batch).expect("it has room");
                self.records
                    .extend(batch.into_iter().map(|item| item.record));
                self.states.push(hash(&model::entries(&self.records)));
            }
        }
    }

    /// The files after a power loss now.
    fn lose_power(&self, dice: &mut Dice, image: &Path) {
        let journal = image.join("journal.db");
        fs::copy(self.path(), &journal).expect("a copy");
        let log = torn(dice, &self.log_synced, &self.log());
        fs::write(beside(&journal, "-wal"), log).expect("a copy");
    }

    fn check(&self, image: &Path) {
        let (_store, found) =
            Sqlite::open(&image.join("journal.db")).expect("a power loss damages nothing");
        let possible = self.states[self.synced..].contains(&hash(&found.entries));
        assert!(
            possible,
            "after batch {} of which {} are synced it holds {}",
            self.states.len() - 1,
            self.synced,
            summary(&found.entries)
        );
    }
}

fn hash(entries: &[Entry]) -> blake3::Hash {
    blake3::hash(&serde_json::to_vec(entries).expect("our own types serialize"))
}

fn summary(entries: &[Entry]) -> String {
    format!("{} entries up to {:?}", entries.len(), entries.last())
}

/// Sectors of what was synced and of what was written since, mixed.
fn torn(dice: &mut Dice, synced: &[u8], written: &[u8]) -> Vec<u8> {
    let kept = match dice.below(4) {
        0 => 0,
        1 => 100,
        _ => dice.below(100),
    };
    let mut image = Vec::new();
    for start in (0..written.len()).step_by(SECTOR) {
        let end = (start + SECTOR).min(written.len());
        let is_kept = dice.below(100) < kept;
        let before = synced.get(start..end.min(synced.len()));
        match (is_kept, before) {
            (true, _) => image.extend_from_slice(&written[start..end]),
            (false, Some(before)) => image.extend_from_slice(before),
            (false, None) => {}
        }
        // The file may be longer already than what of it is on the disk.
        image.resize(end, 0);
    }
    if dice.one_in(3) {
        let cut = synced.len() + dice.below(image.len() - synced.len() + 1);
        image.truncate(cut);
    }
    image
}

// FI-12
#[test]
fn whatever_unsynced_sectors_a_power_loss_takes_the_journal_holds_a_beginning_with_all_that_was_synced()
 {
    let (runs, steps, losses) = if long() { (100, 120, 3) } else { (4, 50, 2) };
    for seed in 1..=runs {
        let folder = TempDir::new().expect("a folder");
        let (mut store, _) = Sqlite::open(&folder.path().join("journal.db")).expect("a journal");
        let mut barrier = store.barrier().expect("a barrier");
        let mut run = Run {
            folder,
            life: Life::new(seed),
            records: Vec::new(),
            states: vec![hash(&[])],
            synced: 0,
            log_synced: Vec::new(),
        };
        // Before the first sync there may be no database at all.
        barrier.sync().expect("the disk works");
        run.note_synced();
        let mut dice = Dice::new(seed + 1_000);
        println!("seed {seed}");
        for _ in 0..steps {
            run.one_step(&mut store, &mut barrier);
            for _ in 0..losses {
                let image = TempDir::new().expect("a folder");
                run.lose_power(&mut dice, image.path());
                run.check(image.path());
            }
        }
    }
}
