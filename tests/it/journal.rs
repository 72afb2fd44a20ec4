//! The journal of a real daemon: what is known of a request survives the daemon's death, and its faults are told.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{Daemon, Home, Line, installed, kill, rounds, wait_for, wait_until};

/// `hit` leaves a line in a file; `hold` does too, once there is a file `go`; `look` has no effect.
fn script(durability: &str) -> String {
    format!(
        r#"-- /// moonkeep
-- concurrency = 1
-- durability = "{durability}"
-- ///
local moonkeep = require "moonkeep"
local folder = "state/scripts/t/"
local function hit(request)
  local file = assert(io.open(folder .. "hits", "a"))
  file:write(request.params.n, "\n")
  file:close()
  return {{ n = request.params.n }}
end
moonkeep.handle("hit", hit)
moonkeep.handle("hold", function(request)
  assert(io.open(folder .. "began", "w")):close()
  while true do
    local go = io.open(folder .. "go")
    if go then go:close() break end
    moonkeep.sleep(0.005)
  end
  return hit(request)
end)
moonkeep.handle("look", function() return "seen" end, {{ delivery = "query" }})
"#
    )
}

fn state(home: &Home, file: &str) -> PathBuf {
    home.path("state/scripts/t").join(file)
}

fn hits(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(state(home, "hits")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn send(line: &mut Line, id: Uuid, handler: &str, number: u64) {
    line.send_json(&json!({
        "request_id": id.to_string(), "command": "call", "script": "t", "handler": handler,
        "params": { "n": number }, "timeout": 60,
    }));
}

/// The end of what was asked under this id.
fn end(line: &mut Line, id: Uuid) -> Value {
    loop {
        let answer = line.recv_json();
        let is_end = answer["status"] == "ok" || answer["status"] == "error";
        if answer["request_id"] == id.to_string() && is_end {
            return answer;
        }
    }
}

fn ask(line: &mut Line, id: Uuid, handler: &str, number: u64) -> Value {
    send(line, id, handler, number);
    end(line, id)
}

/// A daemon that takes connections, whatever its scripts do.
fn serving(home: &Home) -> (Daemon<'_>, Line) {
    let daemon = Daemon::spawn(home);
    let line = wait_for("it serves", || Line::try_connect(&home.socket()).ok());
    (daemon, line)
}

/// The states of all requests in a journal that nobody writes just now.
fn rows(journal: &Path) -> Vec<(String, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = Connection::open_with_flags(journal, flags).expect("a journal");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a verdict");
    assert_eq!(verdict, "ok");
    let mut all = connection
        .prepare("SELECT id, state FROM request ORDER BY entry")
        .expect("the table");
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn a_daemon_that_dies_leaves_its_requests_to_the_next(durability: &str, wait_for_worker: bool) {
    let home = Home::new().script("t.lua", &script(durability));
    let [ended, runs, queued] = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let daemon = home.up();
    let mut line = home.connect();
    assert_eq!(ask(&mut line, ended, "hit", 1)["result"]["n"], 1);
    send(&mut line, runs, "hold", 2);
    wait_until("it runs", || state(&home, "began").exists());
    send(&mut line, queued, "hit", 3);
    wait_until("it is queued", || home.script_status("t")["queued"] == 1);
    daemon.kill();
    drop(line);
    let go = || drop(fs::File::create(state(&home, "go")).expect("a file"));
    if wait_for_worker {
        go();
        wait_until("the old worker has left", || home.processes().is_empty());
    }
    let (_daemon, mut line) = serving(&home);
    let replayed = ask(&mut line, ended, "hit", 1);
    assert_eq!(replayed["replayed"], true, "{replayed}");
    assert_eq!(replayed["result"]["n"], 1);
    send(&mut line, runs, "hold", 2);
    send(&mut line, queued, "hit", 3);
    if !wait_for_worker {
        go();
    }
    for (id, number) in [(runs, 2), (queued, 3)] {
        let answer = end(&mut line, id);
        assert_eq!(answer["result"]["n"], number, "{answer}");
    }
    assert_eq!(hits(&home), ["1", "2", "3"], "each ran once");
    wait_until("spent records are removed", || {
        let folder = fs::read_dir(home.path("state/outcomes")).expect("a folder");
        folder.count() == 1
    });
}

// R-008, FI-1
#[test]
fn what_ended_ran_and_waited_is_replayed_read_and_resumed_after_the_old_worker_has_left() {
    a_daemon_that_dies_leaves_its_requests_to_the_next("process", true);
}

#[test]
fn what_ended_ran_and_waited_is_replayed_joined_and_resumed_beside_the_old_worker() {
    a_daemon_that_dies_leaves_its_requests_to_the_next("process", false);
}

#[test]
fn what_ended_ran_and_waited_is_known_to_the_next_daemon_at_the_level_of_power_too() {
    a_daemon_that_dies_leaves_its_requests_to_the_next("power", false);
}

#[test]
fn what_is_not_durable_is_not_written_down() {
    let home = Home::new().script("t.lua", &script("off"));
    let id = Uuid::now_v7();
    let daemon = home.up();
    assert_eq!(ask(&mut home.connect(), id, "hit", 1)["status"], "ok");
    daemon.kill();
    assert_eq!(rows(&home.path("state/journal.db")), []);
    let _daemon = home.up();
    let again = ask(&mut home.connect(), id, "hit", 1);
    assert_eq!(again["replayed"], Value::Null, "{again}");
    assert_eq!(hits(&home), ["1", "1"]);
}

#[test]
fn a_daemon_that_leaves_in_order_has_the_same_answers_when_it_is_back() {
    let home = Home::new().script("t.lua", &script("process"));
    let id = Uuid::now_v7();
    for round in 0..3 {
        let daemon = home.up();
        let answer = ask(&mut home.connect(), id, "hit", 1);
        assert_eq!(answer["result"]["n"], 1);
        assert_eq!(answer["replayed"] == true, round > 0, "{answer}");
        assert!(daemon.stop().success());
    }
    assert_eq!(hits(&home), ["1"]);
}

// FI-12: what a daemon's death at a random instant leaves, taken without killing it.
#[test]
fn a_copy_of_the_files_at_any_instant_holds_every_end_that_was_told() {
    let home = Home::new().script("t.lua", &script("process"));
    let daemon = home.up();
    let mut line = home.connect();
    let mut told = BTreeSet::new();
    let mut number = 0;
    for _ in 0..rounds(15, 1_000) {
        for _ in 0..40 {
            number += 1;
            let id = Uuid::now_v7();
            send(&mut line, id, "hit", number);
            told.insert(id);
        }
        let mut known = BTreeSet::new();
        while known.len() < 20 {
            let answer = line.recv_json();
            if answer["status"] == "ok" {
                known.insert(answer["request_id"].as_str().expect("an id").to_owned());
            }
        }
        daemon.signal(Signal::STOP);
        let copy = tempfile::TempDir::new().expect("a folder");
        for name in ["journal.db", "journal.db-wal"] {
            fs::copy(home.path("state").join(name), copy.path().join(name)).expect("a copy");
        }
        daemon.signal(Signal::CONT);
        let ended: BTreeSet<String> = rows(&copy.path().join("journal.db"))
            .into_iter()
            .filter_map(|(id, state)| (state == "ended").then_some(id))
            .collect();
        assert!(
            known.is_subset(&ended),
            "told and not written: {:?}",
            known.difference(&ended)
        );
        while known.len() < 40 {
            let answer = line.recv_json();
            if answer["status"] == "ok" {
                known.insert(answer["request_id"].as_str().expect("an id").to_owned());
            }
        }
    }
}

/// A file system of 1 MiB in a folder, until it is dropped.
struct Small(PathBuf);

impl Small {
    fn at(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "moonkeep"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        let mounted = mounted.is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: only root may mount a small file system");
        }
        mounted.then(|| Small(folder.to_owned()))
    }

    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).expect("a file");
        let block = [7; 4_096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        filler
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// FI-11
#[test]
fn on_a_full_disk_ends_are_recorded_new_commands_are_refused_and_it_passes_without_a_restart() {
    let two = script("process").replace("concurrency = 1", "concurrency = 2");
    let home = Home::new().script("t.lua", &two);
    let Some(small) = Small::at(&home.path("state")) else {
        return;
    };
    let daemon = home.up();
    let mut line = home.connect();
    let runs = Uuid::now_v7();
    send(&mut line, runs, "hold", 1);
    wait_until("it runs", || state(&home, "began").exists());
    fs::File::create(state(&home, "hits")).expect("a file that needs no space later");
    wait_until("the reserve is there", || {
        home.path("state/journal.reserve").exists()
    });
    let filler = small.fill();
    let mut other = home.connect();
    let refused = ask(&mut other, Uuid::now_v7(), "hit", 2);
    assert_eq!(refused["error"]["code"], "busy", "{refused}");
    assert_eq!(refused["error"]["data"]["reason"], "disk-full", "{refused}");
    assert_eq!(other.call("t", "look", json!({})), "seen");
    fs::File::create(state(&home, "go")).expect("a name takes no space here");
    let ended = end(&mut line, runs);
    let journal = home.path("state/journal.db");
    let count = |state: &str| rows(&journal).iter().filter(|row| row.1 == state).count();
    wait_until("the end is recorded", || {
        (count("ended"), count("started")) == (1, 0)
    });
    fs::remove_file(filler).expect("it is there");
    wait_until("there is room again", || {
        ask(&mut other, Uuid::now_v7(), "hit", 3)["status"] == "ok"
    });
    daemon.kill();
    let _daemon = home.up();
    let mut again = ask(&mut home.connect(), runs, "hold", 1);
    let mut first = ended;
    for answer in [&mut again, &mut first] {
        answer
            .as_object_mut()
            .expect("an object")
            .remove("replayed");
    }
    assert_eq!(again, first, "the same end");
    drop(_daemon);
    drop(small);
}

// R-008: an old worker that does not go is ended, and what it ran is unknown.
#[test]
fn an_old_worker_that_does_not_go_is_killed_and_what_it_ran_is_unknown() {
    if rounds(0, 1) == 0 {
        eprintln!("skipped: waits longer than a worker's grace; MOONKEEP_LONG=1 runs it");
        return;
    }
    let home = Home::new().script("t.lua", &script("process"));
    let daemon = home.up();
    let mut line = home.connect();
    let runs = Uuid::now_v7();
    send(&mut line, runs, "hold", 1);
    wait_until("it runs", || state(&home, "began").exists());
    let worker = home.script_status("t")["pid"].as_i64().expect("a pid");
    let worker = i32::try_from(worker).expect("a pid");
    daemon.kill();
    // Not before: the kernel wakes what is stopped when its parent dies.
    kill(worker, Signal::STOP);
    let (_daemon, mut line) = serving(&home);
    let answer = ask(&mut line, runs, "hold", 1);
    assert_eq!(answer["error"]["code"], "outcome_unknown", "{answer}");
    assert_eq!(ask(&mut line, Uuid::now_v7(), "hit", 2)["status"], "ok");
    assert_eq!(hits(&home), ["2"]);
    let again = ask(&mut line, runs, "hold", 1);
    assert_eq!(again["error"], answer["error"], "it stays unknown");
}

// T3
#[test]
fn a_link_at_the_journals_place_is_refused_in_words_and_not_followed() {
    for name in ["journal.db", "outcomes"] {
        let home = Home::new();
        let victim = home.write("victim/file", "somebody's");
        fs::create_dir(home.path("state")).expect("a folder");
        let target = match name {
            "outcomes" => victim.parent().expect("a folder").to_owned(),
            _ => victim.clone(),
        };
        std::os::unix::fs::symlink(target, home.path("state").join(name)).expect("a link");
        let refused = home.run(&["up"]).expect_stderr("move it away");
        assert_ne!(refused.code(), Some(0));
        assert_eq!(
            fs::read_to_string(victim).expect("it is there"),
            "somebody's"
        );
    }
}

/// `strace` on a running daemon; detached when it is dropped.
struct Trace(Child);

impl Trace {
    fn attach(daemon: &Daemon, arguments: &[&str]) -> Self {
        let child = Command::new("strace")
            .args([
                "-f",
                "-q",
                "-o",
                "/dev/null",
                "-p",
                &daemon.pid().to_string(),
            ])
            .args(arguments)
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed");
        let status = format!("/proc/{}/status", daemon.pid());
        wait_until("it is attached", || {
            let text = fs::read_to_string(&status).expect("the daemon lives");
            !text.contains("TracerPid:\t0")
        });
        Trace(child)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        kill(i32::try_from(self.0.id()).expect("a pid"), Signal::INT);
        let _ = self.0.wait();
    }
}

// R-122
#[test]
fn a_disk_that_takes_its_time_makes_only_those_wait_who_asked_for_it() {
    const TEST: &str = "a_disk_that_takes_its_time";
    if !installed("strace", TEST) {
        return;
    }
    let home = Home::new().script("t.lua", &script("power"));
    let daemon = home.up();
    let mut slow = home.connect();
    // The first sync is of more than the log.
    assert_eq!(ask(&mut slow, Uuid::now_v7(), "hit", 0)["status"], "ok");
    let delay = Duration::from_millis(400);
    let inject = format!("inject=fdatasync:delay_enter={}", delay.as_micros());
    let trace = Trace::attach(&daemon, &["-e", "trace=fdatasync", "-e", &inject]);
    let mut times = Vec::new();
    let mut client = home.connect();
    let begun = Instant::now();
    let id = Uuid::now_v7();
    send(&mut slow, id, "hit", 1);
    while begun.elapsed() < 2 * delay {
        let asked = Instant::now();
        assert_eq!(client.command("ping")["active"], true);
        times.push(asked.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(end(&mut slow, id)["status"], "ok");
    assert!(
        begun.elapsed() >= 2 * delay,
        "its start and its end were synced"
    );
    drop(trace);
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    println!("{} pings, p99 {p99:?}", times.len());
    assert!(p99 < Duration::from_millis(20), "{p99:?}");
}

/// What a line of `strace -y` does to the journal: `w` or `s`, and to which file.
fn operation(line: &str) -> Option<(char, &'static str, u64)> {
    let kind = match line.split('(').next()?.rsplit(' ').next()? {
        "pwrite64" => 'w',
        "fdatasync" | "fsync" => 's',
        _ => return None,
    };
    let file = if line.contains("/journal.db-wal>") {
        "log"
    } else if line.contains("/journal.db>") {
        "database"
    } else {
        return None;
    };
    let offset = line.split(')').next()?.rsplit(", ").next()?;
    Some((kind, file, offset.parse().unwrap_or(0)))
}

// A checkpoint in the order that survives a power loss at each of its steps.
#[test]
fn a_checkpoint_syncs_the_log_then_the_database_then_the_logs_new_header() {
    if !installed("strace", "a_checkpoint_syncs") {
        return;
    }
    let home = Home::new().script("t.lua", &script("process"));
    let daemon = home.up();
    let trace = home.path("trace");
    let output = trace.to_str().expect("a path of ours");
    let only = "trace=pwrite64,fdatasync,fsync";
    let traced = Trace::attach(&daemon, &["-y", "-s", "0", "-e", only, "-o", output]);
    let mut line = home.connect();
    let text = "x".repeat(30_000);
    let seen = || {
        let text = fs::read_to_string(&trace).unwrap_or_default();
        let all: Vec<_> = text.lines().filter_map(operation).collect();
        let copied = all.iter().position(|one| one.1 == "database")?;
        // The header, its sync, the first frame, its sync.
        let begun = all[copied..]
            .iter()
            .position(|one| *one == ('w', "log", 0))?;
        (all.len() > copied + begun + 8).then_some((all, copied, begun))
    };
    let (all, copied, begun) = wait_for("the log is long enough", || {
        for _ in 0..20 {
            line.send_json(&json!({
                "request_id": Uuid::now_v7().to_string(), "command": "call", "script": "t",
                "handler": "hit", "params": { "n": 1, "text": text },
            }));
        }
        let mut answered = 0;
        while answered < 20 {
            let answer = line.recv_json();
            answered += usize::from(answer["status"] == "ok");
        }
        seen()
    });
    drop(traced);
    assert_eq!(
        all[copied - 1].0,
        's',
        "the log is synced before it is copied"
    );
    assert_eq!(all[copied - 1].1, "log");
    let before = &all[copied..copied + begun];
    assert!(before.iter().all(|one| one.1 == "database"), "{before:?}");
    assert_eq!(before.last().expect("not empty").0, 's', "{before:?}");
    let after: Vec<_> = all[copied + begun..].iter().take(6).collect();
    assert_eq!(after[1].0, 's', "the header is synced first: {after:?}");
    assert_eq!((after[2].0, after[2].1), ('w', "log"), "{after:?}");
    let synced_again = after[3..].iter().any(|one| one.0 == 's');
    assert!(synced_again, "the frame is synced: {after:?}");
    let first = &all[..copied - 1];
    assert!(
        first.iter().all(|one| one.0 == 'w'),
        "nothing is synced for process"
    );
}

// A sync that fails: told, then repaired.
#[test]
fn a_sync_that_fails_is_told_and_the_journal_is_opened_again() {
    if !installed("strace", "a_sync_that_fails") {
        return;
    }
    let home = Home::new().script("t.lua", &script("power"));
    let daemon = home.up();
    let mut line = home.connect();
    assert_eq!(ask(&mut line, Uuid::now_v7(), "hit", 0)["status"], "ok");
    let inject = "inject=fdatasync:error=EIO:when=1";
    let trace = Trace::attach(&daemon, &["-e", "trace=fdatasync", "-e", inject]);
    let id = Uuid::now_v7();
    let answer = ask(&mut line, id, "hit", 1);
    assert_eq!(answer["status"], "ok", "it waited: {answer}");
    drop(trace);
    wait_until("new commands are taken", || {
        ask(&mut line, Uuid::now_v7(), "hit", 2)["status"] == "ok"
    });
    daemon.kill();
    let _daemon = home.up();
    assert_eq!(ask(&mut home.connect(), id, "hit", 1)["replayed"], true);
}
