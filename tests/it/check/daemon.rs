//! `checks`, `downtime`, `heartbeat`: the daemon's checks on the command line.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Home, wait_for, wait_until};

const PLUGIN: &str = "
check('good', { every = '1h', tags = { 'some' } }, function(c) c:measure('n', 3, '', { warn = 5 }) end)
check('bad', { every = '100ms', retry_every = '100ms', fall = 1, needs = { 'good' } }, function(c)
  c:critical('broken\\nmore of it')
end)
heartbeat('backup', { every = '1h', grace = '1m' })
";

fn home() -> Home {
    Home::new().file("plugins/p.lua", PLUGIN).file(
        "moonkeep.toml",
        "[check.silent]\nplugin = \"load\"\nenabled = false\n",
    )
}

/// One check as `checks --json` has it; `None` while the daemon does not know it.
fn known(home: &Home, name: &str) -> Option<Value> {
    let finished = home.run(&["checks", "--json", name]);
    if finished.code() != Some(0) {
        return None;
    }
    let view: Value = serde_json::from_str(&finished.stdout).expect("a view");
    Some(view["checks"][0].clone())
}

fn wait_until_confirmed(home: &Home, name: &str, state: &str) -> Value {
    wait_for(&format!("{name} is {state}"), || {
        known(home, name).filter(|check| check["confirmed"] == state)
    })
}

#[test]
fn the_daemons_checks_are_shown_for_people() {
    let home = home();
    let _daemon = home.up();
    wait_until_confirmed(&home, "bad", "critical");
    let table = home.run(&["checks"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("STATE     NAME    SINCE"), "{table}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("PENDING   backup")),
        "{table}"
    );
    assert!(
        lines.iter().any(|line| line.starts_with("CRITICAL  bad ")),
        "{table}"
    );
    assert!(
        lines.iter().all(|line| !line.contains("more of it")),
        "the first line only: {table}"
    );
    assert!(
        lines[lines.len() - 1].starts_with("3 checks: 1 critical"),
        "{table}"
    );
    let detail = home.run(&["checks", "bad"]).ok();
    for part in [
        "bad  CRITICAL for ",
        "message   broken\n            more of it",
        "needs     good",
        "history   ",
    ] {
        assert!(detail.contains(part), "{part:?} in {detail}");
    }
    // By tag, and all in detail.
    assert!(home.run(&["checks", "some"]).ok().starts_with("good  "));
    assert_eq!(
        home.run(&["checks", "-v"])
            .ok()
            .matches("\n  file      plugins/p.lua")
            .count(),
        3
    );
}

#[test]
fn what_is_wrong_is_said_plainly() {
    let home = home();
    for words in [
        &["checks"][..],
        &["downtime", "bad", "1h"],
        &["heartbeat", "backup", "--timeout", "200ms"],
    ] {
        home.run(words)
            .expect_code(69)
            .expect_stderr("Daemon not running");
    }
    let _daemon = home.up();
    wait_until_confirmed(&home, "bad", "critical");
    for (words, code, said) in [
        (&["checks", "badd"][..], 1, "did you mean \"bad\"?"),
        (&["downtime", "badd", "1h"], 1, "did you mean \"bad\"?"),
        (&["heartbeat", "bakcup"], 1, "did you mean \"backup\"?"),
        (
            &["checks", "silent"],
            1,
            "the check silent is switched off: [check.silent], line 1 of moonkeep.toml",
        ),
        (
            &["downtime", "silent", "1h"],
            1,
            "the check silent is switched off",
        ),
        (
            &["heartbeat", "silent"],
            1,
            "the check silent is switched off",
        ),
        (&["heartbeat", "good"], 1, "good is no heartbeat"),
        (
            &["downtime", "bad", "soon"],
            2,
            "neither a time such as 2h, nor until-ok, nor off",
        ),
        (
            &["heartbeat", "backup", "maybe"],
            2,
            "neither start, ok, fail, nor an exit code",
        ),
        (&["downtime", "bad", "5000d"], 1, "366 days"),
    ] {
        home.run(words).expect_code(code).expect_stderr(said);
    }
}

#[test]
fn alerts_of_a_check_are_left_out_for_a_time() {
    let home = home();
    let _daemon = home.up();
    wait_until_confirmed(&home, "bad", "critical");
    let quiet = |words: &[&str]| {
        home.run(&[&["downtime", "bad"], words].concat())
            .expect_code(0);
        known(&home, "bad").expect("a check")
    };
    let check = quiet(&["2h", "--why", "new disk"]);
    assert_eq!(check["quiet"], "downtime", "{check}");
    assert_eq!(check["quiet_why"], "new disk", "{check}");
    let detail = home.run(&["checks", "bad"]).ok();
    assert!(
        detail.contains("  quiet     downtime until ") && detail.contains(": new disk\n"),
        "{detail}"
    );
    let table = home.run(&["checks"]).ok();
    assert!(
        table.contains(" QUIET ") && table.contains("  downtime  "),
        "{table}"
    );
    assert_eq!(quiet(&["until-ok"])["quiet"], "acknowledged");
    let off = quiet(&["off"]);
    assert!(
        off["quiet"].is_null() || off["quiet"] == "parent good",
        "{off}"
    );
    let said = home.run(&["--json", "downtime", "bad", "1h"]).json();
    assert!(
        said.as_str()
            .is_some_and(|text| text.starts_with("bad: no alerts until ")),
        "{said}"
    );
}

#[test]
fn a_job_says_that_it_lives() {
    let home = home();
    let daemon = home.up();
    // At once: its plugin may still be starting.
    let said = home.run(&["heartbeat", "backup"]).expect_code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    let last = |words: &[&str]| {
        home.run(&[&["heartbeat", "backup"], words].concat())
            .expect_code(0);
        let check = known(&home, "backup").expect("a check");
        (
            check["last"].clone(),
            check["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(last(&["ok"]).0, "ok");
    let (state, message) = last(&["fail", "-m", "disk full"]);
    assert_eq!(state, "critical");
    assert!(message.contains("disk full"), "{message}");
    assert_eq!(last(&["0"]).0, "ok");
    assert!(last(&["3"]).1.contains('3'));
    let long = "x".repeat(100_000);
    home.moonkeep(&["heartbeat", "backup", "ok", "-m", "-"])
        .input(&long)
        .run()
        .expect_code(0);
    // The daemon is away, and comes back.
    daemon.stop();
    let waiting = home
        .moonkeep(&[
            "heartbeat",
            "backup",
            "0",
            "-m",
            "heard",
            "--timeout",
            "25s",
        ])
        .spawn();
    let _daemon = home.up();
    let ended = waiting.wait_with_output().expect("our own child");
    assert!(ended.status.success(), "{ended:?}");
    wait_until("it was heard", || {
        known(&home, "backup").is_some_and(|check| check["message"].to_string().contains("heard"))
    });
}

#[test]
fn the_shell_knows_the_checks() {
    let home = home();
    let _daemon = home.up();
    wait_until_confirmed(&home, "bad", "critical");
    let said = home
        .moonkeep(&["shell"])
        .input("check good\ncheck bad\nchecks\nchecks good\ntext checks\ndowntime bad 1h why=\"a disk\"\nheartbeat backup start\n")
        .within(Duration::from_secs(30))
        .run();
    for part in [
        "OK        good  ",
        "1 check: 1 ok, in ",
        "CRITICAL  bad  ",
        "STATE     NAME ",
        "  measure   n 3 (warning above 5)\n",
        "CRITICAL bad",
        "bad: no alerts until ",
    ] {
        assert!(said.stdout.contains(part), "{part:?} in {said:#?}");
    }
    // The worst of the batch: a critical check.
    assert_eq!(said.code(), Some(2), "{said:#?}");
}
