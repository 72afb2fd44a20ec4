//! `init`, `version`, `completions`, the configuration page.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Home, installed};

#[test]
fn init_makes_a_home_that_the_daemon_trusts_whatever_the_umask() {
    let home = Home::new();
    let lab = home.path("lab");
    let command = format!("umask 0002 && {} init lab", env!("CARGO_BIN_EXE_moonkeep"));
    let said = home
        .program(Path::new("/bin/sh"))
        .args(&["-c", &command])
        .run();
    let stdout = said.ok();
    for file in [
        "moonkeep.toml",
        "scripts/greeter.lua",
        ".luarc.json",
        "types/moonkeep.lua",
    ] {
        assert!(lab.join(file).is_file(), "{file}");
        assert!(stdout.contains(file), "{file} in {stdout}");
    }
    for folder in ["", "scripts", "plugins", "lib", "types"] {
        let mode = fs::metadata(lab.join(folder))
            .expect("a folder")
            .permissions()
            .mode();
        assert_eq!(mode & 0o022, 0, "{folder} has mode {mode:o}");
    }
}

#[test]
fn init_keeps_what_is_there() {
    let home = Home::new();
    home.run(&["init"])
        .expect_code(1)
        .expect_stderr("is a home already");
    home.write("lab/scripts/greeter.lua", "-- mine\n");
    home.run(&["init", "lab"]).ok();
    assert_eq!(home.read("lab/scripts/greeter.lua"), "-- mine\n");
    home.write("lab/types/moonkeep.lua", "old");
    home.run(&["init", "--types", "lab"]).ok();
    let types = home.read("lab/types/moonkeep.lua");
    assert!(
        types.contains("---@meta") && types.contains("handle"),
        "{types}"
    );
}

#[test]
fn init_stock_copies_every_script() {
    let home = Home::new();
    let made = home.run(&["--json", "init", "--stock", "lab"]).json();
    let created = made["created"].as_array().expect("a list");
    for name in ["greeter", "clock", "counter", "echo", "api-health"] {
        let path = format!("scripts/{name}.lua");
        assert!(created.iter().any(|file| *file == path), "{path} in {made}");
    }
}

#[test]
fn quiet_commands_print_only_results_and_errors() {
    let home = Home::new();
    for arguments in [&["-q", "init", "lab"][..], &["-q", "up", "-d"]] {
        let finished = home.run(arguments).expect_code(0);
        assert_eq!(
            format!("{}{}", finished.stdout, finished.stderr),
            "",
            "{arguments:?}"
        );
    }
    home.run(&["down"]).ok();
}

#[test]
fn the_own_home_of_a_user_says_where_scripts_go() {
    let home = Home::new();
    let own = |arguments: &[&str]| {
        let program = home.moonkeep(arguments).without_env("MOONKEEP_HOME");
        program.folder(&home.user()).run().expect_code(0)
    };
    let scripts = home.user().join(".local/share/moonkeep/scripts");
    own(&["up", "-d"]).expect_stderr(&format!("executable into {}", scripts.display()));
    own(&["down"]);
}

#[test]
fn version_and_help_go_to_stdout() {
    let home = Home::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        home.run(&["--version"]).ok(),
        format!("moonkeep {version}\n")
    );
    assert!(
        home.run(&["version"])
            .ok()
            .starts_with(&format!("moonkeep {version} (Lua 5.4"))
    );
    assert_eq!(home.run(&["version", "--json"]).json()["version"], version);
    let help = home.run(&["help"]).ok();
    for command in [
        "init",
        "up",
        "down",
        "status",
        "call",
        "shell",
        "check",
        "Exit codes",
    ] {
        assert!(help.contains(command), "{command} in {help}");
    }
}

#[test]
fn completions_are_valid_for_their_shells() {
    let home = Home::new();
    let script = home.run(&["completions", "bash"]).ok();
    assert!(script.contains("_moonkeep"));
    if installed("bash", "completions_are_valid_for_their_shells") {
        home.program(Path::new("/bin/bash"))
            .args(&["-n"])
            .input(&script)
            .run()
            .ok();
    }
    home.run(&["completions", "vsh"]).expect_code(2);
}

/// The generated page; `MOONKEEP_BLESS=1` writes it anew.
#[test]
fn configuration_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = moonkeep::options::reference::render();
    if std::env::var_os("MOONKEEP_BLESS").is_some() {
        fs::write(&path, &page).expect("docs/");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/configuration.md is stale; renew it with: MOONKEEP_BLESS=1 cargo test configuration_page"
    );
}
