//! What workers of earlier daemons left: which records are read, and when a script is held.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

use super::model;
use crate::daemon::journal::{outcomes, predecessors};
use crate::engine::records::{Entry, EntryId, EntryState};
use crate::paths::Home;
use crate::proto::ids::{DaemonId, Generation, ScriptName, WorkerId};
use crate::proto::messages::{Body, Payload};
use crate::proto::outcome::{self, Header};

fn header(boot: Uuid) -> Header {
    Header {
        pid: u32::MAX,
        started: 1,
        boot,
    }
}

fn this_boot() -> Uuid {
    let text = crate::daemon::journal::clock::boot_id().expect("/proc is mounted");
    Uuid::try_parse(&text).expect("an id")
}

fn done() -> Body {
    Body::Ok {
        result: Payload::Empty,
        replayed: false,
    }
}

/// A record of one request that ended and one that did not.
fn record(boot: Uuid) -> Vec<u8> {
    let mut text = Vec::new();
    outcome::print_header(header(boot), &mut text);
    for number in 1..=2 {
        outcome::print_begun(Uuid::from_u128(number), &mut text);
    }
    outcome::print_ended(Uuid::from_u128(1), &done(), &mut text);
    text
}

fn place(home: &Home, script: &str, text: &[u8]) -> PathBuf {
    let worker = WorkerId {
        script: ScriptName::new(script).expect("a name"),
        generation: Generation(3),
    };
    let path = home.outcome(DaemonId(Uuid::now_v7()), &worker);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, text).expect("a file");
    path
}

fn lock(home: &Home, script: &str) -> File {
    let path = home.script_lock(script);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    File::create(path).expect("a file")
}

fn home() -> (TempDir, Home) {
    let folder = TempDir::new().expect("a folder");
    let home = Home::at(folder.path()).expect("a home");
    (folder, home)
}

fn started(script: &str) -> Entry {
    let mut request = model::recorded(9, 0);
    request.script = ScriptName::new(script).expect("a name");
    Entry {
        entry: EntryId(1),
        request,
        starts: 1,
        state: EntryState::Started(Generation(3)),
    }
}

#[test]
fn a_script_is_held_while_a_worker_holds_its_lock_and_its_records_are_read_after_that() {
    let (_folder, home) = home();
    let [gone, living] = ["gone", "living"].map(|name| place(&home, name, &record(this_boot())));
    let shared = lock(&home, "living");
    shared.lock_shared().expect("a lock");
    let found = predecessors::look(&home, &[started("unrecorded")]).expect("it is ours");
    let held: Vec<&str> = found.held.iter().map(|held| held.script.as_str()).collect();
    assert_eq!(held, ["living"]);
    assert_eq!(found.held[0].records(), std::slice::from_ref(&living));
    assert_eq!(found.read, [gone]);
    let names: Vec<&str> = found.outcomes.keys().map(ScriptName::as_str).collect();
    assert_eq!(names, ["gone", "unrecorded"]);
    let gone = &found.outcomes[&ScriptName::new("gone").expect("a name")];
    assert!(gone.complete && gone.began.len() == 2 && gone.ended.len() == 1);
    let unrecorded = &found.outcomes[&ScriptName::new("unrecorded").expect("a name")];
    assert!(!unrecorded.complete, "no record was found");
    drop(shared);
    let found = predecessors::look(&home, &[]).expect("it is ours");
    assert!(found.held.is_empty());
}

#[test]
fn a_record_of_another_boot_is_not_complete() {
    let (_folder, home) = home();
    place(&home, "t", &record(Uuid::from_u128(5)));
    let found = predecessors::look(&home, &[]).expect("it is ours");
    let outcomes = &found.outcomes[&ScriptName::new("t").expect("a name")];
    assert!(!outcomes.complete && outcomes.ended.len() == 1);
}

#[test]
fn of_a_record_that_is_too_long_the_end_is_read_and_nothing_follows_from_what_it_lacks() {
    let (_folder, home) = home();
    let text = record(this_boot());
    let path = place(&home, "t", &text);
    let all = outcomes::look_within(&path, text.len() as u64);
    assert!(all.outcomes.complete);
    for most in 1..text.len() as u64 {
        let some = outcomes::look_within(&path, most);
        assert_eq!(some.header, all.header);
        assert!(!some.outcomes.complete);
        assert!(some.outcomes.began.is_subset(&all.outcomes.began));
        assert!(some.outcomes.ended.len() <= 1);
    }
    let last = text.len() as u64 - 1;
    assert_eq!(outcomes::look_within(&path, last).outcomes.ended.len(), 1);
}

#[test]
fn only_so_many_records_are_kept_and_what_has_no_name_of_ours_stays_while_it_is_young() {
    let (_folder, home) = home();
    let name = |number: usize| format!("s{number}");
    for number in 0..13 {
        place(&home, &name(number), b"");
    }
    let stranger = home.outcomes().join("README");
    fs::write(&stranger, "").expect("a file");
    let listed = outcomes::list(&home.outcomes(), 10).expect("it is ours");
    assert_eq!(listed.len(), 10);
    let left = fs::read_dir(home.outcomes()).expect("a folder").count();
    assert_eq!(left, 11);
    assert!(stranger.exists());
}

// T3
#[test]
fn a_record_that_is_a_link_or_a_fifo_is_not_read() {
    let (_folder, home) = home();
    let victim = place(&home, "victim", &record(this_boot()));
    let link = victim.with_file_name("link");
    std::os::unix::fs::symlink(&victim, &link).expect("a link");
    let fifo = victim.with_file_name("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo").success());
    for path in [&link, &fifo, Path::new("/dev/zero")] {
        let read = outcomes::look(path);
        assert!(read.header.is_none() && !read.outcomes.complete);
    }
}
