//! Files that are not what they should be: planted, damaged, of a later version.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::model::Life;
use crate::daemon::journal::files::{Reserve, beside};
use crate::daemon::journal::sqlite::Sqlite;
use crate::daemon::journal::store::Store;
use crate::daemon::journal::{self, Journal, clock};
use crate::engine::records::Recovered;
use crate::limits;

fn open(path: &Path) -> anyhow::Result<(Journal, Recovered)> {
    journal::open_file(path, &path.with_file_name("journal.reserve"))
}

const VICTIM: &[u8] = b"somebody's file";

fn plant(kind: &str, path: &Path, victim: &Path) {
    match kind {
        "symlink" => symlink(victim, path).expect("a link"),
        "dangling" => symlink("/nonexistent/x", path).expect("a link"),
        "hard link" => fs::hard_link(victim, path).expect("a link"),
        "folder" => fs::create_dir(path).expect("a folder"),
        "fifo" => {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo").success());
        }
        other => panic!("{other}"),
    }
}

// T3
#[test]
fn what_is_planted_at_the_journals_paths_is_refused_and_left_as_it_is() {
    for name in [
        "journal.db",
        "journal.db-wal",
        "journal.db-shm",
        "journal.reserve",
    ] {
        for kind in ["symlink", "dangling", "hard link", "folder", "fifo"] {
            let folder = TempDir::new().expect("a folder");
            let victim = folder.path().join("victim");
            fs::write(&victim, VICTIM).expect("a file");
            fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).expect("its mode");
            plant(kind, &folder.path().join(name), &victim);
            let opened = open(&folder.path().join("journal.db"));
            let text = format!("{:#}", opened.expect_err("it is refused"));
            assert!(text.contains(name), "{kind} at {name}: {text}");
            assert!(text.contains("move it away"), "{kind} at {name}: {text}");
            assert_eq!(fs::read(&victim).expect("it is there"), VICTIM);
            let mode = fs::metadata(&victim).expect("it is there").mode() & 0o777;
            assert_eq!(mode, 0o644);
        }
    }
}

#[test]
fn the_files_are_for_us_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.db");
    File::create(&path).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
    let (mut store, _) = Sqlite::open(&path).expect("a journal");
    store.write(&Life::new(3).batch()).expect("it has room");
    for ending in ["", "-wal", "-shm"] {
        let facts = fs::metadata(beside(&path, ending)).expect("it is there");
        assert_eq!(facts.mode() & 0o777, 0o600, "{ending}");
    }
}

#[test]
fn a_damaged_journal_is_set_aside_and_no_id_of_before_is_run() {
    for damage in ["page", "header", "row", "empty table"] {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("journal.db");
        fill(&path);
        harm(damage, &path);
        let before = clock::unix_ms();
        let (journal, recovered) = open(&path).expect("it goes on");
        let warning = recovered.warning.unwrap_or_else(|| panic!("{damage}"));
        assert!(
            warning.contains("journal.db.damaged-"),
            "{damage}: {warning}"
        );
        assert!(recovered.entries.is_empty());
        assert!(recovered.low_water.is_some_and(|mark| mark >= before));
        drop(journal);
        let (_journal, recovered) = open(&path).expect("the new one is sound");
        assert_eq!(recovered.warning, None);
        assert!(recovered.low_water.is_some_and(|mark| mark >= before));
    }
}

fn fill(path: &Path) {
    let (mut store, _) = Sqlite::open(path).expect("a journal");
    let mut life = Life::new(5);
    for _ in 0..100 {
        store.write(&life.batch()).expect("it has room");
    }
    store.checkpoint().expect("the disk works");
}

fn harm(damage: &str, path: &Path) {
    let sql = |text: &str| {
        let other = Connection::open(path).expect("a database");
        other.execute_batch(text).expect("it is done");
    };
    match damage {
        "page" => {
            let mut bytes = fs::read(path).expect("a file");
            bytes[2_048..].fill(0xA5);
            fs::write(path, bytes).expect("a file");
        }
        "header" => {
            let mut bytes = fs::read(path).expect("a file");
            bytes[..100].fill(0x11);
            fs::write(path, bytes).expect("a file");
        }
        "row" => sql("UPDATE request SET state = 'odd'"),
        "empty table" => sql("DELETE FROM meta"),
        other => panic!("{other}"),
    }
}

#[test]
fn only_the_newest_damaged_journals_are_kept() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.db");
    for _ in 0..limits::JOURNALS_SET_ASIDE + 2 {
        fill(&path);
        harm("header", &path);
        drop(open(&path).expect("it goes on"));
    }
    let kept = fs::read_dir(folder.path())
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("damaged") && !name.ends_with("-wal"))
        .count();
    assert_eq!(kept, limits::JOURNALS_SET_ASIDE);
}

#[test]
fn the_journal_of_a_later_version_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.db");
    fill(&path);
    let other = Connection::open(&path).expect("a database");
    other
        .execute("UPDATE meta SET value = 99 WHERE name = 'schema'", [])
        .expect("a row");
    drop(other);
    let text = format!("{:#}", open(&path).expect_err("it is refused"));
    assert!(text.contains("later moonkeep"), "{text}");
}

#[test]
fn the_reserve_takes_its_space_gives_it_up_and_takes_it_again() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("journal.reserve");
    let mut reserve = Reserve::at(path.clone());
    let space = || fs::metadata(&path).expect("it is there").blocks() * 512;
    for _ in 0..2 {
        reserve.make().expect("there is room");
        assert!(reserve.is_held() && space() >= limits::JOURNAL_RESERVE);
        assert!(reserve.give_up(), "it was held");
        assert_eq!(space(), 0);
        assert!(!reserve.give_up(), "it is gone");
    }
}
