//! What is written is what is read, by the next daemon, too.

use rusqlite::Connection;
use tempfile::TempDir;

use super::model::{self, Life};
use crate::daemon::journal::sqlite::{Found, Sqlite};
use crate::daemon::journal::store::{Item, Store, Trouble};
use crate::daemon::journal::{self, clock};
use crate::engine::records::{EntryId, EntryState, Mark, Record};
use crate::options::Durability;
use crate::proto::ids::Generation;
use crate::proto::messages::{Delivery, Work};

fn open(folder: &TempDir) -> (Sqlite, Found) {
    Sqlite::open(&folder.path().join("journal.db")).expect("a journal")
}

fn write(store: &mut Sqlite, records: &[Record]) {
    let batch: Vec<Item> = records
        .iter()
        .map(|record| Item {
            mark: Mark(1),
            level: Durability::Process,
            record: record.clone(),
        })
        .collect();
    store.write(&batch).expect("it has room");
}

fn accepted(number: u64, started: Option<Generation>) -> Record {
    Record::Accepted {
        entry: EntryId(number),
        request: Box::new(model::recorded(number, 10)),
        started,
    }
}

#[test]
fn every_record_comes_back_as_it_was_given() {
    let folder = TempDir::new().expect("a folder");
    let mut records = vec![
        accepted(1, None),
        accepted(2, Some(Generation(3))),
        Record::Started {
            entry: EntryId(1),
            generation: Generation(u64::MAX),
            delivery: Delivery::Idempotent,
        },
        accepted(3, Some(Generation(1))),
        Record::Back { entry: EntryId(3) },
        accepted(4, None),
        Record::Freed { entry: EntryId(4) },
    ];
    for form in 0..6 {
        let number = 10 + form as u64;
        records.push(accepted(number, Some(Generation(1))));
        records.push(Record::Ended {
            entry: EntryId(number),
            body: model::body(form),
            at_unix_ms: u64::MAX,
        });
    }
    let mut eval = model::recorded(20, 0);
    eval.work = Work::Eval {
        code: "return 1".to_owned(),
    };
    let mut bare = model::recorded(21, 0);
    bare.work = Work::Call {
        handler: "h".into(),
        params: None,
    };
    for (number, request) in [(20, eval), (21, bare)] {
        records.push(Record::Accepted {
            entry: EntryId(number),
            request: Box::new(request),
            started: None,
        });
    }
    let (mut store, found) = open(&folder);
    assert!(found.entries.is_empty() && found.low_water.is_none());
    write(&mut store, &records);
    drop(store);
    let (_store, found) = open(&folder);
    assert_eq!(found.entries, model::entries(&records));
    assert!(!found.clean, "it was not closed");
}

#[test]
fn pruning_removes_rows_and_the_low_water_mark_only_rises() {
    let folder = TempDir::new().expect("a folder");
    let (mut store, _) = open(&folder);
    write(&mut store, &[accepted(1, None), accepted(2, None)]);
    let pruned = |entries: &[u64], low_water| Record::Pruned {
        entries: entries.iter().copied().map(EntryId).collect(),
        low_water,
    };
    write(&mut store, &[pruned(&[1], 500), pruned(&[], 300)]);
    store.close();
    let (_store, found) = open(&folder);
    assert_eq!(found.low_water, Some(500));
    assert!(found.clean, "it was closed in order");
    let left: Vec<EntryId> = found.entries.iter().map(|entry| entry.entry).collect();
    assert_eq!(left, [EntryId(2)]);
}

#[test]
fn a_life_at_random_is_read_back_whole_after_checkpoints_and_openings() {
    let folder = TempDir::new().expect("a folder");
    let mut life = Life::new(1);
    let mut all = Vec::new();
    for round in 0..30 {
        let (mut store, found) = open(&folder);
        assert_eq!(found.entries, model::entries(&all), "round {round}");
        for _ in 0..10 {
            let batch = life.batch();
            store.write(&batch).expect("it has room");
            all.extend(batch.into_iter().map(|item| item.record));
            if life.dice.one_in(8) {
                store.checkpoint().expect("the disk works");
                let frame = 2_048 + 24;
                assert_eq!(store.log_bytes(), frame, "the log was begun anew");
            }
        }
    }
}

#[test]
fn a_journal_of_another_boot_says_so_until_this_one_has_settled() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.db");
    let reopened = || journal::open_file(&path, &folder.path().join("reserve")).expect("a journal");
    let (mut first, recovered) = reopened();
    assert_eq!(recovered.rebooted_unix_ms, None, "it is new");
    first.settle();
    first.commit();
    first.close();
    let (same, recovered) = reopened();
    assert_eq!(recovered.rebooted_unix_ms, None);
    same.close();
    let other = rusqlite::Connection::open(&path).expect("a database");
    other
        .execute("UPDATE meta SET value = 'other' WHERE name = 'boot'", [])
        .expect("a row");
    drop(other);
    for _ in 0..2 {
        let (died, recovered) = reopened();
        assert_eq!(recovered.rebooted_unix_ms, Some(clock::booted_unix_ms()));
        drop(died);
    }
    let (mut settled, _) = reopened();
    settled.settle();
    settled.commit();
    drop(settled);
    assert_eq!(reopened().1.rebooted_unix_ms, None);
}

#[test]
fn an_end_for_an_entry_that_is_gone_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let (mut store, _) = open(&folder);
    write(
        &mut store,
        &[
            accepted(1, None),
            Record::Ended {
                entry: EntryId(9),
                body: model::body(0),
                at_unix_ms: 1,
            },
        ],
    );
    drop(store);
    let (_store, found) = open(&folder);
    assert_eq!(found.entries.len(), 1);
    assert_eq!(found.entries[0].state, EntryState::Accepted);
}

#[test]
fn a_write_of_somebody_else_between_batches_costs_a_wait_and_no_record() {
    let folder = TempDir::new().expect("a folder");
    let (mut store, _) = open(&folder);
    write(&mut store, &[accepted(1, None)]);
    let other = Connection::open(folder.path().join("journal.db")).expect("a database");
    let seen: i64 = other
        .query_row("SELECT count(*) FROM request", [], |row| row.get(0))
        .expect("a reader is not hindered");
    assert_eq!(seen, 1);
    other
        .execute("INSERT INTO meta (name, value) VALUES ('other', 1)", [])
        .expect("nobody holds the writer's lock");
    let late = Item {
        mark: Mark(2),
        level: Durability::Process,
        record: accepted(2, None),
    };
    let refused = store.write(std::slice::from_ref(&late));
    assert!(matches!(refused, Err(Trouble::Locked(_))), "{refused:?}");
    store.await_lock().expect("the other one is done");
    store.write(&[late]).expect("it is written now");
    store.checkpoint().expect("the disk works");
    store.close();
    assert_eq!(open(&folder).1.entries.len(), 2);
}

#[test]
fn a_file_with_pages_of_another_size_is_gone_on_with() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.db");
    let older = Connection::open(&path).expect("a database");
    older
        .execute_batch("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; VACUUM;")
        .expect("it is done");
    drop(older);
    let (mut store, _) = open(&folder);
    write(&mut store, &[accepted(1, None)]);
    store.checkpoint().expect("the disk works");
    assert_eq!(store.log_bytes(), 4_096 + 24, "one page of its own size");
}
