use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::monitor::alphabet::{Alert, AlertKind, Delivery, DeliveryId};
use crate::monitor::state::State;
use crate::options::alerts::{Action, Hook};
use crate::proto::messages::Json;

/// A home, and its checkbook's file.
fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("state")).expect("a folder");
    let home = Home::at(folder.path()).expect("a home");
    (folder, home)
}

fn check(name: &str, record: &str) -> Keep {
    Keep::Check {
        name: name.to_owned(),
        record: Json::of(record),
    }
}

fn delivery(id: u64) -> Box<Delivery> {
    Box::new(Delivery {
        id: DeliveryId(id),
        hook: Hook {
            name: "ops".into(),
            action: Action::OnChange,
            timeout: Duration::from_secs(1),
            tags: Vec::new(),
            states: Vec::new(),
        },
        alert: Alert {
            kind: AlertKind::Problem,
            check: "web".into(),
            instance: "web".into(),
            plugin: None,
            from: None,
            to: State::Critical,
            told: Vec::new(),
            message: "down".into(),
            measures: Vec::new(),
            tags: Vec::new(),
            began_unix_ms: 1,
            at_unix_ms: 2,
        },
        failed: 0,
        since_unix_ms: 1,
    })
}

/// Hands these over and waits until they are done with.
fn give(book: &mut Checkbook, keeps: impl IntoIterator<Item = Keep>) -> Progress {
    let before = book.progress().borrow().count;
    let mut count = 0;
    for keep in keeps {
        book.keep(keep);
        count += 1;
    }
    book.commit();
    until(book, |progress| progress.count == before + count)
}

fn until(book: &Checkbook, mut reached: impl FnMut(&Progress) -> bool) -> Progress {
    let begun = Instant::now();
    loop {
        let progress = book.progress().borrow().clone();
        if reached(&progress) {
            return progress;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{progress:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kept(home: &Home) -> Kept {
    let (_, opened) = Checkbook::open(home);
    assert_eq!(opened.note, None);
    opened.kept
}

#[test]
fn a_home_without_checks_has_no_file_and_no_thread() {
    let (_folder, home) = home();
    let (mut book, opened) = Checkbook::open(&home);
    assert_eq!(opened.kept, Kept::default());
    book.commit();
    assert!(book.thread.is_none());
    book.close();
    assert!(!home.checks().exists());
}

#[test]
fn what_was_kept_is_there_for_the_next_one_whether_or_not_this_one_was_closed() {
    let (_folder, home) = home();
    let (mut book, _) = Checkbook::open(&home);
    let progress = give(
        &mut book,
        [
            check("web", "1"),
            check("disk", "1"),
            Keep::Delivery(delivery(7)),
            Keep::Delivery(delivery(8)),
            check("web", "2"),
        ],
    );
    assert_eq!(progress.fault, None);
    let expected = |checks: &[(&str, &str)], deliveries: &[u64]| Kept {
        checks: checks
            .iter()
            .map(|(name, record)| ((*name).to_owned(), Json::of(*record)))
            .collect(),
        deliveries: deliveries.iter().map(|id| *delivery(*id)).collect(),
    };
    // As after a kill: nobody has closed it.
    assert_eq!(
        kept(&home),
        expected(&[("disk", "1"), ("web", "2")], &[7, 8])
    );
    let done = DeliveryId(7);
    let forget = Keep::Forget {
        name: "disk".into(),
    };
    book.keep(forget);
    book.keep(Keep::Done { delivery: done });
    book.close();
    assert_eq!(kept(&home), expected(&[("web", "2")], &[8]));
    let mode = std::fs::metadata(home.checks())
        .expect("a file")
        .permissions();
    assert_eq!(mode.mode() & 0o077, 0, "for its owner alone");
}

#[test]
fn a_damaged_file_is_set_aside_and_said() {
    let (_folder, home) = home();
    std::fs::write(
        home.checks(),
        "this is no database at all, is it?".repeat(99),
    )
    .expect("a file");
    let (mut book, opened) = Checkbook::open(&home);
    let note = opened.note.expect("it is said");
    assert!(note.contains("damaged"), "{note}");
    assert_eq!(opened.kept, Kept::default());
    assert_eq!(give(&mut book, [check("web", "1")]).fault, None);
    book.close();
    assert_eq!(kept(&home).checks.len(), 1);
    let aside = |path: &Path| {
        let entries = std::fs::read_dir(path.parent().expect("a folder")).expect("a listing");
        entries
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name.to_string_lossy().contains("damaged-")
            })
            .count()
    };
    assert_eq!(aside(&home.checks()), 1);
}

#[test]
fn what_cannot_be_written_is_told_once_and_tried_again_and_waits_for_nobody() {
    let (folder, home) = home();
    let (mut book, _) = Checkbook::open(&home);
    // No file can be made in what is no folder.
    let state = folder.path().join("state");
    std::fs::rename(&state, folder.path().join("away")).expect("renamed");
    std::fs::write(&state, "").expect("a file");
    let fault = give(&mut book, [check("web", "1")]).fault.expect("a fault");
    assert!(fault.contains("is tried again"), "{fault}");
    assert_eq!(give(&mut book, [check("disk", "1")]).fault, Some(fault));
    std::fs::remove_file(&state).expect("removed");
    std::fs::rename(folder.path().join("away"), &state).expect("renamed");
    // Whatever comes next takes along what has waited.
    assert_eq!(give(&mut book, [check("load", "1")]).fault, None);
    let names: Vec<String> = kept(&home)
        .checks
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["disk", "load", "web"]);
}
