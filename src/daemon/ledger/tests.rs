use std::sync::Arc;

use super::*;
use crate::engine::alphabet::ScriptKind;
use crate::options::Settings;

fn name(text: &str) -> ScriptName {
    ScriptName::new(text).expect("a good name")
}

fn script(text: &str, hash: &str) -> Found {
    let spec = ScriptSpec {
        plugins: Vec::new(),
        check_defaults: crate::proto::messages::CheckDefaults::default(),
        name: name(text),
        path: PathBuf::from(format!("scripts/{text}.lua")),
        content: None,
        kind: ScriptKind::Lua,
        settings: Settings::default(),
    };
    Found::Script {
        spec: Arc::new(spec),
        hash: hash.to_owned(),
        empty: hash.is_empty(),
    }
}

fn faulty(text: &str, error: &str) -> Found {
    Found::Faulty {
        checks: Vec::new(),
        name: name(text),
        path: PathBuf::from(format!("scripts/{text}.lua")),
        error: error.to_owned(),
    }
}

fn contents(files: &[(&str, Option<&str>)]) -> Contents {
    let entry =
        |(path, hash): &(&str, Option<&str>)| (PathBuf::from(path), hash.map(str::to_owned));
    files.iter().map(entry).collect()
}

/// What the ledger says to a look, in short: `+name because`, `-name`, `!name`, `?` for unsure.
fn tell(ledger: &mut Ledger, found: Vec<Found>, files: &[(&str, Option<&str>)]) -> Vec<String> {
    let look = Look {
        found,
        ..Look::default()
    };
    let news = ledger.compare(&look, &contents(files));
    let mut said: Vec<String> = news
        .changes
        .iter()
        .map(|change| match change {
            ScriptChange::Changed { spec, because } => {
                format!("+{} {}", spec.name, because.display())
            }
            ScriptChange::Removed { name, .. } => format!("-{name}"),
            ScriptChange::Faulty { name, .. } => format!("!{name}"),
        })
        .collect();
    if news.unsure {
        said.push("?".to_owned());
    }
    said
}

fn loads(ledger: &mut Ledger, script: &str, files: &[(&str, &str)]) {
    let loaded = |(path, hash): &(&str, &str)| LoadedFile {
        path: PathBuf::from(path),
        hash: (*hash).to_owned(),
    };
    ledger.follow(&name(script), files.iter().map(loaded).collect());
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_script_is_told_once_and_again_when_its_content_is_another() {
    let mut ledger = Ledger::default();
    assert_eq!(
        tell(&mut ledger, vec![script("a", "1")], &[]),
        ["+a scripts/a.lua"]
    );
    assert_eq!(tell(&mut ledger, vec![script("a", "1")], &[]), NOTHING);
    assert_eq!(
        tell(&mut ledger, vec![script("a", "2")], &[]),
        ["+a scripts/a.lua"]
    );
}

// S-07
#[test]
fn a_script_is_gone_only_when_many_looks_in_a_row_missed_it() {
    let mut ledger = Ledger::default();
    tell(&mut ledger, vec![script("a", "1")], &[]);
    assert_eq!(tell(&mut ledger, vec![], &[]), ["?"]);
    assert_eq!(tell(&mut ledger, vec![script("a", "1")], &[]), NOTHING);
    for _ in 1..limits::DOUBTFUL_LOOKS {
        assert_eq!(tell(&mut ledger, vec![], &[]), ["?"]);
    }
    assert_eq!(tell(&mut ledger, vec![], &[]), ["-a"]);
    assert_eq!(tell(&mut ledger, vec![], &[]), NOTHING);
    assert_eq!(
        tell(&mut ledger, vec![script("a", "1")], &[]),
        ["+a scripts/a.lua"]
    );
}

#[test]
fn a_module_reloads_exactly_the_scripts_that_loaded_it() {
    let mut ledger = Ledger::default();
    let both = || vec![script("a", "1"), script("b", "1")];
    tell(&mut ledger, both(), &[]);
    loads(&mut ledger, "a", &[("lib/x.lua", "old")]);
    assert_eq!(
        tell(&mut ledger, both(), &[("lib/x.lua", Some("old"))]),
        NOTHING
    );
    assert_eq!(
        tell(&mut ledger, both(), &[("lib/x.lua", Some("new"))]),
        ["+a lib/x.lua"]
    );
    assert_eq!(
        tell(&mut ledger, both(), &[("lib/x.lua", Some("new"))]),
        NOTHING
    );
}

#[test]
fn a_module_that_changed_while_it_was_loaded_is_loaded_again() {
    let mut ledger = Ledger::default();
    let one = || vec![script("a", "1")];
    tell(&mut ledger, one(), &[]);
    loads(&mut ledger, "a", &[("lib/x.lua", "1")]);
    tell(&mut ledger, one(), &[("lib/x.lua", Some("2"))]);
    // The worker that this led to had still read the first content.
    loads(&mut ledger, "a", &[("lib/x.lua", "1")]);
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", Some("2"))]),
        ["+a lib/x.lua"]
    );
}

#[test]
fn a_module_that_is_away_for_a_moment_is_no_change() {
    let mut ledger = Ledger::default();
    let one = || vec![script("a", "1")];
    tell(&mut ledger, one(), &[]);
    loads(&mut ledger, "a", &[("lib/x.lua", "1")]);
    assert_eq!(tell(&mut ledger, one(), &[("lib/x.lua", None)]), ["?"]);
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", Some("1"))]),
        NOTHING
    );
    for _ in 1..limits::DOUBTFUL_LOOKS {
        assert_eq!(tell(&mut ledger, one(), &[("lib/x.lua", None)]), ["?"]);
    }
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", None)]),
        ["+a lib/x.lua"]
    );
    assert_eq!(tell(&mut ledger, one(), &[("lib/x.lua", None)]), NOTHING);
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", Some("1"))]),
        ["+a lib/x.lua"]
    );
}

#[test]
fn a_file_that_was_looked_for_in_vain_is_a_change_when_it_appears() {
    let mut ledger = Ledger::default();
    let one = || vec![script("a", "1")];
    tell(&mut ledger, one(), &[]);
    loads(&mut ledger, "a", &[("lib/x.lua", "")]);
    assert_eq!(tell(&mut ledger, one(), &[("lib/x.lua", None)]), NOTHING);
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", Some("1"))]),
        ["+a lib/x.lua"]
    );
    assert_eq!(
        tell(&mut ledger, one(), &[("lib/x.lua", Some("1"))]),
        NOTHING
    );
}

#[test]
fn a_fault_is_told_once_and_its_end_as_a_change() {
    let mut ledger = Ledger::default();
    tell(&mut ledger, vec![script("a", "1")], &[]);
    assert_eq!(
        tell(&mut ledger, vec![faulty("a", "bad header")], &[]),
        ["!a"]
    );
    assert_eq!(
        tell(&mut ledger, vec![faulty("a", "bad header")], &[]),
        NOTHING
    );
    assert_eq!(tell(&mut ledger, vec![faulty("a", "worse")], &[]), ["!a"]);
    assert_eq!(
        tell(&mut ledger, vec![script("a", "1")], &[]),
        ["+a scripts/a.lua"]
    );
}

#[test]
fn a_faulty_configuration_is_told_when_it_begins_and_when_it_ends() {
    let mut ledger = Ledger::default();
    let look = |fault: Option<&str>| Look {
        config_fault: fault.map(str::to_owned),
        ..Look::default()
    };
    let mut told = |fault| ledger.compare(&look(fault), &Contents::new()).configured;
    assert_eq!(told(None), None);
    assert_eq!(told(Some("line 3")), Some(Some("line 3".to_owned())));
    assert_eq!(told(Some("line 3")), None);
    assert_eq!(told(None), Some(None));
}

/// A worker that may not see a file says that none is there, generation after generation.
#[test]
fn a_file_that_only_the_daemon_sees_leads_to_one_reload_for_each_of_its_contents() {
    let mut ledger = Ledger::default();
    let look =
        |ledger: &mut Ledger, hash| tell(ledger, vec![script("a", "1")], &[("lib/m.lua", hash)]);
    look(&mut ledger, None);
    loads(&mut ledger, "a", &[("lib/m.lua", "")]);
    assert_eq!(look(&mut ledger, None), NOTHING);
    for hash in ["m1", "m2"] {
        assert_eq!(look(&mut ledger, Some(hash)), ["+a lib/m.lua"]);
        for _generation in 0..5 {
            loads(&mut ledger, "a", &[("lib/m.lua", "")]);
            assert_eq!(
                look(&mut ledger, Some(hash)),
                NOTHING,
                "{hash} again and again"
            );
        }
    }
    loads(&mut ledger, "a", &[("lib/m.lua", "m2")]);
    assert_eq!(look(&mut ledger, Some("m2")), NOTHING);
    assert_eq!(look(&mut ledger, Some("m1")), ["+a lib/m.lua"]);
}

// FI-15: who writes in place empties the file first.
#[test]
fn a_script_that_is_emptied_counts_only_if_it_stays_so_for_many_looks() {
    let mut ledger = Ledger::default();
    let mut look = |hash: &str| tell(&mut ledger, vec![script("a", hash)], &[]);
    assert_eq!(look("1"), ["+a scripts/a.lua"]);
    assert_eq!(look(""), ["?"]);
    assert_eq!(look("2"), ["+a scripts/a.lua"]);
    for _ in 1..limits::DOUBTFUL_LOOKS {
        assert_eq!(look(""), ["?"]);
    }
    assert_eq!(look(""), ["+a scripts/a.lua"]);
    assert_eq!(look(""), NOTHING);
}

// FI-15: who deletes a file and writes it anew leaves two moments in which it is not whole.
#[test]
fn a_script_that_is_away_and_then_empty_has_not_changed() {
    let mut ledger = Ledger::default();
    let mut look = |found: Vec<Found>| tell(&mut ledger, found, &[]);
    assert_eq!(look(vec![script("a", "1")]), ["+a scripts/a.lua"]);
    assert_eq!(look(Vec::new()), ["?"]);
    assert_eq!(look(vec![script("a", "")]), ["?"]);
    assert_eq!(look(vec![script("a", "1")]), NOTHING);
    for _ in 2..limits::DOUBTFUL_LOOKS {
        assert_eq!(look(Vec::new()), ["?"]);
    }
    assert_eq!(look(vec![script("a", "")]), ["?"]);
    assert_eq!(look(vec![script("a", "2")]), ["+a scripts/a.lua"]);
}
