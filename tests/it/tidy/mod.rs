//! The house rules that no lint knows: who may use whom, what pure modules may not say, how long a file is.
//!
//! Every rule is a plain function from a file's text to its faults, and has a test with a faulty text:
//! a rule that cannot fail protects nothing. A rule that a review has to repeat belongs here.

mod rules;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use rules::{Fault, File};

/// Files of the repository under `folders` (or single files), with their paths from its top.
fn files(folders: &[&str]) -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| top.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the repository");
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(top).expect("a file of the repository");
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing is there: {folders:?}");
    found
}

#[track_caller]
fn assert_tidy(faults: &[Fault]) {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[track_caller]
fn assert_holds(rule: fn(&File) -> Vec<Fault>) {
    let faults: Vec<Fault> = files(&["src"])
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .flat_map(|(path, text)| rule(&File::new(path, text)))
        .collect();
    assert_tidy(&faults);
}

#[test]
fn modules_use_only_what_the_import_table_allows() {
    assert_holds(rules::imports);
}

#[test]
fn crates_are_used_only_where_they_belong() {
    assert_holds(rules::crates);
}

#[test]
fn pure_modules_open_nothing_wait_for_nothing_and_read_no_clock() {
    assert_holds(rules::pure);
}

#[test]
fn no_source_file_is_longer_than_its_limit() {
    assert_holds(rules::length);
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    assert_holds(rules::no_allow);
}

#[test]
fn only_the_output_module_prints() {
    assert_holds(rules::no_print);
}

// states that cannot be shared need no lock.
#[test]
fn locks_and_flags_stand_only_where_a_reason_is_given() {
    assert_holds(rules::no_locks);
    assert_holds(rules::no_flags);
}

#[test]
fn nothing_is_called_util() {
    assert_holds(rules::no_util);
}

#[test]
fn every_limit_is_documented() {
    assert_holds(rules::limits_are_documented);
}

#[test]
fn every_module_says_what_it_is_for() {
    assert_holds(rules::module_comment);
}

#[test]
fn nothing_names_the_place_where_it_was_written() {
    let places = [
        "src",
        "tests",
        "docs",
        "scripts",
        "plugins",
        "examples",
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "moonkeep.toml",
        ".ci",
    ];
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there: Vec<&str> = places
        .into_iter()
        .filter(|place| top.join(place).exists())
        .collect();
    let faults: Vec<Fault> = files(&there)
        .iter()
        .flat_map(|(path, text)| rules::no_workplace(&File::new(path, text)))
        .collect();
    assert_tidy(&faults);
}

/// Each rule finds its fault in a text made for it.
mod can_fail {
    use super::rules::{self, Fault, File};

    #[track_caller]
    fn check(rule: fn(&File) -> Vec<Fault>, path: &str, faulty: &str, sound: &str) {
        assert_eq!(
            rule(&File::new(path, faulty)).len(),
            1,
            "not found: {faulty}"
        );
        assert_eq!(rule(&File::new(path, sound)), [], "wrongly found: {sound}");
    }

    #[test]
    fn on_an_import_against_the_table() {
        let sound =
            "use crate::proto::ids; // use crate::daemon;\nconst A: &str = \"crate::daemon\";";
        check(
            rules::imports,
            "src/engine/slots.rs",
            "use crate::daemon::peer;",
            sound,
        );
        check(
            rules::imports,
            "src/engine/slots.rs",
            "use crate::{limits, cli::exit};",
            sound,
        );
        check(
            rules::imports,
            "src/engine/mod.rs",
            "use super::daemon;",
            "use super::proto;",
        );
        check(
            rules::imports,
            "src/worker/host.rs",
            "fn f() { super::super::client::x() }",
            sound,
        );
    }

    #[test]
    fn on_a_crate_in_the_wrong_place() {
        check(
            rules::crates,
            "src/cli/call.rs",
            "use mlua::Lua;",
            "use clap::Parser;",
        );
        check(
            rules::crates,
            "src/daemon/lanes.rs",
            "use clap::Parser;",
            "use tokio::net::UnixStream;",
        );
    }

    #[test]
    fn on_words_that_pure_modules_may_not_say() {
        let sound =
            "fn now(at: Moment) { let tokio_like = 1; } #[cfg(test)] mod tests { use std::fs; }";
        for faulty in [
            "use tokio::time;",
            "use std::fs::File;",
            "use std::{fs, io};",
            "let t = Instant::now();",
            "future.await",
            "let m: HashMap<u8, u8> = x; for pair in &m {}",
            "struct S { seen: HashSet<u8> } fn f(s: S) { s.seen.iter().count(); }",
        ] {
            check(rules::pure, "src/engine/slots.rs", faulty, sound);
        }
        let look_up = "struct S { seen: HashMap<u8, u8> } fn f(s: S) { s.seen.get(&1); }";
        check(rules::pure, "src/client/machine.rs", "x.await", look_up);
    }

    #[test]
    fn on_a_file_that_is_too_long() {
        let lines = |count: usize| "//\n".repeat(count);
        check(
            rules::length,
            "src/a.rs",
            &lines(rules::LINES + 1),
            &lines(rules::LINES),
        );
    }

    #[test]
    fn on_an_allowed_lint() {
        let sound = "#[expect(clippy::x, reason = \"y\")] fn f() {}";
        check(
            rules::no_allow,
            "src/a.rs",
            "#[allow(dead_code)] fn f() {}",
            sound,
        );
        check(rules::no_allow, "src/a.rs", "#![allow(dead_code)]", sound);
    }

    #[test]
    fn on_printing() {
        check(
            rules::no_print,
            "src/cli/call.rs",
            "fn f() { eprintln!(\"\") }",
            "fn print() {}",
        );
        assert_eq!(
            rules::no_print(&File::new("src/cli/output.rs", "println!()")),
            []
        );
    }

    #[test]
    fn on_locks_and_flags() {
        check(
            rules::no_locks,
            "src/engine/a.rs",
            "use std::sync::Mutex;",
            "use std::sync::Arc;",
        );
        check(
            rules::no_flags,
            "src/client/a.rs",
            "struct S { connected: bool }",
            "enum S { Up }",
        );
        check(
            rules::no_flags,
            "src/client/a.rs",
            "let active_client = 1;",
            "enum S { Up }",
        );
    }

    #[test]
    fn on_names_that_say_nothing() {
        assert_eq!(
            rules::no_util(&File::new("src/engine/util.rs", "")).len(),
            1
        );
        check(
            rules::no_util,
            "src/engine/mod.rs",
            "mod utils;",
            "mod slots;",
        );
    }

    #[test]
    fn on_a_limit_without_its_reason() {
        let sound = "/// Bytes of a line.\npub const LINE: usize = 1;";
        check(
            rules::limits_are_documented,
            "src/limits.rs",
            "pub const LINE: usize = 1;",
            sound,
        );
    }

    #[test]
    fn on_a_module_without_a_comment() {
        check(
            rules::module_comment,
            "src/a.rs",
            "// no\nfn f() {}",
            "//! Yes.\nfn f() {}",
        );
    }

    #[test]
    fn on_a_name_of_the_workplace() {
        let faulty = concat!("as DESIGN", ".md says");
        check(
            rules::no_workplace,
            "docs/a.md",
            faulty,
            "as docs/architecture.md says",
        );
    }
}
