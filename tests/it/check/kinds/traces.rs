//! The kind log: what is new since the last run, over runs, rotations, truncations and half-written lines.

use serde_json::Value;

use crate::check::json;
use crate::harness::Home;

struct Log {
    home: Home,
}

impl Log {
    fn new(more: &str) -> Self {
        let home = Home::new();
        let path = home
            .write("app.log", "an old ERROR\n")
            .display()
            .to_string();
        home.write(
            "moonkeep.toml",
            &format!(
                "[check.app]\nplugin = \"log\"\npath = \"{path}\"\nmatches = \"ERROR\"\n{more}\n"
            ),
        );
        Log { home }
    }

    fn add(&self, text: &str) {
        let path = self.home.path("app.log");
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("the log");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    }

    fn rotate(&self, to: &str) {
        std::fs::rename(self.home.path("app.log"), self.home.path(to)).expect("renamed");
    }

    /// Runs the check in a process of its own; gives state, number of matches, and message.
    fn run(&self) -> (String, f64, String) {
        let check: Value = json(&self.home, &[])["checks"][0].clone();
        let text = |key: &str| check[key].as_str().expect("a text").to_owned();
        (
            text("state"),
            super::measure(&check, "matches"),
            text("message"),
        )
    }

    #[track_caller]
    fn expect(&self, state: &str, matches: f64, part: &str) {
        let (found, count, message) = self.run();
        assert_eq!((found.as_str(), count), (state, matches), "{message}");
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
}

#[test]
fn a_line_counts_once_whatever_happens_to_the_file() {
    let log = Log::new("hold = 0");
    log.expect("ok", 0.0, "is watched from here on");
    log.expect("ok", 0.0, "0 new lines");
    log.add("one\nan ERROR here\ntwo\n");
    log.expect("critical", 1.0, "the last is: an ERROR here");
    log.expect("ok", 0.0, "0 new lines");
    // A line that is still being written waits for its end.
    log.add("half an ERR");
    log.expect("ok", 0.0, "0 new lines");
    log.add("OR\n");
    log.expect("critical", 1.0, "half an ERROR");
    // Rotation: what came before it is read in the renamed file, then the new one from its beginning.
    log.add("ERROR before\n");
    log.rotate("app.log.1");
    log.add("ERROR after\nERROR again\n");
    log.expect("critical", 3.0, "ERROR again");
    log.expect("ok", 0.0, "none matches");
    // Truncated and written anew, longer than before.
    let longer = format!("ERROR at the start\n{}", "x\n".repeat(500));
    std::fs::write(log.home.path("app.log"), longer).expect("the log");
    log.expect("critical", 1.0, "ERROR at the start");
    // Bytes that are no text harm nobody.
    std::fs::OpenOptions::new()
        .append(true)
        .open(log.home.path("app.log"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"\xff\xfe ERROR \x00\n"))
        .expect("written");
    log.expect("critical", 1.0, "ERROR");
    log.expect("ok", 0.0, "");
}

#[test]
fn matches_count_for_a_while_and_exclusions_never() {
    let log = Log::new(
        "hold = \"1h\"\nexclude = [\"harmless\", \"^DEBUG\"]\nwarn = 0\ncrit = 2\nbegin = \"start\"",
    );
    log.expect(
        "warning",
        1.0,
        "matches 1 is above 0 (warning); the last is: an old ERROR",
    );
    log.add("a harmless ERROR\nDEBUG ERROR\nfine\n");
    log.expect("warning", 1.0, "an old ERROR");
    log.add("ERROR 2\nERROR 3\n");
    log.expect(
        "critical",
        3.0,
        "matches 3 is above 2 (critical); the last is: ERROR 3",
    );
    log.expect("critical", 3.0, "ERROR 3");
}

#[test]
fn a_log_that_is_not_there_is_critical_or_fine() {
    let log = Log::new("");
    log.home.remove("app.log");
    let check = json(&log.home, &[])["checks"][0].clone();
    assert_eq!(check["state"], "critical", "{check}");
    let finished = log.home.run(&["check", "--set", "optional=true"]);
    assert_eq!(finished.code(), Some(0), "{finished:#?}");
}
