//! What a daemon that is killed has told is what the next one knows.

use serde_json::{Value, json};

use super::{look, until, until_confirmed};
use crate::harness::{Home, Line, wait_for};

/// Looks whether `down` is there; `soft` is never bad often enough.
const PLUGIN: &str = r#"
local function look(c) c:expect(not fs.exists("down"), "it is down") end
check("flip", { every = "1h", retry_every = "1h", fall = 1, rise = 1 }, look)
check("soft", { every = "1h", retry_every = "1h", fall = 50, rise = 1 }, look)
"#;

/// Runs checks now, and waits for the event of a confirmed change of `flip`.
fn flip(home: &Home, down: bool) -> Line {
    if down {
        home.write("down", "");
    } else {
        home.remove("down");
    }
    let mut events = home.connect();
    events
        .send_json(&json!({ "request_id": "e", "command": "events", "pattern": "check.changed" }));
    let mut asking = home.connect();
    asking.send_json(&json!({ "request_id": "c", "command": "check", "words": ["flip", "soft"] }));
    let wanted = if down { "critical" } else { "ok" };
    wait_for("the change is told", || {
        let event = events.recv_json();
        let data = &event["part"]["data"];
        (data["check"] == "flip" && data["to"] == wanted).then_some(())
    });
    asking
}

fn confirmed(line: &mut Line) -> Value {
    let check = until(line, "flip", "it is declared", |_| true);
    check["confirmed"].clone()
}

#[test]
fn a_daemon_that_is_killed_as_soon_as_it_has_told_of_a_change_has_kept_it() {
    let home = Home::new().file("plugins/flip.lua", PLUGIN);
    let mut daemon = home.up();
    until_confirmed(&mut home.connect(), "flip", "ok");
    for round in 0..4 {
        let down = round % 2 == 0;
        let _asking = flip(&home, down);
        daemon.kill();
        daemon = home.up();
        let wanted = if down { "critical" } else { "ok" };
        assert_eq!(confirmed(&mut home.connect()), wanted, "round {round}");
    }
    let mut line = home.connect();
    let history = until(&mut line, "flip", "it is declared", |_| true)["history"].clone();
    let history = history.as_array().expect("a history").len();
    assert!(history >= 5, "the history goes on over restarts: {history}");
    drop(daemon);
}

#[test]
fn a_downtime_that_was_answered_and_soft_counts_outlive_a_kill() {
    let home = Home::new().file("plugins/flip.lua", PLUGIN);
    let daemon = home.up();
    let mut line = home.connect();
    until_confirmed(&mut line, "flip", "ok");
    until_confirmed(&mut line, "soft", "ok");
    drop(flip(&home, true));
    let soft = until(&mut line, "soft", "it has seen it", |check| {
        check["last"] == "critical"
    });
    assert_eq!(soft["confirmed"], "ok");
    // What is not confirmed is written within some seconds.
    wait_for("its soft state is kept", || {
        let stored = home.path("state/checks.db");
        let rows = rusqlite::Connection::open_with_flags(
            stored,
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        )
        .and_then(|store| {
            store.query_row("SELECT record FROM checks WHERE name = 'soft'", [], |row| {
                row.get::<_, String>(0)
            })
        });
        let record: Value = serde_json::from_str(&rows.ok()?).ok()?;
        (record["last"] == "critical").then_some(())
    });
    let answer = line.end_of(json!({
        "command": "downtime", "check": "flip", "quiet": 3600, "why": "moving house",
    }));
    assert_eq!(answer["status"], "ok", "{answer}");
    daemon.kill();
    let _daemon = home.up();
    let mut line = home.connect();
    let flip = until(&mut line, "flip", "it is declared", |_| true);
    assert_eq!(
        (&flip["confirmed"], &flip["quiet"], &flip["quiet_why"]),
        (
            &json!("critical"),
            &json!("downtime"),
            &json!("moving house")
        ),
        "{flip}"
    );
    let soft = look(&mut line, "soft").expect("it is declared");
    assert_eq!(
        (&soft["last"], &soft["confirmed"]),
        (&json!("critical"), &json!("ok")),
        "{soft}"
    );
}
