//! What the engine is told when writes or syncs fail, by a store that can be made to.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::double::Double;
use super::model;
use crate::daemon::journal::files::Reserve;
use crate::daemon::journal::store::Trouble;
use crate::daemon::journal::{Journal, Safe};
use crate::engine::records::{EntryId, FaultKind, JournalFault, Mark, Record};
use crate::options::Durability;

const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    journal: Journal<Double>,
    double: Double,
    next: u64,
    /// What the engine knows.
    safe: Safe,
    fault: Option<JournalFault>,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let double = Double::default();
        let reserve = Reserve::at(folder.path().join("reserve"));
        Bench {
            journal: Journal::new(double.clone(), reserve).expect("a journal"),
            double,
            next: 1,
            safe: Safe::default(),
            fault: None,
            _folder: folder,
        }
    }

    fn append(&mut self, level: Durability) -> Mark {
        let mark = Mark(self.next);
        self.next += 1;
        let record = Record::Accepted {
            entry: EntryId(mark.0),
            request: Box::new(model::recorded(mark.0, 0)),
            started: None,
        };
        self.journal.append(mark, level, record, false);
        mark
    }

    fn commit(&mut self) {
        let news = self.journal.commit();
        if let Some(safe) = news.safe {
            assert!(safe.synced <= safe.written, "{safe:?}");
            assert!(safe.written >= self.safe.written && safe.synced >= self.safe.synced);
            self.safe = safe;
            self.fault = None;
        }
        if let Some(fault) = news.fault {
            self.fault = Some(fault);
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn(&Bench) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(Duration::from_millis(1));
            self.commit();
        }
    }

    /// The marks of what the disk holds, in its order.
    fn marks(&self) -> Vec<u64> {
        let disk = self.double.disk();
        disk.written
            .iter()
            .flatten()
            .map(|item| item.mark.0)
            .collect()
    }
}

#[test]
fn process_is_safe_in_the_same_pass_and_asks_for_no_sync() {
    let mut bench = Bench::new();
    let mark = bench.append(Durability::Process);
    bench.commit();
    assert_eq!(bench.safe.written, mark);
    assert_eq!(bench.double.disk().synced, 0);
    assert!(bench.journal.commit().is_none(), "nothing is said twice");
}

#[test]
fn power_is_synced_by_the_other_thread_and_one_sync_covers_what_was_written_before() {
    let mut bench = Bench::new();
    for _ in 0..50 {
        bench.append(Durability::Power);
        bench.commit();
    }
    let last = Mark(50);
    assert_eq!(bench.safe.written, last);
    bench.until("all is synced", |bench| bench.safe.synced == last);
    assert_eq!(bench.double.disk().synced, 50);
}

#[test]
fn a_full_disk_is_told_ends_are_still_written_and_it_is_over_when_there_is_room() {
    let mut bench = Bench::new();
    bench.append(Durability::Process);
    bench.commit();
    let full = || Err(Trouble::Full("no space".to_owned()));
    bench.double.disk().writes.extend([full(), full()]);
    bench.append(Durability::Process);
    bench.append(Durability::Process);
    bench.commit();
    assert_eq!(
        bench.fault.as_ref().map(|fault| fault.kind),
        Some(FaultKind::DiskFull)
    );
    assert_eq!(bench.safe.written, Mark(1), "nothing of it was written");
    let end = bench.append(Durability::Process);
    bench.until("the reserve was enough", |bench| bench.safe.written == end);
    bench.until("there is room again", |bench| bench.fault.is_none());
    assert_eq!(bench.marks(), [1, 2, 3, 4], "in order, each once");
}

#[test]
fn a_failed_sync_is_told_and_never_tried_again_on_the_same_descriptor() {
    let mut bench = Bench::new();
    let failed = Err(Trouble::Failed("EIO".to_owned()));
    bench.double.disk().syncs.push_back(failed);
    bench.append(Durability::Power);
    bench.commit();
    bench.until("the fault is told", |bench| {
        bench
            .fault
            .as_ref()
            .is_some_and(|fault| fault.kind == FaultKind::Failed)
            || bench.double.disk().reopened > 0
    });
    let waits = bench.append(Durability::Power);
    bench.until("it was opened again", |bench| {
        bench.safe.synced == waits && bench.fault.is_none()
    });
    assert_eq!(bench.double.disk().reopened, 1);
    assert_eq!(bench.marks(), [1, 2]);
}

#[test]
fn a_store_that_lost_what_it_had_written_is_set_aside() {
    let mut bench = Bench::new();
    bench.append(Durability::Power);
    bench.commit();
    bench.until("the first is synced", |bench| bench.safe.synced == Mark(1));
    bench.append(Durability::Process);
    bench.commit();
    {
        let mut disk = bench.double.disk();
        disk.syncs.push_back(Err(Trouble::Failed("EIO".to_owned())));
        disk.torn = Some(0);
    }
    bench.append(Durability::Power);
    bench.commit();
    bench.until("it goes on with a new one", |bench| {
        bench.double.disk().begun_anew == 1 && bench.fault.is_none()
    });
}

#[test]
fn a_lock_that_somebody_holds_for_a_moment_is_no_fault() {
    let mut bench = Bench::new();
    let locked = Err(Trouble::Locked("busy".to_owned()));
    bench.double.disk().writes.push_back(locked);
    let mark = bench.append(Durability::Process);
    bench.commit();
    assert_eq!((bench.safe.written, &bench.fault), (Mark(0), &None));
    bench.until("it is written", |bench| bench.safe.written == mark);
    assert_eq!(bench.fault, None);
}

#[test]
fn a_long_log_is_shortened_and_all_of_it_is_synced_then() {
    let mut bench = Bench::new();
    bench.double.disk().log_bytes = u64::MAX / 2;
    for _ in 0..crate::limits::JOURNAL_LOOK_EVERY {
        bench.append(Durability::Process);
        bench.commit();
    }
    let last = Mark(u64::from(crate::limits::JOURNAL_LOOK_EVERY));
    bench.until("it is synced", |bench| bench.safe.synced == last);
    assert_eq!(bench.double.disk().checkpoints, 1);
    assert_eq!(bench.fault, None);
}

#[test]
fn this_boot_is_noted_only_behind_what_was_concluded_from_the_last_one() {
    let mut bench = Bench::new();
    bench.commit();
    assert!(!bench.double.disk().settled, "nobody has concluded yet");
    let locked = Err(Trouble::Locked("busy".to_owned()));
    bench.double.disk().writes.push_back(locked);
    bench.append(Durability::Process);
    bench.journal.settle();
    bench.commit();
    assert!(!bench.double.disk().settled, "a conclusion still waits");
    bench.until("it is noted", |bench| bench.double.disk().settled);
    assert_eq!(bench.marks(), [1]);
}
