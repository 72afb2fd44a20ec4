//! Foreign programs as judges: what they say of our formats, and what we make of theirs.
//!
//! Where one is not installed its test says so and passes.

use std::path::{Path, PathBuf};

use moonkeep::monitor::range::Range;
use serde_json::{Value, json};

use super::formats::mixed;
use super::{closed, json as report, plugin, serve};
use crate::fuzz::random::Random;
use crate::harness::{Finished, Home, Program, installed, long, rounds};

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

#[test]
fn promtool_finds_nothing_in_the_exposition() {
    if !installed("promtool", "promtool_finds_nothing_in_the_exposition") {
        return;
    }
    let web = serve(PAGE);
    let home = mixed().file(
        "moonkeep.toml",
        &format!("[check.\"web \\\"x\\\"\"]\nplugin = \"http\"\nurl = \"http://{web}/\"\n"),
    );
    let _ = home
        .run(&["check", "-f", "prometheus", "http"])
        .expect_code(0);
    for words in [&[][..], &["--probe"], &["--probe", "http"], &["http"]] {
        let words = [&["check", "-f", "prometheus"], words].concat();
        let told = home.run(&words).stdout;
        assert!(told.contains("# TYPE "), "{words:?}: {told}");
        let judge = Program::new(Path::new("promtool"))
            .args(&["check", "metrics"])
            .input(&told)
            .run();
        assert_eq!(judge.code(), Some(0), "{words:?}: {judge:#?}\n{told}");
        assert_eq!(judge.stderr, "", "{words:?}: {told}");
    }
    // The judge is awake.
    let judge = Program::new(Path::new("promtool"))
        .args(&["check", "metrics"])
        .input("moonkeep_check_state{check=\"a\"} x\n")
        .run();
    assert_eq!(judge.code(), Some(1), "{judge:#?}");
}

#[test]
fn tap_parser_reads_the_stream() {
    if !installed("tap-parser", "tap_parser_reads_the_stream") {
        return;
    }
    let judged = |home: &Home, words: &[&str]| -> (Option<i32>, Value) {
        let words = [&["check", "-f", "tap"], words].concat();
        let told = home.run(&words).stdout;
        let judge = Program::new(Path::new("tap-parser"))
            .args(&["-j", "--strict"])
            .input(&told)
            .run();
        let events: Value = serde_json::from_str(&judge.stdout).expect("the events in JSON");
        let events = events.as_array().expect("a list");
        assert!(events.iter().all(|event| event[0] != "extra"), "{events:?}");
        let complete = events
            .iter()
            .find(|event| event[0] == "complete")
            .expect("an end");
        (judge.code(), complete[1].clone())
    };
    let home = mixed();
    let (code, complete) = judged(&home, &[]);
    assert_eq!(code, Some(1));
    for (key, count) in [("count", 4), ("pass", 1), ("fail", 3), ("todo", 1)] {
        assert_eq!(complete[key], count, "{key}: {complete}");
    }
    // What fails is what is bad, and nothing was no TAP.
    let names: Vec<&str> = complete["failures"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|failure| failure["name"].as_str())
        .collect();
    assert_eq!(names, ["bad", "odd"], "{complete}");
    assert_eq!(complete["failures"][0]["diag"]["message"], "broken\nline");
    assert_eq!(judged(&home, &["good #1", "warned"]).0, Some(0));
    assert_eq!(
        judged(&home, &["warned", "--fail-on", "warning"]).0,
        Some(1)
    );
}

/// Reads pairs of a range and a value, says of each: no range (null), an alert (true) or none (false).
const PYTHON: &str = "
import json, sys, nagiosplugin
out = []
for text, value in json.load(sys.stdin):
    try:
        out.append(value not in nagiosplugin.Range(text))
    except (ValueError, TypeError):
        out.append(None)
json.dump(out, sys.stdout)
";

/// A Python that can import nagiosplugin; it may need its user's own folder.
fn python(code: &str) -> Program {
    Program::new(Path::new("python3"))
        .env("HOME", std::env::var_os("HOME").unwrap_or_default())
        .args(&["-c", code])
}

fn number(random: &mut Random) -> String {
    let whole = random.below(41) as i64 - 20;
    match random.below(4) {
        0 => format!("{whole}.{}", random.below(100)),
        1 => format!("{whole}."),
        _ => whole.to_string(),
    }
}

/// A range as people write it, now and then with a slip.
fn range(random: &mut Random) -> String {
    let mut text = match random.below(5) {
        0 => number(random),
        1 => format!("{}:", number(random)),
        2 => format!("~:{}", number(random)),
        3 => format!(":{}", number(random)),
        _ => format!("{}:{}", number(random), number(random)),
    };
    if random.once_in(4) {
        text.insert(0, '@');
    }
    if random.once_in(6) {
        const SIGNS: &[&str] = &[
            "@", ":", "~", ".", "-", "0", "7", " ", "a", "e", "%", "+", "_",
        ];
        let at = random.below(text.len() + 1);
        match random.below(3) {
            0 => text.insert_str(at, random.pick(SIGNS)),
            1 => text.truncate(at),
            _ => drop(text.drain(at..(at + 1).min(text.len()))),
        }
    }
    text
}

/// Where parsers are known to disagree: what ours says of it.
enum Disputed {
    /// Blanks around count for nothing; inside they are a mistake.
    Blanks,
    /// `1e3` is a number.
    Exponent,
    Refused,
    No,
}

fn dispute(text: &str) -> Disputed {
    if text.contains(' ') {
        return Disputed::Blanks;
    }
    if text.contains('e') {
        return Disputed::Exponent;
    }
    // Nothing at all, a range of two missing ends, and what only Python takes for a number.
    let body = text.strip_prefix('@').unwrap_or(text);
    if matches!(body, "" | ":") || body.contains(['+', '_']) {
        return Disputed::Refused;
    }
    Disputed::No
}

#[test]
fn nagiosplugin_reads_ranges_as_we_do() {
    if python("import nagiosplugin").run().code() != Some(0) {
        eprintln!(
            "nagiosplugin_reads_ranges_as_we_do: skipped, python3 has no module nagiosplugin"
        );
        return;
    }
    let seed = if long() {
        u64::from(std::process::id())
    } else {
        1
    };
    println!("seed {seed}");
    let mut random = Random::new(seed, 0);
    let count = rounds(10_000, 200_000);
    let cases: Vec<(String, f64)> = (0..count)
        .map(|_| {
            let value = (random.below(4_001) as f64 - 2_000.0) / 100.0;
            // The ends themselves matter most.
            let value = if random.once_in(2) {
                value.round()
            } else {
                value
            };
            (range(&mut random), value)
        })
        .collect();
    let theirs = python(PYTHON).input(&json!(cases).to_string()).run();
    let theirs: Vec<Option<bool>> = serde_json::from_str(&theirs.ok()).expect("a list");
    let ours = |text: &str, value: f64| text.parse::<Range>().ok().map(|range| range.alerts(value));
    let mut agreed = 0;
    for ((text, value), theirs) in cases.iter().zip(theirs) {
        let mine = ours(text, *value);
        match dispute(text) {
            Disputed::No => {
                assert_eq!(mine, theirs, "{text:?} and {value}");
                agreed += 1;
            }
            Disputed::Refused => assert_eq!(mine, None, "{text:?}"),
            Disputed::Blanks if text.trim().contains(' ') => assert_eq!(mine, None, "{text:?}"),
            Disputed::Blanks => assert_eq!(mine, ours(text.trim(), *value), "{text:?}"),
            Disputed::Exponent => {}
        }
    }
    assert!(
        agreed > count * 8 / 10,
        "{agreed} of {count} were comparable"
    );
    // HEALTH: what the three known parsers disagree about, and our side of it.
    assert_eq!(ours("1e3", 1_000.0), Some(false));
    assert_eq!(ours("1e3", 1_001.0), Some(true));
    assert_eq!(ours("0:0", 0.0), Some(false));
    assert_eq!(ours("0:0", 1.0), Some(true));
    for refused in ["", ":", "1:12%", "abc", "20:10", "1e", "e3"] {
        assert_eq!(ours(refused, 1.0), None, "{refused:?}");
    }
}

/// Where the monitoring plugins of the distribution are.
fn foreign(program: &str, test: &str) -> Option<PathBuf> {
    let place = Path::new("/usr/lib/nagios/plugins").join(program);
    if !place.is_file() {
        eprintln!("{test}: skipped, {} is not installed", place.display());
        return None;
    }
    Some(place)
}

/// What a plugin prints, read anew and by other rules than ours: fields cut at blanks and semicolons.
fn measures(line: &str) -> Vec<(String, f64, String, Vec<String>)> {
    let (_, data) = line.split_once('|').unwrap_or((line, ""));
    data.split_whitespace()
        .map(|field| {
            let (label, rest) = field.split_once('=').expect("label=value");
            let mut parts = rest.split(';');
            let value = parts.next().expect("a value");
            let end = value.find(|c: char| c.is_ascii_alphabetic() || c == '%');
            let (digits, unit) = value.split_at(end.unwrap_or(value.len()));
            (
                label.to_owned(),
                digits.parse().expect("a number"),
                unit.to_owned(),
                parts.map(str::to_owned).collect(),
            )
        })
        .collect()
}

/// Runs a foreign plugin by itself, and under our host.
#[track_caller]
fn both(program: &str, arguments: &[&str], test: &str) -> Option<(Finished, Value)> {
    let place = foreign(program, test)?;
    let alone = Program::new(&place).args(arguments).run();
    let words: Vec<String> = std::iter::once(program)
        .chain(arguments.iter().copied())
        .map(|word| format!("'{word}'"))
        .collect();
    let home = plugin(&format!(
        "check('theirs', nagios {{ {} }})",
        words.join(", ")
    ));
    let check = report(&home, &["theirs"])["checks"][0].clone();
    Some((alone, check))
}

#[test]
fn the_four_states_of_a_foreign_plugin_are_ours() {
    let test = "the_four_states_of_a_foreign_plugin_are_ours";
    for (code, word) in ["ok", "warning", "critical", "unknown"].iter().enumerate() {
        let code_text = code.to_string();
        let Some((alone, check)) = both("check_dummy", &[&code_text, "some text"], test) else {
            return;
        };
        assert_eq!(alone.code(), Some(code as i32));
        assert_eq!(check["state"], *word, "{check}");
        assert_eq!(check["message"], alone.stdout.trim(), "{check}");
    }
}

/// State, message and every measure of a run under our host are those of a run by itself.
#[track_caller]
fn agree(program: &str, arguments: &[&str], test: &str) {
    let Some((alone, check)) = both(program, arguments, test) else {
        return;
    };
    let state = ["ok", "warning", "critical", "unknown"][alone.code().expect("it exits") as usize];
    assert_eq!(check["state"], state, "{check}\n{alone:#?}");
    let line = alone.stdout.lines().next().unwrap_or_default();
    let theirs = measures(line);
    let ours = check["measures"].as_array().expect("a list");
    assert_eq!(ours.len(), theirs.len(), "{check}\n{line}");
    for (mine, (label, value, unit, limits)) in ours.iter().zip(theirs) {
        assert_eq!(mine["name"], label, "{check}\n{line}");
        assert_eq!(mine["unit"], unit, "{check}\n{line}");
        let near = mine["value"].as_f64().expect("a value");
        // Two runs, some tenths of a second apart.
        assert!(
            (near - value).abs() <= value.abs() * 0.5 + 5.0,
            "{check}\n{line}"
        );
        for (key, limit) in ["warn", "crit", "min", "max"].iter().zip(limits) {
            let mine = &mine[*key];
            match limit.parse::<f64>() {
                Err(_) if limit.is_empty() => assert!(mine.is_null(), "{key}: {check}\n{line}"),
                Err(_) => assert_eq!(
                    mine.as_str(),
                    Some(limit.as_str()),
                    "{key}: {check}\n{line}"
                ),
                Ok(limit) => {
                    let mine = mine.as_f64().or_else(|| mine.as_str()?.parse().ok());
                    let far = mine.map(|mine| (mine - limit).abs() / limit.abs().max(1.0));
                    assert!(far.is_some_and(|far| far < 0.01), "{key}: {check}\n{line}");
                }
            }
        }
    }
}

#[test]
fn foreign_plugins_are_read_right() {
    let test = "foreign_plugins_are_read_right";
    let port = serve("220 hello\r\n").port().to_string();
    let shut = closed().port().to_string();
    let web = serve(PAGE).port().to_string();
    agree(
        "check_tcp",
        &["-H", "127.0.0.1", "-p", &port, "-w", "5", "-c", "9"],
        test,
    );
    agree("check_tcp", &["-H", "127.0.0.1", "-p", &shut], test);
    agree(
        "check_tcp",
        &[
            "-H",
            "127.0.0.1",
            "-p",
            &port,
            "-e",
            "nothing",
            "-M",
            "warn",
        ],
        test,
    );
    agree("check_http", &["-H", "127.0.0.1", "-p", &web], test);
    agree(
        "check_http",
        &["-H", "127.0.0.1", "-p", &web, "-s", "bye"],
        test,
    );
    agree("check_disk", &["-w", "1%", "-c", "0%", "-p", "/"], test);
    agree("check_disk", &["-w", "100%", "-c", "0%", "-p", "/"], test);
    agree(
        "check_load",
        &["-w", "1000,1000,1000", "-c", "2000,2000,2000"],
        test,
    );
    agree("check_load", &["-w", "0,0,0", "-c", "2000,2000,2000"], test);
    agree("check_procs", &["-w", "1:100000", "-c", "1:200000"], test);
    agree("check_procs", &["-c", "100000:"], test);
    agree("check_procs", &["--no-such-option"], test);
}

/// Ours and theirs of the same target: state and the value of one measure.
#[track_caller]
fn compared(ours: &Value, theirs: &Finished, state: i32) {
    let word = ["ok", "warning", "critical", "unknown"][state as usize];
    assert_eq!(ours["state"], word, "{ours}");
    assert_eq!(theirs.code(), Some(state), "{theirs:#?}");
}

/// The first check of a run of ours.
fn ours(words: &[&str]) -> Value {
    report(&Home::new(), words)["checks"][0].clone()
}

#[track_caller]
fn value(check: &Value, name: &str) -> f64 {
    let all = check["measures"].as_array().expect("a list");
    let found = all.iter().find(|measure| measure["name"] == name);
    found
        .and_then(|one| one["value"].as_f64())
        .unwrap_or_else(|| panic!("{name} of {check}"))
}

/// Open and shut.
#[test]
fn our_tcp_values_are_those_of_check_tcp() {
    let Some(tcp) = foreign("check_tcp", "our_tcp_values_are_those_of_check_tcp") else {
        return;
    };
    for (address, state) in [(serve("220\r\n"), 0), (closed(), 2)] {
        let port = address.port().to_string();
        let theirs = Program::new(&tcp)
            .args(&["-H", "127.0.0.1", "-p", &port])
            .run();
        let mine = ours(&[
            "tcp",
            "--set",
            &format!("address={address}"),
            "--set",
            "warn=5",
        ]);
        compared(&mine, &theirs, state);
        if state == 0 {
            let time = measures(&theirs.stdout)[0].1;
            assert!(
                (value(&mine, "time") - time).abs() < 1.0,
                "{mine}\n{theirs:#?}"
            );
        }
    }
}

/// A page and an error.
#[test]
fn our_http_values_are_those_of_check_http() {
    let Some(http) = foreign("check_http", "our_http_values_are_those_of_check_http") else {
        return;
    };
    let broken = "HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (page, state) in [(PAGE, 0), (broken, 2)] {
        let address = serve(page);
        let port = address.port().to_string();
        let theirs = Program::new(&http)
            .args(&["-I", "127.0.0.1", "-p", &port])
            .run();
        let mine = ours(&["http", "--set", &format!("url=http://{address}/")]);
        compared(&mine, &theirs, state);
        let all = measures(theirs.stdout.lines().next().unwrap_or_default());
        // They count the header as well.
        let header = page.find("\r\n\r\n").expect("a header") + 4;
        assert_eq!(
            all[1].1,
            value(&mine, "size") + header as f64,
            "{mine}\n{theirs:#?}"
        );
        assert!(
            (value(&mine, "time") - all[0].1).abs() < 1.0,
            "{mine}\n{theirs:#?}"
        );
    }
}

/// Free bytes, and the percent used, which they print as free.
#[test]
fn our_disk_values_are_those_of_check_disk() {
    let Some(disk) = foreign("check_disk", "our_disk_values_are_those_of_check_disk") else {
        return;
    };
    let theirs = Program::new(&disk)
        .args(&["-w", "0%", "-c", "0%", "-u", "bytes", "-p", "/"])
        .run();
    let mine = ours(&["disk", "--set", "crit=100", "--set", "warn=100"]);
    compared(&mine, &theirs, 0);
    let (_, free) = theirs
        .stdout
        .split_once("/ ")
        .expect("free space: / N B (P%");
    let bytes: f64 = free[..free.find('B').expect("B")]
        .trim()
        .parse()
        .expect("bytes");
    let percent = &free[free.find('(').expect("(") + 1..free.find('%').expect("%")];
    let used = 100.0 - percent.parse::<f64>().expect("percent");
    let size = mine["measures"][1]["max"].as_f64().expect("a size");
    assert!(
        (value(&mine, "free") - bytes).abs() < size * 0.01,
        "{mine}\n{theirs:#?}"
    );
    assert!(
        (value(&mine, "used") - used).abs() <= 1.5,
        "{mine}\n{theirs:#?}"
    );
}
