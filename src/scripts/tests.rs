//! Looks at small homes.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

struct House {
    _dir: tempfile::TempDir,
    home: Home,
}

impl House {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let home = Home::at(dir.path()).expect("a home");
        fs::create_dir(home.scripts()).expect("scripts/");
        let house = House { _dir: dir, home };
        for (path, text) in files {
            house.write(path, text, 0o644);
        }
        house
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.home.root().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(&path, text).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// `name:kind` for a script, `name!error` for a faulty one.
    fn names(&self) -> Vec<String> {
        let look = look(&self.home);
        let show = |found: &Found| match found {
            Found::Script { spec, .. } => format!("{}:{:?}", spec.name, spec.kind),
            Found::Faulty { name, error, .. } => format!("{name}!{error}"),
        };
        look.found.iter().map(show).collect()
    }

    fn hash(&self, name: &str) -> String {
        let look = look(&self.home);
        let hash = look.found.iter().find_map(|found| match found {
            Found::Script { spec, hash, .. } if spec.name.as_str() == name => Some(hash.clone()),
            Found::Script { .. } | Found::Faulty { .. } => None,
        });
        hash.expect("a script of this name")
    }
}

#[test]
fn every_kind_of_script_is_found_and_nothing_else() {
    let house = House::new(&[
        ("scripts/a.lua", ""),
        ("scripts/b/init.lua", ""),
        ("scripts/notes.txt", ""),
        ("scripts/.hidden.lua", ""),
        ("scripts/#a.lua#", ""),
        ("scripts/a.lua~", ""),
        ("scripts/a.lua.swp", ""),
        ("scripts/a_test.lua", ""),
        ("scripts/empty/readme", ""),
        ("scripts/two words.lua", ""),
    ]);
    for name in ["c.run", "d", "e.py"] {
        house.write(&format!("scripts/{name}"), "#!/bin/sh\n", 0o755);
    }
    assert_eq!(
        house.names(),
        [
            "a:Lua",
            "b:Lua",
            "c:Executable",
            "d:Executable",
            "e:Executable"
        ]
    );
    let look = look(&house.home);
    let skipped = look.skipped.join("\n");
    for part in [
        "notes.txt is no script: it is neither",
        "empty is no script: the folder has no init.lua",
        "\"two words\" cannot name a script",
    ] {
        assert!(skipped.contains(part), "{part} in {skipped}");
    }
    assert_eq!(look.skipped.len(), 3, "{skipped}");
    let scripts = house.home.scripts();
    for folder in [
        house.home.root(),
        &scripts,
        &scripts.join("b"),
        &scripts.join("empty"),
    ] {
        assert!(
            look.folders.contains(&folder.to_owned()),
            "{}",
            folder.display()
        );
    }
}

#[test]
fn two_files_of_one_name_are_both_named() {
    let house = House::new(&[("scripts/a.lua", ""), ("scripts/a/init.lua", "")]);
    assert_eq!(
        house.names(),
        ["a!scripts/a/init.lua and scripts/a.lua both have the name a; rename one of them"]
    );
}

#[test]
fn headers_and_sections_make_the_settings() {
    let house = House::new(&[
        (
            "scripts/a.lua",
            "-- /// moonkeep\n-- concurrency = 3\n-- queue = 9\n-- ///\n",
        ),
        (
            "moonkeep.toml",
            "[script.a]\nqueue = 10\n[script.ghost]\nqueue = 1\n",
        ),
    ]);
    let look = look(&house.home);
    let Some(Found::Script { spec, .. }) = look.found.first() else {
        panic!("{look:?}");
    };
    assert_eq!((spec.settings.concurrency, spec.settings.queue), (3, 10));
    let skipped = look.skipped.join("\n");
    assert!(
        skipped.contains("moonkeep.toml:3: [script.ghost] names no script"),
        "{skipped}"
    );
}

#[test]
fn a_faulty_header_names_file_and_line() {
    let house = House::new(&[("scripts/a.lua", "-- /// moonkeep\n-- quue = 3\n-- ///\n")]);
    let names = house.names().join("");
    let expected = format!(
        "a!{}:2: unknown key \"quue\"; did you mean \"queue\"?",
        house.home.scripts().join("a.lua").display()
    );
    assert_eq!(names, expected);
}

#[test]
fn a_faulty_configuration_keeps_the_one_before() {
    let house = House::new(&[
        ("scripts/a.lua", ""),
        ("moonkeep.toml", "[script.a]\nqueue = 10\n"),
    ]);
    let first = look(&house.home);
    house.write("moonkeep.toml", "[script.a]\nqueue = \n", 0o644);
    let second = look_again(&house.home, &first.config);
    let fault = second.config_fault.expect("a fault");
    assert!(
        fault.contains("moonkeep.toml:2: this is not valid TOML"),
        "{fault}"
    );
    assert_eq!(second.found, first.found);
}

#[test]
fn the_hash_follows_bytes_settings_and_place_and_nothing_else() {
    let house = House::new(&[("scripts/a.lua", "x = 1")]);
    let first = house.hash("a");
    house.write("scripts/a.lua", "x = 1", 0o600);
    assert_eq!(house.hash("a"), first, "the same content");
    house.write("moonkeep.toml", "[script.b]\nqueue = 2\n", 0o644);
    assert_eq!(house.hash("a"), first, "a neighbour's settings");
    house.write("moonkeep.toml", "[script.a]\nqueue = 2\n", 0o644);
    let second = house.hash("a");
    assert_ne!(second, first, "its own settings");
    house.write("scripts/a.lua", "x = 2", 0o644);
    assert_ne!(house.hash("a"), second, "its bytes");
}

#[test]
fn links_count_as_what_they_lead_to() {
    let house = House::new(&[("elsewhere/real.lua", ""), ("elsewhere/open.lua", "")]);
    house.write("elsewhere/open.lua", "", 0o666);
    for (target, link) in [
        ("real.lua", "a.lua"),
        ("open.lua", "b.lua"),
        ("gone.lua", "c.lua"),
    ] {
        let link = house.home.scripts().join(link);
        symlink(format!("../elsewhere/{target}"), link).expect("link");
    }
    let names = house.names();
    assert_eq!(names[0], "a:Lua");
    assert!(names[1].contains("can be written by others"), "{names:?}");
    assert!(names[2].contains("which does not exist"), "{names:?}");
    let folders = look(&house.home).folders;
    assert!(
        folders.contains(&house.home.root().join("elsewhere")),
        "{folders:?}"
    );
}

#[test]
fn a_home_without_scripts_is_empty() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let home = Home::at(dir.path()).expect("a home");
    assert_eq!(look(&home).found, []);
}
