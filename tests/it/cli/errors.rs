//! What is said when things are wrong, word for word, and the exit codes. // S-10

use std::fs;
use std::path::Path;

use crate::harness::Home;

/// stderr of a command that fails, with the home's and the socket's place replaced.
#[track_caller]
fn said(home: &Home, arguments: &[&str], code: i32) -> String {
    let finished = home.run(arguments).expect_code(code);
    assert_eq!(finished.stdout, "", "stdout of {arguments:?}");
    finished
        .stderr
        .replace(&home.socket().display().to_string(), "SOCKET")
        .replace(&home.root().display().to_string(), "HOME")
}

const NOT_RUNNING: &str =
    "moonkeep: Daemon not running: nobody serves HOME at SOCKET. Start it with: moonkeep up -d\n";

#[test]
fn without_a_daemon_every_command_exits_69_and_says_how_to_start_one() {
    //
    let home = Home::new().script("a.lua", "");
    for arguments in [
        &["status"][..],
        &["--json", "status"],
        &["list"],
        &["reload", "a"],
        &["stop"],
        &["events"],
        &["eval", "a", "return 1"],
        &["shell"],
        &["down"],
        &["call", "a", "b"],
    ] {
        assert_eq!(said(&home, arguments, 69), NOT_RUNNING, "{arguments:?}");
    }
}

#[test]
fn a_home_that_is_not_the_nearest_is_named_in_the_advice() {
    let home = Home::new();
    let root = home.root().display().to_string();
    let finished = home
        .moonkeep(&["--home", &root, "status"])
        .without_env("MOONKEEP_HOME")
        .folder(&home.user())
        .run()
        .expect_code(69);
    let advice = format!("Start it with: moonkeep --home {root} up -d");
    finished.expect_stderr(&advice);
}

#[test]
fn status_cleans_up_after_a_daemon_that_is_gone() {
    // R-111 R-112 R-113
    let home = Home::new();
    fs::create_dir_all(home.path("state")).expect("state/");
    fs::create_dir_all(home.runtime()).expect("the runtime folder");
    for folder in [home.runtime().parent().expect("a parent"), &home.runtime()] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    fs::write(home.pid_file(), "99999\n").expect("a pid file");
    drop(std::os::unix::net::UnixListener::bind(home.socket()).expect("a socket"));
    let text = said(&home, &["status"], 69);
    assert!(
        text.contains("Daemon not running (stale PID cleaned up)"),
        "{text}"
    );
    assert!(!home.pid_file().exists() && !home.socket().exists());
    assert_eq!(said(&home, &["status"], 69), NOT_RUNNING, "the second time");
}

#[test]
fn usage_errors_exit_2_with_a_suggestion() {
    let home = Home::new();
    for (arguments, part) in [
        (&["statsu"][..], "'status'"),
        (&[], "Usage: moonkeep"),
        (&["call", "a"], "<HANDLER>"),
        (
            &["call", "a", "b", "c"],
            "\"c\" is no parameter; write key=value",
        ),
        (&["call", "a", "b", "x:=nope"], "For a text write x=nope"),
        (&["call", "a", "b", "x=1", "x=2"], "given twice"),
        (
            &["call", "a", "b", "--json-body", "{"],
            "the JSON body is not valid",
        ),
        (&["call", "../a", "b"], "cannot name a script"),
        (&["call", "a", "b", "--id", "@7"], "cannot begin with '@'"),
        (&["status", "--timeout", "soon"], "expected a time such as"),
        (&["--color", "purple", "status"], "possible values"),
        (&["-q", "-v", "status"], "cannot be used with"),
    ] {
        let text = said(&home, arguments, 2);
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn parameters_over_the_limit_are_too_large_not_invalid() {
    let home = Home::new();
    home.moonkeep(&["call", "a", "b", "--json-body", "-"])
        .input(&format!("\"{}\"", "ü".repeat(1 << 19)))
        .run()
        .expect_code(2)
        .expect_stderr("on stdin are too large: a request has at most 1048576 bytes");
}

#[test]
fn a_home_that_is_none_is_told() {
    let home = Home::new();
    let text = said(&home, &["--home", "/nowhere", "status"], 1);
    assert!(
        text.contains("--home /nowhere names no folder; create one with: moonkeep init"),
        "{text}"
    );
}

#[test]
fn a_folder_that_is_no_home_is_not_served() {
    let home = Home::new();
    let folder = home.user();
    let place = folder.display().to_string();
    for (arguments, code) in [(&["up"][..], 1), (&["up", "-d"], 1), (&["status"], 69)] {
        let words = [&["--home", &place], arguments].concat();
        let text = said(&home, &words, code);
        let part = format!(
            "{place} is no home: it has neither moonkeep.toml nor scripts/. Create one with: moonkeep init"
        );
        assert!(text.contains(&part), "{text}");
    }
    home.moonkeep(&["status"])
        .without_env("MOONKEEP_HOME")
        .env("HOME", "somewhere")
        .folder(&folder)
        .run()
        .expect_code(1)
        .expect_stderr("$HOME is not an absolute path");
}

#[test]
fn a_faulty_configuration_stops_the_start_with_its_line() {
    for (config, part) in [
        (
            "autostrat = true\n",
            "HOME/moonkeep.toml:1: unknown key \"autostrat\"; did you mean \"autostart\"?",
        ),
        (
            "\n[script.a]\nconcurency = 1\n",
            "HOME/moonkeep.toml:3: unknown key \"concurency\"; did you mean \"concurrency\"?",
        ),
        (
            "[script.a]\nqueue = \"x\"\n",
            "HOME/moonkeep.toml:2: queue: expected a whole number",
        ),
    ] {
        let home = Home::new().config(config);
        for arguments in [&["up"][..], &["up", "-d"]] {
            let text = said(&home, arguments, 1);
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }
}

#[test]
fn logs_of_an_unknown_script_name_the_nearest() {
    let home = Home::new().script("greeter.lua", "");
    let text = said(&home, &["logs", "greter"], 1);
    assert!(
        text.contains("has no script greter. Did you mean greeter?"),
        "{text}"
    );
    assert_eq!(
        home.run(&["logs", "greeter"]).ok(),
        "",
        "known, and silent so far"
    );
    let text = said(&home, &["logs", "../../etc/passwd"], 1);
    assert!(text.contains("cannot name a script"), "{text}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let home = Home::new();
    let line = format!("{} help | head -n 1", env!("CARGO_BIN_EXE_moonkeep"));
    let finished = home
        .program(Path::new("/bin/bash"))
        .args(&["-o", "pipefail", "-c", &line])
        .run();
    assert_eq!(finished.stderr, "");
    home.write("logs/daemon.log", &"a line of the log\n".repeat(100_000));
    let line = format!("{} logs | head -n 1", env!("CARGO_BIN_EXE_moonkeep"));
    let finished = home
        .program(Path::new("/bin/bash"))
        .args(&["-o", "pipefail", "-c", &line])
        .run();
    assert_eq!(finished.stderr, "");
    assert_eq!(finished.ok(), "a line of the log\n");
}

#[test]
fn a_full_disk_is_told() {
    let home = Home::new();
    let line = format!("{} version > /dev/full", env!("CARGO_BIN_EXE_moonkeep"));
    home.program(Path::new("/bin/sh"))
        .args(&["-c", &line])
        .run()
        .expect_code(1)
        .expect_stderr("cannot write the result: No space left on device");
}
