//! What `check` prints, in each format, and the foreign programs that judge it.

use std::path::Path;

use super::{has, json, plugin};
use crate::harness::{BINARY, Home, installed};

#[test]
fn the_whole_run_can_be_one_monitoring_plugin() {
    let home = plugin(
        "check('a', function(c) c:measure('n', 3, '', { warn = 5 }) end)
         check('b', function(c) c:critical('broken | pipe') end)",
    );
    let finished = home.run(&["check", "-f", "nagios"]).expect_code(2);
    assert_eq!(
        finished.stdout,
        "MOONKEEP CRITICAL: b: broken / pipe | a::n=3;5\n[OK] a: n 3\n[CRITICAL] b: broken / pipe\n"
    );
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let home = plugin("check('esc\\u{202e}aped', function() return 'a\\27[2J\\nb\\rc' end)");
    let finished = home.run(&["check"]).expect_code(0);
    assert!(
        !finished.stdout.contains('\u{1b}') && !finished.stdout.contains('\r'),
        "{finished:#?}"
    );
    has(&finished, "a\\x1b[2J\\nb\\rc");
    has(&finished, "esc\\u{202e}aped");
    assert_eq!(finished.stdout.lines().count(), 2);
}

#[test]
fn colour_only_on_demand() {
    let home = plugin("check('a', function() end)");
    assert!(!home.run(&["check"]).ok().contains('\u{1b}'));
    assert!(
        home.run(&["check", "--color", "always"])
            .ok()
            .contains("\u{1b}[32m")
    );
}

#[test]
fn the_json_has_the_shape_of_the_contract() {
    let home = plugin(
        "check('one', { tags = { 'a', 'b' } }, function(c)
           c:measure('time', 0.5, 's', { warn = 0.3, crit = 2, min = 0 })
         end)",
    );
    let report = json(&home, &[]);
    assert_eq!(report["state"], "warning");
    let check = &report["checks"][0];
    assert_eq!(check["name"], "one");
    assert_eq!(check["state"], "warning");
    assert_eq!(check["message"], "time 0.5 s is above 0.3 (warning)");
    assert!(
        check["duration_seconds"]
            .as_f64()
            .is_some_and(|time| time < 5.0)
    );
    assert_eq!(check["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(check["file"], "plugins/p.lua");
    assert_eq!(
        check["measures"],
        serde_json::json!([{ "name": "time", "value": 0.5, "unit": "s", "warn": 0.3, "crit": 2, "min": 0 }])
    );
    let keys: Vec<_> = check.as_object().expect("an object").keys().collect();
    assert_eq!(keys.len(), 7, "{keys:?}");
    assert_eq!(home.run(&["check", "--json"]).code(), Some(1));
}

/// One check of each state.
pub(super) fn mixed() -> Home {
    plugin(
        "check('good #1', function(c) c:measure('n', 3, '', { warn = 5 }) end)
         check('warned', function(c) c:warn('<a> & \"b\"\\27') end)
         check('bad', function(c) c:critical('broken\\nline') end)
         check('odd', function(c) c:unknown('?') end)",
    )
}

/// Feeds a format's output to another program and gives its exit code and output.
#[track_caller]
fn judged(home: &Home, format: &str, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let finished = home.run(&["check", "-f", format]);
    let file = home.write("judged.txt", &finished.stdout);
    let path = file.display().to_string();
    let all = [arguments, &[path.as_str()]].concat();
    let judge = home.program(Path::new(program)).args(&all).run();
    (judge.code(), format!("{}{}", judge.stdout, judge.stderr))
}

#[test]
fn json_lines_come_one_by_one() {
    let home = plugin(
        "check('late', function() time.sleep(0.3) return 'b' end)
         check('early', function(c) c:warn('a\\nb') end)",
    );
    let finished = home.run(&["check", "-f", "jsonl"]).expect_code(1);
    let lines: Vec<serde_json::Value> = finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert_eq!(lines.len(), 2, "{finished:#?}");
    assert_eq!(lines[0]["name"], "early", "as they come: {finished:#?}");
    assert_eq!(lines[0]["message"], "a\nb");
    assert_eq!(lines[1]["state"], "ok");
    // The same object as in the document.
    let document = json(&home, &["late"]);
    let keys = |check: &serde_json::Value| -> Vec<String> {
        check
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(keys(&document["checks"][0]), keys(&lines[1]));
}

#[test]
fn check_has_the_habits_of_a_monitoring_plugin() {
    let home = plugin(
        "local warn, crit = param('warn', '5', ''), param('crit', '9', '')
         check('n', function(c) c:measure('n', 7, '', { warn = warn, crit = crit }) end)
         check('slow', { tags = { 'slow' } }, function() time.sleep(20) end)",
    );
    let nagios = |words: &[&str]| home.run(&[&["check", "-f", "nagios"], words].concat());
    for (words, code, first) in [
        (
            &["n"][..],
            1,
            "MOONKEEP WARNING: n: n 7 is above 5 (warning) | n::n=7;5;9",
        ),
        (
            &["n", "-w", "8"],
            0,
            "MOONKEEP OK: 1 check is ok | n::n=7;8;9",
        ),
        (
            &["n", "-w", "~:8", "-c", "@5:7"],
            2,
            "MOONKEEP CRITICAL: n: n 7 is within 5 to 7 (critical) | n::n=7;~:8;@5:7",
        ),
        (
            &["slow", "-t", "0.2"],
            2,
            "MOONKEEP CRITICAL: slow: timed out after 0.",
        ),
        (&["slwo"], 3, "MOONKEEP UNKNOWN: "),
        (&["n", "-w", "abc"], 3, "MOONKEEP UNKNOWN: n: "),
        (
            &["--no-such-option"],
            3,
            "MOONKEEP UNKNOWN: unexpected argument '--no-such-option' found",
        ),
    ] {
        let finished = nagios(words).expect_code(code);
        let line = finished.stdout.lines().next().unwrap_or_default();
        assert!(line.starts_with(first), "{words:?}: {finished:#?}");
        let text = line.split_once(" | ").map_or(line, |(text, _)| text);
        assert!(text.chars().count() < 80, "{text}");
    }
    let version = home.run(&["check", "-V"]).ok();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert_eq!(nagios(&["n", "-vvv"]).code(), Some(1));
    // Without the format a mistake is one of the command line.
    let _ = home.run(&["check", "slwo"]).expect_code(64);
    let _ = home.run(&["check", "--no-such-option"]).expect_code(64);
    let _ = home
        .run(&["check", "--probe"])
        .expect_code(64)
        .expect_stderr("-f prometheus");
}

/// The screen of a terminal of so many columns after a command line.
fn screen(home: &Home, columns: u16, words: &str) -> Option<String> {
    if !installed("script", "screen") || !installed("stty", "screen") {
        return None;
    }
    let line = format!("stty cols {columns} rows 24 -opost; exec {BINARY} {words}");
    let finished = home
        .program(Path::new("script"))
        .args(&["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .run();
    Some(finished.stdout)
}

#[test]
fn on_a_terminal_messages_are_wrapped_and_progress_is_gone_at_the_end() {
    let home = plugin(
        "check('a check of some length', function() time.sleep(0.8) return ('word '):rep(40) end)
         check('b', function() return 'one\\ntwo' end)",
    );
    for columns in [80, 120] {
        let Some(told) = screen(&home, columns, "check --color never") else {
            return;
        };
        assert!(told.contains("1/2"), "progress is shown: {told:?}");
        assert!(told.contains("a check of some length"), "{told:?}");
        // What was drawn last was erased; then comes the report.
        let (_, report) = told.rsplit_once("\u{1b}[2K").expect("the bar is erased");
        let report = report.trim_start_matches('\r');
        assert!(!report.contains('\u{1b}'), "{report:?}");
        for line in report.lines() {
            assert!(
                line.chars().count() <= columns as usize,
                "{columns}: {line:?}"
            );
        }
        assert!(
            report.contains("one\n") && report.lines().any(|line| line.trim() == "two"),
            "{report:?}"
        );
    }
    // Nothing of it in a pipe.
    let piped = home.run(&["check"]).expect_code(0);
    assert_eq!(piped.stderr, "");
    assert_eq!(piped.stdout.lines().count(), 3, "{piped:#?}");
}

#[test]
fn the_junit_document_counts_and_is_well_formed() {
    let home = mixed();
    let finished = home.run(&["check", "-f", "junit"]).expect_code(2);
    has(&finished, "tests=\"4\" failures=\"1\" errors=\"1\"");
    has(&finished, "&lt;a&gt; &amp; &quot;b&quot;\u{fffd}");
    has(
        &home.run(&["check", "-f", "junit", "--fail-on", "warning"]),
        "failures=\"2\"",
    );
    if installed("xmllint", "the_junit_document_counts_and_is_well_formed") {
        let (code, said) = judged(&home, "junit", "xmllint", &["--noout"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_harness_reads_the_tap_stream() {
    let home = mixed();
    let finished = home.run(&["check", "-f", "tap"]).expect_code(2);
    assert!(
        finished.stdout.starts_with("TAP version 13\n1..4\n"),
        "{finished:#?}"
    );
    has(&finished, "\nok 1 - good \\#1\n");
    has(&finished, "\nnot ok 2 - warned # TODO warning: ");
    if installed("prove", "a_harness_reads_the_tap_stream") {
        let (code, said) = judged(&home, "tap", "prove", &["-e", "cat"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("Failed tests:  3-4"), "{said}");
        assert!(!said.contains("Parse errors"), "{said}");
    }
}

#[test]
fn the_exposition_has_every_family() {
    let home = mixed();
    let finished = home.run(&["check", "-f", "prometheus"]).expect_code(2);
    has(&finished, "moonkeep_check_state{check=\"bad\"} 2\n");
    has(&finished, "moonkeep_check_success{check=\"warned\"} 1\n");
    has(
        &finished,
        "moonkeep_check_value{check=\"good #1\",name=\"n\",unit=\"\"} 3\n",
    );
    if installed("promtool", "the_exposition_has_every_family") {
        let file = home.write("metrics.txt", &finished.stdout);
        let command = format!("promtool check metrics < {}", file.display());
        let judge = home
            .program(Path::new("/bin/sh"))
            .args(&["-c", &command])
            .run();
        assert_eq!(judge.code(), Some(0), "{judge:#?}");
    }
}

#[test]
fn what_plugins_print_stays_out_of_the_report() {
    let home = plugin(
        "print('loading', 1, nil)
         check('a', function() print('running\\27') return 'fine' end)
         check('b', function() io.write('x') end)
         check('c', function() os.exit(0) end)",
    );
    let finished = home.run(&["check", "-f", "json"]).expect_code(3);
    assert!(
        serde_json::from_str::<serde_json::Value>(&finished.stdout).is_ok(),
        "{finished:#?}"
    );
    let finished = finished
        .expect_stderr("plugins/p.lua: loading\\t1\\tnil\n")
        .expect_stderr("a: running\\x1b\n");
    has(&finished, "use print, or return the message");
    has(&finished, "return from the function");
}
